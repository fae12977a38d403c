package stages

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
)

// Outlook is what hosts will be like once the stages that were planned so far
// have run. It begins with what was observed. Its methods may be called from
// several goroutines at once.
type Outlook struct {
	release string

	mu         sync.Mutex
	containers map[string][]engine.Container // By host, all that there are.
	facts      map[string]map[string]state.Fact
	started    map[string]bool // By host and id.
	steps      map[string]step // By target.
}

// look observes the hosts of all targets.
func look(ctx context.Context, in Input) (*Outlook, []Pending, error) {
	o := &Outlook{release: in.Release, facts: map[string]map[string]state.Fact{}, started: map[string]bool{}, steps: map[string]step{}}
	all, found, err := Foresee(ctx, in, wholeHosts(in.Targets), func(ctx context.Context, w *Work) ([]engine.Container, error) {
		return w.Host.Engine().Containers(ctx, engine.Filter{All: true})
	})
	o.containers = byHost(found)
	if err != nil {
		in.Targets = reached(in.Targets, all)
	}
	more, facts, moreErr := Foresee(ctx, in, in.Targets, func(ctx context.Context, w *Work) (map[string]string, error) {
		return observed(ctx, in, w)
	})
	for key, seen := range facts {
		if seen == nil {
			continue // It could not be looked at.
		}
		o.facts[key] = map[string]state.Fact{}
		for fact, value := range seen {
			o.facts[key][fact] = state.Fact{Seen: value}
		}
	}
	return o, append(all, more...), errors.Join(err, moreErr)
}

// reached are the targets whose hosts nothing went wrong on.
func reached(targets []plan.Target, all []Pending) []plan.Target {
	return slices.DeleteFunc(slices.Clone(targets), func(t plan.Target) bool {
		return slices.ContainsFunc(all, func(p Pending) bool { return p.Err != nil && p.Host == t.Host })
	})
}

// Containers are those that a host will have, as far as they have these labels.
func (o *Outlook) Containers(host string, labels map[string]string) []engine.Container {
	o.mu.Lock()
	defer o.mu.Unlock()
	return engine.With(o.containers[host], labels)
}

// Started reports whether any container will have been started or created.
func (o *Outlook) Started() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.started) > 0
}

// Starts reports whether this container will have been started or created.
func (o *Outlook) Starts(host, id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.started[host+" "+id]
}

// unborn begins the ids of containers that are not there yet.
const unborn = "planned "

// Create expects a new container, and returns the id that stands for its own.
func (o *Outlook) Create(host string, spec engine.Spec) string {
	c := engine.Container{
		ID: unborn + spec.Name, Name: spec.Name, Image: spec.Image, Labels: maps.Clone(spec.Labels),
		Mounts: slices.Clone(spec.Mounts), State: "created", Created: state.ReleaseTime(o.release),
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.containers[host] = append(o.containers[host], c)
	o.started[host+" "+c.ID] = true
	o.becomes(Create, roleOf(c, host), ownFact, present)
	return c.ID
}

// Start expects a container to run.
func (o *Outlook) Start(host, id string) {
	o.change(Start, host, id, func(c *engine.Container) { c.State = "running" })
	o.mu.Lock()
	defer o.mu.Unlock()
	o.started[host+" "+id] = true
}

// Stop expects a container to end.
func (o *Outlook) Stop(host, id string) {
	o.change(Stop, host, id, func(c *engine.Container) { c.State, c.Restart = "exited", engine.RestartNo })
}

// Rename expects a container to be called otherwise.
func (o *Outlook) Rename(host, id, name string) {
	o.change(Rename, host, id, func(c *engine.Container) { c.Name = name })
}

func (o *Outlook) change(verb Verb, host, id string, change func(*engine.Container)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, c := range o.containers[host] {
		if c.ID == id {
			change(&c)
			o.containers[host][i] = c
			o.becomes(verb, roleOf(c, host), containerFact(c), condition(c))
		}
	}
}

// Remove expects a container to be gone.
func (o *Outlook) Remove(host, id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.containers[host] = slices.DeleteFunc(o.containers[host], func(c engine.Container) bool {
		if c.ID != id {
			return false
		}
		o.becomes(Remove, roleOf(c, host), containerFact(c), "")
		return true
	})
}

func roleOf(c engine.Container, host string) string {
	return state.Key(c.Labels[engine.LabelRole], host)
}

// step is how many kinds of changes a target has seen so far.
type step struct {
	number int
	verb   Verb
}

// becomes notes what a fact is turned into. What the release itself made is no
// fact, and neither is what is not planned for. Changes of one kind in a row
// are one step: they may be made at once.
func (o *Outlook) becomes(verb Verb, key, fact, value string) {
	f, seen := o.facts[key][fact]
	if !seen {
		return
	}
	at := o.steps[key]
	if at.verb != verb {
		at = step{at.number + 1, verb}
		o.steps[key] = at
	}
	if value != f.Seen && !slices.ContainsFunc(f.Becomes, func(t state.Turn) bool { return t.Value == value }) {
		f.Becomes = append(f.Becomes, state.Turn{Step: at.number, Value: value})
	}
	o.facts[key][fact] = f
}

// Route expects the target's traffic, which goes to those that are live, to go
// to others: they may come one by one, and then those that are not among them
// go one by one, in this order.
func (o *Outlook) Route(t plan.Target, to, live []engine.Container) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range to {
		o.becomes(Move, t.Key(), trafficFact, takers(o.release, slices.Concat(live, to[:i+1])))
	}
	for i := range live {
		o.becomes(Move, t.Key(), trafficFact, takers(o.release, slices.Concat(live[i+1:], to)))
	}
}

// Env expects the target's env file to have this fingerprint; an empty one is
// not known.
func (o *Outlook) Env(t plan.Target, fingerprint string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.becomes(Write, t.Key(), envFact, cmp.Or(fingerprint, state.Anything))
}

// Forget expects the ledger of a host to become so.
func (o *Outlook) Forget(host string, book ledger.Ledger) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key := range o.facts {
		if _, at, _ := strings.Cut(key, "@"); at == host {
			o.becomes(Remove, key, ledgerFact, newestBeside(book, o.release))
		}
	}
}

// Observed are the facts of all targets that were looked at, and what becomes
// of them.
func (o *Outlook) Observed(all []plan.Target) []state.Observed {
	o.mu.Lock()
	defer o.mu.Unlock()
	found := []state.Observed{}
	for _, t := range all {
		if facts, ok := o.facts[t.Key()]; ok {
			found = append(found, state.Observed{Host: t.Host, Role: t.Role.Name, Facts: maps.Clone(facts)})
		}
	}
	return found
}
