package main

import (
	"context"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/kamal"
)

// configureImport declares `kstep import …`.
func configureImport(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("import", "Make kstep.yml from the configuration of another tool.")
	from := cmd.Command("kamal", "Import Kamal 1.x and 2.x: configuration, destinations, secrets files and hooks. Nothing is executed, and no host is contacted. With -d staging,production: only these destinations; otherwise all that have a file.")
	path := from.Arg("file", "Kamal's configuration.").Default(kamal.DefaultPath).String()
	out := from.Flag("out", "The folder to write into. Files that are there are never overwritten.").PlaceHolder("DIR").Default(".").String()
	format := from.Flag("format", "Format of the report on stdout: text, markdown or json.").Default("text").Enum("text", "markdown", "json")
	actions["import kamal"] = func(context.Context) error {
		var destinations []string
		for name := range strings.SplitSeq(p.global.destination, ",") {
			if name = strings.TrimSpace(name); name != "" {
				destinations = append(destinations, name)
			}
		}
		result, err := kamal.Import(kamal.Options{Path: *path, Destinations: destinations})
		if err != nil {
			return err
		}
		if err := result.Write(*out); err != nil {
			return err
		}
		switch {
		case p.isJSON() || *format == "json":
			return result.Report.WriteJSON(p.out)
		case *format == "markdown":
			return result.Report.WriteMarkdown(p.out)
		}
		for _, name := range result.Report.Files {
			p.result("wrote %s", name)
		}
		p.result("")
		return result.Report.WriteText(p.out)
	}
}
