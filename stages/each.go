package stages

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/state"
)

// Work is a stage's hands on one target: the host, its names, and a note of
// what was done.
type Work struct {
	Host   host.Host
	Target plan.Target
	Names  plan.Names
	// Containers are the ids of the target's containers, once known.
	Containers []string

	in         Input
	book       *ledger.Ledger // As Guarded has read it.
	unroutable error          // Why no route can be written on the host.

	mu      sync.Mutex // Of changed.
	changed []string
	acts    []Act // What Run would do, and what is not known.
	notes   []string
	detail  []string // Of the failure that follows.
	whole   *Work    // The work on the host as a whole, of which this is a part.
}

// ErrHalted is the error of a target that only waited for others, which failed.
var ErrHalted = errors.New("halted at the barrier")

// Evidence adds lines to the report of the failure that the work ends with, such
// as the last ones that a container has logged. It may be called from several
// goroutines at once.
func (w *Work) Evidence(lines ...string) {
	if w.whole != nil {
		w.whole.Evidence(lines...)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.detail = append(w.detail, lines...)
}

// Did notes and reports a change that was made. It may be called from several
// goroutines at once.
func (w *Work) Did(format string, args ...any) {
	w.Noted(format, args...)
	w.Say(format, args...)
}

// Noted is Did without the report.
func (w *Work) Noted(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed = append(w.changed, fmt.Sprintf(format, args...))
}

// Changes are the notes of what was made so far.
func (w *Work) Changes() []string { return slices.Clone(w.changed) }

// Say reports what is observed.
func (w *Work) Say(format string, args ...any) {
	w.in.Report.Emit(report.Event{
		Kind: report.TargetChanged, Host: w.Target.Host, Role: w.Target.Role.Name,
		Message: fmt.Sprintf(format, args...),
	})
}

// Each works on all targets at once and waits for all: the failure of one
// cancels no other (S2). It returns a record of every target, the results by
// target key, and the failures joined. A result is kept also when it comes
// with an error.
func Each[T any](ctx context.Context, in Input, targets []plan.Target, do func(context.Context, *Work) (T, error)) ([]state.Target, map[string]T, error) {
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		records = make([]state.Target, len(targets))
		errs    = make([]error, len(targets))
		results = map[string]T{}
	)
	for i, target := range targets {
		wg.Go(func() {
			work := &Work{Target: target, in: in}
			started := time.Now().UTC()
			result, err := one(ctx, work, do)
			records[i], errs[i] = record(work, started, err)
			mu.Lock()
			defer mu.Unlock()
			results[target.Key()] = result
		})
	}
	wg.Wait()
	return records, results, errors.Join(errs...)
}

func one[T any](ctx context.Context, w *Work, do func(context.Context, *Work) (T, error)) (T, error) {
	var none T
	if err := w.connect(ctx); err != nil {
		return none, err
	}
	return do(ctx, w)
}

