package timeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/state"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing them")

// pipeline are the stages of cmd/kstep.
func pipeline() []string {
	return []string{"build", "push", "assets", "env-push", "boot", "barrier-wait", "cutover", "prune"}
}

// recorded are the state files of real runs, by scenario. The tests of
// `kstep report` in cmd/kstep write them, with -update.
func recorded(t *testing.T) map[string]Timeline {
	t.Helper()
	dirs, err := filepath.Glob("testdata/state/*")
	if err != nil || len(dirs) < 7 {
		t.Fatalf("%d scenarios (%v)", len(dirs), err)
	}
	all := map[string]Timeline{}
	for _, path := range dirs {
		dir, err := state.Open(path, state.Options{})
		if err != nil {
			t.Fatal(err)
		}
		found, ok := Of(dir.Inspect(), Options{Stages: pipeline()})
		if !ok {
			t.Fatalf("%s has no timeline", path)
		}
		all[filepath.Base(path)] = found
	}
	return all
}

func formats() map[string]func(io.Writer, Timeline) error {
	return map[string]func(io.Writer, Timeline) error{"txt": Text, "md": Markdown, "html": HTML}
}

func rendered(t *testing.T, format string, found Timeline) string {
	t.Helper()
	var b bytes.Buffer
	if err := formats()[format](&b, found); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFormats_OfRealRunsAreTheGoldenOnes(t *testing.T) {
	t.Parallel()
	for scenario, found := range recorded(t) {
		for _, format := range []string{"txt", "md"} {
			got, golden := rendered(t, format, found), filepath.Join("testdata", "golden", scenario+"."+format)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("%s: got\n%s\nwant (%v)\n%s", golden, got, err, want)
			}
		}
	}
}

func TestText_Fits80Columns(t *testing.T) {
	t.Parallel()
	all := recorded(t)
	all["hostile"] = hostile(t)
	for scenario, found := range all {
		for line := range strings.Lines(rendered(t, "txt", found)) {
			line = strings.TrimSuffix(line, "\n")
			if utf8.RuneCountInString(line) > columns && !strings.Contains(line, "https://") {
				t.Errorf("%s: %d columns: %s", scenario, utf8.RuneCountInString(line), line)
			}
		}
	}
}

// base is when the made-up releases begin.
var base = time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return base.Add(time.Duration(seconds * float64(time.Second))) }

const release = "01KB2A0000000000000000000A"

// file makes a state file that ran for a second, with a target on each host.
func file(stage string, second float64, outputs any, hosts ...string) *state.File {
	f := &state.File{
		Release: release, Service: "shop", Version: "v2", Stage: stage, Status: state.OK,
		Tool: state.Tool{Name: "kstep", Version: "1.0.0"}, Started: at(second), Finished: at(second + 1),
	}
	for _, h := range hosts {
		f.Targets = append(f.Targets, state.Target{Host: h, Role: "web", Status: state.OK, Started: f.Started, Finished: f.Finished})
	}
	if outputs != nil {
		f.Outputs, _ = json.Marshal(outputs)
	}
	return f
}

func booted(hosts ...string) *state.File {
	out := state.BootOutputs{Targets: map[string]state.BootTarget{}}
	for _, h := range hosts {
		out.Targets["web@"+h] = state.BootTarget{Old: true, Before: "v1"}
	}
	return file("boot", 1, out, hosts...)
}

func moved(done ...string) *state.File {
	out := state.CutoverOutputs{Targets: map[string]state.CutoverTarget{}}
	for _, h := range done {
		out.Targets["web@"+h] = state.CutoverTarget{Done: true, Switched: at(3.5)}
	}
	return file("cutover", 3, out, done...)
}

// failing makes a stage fail on a host.
func failing(f *state.File, status state.Status, code exit.Code, host string) *state.File {
	f.Status, f.ExitCode, f.Reason = status, int(code), "web@"+host+": it broke"
	f.Targets = append(f.Targets, state.Target{
		Host: host, Role: "web", Status: state.Failed, Started: f.Started, Finished: f.Finished,
		Error: &state.Error{Class: code.Class(), Message: "it broke"},
	})
	return f
}

func entries(files ...*state.File) []state.Entry {
	var all []state.Entry
	for _, f := range files {
		all = append(all, state.Entry{Name: state.FileName(f.Stage, f.Shard), File: f})
	}
	return all
}

