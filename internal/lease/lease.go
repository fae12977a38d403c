// Package lease lets one release at a time touch the hosts of a service and
// destination, across processes and runners. It lives on one host as a folder
// of files named by a rising number, the fencing token: the highest one is the
// lease. Taking it is the exclusive creation of the next number, so of several
// takers exactly one wins, and a holder that was overtaken cannot get back in
// by writing to its own file. All times are the host's: runners' clocks differ.
package lease

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

// Holder is who holds a lease, and why.
type Holder struct {
	Release string `json:"release"`
	Version string `json:"version,omitempty"`
	By      string `json:"by,omitempty"`
	RunURL  string `json:"runUrl,omitempty"`
	Stage   string `json:"stage,omitempty"`
	// Message is set by people who hold the lease by hand.
	Message string `json:"message,omitempty"`
	// TTL is how long the lease lives after its last renewal.
	TTL time.Duration `json:"ttlNs"`
	// Released tells that the holder is done.
	Released bool `json:"released,omitempty"`
}

func (h Holder) String() string {
	var who strings.Builder
	who.WriteString("release " + h.Release)
	if h.Version != "" {
		who.WriteString(" (version " + h.Version + ")")
	}
	for _, part := range []struct{ before, text string }{
		{" by ", h.By}, {", at stage ", h.Stage}, {", ", h.RunURL}, {": ", h.Message},
	} {
		if part.text != "" {
			who.WriteString(part.before + part.text)
		}
	}
	return who.String()
}

// Lease is one file: a number and its holder.
type Lease struct {
	Token  int
	Holder Holder
	// Renewed is the host's time of the last heartbeat, Left what remains.
	Renewed time.Time
	Left    time.Duration
}

// Free tells whether another release may take over.
func (l Lease) Free() bool { return l.Token == 0 || l.Holder.Released || l.Left <= 0 }

// Store is the folder on the lease host.
type Store struct {
	Files host.Files
	Dir   string
}

// keep is how many old leases stay, for people who ask what happened. When
// there are twice as many, the rest is removed.
const keep = 5

// Current reads the lease with the highest token; a Lease without token means
// that there never was one.
func (s Store) Current(ctx context.Context) (Lease, error) {
	l, _, err := s.read(ctx)
	if err != nil || l.Token == 0 || l.Holder.Released {
		return l, err
	}
	return s.aged(ctx, l)
}

// read returns the lease with the highest token, and the older ones' tokens.
func (s Store) read(ctx context.Context) (l Lease, older []entry, err error) {
	entries, err := s.tokens(ctx)
	if err != nil || len(entries) == 0 {
		return l, nil, err
	}
	top := entries[0]
	data, err := s.Files.Read(ctx, s.file(top.token))
	if err != nil {
		return l, nil, fmt.Errorf("read lease: %w", err)
	}
	l = Lease{Token: top.token, Renewed: top.modified}
	if err := json.Unmarshal(data, &l.Holder); err != nil {
		return l, nil, exit.With(exit.BadState, fmt.Errorf("lease %s is not one of kstep's: %w", s.file(top.token), err),
			"look at the file; kstep lock release --force frees it")
	}
	return l, entries[1:], nil
}

// aged fills in what is left of a lease.
func (s Store) aged(ctx context.Context, l Lease) (Lease, error) {
	now, err := s.now(ctx)
	l.Left = l.Holder.TTL - now.Sub(l.Renewed)
	return l, err
}

// Acquired is how a lease was come by.
type Acquired struct {
	Lease Lease
	// Entered tells that the release had the lease already.
	Entered bool
	// Taken is the expired lease of another release that was taken over.
	Taken *Lease
}

// Acquire takes the lease for the holder's release, or enters it again when
// that release holds it. exit.LeaseHeld means that another one does.
func (s Store) Acquire(ctx context.Context, h Holder) (Acquired, error) {
	now, older, err := s.read(ctx)
	if err != nil {
		return Acquired{}, err
	}
	inUse := now.Token > 0 && !now.Holder.Released
	if inUse && now.Holder.Release == h.Release {
		return Acquired{Lease: Lease{Token: now.Token, Holder: h}, Entered: true}, s.write(ctx, now.Token, h)
	}
	if inUse {
		if now, err = s.aged(ctx, now); err != nil {
			return Acquired{}, err
		}
		if !now.Free() {
			return Acquired{}, held(now)
		}
	}
	data, err := json.Marshal(h)
	if err != nil {
		return Acquired{}, err
	}
	got := Acquired{Lease: Lease{Token: now.Token + 1, Holder: h}}
	err = s.Files.Create(ctx, s.file(got.Lease.Token), data, 0o644)
	if errors.Is(err, fs.ErrExist) { // Another taker was faster.
		return s.Acquire(ctx, h)
	}
	if err != nil {
		return Acquired{}, fmt.Errorf("take lease: %w", err)
	}
	if inUse {
		got.Taken = &now
	}
	return got, s.forget(ctx, older, got.Lease.Token)
}

// Renew is the heartbeat. It fails with exit.LeaseHeld once another release has
// the lease.
func (s Store) Renew(ctx context.Context, l Lease) error {
	entries, err := s.tokens(ctx)
	if err != nil {
		return err
	}
	if len(entries) > 0 && entries[0].token > l.Token {
		now, err := s.Current(ctx)
		if err != nil {
			return err
		}
		return held(now)
	}
	return s.write(ctx, l.Token, l.Holder)
}

// Release frees the lease, if the holder still has it.
func (s Store) Release(ctx context.Context, l Lease) error {
	l.Holder.Released = true
	return s.write(ctx, l.Token, l.Holder)
}

func held(by Lease) error {
	return exit.With(exit.LeaseHeld, fmt.Errorf("the lease is held by %s; it expires in %s", by.Holder, by.Left.Round(time.Second)),
		"wait for it, or see kstep lock status; if its holder is gone for good: kstep lock release --force")
}

func (s Store) file(token int) string {
	return path.Join(s.Dir, fmt.Sprintf("%08d.json", token))
}

func (s Store) write(ctx context.Context, token int, h Holder) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return s.Files.Write(ctx, s.file(token), data, 0o644)
}

type entry struct {
	token    int
	modified time.Time
}

// tokens are the leases there are, highest first.
func (s Store) tokens(ctx context.Context) ([]entry, error) {
	files, err := s.Files.List(ctx, s.Dir)
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, f := range files {
		number, ok := strings.CutSuffix(f.Name, ".json")
		token, err := strconv.Atoi(number)
		if ok && err == nil {
			all = append(all, entry{token, f.Modified})
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(b.token, a.token) })
	return all, nil
}

// now is the host's time, as its file system stamps it.
func (s Store) now(ctx context.Context) (time.Time, error) {
	clock := path.Join(s.Dir, "clock")
	if err := s.Files.Write(ctx, clock, nil, 0o644); err != nil {
		return time.Time{}, fmt.Errorf("ask the host's clock: %w", err)
	}
	e, err := s.Files.Stat(ctx, clock)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the host's clock: %w", err)
	}
	return e.Modified, nil
}

func (s Store) forget(ctx context.Context, older []entry, token int) error {
	if len(older) < 2*keep {
		return nil
	}
	for _, e := range older {
		if e.token <= token-keep {
			if err := s.Files.Remove(ctx, s.file(e.token)); err != nil {
				return fmt.Errorf("forget old lease: %w", err)
			}
		}
	}
	return nil
}
