package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
)

// renamed gives the primary role another name.
func (w *world) renamed(to string) {
	w.t.Helper()
	w.replace("  web: ", "  "+to+": ")
	w.append("primary_role: " + to + "\n")
}

// routes are the roles that have a route file on a host, by the file names.
func (w *world) routes(hostName string) []string {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.hosts[hostName].Home, ".kstep/proxy/routes"))
	if err != nil {
		w.t.Fatal(err)
	}
	var roles []string
	for _, e := range entries {
		if name, ours := strings.CutPrefix(e.Name(), "shop-"); ours {
			roles = append(roles, name[:strings.LastIndex(name, "-")])
		}
	}
	slices.Sort(roles)
	return roles
}

// isRouted expects exactly these roles to have routes on a host.
func (w *world) isRouted(hostName string, roles ...string) {
	w.t.Helper()
	if got := w.routes(hostName); !slices.Equal(got, roles) {
		w.t.Errorf("%s has routes of %v, want %v", hostName, got, roles)
	}
}

func TestOrphans_ARenamedRoleHandsOverItsTrafficAndStops(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		for _, count := range []string{"1", "2"} {
			t.Run(count+" by "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.replicas(extra, count)
				w.deploy("v1")
				w.renamed("zweb") // The old role's router would win by its name.
				users := w.hammer(w.pool())
				w.deploy("v2")
				w.serves("v2")
				if sent, failed := users(); len(failed) > 0 || sent == 0 {
					t.Errorf("of %d requests, these failed: %v", sent, failed)
				}
				want := []string{"shop-zweb-v2"}
				if count == "2" {
					want = []string{"shop-zweb-v2", "shop-zweb.2-v2"}
				}
				for _, name := range []string{"vm1", "vm2"} {
					w.works(name, want...)
					w.isRouted(name, "zweb")
					if old := w.containersOf(name)["shop-web-v1"]; old.State != "exited" {
						t.Errorf("the old container on %s is %q, want it kept", name, old.State)
					}
				}
				w.deploy("v3")
				w.serves("v3")
			})
		}
	}
}

// answer is what a request was answered with.
type answer struct {
	began   time.Time
	version string
}

// traces sends one request after the other to a host until stop is called.
func (w *world) traces(hostName string) (stop func() []answer) {
	w.t.Helper()
	client := w.visitorOf(hostName, false).client
	ctx, cancel := context.WithCancel(w.t.Context())
	all := make(chan []answer)
	go func() {
		var found []answer
		for ctx.Err() == nil {
			one := answer{began: time.Now()}
			if resp, err := client.Get("http://" + hostName + "/"); err != nil {
				one.version = err.Error()
			} else {
				body, _ := io.ReadAll(resp.Body) // A body that breaks off is no version.
				resp.Body.Close()
				one.version = strings.TrimSpace(string(body))
			}
			found = append(found, one)
		}
		all <- found
	}()
	return func() []answer { cancel(); return <-all }
}

// The new role's router outranks the old one from the moment at which the proxy
// has it, and the old role's route goes in the same step, before the cutover
// counts the traffic as moved.
func TestOrphans_ARenamedRoleAnswersNoRequestAfterTheNewOneHas(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		for _, to := range []string{"zweb", "api"} { // Before and after the old name, in the alphabet.
			t.Run(to+" by "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.draining("1s", extra) // The old containers still run.
				w.deploy("v1")
				w.renamed(to)
				w.image("v2")
				stop := w.traces("vm1")
				w.deploy("v2")
				answers := stop()
				targets := w.state("cutover")["outputs"].(map[string]any)["targets"].(map[string]any)               //nolint:forcetypeassert // A test fails either way.
				switched, err := time.Parse(time.RFC3339, targets[to+"@vm1"].(map[string]any)["switched"].(string)) //nolint:forcetypeassert // As above.
				if err != nil {
					t.Fatal(err)
				}
				moved, after := false, 0
				for _, a := range answers {
					switch {
					case a.version == "version v2":
						moved = true
					case a.version != "version v1":
						t.Errorf("a request was answered with %q", a.version)
					case moved || a.began.After(switched):
						t.Errorf("the old role answered a request of %s; traffic was moved at %s", a.began, switched)
					}
					if a.began.After(switched) {
						after++
					}
				}
				if after == 0 || !moved {
					t.Errorf("%d of %d requests came after the move", after, len(answers))
				}
			})
		}
	}
}

