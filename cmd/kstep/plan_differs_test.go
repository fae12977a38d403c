package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

// Who approves a plan sees what is not as it was, and nothing of what is.
func TestPlan_ShowsWhichSettingsDifferFromThoseOfTheContainerThatRuns(t *testing.T) {
	t.Parallel()
	const web = "web: {hosts: [vm1, vm2]"
	for name, c := range map[string]struct {
		change func(*world)
		want   []string
	}{
		"none":             {func(*world) {}, nil},
		"a command":        {func(w *world) { w.replace("work hard", "work harder") }, []string{`~ cmd: ["work","harder"]`}},
		"an option":        {func(w *world) { w.replace(web, web+", options: {memory: 1g}") }, []string{"+ options.memory: 1073741824"}},
		"another, and one": {func(w *world) { w.replace(web, web+", options: {cpus: 1, privileged: true}, labels: {team: a}") }, []string{`+ options.cpus: `, "+ options.privileged: true", `+ labels: {"team":"a"}`, "! privileged"}},
		"a volume":         {func(w *world) { w.replace(web, web+", volumes: ['shop-data:/data']") }, []string{`+ volumes: `}},
		"a health check":   {func(w *world) { w.replace(web, web+", healthcheck: {path: /ready, port: 80}") }, []string{`~ healthcheck.path: "/ready"`}},
		"how it stops":     {func(w *world) { w.replace(web, web+", stop: {timeout: 44s}") }, []string{`~ stop.timeout: "44s"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.replace("web: [vm1, vm2]", web+"}")
			w.deploy("v1")
			c.change(w)
			stdout, _ := w.exits(exit.OK, "plan", "--image", w.image("v2"), "--version", "v2")
			for _, want := range c.want {
				if strings.Count(stdout, want) != 1 {
					t.Errorf("%q is not there once:\n%s", want, stdout)
				}
			}
			for _, not := range []string{"cmd", "options", "volumes", "labels", "healthcheck", "stop", "logging", "image", "?"} {
				if regexp.MustCompile("[+~?-] "+regexp.QuoteMeta(not)+"[.:]").MatchString(stdout) && !strings.Contains(strings.Join(c.want, "\n"), " "+not) {
					t.Errorf("%s has not changed:\n%s", not, stdout)
				}
			}
			w.deploy("v2")
			if stdout, _ := w.exits(exit.OK, "plan", "--image", w.image("v3"), "--version", "v3"); strings.Contains(stdout, "options.") || strings.Contains(stdout, "cmd: ") {
				t.Errorf("the next one does not differ:\n%s", stdout)
			}
		})
	}
}
