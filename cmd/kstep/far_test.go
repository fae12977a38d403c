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

// farBudget is how many round trips a command may wait for, one after another: what
// it takes, and some more, because a busy machine thinks for longer than a round
// trip now and then. Seven are the connection itself.
var farBudget = []struct {
	command string
	trips   int
}{{"deploy", 105}, {"no-op", 55}, {"status", 40}, {"plan", 60}, {"rollback", 105}}

// TestFar_CommandsStayWithinTheirRoundTrips counts, and measures no time: see
// hosttest.Line. More hosts must not cost more.
func TestFar_CommandsStayWithinTheirRoundTrips(t *testing.T) {
	t.Parallel()
	for _, hosts := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d hosts", hosts), func(t *testing.T) {
			t.Parallel()
			w := farHosts(t, hosts)
			w.deploy("v1")
			line := hosttest.NewLine(100 * time.Millisecond)
			w.behind(line)
			commands := farCommands(w)
			for _, budget := range farBudget {
				trips, took := w.trips(line, commands[budget.command]...)
				t.Logf("%s: %d round trips, %s", budget.command, trips, took.Round(time.Millisecond))
				if trips > budget.trips {
					t.Errorf("%s waits for %d round trips one after another, want at most %d", budget.command, trips, budget.trips)
				}
			}
		})
	}
}
