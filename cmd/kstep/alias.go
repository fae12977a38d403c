package main

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
)

// commandAt is where the command is in a command line, behind the flags that come before
// it; -1 where there is none. It also returns what the flags say about which
// configuration is meant: those behind the command in their long form only, because the
// short ones may be of the program that an alias runs.
func commandAt(app *kingpin.Application, args []string) (at int, file, destination string) {
	withValue := map[string]string{} // A flag's name, by how it is written.
	for _, f := range app.Model().Flags {
		if f.IsBoolFlag() {
			continue
		}
		withValue["--"+f.Name] = f.Name
		if f.Short != 0 {
			withValue["-"+string(f.Short)] = f.Name
		}
	}
	at = -1
	given := map[string]string{}
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		flag, value, joined := strings.Cut(args[i], "=")
		name, takes := withValue[flag]
		switch {
		case !strings.HasPrefix(args[i], "-"):
			if at < 0 {
				at = i
			}
		case at < 0 && withValue[shortFlag(args[i])] != "": // -dstaging
			given[withValue[shortFlag(args[i])]] = args[i][2:]
		case !takes || at >= 0 && !strings.HasPrefix(flag, "--"):
		case joined:
			given[name] = value
		case i+1 < len(args):
			i++
			given[name] = args[i]
		}
	}
	return at, given["config"], given["destination"]
}

// shortFlag is the flag of an argument in which a value follows a short flag at once; empty
// for any other argument.
func shortFlag(arg string) string {
	if len(arg) > 2 && arg[0] == '-' && arg[1] != '-' && arg[2] != '=' {
		return arg[:2]
	}
	return ""
}

// withAliases puts what an alias of the configuration stands for in its place, and
// declares the aliases where help or completion lists the commands. It reads the
// configuration only for that; a file that cannot be read has no aliases.
func (p *program) withAliases(app *kingpin.Application, args []string) ([]string, error) {
	at, file, destination := commandAt(app, args)
	own := at >= 0 && slices.Contains(append(commandNames(app), "help"), args[at])
	if own && !slices.Contains(args, "--completion-bash") {
		return args, nil
	}
	aliases, err := p.aliases(app, file, destination)
	if at >= 0 {
		if words := aliases[args[at]]; words != nil {
			if words[0] == "kstep" {
				words = words[1:]
			}
			return slices.Concat(args[:at], words, args[at+1:]), nil
		}
		if err != nil && !own {
			return args, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(aliases)) {
		app.Command(name, "Alias of the configuration: "+strings.Join(aliases[name], " "))
	}
	return args, nil
}

// aliases are those of the configuration. An error is one of the configuration, not of
// one that is missing.
func (p *program) aliases(app *kingpin.Application, file, destination string) (map[string]config.Command, error) {
	if file == "" {
		file, _ = p.env("KSTEP_CONFIG")
	}
	if destination == "" {
		destination, _ = p.env("KSTEP_DESTINATION")
	}
	if file == "" {
		file = config.DefaultPath
	}
	if _, err := os.Stat(file); err != nil {
		return nil, nil
	}
	cfg, err := config.Load(config.LoadOptions{
		Path: file, Destination: destination, Env: p.env, KstepVersion: buildInfo().Version, Commands: commandNames(app),
	})
	if err != nil {
		return nil, exit.With(exit.Usage, err)
	}
	return cfg.Aliases, nil
}
