package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// configurePlan declares `kstep plan`: what a deploy would do, without doing it.
func configurePlan(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("plan", "Show what each remaining stage would do, on every host. Changes nothing and takes no lease.")
	flags := &stageFlags{}
	flags.first(cmd)
	flags.ready(cmd)
	detailed := cmd.Flag("detailed-exitcode", "Exit with 2 if changes are pending.").Bool()
	actions["plan"] = func(ctx context.Context) error {
		return p.withSession(ctx, "plan", flags.version, flags.options(), func(ctx context.Context, s *stages.Session) error {
			made, err := p.plan(ctx, s, flags)
			if err == nil && *detailed && made.Changes > 0 {
				err = exit.Errorf(exit.ChangesPending, "changes are pending")
			}
			return err
		})
	}
}

func (p *program) plan(ctx context.Context, s *stages.Session, flags *stageFlags) (state.Plan, error) {
	chain := pipeline()
	if flags.image != "" { // A ready image: nothing to build.
		chain = chain[1:]
	}
	if s.StateFrom == stages.FromHosts {
		folder, err := p.aside(s)
		if err != nil {
			return state.Plan{}, err
		}
		defer os.RemoveAll(folder)
	}
	made, err := s.Plan(ctx, chain, flags.version != "" || flags.image != "" || p.getenv("KSTEP_VERSION") != "")
	if made.Kind == "" {
		return made, err
	}
	if p.global.output == "json" {
		return made, errors.Join(json.NewEncoder(p.stdout).Encode(made), err)
	}
	_, printErr := fmt.Fprint(p.stdout, planText(made, p.colors()))
	return made, errors.Join(printErr, err)
}

// colors tells whether stdout is a terminal that wants them.
func (p *program) colors() bool {
	f, ok := p.stdout.(*os.File)
	if !ok || p.getenv("NO_COLOR") != "" || p.getenv("TERM") == "dumb" {
		return false
	}
	_, _, tty := report.TerminalSize(f)
	return tty
}

// aside gives the session a copy of its state folder, for state from the hosts:
// the folder itself stays as it is.
func (p *program) aside(s *stages.Session) (string, error) {
	folder, err := os.MkdirTemp("", "kstep-plan-")
	if err != nil {
		return "", err
	}
	entries, err := os.ReadDir(s.Dir.Path())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return folder, err
	}
	for _, e := range entries {
		from, err := filepath.Abs(filepath.Join(s.Dir.Path(), e.Name()))
		if err != nil {
			return folder, err
		}
		if !strings.HasSuffix(e.Name(), ".json") { // The archive is only looked at.
			err = os.Symlink(from, filepath.Join(folder, e.Name()))
		} else if data, readErr := s.Dir.Raw(e.Name()); readErr == nil {
			err = os.WriteFile(filepath.Join(folder, e.Name()), data, 0o600)
		}
		if err != nil {
			return folder, err
		}
	}
	s.Dir, err = state.Open(folder, state.Options{Validate: validateState, Adopt: p.global.adopt})
	return folder, err
}