func TestOf_SaysHowTheReleaseStandsAndWhatIsNext(t *testing.T) {
	t.Parallel()
	first := file("boot", 1, state.BootOutputs{Targets: map[string]state.BootTarget{"web@a": {}}}, "a")
	unknown := file("boot", 1, state.BootOutputs{Targets: map[string]state.BootTarget{"web@a": {Old: true}}}, "a")
	pruned := file("prune", 5, state.PruneOutputs{Hosts: map[string]state.Pruned{"a": {Previous: "v0"}}}, "a")
	badPrune := file("prune", 5, nil, "a")
	badPrune.Status = state.Failed
	undone := file("abort", 5, state.AbortOutputs{Targets: map[string]state.AbortTarget{"web@a": {Done: true}}}, "a")
	stopped := file("barrier-wait", 2, nil, "a")
	stopped.Status, stopped.ExitCode = state.Interrupted, int(exit.Interrupted)
	destination := moved("a")
	destination.Destination = "eu west"
	for name, c := range map[string]struct {
		files    []*state.File
		outcome  Outcome
		sentence string
		commands string
	}{
		"all":              {[]*state.File{booted("a", "b"), moved("a", "b"), pruned}, Serves, "shop v2 is live on both targets in place of v1.", "kstep rollback v1"},
		"first":            {[]*state.File{first, moved("a"), file("prune", 5, nil)}, Serves, "shop v2 is live on its only target as the first version.", ""},
		"older kstep":      {[]*state.File{unknown, moved("a"), pruned}, Serves, "shop v2 is live on its only target.", "kstep rollback v0"},
		"prune left":       {[]*state.File{booted("a"), moved("a")}, Serves, "shop v2 is live on its only target in place of v1.", "kstep prune, kstep rollback v1"},
		"prune failed":     {[]*state.File{booted("a"), moved("a"), badPrune}, Serves, "shop v2 is live on its only target in place of v1; prune ended failed.", "kstep prune, kstep rollback v1"},
		"in part":          {[]*state.File{booted("a", "b"), failing(moved("a"), state.Partial, exit.Partial, "b")}, InPart, "shop v2 is live on 1 of 2 targets; b web still serves v1.", "kstep cutover, kstep abort"},
		"moved back":       {[]*state.File{booted("a"), failing(moved(), state.Failed, exit.RolledBack, "a")}, Failed, "shop v2 is not live: cutover failed and moved the traffic back; v1 keeps serving.", "kstep cutover, kstep abort"},
		"boot failed":      {[]*state.File{failing(booted("a", "b"), state.Partial, exit.Failed, "c")}, Failed, "shop v2 is not live: boot failed on c web; v1 keeps serving.", "kstep boot, kstep abort"},
		"barrier closed":   {[]*state.File{booted("a"), failing(file("barrier-wait", 2, nil), state.Failed, exit.BarrierClosed, "a")}, Failed, "shop v2 is not live: barrier-wait failed on a web; v1 keeps serving.", "kstep boot, kstep abort"},
		"interrupted":      {[]*state.File{booted("a"), stopped}, Interrupted, "shop v2 is not live: barrier-wait was interrupted; v1 keeps serving.", "kstep barrier-wait, kstep abort"},
		"under way":        {[]*state.File{file("push", 0, nil)}, UnderWay, "shop v2 is not live yet: push is done, assets is next; what served before keeps serving.", "kstep assets, kstep abort"},
		"aborted":          {[]*state.File{booted("a"), stopped, undone}, Aborted, "shop v2 was aborted; v1 serves.", ""},
		"aborted after it": {[]*state.File{booted("a"), moved("a"), undone}, Aborted, "shop v2 was aborted; v1 serves.", ""},
		"cutover missing":  {[]*state.File{booted("a"), pruned}, Unknown, "shop v2 was deployed as far as prune, which ended ok; the file of cutover is missing, so it is not known where it is live.", ""},
		"destination":      {[]*state.File{destination}, Serves, "shop v2 to eu west is live on its only target.", "kstep prune -d 'eu west'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := Of(entries(c.files...), Options{Stages: pipeline()})
			var lines []string
			for _, one := range got.Commands {
				lines = append(lines, one.Line)
			}
			if !ok || got.Outcome != c.outcome || got.Sentence != c.sentence || strings.Join(lines, ", ") != c.commands {
				t.Errorf("got %s, %q, %q", got.Outcome, got.Sentence, lines)
			}
		})
	}
}

