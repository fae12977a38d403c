package timeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/state"
)

// conclude decides how the release stands, says it in a sentence, and names the
// next commands.
func (b *builder) conclude() {
	moved, all := b.moved()
	cutover, abort := b.set.File("cutover"), b.set.File("abort")
	switch {
	case abort != nil && (cutover == nil || !abort.Started.Before(cutover.Started)) && !b.abort.Complete:
		b.aborted(abort)
	case cutover == nil && b.set.File("prune") != nil:
		b.t.Outcome = Unknown
		b.say("was deployed as far as prune, which ended %s; the file of cutover is missing, so it is not known where it is live", b.set.File("prune").Status)
	case cutover == nil || len(moved) == 0:
		b.notServing()
	case len(moved) < len(all) || !cutover.Status.Done():
		b.inPart(cutover, moved, all)
	default:
		b.serving(len(all))
	}
	b.missing()
}

// say makes the sentence: the title, and what is true of it.
func (b *builder) say(format string, args ...any) {
	b.t.Sentence = message(b.t.Title() + " " + fmt.Sprintf(format, args...) + ".")
}

// version is the version as people see it.
func (b *builder) version() string { return b.t.ShortVersion() }

// moved are the targets that the new version serves, of all that are known.
func (b *builder) moved() (moved, all []string) {
	seen := map[string]bool{}
	for key := range b.boot.Targets {
		seen[key] = true
	}
	for key, one := range b.cutover.Targets {
		seen[key] = true
		if one.Done {
			moved = append(moved, key)
		}
	}
	for _, name := range []string{"boot", "cutover"} {
		if f := b.set.File(name); f != nil {
			for _, t := range f.Targets {
				if t.Role != "" {
					seen[state.Key(t.Role, t.Host)] = true
				}
			}
		}
	}
	slices.Sort(moved)
	return moved, slices.Sorted(maps.Keys(seen))
}

// old says what users have where the new version does not serve.
func (b *builder) old() string {
	switch {
	case len(b.t.Before) > 0:
		return listed(b.t.Before) + " " + verb(len(b.t.Before), "keeps", "keep") + " serving"
	case b.t.First:
		return "nothing served before"
	case len(b.boot.Targets) > 0:
		return "the version before keeps serving"
	}
	return "what served before keeps serving"
}

