package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
)

// Follow tells every line that a container has written since an instant of the
// engine's clock and will write, both streams in order, until the container
// ends.
func (c *Client) Follow(ctx context.Context, id string, since time.Time, line func(string)) error {
	return c.Output(ctx, id, Lines{Since: since, Follow: true}, line)
}

// Lines are some of those that a container wrote: the last ones, those since an
// instant of the engine's clock, or both; all of them, if neither is said.
type Lines struct {
	Last  int
	Since time.Time
	// Follow also waits for those that it will write, until it ends.
	Follow bool
}

// Output tells a container's lines, both streams in order.
func (c *Client) Output(ctx context.Context, id string, which Lines, line func(string)) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	options := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: which.Follow}
	if !which.Since.IsZero() {
		options.Since = timestamp(which.Since)
	}
	if which.Last > 0 {
		options.Tail = strconv.Itoa(which.Last)
	}
	body, err := c.api.ContainerLogs(ctx, id, options)
	if err != nil {
		return c.fail("follow the output of container "+id, err)
	}
	defer body.Close()
	text, frames := io.Pipe()
	defer text.Close()
	go func() { frames.CloseWithError(unframe(frames, frames, bufio.NewReader(body))) }()
	for lines := bufio.NewReader(text); ; {
		one, err := lines.ReadString('\n')
		if one != "" {
			line(strings.TrimRight(one, "\r\n"))
		}
		// The end of ctx closes the connection, and what is below may take that for
		// the end of the output.
		if errors.Is(err, io.EOF) && Ended(ctx) == nil {
			return nil
		}
		if err != nil {
			return c.fail("follow the output of container "+id, streamError(ctx, err))
		}
	}
}

// unframe is demultiplex for what has no end yet, and keeps the streams apart.
func unframe(stdout, stderr io.Writer, from *bufio.Reader) error {
	head, err := from.Peek(8)
	if len(head) == 0 {
		return ignoreEOF(err)
	}
	if len(head) < 8 || head[0] > 3 || !bytes.Equal(head[1:4], []byte{0, 0, 0}) {
		_, err = io.Copy(stdout, from)
		return err
	}
	_, err = stdcopy.StdCopy(stdout, stderr, from)
	return err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
