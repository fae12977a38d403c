package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/envfile"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/hook/hooktest"
)

// envOf is a role's environment as it lies on a host, nil if there is none.
func (w *world) envOf(hostName, folder, role string) map[string]string {
	w.t.Helper()
	data, err := os.ReadFile(w.envFile(hostName, folder, role))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	env, err := envfile.Decode(data)
	if err != nil {
		w.t.Fatal(err)
	}
	return env
}

func (w *world) envFile(hostName, folder, role string) string {
	return filepath.Join(w.hosts[hostName].Home, ".kstep", folder, "env", role+".json")
}

func TestEnvPush_ChangesASecretWithoutABuildAndTheNextDeployUsesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {clear: {LEVEL: info}, secret: [TOKEN]}\n")
	w.env["TOKEN"] = "first\nsecret"
	w.deploy("v1")
	w.forget()
	w.env["TOKEN"] = "second\nsecret"
	stdout, stderr := w.exits(exit.OK, "env", "push")
	if strings.Contains(stdout+stderr, "second") {
		t.Errorf("the secret is in the output:\n%s%s", stdout, stderr)
	}
	for host, role := range map[string]string{"vm1": "web", "vm2": "web", "vm3": "job"} {
		if got := w.envOf(host, "shop", role); got["TOKEN"] != "second\nsecret" || got["LEVEL"] != "info" {
			t.Errorf("%s has %q", host, got)
		}
	}
	if _, err := os.Stat(filepath.Join(w.dir, "kstep-state")); err == nil {
		t.Error("it left a state folder, which belongs to releases")
	}
	w.serves("v1") // No container was restarted.
	if _, stderr := w.exits(exit.OK, "env", "push"); !strings.Contains(stderr, "unchanged") {
		t.Errorf("a second push does not say unchanged:\n%s", stderr)
	}
	if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.Contains(stdout, "free") {
		t.Errorf("the lease is not free:\n%s", stdout)
	}
	w.deploy("v2")
	w.serves("v2")
}

func TestEnvPush_TakesAwayWhatTheConfigNoLongerHas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {clear: {GONE: '1', STAYS: '1'}}\n")
	w.exits(exit.OK, "env", "push")
	w.configure("env: {clear: {STAYS: '1'}}\n")
	w.replace("  job:\n    hosts: [vm3]\n", "  mail: [vm3]\n  job:\n    hosts: [vm1]\n")
	_, stderr := w.exits(exit.OK, "env", "push")
	if got := w.envOf("vm1", "shop", "web"); len(got) != 1 || got["STAYS"] != "1" {
		t.Errorf("got %v, want STAYS alone", got)
	}
	if w.envOf("vm3", "shop", "job") != nil || w.envOf("vm3", "shop", "mail") == nil || w.envOf("vm1", "shop", "job") == nil {
		t.Error("the role moved from vm3 to vm1, its env file did not")
	}
	if !strings.Contains(stderr, "removed the env file of role job") {
		t.Errorf("it does not tell what it removed:\n%s", stderr)
	}
}

func TestEnvPush_WithoutASecretChangesNothingAnywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {secret: [TOKEN, OTHER]}\n")
	_, stderr := w.exits(exit.Config, "env", "push")
	for _, want := range []string{"secret TOKEN is missing", "secret OTHER is missing"} {
		if strings.Count(stderr, want) != 1 {
			t.Errorf("the output has %q not once:\n%s", want, stderr)
		}
	}
	if w.envOf("vm1", "shop", "web") != nil {
		t.Error("an env file was written")
	}
}

func TestEnvPush_WaitsForNoReleaseAndDisturbsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pushed("v1")
	w.exits(exit.OK, "assets")
	for _, command := range []string{"push", "delete"} {
		_, stderr := w.exits(exit.LeaseHeld, "env", command)
		if !strings.Contains(stderr, "held by release") {
			t.Errorf("env %s does not tell who holds the lease:\n%s", command, stderr)
		}
	}
	for _, stage := range []string{"env-push", "boot", "barrier-wait", "cutover", "prune"} {
		w.exits(exit.OK, stage)
	}
	w.serves("v1")
}

