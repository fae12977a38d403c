package main

//go:generate go test . -run TestCLIReference -update

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
)

var update = flag.Bool("update", false, "write docs/cli.md instead of comparing it")

const cliReference = "../../docs/cli.md"

func TestCLIReference_IsWhatTheParserTakes(t *testing.T) {
	t.Parallel()
	app, _ := application(&program{})
	want := reference(app.Model())
	if *update {
		if err := os.WriteFile(cliReference, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(cliReference)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/cli.md is not what the parser takes: run `make generate` and commit it")
	}
}

func TestApplication_HasABodyForEveryCommand(t *testing.T) {
	t.Parallel()
	app, actions := application(&program{})
	for _, command := range leaves(app.Model().Commands) {
		if actions[command.FullCommand] == nil {
			t.Errorf("command %q has no body", command.FullCommand)
		}
	}
}

func TestDocs_NameEveryStageInOrder(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"../../README.md", "../../docs/architecture.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if file == "../../README.md" && !strings.Contains(string(text), strings.Join(stageNames(), " → ")) {
			t.Errorf("%s does not tell the pipeline as %s", file, strings.Join(stageNames(), " → "))
		}
	}
}

func TestDocs_NameEveryExitCode(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range exit.Table() {
		if !strings.Contains(string(text), fmt.Sprintf("| %d | %s |", m.Code, m.Text)) {
			t.Errorf("docs/exit-codes.md has no row for %d, %s", m.Code, m.Text)
		}
	}
}

func stageNames() []string {
	var names []string
	for _, stage := range pipeline() {
		names = append(names, stage.Info().Name)
	}
	return names
}

func leaves(commands []*kingpin.CmdModel) []*kingpin.CmdModel {
	var all []*kingpin.CmdModel
	for _, c := range commands {
		switch {
		case c.Hidden || c.Name == "help":
		case len(c.Commands) > 0:
			all = append(all, leaves(c.Commands)...)
		default:
			all = append(all, c)
		}
	}
	return all
}

// reference is docs/cli.md.
func reference(model *kingpin.ApplicationModel) string {
	var b strings.Builder
	b.WriteString("# Commands\n\n<!-- Made by `make generate`; do not edit. -->\n\n")
	b.WriteString(model.Help + "\n\n## Flags of every command\n\n")
	flags(&b, model.Flags)
	for _, command := range leaves(model.Commands) {
		fmt.Fprintf(&b, "\n## kstep %s\n\n", command.FullCommand)
		usage := "kstep " + command.FullCommand
		for _, arg := range command.Args {
			name := "<" + arg.Name + ">"
			if !arg.Required {
				name = "[" + name + "]"
			}
			usage += " " + name
		}
		fmt.Fprintf(&b, "```\n%s\n```\n\n%s\n", usage, command.Help)
		if len(command.Args)+len(command.Flags) == 0 {
			continue
		}
		b.WriteString("\n")
		for _, arg := range command.Args {
			fmt.Fprintf(&b, "- `<%s>`: %s\n", arg.Name, arg.Help)
		}
		flags(&b, command.Flags)
	}
	b.WriteString("\n## Exit status\n\nEvery command ends with one of [these](exit-codes.md).\n\n")
	b.WriteString("## Completion\n\n```sh\neval \"$(kstep --completion-script-bash)\"   # or -zsh\n```\n")
	return b.String()
}

func flags(b *strings.Builder, group []*kingpin.FlagModel) {
	for _, f := range group {
		if f.Hidden || f.Name == "help" || strings.HasPrefix(f.Name, "completion") {
			continue
		}
		name := "--" + f.Name
		if f.Short != 0 {
			name = "-" + string(f.Short) + ", " + name
		}
		if !f.IsBoolFlag() {
			name += " " + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		}
		fmt.Fprintf(b, "- `%s`: %s", name, f.Help)
		if len(f.Default) > 0 {
			fmt.Fprintf(b, " Default: `%s`.", strings.Join(f.Default, ", "))
		}
		if f.Envar != "" {
			fmt.Fprintf(b, " Also `%s`.", f.Envar)
		}
		b.WriteString("\n")
	}
}
