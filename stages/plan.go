package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
)

// Plan returns what the stages of the chain would do if they ran now, one after
// the other, and what the hosts are like. It changes nothing anywhere. With an
// error it returns what is known. given is true if the user named a version or
// an image.
func (s *Session) Plan(ctx context.Context, chain []Stage, given bool) (state.Plan, error) {
	targets, err := plan.Filter(plan.Targets(s.Config), s.Roles, s.HostGlobs)
	if err != nil {
		return state.Plan{}, err
	}
	if err := s.Connect(ctx); err != nil {
		return state.Plan{}, err
	}
	if err := s.surveyFor(ctx, s.touched(targets, true), routedHosts(targets), true); err != nil {
		return state.Plan{}, err
	}
	if s.StateFrom == FromHosts {
		if _, err := s.takeState(ctx, "", s.expected()); err != nil {
			return state.Plan{}, err
		}
	}
	if err := s.lookAhead(ctx); exit.CodeOf(err) != exit.Unreachable && err != nil {
		return state.Plan{}, err
	}
	begun, err := s.aim(ctx, given)
	if err != nil {
		return state.Plan{}, err
	}
	p := &planning{Session: s, in: Input{
		Config: s.Config, Release: s.Release, Version: s.Version, By: s.By, Source: s.Source,
		Targets: targets, All: plan.Targets(s.Config), StateDir: s.Dir.Path(),
		Hosts: s.Hosts, Secrets: s.Secrets, Report: s.Report, Options: s.Options, survey: s.looks(),
	}}
	p.plan = state.Plan{
		APIVersion: state.APIVersion, Kind: state.PlanKind, Release: s.Release, Begun: begun,
		Service: s.Config.Service, Destination: s.Config.Destination, Version: s.Version, Image: s.Options.Image,
		Tool: s.Tool, Actor: s.Actor, Source: s.Source, Config: s.Config.Digest(), Made: time.Now().UTC(),
		Stages: []state.PlannedStage{}, Observed: []state.Observed{},
	}
	err = p.walk(ctx, chain)
	return p.plan, err
}

// expected are the files of the session's own service.
func (s *Session) expected() state.Expect {
	return state.Expect{Service: s.Config.Service, Destination: s.Config.Destination}
}

// aim finds out which release a plan is for: the one that is under way in the
// state folder, or else what a deploy would begin, or go on with, here.
func (s *Session) aim(ctx context.Context, given bool) (begun bool, err error) {
	here := s.Dir.Newest(s.expected())
	if here != nil && !given && !s.Options.NewRelease && s.underWay(here) {
		s.Release, s.Version, s.Source = here.Release, here.Version, here.Source
		return true, nil
	}
	if s.Version, s.Source, err = s.Resolve(ctx); err != nil {
		return false, err
	}
	if s.continues(here, s.Version) {
		s.Release = here.Release
		return true, nil
	}
	s.Release = s.newRelease(ctx)
	return false, nil
}

// underWay reports whether the newest stage of a release in the folder left it to
// a next one. One that failed may be given up: the next deploy decides.
func (s *Session) underWay(here *state.File) bool {
	if pushed, known := s.pushed(here.Release); known && pushed.GoesBack {
		return false // Deploy begins another one.
	}
	return here.Stage != LastStage && here.Stage != "abort" && (here.Status.Done() || here.Status == state.Interrupted)
}

// planning is the making of one plan.
type planning struct {
	*Session
	in    Input
	plan  state.Plan
	ahead *Outlook
	doubt doubt
	files []*state.File // What the stages so far leave, or would leave.
	lost  []string      // Hosts that did not answer.
	blind bool          // What a stage would leave is not known, nor what follows from it.
	errs  []error
}

func (p *planning) walk(ctx context.Context, chain []Stage) error {
	for _, stage := range chain {
		planner, ok := stage.(Planner)
		if !ok {
			return exit.Errorf(exit.Internal, "%s cannot be planned", stage.Info().Name)
		}
		if err := p.stage(ctx, planner); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return exit.With(interruption(ctx), errors.New("interrupted"))
		}
	}
	if p.ahead != nil {
		p.plan.Observed = p.ahead.Observed(p.in.All)
	}
	if err := p.lease(ctx); err != nil {
		p.errs = append(p.errs, err)
	}
	return errors.Join(p.errs...)
}

