package hook

//go:generate go test . -run TestDocs -update

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/hook/hooktest"
	"github.com/kstep/kstep/internal/report"
)

// recorder is a sink that keeps events.
type recorder struct {
	report.Discard
	events chan report.Event
}

func (r recorder) Emit(e report.Event) { r.events <- e }

func (r recorder) messages(kind report.Kind) []string {
	var out []string
	for {
		select {
		case e := <-r.events:
			if e.Kind == kind {
				out = append(out, e.Message)
			}
		default:
			return out
		}
	}
}

func runner(t *testing.T, scripts map[string]string) (*Runner, recorder) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		hooktest.Program(t, filepath.Join(dir, name), text)
	}
	rec := recorder{events: make(chan report.Event, 1000)}
	return &Runner{Dirs: []string{dir}, WorkDir: dir, Env: []string{"PATH=" + os.Getenv("PATH"), "KSTEP_VERSION=outer"}, Sink: rec}, rec
}

func TestRun_GivesTheHookItsDetailsAndShowsItsOutput(t *testing.T) {
	t.Parallel()
	r, rec := runner(t, map[string]string{"pre-deploy": "#!/bin/sh\nenv | grep ^KSTEP_ | sort; printf 'last without end' >&2\n"})
	err := r.Run(t.Context(), "pre-deploy", Details{
		RecordedAt: time.Date(2026, 11, 20, 11, 0, 0, 0, time.FixedZone("", 3600)), Performer: "ann", Version: "abc1234def",
		Service: "shop", Hosts: []string{"vm1", "vm2"}, Roles: []string{"web"}, Command: "deploy", Runtime: 2600 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := rec.messages(report.Output)
	for _, want := range []string{
		"KSTEP_RECORDED_AT=2026-11-20T10:00:00Z", "KSTEP_PERFORMER=ann", "KSTEP_VERSION=abc1234def", "KSTEP_SERVICE_VERSION=shop@abc1234def",
		"KSTEP_HOSTS=vm1,vm2", "KSTEP_ROLES=web", "KSTEP_COMMAND=deploy", "KSTEP_RUNTIME=3", "KSTEP_DESTINATION=", "KSTEP_EXIT_CODE=", "last without end",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("got %q, want it to contain %q", got, want)
		}
	}
	if n := len(got); n != len(Variables())+1 {
		t.Errorf("got %d lines, want each variable once", n)
	}
}

func TestRun_TakesTheProjectsHookBeforeTheUsers(t *testing.T) {
	t.Parallel()
	r, rec := runner(t, map[string]string{"pre-build": "#!/bin/sh\necho project\n"})
	home, _ := runner(t, map[string]string{"pre-build": "#!/bin/sh\necho home\n", "post-push": "#!/bin/sh\necho home\n"})
	r.Dirs = append(r.Dirs, home.Dirs[0], "/nonexistent", filepath.Join(r.Dirs[0], "pre-build"))
	for _, name := range []string{"pre-build", "post-push", "pre-deploy"} {
		if err := r.Run(t.Context(), name, Details{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := rec.messages(report.Output); !slices.Equal(got, []string{"project", "home"}) {
		t.Errorf("got %q, want project, home", got)
	}
}

func TestRun_SkipsWhenAsked(t *testing.T) {
	t.Parallel()
	r, _ := runner(t, map[string]string{"pre-build": "#!/bin/sh\nexit 1\n"})
	r.Skip = true
	if err := r.Run(t.Context(), "pre-build", Details{}); err != nil {
		t.Error(err)
	}
}

func TestRun_WarnsAboutAHookThatIsNotExecutable(t *testing.T) {
	t.Parallel()
	r, rec := runner(t, map[string]string{"pre-build": "#!/bin/sh\nexit 1\n", "pre-deploy.sample": "#!/bin/sh\nexit 1\n"})
	path := filepath.Join(r.Dirs[0], "pre-build")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pre-build", "pre-deploy"} {
		if err := r.Run(t.Context(), name, Details{}); err != nil {
			t.Error(err)
		}
	}
	if e := <-rec.events; e.Kind != report.Warning || !slices.Contains(e.Hints, "chmod +x "+path) || len(rec.events) > 0 {
		t.Errorf("got %+v, want one warning with chmod", e)
	}
}

func TestRun_NamesHookPathStatusAndLastLinesOfAFailure(t *testing.T) {
	t.Parallel()
	r, _ := runner(t, map[string]string{"pre-deploy": "#!/bin/sh\nseq 1 30\necho token hunter22\nexit 7\n"})
	r.Redact = func(s string) string { return strings.ReplaceAll(s, "hunter22", "[REDACTED]") }
	err := r.Run(t.Context(), "pre-deploy", Details{})
	if exit.CodeOf(err) != exit.Failed {
		t.Fatalf("got %v with code %d, want %d", err, exit.CodeOf(err), exit.Failed)
	}
	for _, want := range []string{"pre-deploy", r.Dirs[0], "exit status 7", "\n30\ntoken [REDACTED]"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to contain %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "\n20\n") {
		t.Errorf("got more than the last lines: %q", err)
	}
}

func TestRun_SaysHowToMendAHookThatCannotStart(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ script, hint string }{
		"no interpreter line": {"echo hello\n", "#!/bin/sh"},
		"missing interpreter": {"#!/nonexistent/ruby\n", "interpreter"},
		"CRLF":                {"#!/bin/sh\r\necho hello\r\n", `sed -i 's/\r$//' `},
		"CRLF, by env":        {"#!/usr/bin/env bash\r\necho hello\r\n", "LF line ends"},
	} {
		r, _ := runner(t, map[string]string{"pre-build": tc.script})
		err := r.Run(t.Context(), "pre-build", Details{})
		if exit.CodeOf(err) != exit.Config || !strings.Contains(strings.Join(exit.Hints(err), ""), tc.hint) {
			t.Errorf("%s: got %v with hints %q", name, err, exit.Hints(err))
		}
	}
}

// stubborn ignores SIGTERM, and so does its child; both hold the pipe `alive`
// open as long as they live.
const stubborn = "#!/bin/sh\nexec 9>alive\ntrap '' TERM\n(trap '' TERM; while :; do sleep 1; done) &\nwhile :; do sleep 1; done\n"

func TestRun_StopsAHookAndItsChildrenAfterTheTimeout(t *testing.T) {
	t.Parallel()
	r, _ := runner(t, map[string]string{"pre-deploy": stubborn})
	r.Timeout, r.Grace = 300*time.Millisecond, 100*time.Millisecond
	pipe := filepath.Join(r.Dirs[0], "alive")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	alive, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	err = r.Run(t.Context(), "pre-deploy", Details{})
	if exit.CodeOf(err) != exit.Deadline || !strings.Contains(err.Error(), "stopped after 300ms") {
		t.Errorf("got %v with code %d, want %d", err, exit.CodeOf(err), exit.Deadline)
	}
	if err := alive.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(alive); err != nil {
		t.Errorf("a process of the hook still lives: %v", err)
	}
}

func TestRun_StopsWhenTheCommandIsCancelled(t *testing.T) {
	t.Parallel()
	r, rec := runner(t, map[string]string{"pre-deploy": "#!/bin/sh\ntrap 'echo bye; exit 0' TERM\necho ready\nwhile :; do sleep 0.05; done\n"})
	cause := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx, "pre-deploy", Details{}) }()
	for e := range rec.events {
		if e.Message == "ready" {
			break
		}
	}
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
	if got := rec.messages(report.Output); !slices.Contains(got, "bye") {
		t.Errorf("got %q, want the hook to hear SIGTERM", got)
	}
}

