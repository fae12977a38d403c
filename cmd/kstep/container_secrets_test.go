package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// withSecrets deploys an application with secrets and then takes them away, as
// in a job that was given none.
func (w *world) withSecrets(version string) {
	w.t.Helper()
	w.env["DATABASE_URL"], w.env["TOKEN"], w.env["PASSWORD"] = "postgres://prod:verysecretprod@db/prod", "t0ken-of-the-app", "accessory-pass"
	w.deploy(version)
	w.without()
}

func (w *world) without() {
	for _, name := range []string{"DATABASE_URL", "TOKEN", "PASSWORD"} {
		delete(w.env, name)
	}
}

var containersSecrets = []string{
	"could not connect: postgres://prod:verysecretprod@db/prod", `{"token":"t0ken-of-the-app"}`, "password verysecretprod is wrong",
	"Authorization: Bearer t0ken-of-the-app", "t0ken\x1b[1m-of-the-app", "base64 dDBrZW4tb2YtdGhlLWFwcA==",
}

func (w *world) leaks(what string, texts ...string) {
	w.t.Helper()
	text := strings.Join(texts, "\n")
	for _, part := range []string{"verysecretprod", "t0ken-of", "-of-the-app", "dDBrZW4tb2YtdGhl", "accessory-pass"} {
		if strings.Contains(text, part) {
			w.t.Errorf("%s shows %q:\n%s", what, part, text)
		}
	}
	if !strings.Contains(text, "[REDACTED]") {
		w.t.Errorf("%s masks nothing:\n%s", what, text)
	}
	if strings.Contains(text, "add-mask") {
		w.t.Errorf("%s prints a mask for a secret of a container:\n%s", what, text)
	}
}

func TestContainerSecrets_AreMaskedInAJobThatHoldsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {secret: [DATABASE_URL, \"API:TOKEN\"]}\n")
	w.behave("v1", hosttest.Behaviour{Log: containersSecrets})
	w.withSecrets("v1")
	w.write("printed", strings.Join(containersSecrets, "\n")+"\n")
	w.env["GITHUB_ACTIONS"] = "true"
	for _, format := range []string{"text", "json"} {
		for _, args := range [][]string{
			{"app", "logs"}, {"app", "exec", "--once", "--", "cat", w.dir + "/printed"}, {"app", "exec", "--", "sh", "-c", "cat " + w.dir + "/printed"},
			{"app", "exec", "--once", "--", "sh", "-c", "cat " + w.dir + "/printed >&2"},
		} {
			args = append([]string{"--output", format}, args...)
			if strings.Contains(strings.Join(args, " "), " cat "+w.dir) && args[len(args)-2] == "cat" {
				continue // The fake container has a shell alone.
			}
			_, stdout, stderr := w.kstep(args...)
			w.leaks(strings.Join(args, " "), stdout, stderr)
		}
	}
	f := w.follow("app", "logs", "--follow", "--roles", "web", "--hosts", "vm1")
	f.shows("password [REDACTED] is wrong")
	w.hosts["vm1"].Engine.Write("shop-web-v1", "again t0ken-of-the-app")
	f.shows("again [REDACTED]")
	f.interrupt()
}

func TestContainerSecrets_AreMaskedInTheDiagnosisOfBarrierWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {secret: [DATABASE_URL, \"API:TOKEN\"]}\n")
	status := 1
	w.behave("v1", hosttest.Behaviour{Log: containersSecrets, Exit: &status})
	w.pushed("v1")
	w.env["DATABASE_URL"], w.env["TOKEN"] = "postgres://prod:verysecretprod@db/prod", "t0ken-of-the-app"
	w.exits(exit.OK, "assets")
	w.exits(exit.OK, "env-push")
	w.without()
	w.kstep("boot")
	w.env["GITHUB_ACTIONS"], w.env["GITHUB_STEP_SUMMARY"] = "true", w.dir+"/summary"
	w.write("summary", "")
	_, stdout, stderr := w.kstep("barrier-wait", "--junit-file", w.dir+"/junit.xml")
	w.leaks("barrier-wait", stdout, stderr, w.read(w.dir+"/summary"), w.read(w.dir+"/junit.xml"), w.read(w.dir+"/kstep-state/barrier-wait.json"))
}

func TestContainerSecrets_OfAVersionWhoseConfigurationNamedOthersAreMasked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {secret: [DATABASE_URL, TOKEN], clear: {MODE: production, SORT_KEY: by-the-name}}\n")
	w.behave("v1", hosttest.Behaviour{Log: append([]string{"mode production by-the-name"}, containersSecrets...)})
	w.withSecrets("v1")
	w.configure("env: {clear: {MODE: production, SORT_KEY: by-the-name}}\n")
	stdout, stderr := w.exits(exit.OK, "app", "logs")
	w.leaks("app logs", stdout, stderr)
	if !strings.Contains(stdout, "mode production by-the-name") {
		t.Errorf("clear values are masked:\n%s", stdout)
	}
}

func TestContainerSecrets_OfAccessoriesAreMasked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("")
	w.env["ROOT"] = "accessory-pass"
	w.exits(exit.OK, "accessory", "boot", "db")
	delete(w.env, "ROOT")
	name := w.accessory("vm1", "db").Name
	w.hosts["vm1"].Engine.Write(name, fmt.Sprintf("password %s is wrong", "accessory-pass"))
	stdout, stderr := w.exits(exit.OK, "accessory", "logs", "db")
	w.leaks("accessory logs", stdout, stderr)
	stdout, stderr = w.exits(exit.OK, "accessory", "exec", "db", "--", "sh", "-c", "echo accessory-pass")
	w.leaks("accessory exec", stdout, stderr)
}
