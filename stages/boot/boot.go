// Package boot is the stage that starts the new containers, without traffic:
// no user sees them until cutover, so they can warm up, be checked, and be
// thrown away. It needs no secret: the environments are on the hosts.
package boot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/envfile"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/network"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Stage is `boot`.
type Stage struct{}

var _ stages.Planner = Stage{}

// Info implements stages.Stage.
func (Stage) Info() stages.Info {
	return stages.Info{
		Name:    "boot",
		Summary: "start the new containers, without traffic",
		Reads:   []string{"push", "assets", "env-push"},
		Hosts:   true,
	}
}

type inputs struct {
	push   state.PushOutputs
	assets state.AssetsOutputs
	env    state.EnvPushOutputs
	books  map[string]ledger.Ledger // By host.
}

// read takes the outputs of the stages before.
func read(in stages.Input) (from inputs, err error) {
	if from.push, err = state.Outputs[state.PushOutputs](in.Upstream, "push"); err != nil {
		return from, err
	}
	if from.assets, err = state.Outputs[state.AssetsOutputs](in.Upstream, "assets"); err != nil {
		return from, err
	}
	from.env, err = state.Outputs[state.EnvPushOutputs](in.Upstream, "env-push")
	return from, err
}

// Run implements stages.Stage.
func (Stage) Run(ctx context.Context, in stages.Input) (stages.Result, error) {
	from, err := read(in)
	if err != nil {
		return stages.Result{}, err
	}
	hosts, books, err := stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (ledger.Ledger, error) {
		book, err := admissible(ctx, in, w)
		if err != nil {
			return book, err
		}
		return book, prepare(ctx, in, w)
	})
	if err != nil {
		return stages.Result{Targets: hosts}, err
	}
	from.books = books
	tasked, err := stages.TasksBeforeBoot(ctx, in, stages.TaskInputs{Push: from.push, Env: from.env, Read: environment})
	if err != nil {
		return stages.Result{Targets: tasked}, err
	}
	at := &attempt{in: in, old: stages.HasOldVersion(slices.Collect(maps.Values(books))...)}
	records, results, err := stages.Waves(ctx, in, in.Config.Boot.Limit, in.Config.Boot.Wait.D(),
		func(ctx context.Context, w *stages.Work) (state.BootTarget, error) {
			out, err := target(ctx, in, w, from, at)
			return at.bear(w, out, err)
		})
	return stages.Result{
		Targets: stages.Merge(hosts, stages.Merge(tasked, records)),
		Outputs: state.BootOutputs{Switch: in.Config.Proxy.Switch, Targets: results},
	}, at.judge(ctx, results, err)
}

// admissible refuses a host that a newer release has been on, or where another
// owner has what a role claims.
func admissible(ctx context.Context, in stages.Input, w *stages.Work) (ledger.Ledger, error) {
	var claims error
	var wg sync.WaitGroup
	wg.Go(func() { claims = w.Claims(ctx, in) })
	book, err := w.Guarded(ctx)
	wg.Wait()
	if err == nil {
		err = claims
	}
	return book, err
}

// prepare makes what all containers of a host share: the networks, and the proxy
// where a role needs it. The proxy and the accessories are in the service's network
// before a container of it starts.
func prepare(ctx context.Context, in stages.Input, w *stages.Work) error {
	var seen network.Seen
	var lookErr error
	var wg sync.WaitGroup
	wg.Go(func() { seen, lookErr = network.Look(ctx, w.Host, w.Names, needs(in, w)) })
	front, err := proxyOf(ctx, in, w)
	wg.Wait()
	if err = errors.Join(lookErr, err); err != nil {
		return err
	}
	return connect(ctx, w, seen, front)
}

// proxyOf is the host's proxy, which runs, or the zero Container where no role needs
// one.
func proxyOf(ctx context.Context, in stages.Input, w *stages.Work) (engine.Container, error) {
	if !proxied(in, w) {
		return engine.Container{}, nil
	}
	booted, err := proxy.Boot(ctx, w.Host, in.Config, w.Names, in.PullOn(w))
	for _, what := range booted.Changed {
		w.Did("%s", what)
	}
	if err == nil {
		err = errors.Join(w.Routable(ctx, booted.Container), follows(in, w, booted.Container))
	}
	if err == nil && booted.Differs {
		in.Warn("the proxy on %s runs with other settings than the configuration has: kstep proxy reboot", w.Target.Host)
	}
	return booted.Container, err
}

// follows makes sure that the proxy can do what the switch needs.
func follows(in stages.Input, w *stages.Work, front engine.Container) error {
	if in.Config.Proxy.Switch != "cord" || proxy.WatchesDocker(front) {
		return nil
	}
	return exit.With(exit.Failed, fmt.Errorf("the proxy on %s does not watch Docker, as proxy.switch: cord needs", w.Target.Host),
		"kstep proxy reboot starts it anew with the settings of the configuration")
}

