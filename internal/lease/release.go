package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/kstep/kstep/internal/exit"
)

// Release frees the lease, if the holder's release still has it. Another job of
// the release that is at work takes a new number.
func (s Store) Release(ctx context.Context, l Lease) error { return s.free(ctx, l, nil) }

// Park marks the lease as one that no job works under. A job that continues the
// release, or is still at work for it, removes the mark with the next renewal.
func (s Store) Park(ctx context.Context, l Lease) error {
	l.Holder.Parked = true
	if err := s.write(ctx, l.Token, l.Holder); err != nil {
		return fmt.Errorf("park the lease: %w", err)
	}
	return nil
}

// End frees a lease for good: jobs of its release that are still at work stop.
// by is who did it.
func (s Store) End(ctx context.Context, l Lease, by string) error {
	data, err := json.Marshal(Holder{
		Release: l.Holder.Release, Version: l.Holder.Version, By: by, Released: true, Ended: true,
	})
	if err != nil {
		return err
	}
	return s.free(ctx, l, data)
}

// free uses up the next number. One that a job of the same release took
// meanwhile is freed too.
func (s Store) free(ctx context.Context, l Lease, content []byte) error {
	for {
		err := s.Files.Create(ctx, s.file(l.Token+1), content, 0o644)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		seen, err := s.look(ctx)
		if err != nil {
			return err
		}
		now, err := s.read(ctx, seen)
		if err != nil {
			return err
		}
		ends := content != nil && !now.Holder.Ended
		if now.Holder.Release != l.Holder.Release || (now.Holder.Released && !ends) {
			return nil
		}
		l = now
	}
}

// heldError is a lease that another release holds.
type heldError struct{ by Lease }

func (e *heldError) Error() string {
	return fmt.Sprintf("the lease is held by %s; it expires in %s", e.by.Holder, e.by.Left.Round(time.Second))
}

// Unheld fails with exit.LeaseHeld where Acquire would, because another release
// holds the lease. It takes nothing.
func (s Store) Unheld(ctx context.Context, release string) error {
	_, inUse, err := s.Peek(ctx)
	if err != nil || !inUse {
		return err
	}
	now, err := s.Current(ctx)
	if err != nil || now.Free() || now.YieldsTo(release) || now.Holder.Release == release {
		return err
	}
	return held(now)
}

func held(by Lease) error {
	return exit.With(exit.LeaseHeld, &heldError{by},
		"queue with --wait, or see kstep lock status; if its holder no longer runs: kstep lock release --force")
}

func overtaken(by Lease) error {
	if by.Holder.Ended {
		return exit.With(exit.LeaseHeld, fmt.Errorf("release %s was ended by %s", by.Holder.Release, by.Holder.By),
			"deploy again if it should go on")
	}
	return exit.With(exit.LeaseHeld, fmt.Errorf("fenced off: %s has had the lease since", by.Holder),
		"nothing more is changed; if this version is the one you want, begin a new release of it: kstep deploy, or --new-release at the first stage of a pipeline")
}
