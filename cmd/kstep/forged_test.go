package main

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// forge rewrites a state file, with the sum that belongs to the new text: its writer
// knows kstep.
func (w *world) forge(file string, change func(text string) string) {
	w.t.Helper()
	name := file
	if !filepath.IsAbs(name) {
		name = filepath.Join(w.dir, "kstep-state", file)
	}
	was := w.read(name)
	text := change(was)
	if text == was {
		w.t.Fatalf("%s was not changed:\n%s", file, was)
	}
	bare := regexp.MustCompile(`"sum": "[^"]*"\n}\n$`).ReplaceAllString(text, "\"sum\": \"\"\n}\n")
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(bare)))
	text = strings.TrimSuffix(bare, "\"\"\n}\n") + fmt.Sprintf("%q\n}\n", sum)
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// swap is a change of the first of a text's matches.
func swap(pattern, by string) func(string) string { return swapAfter("", pattern, by) }

// swapAfter is swap after the first place of some text.
func swapAfter(place, pattern, by string) func(string) string {
	return func(text string) string {
		from := max(0, strings.Index(text, place))
		at := regexp.MustCompile(pattern).FindStringIndex(text[from:])
		if at == nil {
			return text
		}
		return text[:from+at[0]] + by + text[from+at[1]:]
	}
}

// A state file is an artifact, which other jobs can write: what it says is compared
// with kstep.yml, with the names that kstep gives, and with the labels on the hosts.
func TestState_ThatIsForgedCommandsNoHost(t *testing.T) {
	t.Parallel()
	const container = `"container": "[0-9a-f]+"`
	for name, c := range map[string]struct {
		last, file string // The last stage that was run honestly, and the file that is forged.
		change     func(w *world, blog string) func(string) string
		stage      string
		want       string
	}{
		"the disk of the host as an asset folder": {"env-push", "assets.json", func(*world, string) func(string) string {
			return swap(`"hostDir": "[^"]*"`, `"hostDir": "/"`)
		}, "boot", "does not match kstep.yml and this release"},
		"the asset folder of another service": {"env-push", "assets.json", func(*world, string) func(string) string {
			return swap(`/shop/assets/`, `/blog/assets/`)
		}, "boot", "does not match kstep.yml and this release"},
		"an asset folder at another place in the container": {"env-push", "assets.json", func(*world, string) func(string) string {
			return swap(`"path": "[^"]*"`, `"path": "/bin"`)
		}, "boot", "does not match kstep.yml and this release"},
		"the env file of another service": {"env-push", "env-push.json", func(*world, string) func(string) string {
			return swap(`/shop/env/`, `/blog/env/`)
		}, "boot", "and the role's is"},
		"the env file of another role": {"env-push", "env-push.json", func(*world, string) func(string) string {
			return swap(`/env/job.json`, `/env/web.json`)
		}, "boot", "and the role's is"},
		"an image of another repository": {"push", "push.json", func(*world, string) func(string) string {
			return swap(`/acme/shop"`, `/evil/miner"`)
		}, "assets", "and that of kstep.yml is"},
		"an image of another registry": {"env-push", "push.json", func(w *world, _ string) func(string) string {
			return func(text string) string { return strings.ReplaceAll(text, w.registry.Host(), "evil.example.com") }
		}, "boot", ""},
		"a container of another service, to wait for": {"boot", "boot.json", func(_ *world, blog string) func(string) string {
			return swapAfter(`"web@vm1"`, container, `"container": "`+blog+`"`)
		}, "barrier-wait", "which is not one of role"},
		"a container of another version, to wait for": {"boot", "boot.json", func(w *world, _ string) func(string) string {
			return swapAfter(`"web@vm1"`, container, `"container": "`+w.containersOf("vm1")["shop-web-v1"].ID+`"`)
		}, "barrier-wait", `which is of version "v1", not of v2`},
		"a container of another version, to start behind the barrier": {"boot", "boot.json", func(w *world, _ string) func(string) string {
			return swapAfter(`"job@vm3"`, container, `"container": "`+w.containersOf("vm3")["shop-job-v1"].ID+`"`)
		}, "barrier-wait", `which is of version "v1", not of v2`},
		"a path of the engine's API in place of a container": {"boot", "boot.json", func(*world, string) func(string) string {
			return swap(container, `"container": "../images/prune?x="`)
		}, "barrier-wait", "where the id of a container belongs"},
		"a container of another service, to move to": {"barrier-wait", "barrier-wait.json", func(_ *world, blog string) func(string) string {
			return swapAfter(`"web@vm1"`, `"containers": \[\s*"[0-9a-f]+"`, `"containers": ["`+blog+`"`)
		}, "cutover", "barrier-wait has waited for other containers of"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			blog := w.service("blog", "proxy: {hosts: [blog.example.com]}\n")
			blog.deploy("v1")
			w.configure("proxy: {hosts: [shop.example.com]}\n")
			w.withAssets()
			w.deploy("v1")
			w.pushed("v2")
			for _, stage := range stageNames()[2:] {
				if c.last == "push" {
					break
				}
				w.exits(exit.OK, stage)
				if stage == c.last {
					break
				}
			}
			theirs := w.containersOf("vm1")["blog-web-v1"]
			copies := filepath.Join(w.hosts["vm1"].Home, ".kstep/shop/state")
			if err := os.RemoveAll(copies); err != nil { // With them, any forged file is refused.
				t.Fatal(err)
			}
			w.forge(c.file, c.change(w, theirs.ID))
			_, stderr := w.exits(exit.BadState, c.stage)
			if !strings.Contains(stderr, c.want) {
				t.Errorf("it does not say %q:\n%s", c.want, stderr)
			}
			if strings.Contains(stderr, "blog-web-v1 is not ready") {
				t.Errorf("it shows what the other service's container wrote:\n%s", stderr)
			}
			if now := w.containersOf("vm1")["blog-web-v1"]; now.State != "running" {
				t.Errorf("the other service's container is %s", now.State)
			}
			w.exits(exit.OK, "abort")
		})
	}
}

