package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

const tcpHead = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

// listens is a line of /proc/net/tcp for a socket that listens.
func listens(address string, port int) string {
	return fmt.Sprintf("   0: %s:%04X 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n", address, port)
}

// df is the program as coreutils has it. Sizes are in KiB.
func df(size, free, inodes, freeInodes int) string {
	return fmt.Sprintf(`case $1 in
(-Pk) echo "Filesystem 1024-blocks Used Available Capacity Mounted on"; echo "/dev/sda1 %d 1 %d 50%% /" ;;
(-Pi) echo "Filesystem Inodes IUsed IFree IUse%% Mounted on"; echo "/dev/sda1 %d 1 %d 50%% /" ;;
esac`, size, free, inodes, freeInodes)
}

// equip gives all hosts what a deploy needs.
func (w *world) equip() {
	for _, fake := range w.hosts {
		fake.Program("df", df(40<<20, 20<<20, 1000000, 900000))
		fake.Program("ss", ":")
		fake.Proc("meminfo", "MemTotal:        2000000 kB\nMemAvailable:    1500000 kB\n")
		fake.Proc("net/tcp", tcpHead+listens("0100007F", 6010)+listens("00000000", 22))
		fake.Proc("net/tcp6", tcpHead)
	}
}

// doctor runs the command and returns the checks that are not ok, as `vm1 ports`, by
// their state.
func (w *world) doctor(code exit.Code, args ...string) (sum preflightReport, failed, warned []string) {
	w.t.Helper()
	stdout, _ := w.exits(code, append([]string{"doctor", "--image", w.image("v1"), "--version", "v1", "--output", "json"}, args...)...)
	if all := documents(w.t, "doctor", stdout); len(all) != 1 {
		w.t.Fatalf("doctor prints %d documents:\n%s", len(all), stdout)
	}
	if err := json.Unmarshal([]byte(stdout), &sum); err != nil {
		w.t.Fatal(err)
	}
	for _, one := range sum.Checks {
		name := strings.TrimSpace(one.Host + " " + one.Check)
		switch one.State {
		case stateFailed:
			failed = append(failed, name)
		case stateWarning:
			warned = append(warned, name)
		}
		if one.OK != (one.State != stateFailed) || (one.State != stateOK) != (one.Error != "") {
			w.t.Errorf("%s: got %+v", name, one)
		}
	}
	if sum.Ready != (code == exit.OK) {
		w.t.Errorf("got ready: %t with exit code %d", sum.Ready, code)
	}
	return sum, failed, warned
}

// shows runs the command for people.
func (w *world) shows(code exit.Code, args ...string) string {
	w.t.Helper()
	stdout, _ := w.exits(code, append([]string{"doctor", "--image", w.image("v1"), "--version", "v1"}, args...)...)
	return stdout
}

// narrow is a table with single spaces.
func narrow(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " ")+"\n")
	}
	return strings.Join(lines, "")
}

