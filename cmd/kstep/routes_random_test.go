package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

var routeSeeds = flag.Int("route-seeds", 2, "try so many random stories of services that share hosts")

// tenant is a service, or a destination of one, that shares hosts with others.
type tenant struct {
	*world
	name string
	args []string
	// serves are its claims by host, as its last successful deploy there set them.
	serves map[string]claimed
	asked  claimed // In its configuration.
	hosts  []string
	count  int
}

// claimed are the requests that a configuration routes.
type claimed struct {
	name, prefix string // An empty name is every name.
	fallback     bool
}

// matches returns how precise the claim is for a request. 0 is no match.
func (c claimed) matches(name, path string) int {
	if path != c.prefix && !strings.HasPrefix(path, strings.TrimSuffix(c.prefix, "/")+"/") {
		return 0
	}
	parent, wildcard := strings.CutPrefix(c.name, "*.")
	label, below := strings.CutSuffix(name, "."+parent)
	switch {
	case c.name == name:
		return 300 + len(c.prefix)
	case wildcard && below && !strings.Contains(label, "."):
		return 200 + len(c.prefix)
	case c.name == "":
		return 100 + len(c.prefix)
	}
	return 0
}

// change gives the tenant other hosts, names and a role at random.
func (a *tenant) change(r *rand.Rand) {
	a.asked = claimed{
		name:   []string{"", "a.example.com", "b.example.com", "*.example.com"}[r.IntN(4)],
		prefix: []string{"/", "/", "/api"}[r.IntN(3)],
	}
	a.asked.fallback = r.IntN(2) == 0 && (a.asked.name == "" || strings.HasPrefix(a.asked.name, "*"))
	a.hosts = [][]string{{"vm1"}, {"vm2"}, {"vm1", "vm2"}}[r.IntN(3)]
	role := []string{"web", "api"}[r.IntN(2)]
	switchBy := []string{"routes", "routes", "cord"}[r.IntN(3)]
	proxy := fmt.Sprintf("switch: %s, path_prefix: %s, fallback: %t", switchBy, a.asked.prefix, a.asked.fallback)
	if a.asked.name != "" {
		proxy += fmt.Sprintf(", hosts: [%q]", a.asked.name)
	}
	service, _, _ := strings.Cut(a.name, "-")
	a.configure(fmt.Sprintf("primary_role: %s\nproxy: {%s}\n", role, proxy))
	a.replace("service: shop", "service: "+service)
	a.replace("  web: [vm1, vm2]\n  job:\n    hosts: [vm3]\n    cmd: work hard\n    healthcheck: {cmd: \"true\"}\n",
		fmt.Sprintf("  %s: [%s]\n", role, strings.Join(a.hosts, ", ")))
}

// requests are what users of all tenants send.
func requests() [][2]string {
	var all [][2]string
	for _, name := range []string{"a.example.com", "b.example.com", "c.example.com", "a.b.example.com", "other.org"} {
		for _, path := range []string{"/", "/api", "/api/orders", "/apis"} {
			all = append(all, [2]string{name, path})
		}
	}
	return all
}

// TestRoutes_NeverLeadToAnotherOwner: two services, one of them at two
// destinations, on two hosts change their names, paths, hosts and roles at random.
// After each command a request is answered by its owner, and status says the same.
// No command of another tenant changes the owner of a request.
func TestRoutes_NeverLeadToAnotherOwner(t *testing.T) {
	t.Parallel()
	for seed := range *routeSeeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(seed), 9))
			w := newWorld(t)
			w.exits(exit.OK, "proxy", "boot")
			var tenants []*tenant
			for _, name := range []string{"shop", "shop-staging", "blog"} {
				a := &tenant{world: w.service("shop", ""), name: name, serves: map[string]claimed{}}
				if strings.HasSuffix(name, "-staging") {
					a.write("kstep.staging.yml", "{}")
					a.args = []string{"-d", "staging"}
				}
				tenants = append(tenants, a)
			}
			var story []string
			owners := map[[3]string]*tenant{}
			for range 12 {
				a := tenants[r.IntN(len(tenants))]
				story = append(story, a.act(r))
				problem := judge(w, tenants)
				if problem == "" {
					problem = a.tookFrom(owners, tenants)
				}
				if problem != "" {
					t.Fatalf("%s, after:\n%s", problem, strings.Join(story, "\n"))
				}
			}
			if !slices.ContainsFunc(tenants, func(a *tenant) bool { return len(a.serves) > 0 }) {
				t.Errorf("nothing was ever deployed:\n%s", strings.Join(story, "\n"))
			}
		})
	}
}

