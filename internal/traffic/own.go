package traffic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
)

// ownFile is the role's file in the folder that the proxy watches. It remembers
// what the file was before, to put it back.
type ownFile struct {
	before  []byte // Nil where there was no file.
	written bool
	now     *parsedRoute // Read already, and not written since.
}

// read is what the file says; false where there is none. It is read once: a
// switch lives as long as one move.
func (f *ownFile) read(ctx context.Context, r Role) (parsedRoute, bool, error) {
	if f.now != nil {
		return *f.now, true, nil
	}
	at := r.Names.RouteFile(r.Name)
	data, err := r.Host.Files().Read(ctx, at)
	if errors.Is(err, fs.ErrNotExist) {
		return parsedRoute{}, false, nil
	}
	if err != nil {
		return parsedRoute{}, false, err
	}
	now, err := parseRoute(data)
	if err != nil {
		return parsedRoute{}, false, fmt.Errorf("read route %s: %w", at, err)
	}
	f.now = &now
	return now, true, nil
}

// claim writes the file, if no other owner has what it claims, and waits until
// confirm sees it in the proxy. Another owner's deploy may write at the same
// moment, so the routes are looked at again: of two that claim the same requests
// at once, at most one gets them.
func (f *ownFile) claim(ctx context.Context, r Role, o routeOptions, confirm func(context.Context) error) error {
	v, table, err := r.checked(ctx)
	if err != nil {
		return err
	}
	if m, _ := table.Closed(o.Claim.Owner); m != nil {
		c := r.closure(*m)
		o.Closed = &c
	}
	o.Priorities = v.Priorities
	if !f.written {
		f.before, err = r.Host.Files().Read(ctx, r.Names.RouteFile(r.Name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f.written = true
	}
	o.HTTPS = o.HTTPS.keeps(f.before, o.Name, o.Claim)
	if err := f.write(ctx, r, o.encode()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var contested, unconfirmed error
	var wg sync.WaitGroup
	if !v.Kept {
		wg.Go(func() {
			if contested = r.contested(ctx, f.before); contested != nil {
				cancel()
			}
		})
	}
	unconfirmed = confirm(ctx)
	wg.Wait()
	if contested != nil {
		return contested
	}
	return unconfirmed
}

func (f *ownFile) write(ctx context.Context, r Role, data []byte) error {
	f.now = nil
	return r.Host.Files().WriteVia(ctx, r.Names.ProxyDir(), r.Names.RouteFile(r.Name), data, 0o644)
}

// restore makes the file what it was before claim; false where claim has not
// written it.
func (f *ownFile) restore(ctx context.Context, r Role) (bool, error) {
	switch {
	case !f.written:
		return false, nil
	case f.before == nil:
		return true, r.RemoveRoute(ctx)
	}
	return true, f.write(ctx, r, f.before)
}

// contestTime is how long one of two owners that claim the same requests at the
// same moment waits for the other one to leave. The other one sees the conflict
// too, at the latest a look at the routes later.
const contestTime = 5 * time.Second

// contested looks at the routes again, after the role's own was written. The
// owner whose route comes first in the alphabet gives way at once; the other one
// waits for that, and gives way where it does not happen: then that one had
// looked before this one wrote.
func (r Role) contested(ctx context.Context, before []byte) error {
	mine := r.claim()
	name := r.Names.Route(r.Name)
	until := time.Now().Add(contestTime)
	for {
		table, err := ReadTable(ctx, r.Host, r.Names.RouteDir())
		if err != nil {
			return err
		}
		table.replace(mine.Owner, before)
		v, err := table.Check(ctx, mine)
		if err != nil || len(v.Conflicts) == 0 {
			return err
		}
		for _, c := range v.Conflicts {
			if name < plan.RouteOf(c.Theirs.Owner) || time.Now().After(until) {
				return exit.With(exit.Failed, fmt.Errorf("another deploy was faster: %w", v.Err()))
			}
		}
		if err := wait(ctx, askPause); err != nil {
			return err
		}
	}
}
