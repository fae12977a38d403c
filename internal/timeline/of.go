package timeline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
)

// Options say which files count.
type Options struct {
	// Stages are those of the pipeline, in order.
	Stages []string
	// Service and Destination are those of the configuration. An empty Service
	// accepts all files.
	Service, Destination string
	// Release is the wanted release; empty means the newest one.
	Release string
}

// Of makes the timeline of a release from the entries of a state folder, of which
// some may be unreadable, missing, changed, or of other releases. ok is false if
// none belongs to the release.
func Of(entries []state.Entry, opt Options) (t Timeline, ok bool) {
	var b builder
	b.opt = opt
	files := b.choose(entries)
	if len(files) == 0 {
		return Timeline{Notes: b.t.Notes}, false
	}
	b.set = state.United(files)
	b.order(files)
	b.decode()
	b.describe(files)
	b.clocks()
	b.axis()
	for _, f := range b.files {
		b.t.Stages = append(b.t.Stages, b.stage(f))
	}
	b.traffic()
	b.failures()
	b.conclude()
	return b.t, true
}

// builder collects a timeline.
type builder struct {
	opt   Options
	set   state.Set
	files []*state.File // One for each stage, in the order of the pipeline.
	t     Timeline

	boot    state.BootOutputs
	barrier state.BarrierWaitOutputs
	cutover state.CutoverOutputs
	prune   state.PruneOutputs
	abort   state.AbortOutputs
	push    state.PushOutputs
}

func (b *builder) note(format string, args ...any) {
	if len(b.t.Notes) == mostNotes {
		return
	}
	b.t.Notes = append(b.t.Notes, message(fmt.Sprintf(format, args...)))
}

// choose returns the files of the release, and notes what is left out.
func (b *builder) choose(entries []state.Entry) []*state.File {
	release := b.opt.Release
	var own []state.Entry
	for _, e := range entries {
		switch f := e.File; {
		case f == nil:
			b.note("%s cannot be read: %s", e.Name, reason(e.Err))
		case b.opt.Service != "" && (f.Service != b.opt.Service || f.Destination != b.opt.Destination):
			b.note("%s is of another service or destination: it is left out", e.Name)
		case f.Shard != "" && state.Whole(f.Stage):
			b.note("%s is left out: %s has one file only", e.Name, f.Stage)
		default:
			own = append(own, e)
			if b.opt.Release == "" {
				release = max(release, f.Release)
			}
		}
	}
	var files []*state.File
	older := 0
	for _, e := range own {
		if e.File.Release != release {
			older++
			continue
		}
		if e.Err != nil {
			b.note("kstep would not use this file: %s", reason(e.Err))
		}
		files = append(files, e.File)
	}
	if older > 0 {
		b.note("%s of other releases left out", counted(older, "file"))
	}
	return files
}

// reason is an error without the folder's path in front, which is no news.
func reason(err error) string {
	if err == nil {
		return "unknown"
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	if at := strings.LastIndex(text, "/"); at >= 0 && strings.HasPrefix(text, "/") && strings.Contains(text[at:], ".json ") {
		text = text[at+1:]
	}
	return text
}

// order sorts the stages: the pipeline's, then the others by the time they began.
func (b *builder) order(files []*state.File) {
	names := map[string]bool{}
	for _, f := range files {
		names[f.Stage] = true
	}
	for name := range names {
		b.files = append(b.files, b.set.File(name))
	}
	rank := func(f *state.File) int {
		if at := slices.Index(b.opt.Stages, f.Stage); at >= 0 {
			return at
		}
		return len(b.opt.Stages)
	}
	slices.SortFunc(b.files, func(x, y *state.File) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), x.Started.Compare(y.Started), cmp.Compare(x.Stage, y.Stage))
	})
}

// decode reads the outputs as far as they can be read.
func (b *builder) decode() {
	b.push, _ = state.Outputs[state.PushOutputs](b.set, "push")
	b.boot, _ = state.Outputs[state.BootOutputs](b.set, "boot")
	b.barrier, _ = state.Outputs[state.BarrierWaitOutputs](b.set, "barrier-wait")
	b.cutover, _ = state.Outputs[state.CutoverOutputs](b.set, "cutover")
	b.prune, _ = state.Outputs[state.PruneOutputs](b.set, "prune")
	b.abort, _ = state.Outputs[state.AbortOutputs](b.set, "abort")
}