func TestOf_LeavesOutWhatBelongsToOthersAndSaysSo(t *testing.T) {
	t.Parallel()
	older, other := file("push", 0, nil), file("assets", 0, nil)
	older.Release = "01KB2A00000000000000000009"
	other.Service = "blog"
	all := append(entries(older, other, booted("a")),
		state.Entry{Name: "cutover.json", Err: errors.New("/ci/kstep-state/cutover.json ends in the middle\nmore")},
		state.Entry{Name: "env-push.json", File: file("env-push", 0, nil), Err: errors.New("env-push.json was changed")})
	got, ok := Of(all, Options{Stages: pipeline(), Service: "shop"})
	if !ok || len(got.Stages) != 2 {
		t.Fatalf("got %d stages", len(got.Stages))
	}
	want := []string{
		"assets.json is of another service or destination: it is left out",
		"cutover.json cannot be read: cutover.json ends in the middle",
		"kstep would not use this file: env-push.json was changed",
		"1 file of other releases left out",
		"not in the folder: the files of push and assets; what they recorded is not shown",
	}
	if !slices.Equal(got.Notes, want) {
		t.Errorf("got notes\n%s", strings.Join(got.Notes, "\n"))
	}
	if got, ok = Of(all, Options{Stages: pipeline(), Release: older.Release}); !ok || len(got.Stages) != 1 || got.Stages[0].Name != "push" {
		t.Errorf("of the older release: %v", got.Stages)
	}
	if _, ok = Of(all, Options{Release: "none"}); ok {
		t.Error("there is a timeline of a release without files")
	}
}

func TestOf_UnitesShards(t *testing.T) {
	t.Parallel()
	a, b := file("boot", 1, state.BootOutputs{Targets: map[string]state.BootTarget{"web@a": {Before: "v1"}}}, "a"), booted("b")
	a.Shard, b.Shard = "a", "b"
	failing(b, state.Partial, exit.Failed, "c")
	got, _ := Of(entries(a, b), Options{Stages: pipeline()})
	if len(got.Stages) != 1 || len(got.Stages[0].Targets) != 3 || got.Stages[0].Status != state.Partial || len(got.Failures) != 1 {
		t.Errorf("got %+v", got.Stages)
	}
}

func TestOf_ClocksThatCannotBe(t *testing.T) {
	t.Parallel()
	back, far, before := booted("a"), moved("a"), file("barrier-wait", -4000, nil, "a")
	back.Finished = at(-100)
	far.Started, far.Finished = time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	before.Inputs = []state.Input{{Stage: "boot"}}
	far.Targets[0].Started, far.Targets[0].Finished = time.Time{}, at(9)
	got, _ := Of(entries(back, before, far), Options{Stages: pipeline()})
	for _, want := range []string{"boot ended before it began", "barrier-wait began before boot had ended"} {
		if !strings.Contains(strings.Join(got.Notes, "\n"), want) {
			t.Errorf("no note that %s:\n%s", want, strings.Join(got.Notes, "\n"))
		}
	}
	check := func(bar Bar) {
		if bar.Left < 0 || bar.Width < 0 || bar.Left+bar.Width > 100.001 {
			t.Errorf("bar %+v is outside of the axis", bar)
		}
	}
	for _, s := range got.Stages {
		check(s.Bar)
		for _, one := range s.Targets {
			check(one.Bar)
		}
	}
	if !strings.HasPrefix(got.Took, "2912") || len(got.Axis.Folds) != 2 {
		t.Errorf("took %s with %d pauses", got.Took, len(got.Axis.Folds))
	}
	for format := range formats() {
		rendered(t, format, got)
	}
}

