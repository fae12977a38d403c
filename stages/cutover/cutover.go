// Package cutover is the stage that moves the traffic: to the new containers,
// confirmed by the proxy; away from the old ones, confirmed by the proxy;
// drain; stop the old ones. A bounded probe through the proxy counts what users
// would have felt.
package cutover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/internal/traffic"
	"github.com/kstep/kstep/stages"
)

// Stage is `cutover`.
type Stage struct{}

var _ stages.Planner = Stage{}

// Info implements stages.Stage.
func (Stage) Info() stages.Info {
	return stages.Info{
		Name:    "cutover",
		Summary: "move the traffic to the new containers and stop the old ones",
		Reads:   []string{"push", "boot", "barrier-wait"},
		Hosts:   true,
		Moves:   true,
	}
}

type inputs struct {
	push   state.PushOutputs
	boot   state.BootOutputs
	waited state.BarrierWaitOutputs
}

// read takes the outputs of the stages before.
func read(in stages.Input) (from inputs, err error) {
	if from.push, err = state.Outputs[state.PushOutputs](in.Upstream, "push"); err != nil {
		return from, err
	}
	if from.boot, err = state.Outputs[state.BootOutputs](in.Upstream, "boot"); err != nil {
		return from, err
	}
	if from.waited, err = state.Outputs[state.BarrierWaitOutputs](in.Upstream, "barrier-wait"); err != nil {
		return from, err
	}
	for _, t := range in.Targets {
		was := from.waited.Targets[t.Key()]
		if was.Ready && !slices.Equal(was.Containers, from.boot.Targets[t.Key()].IDs()) {
			return from, exit.With(exit.BadState,
				fmt.Errorf("barrier-wait has waited for other containers of %s than those that boot has started", t.Key()),
				"run kstep barrier-wait again, and then kstep cutover")
		}
	}
	return from, nil
}

// booted are the target's new containers, all of which must have been ready.
func (from inputs) booted(key string, on ledger.Ledger) (ids []string, err error) {
	booted, ok := from.boot.Targets[key]
	if !ok {
		return nil, exit.With(exit.MissingState, errors.New("boot has not started it"), "run kstep boot for it")
	}
	if !booted.Waiting && !from.waited.Targets[key].Ready {
		return nil, errors.New("was not ready at the barrier: " + stages.OldVersion(on))
	}
	if !booted.Whole() {
		return nil, exit.Hint(errors.New("boot failed before it had started all of its containers"), "run kstep boot again")
	}
	return booted.IDs(), nil
}

// proven reports whether all of a target's new containers served before: a
// rollback starts them again.
func (from inputs) proven(key string) bool {
	return !slices.ContainsFunc(from.boot.Targets[key].Replicas, func(r state.BootReplica) bool { return !r.Retained })
}

// Run implements stages.Stage.
func (Stage) Run(ctx context.Context, in stages.Input) (stages.Result, error) {
	from, err := read(in)
	if err != nil {
		return stages.Result{}, err
	}
	barrier := readVerdict(ctx, in)
	guards, hosts, err := stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (sight, error) {
		return see(ctx, in, w, from, barrier)
	})
	if err != nil {
		// Nothing has moved anywhere: only what failed is worth a record.
		failed := slices.DeleteFunc(guards, func(t state.Target) bool { return t.Status.Done() })
		return stages.Result{Targets: failed}, err
	}
	verdict, err := barrier.opened(in.Release, stages.OldVersion(books(hosts)...))
	if err != nil {
		return stages.Result{}, err
	}
	c := &cutover{in: in, verdict: verdict, hosts: hosts, release: releaseOf(in, from.push), made: &moves{all: map[string]*move{}}}
	c.maintenance = onceMaintenance(in)
	c.warnLeft()
	records, results, err := c.inOrder(ctx, from)
	err = errors.Join(err, c.lasting(ctx, records, results))
	if err == nil {
		records, err = c.last(ctx, records)
	}
	noted, _, noteErr := stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, c.note(ctx, w, from.push, results)
	})
	records = stages.Merge(noted, records)
	if err = errors.Join(err, noteErr); err == nil {
		records, err = stages.TasksAfterCutover(ctx, in, records)
	}
	return stages.Result{Targets: records, Moved: hasMoved(results), Outputs: state.CutoverOutputs{Targets: results}}, err
}

// hasMoved reports that new containers are in service somewhere, also where the
// rest of the target's work has failed.
func hasMoved(results map[string]state.CutoverTarget) bool {
	for _, r := range results {
		if r.Done || !r.Switched.IsZero() {
			return true
		}
	}
	return false
}

// cutover is one run of the stage.
type cutover struct {
	in      stages.Input
	verdict state.Verdict
	hosts   map[string]sight
	release ledger.Release // As ledgers note it, without what is live.
	made    *moves
	// maintenance is that of the service on the hosts where it has a route.
	maintenance func(context.Context) *traffic.Maintenance
}

func releaseOf(in stages.Input, push state.PushOutputs) ledger.Release {
	return ledger.Release{
		ID: in.Release, Version: in.Version, Image: push.Reference(), Tag: push.Repository + ":" + in.Version,
		By: in.By, At: time.Now().UTC(), GoesBack: push.GoesBack,
	}
}

