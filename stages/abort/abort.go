// Package abort is the way back: it takes the new containers of a release down,
// with their routes and cords, and leaves the old version serving, wherever the
// pipeline stopped. On a host whose traffic moved already it goes back first.
// It works from what it observes; state files only help it to know containers
// that an older release made and this one started again.
package abort

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/barrier"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Stage is `abort`.
type Stage struct{}

var _ stages.Stage = Stage{}

// Info implements stages.Stage.
func (Stage) Info() stages.Info {
	return stages.Info{
		Name:     "abort",
		Summary:  "take a release's new containers down and keep the old version serving",
		Optional: []string{"boot"},
		Hosts:    true,
		Moves:    true,
		Ends:     true,
	}
}

// Run implements stages.Stage.
func (Stage) Run(ctx context.Context, in stages.Input) (stages.Result, error) {
	a := &abort{in: in, booted: booted(in.Upstream)}
	a.find(ctx)
	records, ways, err := stages.Each(ctx, in, a.all, a.look)
	own := func(r state.Target) bool {
		return slices.ContainsFunc(a.all, func(t plan.Target) bool { return t.Host == r.Host && t.Role.Name == r.Role && a.isOwn(t) })
	}
	if ctx.Err() != nil {
		return stages.Result{Targets: slices.DeleteFunc(records, func(t state.Target) bool { return !own(t) })}, err
	}
	if complete, broken := a.complete(records, ways); complete {
		records = slices.DeleteFunc(records, func(t state.Target) bool { return !own(t) })
		if broken {
			err = exit.Hint(fmt.Errorf("every host that answers has the release already; the others could not be asked: %w", err),
				"abort again once they answer, or go back with kstep rollback VERSION")
		} else {
			a.say("nothing to abort: release %s (version %s) is complete", in.Release, in.Version)
		}
		return stages.Result{Targets: records, Outputs: state.AbortOutputs{Complete: !broken}}, err
	}
	seen := map[string]bool{}
	var failed []state.Target // Hosts that could not be looked at.
	for _, r := range records {
		seen[state.Key(r.Role, r.Host)] = r.Error == nil
		if r.Error != nil && own(r) {
			failed = append(failed, r)
		}
	}
	targets := slices.DeleteFunc(slices.Clone(a.all), func(t plan.Target) bool { return !seen[t.Key()] || !a.isOwn(t) })
	closed, closeErr := a.close(ctx, ways)
	if closeErr != nil {
		return stages.Result{Targets: failed}, errors.Join(err, closeErr)
	}
	done, results, undoErr := a.undoAll(ctx, targets, ways)
	back := slices.DeleteFunc(slices.Clone(targets), func(t plan.Target) bool { return !results[t.Key()].Done })
	noted, _, noteErr := stages.EachHost(ctx, in, back, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, a.retract(ctx, w, back)
	})
	return stages.Result{
		Targets: append(stages.Merge(noted, done), failed...),
		Changed: closed,
		Outputs: state.AbortOutputs{Targets: results},
	}, errors.Join(err, undoErr, noteErr)
}

// booted are the containers that boot recorded, if its file is there.
func booted(set state.Set) map[string][]string {
	ids := map[string][]string{}
	out, err := state.Outputs[state.BootOutputs](set, "boot")
	if err != nil {
		return ids // Labels and ledger have to do.
	}
	for key, t := range out.Targets {
		ids[key] = t.IDs()
	}
	return ids
}

type abort struct {
	in      stages.Input
	booted  map[string][]string
	all     []plan.Target     // Those of the configuration, and what the release replaced.
	unknown map[string]string // Why nothing is known of a host's other roles.
}

func (a *abort) say(format string, args ...any) {
	a.in.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Stage: "abort", Message: fmt.Sprintf(format, args...)})
}

// look decides what is to be done at a target.
func (a *abort) look(ctx context.Context, w *stages.Work) (Way, error) {
	seen, err := stages.Observe(ctx, a.in, w)
	if err != nil {
		return Way{}, err
	}
	if why, ok := a.unknown[w.Target.Host]; ok {
		return Way{}, fmt.Errorf("find the roles that are no longer configured: %s", why)
	}
	return Decide(w.Target, a.in.Release, a.booted[w.Target.Key()], seen), nil
}

// complete tells whether the release serves alone on every host that could be
// asked, and whether there are others.
func (a *abort) complete(records []state.Target, ways map[string]Way) (complete, broken bool) {
	for _, r := range records {
		switch {
		case r.Error != nil:
			broken = true
		case !ways[state.Key(r.Role, r.Host)].Complete:
			return false, broken
		default:
			complete = true
		}
	}
	return complete, broken
}

// close shuts the barrier, so that a job that still waits at it stops, and none
// that comes late starts a container that waited for it.
func (a *abort) close(ctx context.Context, ways map[string]Way) (bool, error) {
	if !slices.ContainsFunc(slices.Collect(maps.Values(ways)), func(w Way) bool { return !w.Idle() }) {
		return false, nil
	}
	h, err := a.in.Hosts.Get(ctx, plan.LeaseHost(a.in.All))
	if err != nil {
		return false, err
	}
	names, err := stages.Names(ctx, a.in, h)
	if err != nil {
		return false, err
	}
	return barrier.Close(ctx, h.Files(), names.Verdict(a.in.Release), state.Verdict{
		Release: a.in.Release, Reason: "aborted by " + a.in.By, At: time.Now().UTC(),
	})
}

// retract takes the release's word that it serves out of the host's ledger, so
// that the old one does again, and gives that the tag `latest` back. The ledger comes
// last: as long as it names the release, a rerun has something to do.
func (a *abort) retract(ctx context.Context, w *stages.Work, back []plan.Target) error {
	book, err := ledger.Read(ctx, w.Host.Files(), w.Names.Ledger())
	if err != nil {
		return err
	}
	var roles []string
	for _, t := range back {
		if t.Host == w.Target.Host {
			roles = append(roles, t.Role.Name)
		}
	}
	if book.Newest() > a.in.Release || !book.Retract(a.in.Release, roles) {
		return nil
	}
	if old, ok := book.Serving(); ok {
		if err := a.latest(ctx, w, old); err != nil {
			return err
		}
	}
	err = w.Note(ctx, func(l *ledger.Ledger) bool { return l.Retract(a.in.Release, roles) })
	if err != nil {
		return err
	}
	w.Did("noted that release %s does not serve", a.in.Release)
	return nil
}

func (a *abort) latest(ctx context.Context, w *stages.Work, r ledger.Release) error {
	colon := strings.LastIndex(r.Tag, ":")
	if colon < 0 {
		return nil
	}
	tag := r.Tag[:colon+1] + stages.LatestTag(a.in.Config)
	image, err := w.Host.Engine().Image(ctx, r.Image)
	if errors.Is(err, engine.ErrNotFound) {
		return nil // Pruned by hand; its container does not need the tag.
	}
	if err != nil || image.Tagged(tag) {
		return err
	}
	return w.Host.Engine().Tag(ctx, r.Image, tag)
}
