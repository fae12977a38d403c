package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/registry"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
	"github.com/kstep/kstep/stages/envpush"
)

// configurePreflight declares `kstep preflight`: what a deploy needs, before it
// builds anything.
func configurePreflight(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("preflight", "Check what a deploy needs before anything is built: secrets, registry, lease, hosts. Nothing is changed.")
	flags := &stageFlags{}
	flags.without(cmd)
	actions["preflight"] = p.answering(func(ctx context.Context) error {
		return p.withSession(ctx, "preflight", "", flags.options(), p.preflight)
	})
}

// preflightReport is `kstep preflight --output json`.
type preflightReport struct {
	Ready  bool         `json:"ready"`
	Checks []checkState `json:"checks"`
}

// checkState is how one thing stands that a deploy needs.
type checkState struct {
	// Check is what was checked, such as `secrets`. The check of a host by preflight has the
	// host's name.
	Check string `json:"check"`
	// Host is where doctor checked it; empty is this machine.
	Host string `json:"host,omitempty"`
	// State is `ok`, `failed` where a deploy would fail, or `warning`.
	State string `json:"state"`
	// OK is false where a deploy would fail.
	OK bool `json:"ok"`
	// Found says what is there, where it is right or nearly so.
	Found string `json:"found,omitempty"`
	// Error says what is wrong, also of a warning, and Hints what to do.
	Error string   `json:"error,omitempty"`
	Hints []string `json:"hints,omitempty"`

	err error
}

// The states of a check.
const (
	stateOK      = "ok"
	stateWarning = "warning"
	stateFailed  = "failed"
)

func checked(name, found string, err error) checkState {
	if err != nil {
		return checkState{Check: name, State: stateFailed, Error: err.Error(), Hints: exit.Hints(err), err: err}
	}
	return checkState{Check: name, State: stateOK, OK: true, Found: found}
}

// warned is a check that found something which does not stop a deploy.
func warned(name, found, problem string, hints ...string) checkState {
	return checkState{Check: name, State: stateWarning, OK: true, Found: found, Error: problem, Hints: hints}
}

// atOnce makes checks in parallel, and returns them in their order.
func atOnce(checks ...func() []checkState) []checkState {
	found := make([][]checkState, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() { found[i] = check() })
	}
	wg.Wait()
	return slices.Concat(found...)
}

// deployChecks are those that preflight and doctor share, but for the hosts.
func deployChecks(ctx context.Context, s *stages.Session) []func() []checkState {
	return []func() []checkState{
		func() []checkState { return []checkState{secretsAtHand(s)} },
		func() []checkState { return []checkState{mayPush(ctx, s)} },
		func() []checkState { return []checkState{leaseIsFree(ctx, s)} },
	}
}

// reported is the report of checks, and why a deploy would fail.
func reported(checks []checkState, refused error) (preflightReport, error) {
	sum := preflightReport{Ready: refused == nil, Checks: checks}
	errs := []error{refused}
	for _, one := range checks {
		sum.Ready = sum.Ready && one.OK
		errs = append(errs, one.err)
	}
	return sum, errors.Join(errs...)
}

func (p *program) preflight(ctx context.Context, s *stages.Session) error {
	in, err := looking(s)
	if err != nil {
		return err
	}
	refused := s.Survey(ctx, s.Config.Hosts())
	var unfit error
	hosts := func() (checks []checkState) { checks, unfit = hostsFit(ctx, in); return checks }
	sum, failed := reported(atOnce(append(deployChecks(ctx, s), hosts)...), refused)
	return errors.Join(failed, unfit, p.printPreflight(sum))
}

func (p *program) printPreflight(sum preflightReport) error {
	if p.global.output == "json" {
		return p.encode(sum)
	}
	t := p.table("CHECK", "STATE", "FOUND")
	for _, one := range sum.Checks {
		t.row(one.Check, one.State, one.Found)
	}
	return t.end()
}

// secretsAtHand looks for the secrets that a deploy needs. Commands that print some
// are not run. The commands for accessories check those of accessories.
func secretsAtHand(s *stages.Session) checkState {
	without := []string{"accessories", "registries"} // A host that has the image needs no login.
	if s.Options.Image != "" {
		without = append(without, "builder")
	}
	var errs []error
	found := 0
	for _, use := range s.Config.SecretNames() {
		idle := !slices.ContainsFunc(use.Where, func(path string) bool { return !slices.Contains(without, topKey(path)) })
		if idle || s.Options.HostSecrets && isOfApp(s.Config, use.Name) {
			continue
		}
		one := lookAt(s.Config, s.Secrets, use, false)
		if errs = append(errs, one.err); one.err == nil {
			found++
		}
	}
	err := errors.Join(errs...)
	if err == nil && !s.Options.HostSecrets {
		err = envpush.CheckCertificates(s.Input(nil, nil))
	}
	return checked("secrets", counted(found, "secret"), err)
}

func mayPush(ctx context.Context, s *stages.Session) checkState {
	if s.Config.Direct() && s.Options.Image == "" {
		return checked("registry", "none: the image goes to the hosts through SSH", nil)
	}
	repository := registry.Repository(s.Config)
	client, err := registry.Open(ctx, s.Config, repository, s.Secrets, s.Report)
	if err == nil {
		err = client.CheckPush(ctx)
		client.Close()
	}
	one := checked("registry", "may push to "+repository, err)
	if errors.Is(err, secret.ErrMissing) || errors.Is(err, secret.ErrEmpty) { // The check of secrets reports it.
		one.err, one.Error, one.Hints = nil, "not checked: its login is missing", nil
	}
	return one
}

// leaseIsFree looks whether a deploy would get the lease: as a new release, or as the
// one in the state folder. One that queues (--wait) would wait for it.
func leaseIsFree(ctx context.Context, s *stages.Session) checkState {
	store, err := s.LeaseStore(ctx)
	if err == nil {
		err = store.Unheld(ctx, state.NewRelease(time.Now()))
	}
	if exit.CodeOf(err) == exit.LeaseHeld {
		here := s.Dir.Newest(state.Expect{Service: s.Config.Service, Destination: s.Config.Destination})
		if here != nil && store.Unheld(ctx, here.Release) == nil {
			return checked("lease", "held by the release in "+s.Dir.Path(), nil)
		}
		if s.LeaseWait() > 0 {
			return checked("lease", fmt.Sprintf("queues for %s: %s", s.LeaseWait(), err), nil)
		}
	}
	if exit.CodeOf(err) == exit.Unreachable {
		err = exit.With(exit.Unreachable, fmt.Errorf("the lease is not known: %w", err))
	}
	return checked("lease", "free for a new release", err)
}

func hostsFit(ctx context.Context, in stages.Input) ([]checkState, error) {
	records, engines, err := stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (string, error) {
		info, err := w.Fit(ctx, in, in.Config.Builder.Platforms)
		if err == nil {
			_, err = w.PortsFree(ctx, in)
		}
		return info.Version, err
	})
	var all []checkState
	for _, r := range records {
		one := checked(r.Host, "engine "+engines[r.Host], nil)
		if r.Error != nil { // Its error is among those that are returned.
			one = checkState{Check: r.Host, State: stateFailed, Error: r.Error.Message}
		}
		all = append(all, one)
	}
	return all, err
}
