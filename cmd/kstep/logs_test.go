package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// following is a command that runs until it is interrupted.
type following struct {
	t     *testing.T
	lines chan string // Of both its outputs.
	stop  context.CancelCauseFunc
	code  chan exit.Code
}

// follow runs a command beside the test.
func (w *world) follow(args ...string) *following {
	ctx, stop := context.WithCancelCause(w.t.Context())
	out, to := io.Pipe()
	f := &following{t: w.t, lines: make(chan string, 1000), stop: stop, code: make(chan exit.Code, 1)}
	go func() {
		for all := bufio.NewScanner(out); all.Scan(); {
			f.lines <- all.Text()
		}
	}()
	go func() {
		f.code <- w.run(ctx, to, to, args...)
		to.Close()
	}()
	return f
}

// shows waits for a line.
func (f *following) shows(want string) {
	f.t.Helper()
	var before []string
	for timeout := time.After(20 * time.Second); ; {
		select {
		case line := <-f.lines:
			if strings.Contains(line, want) {
				return
			}
			before = append(before, line)
		case <-timeout:
			f.t.Fatalf("it does not show %q, but\n%s", want, strings.Join(before, "\n"))
		}
	}
}

// interrupt presses Ctrl-C.
func (f *following) interrupt() (code exit.Code, rest string) {
	f.stop(exit.Errorf(exit.Interrupted, "interrupted"))
	code = <-f.code
	for {
		select {
		case line := <-f.lines:
			rest += line + "\n"
		default:
			return code, rest
		}
	}
}

func TestLogs_AreFollowedUntilCtrlC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.behave("v1", hosttest.Behaviour{Log: []string{"booting"}})
	w.deploy("v1")
	f := w.follow("app", "logs", "--follow", "--roles", "web")
	f.shows("[vm1] booting")
	w.hosts["vm1"].Engine.Write("shop-web-v1", "first")
	f.shows("[vm1] first")
	w.hosts["vm2"].Engine.Write("shop-web-v1", "second")
	f.shows("[vm2] second")
	w.hosts["vm1"].Engine.Crash("shop-web-v1", 3) // Its policy starts it again.
	f.shows("[vm1] booting")
	w.hosts["vm1"].Engine.Write("shop-web-v1", "third")
	f.shows("[vm1] third")
	w.behave("v2", hosttest.Behaviour{Log: []string{"newer"}})
	w.deploy("v2")
	f.shows("newer")
	if code, rest := f.interrupt(); code != exit.OK || strings.Contains(rest, "FAILED") || strings.Contains(rest, "error") {
		t.Errorf("Ctrl-C ends it with %d:\n%s", code, rest)
	}
}

func TestLogs_FollowGoesOnAndEndsWhereAHostIsLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]hosttest.Mood{"no login any more": {RefuseKeys: true}, "no engine any more": {SocketDenied: true, SudoDenied: true, NoDockerClient: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.behave("v1", hosttest.Behaviour{Log: []string{"booting"}})
			w.deploy("v1")
			w.operations()
			w.exits(exit.OK, "app", "logs", "--roles", "web")
			found := 0 // How many operations find the containers.
			for _, op := range w.operations() {
				if op.Host == "vm2" && !strings.HasSuffix(op.Name, "/logs") {
					found++
				}
			}
			var done atomic.Int32
			w.on = func(op host.Op) {
				if op.Host == "vm2" && int(done.Add(1)) == found {
					w.hosts["vm2"].Set(lose)
					w.hosts["vm2"].Sever()
				}
			}
			f := w.follow("app", "logs", "--follow", "--roles", "web")
			f.shows("[vm1] booting")
			w.hosts["vm1"].Engine.Write("shop-web-v1", "first")
			f.shows("[vm1] first")
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				f.interrupt()
			}()
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				t.Fatal("Ctrl-C does not end it")
			}
		})
	}
}

func TestLogs_OfSeveralHostsAreInTheOrderOfTheirTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	for i, host := range []string{"vm2", "vm1", "vm2", "vm2", "vm1"} {
		w.hosts[host].Engine.Write("shop-web-v1", "line "+string(rune('a'+i)))
	}
	stdout, _ := w.exits(exit.OK, "app", "logs", "--roles", "web", "--grep", "^line")
	if want := "[vm2] line a\n[vm1] line b\n[vm2] line c\n[vm2] line d\n[vm1] line e\n"; stdout != want {
		t.Errorf("got\n%swant\n%s", stdout, want)
	}
	stdout, _ = w.exits(exit.OK, "app", "logs", "--hosts", "vm1", "--timestamps", "-n", "1")
	at, line, _ := strings.Cut(strings.TrimSpace(stdout), " ")
	if written, err := time.Parse(time.RFC3339, at); err != nil || time.Since(written) > time.Minute || line != "line e" {
		t.Errorf("with times it prints %q", stdout)
	}
}

func TestLogs_OfContainersThatAreNotInService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.task("migrate", "echo all tables are new", "")
	for _, version := range []string{"v1", "v2"} {
		w.behave(version, hosttest.Behaviour{Log: []string{"this is " + version}})
		w.deploy(version)
	}
	for args, want := range map[string]string{
		"--hosts vm1":              "this is v2\n",
		"--hosts vm1 --version v1": "this is v1\n",
		"--hosts vm1 --all":        "this is v1\nthis is v2\n",
		"--roles job --version=v1": "this is v1\n",
	} {
		if stdout, _ := w.exits(exit.OK, append([]string{"app", "logs"}, strings.Fields(args)...)...); stdout != want {
			t.Errorf("app logs %s: got %q, want %q", args, stdout, want)
		}
	}
	w.refuses(exit.Failed, "there is no container of version v3 in role job on vm3", "app", "logs", "--roles", "job", "--version", "v3")
}

func TestLogs_OfATaskAreShownWhileItRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.task("migrate", "echo one table; sleep 30", "")
	f := w.follow("deploy", "--image", w.image("v1"), "--version", "v1")
	f.shows("one table")
	stdout, _ := w.exits(exit.OK, "task", "logs", "migrate")
	if stdout != "one table\n" {
		t.Errorf("task logs prints %q", stdout)
	}
	w.refuses(exit.Usage, `there is no task "clean"`, "task", "logs", "clean")
	if code, rest := f.interrupt(); code != exit.Interrupted {
		t.Errorf("Ctrl-C ends the deploy with %d:\n%s", code, rest)
	}
}
