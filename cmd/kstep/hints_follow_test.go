package main

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
)

// hintsFollowed are the commands of hints that were run, of all tests.
var hintsFollowed sync.Map

// followHints runs what the hints of a failed command name, when the test is over: each
// such command at the end of the first test that printed it. A hint may lead to another
// failure, but not to a command that cannot be run, or to the hint itself.
func (w *world) followHints(stderr string) {
	w.t.Helper()
	for _, args := range hinted(stderr) {
		if _, done := hintsFollowed.LoadOrStore(strings.Join(args, " "), true); done {
			continue
		}
		w.t.Cleanup(func() {
			if w.t.Failed() {
				return
			}
			w.refuse, w.on = nil, nil
			ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), 30*time.Second)
			defer cancel()
			code, _, said := w.kstepIn(ctx, args...)
			switch {
			case code == exit.Internal, code == exit.Usage && !strings.Contains(said, "--yes"):
				w.t.Errorf("a hint names kstep %s, which ends with %d\n%sThe hint is of\n%s", strings.Join(args, " "), code, said, stderr)
			case code == exit.BadState && said == stderr:
				w.t.Errorf("hints lead in a circle:\n%s", said)
			}
		})
	}
}

var restOfWord = regexp.MustCompile(`^(?:[,.]?[A-Za-z0-9_*-]+)+`)

// hinted are the commands that hints in a text name and that can be run here.
func hinted(text string) [][]string {
	var commands [][]string
	for line := range strings.Lines(text) {
		hint, is := strings.CutPrefix(line, "hint: ")
		if !is {
			continue
		}
		for _, at := range commandLine.FindAllStringSubmatchIndex(hint, -1) {
			// A last word may go on with digits and commas: the names of hosts.
			text := hint[at[2]:at[3]] + restOfWord.FindString(hint[at[3]:])
			if args := runnable(text); len(args) > 0 {
				commands = append(commands, args)
			}
		}
	}
	return commands
}

// runnable is a command of a hint up to where its sentence goes on; empty if it
// needs a value that the reader has to think of.
func runnable(text string) []string {
	app, _ := application(&program{})
	model := app.Model()
	group, flags := model.CmdGroupModel, model.Flags
	var args []string
	value := false // The next word is a flag's.
	for word := range strings.FieldsSeq(text) {
		switch {
		case value:
			args, value = append(args, word), false
		case group != nil:
			at := slices.IndexFunc(group.Commands, func(c *kingpin.CmdModel) bool { return c.Name == word })
			if at < 0 {
				return nil
			}
			args, group, flags = append(args, word), group.Commands[at].CmdGroupModel, append(flags, group.Commands[at].Flags...)
			if len(group.Commands) == 0 {
				group = nil
			}
		case strings.HasPrefix(word, "-"):
			args = append(args, word)
			name := strings.TrimLeft(word, "-")
			value = slices.ContainsFunc(flags, func(f *kingpin.FlagModel) bool { return f.Name == name && !f.IsBoolFlag() })
		case word == strings.ToUpper(word) || strings.Contains(word, "%"):
			return nil
		default:
			return finished(args)
		}
	}
	if group != nil || value {
		return nil
	}
	return finished(args)
}

// finished leaves out commands that want an image here.
func finished(args []string) []string {
	if slices.Contains([]string{"deploy", "push", "build"}, args[0]) {
		return nil
	}
	return args
}
