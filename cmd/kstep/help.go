package main

import (
	"fmt"
	"strings"
	"text/template"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/schema"
)

// usageTemplate is the help of the program and of each command, in kingpin's
// template language: what it is, how to call it, what it takes, how it ends.
func usageTemplate() string {
	return `{{with .Context.SelectedCommand -}}
usage: {{$.App.Name}} {{.FullCommand}}{{if .Commands}} <command>{{end}}{{range .Args}} {{if .Required}}<{{.Name}}>{{else}}[<{{.Name}}>]{{end}}{{end}} [flags]

{{.Help}}
{{else -}}
usage: {{.App.Name}} <command> [flags]

{{.App.Help}}
{{end -}}
{{with .Context.SelectedCommand -}}
{{if .Commands}}
Commands:
{{.Commands|Summaries|FormatTwoColumns}}{{end -}}
{{else}}
Commands:
{{.App.Commands|Summaries|FormatTwoColumns}}{{end -}}
{{if .Context.Args}}
Arguments:
{{.Context.Args|ArgsToTwoColumns|FormatTwoColumns}}{{end}}
Flags:
{{.Context.Flags|FlagsToTwoColumns|FormatTwoColumns}}
` + exitStatus()
}

// usageFuncs are what usageTemplate needs beside kingpin's own functions.
func usageFuncs() template.FuncMap {
	return template.FuncMap{"Summaries": func(commands []*kingpin.CmdModel) [][2]string {
		var rows [][2]string
		for _, c := range commands {
			if !c.Hidden && c.Name != "help" {
				rows = append(rows, [2]string{c.Name, c.Help})
			}
		}
		return rows
	}}
}

func exitStatus() string {
	var b strings.Builder
	b.WriteString("Exit status:\n")
	for _, m := range exit.Table() {
		fmt.Fprintf(&b, "  %3d  %s\n", m.Code, m.Text)
	}
	return b.String()
}

// usage tells what is wrong with the command line, and what was meant.
func (p *program) usage(app *kingpin.Application, err error, args []string) exit.Code {
	hint := "kstep --help lists the commands and flags"
	if command := app.GetCommand(args[0]); command != nil {
		hint = "kstep " + args[0] + " --help shows what it takes"
	} else if close, ok := schema.Closest(args[0], commandNames(app)); ok {
		hint = "did you mean kstep " + close + "?"
	}
	return p.conclude(exit.With(exit.Usage, err, hint))
}

func commandNames(app *kingpin.Application) []string {
	var names []string
	for _, command := range app.Model().Commands {
		names = append(names, command.Name)
	}
	return names
}
