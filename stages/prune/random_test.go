package prune

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/runopt"
	"github.com/kstep/kstep/stages"
)

var (
	retainSeeds = flag.Int("retain-seeds", 1000, "try so many random sequences of releases")
	retainSeed  = flag.Int("retain-seed", -1, "try only the sequence of this seed, and print it")
)

// simulated is a host on which releases come one after the other, and what is
// expected of retention.
type simulated struct {
	cfg        *config.Config
	book       ledger.Ledger
	containers []engine.Container
	count      int // Of releases, and the clock.
	fresh      int // Of versions.

	// served is a stack: a deploy pushes its version, a rollback pops what served
	// after its own. left are those that were popped, the latest in service last.
	served, left []string
	since        map[string]int // Last in service.
	story        []string
}

func simulatedRoles() []string { return []string{"web", "job"} }

func newSimulated(retain, fits int) *simulated {
	s := &simulated{since: map[string]int{}}
	s.cfg = &config.Config{Service: "shop", Retain: retain}
	if fits > 0 {
		s.cfg.RetainSize = runopt.Size(fits * 100)
	}
	return s
}

func (s *simulated) live() string { return s.served[len(s.served)-1] }

func (s *simulated) next() string {
	s.fresh++
	return fmt.Sprintf("v%d", s.fresh)
}

func (s *simulated) find(role, version string) int {
	return slices.IndexFunc(s.containers, func(c engine.Container) bool {
		return c.Labels[engine.LabelRole] == role && c.Labels[engine.LabelVersion] == version
	})
}

// release is one release: it starts the version's containers, and makes those that
// are missing. A good one takes the place of what serves, and prunes.
func (s *simulated) release(version string, good, goesBack bool) {
	s.count++
	entry := ledger.Release{
		ID: fmt.Sprintf("R%04d", s.count), Version: version, Image: "shop@" + version, Tag: "shop:" + version, GoesBack: goesBack,
	}
	live := map[string][]string{}
	for _, role := range simulatedRoles() {
		at := s.find(role, version)
		if at < 0 {
			labels := stages.RoleLabels(s.cfg, role)
			labels[engine.LabelVersion], labels[engine.LabelRelease] = version, entry.ID
			at = len(s.containers)
			name := role + "-" + version
			s.containers = append(s.containers, engine.Container{
				ID: name + "-" + entry.ID, Name: name, State: "exited", Created: time.Unix(int64(s.count), 0),
				Image: entry.Image, ImageID: version, Labels: labels,
			})
		}
		live[role] = []string{s.containers[at].ID}
	}
	if good {
		entry.Live = live
		for i, c := range s.containers {
			s.containers[i].State = "exited"
			if c.Labels[engine.LabelVersion] == version {
				s.containers[i].State = "running"
			}
		}
	}
	s.book.Note(entry)
	if good {
		s.prune(entry)
	}
}

func (s *simulated) prune(entry ledger.Release) {
	in := stages.Input{Config: s.cfg, Release: entry.ID, Version: entry.Version}
	for _, role := range simulatedRoles() {
		in.All = append(in.All, plan.Target{Host: "vm1", Role: config.Role{Name: role}})
	}
	var images []engine.Image
	for _, c := range s.containers {
		images = append(images, engine.Image{ID: c.ImageID, Size: 100})
	}
	todo := decide(in, seen{host: "vm1", book: s.book, all: s.containers, images: images, roles: simulatedRoles()})
	s.containers = slices.DeleteFunc(s.containers, func(c engine.Container) bool {
		return slices.ContainsFunc(todo.containers, func(gone engine.Container) bool { return gone.ID == c.ID })
	})
	forget(&s.book, todo.gone)
}

// past is what stages.View.Past returns of the host.
func (s *simulated) past() []stages.Past {
	var all []stages.Past
	for _, v := range s.book.Versions("") {
		p := stages.Past{Version: v.Name, Release: v.Release, RolledBack: v.RolledBack, Missing: map[string]string{}, Targets: make([]plan.Target, 2)}
		for _, role := range simulatedRoles() {
			at := s.find(role, v.Name)
			switch {
			case at < 0:
				p.Missing[role] = "its container was removed"
				continue
			case s.containers[at].Running():
				p.Live = append(p.Live, role)
			}
			p.Ready = append(p.Ready, role)
		}
		all = append(all, p)
	}
	return all
}

// deployed expects the version on top, and rolledBack what served after it to be
// left.
func (s *simulated) deployed(version string) {
	other := func(v string) bool { return v == version }
	s.left = slices.DeleteFunc(s.left, other)
	s.served = append(slices.DeleteFunc(s.served, other), version)
	s.forgotten()
}

