// Package lease lets one release at a time touch the hosts of a service and
// destination, across processes and runners. It lives on one host as a folder
// of files named by a rising number, the fencing token: the highest one is the
// lease. Taking it is the exclusive creation of the next number, and so is
// freeing it: of several processes exactly one wins, and a holder that was
// overtaken cannot get back in by writing to its own file. All times are the
// host's: runners' clocks differ. It knows nothing of deploys.
package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
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
	// Run is the same for all jobs and attempts of one CI run.
	Run   string `json:"run,omitempty"`
	Stage string `json:"stage,omitempty"`
	// Message is set by people who hold the lease by hand.
	Message string `json:"message,omitempty"`
	// TTL is how long the lease lives after its last renewal.
	TTL time.Duration `json:"ttlNs"`
	// Released is set when the holder is done.
	Released bool `json:"released,omitempty"`
	// Parked is set when a stage of the release failed and no job works for it:
	// the release may go on, and a newer one does not wait for it.
	Parked bool `json:"parked,omitempty"`
	// Ended is set when the release as a whole is given up: it is being aborted,
	// or was freed by force. Its jobs with a lower token must stop.
	Ended bool `json:"ended,omitempty"`
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

// Free reports whether another release may take over.
func (l Lease) Free() bool { return !l.inUse() || l.Left <= 0 }

// YieldsTo reports whether a release may take the lease although it is in use:
// it is parked, and the release is a newer one.
func (l Lease) YieldsTo(release string) bool {
	return l.Holder.Parked && release > l.Holder.Release
}

func (l Lease) inUse() bool { return l.Token > 0 && !l.Holder.Released }

// Store is the folder on the lease host.
type Store struct {
	Host  string // The lease host's name.
	Files host.Files
	Dir   string
}

// keep is how many old leases stay, to look up what happened. When there are
// twice as many, the rest is removed.
const keep = 10

// grain is the precision of file times on a host: SFTP has whole seconds. A
// holder trusts its lease for that much less than the TTL, all others for that
// much more.
const grain = time.Second

// MinTTL is the least TTL: below it, file times could not show an expiry.
const MinTTL = 3 * grain

// maxSize is far more than a lease ever has.
const maxSize = 64 << 10

// Current reads the lease with the highest token; a Lease without token means
// that there never was one.
func (s Store) Current(ctx context.Context) (Lease, error) {
	seen, err := s.look(ctx)
	if err != nil {
		return Lease{}, err
	}
	l, err := s.read(ctx, seen)
	if err != nil || !l.inUse() {
		return l, err
	}
	return s.aged(ctx, l)
}

// Peek is Current for callers that may not write on the host: reading its clock
// needs a write, so what is left of the lease is not known.
func (s Store) Peek(ctx context.Context) (l Lease, inUse bool, err error) {
	seen, err := s.look(ctx)
	if err != nil {
		return l, false, err
	}
	l, err = s.read(ctx, seen)
	return l, l.inUse(), err
}

// freed reports whether the highest number is one that was used up to free the
// lease: an empty file. Its last holder is in the file below.
func (s look) freed() bool { return len(s.leases) > 0 && s.leases[0].size == 0 }

// read returns the lease with the highest token. For a file that is not kstep's
// it returns the token too: a repair needs a higher one.
func (s Store) read(ctx context.Context, seen look) (Lease, error) {
	if len(seen.leases) == 0 {
		return Lease{}, nil
	}
	top := seen.leases[0]
	if seen.freed() {
		l := Lease{}
		if len(seen.leases) > 1 && seen.leases[1].token == top.token-1 {
			var err error
			if l, err = s.read(ctx, look{leases: seen.leases[1:]}); err != nil {
				return l, err
			}
		}
		l.Token, l.Renewed, l.Holder.Released = top.token, top.modified, true
		return l, nil
	}
	l := Lease{Token: top.token, Renewed: top.modified}
	broken := func(err error) error {
		return exit.With(exit.BadState, fmt.Errorf("lease %s is not one of kstep's: %w", s.file(top.token), err),
			"look at the file; kstep lock release --force goes past it")
	}
	if top.size > maxSize {
		return l, broken(fmt.Errorf("it has %d bytes", top.size))
	}
	data, err := s.Files.Read(ctx, s.file(top.token))
	if err != nil {
		return l, fmt.Errorf("read lease: %w", err)
	}
	if err := json.Unmarshal(data, &l.Holder); err != nil {
		return l, broken(err)
	}
	if l.Holder.Release == "" {
		return l, broken(errors.New("it names no release"))
	}
	return l, nil
}