// foreign runs a container that is not kstep's and publishes a port.
func (w *world) foreign(hostName, name string, port int, labels map[string]string) {
	w.t.Helper()
	w.hosts[hostName].Engine.AddImage("foreign:1", hosttest.Image{Cmd: []string{"serve"}})
	e := w.hosts[hostName].Look()
	spec := engine.Spec{Name: name, Image: "foreign:1", Labels: labels}
	if port > 0 {
		spec.Ports = []engine.Port{{Host: port, Container: 80}}
	}
	id, err := e.Create(w.t.Context(), spec)
	if err == nil {
		err = e.Start(w.t.Context(), id)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestDoctor_FindsWhatIsWrongWhereItIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil  func(*world)
		args   []string
		code   exit.Code
		fails  []string
		warns  []string
		says   string // In the text.
		unseen string // Not in the text.
	}{
		"all is well":            {says: "engine vm3 ok 20.10.24, API 1.", unseen: "hint:"},
		"after a deploy":         {spoil: func(w *world) { w.deploy("v1") }, says: "ports vm1 ok 80: kstep-proxy"},
		"one host with a deploy": {spoil: func(w *world) { w.deploy("v1") }, args: []string{"--hosts", "vm3"}, says: "none needed, no proxied role", unseen: " vm1 "},
		"a secret is missing": {
			spoil: func(w *world) { w.configure("env: {secret: [TOKEN]}\n") },
			code:  exit.Config, fails: []string{"secrets"}, says: "secret TOKEN is missing",
		},
		"the lease is held": {
			spoil: func(w *world) { w.exits(exit.OK, "lock", "acquire", "-m", "maintenance") },
			code:  exit.LeaseHeld, fails: []string{"lease"}, says: "maintenance",
		},
		"a host refuses the key": {
			spoil: func(w *world) { w.hosts["vm2"].Set(hosttest.Mood{RefuseKeys: true}) },
			code:  exit.Unreachable, fails: []string{"vm2 ssh"}, says: "hint: ",
		},
		"another host has another key": {
			spoil: func(w *world) { w.hosts["vm3"].ChangeHostKey() },
			code:  exit.Unreachable, fails: []string{"vm3 ssh"}, says: "memory vm2 ok 1.4 GiB available",
		},
		"an engine is off": {
			spoil: func(w *world) { w.hosts["vm3"].Engine.SetDown(true) },
			code:  exit.Unreachable, fails: []string{"vm3 engine"}, warns: []string{"vm3 leftovers"}, says: "memory vm3 ok",
		},
		"another processor": {
			spoil: func(w *world) {
				w.hosts["vm3"].Engine.SetArchitecture("s390x")
				w.configure("builder: {platforms: [linux/amd64]}\n")
			},
			code: exit.Failed, fails: []string{"vm3 service"},
		},
		"a container has port 80": {
			spoil: func(w *world) { w.foreign("vm1", "legacy", 80, nil) },
			code:  exit.Failed, fails: []string{"vm1 ports"}, says: "hint: run on vm1: docker stop legacy; or set another proxy.publish",
		},
		"a container has another port": {spoil: func(w *world) { w.foreign("vm1", "legacy", 8080, nil) }},
		"a container has the port of proxy.publish": {
			spoil: func(w *world) { w.configure("proxy: {publish: 8080}\n"); w.foreign("vm2", "old-proxy", 8080, nil) },
			code:  exit.Failed, fails: []string{"vm2 ports"}, says: "docker stop old-proxy",
		},
		"a container has port 80 where no forwarding is permitted": {
			spoil: func(w *world) {
				w.foreign("vm1", "legacy", 80, nil)
				w.hosts["vm1"].Set(hosttest.Mood{NoTCP: true})
			},
			code: exit.Failed, fails: []string{"vm1 ports"}, says: "docker stop legacy",
		},
		"a program has port 80": {
			spoil: func(w *world) { w.hosts["vm2"].Proc("net/tcp", tcpHead+listens("00000000", 80)) },
			code:  exit.Failed, fails: []string{"vm2 ports"}, says: "sudo ss -ltnp 'sport = :80'",
		},
		"a program has port 80 of one address, and its name is known": {
			spoil: func(w *world) {
				w.hosts["vm1"].Proc("net/tcp6", tcpHead+"   0: 0000000000000000FFFF0000640200C0:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1\n")
				w.hosts["vm1"].Program("ss", `echo 'LISTEN 0 511 192.0.2.100:80 0.0.0.0:* users:(("nginx",pid=12,fd=6),("nginx",pid=13,fd=6))'`)
			},
			code: exit.Failed, fails: []string{"vm1 ports"}, says: "hint: stop nginx on vm1",
		},
		"a program has the port on an address that the proxy does not open": {
			spoil: func(w *world) {
				w.configure("proxy: {publish: '192.0.2.1:80'}\n")
				w.hosts["vm1"].Proc("net/tcp", tcpHead+listens("640200C0", 80))
			},
		},
		"nothing shows who listens": {
			spoil: func(w *world) {
				for _, table := range []string{"tcp", "tcp6"} {
					if err := os.Remove(filepath.Join(w.hosts["vm2"].Root, "proc", "net", table)); err != nil {
						w.t.Fatal(err)
					}
				}
			},
			warns: []string{"vm2 ports"}, says: "hint: run on vm2: ss -ltn",
		},
		"a disk is full":      {spoil: func(w *world) { w.hosts["vm2"].Program("df", df(40<<20, 0, 1000, 900)) }, code: exit.Failed, fails: []string{"vm2 disk"}, says: "/ on vm2 is full"},
		"a disk is near full": {spoil: func(w *world) { w.hosts["vm2"].Program("df", df(40<<20, 900<<10, 1000, 900)) }, warns: []string{"vm2 disk"}, says: "docker system df"},
		"no inodes are left":  {spoil: func(w *world) { w.hosts["vm3"].Program("df", df(40<<20, 20<<20, 1000000, 3)) }, code: exit.Failed, fails: []string{"vm3 disk"}, says: "df -i /"},
		"few inodes are left": {spoil: func(w *world) { w.hosts["vm3"].Program("df", df(40<<20, 20<<20, 1000000, 30000)) }, warns: []string{"vm3 disk"}},
		"a file system has no number of inodes": {
			spoil: func(w *world) { w.hosts["vm3"].Program("df", df(40<<20, 20<<20, 0, 0)) }, says: "disk vm3 ok /: 20.0 GiB of 40.0 GiB free\n",
		},
		"df has no -i": {
			spoil: func(w *world) {
				w.hosts["vm3"].Program("df", `[ "$1" = -Pk ] || { echo "df: invalid option -- i" >&2; return 1; }; echo head; echo "overlay 1000000 1 900000 50% /"`)
			},
			says: "disk vm3 warning /: 878 MiB of 976 MiB free\n", warns: []string{"vm3 disk"},
		},
		"memory is short":         {spoil: func(w *world) { w.hosts["vm1"].Proc("meminfo", "MemAvailable:      99000 kB\n") }, warns: []string{"vm1 memory"}, says: "docker stats"},
		"an old kernel":           {spoil: func(w *world) { w.hosts["vm1"].Proc("meminfo", "MemFree:      99000 kB\n") }, warns: []string{"vm1 memory"}, says: "memory vm1 warning not known"},
		"a clock is ahead":        {spoil: func(w *world) { w.clock("vm2", time.Hour) }, warns: []string{"vm2 clock"}, says: "ahead of this machine's"},
		"a clock is behind":       {spoil: func(w *world) { w.clock("vm2", -300*24*time.Hour) }, warns: []string{"vm2 clock"}, says: "behind this machine's"},
		"a clock is nearly right": {spoil: func(w *world) { w.clock("vm2", 3*time.Second) }, says: "clock vm2 ok"},
		"Kamal's proxy runs": {
			spoil: func(w *world) { w.foreign("vm1", "kamal-proxy", 80, nil) },
			code:  exit.Failed, fails: []string{"vm1 ports"}, warns: []string{"vm1 leftovers"}, says: "docs/coming-from-kamal.md",
		},
		"Kamal's containers of the service run": {
			spoil: func(w *world) {
				w.foreign("vm3", "shop-web-abc", 0, map[string]string{"service": "shop", "role": "web"})
			},
			warns: []string{"vm3 leftovers"}, says: "containers of Kamal: shop-web-abc",
		},
		"Kamal's containers of another service run": {spoil: func(w *world) { w.foreign("vm3", "crm-web-abc", 0, map[string]string{"service": "crm", "role": "web"}) }},
		"compose publishes port 80": {
			spoil: func(w *world) { w.foreign("vm2", "old-web-1", 80, map[string]string{composeProject: "old"}) },
			code:  exit.Failed, fails: []string{"vm2 ports"}, warns: []string{"vm2 leftovers"}, says: "hint: run on vm2: docker compose -p old stop",
		},
		"compose publishes another port": {spoil: func(w *world) { w.foreign("vm2", "old-web-1", 5432, map[string]string{composeProject: "old"}) }},
		"sudo lets docker run":           {spoil: func(w *world) { w.replace("ssh:\n", "ssh:\n  sudo: true\n") }, says: "sudo vm1 ok"},
		"sudo wants a password": {
			spoil: func(w *world) {
				w.replace("ssh:\n", "ssh:\n  sudo: true\n")
				w.hosts["vm2"].Set(hosttest.Mood{SudoDenied: true})
			},
			warns: []string{"vm2 sudo"}, says: "visudo",
		},
		"sudo wants a password, and only root may use the engine": {
			spoil: func(w *world) {
				w.replace("ssh:\n", "ssh:\n  sudo: true\n")
				w.hosts["vm2"].Set(hosttest.Mood{SudoDenied: true, SocketDenied: true, NoForwarding: true})
			},
			code: exit.Unreachable, fails: []string{"vm2 engine"}, warns: []string{"vm2 sudo", "vm2 ports", "vm2 leftovers"}, says: "NOPASSWD",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.equip()
			if c.spoil != nil {
				c.spoil(w)
			}
			w.forget()
			_, failed, warned := w.doctor(c.code, c.args...)
			slices.Sort(warned)
			slices.Sort(c.warns)
			if !slices.Equal(failed, c.fails) || !slices.Equal(warned, c.warns) {
				t.Errorf("got failed %q and warnings %q, want %q and %q", failed, warned, c.fails, c.warns)
			}
			text := w.shows(c.code, c.args...)
			if !strings.Contains(narrow(text), c.says) || c.unseen != "" && strings.Contains(text, c.unseen) {
				t.Errorf("want %q and not %q in:\n%s", c.says, c.unseen, text)
			}
		})
	}
}