func TestEnvPush_BetweenTheStagesOfAReleaseIsNoticedByBoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stages("v1", "assets", "env-push")
	w.exits(exit.OK, "lock", "release", "--force") // Its job is gone for good.
	w.configure("env: {clear: {NEW: '1'}}\n")
	w.exits(exit.OK, "env", "push")
	_, stderr := w.exits(exit.BadState, "boot")
	if !strings.Contains(stderr, "run kstep env-push again") {
		t.Errorf("it does not tell how to go on:\n%s", stderr)
	}
	for _, stage := range []string{"env-push", "boot", "barrier-wait", "cutover", "prune"} {
		w.exits(exit.OK, stage)
	}
	w.serves("v1")
}

func TestEnvDelete_RemovesOwnFilesAndTellsWhich(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("kstep.staging.yml", "{}")
	w.exits(exit.OK, "env", "push")
	w.exits(exit.OK, "env", "push", "-d", "staging")
	stale := w.envFile("vm1", "shop", "left-the-config")
	if err := os.WriteFile(stale, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.exits(exit.OK, "env", "delete", "--roles", "job")
	if w.envOf("vm3", "shop", "job") != nil || w.envOf("vm1", "shop", "web") == nil {
		t.Error("--roles job did not mean the role job alone")
	}
	_, stderr := w.exits(exit.OK, "env", "delete")
	for _, role := range []string{"web", "left-the-config"} {
		if w.envOf("vm1", "shop", role) != nil || !strings.Contains(stderr, "removed the env file of role "+role) {
			t.Errorf("the env file of %s is there, or its removal was not told:\n%s", role, stderr)
		}
	}
	if w.envOf("vm1", "shop-staging", "web") == nil {
		t.Error("the env file of another destination is gone")
	}
	if _, stderr := w.exits(exit.OK, "env", "delete"); !strings.Contains(stderr, "unchanged") {
		t.Errorf("a second delete does not say unchanged:\n%s", stderr)
	}
}

func TestEnvDelete_RefusesAFolderWithSomethingElseInIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exits(exit.OK, "env", "push")
	mine := filepath.Join(filepath.Dir(w.envFile("vm1", "shop", "web")), "backup.tar")
	if err := os.WriteFile(mine, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr := w.exits(exit.BadState, "env", "delete")
	if !strings.Contains(stderr, "backup.tar is not kstep's; nothing was removed") {
		t.Errorf("it does not name the file:\n%s", stderr)
	}
	if w.envOf("vm1", "shop", "web") == nil || w.envOf("vm2", "shop", "web") != nil {
		t.Error("want the files of vm1 kept and those of vm2 removed")
	}
	w.exits(exit.OK, "env", "push") // The file does not disturb a push.
}

func TestEnvPush_TellsHooksWhatItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hook("pre-command", `echo "$KSTEP_COMMAND/$KSTEP_SUBCOMMAND"`)
	_, stderr := w.exits(exit.OK, "env", "push")
	if !strings.Contains(stderr, "env/push") {
		t.Errorf("the hook was not told the command:\n%s", stderr)
	}
}

// hook writes a shell script as a hook of the project.
func (w *world) hook(name, script string) {
	w.t.Helper()
	dir := filepath.Join(w.dir, ".kstep", "hooks")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	hooktest.Program(w.t, filepath.Join(dir, name), "#!/bin/sh\nset -eu\n"+script+"\n")
}

func TestEnvPush_ByOneWhoHasTheSecretsLetsOthersDeployWithoutThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {clear: {LEVEL: info}, secret: [TOKEN:SHOP_TOKEN]}\n")
	image := w.image("v1")
	deploy := []string{"deploy", "--image", image, "--version", "v1", "--secrets-from", "hosts"}
	_, stderr := w.exits(exit.Config, deploy...)
	if !strings.Contains(stderr, "vm1 has no value of TOKEN for role web yet") || !strings.Contains(stderr, "kstep env push") {
		t.Errorf("it does not tell what is missing where:\n%s", stderr)
	}
	w.env["SHOP_TOKEN"] = "s3cr3t\nof two lines"
	w.exits(exit.OK, "abort")
	w.exits(exit.OK, "env", "push")
	delete(w.env, "SHOP_TOKEN")
	w.configure("env: {clear: {LEVEL: debug}, secret: [TOKEN:SHOP_TOKEN]}\n")
	w.hook("post-env-push", "echo it is s3cr3t")
	stdout, stderr := w.exits(exit.OK, deploy...)
	if strings.Contains(stdout+stderr, "s3cr3t") {
		t.Errorf("the secret is in the output:\n%s%s", stdout, stderr)
	}
	w.serves("v1")
	if got := w.envOf("vm3", "shop", "job"); got["TOKEN"] != "s3cr3t\nof two lines" || got["LEVEL"] != "debug" {
		t.Errorf("vm3 has %q, want the old secret and the new clear value", got)
	}
}