// AtOnce does something with all of a target's containers at once, waits for
// all, and joins the errors.
func AtOnce(all []engine.Container, do func(engine.Container) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() { errs[i] = do(c) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// connect opens the host, and refuses it when a newer release has been there.
func (w *Work) connect(ctx context.Context) error {
	h, err := w.in.Hosts.Get(ctx, w.Target.Host)
	if err != nil {
		return err
	}
	w.Host = h
	at, err := w.in.arrive(ctx, h)
	w.Names, w.unroutable = at.Names, at.unroutable
	if err != nil || w.in.hold == nil {
		return err
	}
	w.Host = w.in.ahead.of(ctx, h, w.Names, w.Target)
	return w.in.hold.Check(ctx, h.Name(), lease.Fence{Files: h.Files(), Dir: w.Names.Fence()})
}

// Names are the names on one host, where the run directory is absolute.
func Names(ctx context.Context, in Input, h host.Host) (plan.Names, error) {
	run := in.Config.RunDirectory
	if !path.IsAbs(run) {
		home, err := h.Files().Home(ctx)
		if err != nil {
			return plan.Names{}, fmt.Errorf("find home folder: %w", err)
		}
		run = path.Join(home, run)
	}
	return plan.Names{Service: in.Config.Service, Destination: in.Config.Destination, Run: run}, nil
}

func record(w *Work, started time.Time, err error) (state.Target, error) {
	t := state.Target{
		Host: w.Target.Host, Role: w.Target.Role.Name,
		Status: state.Unchanged, Changed: w.changed, Containers: w.Containers,
		Started: started, Finished: time.Now().UTC(),
	}
	switch {
	case err == nil && len(w.changed) > 0:
		t.Status = state.OK
	case errors.Is(err, context.Canceled):
		t.Status = state.Interrupted
	case err != nil:
		t.Status = state.Failed
	}
	if err == nil {
		return t, nil
	}
	t.Error = &state.Error{Class: exit.CodeOf(err).Class(), Message: err.Error(), Detail: recorded(w.detail)}
	kind := report.TargetFailed
	if errors.Is(err, ErrHalted) {
		kind = report.TargetHalted
	}
	w.in.Report.Emit(report.Event{
		Kind: kind, Host: t.Host, Role: t.Role, Message: err.Error(), Detail: w.detail, Hints: exit.Hints(err),
	})
	return t, located(w.Target, err)
}

// What a state file keeps of the evidence of a failure: the report of the stage
// has all of it.
const (
	maxDetailLines = 60
	maxDetailLine  = 300
)

func recorded(detail []string) []string {
	kept := slices.Clone(detail[:min(len(detail), maxDetailLines)])
	for i, line := range kept {
		if runes := []rune(line); len(runes) > maxDetailLine {
			kept[i] = string(runes[:maxDetailLine]) + secret.Ellipsis
		}
	}
	return kept
}

// located says where an error is, as far as it does not say so itself.
func located(t plan.Target, err error) error {
	place := strings.TrimPrefix(t.Key(), "@")
	if regexp.MustCompile(`(^|[\s/])` + regexp.QuoteMeta(t.Host) + `([\s:,]|$)`).MatchString(err.Error()) {
		place = t.Role.Name
	}
	if place == "" {
		return err
	}
	return fmt.Errorf("%s: %w", place, err)
}

// EachHost is Each for work that concerns a host as a whole; its targets have
// no role.
func EachHost[T any](ctx context.Context, in Input, targets []plan.Target, do func(context.Context, *Work) (T, error)) ([]state.Target, map[string]T, error) {
	records, byKey, err := Each(ctx, in, wholeHosts(targets), do)
	return records, byHost(byKey), err
}

// wholeHosts are targets without a role, one for each host.
func wholeHosts(targets []plan.Target) []plan.Target {
	var hosts []plan.Target
	for _, name := range plan.HostNames(targets) {
		hosts = append(hosts, plan.Target{Host: name})
	}
	return hosts
}

func byHost[T any](byKey map[string]T) map[string]T {
	found := make(map[string]T, len(byKey))
	for key, result := range byKey {
		found[strings.TrimPrefix(key, "@")] = result
	}
	return found
}

// Waves works on groups of targets one after another, with a pause between two
// of them; a failing group is the last one.
func Waves[T any](ctx context.Context, in Input, limit string, pause time.Duration, do func(context.Context, *Work) (T, error)) ([]state.Target, map[string]T, error) {
	var records []state.Target
	results := map[string]T{}
	groups := plan.Groups(in.Targets, limit)
	for i, group := range groups {
		done, some, err := Each(ctx, in, group, do)
		records = append(records, done...)
		maps.Copy(results, some)
		if err != nil {
			return records, results, err
		}
		if i == len(groups)-1 || pause <= 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return records, results, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	return records, results, nil
}

// Guarded reads the host's ledger and refuses to go on when a newer release has
// been on the host, or another service owns the folder.
func (w *Work) Guarded(ctx context.Context) (ledger.Ledger, error) {
	l, err := w.owned(ctx)
	if err != nil {
		return l, err
	}
	w.mu.Lock()
	w.book = &l
	w.mu.Unlock()
	return l, l.Guard(w.Target.Host, w.in.Release)
}

// owned is Guarded for any release.
func (w *Work) owned(ctx context.Context) (ledger.Ledger, error) {
	l, err := ledger.Read(ctx, w.Host.Files(), w.Names.Ledger())
	if err != nil {
		return l, err
	}
	if err := l.Owned(w.Target.Host, w.Names.Folder(), w.Names.Service, w.Names.Destination); err != nil {
		return l, err
	}
	return l, w.settled(ctx, l)
}

// Note changes the host's ledger, beside whatever other shards change there at
// the same time. change reports whether it changed anything. It begins with the
// ledger that Guarded has read, because the next generation is made exclusively:
// where another job was faster, it begins anew. Where that ledger needs no change,
// it is read again.
func (w *Work) Note(ctx context.Context, change func(*ledger.Ledger) bool) error {
	own := func(l *ledger.Ledger) bool {
		owned := l.Own(w.Names.Service, w.Names.Destination)
		return change(l) || owned
	}
	w.mu.Lock()
	known := w.book
	w.book = nil
	w.mu.Unlock()
	if known != nil {
		l, err := ledger.UpdateFrom(ctx, w.Host.Files(), w.Names.Ledger(), *known, own)
		if err != nil || l.Generation != known.Generation {
			return err
		}
	}
	_, err := ledger.Update(ctx, w.Host.Files(), w.Names.Ledger(), own)
	return err
}

// Merge puts the records of a host-wide first part under those of its targets:
// what was done on the host counts for each of them.
func Merge(hosts, targets []state.Target) []state.Target {
	for i, t := range targets {
		at := slices.IndexFunc(hosts, func(h state.Target) bool { return h.Host == t.Host })
		if at < 0 || len(hosts[at].Changed) == 0 {
			continue
		}
		targets[i].Changed = append(slices.Clone(hosts[at].Changed), t.Changed...)
		if t.Status == state.Unchanged {
			targets[i].Status = state.OK
		}
	}
	return targets
}

// AddLater puts what was done later to a target behind what was done before.
func AddLater(records, later []state.Target) {
	for _, l := range later {
		for i, r := range records {
			if r.Host != l.Host || r.Role != l.Role {
				continue
			}
			r.Changed = slices.Concat(r.Changed, l.Changed)
			if l.Status != state.Unchanged {
				r.Status, r.Error = l.Status, l.Error
			}
			r.Finished = l.Finished
			records[i] = r
		}
	}
}
