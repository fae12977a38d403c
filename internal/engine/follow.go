package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/kstep/kstep/internal/lines"
)

// Line is a line that a container wrote to one of its streams.
type Line struct {
	// Time is when the engine took it, by the engine's clock. Zero where the log
	// driver does not say.
	Time time.Time
	Text string
}

// Lines are some of those that a container wrote: the last ones, those since an
// instant of the engine's clock, or both; all of them, if neither is said.
type Lines struct {
	Last  int
	Since time.Time
	// Follow also waits for those that it will write, until it ends.
	Follow bool
}

// Follow passes on every line that a container has written since an instant of
// the engine's clock and will write, both streams in order, until the container
// ends.
func (c *Client) Follow(ctx context.Context, id string, since time.Time, line func(string)) error {
	return c.Output(id).Read(ctx, Lines{Since: since, Follow: true}, func(l Line) { line(l.Text) })
}

// Output is what a container writes, read in pieces: each Read goes on behind
// what was read before. It is for one goroutine.
type Output struct {
	c  *Client
	id string

	at   time.Time // The latest line that was passed on,
	same int       // and how many lines of that very instant were.
}

// Output reads what a container writes, from its first line on.
func (c *Client) Output(id string) *Output { return &Output{c: c, id: id} }

// Read passes on lines, both streams in order, each as soon as the engine has
// it. A connection that breaks is replaced, and no line is passed on twice.
func (o *Output) Read(ctx context.Context, which Lines, line func(Line)) error {
	if _, err := o.c.ready(ctx); err != nil {
		return err
	}
	for failures := 0; ; failures++ {
		before := *o
		err := o.read(ctx, which, line)
		if *o != before {
			failures = 0
		}
		if !errors.Is(err, ErrUnreachable) || failures == reconnects || Ended(ctx) != nil {
			return err
		}
	}
}

func (o *Output) read(ctx context.Context, which Lines, line func(Line)) error {
	if err := o.c.beforeText(ctx, o.id); err != nil {
		return err
	}
	options := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: which.Follow}
	since, skip := which.Since, 0
	if o.at.After(since) {
		since, skip = o.at, o.same
	} else if which.Last > 0 {
		options.Tail = strconv.Itoa(which.Last)
	}
	if !since.IsZero() {
		options.Since = timestamp(since)
	}
	what := "read the output of container " + o.id
	body, err := o.c.api.ContainerLogs(ctx, o.id, options)
	if err != nil {
		return o.c.fail(what, err)
	}
	defer body.Close()
	err = readLines(body, func(l Line) {
		if skip > 0 && l.Time.Equal(o.at) {
			skip--
			return
		}
		o.note(l.Time)
		line(l)
	})
	// The end of ctx closes the connection, and what is below may take that for
	// the end of the output.
	if err == nil && Ended(ctx) == nil {
		return nil
	}
	return o.c.fail(what, streamError(ctx, err))
}

func (o *Output) note(t time.Time) {
	switch {
	case t.Equal(o.at):
		o.same++
	case t.After(o.at):
		o.at, o.same = t, 1
	}
}

// frameHead is the size of what stands before each piece of an output: the
// stream, three zeros, and the piece's length.
const frameHead = 8

// readLines passes on the lines of an output with timestamps. A container with
// a terminal has one stream and no frames.
func readLines(body io.Reader, line func(Line)) error {
	from := bufio.NewReader(body)
	framed, err := isFramed(from)
	if err != nil {
		return ignoreEOF(err)
	}
	if !framed {
		return readPlain(from, line)
	}
	return readFrames(from, line)
}

// isFramed looks at the beginning of an output; one without a byte is an error.
func isFramed(from *bufio.Reader) (bool, error) {
	head, err := from.Peek(frameHead)
	if len(head) == 0 {
		return false, err
	}
	return len(head) == frameHead && head[0] <= 3 && bytes.Equal(head[1:4], []byte{0, 0, 0}), nil
}

func readPlain(from *bufio.Reader, line func(Line)) error {
	limited := bufio.NewReaderSize(from, lines.Max)
	for {
		text, err := limited.ReadSlice('\n')
		if len(text) > 0 {
			at, text := cutTime(string(text))
			line(Line{at, strings.TrimRight(text, "\r\n")})
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return ignoreEOF(err)
		}
	}
}

// readFrames puts the pieces of long lines together: the engine gives each a
// time of its own. A line of more than lines.Max bytes is cut into several.
func readFrames(from io.Reader, line func(Line)) error {
	var head [frameHead]byte
	var open [4]*Line // By stream.
	for {
		if _, err := io.ReadFull(from, head[:]); err != nil {
			for _, l := range open {
				if l != nil {
					line(*l)
				}
			}
			return ignoreEOF(err)
		}
		var at time.Time
		stream := &open[head[0]&3]
		for size, begun := binary.BigEndian.Uint32(head[4:]), false; size > 0 || !begun; begun = true {
			piece := make([]byte, min(size, lines.Max))
			if _, err := io.ReadFull(from, piece); err != nil {
				return err
			}
			size -= uint32(len(piece))
			text := string(piece)
			if !begun {
				at, text = cutTime(text)
			}
			if *stream == nil {
				*stream = &Line{Time: at}
			}
			(*stream).Text += text
			if ended := size == 0 && strings.HasSuffix(text, "\n"); ended || len((*stream).Text) >= lines.Max {
				(*stream).Text = strings.TrimRight((*stream).Text, "\r\n")
				line(**stream)
				*stream = nil
			}
		}
	}
}

// cutTime splits what the engine puts before a line from it.
func cutTime(text string) (time.Time, string) {
	if before, after, ok := strings.Cut(text, " "); ok {
		if at, err := time.Parse(time.RFC3339Nano, before); err == nil {
			return at.UTC(), after
		}
	}
	return time.Time{}, text
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