func TestEnvPush_GivesTheProxyItsOwnEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("proxy: {env: {clear: {LEVEL: info}, secret: [DNS_TOKEN]}}\n")
	w.env["DNS_TOKEN"] = "s3cr3t\ntoken"
	has := func(want string) {
		t.Helper()
		for _, name := range []string{"vm1", "vm2"} {
			c, err := w.hosts[name].Look().Inspect(t.Context(), "kstep-proxy")
			if err != nil || !slices.Contains(c.Env, "DNS_TOKEN="+want) {
				t.Errorf("%s: the proxy has %q (%v), want %q", name, c.Env, err, want)
			}
		}
	}
	_, stderr := w.exits(exit.BadState, "proxy", "boot")
	if !strings.Contains(stderr, "the proxy's environment is not on vm1") || !strings.Contains(stderr, "kstep env push") {
		t.Errorf("it does not tell what to do:\n%s", stderr)
	}
	w.deploy("v1")
	has("s3cr3t\ntoken")
	if w.envOf("vm3", "shop", "@proxy") != nil {
		t.Error("vm3 has no proxy, but its environment")
	}
	info, err := os.Stat(w.envFile("vm1", "shop", "@proxy"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v (%v), want mode 600", info, err)
	}
	w.env["DNS_TOKEN"] = "another"
	stdout, stderr := w.exits(exit.OK, "env", "push")
	if !strings.Contains(stderr, "wrote env file of the proxy") || strings.Contains(stdout+stderr, "another") {
		t.Errorf("it says\n%s%s", stdout, stderr)
	}
	has("s3cr3t\ntoken")
	w.exits(exit.Failed, "proxy", "boot") // It runs with the old one.
	w.exits(exit.OK, "proxy", "reboot")
	has("another")
	w.serves("v1")
	w.configure("")
	if _, stderr := w.exits(exit.OK, "env", "push"); !strings.Contains(stderr, "removed the env file of the proxy") {
		t.Errorf("the proxy's file stays:\n%s", stderr)
	}
}

// A value of production must not get to another destination unnoticed.
func TestEnvPush_WarnsOfValuesThatDestinationsShare(t *testing.T) {
	t.Parallel()
	const warning = "destination staging gets the value of TOKEN in .env"
	for name, c := range map[string]struct {
		files       map[string]string
		env         string
		destination string
		warns       bool
	}{
		"in the common file alone":      {files: map[string]string{".env": "TOKEN=shared-token\n"}, destination: "staging", warns: true},
		"beside another one of its own": {files: map[string]string{".env": "TOKEN=shared-token\n", ".env.staging": "OTHER=1\n"}, destination: "staging", warns: true},
		"in a file of its own":          {files: map[string]string{".env": "TOKEN=shared-token\n", ".env.staging": "TOKEN=own-token\n"}, destination: "staging"},
		"in the environment":            {files: map[string]string{".env": "TOKEN=shared-token\n"}, env: "job-token", destination: "staging"},
		"without a destination":         {files: map[string]string{".env": "TOKEN=shared-token\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure("env: {secret: [TOKEN]}\n")
			w.write("kstep.staging.yml", "retain: 2\n")
			for file, text := range c.files {
				w.write(file, text)
			}
			if c.env != "" {
				w.env["TOKEN"] = c.env
			}
			args := []string{"env", "push"}
			if c.destination != "" {
				args = append(args, "-d", c.destination)
			}
			_, stderr := w.exits(exit.OK, args...)
			if n := strings.Count(stderr, warning); (n == 1) != c.warns || n > 1 {
				t.Errorf("it warns %d times, want it: %t\n%s", n, c.warns, stderr)
			}
			if strings.Contains(stderr, "shared-token") {
				t.Errorf("it tells the value:\n%s", stderr)
			}
		})
	}
}
