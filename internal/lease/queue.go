package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/linger"
)

// Those who wait for the lease draw a ticket: a numbered file beside it, which
// they write again as long as they wait. The lowest live ticket is next.
const (
	ticketPrefix = "wait-"
	// lookPause is the pause between two looks at a lease that another release holds; a
	// host does not report that a file changed.
	lookPause = time.Second
	// ticketLife is how long a ticket counts after it was last written.
	ticketLife = 10 * time.Second
	// leaving bounds the return of a ticket after an interruption.
	leaving = 2 * time.Second
)

// Wait is Acquire that queues for up to limit, first come first served. It
// calls waiting for each new reason.
func (s Store) Wait(ctx context.Context, h Holder, limit time.Duration, waiting func(reason error)) (Acquired, error) {
	got, err := s.Acquire(ctx, h)
	if limit <= 0 || exit.CodeOf(err) != exit.LeaseHeld {
		return got, err
	}
	began := time.Now()
	ticket, err2 := s.draw(ctx, h)
	if err2 != nil {
		return got, err2
	}
	defer func() {
		ctx, cancel := linger.Context(ctx, leaving)
		defer cancel()
		_ = s.Files.Remove(ctx, host.Inside(s.Dir, s.ticket(ticket))) // It dies by itself otherwise.
	}()
	last := ""
	for {
		if reason := behind(err); reason != last {
			last = reason
			waiting(err)
		}
		if time.Since(began) >= limit {
			return got, fmt.Errorf("waited %s: %w", limit, err)
		}
		select {
		case <-ctx.Done():
			return got, context.Cause(ctx)
		case <-time.After(lookPause):
		}
		if err = s.stamp(ctx, ticket, h); err != nil {
			return got, err
		}
		if got, err = s.acquire(ctx, h, claim{ticket: ticket}); exit.CodeOf(err) != exit.LeaseHeld {
			return got, err
		}
	}
}

// Waiting are those who queue, first come first. Of one whose ticket cannot be
// read only that it waits is known.
func (s Store) Waiting(ctx context.Context) ([]Holder, error) {
	seen, err := s.look(ctx)
	if err != nil || len(seen.tickets) == 0 {
		return nil, err
	}
	now, err := s.now(ctx)
	if err != nil {
		return nil, err
	}
	var all []Holder
	for _, e := range seen.tickets {
		if !alive(e, now) {
			continue
		}
		data, err := s.Files.Read(ctx, s.ticket(e.token))
		if errors.Is(err, fs.ErrNotExist) {
			continue // Has its turn.
		}
		if err != nil {
			return nil, err
		}
		h := Holder{Release: "unknown"}
		_ = json.Unmarshal(data, &h) // As far as it is one.
		all = append(all, h)
	}
	return all, nil
}

// alive reports whether the owner of a ticket still waits.
func alive(ticket entry, now time.Time) bool { return now.Sub(ticket.modified) <= ticketLife+grain }

// behind is who is waited for, without the time that passes.
func behind(err error) string {
	if q, ok := errors.AsType[*queueError](err); ok {
		return q.Error()
	}
	if h, ok := errors.AsType[*heldError](err); ok {
		return h.by.Holder.Release + h.by.Holder.Stage
	}
	return err.Error()
}

func (s Store) ticket(number int) string {
	return path.Join(s.Dir, fmt.Sprintf("%s%08d.json", ticketPrefix, number))
}

// draw takes the next free number of the queue.
func (s Store) draw(ctx context.Context, h Holder) (int, error) {
	data, err := json.Marshal(h)
	if err != nil {
		return 0, err
	}
	for {
		seen, err := s.look(ctx)
		if err != nil {
			return 0, err
		}
		number := 1
		if n := len(seen.tickets); n > 0 {
			number = seen.tickets[n-1].token + 1
		}
		err = s.Files.Create(ctx, s.ticket(number), data, 0o644)
		if err == nil || !errors.Is(err, fs.ErrExist) {
			return number, err
		}
	}
}

// stamp shows that the ticket's owner still waits.
func (s Store) stamp(ctx context.Context, number int, h Holder) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return s.Files.Write(ctx, s.ticket(number), data, 0o644)
}

// yield lets earlier tickets go first. Tickets that were not written for a
// while are dead, and removed.
func (s Store) yield(ctx context.Context, tickets []entry, c claim) error {
	ahead := slices.DeleteFunc(slices.Clone(tickets), func(e entry) bool { return c.ticket > 0 && e.token >= c.ticket })
	if c.held > 0 || len(ahead) == 0 {
		return nil
	}
	now, err := s.now(ctx)
	if err != nil {
		return err
	}
	live := 0
	for _, e := range ahead {
		if alive(e, now) {
			live++
			continue
		}
		if err := s.Files.Remove(ctx, host.Inside(s.Dir, s.ticket(e.token))); err != nil {
			return err
		}
	}
	if live == 0 {
		return nil
	}
	return exit.With(exit.LeaseHeld, &queueError{live}, "queue with --wait")
}

// queueError is a lease that is free, but others came first.
type queueError struct{ ahead int }

func (e *queueError) Error() string {
	if e.ahead == 1 {
		return "another release waits for the lease and comes first"
	}
	return fmt.Sprintf("%d other releases wait for the lease and come first", e.ahead)
}