// describe says what is deployed, by whom, and when.
func (b *builder) describe(files []*state.File) {
	t, first := &b.t, b.files[0]
	t.Service, t.Destination = name(first.Service), name(first.Destination)
	t.Release, t.Version = name(first.Release), whole(first.Version)
	t.GoesBack = b.push.GoesBack
	slices.SortStableFunc(files, func(x, y *state.File) int { return x.Started.Compare(y.Started) })
	for _, f := range files {
		if t.Commit == "" {
			t.Commit, t.Dirty = whole(f.Source.Commit), f.Source.Dirty
		}
		t.Subject = cmp.Or(t.Subject, message(f.Source.Subject))
		b.actor(f)
		tool := strings.TrimSpace(name(f.Tool.Name) + " " + name(f.Tool.Version))
		if !slices.Contains(t.Tools, tool) {
			t.Tools = append(t.Tools, tool)
		}
	}
	if len(t.Tools) > 1 {
		b.note("the stages ran with several versions: %s", listed(t.Tools))
	}
	old, nothing := false, len(b.boot.Targets) > 0
	for _, key := range slices.Sorted(maps.Keys(b.boot.Targets)) {
		one := b.boot.Targets[key]
		if v := name(one.Before); v != "" && !slices.Contains(t.Before, v) {
			t.Before = append(t.Before, v)
		}
		old = old || one.Old
	}
	slices.Sort(t.Before)
	t.First = nothing && !old && len(t.Before) == 0
}

// actor notes who ran a stage, each person and job once.
func (b *builder) actor(f *state.File) {
	one := Actor{
		User: name(f.Actor.User), CI: system(f.Actor),
		URL: cmp.Or(webAddress(f.Actor.Run), webAddress(f.Actor.RunURL)),
	}
	at := slices.IndexFunc(b.t.Actors, func(a Actor) bool { return a.User == one.User && a.CI == one.CI && a.URL == one.URL })
	if at < 0 && len(b.t.Actors) == mostActors {
		return
	}
	if at < 0 {
		b.t.Actors = append(b.t.Actors, one)
		at = len(b.t.Actors) - 1
	}
	if a := &b.t.Actors[at]; !slices.Contains(a.Stages, name(f.Stage)) {
		a.Stages = append(a.Stages, name(f.Stage))
	}
}

// system is a CI system by the name that people use.
func system(a state.Actor) string {
	switch a.CI {
	case "github":
		return "GitHub Actions"
	case "gitlab":
		return "GitLab CI"
	case "":
		if webAddress(a.RunURL) != "" {
			return "CI"
		}
	}
	return name(a.CI)
}

// clocks notes times that cannot be, and makes each stage end after its beginning.
func (b *builder) clocks() {
	for i, f := range b.files {
		own := *f
		if own.Finished.Before(own.Started) {
			b.note("%s ended before it began: the clock of its machine was set back", own.Stage)
			own.Finished = own.Started
		}
		b.files[i] = &own
	}
	for _, f := range b.files {
		for _, in := range f.Inputs {
			from := b.set.File(in.Stage)
			if from == nil || len(from.Supersedes) > 0 || !f.Started.Before(from.Finished.Add(-time.Second)) {
				continue
			}
			b.note("%s began before %s had ended: %s ran again later, or the clocks of the two machines differ", f.Stage, in.Stage, in.Stage)
			break
		}
	}
}

// axis makes the common time axis.
func (b *builder) axis() {
	t := &b.t
	t.Started, t.Finished = b.files[0].Started, b.files[0].Finished
	var spans []span
	for _, f := range b.files {
		spans = append(spans, span{from: f.Started, to: f.Finished})
		for _, one := range f.Targets {
			if !one.Finished.Before(one.Started) && !one.Started.IsZero() {
				spans = append(spans, span{from: one.Started, to: one.Finished})
			}
		}
	}
	for _, s := range spans {
		if s.from.Before(t.Started) {
			t.Started = s.from
		}
		if s.to.After(t.Finished) {
			t.Finished = s.to
		}
	}
	t.Axis = newAxis(spans)
	t.Took = took(between(t.Started, t.Finished))
	if len(t.Axis.Folds) > 0 {
		work := 0.0
		for _, s := range t.Axis.spans {
			work += between(s.from, s.to)
		}
		t.Worked = took(work)
	}
}

