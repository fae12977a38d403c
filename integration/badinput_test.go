//go:build integration

package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/integration/rig"
)

// provocation is one thing that is wrong, and what kstep has to say about it.
type provocation struct {
	yaml  string       // In place of the good kstep.yml.
	spoil func(*world) // Breaks something, and passes its repair to later.
	env   []string
	args  []string
	exit  int
	says  []string
	down  bool // What the test broke is what the old version runs on.
}

func TestBadInput_IsOneClearMessageAndTheOldVersionServesOn(t *testing.T) {
	t.Parallel()
	s := settings{}
	w := begin(t, s)
	w.must("deploy")
	v2 := s.version("v2", "")
	v2.Files["root/app/public/assets/photo"] = noise(2_000_000) // A layer that a full disk cannot take.
	w.commit(v2)
	w.must("build")
	w.must("push")
	w.ignore("/bad.yml", "/bad/")
	good := w.stateCopy()
	for _, group := range []map[string]provocation{
		wrongWords(s), wrongHosts(s), fullDisks(s), wrongRegistries(s), wrongImages(s),
	} {
		for _, name := range slices.Sorted(maps.Keys(group)) {
			t.Run(name, func(t *testing.T) {
				(&world{t: t, rig: w.rig, app: w.app}).provoke(group[name])
			})
			w.eventually(func() error { return w.answers("v1") })
			w.setState(good)
		}
	}
}

// wrongWords are mistakes in the config file and on the command line.
func wrongWords(s settings) map[string]provocation {
	return map[string]provocation{
		"a key that is misspelt": {
			yaml: s.yaml() + "healthchek: {port: 80}\n", args: []string{"deploy"}, exit: 78,
			says: []string{fmt.Sprintf("bad.yml:%d:1", strings.Count(s.yaml(), "\n")+1), "healthchek", `did you mean "healthcheck"`},
		},
		"a tag that env.tags does not have": {
			yaml: strings.Replace(s.yaml(), "[vm1, vm2]", "[vm1, vm2: gpuu]", 1) + "env: {tags: {gpu: {A: b}}}\n",
			args: []string{"env-push"}, exit: 78, says: []string{"bad.yml:5:", "gpuu", `did you mean "gpu"`},
		},
		"a secret that is not set": {
			yaml: s.yaml() + "env: {secret: [SHOP_KEY]}\n", args: []string{"env-push"}, exit: 78, says: []string{"SHOP_KEY"},
		},
		"a config file that is not there": {
			args: []string{"-c", "nowhere.yml", "deploy"}, exit: 78, says: []string{"nowhere.yml", "kstep init"},
		},
		"a command that does not exist": {args: []string{"deplyo"}, exit: 64, says: []string{"deplyo", "did you mean kstep deploy"}},
		"a flag that does not exist":    {args: []string{"deploy", "--fast"}, exit: 64, says: []string{"--fast", "deploy --help"}},
		"a folder that is not in git": {
			spoil: func(w *world) { w.hide(".git") }, args: []string{"build"}, exit: 78, says: []string{"git", "--version"},
		},
	}
}

// wrongHosts are hosts that cannot be worked on.
func wrongHosts(s settings) map[string]provocation {
	only := func(hosts, ssh string) string {
		yaml := strings.Replace(s.yaml(), "[vm1, vm2]", hosts, 1)
		return yaml + "ssh: {connect_timeout: 5s, connect_retries: 0" + ssh + "}\n"
	}
	known := func(text string) func(*world) {
		return func(w *world) { w.write("bad/known_hosts", text) }
	}
	return map[string]provocation{
		"a host that is not there": {
			yaml: only("[vm1, 172.30.99.99]", ""), args: []string{"env-push"}, exit: 30, says: []string{"172.30.99.99", "port 22"},
		},
		"a port without sshd": {
			yaml: only(`[vm1, "vm2:1"]`, ""), args: []string{"env-push"}, exit: 30, says: []string{"vm2:1", "port 1 "},
		},
		"a key that the host refuses": {
			yaml: only("[vm1, stranger@vm2]", ""), args: []string{"env-push"}, exit: 30,
			says: []string{"log in to stranger@vm2", "id_ed25519", "authorized_keys"},
		},
		"a host key that is not known": {
			yaml: only("[vm1, vm2]", ", known_hosts: bad/known_hosts"), spoil: known("# none\n"), args: []string{"env-push"}, exit: 30,
			says: []string{"host key of vm1 is unknown", "SHA256:", "vm1 ssh-ed25519 AAAA"},
		},
		"a host key that has changed": {
			yaml:  only("[vm1, vm2]", ", known_hosts: bad/known_hosts"),
			spoil: known("vm1,vm2,vm3 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"),
			args:  []string{"env-push"}, exit: 30, says: []string{"HOST KEY OF VM1 HAS CHANGED", "known_hosts:1", "may be intercepted"},
		},
		"an engine that does not run": {
			spoil: func(w *world) { w.stopEngine("vm2") }, down: true, args: []string{"assets"}, exit: 30,
			says: []string{"engine not running on vm2", "systemctl"},
		},
		"a socket that the user may not open": {
			yaml: only("[vm1, nodocker@vm2]", ""), args: []string{"assets"}, exit: 30, says: []string{"nodocker@vm2", "group docker"},
		},
	}
}