func verb(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

func (b *builder) aborted(abort *state.File) {
	b.t.Outcome = Aborted
	back := "the version before serves"
	switch {
	case len(b.t.Before) > 0:
		back = listed(b.t.Before) + " " + verb(len(b.t.Before), "serves", "serve")
	case b.t.First:
		back = "nothing serves, as before"
	case len(b.boot.Targets) == 0:
		back = "what served before serves"
	}
	if abort.Status.Done() {
		b.say("was aborted; %s", back)
		return
	}
	b.t.Outcome = Failed
	b.say("was aborted in part: abort ended %s", abort.Status)
	b.run("Continue", "abort")
}

// notServing is the outcome of a release that has no traffic.
func (b *builder) notServing() {
	last := b.last()
	at := b.place(last)
	switch {
	case last.Status == state.Interrupted:
		b.t.Outcome = Interrupted
		b.say("is not live: %s was interrupted; %s", last.Stage, b.old())
	case last.Stage == "cutover" && exit.Code(last.ExitCode) == exit.RolledBack:
		b.t.Outcome = Failed
		b.say("is not live: cutover failed and moved the traffic back; %s", b.old())
	case !last.Status.Done():
		b.t.Outcome = Failed
		b.say("is not live: %s failed%s; %s", last.Stage, at, b.old())
	default:
		b.t.Outcome = UnderWay
		next := b.next(last.Stage)
		if next == "" {
			b.say("is not live: only %s has run; %s", last.Stage, b.old())
			return
		}
		b.say("is not live yet: %s is done, %s is next; %s", last.Stage, next, b.old())
		b.run("Continue", next)
		b.run("Give up", "abort")
		return
	}
	again := last.Stage
	if exit.Code(last.ExitCode) == exit.BarrierClosed {
		again = "boot" // The barrier stopped the new containers.
	}
	b.run("Try again", again)
	b.run("Give up", "abort")
}

// place is where a stage failed, for a sentence.
func (b *builder) place(f *state.File) string {
	var where []string
	for _, one := range f.Targets {
		if one.Error != nil && !strings.Contains(one.Error.Message, halted) {
			where = append(where, strings.TrimSpace(name(one.Host)+" "+name(one.Role)))
		}
	}
	if len(where) == 0 {
		return ""
	}
	return " on " + listed(where)
}

// last is the stage that decides how a release without traffic stands: the first
// one that did not end well, or the last one.
func (b *builder) last() *state.File {
	var last *state.File
	for _, f := range b.files {
		if f.Stage == "abort" || f.Stage == "prune" {
			continue
		}
		last = f
		// A partial barrier-wait lets the pipeline go on with what is ready.
		if !f.Status.Done() && !(f.Stage == "barrier-wait" && b.set.File("cutover") != nil) {
			return f
		}
	}
	if last == nil {
		return b.files[len(b.files)-1]
	}
	return last
}

// next is the stage behind one, or empty.
func (b *builder) next(stage string) string {
	at := slices.Index(b.opt.Stages, stage)
	if at < 0 || at+1 >= len(b.opt.Stages) {
		return ""
	}
	return b.opt.Stages[at+1]
}

// inPart is the outcome of a release that serves some targets only, or whose
// cutover did not end well.
func (b *builder) inPart(cutover *state.File, moved, all []string) {
	b.t.Outcome = InPart
	if cutover.Status == state.Interrupted {
		b.t.Outcome = Interrupted
	}
	var rest []string
	for _, key := range all {
		if !slices.Contains(moved, key) {
			role, host, _ := strings.Cut(key, "@")
			rest = append(rest, name(host)+" "+name(role))
		}
	}
	text := fmt.Sprintf("is live on %d of %s", len(moved), counted(len(all), "target"))
	if cutover.Status == state.Interrupted {
		text += ": cutover was interrupted"
	} else if len(rest) == 0 {
		text += fmt.Sprintf(": cutover ended %s", cutover.Status)
	}
	switch {
	case len(rest) == 0:
	case len(b.t.Before) == 1:
		text += fmt.Sprintf("; %s still %s %s", listed(rest), verb(len(rest), "serves", "serve"), b.t.Before[0])
	default:
		text += fmt.Sprintf("; not on %s", listed(rest))
	}
	b.say("%s", text)
	again := "cutover"
	if f := b.set.File("barrier-wait"); f != nil && f.Status == state.Partial {
		again = "boot"
	}
	b.run("Continue", again)
	b.run("Take back", "abort")
}

// serving is the outcome of a release that serves everywhere.
func (b *builder) serving(targets int) {
	b.t.Outcome = Serves
	text := "is live on " + everywhere(targets)
	switch {
	case len(b.t.Before) > 0 && !slices.Equal(b.t.Before, []string{b.version()}):
		text += fmt.Sprintf(" in place of %s", listed(b.t.Before))
	case b.t.First:
		text += " as the first version"
	}
	if b.t.GoesBack {
		text += ", by a rollback"
	}
	if s := b.t.Traffic; s != nil && s.Probed {
		text += fmt.Sprintf("; %d of %s failed", s.Failed, counted(s.Requests, "probe request"))
	}
	if f := b.set.File("prune"); f != nil && !f.Status.Done() {
		text += fmt.Sprintf("; prune ended %s", f.Status)
		b.run("Try again", "prune")
	} else if f == nil && slices.Contains(b.opt.Stages, "prune") {
		b.run("Continue", "prune")
	}
	b.say("%s", text)
	b.back()
}

func everywhere(targets int) string {
	switch targets {
	case 1:
		return "its only target"
	case 2:
		return "both targets"
	}
	return fmt.Sprintf("all %d targets", targets)
}

// back names the rollback. It names the version: the page may be read after the
// next release.
func (b *builder) back() {
	var to []string
	for _, v := range b.t.Before {
		if v != b.version() {
			to = append(to, v)
		}
	}
	if len(to) == 0 {
		for _, one := range b.prune.Hosts {
			if v := name(one.Previous); v != "" && v != b.version() && !slices.Contains(to, v) {
				to = append(to, v)
			}
		}
	}
	switch len(to) {
	case 0:
	case 1:
		purpose := "Roll back"
		if b.t.GoesBack {
			purpose = "Go forward"
		}
		b.run(purpose, "rollback", to[0])
	default:
		b.run("Roll back", "rollback")
	}
}

// run adds a command of kstep.
func (b *builder) run(purpose, command string, args ...string) {
	words := []string{"kstep", word(name(command))}
	for _, arg := range args {
		words = append(words, word(name(arg)))
	}
	if b.t.Destination != "" {
		words = append(words, "-d", word(b.t.Destination))
	}
	b.t.Commands = append(b.t.Commands, Command{Purpose: purpose, Line: strings.Join(words, " ")})
}

// missing notes the files of stages that must have run.
func (b *builder) missing() {
	var gone []string
	reached := -1
	for _, f := range b.files {
		reached = max(reached, slices.Index(b.opt.Stages, f.Stage))
	}
	for i, stage := range b.opt.Stages {
		// A pipeline that starts with a ready image has no build.
		if i < reached && b.set.File(stage) == nil && stage != "build" {
			gone = append(gone, stage)
		}
	}
	if len(gone) > 0 {
		b.note("not in the folder: the files of %s; what they recorded is not shown", listed(gone))
	}
}