// target moves one role on one host. moved is called as soon as the new
// containers have the traffic.
func (c *cutover) target(ctx context.Context, w *stages.Work, ids []string, proven bool, moved func()) (state.CutoverTarget, error) {
	out := state.CutoverTarget{Containers: ids}
	w.Containers = ids
	containers, err := c.containers(ctx, w)
	if err != nil {
		return out, err
	}
	fresh, old, err := split(containers, ids)
	if err != nil {
		return out, err
	}
	host := c.hosts[w.Target.Host]
	m := &move{
		in: c.in, w: w, release: c.release, fresh: fresh, old: old, book: host.book, before: host.book.Live(w.Target.Role.Name),
		proven: proven, kept: stages.OldVersion(host.book), moved: moved, restarts: host.restarts, out: &out, maintenance: c.maintenance,
	}
	c.made.add(w.Target.Key(), m)
	m.inherit(share(c.in, w.Target, host.orphans))
	if w.Target.Proxied {
		err = m.proxied(ctx)
	} else {
		err = m.plain(ctx)
	}
	if err == nil {
		m.warn()
	}
	if exit.CodeOf(err) == exit.Failed && !stages.HasOldVersion(host.book) {
		err = exit.Hint(err, "this is the first version, so nothing served before it: correct the cause and deploy again, or take it down with kstep abort")
	}
	return out, err
}

// split finds the new containers, in their order, and the old ones that are up:
// those of another version, and replicas that are too many.
func split(containers []engine.Container, ids []string) (fresh, old []engine.Container, err error) {
	for _, id := range ids {
		at := slices.IndexFunc(containers, func(c engine.Container) bool { return c.ID == id })
		if at < 0 {
			return nil, nil, exit.With(exit.BadState, errors.New("the container that boot started no longer exists"), "run kstep boot again")
		}
		fresh = append(fresh, containers[at])
	}
	for _, c := range containers {
		if !slices.Contains(ids, c.ID) && c.Up() {
			old = append(old, c)
		}
	}
	return fresh, old, nil
}

// move is the change of one role on one host from old containers to fresh ones.
// With another number of replicas, some of the fresh ones may have served
// before.
type move struct {
	in         stages.Input
	w          *stages.Work
	release    ledger.Release
	fresh, old []engine.Container
	book       ledger.Ledger
	samples    []stages.Sample             // Requests that belong to a role with traffic.
	before     []string                    // What served when the stage began, as the ledger has it.
	restarts   map[string]int              // How often each of the fresh ones had restarted then.
	kept       string                      // What serves if nothing moves.
	had        []string                    // What had the traffic then.
	started    []string                    // Those of the fresh ones that waited for the barrier.
	hold       func(context.Context) error // Before the old ones stop; may be nil.
	proven     bool                        // The fresh ones served before, as they are.
	moved      func()                      // Called when the fresh ones have the traffic.
	out        *state.CutoverTarget

	maintenance func(context.Context) *traffic.Maintenance

	orphans []stages.Orphan // Their containers are among the old ones.
	routes  []stages.Orphan // Their routes go when the new one has come.
	later   []stages.Orphan // They go when all targets have moved.
	spared  []stages.Orphan // They stay, with a warning.
	removed map[string][]byte
}

// stop stops the old containers, with the signal and grace they were
// made with, all at once.
func (m *move) stop(ctx context.Context) error {
	if err := stages.StopAndKeep(ctx, m.w, m.old, engine.Stop{}); err != nil {
		return fmt.Errorf("old container %w", err)
	}
	for _, c := range m.old {
		m.out.Stopped = append(m.out.Stopped, c.ID)
		m.w.Made(stopping(c))
	}
	return nil
}

// note writes into the host's ledger what is live now, and moves the tag
// `latest` to the image.
func (c *cutover) note(ctx context.Context, w *stages.Work, push state.PushOutputs, results map[string]state.CutoverTarget) error {
	in := c.in
	live := map[string][]string{}
	for _, t := range in.Targets {
		if r := results[t.Key()]; t.Host == w.Target.Host && r.Done {
			live[t.Role.Name] = r.Containers
		}
	}
	if len(live) == 0 {
		return nil
	}
	var image engine.Image
	var imageErr error
	var looking sync.WaitGroup
	looking.Go(func() { image, imageErr = w.Host.Engine().Image(ctx, push.Reference()) })
	var overtaken error
	err := w.Note(ctx, func(book *ledger.Ledger) bool {
		if overtaken = book.Guard(w.Target.Host, in.Release); overtaken != nil {
			return false
		}
		release := c.release
		release.Live, release.Roles = live, rolesOn(in, w.Target.Host)
		added := book.AddHosts(slices.Concat(c.hosts[w.Target.Host].known, plan.HostNames(in.All)))
		began := book.Note(c.release) // Without what is live: NoteFirst looks at what was live before.
		first := book.NoteFirst(in.Release, slices.Collect(maps.Keys(live)))
		return book.Note(release) || added || began || first
	})
	looking.Wait()
	if err := errors.Join(err, overtaken); err != nil {
		return err
	}
	latest := push.Repository + ":" + stages.LatestTag(in.Config)
	if imageErr != nil {
		return imageErr
	}
	if image.Tagged(latest) {
		return nil
	}
	if err := w.Host.Engine().Tag(ctx, push.Reference(), latest); err != nil {
		return err
	}
	return nil
}

// rolesOn are the roles that the release has on a host, also those of other
// shards.
func rolesOn(in stages.Input, host string) map[string]ledger.Role {
	roles := map[string]ledger.Role{}
	for _, t := range in.All {
		if t.Host == host {
			health := in.Config.EffectiveHealthcheck(t.Role)
			one := ledger.Role{
				Proxied: t.Proxied, Primary: t.Primary, AfterBarrier: t.Role.Start == "after-barrier",
				Port: health.Port, Scheme: health.Scheme, Path: health.Path,
			}
			if p := in.Config.Proxy; t.Proxied {
				one.Requests = &ledger.Requests{Hosts: p.Hosts, PathPrefix: p.PathPrefix, Fallback: p.Fallback, Settings: p.RouteSettings()}
			}
			roles[t.Role.Name] = one
		}
	}
	return roles
}
