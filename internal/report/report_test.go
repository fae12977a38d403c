package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s\n(go test -update rewrites it)", name, got, want)
	}
}

// story is a deploy in which one host fails, with nasty text on the way.
func story() []Event {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	tick := func(ms int, e Event) Event {
		at = at.Add(time.Duration(ms) * time.Millisecond)
		e.Time = at
		return e
	}
	return []Event{
		tick(0, Event{Kind: HookStarted, Message: "pre-deploy"}),
		tick(50, Event{Kind: Output, Message: "commit status: \x1b[32msuccess\x1b[0m\n::error::not a command"}),
		tick(50, Event{Kind: HookFinished, Message: "pre-deploy", Status: "ok", Duration: 100 * time.Millisecond}),
		tick(10, Event{Kind: StageStarted, Stage: "push"}),
		tick(10, Event{Kind: Progress, Stage: "push", Message: "upload", Done: 1e6, Total: 45.6e6}),
		tick(12e3, Event{Kind: Progress, Stage: "push", Message: "upload", Done: 12.3e6, Total: 45.6e6}),
		tick(10, Event{Kind: TargetChanged, Stage: "push", Message: "pushed registry:5000/shop:abc1234"}),
		tick(10, Event{Kind: StageFinished, Stage: "push", Status: "ok", Duration: 12400 * time.Millisecond}),
		tick(0, Event{Kind: StageStarted, Stage: "boot"}),
		tick(100, Event{Kind: TargetChanged, Stage: "boot", Host: "vm1", Role: "web", Message: "created container shop-web-abc1234"}),
		tick(100, Event{Kind: TargetChanged, Stage: "boot", Host: "vm1", Role: "web", Message: "started container shop-web-abc1234"}),
		tick(10, Event{Kind: TargetChanged, Stage: "boot", Host: "vm3", Role: "worker", Message: "created container shop-worker-abc1234, waits for the barrier"}),
		tick(10, Event{Kind: Warning, Stage: "boot", Message: "engine 20.10 is old", Hints: []string{"Docker 24 or newer starts health checks faster"}}),
		tick(300, Event{Kind: TargetFailed, Stage: "boot", Host: "vm2", Role: "web", Message: "container exited with status 1, 100% sure: a, b",
			Detail: []string{"panic: no database\r\n\tmain.go:12 ##[error]fake", "exit code 1, not OOM"}}),
		tick(0, Event{Kind: TargetHalted, Stage: "boot", Host: "vm3", Role: "worker", Message: "halted at the barrier"}),
		tick(10, Event{Kind: StageFinished, Stage: "boot", Status: "partial", Duration: 530 * time.Millisecond, Message: "1 of 3 targets failed"}),
		tick(0, Event{Kind: Failure, Stage: "boot", Message: "boot: 1 of 3 targets failed\nweb on vm2: container exited with status 1",
			Hints: []string{"run `kstep boot` again; it goes on with what is left"}}),
		tick(0, Event{Kind: Finished, Result: &Result{Status: "partial", ExitCode: 12, Service: "shop", Destination: "staging",
			Release: "01M7W6C380V1Q90YMKMFK4EGHJ", Version: "abc1234", Image: "registry:5000/shop@sha256:12",
			StatePath: "kstep-state/boot.json", Hosts: []string{"vm1", "vm2", "vm3"}, Changed: true}}),
	}
}

func emitAll(t *testing.T, s Sink, events []Event) {
	t.Helper()
	for _, e := range events {
		s.Emit(e)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSinks_TellTheStoryOfADeploy(t *testing.T) {
	for name, sink := range map[string]func(*bytes.Buffer) Sink{
		"text.golden":         func(b *bytes.Buffer) Sink { return NewText(b) },
		"github.golden":       func(b *bytes.Buffer) Sink { return NewGitHub(b) },
		"gitlab.golden":       func(b *bytes.Buffer) Sink { return NewGitLab(b, false) },
		"json.golden":         func(b *bytes.Buffer) Sink { return NewJSON(b) },
		"terminal.golden":     func(b *bytes.Buffer) Sink { return NewTerminal(b, 60, 24, false) },
		"terminal-col.golden": func(b *bytes.Buffer) Sink { return NewTerminal(b, 100, 24, true) },
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			emitAll(t, sink(&out), story())
			golden(t, name, out.String())
		})
	}
}

