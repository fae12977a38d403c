package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/stages"
)

// program is what every command may use of its process. stdin is only for what
// the user runs in a container; stdout is for results, stderr for people.
//
// What programs, hosts and files may have a say in goes to out and errOut, which
// clean and redact. The report cleans by itself.
type program struct {
	env    func(string) (string, bool)
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	out    *cleanOutput
	errOut *cleanOutput
	// around stands around every remote operation; tests count and break them
	// there. Nil in the real program.
	around host.Intercept
	// filesTransport is host.Options.FilesTransport; only tests choose one.
	filesTransport string
	// lookup finds the addresses of a name; only tests set it. Nil queries DNS.
	lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	global globals
	// commands are the names of kstep's own.
	commands []string
	// answers keeps stdout for the answer of the command alone.
	answers bool
}

// globals are the flags that every command takes.
type globals struct {
	config      string
	destination string
	stateDir    string
	stateFrom   string
	release     string
	output      string
	roles       []string
	hosts       []string
	adopt       bool
	resume      bool
	wait        time.Duration
	skipHooks   bool
	dotenv      string
	junit       string
}

// action is a command's body: what happens once its flags are read.
type action func(ctx context.Context) error

// run reads the command line, runs the command, and returns the exit code.
func (p *program) run(ctx context.Context, args []string) exit.Code {
	p.out, p.errOut = p.cleanOutput(p.stdout, p.isJSON), p.cleanOutput(p.stderr, nil)
	code := p.runAction(ctx, args)
	if err := errors.Join(p.out.Close(), p.errOut.Close()); err != nil && code == exit.OK {
		fmt.Fprintf(p.stderr, "error: %s\n", err)
		return exit.CodeOf(err)
	}
	return code
}

func (p *program) runAction(ctx context.Context, args []string) exit.Code {
	var ended bool
	app, actions := application(p)
	app.Writer(p.out)
	// --help and --completion-script-… end the program, in kingpin's eyes. It
	// must return instead, and then kingpin goes on parsing: in silence.
	app.Terminate(func(int) { ended = true; app.Writer(io.Discard) })
	if len(args) == 0 {
		app.Writer(p.errOut)
		app.Usage(nil)
		return exit.Usage
	}
	p.commands = commandNames(app)
	args, err := p.withAliases(app, args)
	if err != nil {
		return p.conclude(err)
	}
	args = withTime(args)
	name, err := app.Parse(args)
	if ended {
		return exit.OK
	}
	if err != nil {
		return p.usage(app, err, args)
	}
	return p.conclude(actions[name](ctx))
}

// application declares all commands. The second result has a body for each.
func application(p *program) (*kingpin.Application, map[string]action) {
	app := kingpin.New("kstep", "Zero-downtime Docker deploys to your own servers, in stages.")
	app.HelpFlag.Short('h').Help("Show this help.")
	app.UsageTemplate(usageTemplate())
	app.UsageFuncs(usageFuncs())
	app.PreAction(fillIn(app))
	p.global.declare(app)

	actions := map[string]action{}
	for _, configure := range []func(*program, *kingpin.Application, map[string]action){
		configureStages,
		configureDeploy,
		configureRedeploy,
		configureRollback,
		configurePreflight,
		configureDoctor,
		configureReleases,
		configureAbort,
		configureStatus,
		configureAudit,
		configureCerts,
		configureReport,
		configurePlan,
		configureEnv,
		configureEnvify,
		configureSecrets,

		configureLock,
		configureMatrix,
		configureApp,
		configureProxy,
		configureAccessory,
		configureTask,
		configureServer,
		configureRemove,
		configureState,
		configureInit,
		configureImport,
		configureConfig,
		configureSchema,
		configureVersion,
	} {
		configure(p, app, actions)
	}
	return app, actions
}

func (g *globals) declare(app *kingpin.Application) {
	app.Flag("config", "The configuration file.").Short('c').Envar("KSTEP_CONFIG").Default("kstep.yml").StringVar(&g.config)
	app.Flag("destination", "Merge kstep.<destination>.yml over the configuration.").Short('d').Envar("KSTEP_DESTINATION").StringVar(&g.destination)
	app.Flag("state-dir", "The folder of the state files. Default: kstep-state, of a destination kstep-state/<destination>.").Envar("KSTEP_STATE_DIR").StringVar(&g.stateDir)
	app.Flag("state-from", "Where state comes from that the folder does not have: dir (nowhere), or hosts (their copy of it).").Envar("KSTEP_STATE_FROM").Default("dir").EnumVar(&g.stateFrom, "dir", stages.FromHosts)
	app.Flag("release", "The ID of the release to continue (output release). Default: the release in the state folder, or the newest on the hosts.").Envar("KSTEP_RELEASE").StringVar(&g.release)
	app.Flag("output", "Output format: text, or json (one event per line on stdout).").Envar("KSTEP_OUTPUT").Default("text").EnumVar(&g.output, "text", "json")
	app.Flag("roles", "Only these roles (globs, by comma or repeated).").Envar("KSTEP_ROLES").StringsVar(&g.roles)
	app.Flag("hosts", "Only these hosts (globs, by comma or repeated).").Envar("KSTEP_HOSTS").StringsVar(&g.hosts)
	app.Flag("adopt", "Take, and replace, state files of another service, destination or release.").BoolVar(&g.adopt)
	app.Flag("resume", "Continue from stages that failed or were interrupted.").BoolVar(&g.resume)
	app.Flag("wait", "Queue this long for the lease when another release holds it; an hour, if no time is given. Default: lease.wait of the configuration.").Envar("KSTEP_WAIT").PlaceHolder("[DURATION]").DurationVar(&g.wait)
	app.Flag("dotenv-file", "Also write the results as a dotenv file (GitLab: artifacts:reports:dotenv).").Envar("KSTEP_DOTENV_FILE").StringVar(&g.dotenv)
	app.Flag("junit-file", "Also write a JUnit report, one case for each target.").Envar("KSTEP_JUNIT_FILE").StringVar(&g.junit)
	app.Flag("skip-hooks", "Run no hooks.").Envar("KSTEP_SKIP_HOOKS").BoolVar(&g.skipHooks)
}

// waitTime is how long a plain --wait queues.
const waitTime = time.Hour

// withTime gives a plain --wait its time: the parser knows no flag with a value
// that may be left out.
func withTime(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if arg != "--wait" {
			continue
		}
		timed := false
		if i+1 < len(args) {
			_, err := time.ParseDuration(args[i+1])
			timed = err == nil
		}
		if !timed {
			args[i] = "--wait=" + waitTime.String()
		}
	}
	return args
}

// list splits a repeatable flag's values at commas.
func list(values []string) []string {
	var all []string
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				all = append(all, part)
			}
		}
	}
	return all
}

// shownError marks an error that the report of its stage has shown already.
type shownError struct{ error }

func (t shownError) Unwrap() error { return t.error }

// conclude shows the error that ends the command, and returns its exit code.
func (p *program) conclude(err error) exit.Code {
	if err == nil {
		return exit.OK
	}
	if _, shown := errors.AsType[shownError](err); !shown {
		fmt.Fprintf(p.errOut, "error: %s\n", err)
		for _, hint := range exit.Hints(err) {
			fmt.Fprintf(p.errOut, "hint: %s\n", hint)
		}
	}
	return exit.CodeOf(err)
}
