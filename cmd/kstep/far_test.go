package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// farHosts is a world of a number of hosts, all with the role `web`.
func farHosts(t *testing.T, hosts int) *world {
	t.Helper()
	w := newWorld(t)
	names := []string{"vm1", "vm2", "vm3"}[:hosts]
	w.replace("  web: [vm1, vm2]\n", "  web: ["+strings.Join(names, ", ")+"]\n")
	w.replace("  job:\n    hosts: [vm3]\n    cmd: work hard\n    healthcheck: {cmd: \"true\"}\n", "")
	return w
}

// behind puts all hosts at the end of a line.
func (w *world) behind(line *hosttest.Line) {
	for _, fake := range w.hosts {
		fake.Behind(line)
	}
}

// trips are the dependent round trips of a command.
func (w *world) trips(line *hosttest.Line, args ...string) (trips int, took time.Duration) {
	w.t.Helper()
	line.Reset()
	began := time.Now()
	w.exits(exit.OK, args...)
	return line.Trips(), time.Since(began)
}

// farCommands are the commands whose round trips are counted, in their order.
func farCommands(w *world) map[string][]string {
	w.image("v2")
	return map[string][]string{
		"deploy":   {"deploy", "--image", w.registry.Host() + "/acme/shop:v2", "--version", "v2"},
		"no-op":    {"deploy", "--image", w.registry.Host() + "/acme/shop:v2", "--version", "v2"},
		"status":   {"status"},
		"plan":     {"plan", "--image", w.registry.Host() + "/acme/shop:v2", "--version", "v2"},
		"rollback": {"rollback"},
	}
}

var farOrder = []string{"deploy", "no-op", "status", "plan", "rollback"} //nolint:gochecknoglobals // A table.

// TestFar_RoundTrips prints how many round trips each command waits for.
func TestFar_RoundTrips(t *testing.T) {
	t.Parallel()
	const rtt = 40 * time.Millisecond
	for _, hosts := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d hosts", hosts), func(t *testing.T) {
			took := map[string][]time.Duration{}
			counted := map[string]int{}
			for _, long := range []time.Duration{0, rtt} {
				w := farHosts(t, hosts)
				w.deploy("v1")
				line := hosttest.NewLine(long)
				w.behind(line)
				commands := farCommands(w)
				for _, name := range farOrder {
					n, d := w.trips(line, commands[name]...)
					counted[name] = n
					took[name] = append(took[name], d)
				}
			}
			for _, name := range farOrder {
				d := took[name]
				t.Logf("%d hosts %-9s counted %3d   (T−T0)/RTT %5.1f   T0 %v  T %v", hosts, name, counted[name],
					float64(d[1]-d[0])/float64(rtt), d[0].Round(time.Millisecond), d[1].Round(time.Millisecond))
			}
		})
	}
}