func TestNew_WritesTheFilesOfEachCI(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{
		"GITHUB_OUTPUT":       filepath.Join(dir, "output"),
		"GITHUB_STEP_SUMMARY": filepath.Join(dir, "summary.md"),
	}
	sink := New(Options{
		CI: "github", Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{},
		Env:    func(k string) string { return env[k] },
		Dotenv: filepath.Join(dir, "kstep.env"), JUnit: filepath.Join(dir, "junit.xml"),
		Redact: func(s string) string { return strings.ReplaceAll(s, "database", "[REDACTED]") },
	})
	emitAll(t, sink, story())
	for name, path := range map[string]string{
		"github-output.golden": "output", "github-summary.golden": "summary.md",
		"dotenv.golden": "kstep.env", "junit.golden": "junit.xml",
	} {
		data, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("database")) {
			t.Errorf("%s: not redacted", path)
		}
		golden(t, name, string(data))
	}
	data, _ := os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err := xml.Unmarshal(data, new(struct{ XMLName xml.Name })); err != nil {
		t.Errorf("JUnit: %v", err)
	}
}

func TestNew_ChoosesTheSink(t *testing.T) {
	for name, tc := range map[string]struct {
		opt  Options
		env  map[string]string
		want string
	}{
		"nothing known":       {Options{}, nil, "*report.Text"},
		"a terminal":          {Options{TTY: true, Width: 80, Height: 24}, nil, "*report.Terminal"},
		"a dumb terminal":     {Options{TTY: true}, map[string]string{"TERM": "dumb"}, "*report.Text"},
		"GitHub":              {Options{CI: "github"}, nil, "*report.GitHub"},
		"GitLab":              {Options{CI: "gitlab"}, nil, "*report.GitLab"},
		"JSON on a terminal":  {Options{Format: "json", TTY: true}, nil, "*report.JSON"},
		"JSON inside of a CI": {Options{Format: "json", CI: "gitlab"}, nil, "*report.JSON"},
	} {
		tc.opt.Env = func(k string) string { return tc.env[k] }
		if got := typeName(log(tc.opt)); got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}

func typeName(s Sink) string {
	switch s.(type) {
	case *Text:
		return "*report.Text"
	case *Terminal:
		return "*report.Terminal"
	case *GitHub:
		return "*report.GitHub"
	case *GitLab:
		return "*report.GitLab"
	case *JSON:
		return "*report.JSON"
	}
	return "?"
}

func TestTerminal_NoColorMeansNoColorCodes(t *testing.T) {
	var out bytes.Buffer
	s := log(Options{TTY: true, Width: 80, Height: 24, Stderr: &out, Env: func(k string) string {
		return map[string]string{"NO_COLOR": "1"}[k]
	}})
	emitAll(t, s, story())
	if regexp.MustCompile(`\x1b\[[0-9;]*m`).MatchString(out.String()) {
		t.Errorf("got colours: %q", out.String())
	}
}

func TestTerminal_NeverDrawsWiderThanTheScreenOrLongerThanIt(t *testing.T) {
	var out bytes.Buffer
	s := NewTerminal(&out, 40, 10, false)
	s.Emit(Event{Kind: StageStarted, Stage: "boot"})
	for i := range 30 {
		s.Emit(Event{Kind: TargetChanged, Stage: "boot", Host: "host-" + string(rune('a'+i%26)) + strings.Repeat("x", i/26), Role: "web", Message: strings.Repeat("ü long ", 20)})
	}
	for line := range strings.Lines(stripEscapes(out.String())) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 39 {
			t.Fatalf("got a line of %d columns: %q", n, line)
		}
	}
	if s.drawn > 7 {
		t.Errorf("got %d live lines, want at most 7", s.drawn)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(stripEscapes(out.String()), "[host-z web]"); got == 0 {
		t.Error("the last host is missing from what stays on the screen")
	}
}

func TestJSON_IsAHeaderAndOneObjectALine(t *testing.T) {
	var out bytes.Buffer
	j := NewJSON(&out)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for _, e := range story() {
				j.Emit(e)
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(out.Bytes()) {
		var v map[string]any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("line %d: %v: %s", n, err, line)
		}
		if n == 0 && (v["type"] != "kstep-events" || v["version"] != float64(1)) {
			t.Errorf("header: got %v", v)
		}
		n++
	}
	if want := 1 + 20*len(story()); n != want {
		t.Errorf("got %d lines, want %d", n, want)
	}
}

func TestGitHub_LetsNobodyElseGiveCommands(t *testing.T) {
	for _, kind := range []Kind{Output, Notice, TargetChanged, Warning} {
		for _, text := range []string{"::set-output name=x::y", "  ::add-mask::a", "x\r::error::y", "a ##[error]b", "\x1b[0m::error::z"} {
			var out bytes.Buffer
			emitAll(t, NewGitHub(&out), []Event{{Kind: kind, Message: text}})
			for line := range strings.Lines(out.String()) {
				if kind == Warning && strings.HasPrefix(line, "::warning title=kstep::") && strings.Count(line, "\n") == 1 {
					continue
				}
				if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") {
					t.Errorf("%s %q: got the command %q", kind, text, line)
				}
			}
		}
	}
}