// stage is one stage with its targets.
func (b *builder) stage(f *state.File) Stage {
	s := Stage{
		Name: name(f.Stage), Status: known(f.Status), Started: f.Started,
		Bar: b.t.Axis.bar(f.Started, f.Finished), Took: took(between(f.Started, f.Finished)), Facts: b.stageFacts(f.Stage),
	}
	if !f.Status.Done() {
		s.Reason = message(f.Reason)
	}
	if own := webAddress(f.Actor.RunURL); own != "" && !slices.ContainsFunc(b.t.Actors, func(a Actor) bool { return a.URL == own }) {
		s.URL = own
	}
	for i, one := range f.Targets {
		if i == mostTargets {
			s.Facts = append(s.Facts, fmt.Sprintf("%s more", counted(len(f.Targets)-i, "target")))
			break
		}
		s.Targets = append(s.Targets, b.target(f, one))
	}
	return s
}

// known is a status of this version of kstep.
func known(s state.Status) state.Status {
	switch s {
	case state.OK, state.Unchanged, state.Partial, state.Failed, state.Interrupted:
		return s
	}
	return state.Failed
}

// halted is the message of a target that only waited for others, which failed.
const halted = "halted at the barrier"

func (b *builder) target(f *state.File, one state.Target) Target {
	t := Target{Host: name(one.Host), Role: name(one.Role), Status: known(one.Status)}
	from, to := one.Started, one.Finished
	if from.IsZero() || to.Before(from) {
		from, to = f.Started, f.Started
	}
	t.Bar, t.Took = b.t.Axis.bar(from, to), took(between(from, to))
	if one.Error != nil {
		t.Halted = strings.Contains(one.Error.Message, halted)
		if interrupted(one.Error.Class) {
			t.Status = state.Interrupted
		}
		t.Error = message(one.Error.Message)
	}
	for i, act := range one.Changed {
		if i == mostActs {
			t.Acts = append(t.Acts, fmt.Sprintf("%d more", len(one.Changed)-i))
			break
		}
		t.Acts = append(t.Acts, message(act))
	}
	b.targetFacts(&t, f.Stage, state.Key(one.Role, one.Host), from)
	return t
}

// stageFacts are what a stage found out as a whole.
func (b *builder) stageFacts(stage string) []string {
	var facts []string
	switch stage {
	case "push":
		switch {
		case b.push.Retained:
			facts = append(facts, "rollback to containers that the hosts kept")
		case b.push.Uploaded > 0:
			facts = append(facts, "uploaded "+size(b.push.Uploaded))
		}
	case "barrier-wait":
		if v := b.barrier.Verdict; v.Total > 0 {
			word := "closed"
			if v.Open {
				word = "open"
			}
			facts = append(facts, fmt.Sprintf("barrier %s: %d of %s ready, %d needed", word, v.Ready, counted(v.Total, "host"), v.Needed))
		}
	}
	return facts
}

