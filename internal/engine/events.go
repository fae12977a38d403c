package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/client"
)

// Events streams what happens to containers from an instant of the engine's
// clock on, until ctx ends or the connection does, which is the last item's
// error. The zero instant means from now on; the subscription stands when
// Events returns, so what is observed afterwards cannot miss a change.
func (c *Client) Events(ctx context.Context, f Filter, since time.Time) (iter.Seq2[Event, error], error) {
	if _, err := c.ready(ctx); err != nil {
		return nil, err
	}
	terms := f.labels().Add("type", "container")
	terms.Add("container", slices.Concat(f.IDs, f.Names)...)
	if len(f.IDs)+len(f.Names) == 0 {
		delete(terms, "container")
	}
	options := client.EventsListOptions{Filters: terms}
	if !since.IsZero() {
		options.Since = timestamp(since)
	}
	ctx, cancel := context.WithCancel(ctx)
	stream := c.api.Events(ctx, options) // Returns when the engine has answered.
	select {
	case err := <-stream.Err:
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // Subscribed, and lost at once.
			err = streamError(ctx, err)
		}
		cancel() // Before, it would pass for the caller's own end.
		return nil, c.fail("follow events", err)
	default:
	}
	return func(yield func(Event, error) bool) {
		defer cancel()
		for {
			select {
			case m := <-stream.Messages:
				event := Event{
					Container: m.Actor.ID, Name: m.Actor.Attributes["name"],
					Action: string(m.Action), Time: time.Unix(0, m.TimeNano).UTC(),
				}
				if !yield(event, nil) {
					return
				}
			case err := <-stream.Err:
				yield(Event{}, c.fail("follow events", streamError(ctx, err)))
				return
			}
		}
	}, nil
}

// timestamp is an instant as the engine reads it.
func timestamp(t time.Time) string {
	return strconv.FormatInt(t.Unix(), 10) + fmt.Sprintf(".%09d", t.Nanosecond())
}

// reconnects is how often WaitFor subscribes again in a row without having
// seen anything: an engine that restarts ends its streams.

const reconnects = 3

// WaitFor returns when done says so of the container, or fails, or ctx ends.
// It observes the container, and again after each of its events.
func (c *Client) WaitFor(ctx context.Context, id string, done func(Container) (bool, error)) error {
	failures := 0
	for {
		ended, progress, err := c.follow(ctx, id, done)
		if ended {
			return err
		}
		if progress {
			failures = 0
		}
		failures++
		if failures > reconnects || !errors.Is(err, errStream) {
			return err
		}
	}
}

// errStream is an event stream that ended by itself.
var errStream = errors.New("the stream of events ended")

func (c *Client) follow(ctx context.Context, id string, done func(Container) (bool, error)) (ended, progress bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := c.Events(ctx, Filter{IDs: []string{id}}, time.Time{})
	if errors.Is(err, ErrUnreachable) && ctx.Err() == nil {
		return false, false, fmt.Errorf("%w: %w", errStream, err)
	}
	if err != nil {
		return true, false, err
	}
	look := func() (bool, error) {
		now, err := c.Inspect(ctx, id)
		if err != nil {
			return true, err
		}
		return done(now)
	}
	if ok, err := look(); ok || err != nil {
		return true, true, err
	}
	for event, err := range events {
		if err != nil {
			if ended := Ended(ctx); ended != nil {
				return true, progress, ended
			}
			return false, progress, fmt.Errorf("%w: %w", errStream, err)
		}
		progress = true
		if skipped(event.Action) {
			continue
		}
		if ok, err := look(); ok || err != nil {
			return true, true, err
		}
	}
	return false, progress, fmt.Errorf("%w: %w", errStream, io.EOF)
}

// skipped are events that cannot have changed what done looks at. The end of
// a health check's program is not among them: it may have changed the health
// log, for which there is no event of its own.
func skipped(action string) bool {
	name, _, _ := strings.Cut(action, ":")
	return slices.Contains([]string{"exec_create", "attach", "detach", "resize", "top", "copy", "archive-path", "export"}, name)
}