// clock sets the clock that a host's programs see.
func (w *world) clock(hostName string, ahead time.Duration) {
	w.hosts[hostName].Program("date", fmt.Sprintf("command date -d @$(($(command date +%%s) + %d)) +%%s", int(ahead.Seconds())))
}

func TestDoctor_LooksUpTheNamesOfTheService(t *testing.T) {
	t.Parallel()
	records := map[string]string{"shop.example.com": "127.0.0.1", "www.example.com": "203.0.113.9", "mapped.example.com": "::ffff:127.0.0.1", "cdn.example.com": "2001:db8::1"}
	for names, want := range map[string][]string{
		"shop.example.com":                  nil,
		"mapped.example.com":                nil,
		"www.example.com":                   {"www.example.com: 203.0.113.9"},
		"shop.example.com, cdn.example.com": {"cdn.example.com: 2001:db8::1"},
		"nothing.example.com":               {"nothing.example.com: no address known"},
	} {
		t.Run(names, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.equip()
			w.lookup = func(_ context.Context, name string) ([]netip.Addr, error) {
				if a, err := netip.ParseAddr(records[name]); err == nil {
					return []netip.Addr{a}, nil
				}
				return nil, errors.New("no such host")
			}
			w.configure("proxy: {hosts: [" + names + "]}\n")
			sum, failed, _ := w.doctor(exit.OK)
			var warned []string
			for _, one := range sum.Checks {
				if one.State == stateWarning {
					warned = append(warned, one.Found)
				}
			}
			if len(failed) > 0 || !slices.Equal(warned, want) {
				t.Errorf("got warnings %q, want %q", warned, want)
			}
		})
	}
}

