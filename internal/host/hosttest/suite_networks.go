package hosttest

import (
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/engine"
)

// another is a second network, which is removed with the test. The containers that
// are made after it are removed before.
func (s suite) another() string {
	s.Helper()
	name := suiteName()
	_, err := s.e.EnsureNetwork(s.Context(), name, map[string]string{"kstep.suite": "yes"})
	must(s, err)
	s.Cleanup(func() { removeNetwork(s.T, s.h, name) })
	return name
}

func (s suite) joins() {
	second := s.another()
	spec := s.spec()
	spec.Aliases = []string{"first"}
	id := s.run(spec)
	before := s.inspect(id)
	for range 2 { // The second time it is in it.
		must(s, s.e.Connect(s.Context(), id, second, []string{"second", "other"}))
	}
	c := s.inspect(id)
	want := []string{s.network, second}
	slices.Sort(want)
	if !slices.Equal(c.Networks, want) || c.Addresses[s.network] != before.Addresses[s.network] || net.ParseIP(c.Addresses[second]) == nil {
		s.Errorf("connected: got networks %q, addresses %v; before %v", c.Networks, c.Addresses, before.Addresses)
	}
	if c.Started != before.Started || len(c.IPs) != 2 {
		s.Errorf("connected: got started %s, addresses %v; want %s and two", c.Started, c.IPs, before.Started)
	}
	for network, aliases := range map[string][]string{s.network: {"first"}, second: {"second", "other"}} {
		for _, alias := range aliases {
			if !slices.Contains(c.Aliases[network], alias) {
				s.Errorf("got aliases %q on %s, want %s among them", c.Aliases[network], network, alias)
			}
		}
		if slices.ContainsFunc(c.Aliases[network], func(a string) bool { return strings.HasPrefix(id, a) }) {
			s.Errorf("got aliases %q: the ID is none", c.Aliases[network])
		}
	}
	s.get(net.JoinHostPort(c.Addresses[second], "3000"))
	s.get(net.JoinHostPort(c.Addresses[s.network], "3000"))
	list, err := s.e.Containers(s.Context(), engine.Filter{IDs: []string{id}})
	must(s, err)
	if len(list) != 1 || !slices.Equal(list[0].Networks, want) || list[0].Addresses[second] != c.Addresses[second] {
		s.Errorf("got %+v, want a list with the networks %q", list, want)
	}
	for range 2 { // The second time it is not in it.
		must(s, s.e.Disconnect(s.Context(), id, second))
	}
	if c := s.inspect(id); !slices.Equal(c.Networks, []string{s.network}) || !c.Running() || c.Addresses[s.network] != before.Addresses[s.network] {
		s.Errorf("disconnected: got %q, %v", c.Networks, c.Addresses)
	}
	s.get(net.JoinHostPort(before.Addresses[s.network], "3000"))
	if err := s.e.Connect(s.Context(), id, "kstep-suite-missing", nil); !errors.Is(err, engine.ErrNetworkMissing) {
		s.Errorf("connect to a missing network: got %v, want ErrNetworkMissing", err)
	}
	if err := s.e.Connect(s.Context(), "kstep-suite-missing", second, nil); !errors.Is(err, engine.ErrNotFound) {
		s.Errorf("connect a missing container: got %v, want ErrNotFound", err)
	}
	must(s, s.e.Disconnect(s.Context(), "kstep-suite-missing", second))
}

func (s suite) joinsBeforeStart() {
	second, third := s.another(), s.another()
	id := s.create(s.spec())
	must(s, s.e.Connect(s.Context(), id, second, []string{"alias"}))
	want := []string{s.network, second}
	slices.Sort(want)
	if c := s.inspect(id); !slices.Equal(c.Networks, want) || c.State != "created" {
		s.Errorf("created: got %q, want %q", c.Networks, want)
	}
	must(s, s.e.Start(s.Context(), id))
	c := s.inspect(id)
	if net.ParseIP(c.Addresses[second]) == nil || net.ParseIP(c.Addresses[s.network]) == nil {
		s.Errorf("started: got %v", c.Addresses)
	}
	must(s, s.e.Stop(s.Context(), id, engine.Stop{Timeout: time.Second}))
	must(s, s.e.Connect(s.Context(), id, third, nil))
	must(s, s.e.Disconnect(s.Context(), id, second))
	want = []string{s.network, third}
	slices.Sort(want)
	list, err := s.e.Containers(s.Context(), engine.Filter{IDs: []string{id}, All: true})
	must(s, err)
	if len(list) != 1 || !slices.Equal(list[0].Networks, want) {
		s.Errorf("stopped: got %+v, want a list with the networks %q", list, want)
	}
}

func (s suite) severalNetworks() {
	second, third := s.another(), s.another()
	spec := s.spec()
	spec.Aliases, spec.Networks = []string{"alias"}, []string{second, third}
	id := s.create(spec)
	must(s, s.e.Start(s.Context(), id))
	c := s.inspect(id)
	for _, network := range []string{s.network, second, third} {
		if net.ParseIP(c.Addresses[network]) == nil || !slices.Contains(c.Aliases[network], "alias") {
			s.Errorf("got addresses %v and aliases %v, want both on %s", c.Addresses, c.Aliases, network)
		}
	}
}

func (s suite) networkInUse() {
	second := s.another()
	spec := s.spec()
	spec.Network = second
	id := s.run(spec)
	if err := s.e.RemoveNetwork(s.Context(), second); err == nil {
		s.Error("a network with a running container was removed")
	}
	s.get(net.JoinHostPort(s.inspect(id).Addresses[second], "3000"))
	must(s, s.e.Remove(s.Context(), id))
	must(s, s.e.RemoveNetwork(s.Context(), second))
	if have, err := s.e.Networks(s.Context(), second); err != nil || len(have) > 0 {
		s.Errorf("got %v, %v, want no network", have, err)
	}
}

// isolation resolves the names of containers from within others.
func (s suite) isolation() {
	second := s.another()
	here, there := s.spec(), s.spec()
	here.Aliases, there.Network, there.Aliases = []string{"kstep-here"}, second, []string{"kstep-there"}
	a, b := s.run(here), s.run(there)
	s.resolves(a, there.Name, false)
	s.resolves(a, "kstep-there", false)
	s.resolves(b, here.Name, false)
	must(s, s.e.Connect(s.Context(), a, second, []string{"kstep-here"}))
	for _, name := range []string{there.Name, "kstep-there", b[:12]} {
		s.resolves(a, name, true)
	}
	for _, name := range []string{here.Name, "kstep-here", a[:12]} {
		s.resolves(b, name, true)
	}
	must(s, s.e.Disconnect(s.Context(), a, second))
	s.resolves(a, there.Name, false)
}

// resolves checks whether a container finds another one's name. The status of
// nslookup is 0 also where the server knows the name and has no address for it.
func (s suite) resolves(from, name string, want bool) {
	s.Helper()
	status, out, err := s.e.Exec(s.Context(), from, []string{"nslookup", name})
	found := status == 0 && strings.Contains(string(out), "Name:")
	if err != nil || found != want {
		s.Errorf("%s looks up %s: got status %d, %v and %q, want found: %t", from[:12], name, status, err, out, want)
	}
}