func TestAxis_FoldsPausesAndKeepsTheRestToScale(t *testing.T) {
	t.Parallel()
	a := newAxis([]span{{from: at(0), to: at(10)}, {from: at(10.5), to: at(20)}, {from: at(7220), to: at(7230)}, {from: at(5), to: at(6)}})
	if len(a.Folds) != 1 || a.Folds[0].Took != "2 h 00 min" || a.Folds[0].Width != foldWidth {
		t.Errorf("got folds %+v", a.Folds)
	}
	first, second := a.bar(at(0), at(10)), a.bar(at(7220), at(7230))
	if diff := first.Width - second.Width; diff > 0.01 || diff < -0.01 || second.Left+second.Width < 99.99 {
		t.Errorf("ten seconds are %.2f %% and %.2f %% wide", first.Width, second.Width)
	}
	for i, tick := range a.Ticks {
		if i > 0 && tick.Pos < a.Ticks[i-1].Pos+clockGap || !regexp.MustCompile(`^\d\d:\d\d:\d\d$`).MatchString(tick.Label) {
			t.Errorf("tick %d: %+v", i, tick)
		}
	}
	if got := newAxis([]span{{from: at(0), to: at(0)}}); len(got.Ticks) != 1 || got.bar(at(0), at(0)) != (Bar{0, 0}) {
		t.Errorf("an instant: %+v", got)
	}
	var labels []string
	for _, tick := range newAxis([]span{{from: at(0), to: at(300)}}).Ticks {
		labels = append(labels, tick.Label)
	}
	if got := strings.Join(labels, ", "); got != "0 s, 1 min, 2 min, 3 min, 4 min" {
		t.Errorf("got labels %s", got)
	}
}

func TestTook_IsForPeople(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[float64]string{
		-1: "0 ms", 0: "0 ms", 0.0004: "0 ms", 0.9996: "1.0 s", 12.34: "12.3 s", 59.96: "1 min 00 s", 3599.6: "1 h 00 min",
		7265: "2 h 01 min", 90000: "1 d 1 h", 1e300: "11574074074 d 1 h",
	} {
		if got := took(seconds); got != want {
			t.Errorf("%v: got %s, want %s", seconds, got, want)
		}
	}
}

func TestActors_LinkToTheJobOfEachStage(t *testing.T) {
	t.Parallel()
	boot, cutover := booted("a"), moved("a")
	boot.Actor = state.Actor{CI: "gitlab", User: "ada", RunURL: "https://gitlab.com/acme/shop/-/jobs/1", Run: "https://gitlab.com/acme/shop/-/pipelines/9"}
	cutover.Actor = state.Actor{CI: "gitlab", User: "bob", RunURL: "https://gitlab.com/acme/shop/-/jobs/2", Run: boot.Actor.Run}
	got, _ := Of(entries(boot, cutover), Options{Stages: pipeline()})
	page := rendered(t, "html", got)
	for _, want := range []string{
		`<dd>ada (boot), <a href="https://gitlab.com/acme/shop/-/pipelines/9" rel="noopener noreferrer">GitLab CI</a></dd>`,
		`<dd>bob (cutover), <a href=`, `<a href="https://gitlab.com/acme/shop/-/jobs/2" rel="noopener noreferrer">cutover</a>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
}

// hostile is a release in which every text that a state file can hold tries to get
// out of its place.
func hostile(t *testing.T) Timeline {
	t.Helper()
	text := "</script></style></pre><img src=x onerror=alert(1)>\x1b[2J\x1b]0;own\x07\u202e`'\"|&amp; [a](https://evil.example/) ![i](https://evil.example/i.png)" +
		"\n::error::stop\r\n##[group]x\n# head\n@acme/all $x$ www.evil.example :+1: ```\n" + strings.Repeat("w", 5000) + strings.Repeat("é", 700)
	f := booted("a")
	f.Service, f.Destination, f.Version, f.Release = text, text, text, text
	f.Status, f.Reason = state.Failed, text
	f.Source = state.Source{Commit: text, Subject: text, Dirty: true}
	f.Actor = state.Actor{CI: text, User: text, Run: "javascript:alert(1)", RunURL: "https://evil.example/\"><script>"}
	f.Tool = state.Tool{Name: text, Version: text}
	f.Targets = []state.Target{{
		Host: text, Role: text, Status: state.Status(text), Changed: slices.Repeat([]string{text}, 100), Started: f.Started, Finished: f.Finished,
		Error: &state.Error{Class: text, Message: text, Detail: slices.Repeat([]string{text, "```", "~~~", "</details>"}, 100)},
	}}
	huge := 1<<62 - 1
	cutover := file("cutover", 3, state.CutoverOutputs{Targets: map[string]state.CutoverTarget{state.Key(text, text): {
		Switched: at(1e9), Probe: &state.Probe{Requests: huge, Failed: huge, SlowestMs: int64(huge), FirstFail: text}, Drain: &state.Drain{WaitedMs: int64(huge), Cut: huge},
	}}}, text)
	cutover.Targets[0].Role = text
	wait := file("barrier-wait", 2, state.BarrierWaitOutputs{
		Verdict: state.Verdict{Ready: huge, Total: huge, Needed: -huge},
		Targets: map[string]state.BarrierTarget{state.Key(text, text): {Ready: true, How: text, Took: int64(huge), Restarts: map[string]int{text: huge}}},
	}, text)
	wait.Targets[0].Role = text
	strange := file(text, 9, nil, text)
	for _, other := range []*state.File{cutover, wait, strange} {
		other.Service, other.Destination, other.Version, other.Release = f.Service, f.Destination, f.Version, f.Release
	}
	all := append(entries(f, wait, cutover, strange), state.Entry{Name: text, Err: errors.New(text)})
	found, ok := Of(all, Options{Stages: pipeline()})
	if !ok {
		t.Fatal("no timeline")
	}
	return found
}

func TestFormats_OfHostileFilesAreHarmless(t *testing.T) {
	t.Parallel()
	found := hostile(t)
	for format := range formats() {
		got := rendered(t, format, found)
		if at := strings.IndexFunc(got, func(r rune) bool {
			return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e
		}); at >= 0 {
			t.Errorf("%s has the control character %q", format, got[at:at+3])
		}
		if len(got) > 200<<10 {
			t.Errorf("%s has %d bytes", format, len(got))
		}
	}
	page := rendered(t, "html", found)
	for _, bad := range []string{"<script", "<img", "</script", "onerror=alert(1)>", "javascript:", `href="https://evil`, "ZgotmplZ"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	if n := strings.Count(page, "</style>"); n != 1 {
		t.Errorf("the page ends its style %d times", n)
	}
	inside := false
	for line := range strings.Lines(rendered(t, "md", found)) {
		if fence := regexp.MustCompile("^````+").FindString(line); fence != "" {
			inside = !inside
		}
		if inside {
			continue
		}
		line = regexp.MustCompile("``.*``").ReplaceAllString(line, "code")
		for _, bad := range []string{"<img", "](https://evil", "![i](", " @acme", "www.evil", " https://evil", "(https://evil"} {
			if strings.Contains(line, bad) {
				t.Errorf("the Markdown has %q in %.200s", bad, line)
			}
		}
		if strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "|") && strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") != 5 {
			t.Errorf("the Markdown has a heading or a cell of others: %.200s", line)
		}
	}
}