// A ready image of another repository must be named again by the user.
func TestState_OfAnImageOfAnotherRepositoryWantsItNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	image := w.image("v2")
	w.replace("image: acme/shop", "image: acme/other")
	w.exits(exit.OK, "push", "--image", image, "--version", "v2")
	_, stderr := w.exits(exit.BadState, "assets")
	if !strings.Contains(stderr, "--image") {
		t.Errorf("it does not say what to do:\n%s", stderr)
	}
	for _, stage := range stageNames()[2:] {
		w.exits(exit.OK, stage, "--image", image)
	}
	w.serves("v2")
}

// Stages that work on no host have no shards: a file that looks like one counts for
// nothing.
func TestState_OfPushHasNoShards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.pushed("v2")
	dir := filepath.Join(w.dir, "kstep-state")
	for _, name := range []string{"push.A.json", "push.vm1.json"} {
		shard := strings.TrimSuffix(strings.TrimPrefix(name, "push."), ".json")
		putFile(t, filepath.Join(dir, name), w.read(filepath.Join(dir, "push.json")))
		w.forge(name, func(text string) string {
			text = swap(`"stage": "push",`, `"stage": "push",`+"\n  \"shard\": \""+shard+`",`)(text)
			text = swap(`"finished": "20`, `"finished": "29`)(text)
			return strings.ReplaceAll(text, "/acme/shop", "/evil/miner")
		})
	}
	for _, stage := range stageNames()[2:] {
		w.exits(exit.OK, stage)
	}
	w.serves("v2")
}

