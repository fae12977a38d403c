// Package abort is the way back: it takes the new containers of a release down,
// with their routes and cords, and leaves the old version serving, wherever the
// pipeline stopped. On a host whose traffic moved already it goes back first.
// It works from what it observes; state files only help it to know containers
// that an older release made and this one started again.
//
// It never takes away what serves: a release that is complete by the ledger is
// left alone, and where what served before is gone, nothing is changed on any
// host. Only a first deploy leaves nothing running.
package abort

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/barrier"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Stage is `abort`.
type Stage struct {
	// Yes confirms that a release goes that has the traffic on every host.
	Yes bool
}

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
func (s Stage) Run(ctx context.Context, in stages.Input) (stages.Result, error) {
	a := &abort{in: in, yes: s.Yes, booted: booted(in.Upstream)}
	a.find(ctx)
	records, ways, err := stages.Each(ctx, in, a.all, a.look)
	if ctx.Err() != nil {
		return stages.Result{Targets: a.own(records)}, err
	}
	if complete, broken := a.complete(records, ways); complete {
		if broken {
			err = exit.Hint(fmt.Errorf("every host that answers has the release already; the others could not be checked: %w", err),
				"abort again once they answer, or go back with kstep rollback VERSION")
		} else {
			a.say("nothing to abort: release %s (version %s) is complete", in.Release, short.Of(in.Version))
		}
		return stages.Result{Targets: a.own(records), Outputs: state.AbortOutputs{Complete: !broken}}, err
	}
	if refused := a.refusal(records, ways); refused != nil {
		return stages.Result{Over: true}, errors.Join(refused, err)
	}
	seen := map[string]bool{}
	var failed []state.Target // Hosts that could not be looked at.
	for _, r := range a.own(records) {
		seen[state.Key(r.Role, r.Host)] = r.Error == nil
		if r.Error != nil {
			failed = append(failed, r)
		}
	}
	targets := slices.DeleteFunc(slices.Clone(a.all), func(t plan.Target) bool { return !seen[t.Key()] })
	closed, closeErr := a.close(ctx)
	if closeErr != nil {
		return stages.Result{Targets: failed}, errors.Join(err, closeErr)
	}
	done, results, undoErr := a.undoAll(ctx, targets, ways)
	undoErr = errors.Join(undoErr, a.undoLate(ctx, done, results))
	back := a.reached(results)
	noted, _, noteErr := stages.EachHost(ctx, in, back, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, a.retract(ctx, w, back)
	})
	return stages.Result{
		Targets: append(stages.Merge(noted, done), failed...),
		Changed: closed,
		Outputs: state.AbortOutputs{Targets: results},
	}, errors.Join(err, undoErr, noteErr)
}

// own are the records of this job's targets.
func (a *abort) own(records []state.Target) []state.Target {
	return slices.DeleteFunc(slices.Clone(records), func(r state.Target) bool {
		return !slices.ContainsFunc(a.all, func(t plan.Target) bool { return t.Host == r.Host && t.Role.Name == r.Role && a.isOwn(t) })
	})
}

// reached are the targets at which the old version serves alone.
func (a *abort) reached(results map[string]state.AbortTarget) []plan.Target {
	return slices.DeleteFunc(slices.Clone(a.all), func(t plan.Target) bool { return !results[t.Key()].Done })
}

// rounds bounds how often abort looks for containers that came late.
const rounds = 3

// undoLate looks again, and takes down what has come since abort looked, until
// nothing more has: a job of the release that was killed, or that has not yet
// noticed, may have had a request under way. An engine works on one request for
// a container at a time, and the way back has inspected or removed every
// container that did not run: so a start that was under way then is done by now.
// What a request to create leaves after that stays as it is, never started: a
// dead job does not send the request to start it.
func (a *abort) undoLate(ctx context.Context, done []state.Target, results map[string]state.AbortTarget) error {
	for round := 0; ; round++ {
		reached := a.reached(results)
		looked, ways, err := stages.Each(ctx, a.in, reached, a.look)
		late := slices.DeleteFunc(reached, func(t plan.Target) bool { way := ways[t.Key()]; return !way.late() })
		if err != nil {
			stages.AddLater(done, looked)
			forget(looked, results)
			return err
		}
		if len(late) == 0 {
			return nil
		}
		if round == rounds {
			return fmt.Errorf("new containers keep appearing: is another job of release %s still at work? Run abort again", a.in.Release)
		}
		more, found, err := a.undoAll(ctx, late, ways)
		stages.AddLater(done, more)
		for key, result := range found {
			result.Stopped = slices.Concat(results[key].Stopped, result.Stopped)
			result.Restarted = result.Restarted || results[key].Restarted
			results[key] = result
		}
		if err != nil {
			return err
		}
	}
}

// forget leaves targets undone that could not be looked at again.
func forget(looked []state.Target, results map[string]state.AbortTarget) {
	for _, r := range looked {
		if key := state.Key(r.Role, r.Host); r.Error != nil {
			result := results[key]
			result.Done = false
			results[key] = result
		}
	}
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
	yes     bool
	booted  map[string][]string
	all     []plan.Target     // Those of the configuration, and what the release replaced.
	unknown map[string]string // Why nothing is known of a host's other roles.
	// unserved means that the release has never been in service: its barrier was not
	// open. It is not set after an earlier run of abort, which has closed the barrier.
	unserved bool
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

// complete reports whether, by the ledgers, the release needs nothing more on
// every host that answered. broken reports whether a host failed.
func (a *abort) complete(records []state.Target, ways map[string]Way) (complete, broken bool) {
	for i, t := range a.all {
		switch {
		case records[i].Error != nil:
			broken = true
		case a.isForeign(t, ways):
		case !ways[t.Key()].Complete():
			return false, broken
		default:
			complete = true
		}
	}
	return complete, broken
}

// close shuts the barrier, so that a job that still waits at it stops, and none
// that comes late starts a container.
func (a *abort) close(ctx context.Context) (bool, error) {
	h, err := a.in.Hosts.Get(ctx, plan.LeaseHost(a.in.All))
	if err != nil {
		return false, err
	}
	names, err := stages.Names(ctx, a.in, h)
	if err != nil {
		return false, err
	}
	changed, opened, err := barrier.Close(ctx, h.Files(), names.Verdict(a.in.Release), state.Verdict{
		Release: a.in.Release, Reason: "aborted by " + a.in.By, At: time.Now().UTC(),
	})
	a.unserved = changed && !opened
	return changed, err
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
	if book.Newest() > a.in.Release {
		return nil
	}
	serves := book.Retract(a.in.Release, roles)
	if !serves && !(a.in.FromFuture && book.Forget(a.in.Release)) {
		return nil
	}
	if old, ok := book.Serving(); ok {
		if err := a.latest(ctx, w, old); err != nil {
			return err
		}
	}
	gone := false
	err = w.Note(ctx, func(l *ledger.Ledger) bool {
		changed := l.Retract(a.in.Release, roles)
		gone = a.in.FromFuture && l.Forget(a.in.Release)
		return changed || gone
	})
	if err != nil {
		return err
	}
	if gone {
		w.Did("removed release %s, which was made in the future, from the ledger", a.in.Release)
		return nil
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