func TestFormats_OfAFileWithAnyNumberOfTargetsStaySmall(t *testing.T) {
	t.Parallel()
	f := booted()
	for i := range 20000 {
		failing(f, state.Partial, exit.Failed, fmt.Sprintf("host%d", i))
	}
	found, _ := Of(entries(f), Options{Stages: pipeline()})
	if !slices.Contains(found.Stages[0].Facts, "19000 targets more") || len(found.Failures) != mostFailed {
		t.Errorf("got %q and %d failures", found.Stages[0].Facts, len(found.Failures))
	}
	for format := range formats() {
		if got := len(rendered(t, format, found)); got > 3<<20 {
			t.Errorf("%s has %d bytes", format, got)
		}
	}
}

func TestHTML_RefersToNothingOutside(t *testing.T) {
	t.Parallel()
	for scenario, found := range recorded(t) {
		page := rendered(t, "html", found)
		for _, bad := range []string{"<script", "<link", "<img", "<iframe", " src=", "url(", "@import", " style=", "srcset", "<base", "<form"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the page has %s", scenario, bad)
			}
		}
		for _, link := range regexp.MustCompile(`[a-z]+="?https?://[^"]*`).FindAllString(page, -1) {
			if link != `href="https://github.com/acme/shop/actions/runs/4711` && link != `href="https://github.com/acme/shop/actions/runs/4712` {
				t.Errorf("%s: the page refers to %s", scenario, link)
			}
		}
		policy := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; style-src &#39;sha256-[^;]+&#39;; base-uri`)
		if !policy.MatchString(page) {
			t.Errorf("%s: the page has no content security policy:\n%.400s", scenario, page)
		}
		if want := fmt.Sprintf("<title>%s: ", found.Title()); !strings.Contains(page, want) {
			t.Errorf("%s: the page has no %s", scenario, want)
		}
	}
}

func TestWord_QuotesWhatAShellWouldTakeApart(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"v1.2": "v1.2", "eu west": "'eu west'", "a'b": `'a'\''b'`, "$(x)": "'$(x)'", "-x": "'-x'", "": "''"} {
		if got := word(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