// act does one thing, and says what.
func (a *tenant) act(r *rand.Rand) string {
	if len(a.serves) > 0 {
		switch r.IntN(6) {
		case 0:
			a.exits(exit.OK, append([]string{"remove", "--yes"}, a.args...)...)
			for _, host := range a.hosts {
				delete(a.serves, host)
			}
			return fmt.Sprintf("%s: remove from %v", a.name, a.hosts)
		case 1:
			code, _, _ := a.kstep(append([]string{"rollback"}, a.args...)...)
			return fmt.Sprintf("%s: rollback: %d", a.name, code)
		}
	}
	asked, hosts, text := a.asked, a.hosts, a.read(filepath.Join(a.dir, "kstep.yml"))
	a.change(r)
	a.count++
	version := fmt.Sprintf("%s.%d", a.name, a.count)
	code, _, stderr := a.kstep(append([]string{"deploy", "--image", a.image(version), "--version", version}, a.args...)...)
	did := fmt.Sprintf("%s: deploy %s %+v on %v: %d", a.name, version, a.asked, a.hosts, code)
	switch code {
	case exit.OK:
		for _, host := range a.hosts {
			a.serves[host] = a.asked
		}
	case exit.Failed, exit.Config:
		a.asked, a.hosts = asked, hosts
		a.write("kstep.yml", text)
	default:
		a.t.Fatalf("%s\n%s", did, stderr)
	}
	return did
}

// tookFrom brings the owners of all requests up to date after a command of a, and
// returns which request lost its owner to it. A fallback gives requests away, and so
// does a path on a name to a longer path there.
func (a *tenant) tookFrom(owners map[[3]string]*tenant, tenants []*tenant) string {
	for _, host := range []string{"vm1", "vm2"} {
		for _, request := range requests() {
			key := [3]string{host, request[0], request[1]}
			before, now := owners[key], ownerOf(tenants, host, request)
			owners[key] = now
			if before == nil || before == a || before == now {
				continue
			}
			had := before.serves[host]
			if now == nil || !had.fallback && (had.name != now.serves[host].name || len(had.prefix) >= len(now.serves[host].prefix)) {
				return fmt.Sprintf("%v on %s belonged to %s, and a command of %s changed that", request, host, before.name, a.name)
			}
		}
	}
	return ""
}

// ownerOf is the tenant with the most precise claim on a request, or nil.
func ownerOf(tenants []*tenant, host string, request [2]string) (owner *tenant) {
	best := 0
	for _, a := range tenants {
		if c, ok := a.serves[host]; ok {
			if precise := c.matches(request[0], request[1]); precise > best {
				owner, best = a, precise
			}
		}
	}
	return owner
}

// judge says which request another one than its owner answers.
func judge(w *world, tenants []*tenant) string {
	said := map[string]map[string]targetStatus{}
	for _, a := range tenants {
		if len(a.serves) == 0 {
			continue
		}
		said[a.name] = map[string]targetStatus{}
		report := a.statusReport(a.args...)
		for _, one := range report.Targets {
			said[a.name][one.Host] = one
		}
		for _, one := range report.Orphans { // A rollback brought back a role that is not configured now.
			if one.Routed {
				said[a.name][one.Host] = targetStatus{Version: one.Version, Routed: &one.Routed}
			}
		}
	}
	for _, host := range []string{"vm1", "vm2"} {
		for _, request := range requests() {
			owner := "nobody"
			if a := ownerOf(tenants, host, request); a != nil {
				owner = a.name
			}
			answer := w.answers(host, request[0]+request[1])
			by, _, isVersion := strings.Cut(answer, ".")
			if !isVersion || strings.Contains(answer, " ") {
				by = "nobody"
			}
			if by != owner {
				return fmt.Sprintf("%v on %s is answered by %s (%q), want %s", request, host, by, answer, owner)
			}
			status, asked := said[owner][host]
			if asked && (status.Version != answer || !*status.Routed) {
				return fmt.Sprintf("status of %s says %q on %s (%s), but %v is answered by %q", owner, status.Version, host, status.NoTraffic, request, answer)
			}
		}
	}
	return ""
}
