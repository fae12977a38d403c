package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/kstep/kstep/internal/exit"
)

// Exec runs a program in a running container and returns its exit status and
// what it wrote to both streams, of at most MaxOutput bytes.
func (c *Client) Exec(ctx context.Context, id string, argv []string) (int, []byte, error) {
	output := NewKept()
	status, err := c.ExecTo(ctx, id, argv, output, output)
	if errors.Is(err, ErrLongOutput) {
		err = exit.With(exit.Failed, fmt.Errorf("run %s in container %s on %s: %w", argv[0], id, c.host, ErrLongOutput))
	}
	return status, output.buf.Bytes(), err
}

// MaxOutput bounds what Exec takes into memory of a program's output, in bytes.
const MaxOutput = 32 << 20

// ErrLongOutput is a program that prints more than MaxOutput bytes.
var ErrLongOutput = fmt.Errorf("the output has more than %d MiB", MaxOutput>>20)

// Kept is a program's output that is kept in memory, up to MaxOutput bytes: what is
// longer ends with ErrLongOutput.
type Kept struct {
	buf  bytes.Buffer
	left int
}

// NewKept makes a Kept.
func NewKept() *Kept { return &Kept{left: MaxOutput} }

// Write keeps p, or nothing of it.
func (k *Kept) Write(p []byte) (int, error) {
	if k.left -= len(p); k.left < 0 {
		return 0, ErrLongOutput
	}
	return k.buf.Write(p)
}

// String is the output.
func (k *Kept) String() string { return k.buf.String() }

// ExecTo is Exec for output that may be long: it is passed on as it comes, by
// one goroutine.
func (c *Client) ExecTo(ctx context.Context, id string, argv []string, stdout, stderr io.Writer) (int, error) {
	return c.ExecWith(ctx, id, argv, Streams{Out: stdout, Err: stderr})
}

// Streams are what a program in a container is connected to.
type Streams struct {
	// In is the program's input; nil gives it none. It is read until it ends or
	// the program does, so one more read of it may be under way afterwards.
	In       io.Reader
	Out, Err io.Writer
	// Terminal, unless it is nil, gives the program a terminal: all it prints goes
	// to Out. The channel sends the terminal's size, at first and after each
	// change.
	Terminal <-chan Size
}

// Size is a terminal's, in characters.
type Size struct{ Width, Height int }

// ExecWith runs a program in a running container, connected to the streams, and
// returns its exit status.
func (c *Client) ExecWith(ctx context.Context, id string, argv []string, to Streams) (int, error) {
	v, err := c.ready(ctx)
	if err != nil {
		return -1, err
	}
	if err := c.beforeText(ctx, id); err != nil {
		return -1, err
	}
	what := fmt.Sprintf("run %s in container %s", argv[0], id)
	made, err := c.api.ExecCreate(ctx, id, client.ExecCreateOptions{
		Cmd: argv, AttachStdin: to.In != nil, AttachStdout: true, AttachStderr: true, TTY: to.Terminal != nil,
	})
	if err != nil {
		return -1, c.fail(what, err)
	}
	if err := c.execStart(ctx, v, made.ID, to); err != nil {
		return -1, c.fail(what, err)
	}
	ended, err := c.api.ExecInspect(ctx, made.ID, client.ExecInspectOptions{})
	if err != nil {
		return -1, c.fail(what, err)
	}
	if ended.Running {
		return -1, fmt.Errorf("%s on %s: the output ended before the program did", what, c.host)
	}
	return ended.ExitCode, nil
}

// execStart requests the output as a plain answer, or, for a program with input,
// a connection in both directions. The client's own method takes over the
// connection and bypasses the transport that every request uses.
func (c *Client) execStart(ctx context.Context, v version, exec string, to Streams) error {
	url := fmt.Sprintf("http://%s/v%s/exec/%s/start", client.DummyHost, v, exec)
	body, err := json.Marshal(map[string]bool{"Detach": false, "Tty": to.Terminal != nil})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if to.In != nil {
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "tcp")
	}
	resp, err := c.seam.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	conn, both := resp.Body.(io.ReadWriteCloser) // It is one after the protocol was switched.
	if to.In == nil && resp.StatusCode != http.StatusOK || to.In != nil && !both {
		return refusal(resp)
	}
	// What has become of a request is no concern of its context any more.
	defer context.AfterFunc(ctx, func() { resp.Body.Close() })()
	if to.In != nil {
		go feed(conn, to.In)
	}
	if to.Terminal != nil {
		sized, stop := context.WithCancel(ctx)
		defer stop()
		go c.resize(sized, exec, to.Terminal)
		_, err = io.Copy(to.Out, resp.Body)
	} else {
		err = unframe(to.Out, to.Err, bufio.NewReader(resp.Body))
	}
	if err != nil {
		return streamError(ctx, err)
	}
	return Ended(ctx)
}

// refusal is the engine's answer when it has not started the program.
func refusal(resp *http.Response) error {
	var answer struct{ Message string }
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16)) // The status alone is an error, too.
	if json.Unmarshal(text, &answer) == nil && answer.Message != "" {
		text = []byte(answer.Message)
	}
	return fmt.Errorf("%s: %s", resp.Status, text)
}

// feed passes the input on, and its end. A program that ends first reads no
// more, which is no failure.
func feed(conn io.Writer, in io.Reader) {
	if _, err := io.Copy(conn, in); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // As above.
	}
}

// resize follows the user's terminal. A size that does not arrive makes the
// output uglier, and no more.
func (c *Client) resize(ctx context.Context, exec string, sizes <-chan Size) {
	for {
		select {
		case <-ctx.Done():
			return
		case size, more := <-sizes:
			if !more {
				return
			}
			c.resizeTo(ctx, exec, size)
		}
	}
}

// resizeWithin is how long a busy engine may take to start a program.
const resizeWithin = 30 * time.Second

// resizeTo is refused for a moment: the engine accepts the connection before it
// starts the program, and does not report the start.
func (c *Client) resizeTo(ctx context.Context, exec string, size Size) {
	ctx, cancel := context.WithTimeout(ctx, resizeWithin)
	defer cancel()
	for {
		_, err := c.api.ExecResize(ctx, exec, client.ExecResizeOptions{Width: uint(size.Width), Height: uint(size.Height)})
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// unframe is demultiplex for what has no end yet, and keeps the streams apart.
func unframe(stdout, stderr io.Writer, from *bufio.Reader) error {
	framed, err := isFramed(from)
	if err != nil {
		return ignoreEOF(err)
	}
	if !framed {
		_, err = io.Copy(stdout, from)
		return err
	}
	_, err = stdcopy.StdCopy(stdout, stderr, from)
	return err
}
