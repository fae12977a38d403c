package stages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/short"
)

// survey is what a session has found out about the machines behind its host
// entries: each is looked at once, before anything is changed there. The zero
// survey has seen none.
type survey struct {
	mu     sync.Mutex
	hosts  map[string]*surveyed
	found  map[string]host.Identity
	reason map[string]error // Why an entry is refused.
}

// surveyed is one host entry.
type surveyed struct {
	mu    sync.Mutex // One look at a time.
	done  bool
	place place
	err   error
}

func (s *survey) of(name string) *surveyed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hosts == nil {
		s.hosts = map[string]*surveyed{}
	}
	if s.hosts[name] == nil {
		s.hosts[name] = &surveyed{}
	}
	return s.hosts[name]
}

// arrive looks at a host that was just connected, once in a session: which
// machine it is, and where the service is kept there. It refuses a machine that
// has another name in the configuration, and one that keeps the service in
// another folder. It ignores an engine that does not answer.
func (in Input) arrive(ctx context.Context, h host.Host) (place, error) {
	names, err := Names(ctx, in, h)
	if err != nil || in.survey == nil || in.Anywhere {
		return place{Names: names}, err
	}
	one := in.survey.of(h.Name())
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.done {
		if err := in.survey.refused(h.Name()); err != nil {
			return one.place, err
		}
		return one.place, one.err
	}
	var identified, placed error
	var wg sync.WaitGroup
	if len(in.Config.EveryHost()) > 1 {
		wg.Go(func() { identified = in.survey.identify(ctx, in.Config, h) })
	} else {
		wg.Go(func() { _, identified = h.Engine().Info(ctx) }) // For its clock.
	}
	wg.Go(func() { one.place, placed = in.observePlace(ctx, h, names) })
	wg.Wait()
	err = identified // It comes first: the other name's folder is this one.
	if err == nil {
		err = placed
	}
	if exit.CodeOf(err) == exit.Unreachable && ctx.Err() == nil {
		return place{Names: names}, nil
	}
	one.done = err == nil || exit.CodeOf(err) == exit.Config
	one.err = err
	return one.place, err
}

// identify reads which machine the host is, and refuses it when another entry
// is the same one.
func (s *survey) identify(ctx context.Context, cfg *config.Config, h host.Host) error {
	id, err := host.Identify(ctx, h)
	if err != nil {
		return fmt.Errorf("read the identity of %s: %w", h.Name(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.found == nil {
		s.found, s.reason = map[string]host.Identity{}, map[string]error{}
	}
	s.found[h.Name()] = id
	for _, name := range cfg.EveryHost() {
		if other, known := s.found[name]; known && name != h.Name() && id.Same(other) {
			err := oneMachine(cfg, name, h.Name(), id)
			s.reason[name], s.reason[h.Name()] = err, err
			return err
		}
	}
	return nil
}

func oneMachine(cfg *config.Config, one, other string, id host.Identity) error {
	return cfg.OneMachine(config.Twins{One: one, Other: other, Why: fmt.Sprintf("both lead to the engine %s on %s", short.Of(id.Engine), id.Name)})
}

// refused is why the entry must not be touched, if it was found to be another
// one's machine.
func (s *survey) refused(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason[name]
}

// Elsewhere is the run directory in which a host has the service's state, if that
// was found to be another one than the configuration's. It may be unknown.
func (s *Session) Elsewhere(name string) (run string, elsewhere bool) {
	one := s.survey.of(name)
	one.mu.Lock()
	defer one.mu.Unlock()
	e, elsewhere := errors.AsType[*ElsewhereError](one.err)
	if !elsewhere {
		return "", false
	}
	return e.Run, true
}

// Survey connects to the hosts, all at once, and looks at each of them: nothing
// is changed anywhere if one has two names, or keeps the service elsewhere. It
// ignores hosts that cannot be reached: the work on them fails.
func (s *Session) Survey(ctx context.Context, names []string) error {
	return s.surveyFor(ctx, names, nil, false)
}

// surveyFor is Survey for work that writes routes on some of the hosts. changes
// is true if it changes them.
func (s *Session) surveyFor(ctx context.Context, names, routed []string, changes bool) error {
	s.Hosts.Warm(ctx, names)
	if s.surveyed.Load() {
		return nil
	}
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			h, err := s.Hosts.Reached(ctx, name)
			if err != nil {
				return
			}
			at, err := s.base().arrive(ctx, h)
			if err == nil && changes {
				err = at.unusable
			}
			if err == nil && slices.Contains(routed, name) {
				err = at.unroutable
			}
			if exit.CodeOf(err) == exit.Config {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	for i, name := range names { // Also the first of two to be seen.
		if err := s.survey.refused(name); err != nil {
			errs[i] = err
		}
	}
	return errors.Join(once(errs)...)
}

// surveyEarly begins the survey that the first stage on the hosts makes, so that
// the other hosts are looked at beside the lease's. That stage reports what is
// wrong, from the same looks.
func (s *Session) surveyEarly(ctx context.Context) {
	targets, err := plan.Filter(plan.Targets(s.Config), s.Roles, s.HostGlobs)
	if err != nil || s.surveyed.Load() {
		return
	}
	for _, name := range s.touched(targets, true) {
		s.early.Go(func() {
			if h, err := s.Hosts.Reached(ctx, name); err == nil {
				_, _ = s.base().arrive(ctx, h) // As above.
			}
		})
	}
}

// once keeps each error once.
func once(errs []error) []error {
	seen := map[string]bool{}
	return slices.DeleteFunc(errs, func(err error) bool {
		again := err == nil || seen[err.Error()]
		if err != nil {
			seen[err.Error()] = true
		}
		return again
	})
}

// later reports that the stage follows another one of its release, in a process
// of its own: that one has made the survey.
func (r *run) later() bool {
	in := func(s Stage) bool { return s.Info().Name == r.info.Name }
	return !r.KeepLease && r.info.Name != FirstHostStage && slices.ContainsFunc(r.Pipeline, in)
}

// looks is the survey that work on hosts makes or goes by; none where an earlier
// stage has made it.
func (s *Session) looks() *survey {
	if s.surveyed.Load() {
		return nil
	}
	return &s.survey
}

// base is what work outside of any stage may know of the session.
func (s *Session) base() Input {
	return Input{Config: s.Config, Hosts: s.Hosts, Report: s.Report, survey: s.looks()}
}

// touched are the hosts that work on the targets has to know: theirs, the lease's
// and, where everything is, also those that only accessories are on.
func (s *Session) touched(targets []plan.Target, everything bool) []string {
	all := append(plan.HostNames(targets), plan.LeaseHost(plan.Targets(s.Config)))
	if everything && len(s.Roles)+len(s.HostGlobs) == 0 {
		all = append(all, s.Config.EveryHost()...)
	}
	var each []string
	for _, name := range all {
		if !slices.Contains(each, name) {
			each = append(each, name)
		}
	}
	return each
}

// routedHosts are the hosts of targets that get traffic.
func routedHosts(targets []plan.Target) []string {
	return plan.HostNames(slices.DeleteFunc(slices.Clone(targets), func(t plan.Target) bool { return !t.Proxied }))
}
