package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
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
			if w.t.Failed() || slices.Contains(w.commands, strings.Join(args, " ")) {
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

// hinted are the commands that hints in a text name and that can be run here.
func hinted(text string) [][]string {
	var commands [][]string
	for line := range strings.Lines(text) {
		hint, is := strings.CutPrefix(line, "hint: ")
		if !is {
			continue
		}
		for _, after := range strings.Split(" "+hint, " kstep ")[1:] {
			if args := runnable(after); len(args) > 0 {
				commands = append(commands, args)
			}
		}
	}
	return commands
}

// runnable is the command that a text begins with, up to where its sentence goes on;
// empty if it needs a value that the reader has to think of.
func runnable(text string) []string {
	app, _ := application(&program{})
	model := app.Model()
	group, flags, positions := model.CmdGroupModel, model.Flags, 0
	var args []string
	value := false // The next word is a flag's.
	for word := range strings.FieldsSeq(text) {
		whole := word
		word = strings.TrimRight(word, ",;:.)")
		switch at := subcommand(group, word); {
		case value:
			args, value = append(args, word), false
		case at != nil:
			args, group, flags, positions = append(args, word), at.CmdGroupModel, append(flags, at.Flags...), len(at.Args)
		case strings.HasPrefix(word, "-"):
			args = append(args, word)
			name := strings.TrimLeft(word, "-")
			value = slices.ContainsFunc(flags, func(f *kingpin.FlagModel) bool { return f.Name == name && !f.IsBoolFlag() })
		case word == strings.ToUpper(word) || strings.ContainsAny(word, "%…<"):
			return nil
		case positions > 0:
			args, positions = append(args, word), positions-1
		default:
			return finished(args, group)
		}
		if whole != word {
			break
		}
	}
	if value {
		return nil
	}
	return finished(args, group)
}

func subcommand(group *kingpin.CmdGroupModel, word string) *kingpin.CmdModel {
	at := slices.IndexFunc(group.Commands, func(c *kingpin.CmdModel) bool { return c.Name == word })
	if at < 0 {
		return nil
	}
	return group.Commands[at]
}

// finished leaves out what is no command, and those that want an image here.
func finished(args []string, group *kingpin.CmdGroupModel) []string {
	if len(args) == 0 || len(group.Commands) > 0 || slices.Contains([]string{"deploy", "push", "build"}, args[0]) {
		return nil
	}
	return args
}

func TestHints_AreReadUpToWhereTheirSentenceGoesOn(t *testing.T) {
	t.Parallel()
	for hint, want := range map[string]string{
		"if the machine no longer exists: kstep remove --hosts vm2,vm3 --forget": "[remove --hosts vm2,vm3 --forget]",
		"kstep accessory reboot db replaces it by one with today's settings":     "[accessory reboot db]",
		"see kstep lock status; or kstep abort, and wait":                        "[lock status] [abort]",
		"kstep rollback --fresh v1 takes those of now":                           "[rollback --fresh v1]",
		"kstep app and kstep deploy":                                             "",
		"begin with kstep --release RELEASE":                                     "",
	} {
		var got []string
		for _, args := range hinted("error: x\nhint: " + hint + "\n") {
			got = append(got, fmt.Sprint(args))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%q: got %s, want %s", hint, text, want)
		}
	}
}
