package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/actor"
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
	out := cmd.Flag("out", "Also write the plan to this file, for --plan.").PlaceHolder("FILE").String()
	detailed := cmd.Flag("detailed-exitcode", "Exit with 2 if changes are pending.").Bool()
	actions["plan"] = p.answering(func(ctx context.Context) error {
		return p.withSession(ctx, "plan", flags.version, flags.options(), func(ctx context.Context, s *stages.Session) error {
			made, err := p.plan(ctx, s, flags, "")
			if err == nil && *out != "" {
				err = p.writePlan(*out, made, s)
			}
			if err == nil && *detailed && made.Changes > 0 {
				err = exit.Errorf(exit.ChangesPending, "changes are pending")
			}
			return err
		})
	})
}

// plan makes a plan and prints it; with only, that stage of it.
func (p *program) plan(ctx context.Context, s *stages.Session, flags *stageFlags, only string) (state.Plan, error) {
	chain := chainFor(s.Options)
	if s.StateFrom == stages.FromHosts {
		folder, err := p.aside(s)
		if err != nil {
			return state.Plan{}, err
		}
		defer os.RemoveAll(folder)
	}
	made, err := s.Plan(ctx, chain, p.given(flags) != "" || flags.image != "")
	if made.Kind == "" {
		return made, err
	}
	if only != "" {
		made = made.Only(only)
	}
	s.Planned, s.PlannedHosts = planReport(made), changedHosts(made)
	text := planText(made, p.colors())
	if p.global.output == "json" {
		data, encodeErr := json.Marshal(made)
		if encodeErr != nil {
			return made, encodeErr
		}
		text = string(data) + "\n"
	}
	return made, errors.Join(p.out.Painted(text), err)
}

// planOnly shows what one stage would do for the newest release in the state
// folder, as that stage would take it.
func (p *program) planOnly(ctx context.Context, s *stages.Session, flags *stageFlags, stage string) error {
	here := s.Dir.Newest(state.Expect{Service: s.Config.Service, Destination: s.Config.Destination})
	if here != nil {
		s.Resolve = func(context.Context) (string, state.Source, error) { return here.Version, here.Source, nil }
	}
	_, err := p.plan(ctx, s, flags, stage)
	return err
}

func (p *program) writePlan(file string, made state.Plan, s *stages.Session) error {
	options := p.stateOptions(s.Secrets, s.Config)
	options.Validate = validatePlan
	sum, err := state.WritePlan(file, made, options)
	if err != nil {
		return err
	}
	s.PlanDigest = sum
	if p.global.output != "json" {
		p.result("kstep deploy --plan %s --plan-digest %s carries it out, and no other plan", file, sum)
	}
	return nil
}

// given is the version that the user names, or nothing.
func (p *program) given(flags *stageFlags) string {
	return cmp.Or(flags.version, p.getenv("KSTEP_VERSION"))
}

// following reads the plan that the flags name, and returns what makes a
// session carry it out: nothing, if they name none.
func (p *program) following(flags *stageFlags) (func(context.Context, *stages.Session) error, error) {
	if flags.plan == "" && flags.planDigest != "" {
		return nil, exit.With(exit.Usage, errors.New("--plan-digest (KSTEP_PLAN_DIGEST) is given, and no plan that should have it"),
			"name the plan file: --plan FILE, or KSTEP_PLAN")
	}
	if flags.plan == "" {
		return func(context.Context, *stages.Session) error { return nil }, nil
	}
	if flags.planDigest == "" && actor.CI(p.getenv) != "" {
		// The file comes from an artifact, and an output that got lost is empty.
		return nil, p.refuse(exit.With(exit.Usage, errors.New("--plan is given without --plan-digest (KSTEP_PLAN_DIGEST): any plan in this file would be carried out"),
			"pass the digest from the job that planned: its output plan-digest (GitHub), or KSTEP_OUT_PLAN_DIGEST of its dotenv report (GitLab)"))
	}
	made, err := state.ReadPlan(flags.plan, validatePlan)
	if err == nil {
		err = made.Approved(flags.planDigest)
	}
	if err != nil {
		return nil, p.refuse(err)
	}
	flags.image = cmp.Or(flags.image, made.Image)
	return func(_ context.Context, s *stages.Session) error {
		if err := s.Dir.VouchFor(flags.plan, made); err != nil {
			return err
		}
		return s.Follow(made, p.given(flags))
	}, nil
}

// colors reports whether stdout is a terminal that wants them.
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
	s.Dir, err = state.Open(folder, p.stateOptions(s.Secrets, s.Config))
	return folder, err
}