func size(bytes int64) string {
	if bytes < 1e6 {
		return fmt.Sprintf("%.0f kB", float64(bytes)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
}

// targetFacts adds what the outputs say of a target.
func (b *builder) targetFacts(t *Target, stage, key string, began time.Time) {
	fact := func(format string, args ...any) { t.Facts = append(t.Facts, message(fmt.Sprintf(format, args...))) }
	switch stage {
	case "boot":
		one := b.boot.Targets[key]
		if one.Before != "" && len(b.t.Before) > 1 {
			fact("%s serves", short.Of(one.Before))
		}
		if one.Waiting {
			fact("starts at cutover")
		}
		if one.Sick != "" {
			fact("the engine does not start it: %s", one.Sick)
		}
	case "barrier-wait":
		one, there := b.barrier.Targets[key]
		if !there || !one.Ready {
			return
		}
		seconds := float64(one.Took) / 1000
		fact("ready after %s (%s)", took(seconds), cmp.Or(how(one.How), "running"))
		if seconds >= 0 && seconds < 1e6 {
			at := began.Add(time.Duration(one.Took) * time.Millisecond)
			t.Marks = append(t.Marks, Mark{Kind: Ready, At: at, Pos: b.t.Axis.pos(at)})
		}
		for _, n := range one.Restarts {
			if n > 0 {
				fact("%s before that", counted(n, "restart"))
			}
		}
	case "cutover":
		b.cutoverFacts(t, b.cutover.Targets[key], fact)
	case "prune":
		if one, there := b.prune.Hosts[t.Host]; there && len(one.Kept) > 0 {
			fact("kept for a rollback: %s", listed(shorten(one.Kept)))
		}
	case "abort":
		one := b.abort.Targets[key]
		if one.Done && len(one.Containers) > 0 {
			fact("the version before serves")
		}
		drained(one.Drain, fact)
	}
}

func how(text string) string {
	switch text {
	case "http":
		return "HTTP"
	case "health":
		return "health check"
	}
	return text
}

func shorten(versions []string) []string {
	var all []string
	for _, v := range versions {
		all = append(all, name(v))
	}
	return all
}

func (b *builder) cutoverFacts(t *Target, one state.CutoverTarget, fact func(string, ...any)) {
	if !one.Switched.IsZero() {
		fact("switched %s UTC", clock(one.Switched))
		t.Marks = append(t.Marks, Mark{Kind: Switched, At: one.Switched, Pos: b.t.Axis.pos(one.Switched)})
	}
	if p := one.Probe; p != nil {
		fact("%s, %d failed, slowest %s", counted(p.Requests, "request"), p.Failed, took(float64(p.SlowestMs)/1000))
		if p.FirstFail != "" {
			fact("first failure: %s", p.FirstFail)
		}
	}
	drained(one.Drain, fact)
}

func drained(d *state.Drain, fact func(string, ...any)) {
	switch {
	case d == nil:
	case d.Unobserved:
		fact("drained %s, connections not observed", took(float64(d.WaitedMs)/1000))
	default:
		fact("drained %s, %s cut", took(float64(d.WaitedMs)/1000), counted(d.Cut, "connection"))
	}
}

// traffic sums up the cutover.
func (b *builder) traffic() {
	if b.set.File("cutover") == nil {
		return
	}
	sum := &Traffic{}
	for _, key := range slices.Sorted(maps.Keys(b.cutover.Targets)) {
		one := b.cutover.Targets[key]
		if p := one.Probe; p != nil {
			sum.Probed = true
			sum.Requests += max(0, p.Requests)
			sum.Failed += max(0, p.Failed)
			sum.SlowestMs = max(sum.SlowestMs, p.SlowestMs)
			sum.FirstFail = cmp.Or(sum.FirstFail, message(p.FirstFail))
		}
		if d := one.Drain; d != nil {
			sum.Drained = true
			if d.Unobserved {
				sum.Unobserved++
			} else {
				sum.Cut += max(0, d.Cut)
			}
		}
	}
	b.t.Traffic = sum
}

// interrupted reports whether a class of errors is that of a signal.
func interrupted(class string) bool {
	return class == exit.Interrupted.Class() || class == exit.Terminated.Class()
}

// failures are the targets that failed, and stages that failed outside of them.
// Targets that only waited are not to blame.
func (b *builder) failures() {
	for _, f := range b.files {
		if f.Status.Done() {
			continue
		}
		blamed := false
		for _, one := range f.Targets {
			if one.Error == nil || strings.Contains(one.Error.Message, halted) {
				continue
			}
			blamed = true
			if interrupted(one.Error.Class) && one.Error.Message == "interrupted" {
				continue // That is said of the stage.
			}
			where := strings.TrimSpace(name(one.Host) + " " + name(one.Role))
			if slices.ContainsFunc(b.t.Failures, func(other Failure) bool { return other.Where == where && other.Stage != name(f.Stage) }) {
				continue // It follows from that one.
			}
			if len(b.t.Failures) == mostFailed {
				b.note("more targets failed than are listed")
				return
			}
			b.t.Failures = append(b.t.Failures, Failure{
				Stage: name(f.Stage), Where: where,
				Class: name(one.Error.Class), Message: message(one.Error.Message), Detail: detail(one.Error.Detail),
			})
		}
		if !blamed {
			b.t.Failures = append(b.t.Failures, Failure{
				Stage: name(f.Stage), Class: exit.Code(f.ExitCode).Class(), Message: cmp.Or(message(f.Reason), string(f.Status)),
			})
		}
	}
}