// An artifact that another job put in place of the one that a stage left differs from
// the copy on the hosts.
func TestState_ThatDiffersFromItsCopyOnTheHostsIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		last, file string
		change     func(string) string
		stage      string
	}{
		"another image":               {"assets", "push.json", swap(`"digest": "sha256:[0-9a-f]{64}"`, `"digest": "sha256:`+strings.Repeat("0", 64)+`"`), "env-push"},
		"a barrier that did not open": {"barrier-wait", "barrier-wait.json", swap(`"open": true`, `"open": false`), "cutover"},
		"variables":                   {"env-push", "env-push.json", swap(`"fingerprint": "`, `"fingerprint": "0`), "boot"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.pushed("v2")
			for _, stage := range stageNames()[2:] {
				w.exits(exit.OK, stage)
				if stage == c.last {
					break
				}
			}
			honest := w.read(filepath.Join(w.dir, "kstep-state", c.file))
			w.forge(c.file, c.change)
			_, stderr := w.exits(exit.BadState, c.stage)
			if !strings.Contains(stderr, c.file+" says something else than the copy") && !strings.Contains(stderr, "was made from another") {
				t.Errorf("it does not name the file:\n%s", stderr)
			}
			putFile(t, filepath.Join(w.dir, "kstep-state", c.file), honest)
			w.exits(exit.OK, "deploy", "--image", w.registry.Host()+"/acme/shop:v2", "--version", "v2")
			w.serves("v2")
		})
	}
}

// A file that was made later than its copy on the hosts stays in the folder, so that
// --state-from hosts must compare them as well.
func TestState_ThatDiffersFromItsCopyIsRefusedAlsoWithStateFromHosts(t *testing.T) {
	t.Parallel()
	const later = `"finished": "2099-01-02T03:04:05Z"`
	for name, c := range map[string]struct {
		last, file string
		change     func(string) string
		stage      string
	}{
		"another image":               {"push", "push.json", swap(`"digest": "sha256:[0-9a-f]{64}"`, `"digest": "sha256:`+strings.Repeat("0", 64)+`"`), "assets"},
		"a barrier that did not open": {"barrier-wait", "barrier-wait.json", swap(`"open": true`, `"open": false`), "cutover"},
		"variables":                   {"env-push", "env-push.json", swap(`"fingerprint": "`, `"fingerprint": "0`), "boot"},
		"a container's name":          {"boot", "boot.json", swap(`"name": "shop-web-v2"`, `"name": "shop-web-v1"`), "barrier-wait"},
		"that nothing served":         {"boot", "boot.json", swap(`"old": true`, `"old": false`), "barrier-wait"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.pushed("v2", "--state-from", "hosts")
			for _, stage := range stageNames()[2:] {
				if c.last == "push" {
					break
				}
				w.exits(exit.OK, stage, "--state-from", "hosts")
				if stage == c.last {
					break
				}
			}
			honest := w.read(filepath.Join(w.dir, "kstep-state", c.file))
			w.forge(c.file, func(text string) string { return swap(`"finished": "[^"]*"`, later)(c.change(text)) })
			_, stderr := w.exits(exit.BadState, c.stage, "--state-from", "hosts")
			if !strings.Contains(stderr, c.file+" says something else than the copy") {
				t.Errorf("it does not name the file:\n%s", stderr)
			}
			w.serves("v1")
			putFile(t, filepath.Join(w.dir, "kstep-state", c.file), honest)
			w.exits(exit.OK, c.stage, "--state-from", "hosts")
		})
	}
}