func TestOrphans_AreStoppedWhereverARoleHasLeft(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after [2]string
		works         map[string][]string
		routed        map[string][]string
	}{
		"a worker was removed": {
			before: [2]string{"hosts: [vm3]", "hosts: [vm2, vm3]"},
			after:  [2]string{"hosts: [vm2, vm3]", "hosts: [vm3]"},
			works:  map[string][]string{"vm2": {"shop-web-v2"}, "vm3": {"shop-job-v2"}},
			routed: map[string][]string{"vm2": {"web"}},
		},
		"a role with traffic left a host that keeps a worker": {
			before: [2]string{"hosts: [vm3]", "hosts: [vm2, vm3]"},
			after:  [2]string{"web: [vm1, vm2]", "web: [vm1]"},
			works:  map[string][]string{"vm1": {"shop-web-v2"}, "vm2": {"shop-job-v2"}},
			routed: map[string][]string{"vm1": {"web"}, "vm2": {}},
		},
		"roles changed places": {
			before: [2]string{"web: [vm1, vm2]", "web: [vm1]"},
			after:  [2]string{"web: [vm1]\n  job:\n    hosts: [vm3]", "web: [vm3]\n  job:\n    hosts: [vm1]"},
			works:  map[string][]string{"vm1": {"shop-job-v2"}, "vm3": {"shop-web-v2"}},
			routed: map[string][]string{"vm1": {}, "vm3": {"web"}},
		},
		"a worker that must not overlap was renamed": {
			before: [2]string{"cmd: work hard", "cmd: work hard\n    start: after-barrier"},
			after:  [2]string{"  job:", "  cron:"},
			works:  map[string][]string{"vm3": {"shop-cron-v2"}},
		},
	} {
		for kind, extra := range switches() {
			t.Run(name+" by "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.configure(extra)
				w.replace(c.before[0], c.before[1])
				w.deploy("v1")
				w.replace(c.after[0], c.after[1])
				w.deploy("v2")
				for host, names := range c.works {
					w.works(host, names...)
				}
				for host, roles := range c.routed {
					w.isRouted(host, roles...)
				}
			})
		}
	}
}

func TestOrphans_StayWithAWarningThatNamesTheCommand(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra + "orphans: warn\n")
			w.deploy("v1")
			w.renamed("zweb")
			w.replace("  job:", "  cron:")
			_, stderr := w.exits(exit.OK, "deploy", "--image", w.image("v2"), "--version", "v2")
			w.serves("v2")
			w.isRouted("vm1", "zweb") // Two roles cannot have the same traffic.
			w.works("vm1", "shop-web-v1", "shop-zweb-v2")
			w.works("vm3", "shop-cron-v2", "shop-job-v1")
			stdout, _ := w.exits(exit.OK, "status")
			for _, want := range []string{"; not configured", "a deploy leaves them (orphans: warn)", "kstep app stale-containers --stop"} {
				if !strings.Contains(stdout, want) {
					t.Errorf("no %q in\n%s", want, stdout)
				}
			}

			for _, want := range []string{"role job is no longer configured on vm3", "role web is no longer configured on vm1", "kstep app stale-containers --stop"} {
				if !strings.Contains(stderr, want) {
					t.Errorf("no %q in\n%s", want, stderr)
				}
			}
			w.exits(exit.OK, "app", "stale-containers", "--stop")
			w.works("vm1", "shop-zweb-v2")
			w.works("vm3", "shop-cron-v2")
		})
	}
}

func TestOrphans_AreNotThoseOfAnotherShard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.replace("  job:", "  cron:")
	w.renamed("zweb")
	w.exits(exit.OK, "push", "--image", w.image("v2"), "--version", "v2")
	for _, stage := range []string{"assets", "env-push", "boot"} {
		w.exits(exit.OK, stage)
	}
	w.exits(exit.OK, "barrier-wait")
	w.exits(exit.OK, "cutover", "--hosts", "vm1")
	w.works("vm1", "shop-zweb-v2")
	w.works("vm2", "shop-web-v1", "shop-zweb-v2")
	w.works("vm3", "shop-cron-v2", "shop-job-v1")
	w.exits(exit.OK, "cutover", "--roles", "cron")
	w.works("vm3", "shop-cron-v2")
	w.exits(exit.OK, "cutover", "--roles", "zweb")
	w.works("vm2", "shop-zweb-v2")
	w.isRouted("vm1", "zweb")
	w.serves("v2")
}