// aged fills in what is left of a lease, by the host's clock.
func (s Store) aged(ctx context.Context, l Lease) (Lease, error) {
	now, err := s.now(ctx)
	l.Left = l.Holder.TTL + grain - now.Sub(l.Renewed)
	return l, err
}

// Acquired is how a lease was come by.
type Acquired struct {
	Lease Lease
	// Entered reports whether the release had the lease already.
	Entered bool
	// Taken is the expired or parked lease of another release that was taken over.
	Taken *Lease
}

// Acquire takes the lease for the holder's release, or enters it again when
// that release holds it. exit.LeaseHeld means that another one does, or that
// others wait for it.
func (s Store) Acquire(ctx context.Context, h Holder) (Acquired, error) {
	return s.acquire(ctx, h, claim{})
}

// claim is what a holder has when it requests the lease.
type claim struct {
	ticket int // The place in the queue.
	// held is the number that the release had. Such a release does not queue
	// again, but is fenced off by a higher number of another one.
	held int
}

// acquire is Acquire for a holder with a claim.
func (s Store) acquire(ctx context.Context, h Holder, c claim) (Acquired, error) {
	h.TTL = max(h.TTL, MinTTL)
	for {
		seen, err := s.look(ctx)
		if err != nil {
			return Acquired{}, err
		}
		now, err := s.judged(ctx, seen, c)
		if errors.Is(err, fs.ErrNotExist) {
			continue // Forgotten by another taker: there is a higher one.
		}
		if err != nil {
			return Acquired{}, err
		}
		if c.held > 0 && now.Token > c.held && (now.Holder.Release != h.Release || now.Holder.Ended && !h.Ended) {
			return Acquired{}, overtaken(now)
		}
		var taken *Lease
		switch {
		case now.inUse() && now.Holder.Release == h.Release && h.Ended && !now.Holder.Ended:
			c.held = now.Token // Past its other jobs, and not behind the queue.
		case now.inUse() && now.Holder.Release == h.Release && h.Ended == now.Holder.Ended:
			in, again, err := s.enter(ctx, now, h)
			if again {
				continue
			}
			if in || err != nil {
				return Acquired{Lease: Lease{Token: now.Token, Holder: h}, Entered: true}, err
			}
		case now.inUse():
			if now, err = s.aged(ctx, now); err != nil {
				return Acquired{}, err
			}
			if !now.Free() && !now.YieldsTo(h.Release) {
				return Acquired{}, held(now)
			}
			taken = &now
		}
		if err := s.yield(ctx, seen.tickets, c); err != nil {
			return Acquired{}, err
		}
		got := Acquired{Lease: Lease{Token: now.Token + 1, Holder: h}, Taken: taken}
		won, err := s.create(ctx, got.Lease)
		if err != nil {
			return Acquired{}, fmt.Errorf("take lease: %w", err)
		}
		if won {
			return got, s.forget(ctx, seen.leases, got.Lease.Token)
		}
	}
}

// judged is the lease as far as the claim needs it: without a held number, it
// does not read who freed it.
func (s Store) judged(ctx context.Context, seen look, c claim) (Lease, error) {
	if c.held == 0 && seen.freed() {
		return Lease{Token: seen.leases[0].token, Holder: Holder{Released: true}}, nil
	}
	return s.read(ctx, seen)
}

// enter writes to the release's own lease and checks that it counts: no process
// took a higher number, and the lease had not expired before the write, so none
// can have seen it expired. Else the release has to take a new number, which is
// decided by exclusive creation.
func (s Store) enter(ctx context.Context, now Lease, h Holder) (in, again bool, err error) {
	if err := s.write(ctx, now.Token, h); err != nil {
		return false, false, fmt.Errorf("renew lease: %w", err)
	}
	after, err := s.look(ctx)
	if err != nil {
		return false, false, err
	}
	if len(after.leases) == 0 || after.leases[0].token != now.Token {
		return false, true, nil
	}
	lived := after.leases[0].modified.Sub(now.Renewed)
	return lived < now.Holder.TTL-grain, false, nil
}

// Renew is the heartbeat. The lease it returns may have another number, when a
// job of the same release took a new one. It fails with exit.LeaseHeld once
// another release had the lease, or the release was ended.
func (s Store) Renew(ctx context.Context, l Lease) (Lease, error) {
	got, err := s.acquire(ctx, l.Holder, claim{held: l.Token})
	if err != nil {
		return l, err
	}
	return got.Lease, nil
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

// create takes a number, and reports whether it was still free.
func (s Store) create(ctx context.Context, l Lease) (won bool, err error) {
	data, err := json.Marshal(l.Holder)
	if err != nil {
		return false, err
	}
	err = s.Files.Create(ctx, s.file(l.Token), data, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}
