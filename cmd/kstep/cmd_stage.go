package main

import (
	"context"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/stages"
)

// stageFlags are what single stages take beside the global flags.
type stageFlags struct {
	version    string
	image      string
	newRelease bool
	again      bool // newRelease, unless an earlier run is not over.
	goesBack   bool
	anew       bool
	plan       string
	planDigest string
	secrets    string
}

// first declares the flags of stages that can begin a release.
func (f *stageFlags) first(cmd *kingpin.CmdClause) {
	cmd.Flag("version", "Name the version; default: KSTEP_VERSION, else the git commit.").StringVar(&f.version)
	cmd.Flag("new-release", "Make a new release also for a version that has one.").BoolVar(&f.newRelease)
}

// ready declares the flag that starts the pipeline with a ready image.
func (f *stageFlags) ready(cmd *kingpin.CmdClause) {
	cmd.Flag("image", "Start here with a ready image of this reference, without build.").Envar("KSTEP_IMAGE").StringVar(&f.image)
}

// given declares the flag for the stages after push of an image that is not of the
// repository of kstep.yml.
func (f *stageFlags) given(cmd *kingpin.CmdClause) {
	cmd.Flag("image", "The image that push was given, where it is not of the repository of kstep.yml.").Envar("KSTEP_IMAGE").StringVar(&f.image)
}

// without declares the flag that does without the app's secrets.
func (f *stageFlags) without(cmd *kingpin.CmdClause) {
	cmd.Flag("secrets-from", "Where env-push takes the app's secrets from: here, or hosts (what the last push left there).").
		Envar("KSTEP_SECRETS_FROM").Default("here").EnumVar(&f.secrets, "here", "hosts")
}

// follow declares the flag that carries out a plan.
func (f *stageFlags) follow(cmd *kingpin.CmdClause) {
	cmd.Flag("plan", "Apply this plan file. Refuse (21) if a host has changed since the plan was created.").PlaceHolder("FILE").Envar("KSTEP_PLAN").StringVar(&f.plan)
	cmd.Flag("plan-digest", "Refuse (21) any plan but the one with this digest, as kstep plan --out printed it.").PlaceHolder("DIGEST").Envar("KSTEP_PLAN_DIGEST").StringVar(&f.planDigest)
}

func (f *stageFlags) options() stages.Options {
	return stages.Options{Image: f.image, NewRelease: f.newRelease, Again: f.again, Anew: f.anew, GoesBack: f.goesBack, HostSecrets: f.secrets == "hosts"}
}

// sentence makes one of a summary.
func sentence(summary string) string {
	return strings.ToUpper(summary[:1]) + summary[1:] + "."
}

// configureStages declares one command for each stage of the pipeline.
func configureStages(p *program, app *kingpin.Application, actions map[string]action) {
	for _, stage := range pipeline() {
		info := stage.Info()
		cmd := app.Command(info.Name, sentence(info.Summary))
		flags := &stageFlags{}
		if info.Name == "build" || info.Name == "push" {
			flags.first(cmd)
		}
		if info.Name == "push" {
			flags.ready(cmd)
		} else if info.Hosts {
			flags.given(cmd)
		}
		if info.Name == "env-push" {
			flags.without(cmd)
		}
		flags.follow(cmd)
		var dry bool
		if info.Name == "prune" {
			cmd.Flag("dry-run", "Only show what would be removed.").BoolVar(&dry)
		}
		actions[info.Name] = func(ctx context.Context) error {
			follow, err := p.following(flags)
			if err != nil {
				return err
			}
			p.answers = dry
			return p.withSession(ctx, info.Name, flags.version, flags.options(), func(ctx context.Context, s *stages.Session) error {
				if err := follow(ctx, s); err != nil {
					return err
				}
				if dry {
					return p.planOnly(ctx, s, flags, info.Name)
				}
				_, err := stages.Execute(ctx, stage, s)
				return err
			})
		}
	}
}
