package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// fillIn gives flags the value of their variable, or their default, on a
// command line with --version. kingpin 2.4.0 (Application.setDefaults) leaves
// all flags empty beside one of that name: elsewhere it only prints something
// and ends the program.
func fillIn(app *kingpin.Application) kingpin.Action {
	return func(parsed *kingpin.ParseContext) error {
		given := map[string]bool{}
		for _, element := range parsed.Elements {
			if flag, ok := element.Clause.(*kingpin.FlagClause); ok {
				given[flag.Model().Name] = true
			}
		}
		if !given["version"] || parsed.SelectedCommand == nil {
			return nil
		}
		for _, flag := range append(app.Model().Flags, parsed.SelectedCommand.Model().Flags...) {
			if given[flag.Name] {
				continue
			}
			if err := fillInOne(flag); err != nil {
				return fmt.Errorf("--%s: %w", flag.Name, err)
			}
		}
		return nil
	}
}

// fillInOne sets a flag as kingpin does: a variable's lines are the values of
// one that may be repeated.
func fillInOne(flag *kingpin.FlagModel) error {
	values := flag.Default
	if text := os.Getenv(flag.Envar); flag.Envar != "" && text != "" {
		values = []string{text}
		if many, ok := flag.Value.(interface{ IsCumulative() bool }); ok && many.IsCumulative() {
			values = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		}
	}
	for _, value := range values {
		if err := flag.Value.Set(value); err != nil {
			return err
		}
	}
	return nil
}