func TestRun_DoesNotWaitForAProcessThatAHookLeavesBehind(t *testing.T) {
	t.Parallel()
	r, rec := runner(t, map[string]string{"post-deploy": "#!/bin/sh\nsleep 60 &\necho $! > child\n"})
	r.Grace = 50 * time.Millisecond
	if err := r.Run(t.Context(), "post-deploy", Details{}); err != nil {
		t.Fatal(err)
	}
	if got := rec.messages(report.Warning); len(got) != 1 || !strings.Contains(got[0], "left a process") {
		t.Errorf("got warnings %q", got)
	}
	data, _ := os.ReadFile(filepath.Join(r.Dirs[0], "child"))
	if pid := atoi(string(data)); pid > 1 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func atoi(s string) int {
	n := 0
	for _, c := range strings.TrimSpace(s) {
		n = n*10 + int(c-'0')
	}
	return n
}

func TestServiceVersion_ShortensOnlyPlainCommits(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"0123456789012345678901234567890123456789": "shop@0123456",
		"0123456_uncommitted_89abcdef":             "shop@0123456_uncommitted_89abcdef",
		"v1.10.12":                                 "shop@v1.10.12",
	} {
		if got := ServiceVersion("shop", version); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestNames_HaveEachHookOnce(t *testing.T) {
	t.Parallel()
	names := Names("build", "push", "boot")
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] {
			t.Errorf("%s comes twice", name)
		}
		seen[name] = true
	}
	for _, want := range []string{"pre-connect", "pre-build", "post-build", "pre-push", "post-push", "pre-boot", "on-failure"} {
		if !seen[want] {
			t.Errorf("%s is missing", want)
		}
	}
}

var update = flag.Bool("update", false, "rewrite the tables of docs/hooks.md")

func TestDocs_HaveTheTablesOfTheCode(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "hooks.md")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for mark, want := range map[string]string{"variables": table(), "hooks": hookTable()} {
		begin, end := "<!-- "+mark+": begin -->\n", "<!-- "+mark+": end -->"
		before, rest, ok := strings.Cut(text, begin)
		got, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no marks for %s", path, mark)
		}
		if got != want && !*update {
			t.Errorf("%s: the table of %s is stale; run go test ./internal/hook -update", path, mark)
		}
		text = before + begin + want + end + after
	}
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
