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

// usage reports what is wrong with the command line, and what was meant.
func (p *program) usage(app *kingpin.Application, err error, args []string) exit.Code {
	hint := "kstep --help lists the commands and flags"
	if instead := insteadOf(app, args); instead != "" {
		hint = instead
	} else if command := app.GetCommand(args[0]); command != nil {
		hint = "kstep " + args[0] + " --help shows what it takes"
	} else if close, ok := schema.Closest(args[0], commandNames(app)); ok {
		hint = "did you mean kstep " + close + "?"
	}
	return p.conclude(exit.With(exit.Usage, err, hint))
}

// commandNames are the first words of all commands.
func commandNames(app *kingpin.Application) []string {
	var names []string
	for _, command := range app.Model().Commands {
		names = append(names, command.Name)
		names = append(names, command.Aliases...)
	}
	return names
}

// elsewhere are commands of Kamal that kstep does not have, and what to run instead.
func elsewhere() map[string]string {
	return map[string]string{
		"app boot":             "kstep app restart replaces the containers in service by new ones of the same version; kstep deploy brings a new version",
		"app remove":           "kstep remove removes the service from its hosts; kstep app stop stops it",
		"app remove_container": "kstep prune removes old containers; kstep app stale-containers --stop stops those that were left running",
		"app stale_containers": "kstep app stale-containers",
		"build push":           "kstep build builds the image, kstep push uploads it",
		"build pull":           "kstep assets brings the image to the hosts",
		"build deliver":        "kstep build, then kstep push, then kstep assets",
		"prune all":            "kstep prune",
		"prune containers":     "kstep prune removes containers and images past retention",
		"prune images":         "kstep prune removes containers and images past retention",
		"registry":             noRegistryLogin,
		"registry login":       noRegistryLogin,
		"registry logout":      noRegistryLogin,
		"secrets fetch":        "name a command for each secret under secrets.commands; kstep secrets list --check runs them",
		"secrets extract":      "name a command for each secret under secrets.commands; kstep secrets list --check runs them",
		"secrets print":        "kstep secrets list --check shows where each secret comes from, and no value",
	}
}

const noRegistryLogin = "leave this step out: kstep sends the login with each pull and push, and keeps it on no host; " +
	"registry.username and registry.password in kstep.yml name it (kstep preflight checks it)"

// insteadOf is what to run in place of a command of Kamal; empty for all others.
func insteadOf(app *kingpin.Application, args []string) string {
	at, _, _ := commandAt(app, args)
	if at < 0 {
		return ""
	}
	first, known := args[at], elsewhere()
	for _, word := range args[at+1:] { // Flags and their values may come before the second word.
		if instead := known[first+" "+word]; instead != "" {
			return instead
		}
	}
	return known[first]
}