func TestDoctor_TakesNothingFromAHostThatPrintsRubbish(t *testing.T) {
	t.Parallel()
	hostile := strings.Join(hostileLines, "\n") + "\n"
	for name, spoil := range map[string]func(w *world, f *hosttest.Fake){
		"control characters": func(w *world, f *hosttest.Fake) {
			w.write("hostile", hostile)
			for _, program := range []string{"df", "date", "ss", "grep"} {
				f.Program(program, "cat "+filepath.Join(w.dir, "hostile"))
			}
		},
		"numbers that are none": func(_ *world, f *hosttest.Fake) {
			f.Program("df", `echo head; echo "/dev/sda1 99999999999999999999999 1 -5 50% /"`)
			f.Program("date", "echo 0x7fffffff")
			f.Proc("meminfo", "MemAvailable: 99999999999999999999 kB\n")
			f.Proc("net/tcp", "   0: 00000000:FFFFF 00000000:0000 0A \n")
		},
		"numbers that cannot be": func(_ *world, f *hosttest.Fake) {
			f.Program("df", `echo head; echo "/dev/sda1 1000 1 999999999999999999 50% /"`)
			f.Program("date", "echo 99999999999")
			f.Proc("meminfo", "MemAvailable: -1 kB\n")
		},
		"more than there is room for": func(_ *world, f *hosttest.Fake) {
			f.Program("df", `while :; do echo "/dev/sda1 a b c d e f g h i j k l m n o p q r s t u v w x y z"; done`)
			f.Program("date", `while :; do echo 11111111111111111111111111; done`)
			f.Proc("meminfo", "MemAvailable: "+strings.Repeat("9", 100000)+" kB\n")
		},
		"nothing": func(_ *world, f *hosttest.Fake) {
			f.Program("df", ":")
			f.Program("date", ":")
			f.Proc("meminfo", "")
		},
		"no programs run": func(_ *world, f *hosttest.Fake) { f.Set(hosttest.Mood{NoCommands: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.filesTransport = "" // Not every host here runs commands.
			w.equip()
			spoil(w, w.hosts["vm3"])
			_, failed, warned := w.doctor(exit.OK)
			want := []string{"vm3 disk", "vm3 disk", "vm3 memory", "vm3 clock"}
			if len(failed) > 0 || !slices.Equal(warned, want) {
				t.Errorf("got %q and %q, want the warnings %q", failed, warned, want)
			}
			w.env["TOKEN"] = "verysecretprod"
			w.configure("env: {secret: [TOKEN]}\n")
			for _, format := range []string{"text", "json"} {
				stdout := w.shows(exit.OK, "--output", format)
				harmless(t, "doctor", "", stdout)
				if len(stdout) > 20000 {
					t.Errorf("it prints %d bytes", len(stdout))
				}
			}
		})
	}
}

func TestDoctor_ShowsATableForANarrowTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.equip()
	w.foreign("vm1", "legacy-with-a-name-that-is-long-enough-to-need-two-lines-of-a-terminal", 80, nil)
	text := w.shows(exit.Failed)
	table, rest, _ := strings.Cut(text, "\n\n")
	for line := range strings.Lines(table) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
			t.Errorf("a line has %d characters: %q", n, line)
		}
	}
	if !strings.HasPrefix(rest, "failed: vm1 ports: port 80 on vm1 is in use by container legacy-with-a-name-that-is-long-enough") {
		t.Errorf("got\n%s", rest)
	}
}

func TestDoctor_ChangesNothingAndTakesFewRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.equip()
	w.deploy("v1")
	before := w.picture()
	w.operations()
	w.doctor(exit.OK)
	runs := map[string]int{}
	for _, op := range w.operations() {
		if op.Name == "sh" {
			runs[op.Host]++
		}
		if changing(op) && op.Name != "sh" {
			t.Errorf("it does %s on %s", op.Name, op.Host)
		}
	}
	if runs["vm1"] != 1 || runs["vm3"] != 1 {
		t.Errorf("got %v scripts, want one for each host", runs)
	}
	for what, now := range w.picture() {
		if before[what] != now && !strings.Contains(what, "/lease/") {
			t.Errorf("it changed %s from %q to %q", what, before[what], now)
		}
	}
}

// It changes PATH, so no other test runs beside it.
func TestDoctor_TriesTheBuilderOfThisMachine(t *testing.T) {
	for name, c := range map[string]struct {
		program, config string
		code            exit.Code
		state, says     string
	}{
		"none":                       {code: exit.Failed, state: stateFailed, says: "there is no docker command on PATH"},
		"buildx":                     {program: "/bin/true", state: stateOK, says: "buildx build"},
		"a legacy one":               {program: "/bin/false", state: stateWarning, says: "legacy builder"},
		"a legacy one, and secrets":  {program: "/bin/false", config: "builder: {ssh: default}\n", code: exit.Config, state: stateFailed, says: "need BuildKit"},
		"a legacy one for platforms": {program: "/bin/false", config: "builder: {platforms: [linux/amd64, linux/arm64]}\n", code: exit.Config, state: stateFailed, says: "need docker buildx"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.equip()
			w.configure(c.config)
			dir := t.TempDir()
			if c.program != "" {
				if err := os.Symlink(c.program, filepath.Join(dir, "docker")); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", dir)
			stdout, _ := w.exits(c.code, "doctor", "--version", "v1", "--output", "json")
			var sum preflightReport
			if err := json.Unmarshal([]byte(stdout), &sum); err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(sum.Checks, func(one checkState) bool { return one.Check == "builder" })
			if at < 0 || sum.Checks[at].State != c.state || !strings.Contains(sum.Checks[at].Found+sum.Checks[at].Error, c.says) {
				t.Errorf("got %s", stdout)
			}
		})
	}
}

func TestDoctor_NeedsACommitOrAVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.equip()
	stdout, stderr := w.exits(exit.Config, "doctor", "--image", w.image("v1"))
	if !strings.Contains(stdout, "failed: version: no version given") || !strings.Contains(stderr, "a deploy would fail: version\n") {
		t.Errorf("got\n%s%s", stdout, stderr)
	}
	w.env["KSTEP_VERSION"] = "v7"
	if stdout, _ := w.exits(exit.OK, "doctor", "--image", w.image("v1")); !strings.Contains(narrow(stdout), "version here ok v7\n") {
		t.Errorf("got\n%s", stdout)
	}
}