func TestPrune_RemovesWhatIsLeftOfARoleWithTheReleasesItBelongsTo(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra + "retain: 2\n")
			w.withAssets()
			w.deploy("v1")
			w.renamed("zweb")
			w.replace("  job:\n    hosts: [vm3]", "  job:\n    hosts: [vm2, vm3]")
			w.deploy("v2")
			if _, kept := w.containersOf("vm1")["shop-web-v1"]; !kept {
				t.Error("the role that was renamed is gone at once")
			}
			w.deploy("v3")
			for name := range w.containersOf("vm1") {
				if strings.HasPrefix(name, "shop-web-") {
					t.Errorf("%s is still there", name)
				}
			}
			for _, folder := range []string{"assets", "cords", "env"} {
				entries, err := os.ReadDir(filepath.Join(w.hosts["vm1"].Home, ".kstep/shop", folder))
				if err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				for _, e := range entries {
					if strings.HasPrefix(e.Name(), "web") {
						t.Errorf("%s/%s is still there", folder, e.Name())
					}
				}
			}
			stdout, _ := w.exits(exit.OK, "app", "images")
			if strings.Contains(stdout, "acme/shop:v1") {
				t.Errorf("the image is still there:\n%s", stdout)
			}
		})
	}
}

func TestOrphans_GetTheirTrafficBackWhenTheNewRoleDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{
		"routes": "", "warn": "orphans: warn\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			w.moved()
			w.behave("v2", sickAfter(1)) // Ready, but not through the proxy.
			_, stderr := w.exits(exit.RolledBack, "deploy", "--image", w.image("v2"), "--version", "v2")
			if !strings.Contains(stderr, "moved traffic back to shop-web-v1") {
				t.Errorf("stderr does not name the way back:\n%s", stderr)
			}
			w.serves("v1")
			w.isRouted("vm1", "web")
			w.works("vm3", "shop-job-v1")
			w.exits(exit.OK, "abort")
			w.works("vm1", "shop-web-v1")
			w.deploy("v3")
			w.serves("v3")
			w.isRouted("vm1", "zweb")
		})
	}
}

func TestOrphans_ARoleThatKeepsItsNameAndLosesItsTrafficIsRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		for name, change := range map[string]func(w *world){
			"it is no longer the primary one": func(w *world) {
				w.replace("  web: [vm1, vm2]", "  web: {hosts: [vm1, vm2], healthcheck: {settle: 100ms}}\n  api: [vm1, vm2]")
				w.append("primary_role: api\n")
			},
			"another role has the traffic on another host": func(w *world) {
				w.replace("  web: [vm1, vm2]", "  web: {hosts: [vm1, vm2], proxy: false, healthcheck: {settle: 100ms}}")
				w.replace("    hosts: [vm3]", "    hosts: [vm3]\n    proxy: true")
			},
		} {
			t.Run(name+" by "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.configure(extra)
				w.deploy("v1")
				change(w)
				before := w.names("vm1")
				for _, args := range [][]string{{"plan", "--image", w.image("v2"), "--version", "v2"}, w.deployArgs("v2")} {
					w.refuses(exit.Failed, "role web has the traffic on vm1, and kstep.yml gives it none any more", args...)
				}
				if after := w.names("vm1"); !slices.Equal(before, after) {
					t.Errorf("vm1 has %q, want %q as before", after, before)
				}
				w.serves("v1")
				// With a new name, as the hint says, it is the usual change of roles.
				w.replace("  web: {", "  web-worker: {")
				if strings.Contains(name, "primary") {
					w.deploy("v3")
					w.serves("v3")
					w.isRouted("vm1", "api")
					w.works("vm1", "shop-api-v3", "shop-web-worker-v3")
				}
			})
		}
	}
}