// lease finds who holds it, unless its host is one that did not answer.
func (p *planning) lease(ctx context.Context) error {
	if p.plan.LeaseUnknown = slices.Contains(p.lost, plan.LeaseHost(p.in.All)); p.plan.LeaseUnknown {
		return nil
	}
	store, err := p.LeaseStore(ctx)
	if err != nil {
		p.plan.LeaseUnknown = true
		return err
	}
	now, held, err := store.Peek(ctx)
	p.plan.LeaseUnknown = err != nil
	if held && err == nil {
		p.plan.Lease = &state.PlanLease{
			Holder: now.Holder.String(), Own: now.Holder.Release == p.Release, Renewed: now.Renewed.UTC(),
		}
	}
	return err
}

// stage plans one stage, upon what the stages before it leave.
func (p *planning) stage(ctx context.Context, planner Planner) error {
	info := planner.Info()
	own, err := p.own(info.Name)
	if err != nil {
		return err
	}
	if info.Name == "build" && p.needless(own) {
		return nil
	}
	var failures []Pending
	if info.Hosts && p.ahead == nil {
		if failures, err = p.look(ctx); err != nil {
			p.errs = append(p.errs, err)
		}
		p.doubt = p.doubts()
	}
	if p.blind || info.Hosts && len(p.in.Targets) == 0 { // What came before has shown why.
		p.note(info.Name, append(failures, Pending{Notes: []string{"not known"}}))
		return nil
	}
	in := p.in
	in.Own, in.Upstream = own, state.NewSet(p.files...)
	forecast, err := planner.Plan(ctx, in, p.ahead)
	if err != nil {
		p.errs = append(p.errs, fmt.Errorf("%s: %w", info.Name, err))
		if len(failed(forecast.Pending)) == 0 {
			forecast.Pending = append(forecast.Pending, Pending{Err: err})
		}
		p.in.Targets = reached(p.in.Targets, forecast.Pending)
		p.blind = forecast.Outputs == nil
	}
	p.note(info.Name, append(failures, forecast.Pending...))
	if push, ok := forecast.Outputs.(state.PushOutputs); ok && push.Known() {
		p.plan.Digest = push.Digest
	}
	file := &state.File{Stage: info.Name}
	if forecast.Outputs != nil {
		if file.Outputs, err = json.Marshal(forecast.Outputs); err != nil {
			return err
		}
	}
	p.files = append(p.files, file)
	return nil
}

// look observes the hosts, and goes on with those that answer.
func (p *planning) look(ctx context.Context) ([]Pending, error) {
	ahead, seen, err := look(ctx, p.in)
	p.ahead = ahead
	p.in.Targets = reached(p.in.Targets, seen)
	for _, one := range failed(seen) {
		p.lost = append(p.lost, one.Host)
	}
	return failed(seen), err
}

func failed(all []Pending) []Pending {
	return slices.DeleteFunc(slices.Clone(all), func(one Pending) bool { return one.Err == nil })
}

// own is what an earlier run of the stage left for this release.
func (p *planning) own(stage string) (*state.File, error) {
	expect := p.expected()
	expect.Release = p.Release
	shard := plan.Shard(p.Roles, p.HostGlobs)
	if state.Whole(stage) {
		shard = ""
	}
	return p.Dir.Own(stage, shard, expect)
}

// needless reports whether the build has no more use: its image is in the
// registry, and the archive did not come along.
func (p *planning) needless(built *state.File) bool {
	pushed, err := p.own("push")
	if err != nil || pushed == nil || !pushed.Status.Done() {
		return false
	}
	out, err := state.OwnOutputs[state.BuildOutputs](built)
	if err != nil || out.Archive == "" {
		return true
	}
	_, err = os.Stat(filepath.Join(p.Dir.Path(), out.Archive))
	return err != nil
}

// note puts what a stage would do into the plan.
func (p *planning) note(stage string, all []Pending) {
	planned := state.PlannedStage{Stage: stage, Targets: []state.PlannedTarget{}}
	for _, one := range all {
		if len(one.Acts)+len(one.Notes) == 0 && one.Err == nil {
			continue
		}
		t := state.PlannedTarget{Host: one.Host, Role: one.Role, Notes: one.Notes}
		unsure := p.doubt.of(stage, one, p.in.Targets)
		for _, a := range one.Acts {
			a.Unsure = unsure
			t.Changes = append(t.Changes, state.PlannedChange{Mark: a.mark(), Do: a.String(), Done: a.Done(), Detail: a.Detail})
		}
		if one.Err != nil {
			t.Error = &state.Error{Class: exit.CodeOf(one.Err).Class(), Message: one.Err.Error()}
		}
		p.plan.Changes += t.Certain()
		planned.Targets = append(planned.Targets, t)
	}
	p.plan.Stages = append(p.plan.Stages, planned)
}