// With state.key, only a process with the secret can write what a stage believes.
func TestState_WithAKeyIsBelievedOnlyIfItIsSealed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append("state: {key: [STATE_KEY]}\n")
	_, stderr := w.exits(exit.Config, "push", "--image", w.image("v1"), "--version", "v1")
	if !strings.Contains(stderr, "state.key") || !strings.Contains(stderr, "STATE_KEY") {
		t.Errorf("it does not say what is missing:\n%s", stderr)
	}
	w.env["STATE_KEY"] = "too short"
	if _, stderr = w.exits(exit.Config, w.deployArgs("v1")...); !strings.Contains(stderr, "openssl rand") {
		t.Errorf("it does not say how to make one:\n%s", stderr)
	}
	w.env["STATE_KEY"] = strings.Repeat("0123456789abcdef", 4)
	w.deploy("v1")
	w.pushed("v2")
	w.exits(exit.OK, "status") // Without a word about the key.
	const other = `"digest": "sha256:` + "0000000000000000000000000000000000000000000000000000000000000000" + `"`
	honest := w.read(filepath.Join(w.dir, "kstep-state/push.json"))
	w.forge("push.json", swap(`"digest": "sha256:[0-9a-f]{64}"`, other))
	for _, seal := range []string{"", `  "seal": "hmac-sha256:` + strings.Repeat("a", 64) + "\",\n"} {
		w.forge("push.json", func(text string) string {
			return swap(`(  "seal": "[^"]*",\n)?  "sum"`, seal+`  "sum"`)(text)
		})
		if _, stderr := w.exits(exit.BadState, "assets"); !strings.Contains(stderr, "push.json is not sealed with the secret of state.key") {
			t.Errorf("it does not say why:\n%s", stderr)
		}
	}
	putFile(t, filepath.Join(w.dir, "kstep-state/push.json"), honest)
	w.exits(exit.OK, "assets")
	w.env["STATE_KEY"] = strings.Repeat("fedcba9876543210", 4)
	w.exits(exit.BadState, "env-push")
	w.env["STATE_KEY"] = strings.Repeat("0123456789abcdef", 4)
	w.exits(exit.OK, "env-push")
	w.forget()
	for _, stage := range stageNames()[4:] {
		w.exits(exit.OK, stage, "--state-from", "hosts") // The copies are sealed as well.
	}
	w.serves("v2")

	plan := w.planTo("v3")
	w.forge(plan, swap(`"version": "v3"`, `"version": "v4"`))
	if _, stderr := w.exits(exit.BadState, "deploy", "--plan", plan); !strings.Contains(stderr, "state.key") {
		t.Errorf("an edited plan is not refused for its seal:\n%s", stderr)
	}
}

// A project that begins to use a key goes on with what it has.
func TestState_GetsAKeyInTheMiddleOfARelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.pushed("v2")
	w.append("state: {key: [STATE_KEY]}\n")
	w.env["STATE_KEY"] = strings.Repeat("0123456789abcdef", 4)
	_, stderr := w.exits(exit.BadState, "assets")
	if !strings.Contains(stderr, "run `kstep push` again") {
		t.Errorf("it does not say what to do:\n%s", stderr)
	}
	w.deploy("v2")
	w.serves("v2")
	w.exits(exit.OK, "rollback", "v1")
	w.serves("v1")
}

