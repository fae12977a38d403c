package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

// entry is a numbered file: a lease, or a ticket of the queue.
type entry struct {
	token    int
	modified time.Time
	size     int64
}

// look is one listing of the folder.
type look struct {
	leases  []entry // Highest number first.
	tickets []entry // Lowest number first.
}

// look lists the folder. What is neither lease nor ticket is passed over.
func (s Store) look(ctx context.Context) (look, error) {
	var seen look
	files, err := s.Files.List(ctx, s.Dir)
	if err != nil {
		return seen, s.unlisted(ctx, err)
	}
	for _, f := range files {
		name, isTicket := strings.CutPrefix(f.Name, ticketPrefix)
		number, ok := strings.CutSuffix(name, ".json")
		token, err := strconv.Atoi(number)
		if !ok || err != nil || token < 1 || f.IsDir {
			continue
		}
		e := entry{token, f.Modified, f.Size}
		if isTicket {
			seen.tickets = append(seen.tickets, e)
		} else {
			seen.leases = append(seen.leases, e)
		}
	}
	slices.SortFunc(seen.leases, func(a, b entry) int { return cmp.Compare(b.token, a.token) })
	slices.SortFunc(seen.tickets, func(a, b entry) int { return cmp.Compare(a.token, b.token) })
	return seen, nil
}

// errNoFolder is a file in the place of the lease's folder.
var errNoFolder = errors.New("it is a file, not kstep's folder")

// unlisted explains a folder that cannot be listed.
func (s Store) unlisted(ctx context.Context, err error) error {
	if e, look := s.Files.Stat(ctx, s.Dir); look == nil && !e.IsDir {
		return exit.With(exit.BadState, fmt.Errorf("lease %s: %w", s.Dir, errNoFolder),
			"look at the file; kstep lock release --force removes it")
	}
	return fmt.Errorf("read lease: %w", err)
}

// Repair makes the lease free when what lies in its place is not kstep's.
func (s Store) Repair(ctx context.Context, by string) error {
	seen, err := s.look(ctx)
	if errors.Is(err, errNoFolder) {
		return s.Files.Remove(ctx, host.Inside(path.Dir(s.Dir), s.Dir))
	}
	if err != nil || len(seen.leases) == 0 {
		return err
	}
	top := seen.leases[0].token
	_, err = s.create(ctx, Lease{Token: top + 1, Holder: Holder{Release: "none", By: by, Released: true, Ended: true}})
	return err
}

// now is the host's time, as its file system stamps it.
func (s Store) now(ctx context.Context) (time.Time, error) {
	clock := path.Join(s.Dir, "clock")
	if err := s.Files.Write(ctx, clock, nil, 0o644); err != nil {
		return time.Time{}, fmt.Errorf("read the host's clock: %w", err)
	}
	e, err := s.Files.Stat(ctx, clock)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the host's clock: %w", err)
	}
	return e.Modified, nil
}

// forget removes the oldest numbers, in one go when there are many.
func (s Store) forget(ctx context.Context, seen []entry, token int) error {
	if len(seen) < 2*keep {
		return nil
	}
	for _, e := range seen {
		if e.token <= token-keep {
			if err := s.Files.Remove(ctx, host.Inside(s.Dir, s.file(e.token))); err != nil {
				return fmt.Errorf("forget old lease: %w", err)
			}
		}
	}
	return nil
}