// fullDisks have no space left, here and there.
func fullDisks(s settings) map[string]provocation {
	return map[string]provocation{
		"a host's disk that is full at env-push": {
			// Of a service that is new: one that lives elsewhere on the host is refused.
			yaml: strings.Replace(s.yaml(), "service: shop", "service: other", 1) + "run_directory: " + rig.SmallDir + "/kstep\nenv: {BIG: " + strings.Repeat("x", 100_000) + ", MORE: " + strings.Repeat("x", 100_000) + "}\n",
			args: []string{"env", "push"}, exit: 10, says: []string{"vm1", "no space left", "free space on vm1"},
		},
		"a host's disk that is full at a pull": {
			spoil: func(w *world) { w.fillEngine("vm2") }, args: []string{"assets"}, exit: 10,
			says: []string{"vm2", "no space left", "free space on vm2"},
		},
		"a disk here that is full at build": {
			spoil: func(w *world) { w.fillMemory() }, args: []string{"--state-dir", memory + "/state", "build"}, exit: 10,
			says: []string{"no space left", memory + "/state"},
		},
		"a disk here that is full at push": {
			yaml:  strings.Replace(s.yaml(), "acme/shop", "acme/elsewhere", 1),
			spoil: func(w *world) { w.fillMemory() }, env: []string{"TMPDIR=" + memory}, args: []string{"push"}, exit: 10,
			says: []string{"no space left", "TMPDIR"},
		},
	}
}

// wrongRegistries are down, or want another login.
func wrongRegistries(s settings) map[string]provocation {
	return map[string]provocation{
		"a registry that is down": {
			yaml: s.auth("registry:5999"), env: []string{"RIG_PASSWORD=" + rig.RegistryPassword}, args: []string{"push"}, exit: 31,
			says: []string{"registry:5999", "is the registry running"},
		},
		"a registry that refuses the password": {
			yaml: s.auth(rig.AuthRegistry), env: []string{"RIG_PASSWORD=not-the-password"}, args: []string{"push"}, exit: 31,
			says: []string{rig.AuthRegistry, "RIG_PASSWORD", "kstep"},
		},
		"a registry whose password is not set": {
			yaml: s.auth(rig.AuthRegistry), args: []string{"push"}, exit: 78, says: []string{"registry.password", "RIG_PASSWORD"},
		},
	}
}

// wrongImages lack what the config requires.
func wrongImages(s settings) map[string]provocation {
	return map[string]provocation{
		"an image without the asset folder": {
			yaml: strings.Replace(s.yaml(), "/app/public/assets", "/app/public/nowhere", 1), args: []string{"assets"}, exit: 10,
			says: []string{"vm1", "/app/public/nowhere", "asset_path"},
		},
		"an image without the shell of healthcheck.cmd": {
			yaml: s.yaml() + "healthcheck: {cmd: wget -q localhost, interval: 200ms, retries: 3}\n", args: []string{"deploy"}, exit: 13,
			says: []string{"web@vm1, web@vm2", "/bin/sh", "needs a shell in the image"},
		},
	}
}

// repeated finds what one part of an error and the next both begin with, as in
// "create container: create container x".
func repeated(text string) string {
	before := ""
	for part := range strings.SplitSeq(text, ": ") {
		first, _, _ := strings.Cut(part, " ")
		if first == before {
			return first
		}
		before = first
	}
	return ""
}

// provoke runs kstep into the trouble and looks at what it says.
func (w *world) provoke(p provocation) {
	w.t.Helper()
	args := p.args
	if p.yaml != "" {
		w.write("bad.yml", p.yaml)
		args = append([]string{"-c", "bad.yml"}, args...)
	}
	if p.spoil != nil {
		p.spoil(w)
	}
	r := w.kstepWith(p.env, args...)
	w.t.Logf("kstep %s\n%s%s", strings.Join(args, " "), r.Stdout, r.Stderr)
	if r.Exit != p.exit {
		w.t.Errorf("exit status %d, want %d", r.Exit, p.exit)
	}
	for _, want := range p.says {
		if !strings.Contains(r.Stderr, want) {
			w.t.Errorf("the message does not say %q", want)
		}
	}
	w.readable(r, p.env)
	if !p.down {
		w.serves("v1")
	}
}

// readable expects one error with a remedy, that says nothing twice, gives no
// secret away and shows nothing of kstep's insides.
func (w *world) readable(r rig.Result, env []string) {
	w.t.Helper()
	var errors, hints []string
	for line := range strings.Lines(r.Stderr) {
		if strings.HasPrefix(line, "error: ") {
			errors = append(errors, strings.TrimSpace(line))
		}
		if strings.HasPrefix(line, "hint: ") {
			hints = append(hints, line)
		}
		if len(line) > 600 {
			w.t.Errorf("a line of %d characters", len(line))
		}
	}
	if len(errors) != 1 || len(hints) == 0 {
		w.t.Errorf("%d errors and %d hints, want one error and a hint at least", len(errors), len(hints))
	}
	for _, line := range errors {
		if said := repeated(strings.TrimPrefix(line, "error: ")); said != "" {
			w.t.Errorf("the message says %q twice", said)
		}
	}
	for _, e := range env {
		if name, value, _ := strings.Cut(e, "="); strings.Contains(r.Stdout+r.Stderr, value) && name != "TMPDIR" {
			w.t.Errorf("the output gives %s away", name)
		}
	}
	for _, word := range []string{"goroutine", "panic", ".go:", "%!", "<nil>"} {
		if strings.Contains(r.Stderr, word) {
			w.t.Errorf("the output has %q in it", word)
		}
	}
}