// What barrier-wait found is known on the lease host, too: a state file that claims it
// moves no traffic.
func TestState_OfABarrierThatDidNotOpenMovesNoTraffic(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		closes bool // The barrier has closed, before the file claims that it opened.
		flags  []string
		args   []string
		want   exit.Code
	}{
		"nothing waited":                           {want: exit.BadState},
		"nothing waited, state from the hosts":     {flags: []string{"--state-from", "hosts"}, want: exit.BadState},
		"nothing waited, go on with what failed":   {args: []string{"--resume"}, want: exit.BadState},
		"nothing waited, for some of the hosts":    {args: []string{"--hosts", "vm2"}, want: exit.BadState},
		"nothing waited, for a role that follows":  {args: []string{"--roles", "job"}, want: exit.BadState},
		"it has closed":                            {closes: true, want: exit.BarrierClosed},
		"it has closed, go on with what was ready": {closes: true, args: []string{"--resume"}, want: exit.BarrierClosed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			dir := filepath.Join(w.dir, "kstep-state")
			waited, boot1 := w.read(filepath.Join(dir, "barrier-wait.json")), w.state("boot")
			w.behave("v2", hosttest.Behaviour{Handler: func(hosttest.Process) http.Handler { return http.NotFoundHandler() }})
			w.pushed("v2", c.flags...)
			for _, stage := range []string{"assets", "env-push", "boot"} {
				w.exits(exit.OK, append([]string{stage}, c.flags...)...)
			}
			if c.closes {
				w.exits(exit.BarrierClosed, "barrier-wait")
				if err := os.RemoveAll(filepath.Join(w.hosts["vm1"].Home, ".kstep/shop/state")); err != nil {
					t.Fatal(err)
				}
			}
			putFile(t, filepath.Join(dir, "barrier-wait.json"), waited)
			boot2 := w.state("boot")
			w.forge("barrier-wait.json", func(text string) string {
				text = strings.ReplaceAll(text, boot1["release"].(string), boot2["release"].(string))
				text = strings.ReplaceAll(text, `"version": "v1"`, `"version": "v2"`)
				text = regexp.MustCompile(`"needed": \d+`).ReplaceAllString(text, `"needed": 0`)
				boot := w.read(filepath.Join(dir, "boot.json"))
				text = swapAfter(`"inputs"`, `sha256:[0-9a-f]{64}`, fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(boot))))(text)
				was, is := replicasOf(boot1), replicasOf(boot2)
				for i := range was {
					text = strings.ReplaceAll(text, was[i], is[i])
				}
				return text
			})
			_, stderr := w.exits(c.want, slices.Concat([]string{"cutover"}, c.flags, c.args)...)
			if !strings.Contains(stderr, "barrier") {
				t.Errorf("it does not say why:\n%s", stderr)
			}
			w.serves("v1")
			w.exits(exit.OK, "abort")
			w.deploy("v3")
			w.serves("v3")
		})
	}
}

// replicasOf are the ids of the containers in boot's state, by their targets.
func replicasOf(boot map[string]any) (ids []string) {
	targets := boot["outputs"].(map[string]any)["targets"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(targets)) {
		for _, r := range targets[key].(map[string]any)["replicas"].([]any) {
			ids = append(ids, r.(map[string]any)["container"].(string))
		}
	}
	return ids
}

// A container that the host retained of an older version is the service's, and not the
// release's.
func TestState_ThatNamesAContainerOfAnotherVersionMovesNoTraffic(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		target, host, container string
		waits                   bool
	}{
		"of the role with traffic":             {target: "web@vm2", host: "vm2", container: "shop-web-v0"},
		"that serves":                          {target: "web@vm1", host: "vm1", container: "shop-web-v1"},
		"of a role without traffic":            {target: "job@vm3", host: "vm3", container: "shop-job-v0"},
		"of a role that waits for the barrier": {target: "job@vm3", host: "vm3", container: "shop-job-v0", waits: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.waits {
				w.replace("cmd: work hard", "cmd: work hard\n    start: after-barrier")
			}
			w.deploy("v0")
			w.deploy("v1")
			w.stages("v2", "assets", "env-push", "boot", "barrier-wait")
			if err := os.RemoveAll(filepath.Join(w.hosts["vm1"].Home, ".kstep/shop/state")); err != nil { // With copies, any forged file is refused.
				t.Fatal(err)
			}
			boot := filepath.Join(w.dir, "kstep-state", "boot.json")
			before := w.read(boot)
			targets := w.state("boot")["outputs"].(map[string]any)["targets"].(map[string]any)
			honest := targets[c.target].(map[string]any)["replicas"].([]any)[0].(map[string]any)["container"].(string)
			other := w.containersOf(c.host)[c.container].ID
			w.forge("boot.json", func(text string) string { return strings.ReplaceAll(text, honest, other) })
			w.forge("barrier-wait.json", func(text string) string {
				text = strings.ReplaceAll(text, honest, other)
				digest := func(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }
				return strings.ReplaceAll(text, digest(before), digest(w.read(boot)))
			})
			_, stderr := w.exits(exit.BadState, "cutover")
			if !strings.Contains(stderr, "a state file names the container "+c.container+" on "+c.host+", which is of version") {
				t.Errorf("it does not say why:\n%s", stderr)
			}
			w.serves("v1")
			w.exits(exit.OK, "abort")
			w.deploy("v3")
			w.serves("v3")
		})
	}
}