func proxied(in stages.Input, w *stages.Work) bool {
	return slices.ContainsFunc(in.Targets, func(t plan.Target) bool { return t.Host == w.Target.Host && t.Proxied })
}

// target makes the target's containers run, or be created if they have to wait
// for the barrier. All are looked at before the first is touched.
func target(ctx context.Context, in stages.Input, w *stages.Work, from inputs, at *attempt) (state.BootTarget, error) {
	out, all, err := from.decide(in, w, func(name string) (engine.Container, bool, error) {
		have, err := w.Host.Engine().Inspect(ctx, name)
		if errors.Is(err, engine.ErrNotFound) {
			return have, false, nil
		}
		return have, true, err
	})
	if err != nil {
		return out, err
	}
	if err := checkable(ctx, in, w, all); err != nil {
		return out, err
	}
	env := from.env.Targets[w.Target.Key()]
	for i, one := range all {
		var err error
		out.Replicas[i], err = replica(ctx, w, one, env, at, from.books[w.Target.Host])
		w.Containers = out.IDs()
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// replica does what is to be done for one container.
func replica(ctx context.Context, w *stages.Work, todo todo, env state.EnvTarget, at *attempt, book ledger.Ledger) (state.BootReplica, error) {
	out := todo.out
	if policy := todo.restart(w, book); policy != "" {
		if _, err := stages.RestoreRestart(ctx, w, book, todo.have); err != nil {
			return out, err
		}
		w.Made(stages.SettingRestart(todo.have, policy))
	}
	for _, name := range todo.connect {
		if err := w.Host.Engine().Connect(ctx, todo.have.ID, name, todo.want.Spec.Options.NetworkAlias); err != nil {
			return out, err
		}
		w.Made(connecting(todo.have.Name, name))
	}
	if todo.rename {
		if err := w.Host.Engine().Rename(ctx, todo.have.ID, out.Replaced); err != nil {
			return out, fmt.Errorf("make room for the new container: %w", err)
		}
		w.Made(renaming(todo.have, out))
	}
	if todo.create {
		if err := create(ctx, w, todo.want, env, at, &out); err != nil {
			return out, err
		}
	}
	if !todo.start {
		return out, nil
	}
	c := todo.have
	if todo.create {
		c = engine.Container{ID: out.Container, Name: out.Name, State: "created"}
	}
	return out, start(ctx, w, at, book, c)
}

// start lets the container run, at a barrier that is not closed.
func start(ctx context.Context, w *stages.Work, at *attempt, book ledger.Ledger, c engine.Container) error {
	if err := at.open(ctx); err != nil {
		return err
	}
	if err := stages.StartAgain(ctx, w, book, c); err != nil {
		return refused(err)
	}
	w.Made(starting(c.Name))
	return nil
}

// create makes the container with the environment that env-push left on the
// host. One that waits for the barrier must not wait for one that is closed.
func create(ctx context.Context, w *stages.Work, want plan.Wanted, env state.EnvTarget, at *attempt, out *state.BootReplica) error {
	var opened error
	var opening sync.WaitGroup
	opening.Go(func() { opened = at.open(ctx) })
	values, err := environment(ctx, w, env)
	opening.Wait()
	if err := cmp.Or(opened, err); err != nil {
		return err
	}
	maps.Copy(values, want.Spec.Env)
	want.Spec.Env = values
	if want.CordDir != "" {
		if err := w.Host.Files().Mkdir(ctx, want.CordDir, 0o755); err != nil {
			return fmt.Errorf("make cord folder: %w", err)
		}
	}
	id, err := w.Host.Engine().Create(ctx, want.Spec)
	if errors.Is(err, engine.ErrNotFound) {
		err = exit.Hint(err, fmt.Sprintf("the image is not on %s any more: run kstep assets again", w.Target.Host))
	}
	if err != nil {
		return refused(err)
	}
	out.Container = id
	w.Made(creating(want.Spec.Name))
	return nil
}

// environment reads the env file and makes sure it is the one that env-push
// recorded.
func environment(ctx context.Context, w *stages.Work, env state.EnvTarget) (map[string]string, error) {
	again := "run kstep env-push again"
	if err := stages.StatedEnv(w, env); err != nil {
		return nil, err
	}
	var key []byte
	var keyErr error
	var reading sync.WaitGroup
	reading.Go(func() { key, keyErr = envfile.Key(ctx, w.Host.Files(), w.Names.EnvKey()) })
	data, err := w.Host.Files().Read(ctx, env.File)
	reading.Wait()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, exit.With(exit.BadState, fmt.Errorf("env file %s is gone", env.File), again)
	}
	if err != nil {
		return nil, err
	}
	if keyErr != nil {
		return nil, keyErr
	}
	if envfile.Fingerprint(key, data) != env.Fingerprint {
		return nil, exit.With(exit.BadState, fmt.Errorf("env file %s is not the one that env-push wrote for this release", env.File), again)
	}
	return envfile.Decode(data)
}