func (s *simulated) rolledBack(version string) {
	at := slices.Index(s.served, version)
	if at < 0 { // Forward again.
		s.deployed(version)
		return
	}
	s.left = append(s.left, s.served[at+1:]...)
	slices.SortFunc(s.left, func(a, b string) int { return s.since[a] - s.since[b] })
	s.served = s.served[:at+1]
	s.forgotten()
}

// forgotten drops what is past retention.
func (s *simulated) forgotten() {
	s.since[s.live()] = s.count
	room := s.cfg.Retain
	if s.cfg.RetainSize > 0 {
		room = min(room, int(s.cfg.RetainSize)/100)
	}
	s.served = slices.Clone(s.served[max(0, len(s.served)-max(room, 2)):])
	s.left = slices.Clone(s.left[max(0, len(s.left)-max(0, room-len(s.served))):])
}

// step does one thing at random.
func (s *simulated) step(r *rand.Rand) {
	kept := slices.Concat(s.served, s.left)
	kind := r.IntN(10)
	if len(s.served) == 0 {
		kind = r.IntN(2) * 9
	}
	switch kind {
	case 0, 1, 2:
		version := s.next()
		s.story = append(s.story, "deploy "+version)
		s.release(version, true, false)
		s.deployed(version)
	case 3:
		s.story = append(s.story, "redeploy "+s.live())
		s.release(s.live(), true, false)
		s.deployed(s.live())
	case 4: // An old commit, of which something is kept or not.
		version := fmt.Sprintf("v%d", 1+r.IntN(s.fresh))
		s.story = append(s.story, "deploy again "+version)
		s.release(version, true, false)
		s.deployed(version)
	case 5, 6:
		to, _, ok := stages.Previous(s.past())
		if !ok {
			s.story = append(s.story, "rollback to nothing")
			return
		}
		s.story = append(s.story, "rollback, to "+to.Version)
		s.release(to.Version, true, true)
		s.rolledBack(to.Version)
	case 7:
		version := kept[r.IntN(len(kept))]
		s.story = append(s.story, "rollback "+version)
		s.release(version, true, true)
		s.rolledBack(version)
	case 8: // A deploy, or a rollback, of what has served before fails.
		version := kept[r.IntN(len(kept))]
		s.story = append(s.story, "fail again "+version)
		s.release(version, false, r.IntN(2) == 0)
	default:
		version := s.next()
		s.story = append(s.story, "fail "+version)
		s.release(version, false, false)
	}
}

// check returns what is wrong.
func (s *simulated) check(pruned bool) string {
	want := ""
	if len(s.served) > 1 {
		want = s.served[len(s.served)-2]
	}
	if to, passed, _ := stages.Previous(s.past()); to.Version != want || len(passed) > 0 {
		return fmt.Sprintf("a rollback goes to %q, want %q", to.Version, want)
	}
	expected := slices.Sorted(slices.Values(slices.Concat(s.served, s.left)))
	there := versions(s.containers)
	for _, version := range expected {
		if !slices.Contains(there, version) {
			return version + " was removed"
		}
	}
	if pruned && !slices.Equal(there, expected) {
		return fmt.Sprintf("the host keeps %v, want %v", there, expected)
	}
	return ""
}

// TestRetention_KeepsTheWayBackThroughAnySequenceOfReleases goes by a model that
// knows no ledger: a stack of versions.
func TestRetention_KeepsTheWayBackThroughAnySequenceOfReleases(t *testing.T) {
	t.Parallel()
	seeds := slices.Collect(maps.Keys(map[int]bool{*retainSeed: true}))
	if *retainSeed < 0 {
		seeds = seeds[:0]
		for seed := range *retainSeeds {
			seeds = append(seeds, seed)
		}
	}
	for _, seed := range seeds {
		r := rand.New(rand.NewPCG(uint64(seed), 11))
		s := newSimulated(1+seed%5, r.IntN(8)-2)
		for range 30 {
			s.step(r)
			last := s.story[len(s.story)-1]
			if problem := s.check(!strings.HasPrefix(last, "fail") && !strings.HasSuffix(last, "nothing")); problem != "" {
				t.Fatalf("retain %d, retain_size for %d images: %s, after:\n%s\nagain: go test ./stages/prune -run Retention -retain-seed %d",
					s.cfg.Retain, s.cfg.RetainSize/100, problem, strings.Join(s.story, "\n"), seed)
			}
		}
		if *retainSeed >= 0 {
			t.Log(strings.Join(s.story, "\n"))
		}
	}
}