func TestGitHub_LimitsAnnotations(t *testing.T) {
	var out bytes.Buffer
	g := NewGitHub(&out)
	g.Emit(Event{Kind: StageStarted, Stage: "boot"})
	for i := range 15 {
		g.Emit(Event{Kind: TargetFailed, Stage: "boot", Host: "vm" + string(rune('a'+i)), Message: strings.Repeat("é", 9000)})
	}
	g.Emit(Event{Kind: StageFinished, Stage: "boot", Status: "failed"})
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "::error "); got != 10 {
		t.Errorf("got %d annotations, want 10", got)
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "::error") && len(line) > 4096 {
			t.Errorf("got an annotation of %d bytes", len(line))
		}
	}
}

func TestMask_EscapesAndSkipsShortLines(t *testing.T) {
	var out bytes.Buffer
	if err := Mask(&out, "100%secret\r\nab\nsecond line\n", "xyz"); err != nil {
		t.Fatal(err)
	}
	if want := "::add-mask::100%25secret\n::add-mask::second line\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestFailure_NamesFileLineAndColumnOnce(t *testing.T) {
	for message, want := range map[string]string{
		"servers: is missing":                 "error: kstep.yml:3:5: servers: is missing\n",
		"kstep.yml:3:5: servers: is missing":  "error: kstep.yml:3:5: servers: is missing\n",
		"kstep.yml:3:5: one\nkstep.yml:9: tw": "error: kstep.yml:3:5: one\n       kstep.yml:9: tw\n",
	} {
		var out bytes.Buffer
		emitAll(t, NewText(&out), []Event{{Kind: Failure, Message: message, File: "kstep.yml", Line: 3, Column: 5}})
		if out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
	}
}

func TestClean_RemovesWhatALogMustNotObey(t *testing.T) {
	for in, want := range map[string]string{
		"a\x1b[2Jb\x1b]0;title\x07c\x1b(Bd": "abcd",
		"one\rtwo\r\nthree\n\n":             "one|two|three",
		"tab\there\x00\x08":                 "tab here",
		"\x1b[":                             "",
		"x\u202egnp.exe":                    "xgnp.exe",
	} {
		if got := strings.Join(clean(in), "|"); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("pipe closed") }

func TestClose_ReportsThatWritingFailed(t *testing.T) {
	for _, s := range []Sink{NewText(brokenWriter{}), NewJSON(brokenWriter{}), NewGitHub(brokenWriter{}),
		NewGitLab(brokenWriter{}, false), NewTerminal(brokenWriter{}, 80, 24, false)} {
		s.Emit(Event{Kind: Notice, Message: "x"})
		if err := s.Close(); err == nil || !strings.Contains(err.Error(), "pipe closed") {
			t.Errorf("%T: got %v", s, err)
		}
	}
	env := func(string) string { return "/nonexistent/dir/file" }
	s := New(Options{CI: "github", Stderr: &bytes.Buffer{}, Env: env})
	s.Emit(Event{Kind: Finished, Result: &Result{}})
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "GITHUB_OUTPUT") {
		t.Errorf("outputs: got %v", err)
	}
}
