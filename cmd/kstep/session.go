package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/actor"
	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/hook"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/internal/version"
	"github.com/kstep/kstep/schema"
	"github.com/kstep/kstep/stages"
)

// loadConfig reads the configuration that the global flags name.
func (p *program) loadConfig() (*config.Config, error) {
	cfg, err := config.Load(config.LoadOptions{
		Path: p.global.config, Destination: p.global.destination, Env: p.env, KstepVersion: buildInfo().Version, Commands: p.commands,
	})
	if err != nil {
		return nil, err
	}
	return cfg, p.oneName(cfg)
}

// stateDir opens the state folder. It is written with the secrets that must not
// get into it, and with the key of state.key.
func (p *program) stateDir(secrets *secret.Store, cfg *config.Config) (*state.Dir, error) {
	return state.Open(p.stateFolder(""), p.stateOptions(secrets, cfg))
}

func (p *program) stateOptions(secrets *secret.Store, cfg *config.Config) state.Options {
	options := state.Options{Validate: validateState, Adopt: p.global.adopt}
	if secrets != nil {
		options.Scan = secrets.Scan
		options.Key = sync.OnceValues(func() ([]byte, error) { return stateKey(secrets, cfg) })
		options.Redact = func(text string) string { return secrets.Redact(report.Plain(text)) }
	}
	return options
}

// shortestKey is how many characters the secret of state.key must have: half of what
// `openssl rand -hex 32` prints.
const shortestKey = 32

// stateKey is the secret of state.key, or nil.
func stateKey(secrets *secret.Store, cfg *config.Config) ([]byte, error) {
	if len(cfg.State.Key) == 0 {
		return nil, nil
	}
	value, err := secrets.Get(cfg.State.Key[0])
	if err != nil {
		return nil, fmt.Errorf("state.key: %w", err)
	}
	if len(value.Reveal()) < shortestKey {
		return nil, exit.With(exit.Config, fmt.Errorf("state.key: the secret %s has fewer than %d characters", cfg.State.Key[0], shortestKey),
			"make one with: openssl rand -hex 32")
	}
	return []byte(value.Reveal()), nil
}

// stateFolder is where the state files are, from the folder in which the command
// runs. A destination has a folder of its own, unless an earlier version of kstep
// has left its files in the common one.
func (p *program) stateFolder(from string) string {
	const common = "kstep-state"
	destination := p.global.destination
	switch {
	case p.global.stateDir != "":
		return p.global.stateDir
	case destination == "" || !filepath.IsLocal(destination):
		return filepath.Join(from, common)
	}
	own := filepath.Join(from, common, destination)
	if _, err := os.Stat(own); err == nil {
		return own
	}
	if dir, err := state.Open(filepath.Join(from, common), state.Options{}); err == nil {
		for _, e := range dir.Inspect() {
			if e.File != nil && e.File.Destination == destination {
				return dir.Path()
			}
		}
	}
	return own
}

// secretStore makes the store of the configuration's secrets, and masks them in
// what the program prints.
func (p *program) secretStore(ctx context.Context, cfg *config.Config) *secret.Store {
	programs := secret.Commands{Dir: filepath.Dir(cfg.Path), Stderr: p.errOut}
	commands := map[string][]string{}
	for name, argv := range cfg.Secrets.Commands {
		commands[name] = argv
	}
	store := secret.NewStore(secret.Options{
		Env: p.env, Dir: filepath.Dir(cfg.Path), Destination: cfg.Destination, OnReveal: p.mask,
		Commands: commands, AllowEmpty: cfg.Secrets.AllowEmpty,
		Hint: func(name string) []string { return actor.SecretHint(p.getenv, name) },
		Run:  func(argv []string) (string, error) { return programs.Output(ctx, argv) },
	})
	p.use(store)
	return store
}

// learn makes the store know every secret of the configuration that this
// process has at hand, before anything prints it: hooks see the whole
// environment. A missing secret is reported where it is needed.
func learn(secrets *secret.Store, cfg *config.Config) {
	for _, use := range cfg.SecretNames() {
		if use.Name != cfg.Registry.Username.Secret { // Part of image names.
			_, _ = secrets.Get(use.Name, secret.AllowEmpty, secret.OnHand)
		}
	}
}

// isOfApp reports whether the secret is one of containers. Destinations may
// share those of registries, builds and SSH.
func isOfApp(cfg *config.Config, name string) bool {
	for _, use := range cfg.SecretNames() {
		if use.Name != name {
			continue
		}
		return slices.ContainsFunc(use.Where, func(path string) bool {
			return !slices.Contains([]string{"registry", "registries", "builder", "ssh"}, topKey(path))
		})
	}
	return false
}

// topKey is the first key of a path such as `registry.password[0]`.
func topKey(path string) string { return path[:strings.IndexAny(path+".", ".[")] }

// mask registers a secret with GitHub's runner before it can be printed. It
// bypasses the redaction, which would mask the command itself.
func (p *program) mask(v secret.Value) {
	if actor.CI(p.getenv) == actor.GitHub {
		_ = report.Mask(p.stderr, v.Reveal()) // A stream that is gone shows no secret either.
	}
}

// validateState holds a state file against its schema.
func validateState(data []byte) error { return validate(data, schema.ValidateState) }

// validatePlan holds a plan file against its schema.
func validatePlan(data []byte) error { return validate(data, schema.ValidatePlan) }

func validate(data []byte, by func(any) []schema.Problem) error {
	doc, err := schema.Decode(data)
	if err != nil {
		return err
	}
	var errs []error
	for _, problem := range by(doc) {
		errs = append(errs, fmt.Errorf("at %s: %s", problem.Pointer(), problem.Message))
	}
	return errors.Join(errs...)
}

// withSession runs work with all that stages need, and ends what it opened:
// connections, the report, the redaction of both outputs. command may have a
// second word.
func (p *program) withSession(ctx context.Context, command, flagVersion string, options stages.Options, work func(context.Context, *stages.Session) error) (err error) {
	cfg, err := p.loadConfig()
	if err != nil {
		return p.refuse(err)
	}
	secrets := p.secretStore(ctx, cfg)
	learn(secrets, cfg)
	stderr := secrets.Redactor(p.stderr)
	defer func() { err = errors.Join(err, stderr.Close()) }()

	dir, err := p.stateDir(secrets, cfg)
	if err != nil {
		return err
	}
	sink := report.New(p.reportOptions(stderr, secrets))
	var session *stages.Session
	defer func() { err = p.close(sink, session, err) }()
	secrets.OnShared(func(name string) {
		if isOfApp(cfg, name) {
			sink.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Warning, Message: fmt.Sprintf(
				"destination %s gets the value of %s in .env, which other destinations use too: its own one belongs into .env.%s",
				cfg.Destination, name, cfg.Destination)})
		}
	})

	who := actor.Detect(p.getenv, func() string { return actor.GitUser(ctx, filepath.Dir(cfg.Path)) })
	session = &stages.Session{
		Config: cfg, Roles: list(p.global.roles), HostGlobs: list(p.global.hosts),
		Dir: dir, Secrets: secrets, Report: sink,
		Hooks: &hook.Runner{
			Dirs: hookDirs(cfg, p.getenv("HOME")), WorkDir: filepath.Dir(cfg.Path), Env: os.Environ(),
			Timeout: cfg.HookTimeout.D(), Skip: p.global.skipHooks, Sink: sink, Redact: secrets.Redact,
		},
		Tool: buildInfo(), Actor: who, By: actor.Performer(who),
		Named: p.global.release, Commit: p.commit(cfg, flagVersion),
		Pipeline: pipeline(), Resume: p.global.resume, StateFrom: p.global.stateFrom, Options: options,
		Guard: &lease.Guard{}, Wait: p.global.wait,
	}
	session.Command, session.Subcommand, _ = strings.Cut(command, " ")
	session.Resolve = p.resolver(cfg, flagVersion, options, sink)
	around := session.Guard.Around(p.around)
	if command == "plan" {
		around = lease.ReadOnly(p.around)
	}
	if session.Hosts, err = p.pool(cfg, secrets, sink, command, around); err != nil {
		return err
	}
	defer session.Hosts.Close()
	defer session.Settle(ctx)
	return aroundCommand(ctx, session, work)
}

// inSession makes an action of work that needs no more than a session.
func (p *program) inSession(command string, work func(context.Context, *stages.Session) error) action {
	return func(ctx context.Context) error { return p.withSession(ctx, command, "", stages.Options{}, work) }
}

// look is inSession for a command that changes nothing.
func (p *program) look(command string, work func(context.Context, *stages.Session) error) action {
	return p.answering(p.inSession(command, work))
}

// answering makes the action of a command that changes nothing: with --output
// json its answer is all that stdout gets. Errors go to stderr.
func (p *program) answering(act action) action {
	return func(ctx context.Context) error {
		p.answers = true
		return act(ctx)
	}
}

// aroundCommand runs the hooks that surround a whole command. The one after it
// runs whatever the result, and cannot change it for the better.
func aroundCommand(ctx context.Context, s *stages.Session, work func(context.Context, *stages.Session) error) error {
	details := hook.Details{
		Performer: s.By, Service: s.Config.Service, Destination: s.Config.Destination, Version: s.Version,
		Hosts: s.Config.Hosts(), Command: s.Command, Subcommand: s.Subcommand, StateDir: s.Dir.Path(),
	}
	if err := s.Hooks.Run(ctx, "pre-command", details); err != nil {
		if ctx.Err() == nil {
			refused(ctx, s, details, err)
		}
		return err
	}
	began := time.Now()
	err := s.AfterMove(work(ctx, s))
	details.Version, details.Release, details.Runtime = s.Version, s.Release, time.Since(began)
	details.Status, details.ExitCode = s.Result(err).Status, int(exit.CodeOf(err))
	err = s.AfterMove(errors.Join(err, s.Hooks.Run(context.WithoutCancel(ctx), "post-command", details)))
	sayWhoServes(ctx, s, err)
	return err
}

// refused runs the hook of failures after one before the command has refused it.
func refused(ctx context.Context, s *stages.Session, details hook.Details, cause error) {
	details.Status, details.ExitCode = string(state.Failed), int(exit.CodeOf(cause))
	if err := s.Hooks.Run(ctx, "on-failure", details); err != nil {
		s.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Warning, Message: fmt.Sprintf("%s (after: %s)", err, cause)})
	}
}

// refuse reports what is wrong with the configuration, so that a CI system
// shows it at its line.
func (p *program) refuse(err error) error {
	secrets := secret.NewStore(secret.Options{})
	stderr := secrets.Redactor(p.stderr)
	err = p.close(report.New(p.reportOptions(stderr, secrets)), nil, err)
	return errors.Join(err, stderr.Close())
}

// pool makes the connections, none of which is opened yet. The job of a stage
// that touches no hosts need not have the SSH key.
func (p *program) pool(cfg *config.Config, secrets *secret.Store, sink report.Sink, command string, around host.Intercept) (*host.Pool, error) {
	for _, stage := range pipeline() {
		if info := stage.Info(); info.Name == command && !info.Hosts {
			if p.global.stateFrom == stages.FromHosts && info.Name == stages.LastHostless {
				break // It leaves its state there.
			}
			return host.NewPool(host.Options{}), nil
		}
	}
	connect, err := host.OptionsFrom(cfg.SSH, secretText(secrets), p.getenv)
	if err != nil {
		return nil, err
	}
	connect.FilesTransport = p.filesTransport
	connect.Observed = masking(secrets, cfg)
	connect.Intercept, connect.Env, connect.Once = around, p.env, p.answers
	connect.Warn = func(w host.Warning) {
		sink.Emit(report.Event{
			Time: time.Now().UTC(), Kind: report.Warning, File: w.File, Line: w.Line,
			Message: fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text),
		})
	}
	return host.NewPool(connect), nil
}

// close reports to the sink how the command ended, and closes it. s is nil if
// the command ended before it had a session.
func (p *program) close(sink report.Sink, s *stages.Session, err error) error {
	if err != nil && exit.CodeOf(err) != exit.ChangesPending { // That is an answer.
		sink.Emit(failure(err))
	}
	result := report.Result{Status: string(state.Failed), ExitCode: int(exit.CodeOf(err))}
	if s != nil {
		result = s.Result(err)
	}
	sink.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Finished, Result: &result})
	if err != nil {
		err = shownError{err}
	}
	return errors.Join(err, sink.Close())
}

// failure is the event of the error that ends a command, with its place in a
// file where it has one.
func failure(err error) report.Event {
	e := report.Event{
		Time: time.Now().UTC(), Kind: report.Failure, Message: err.Error(), Hints: exit.Hints(err),
		Status: exit.CodeOf(err).Class(),
	}
	if problems, ok := errors.AsType[config.Errors](err); ok && len(problems) > 0 {
		e.File, e.Line, e.Column = problems[0].File, problems[0].Line, problems[0].Column
	}
	return e
}

func (p *program) reportOptions(stderr *secret.Writer, secrets *secret.Store) report.Options {
	options := report.Options{
		Format: p.global.output, CI: actor.CI(p.getenv), Stdout: p.out, Stderr: stderr,
		Env: p.getenv, Redact: secrets.Redact, Dotenv: p.global.dotenv, JUnit: p.global.junit,
	}
	if p.answers {
		options.Format = "text"
	}
	if f, ok := p.stderr.(*os.File); ok {
		options.Width, options.Height, options.TTY = report.TerminalSize(f)
	}
	return options
}

// getenv is a variable of the environment, or nothing.
func (p *program) getenv(name string) string {
	value, _ := p.env(name)
	return value
}

// commit finds the commit of the checkout, as the first stage would.
func (p *program) commit(cfg *config.Config, flag string) func(context.Context) string {
	return func(ctx context.Context) string {
		given, _ := p.env("KSTEP_VERSION")
		_, source, _, err := version.Resolve(ctx, version.Options{
			Flag: flag, Env: given, Dir: filepath.Dir(cfg.Path), Exclude: []string{"kstep-state", p.stateFolder("")},
		})
		if err != nil {
			return "" // There is no checkout.
		}
		return source.Commit
	}
}

// resolver returns the version that the first stage gives its release.
func (p *program) resolver(cfg *config.Config, flag string, options stages.Options, sink report.Sink) func(context.Context) (string, state.Source, error) {
	return func(ctx context.Context) (string, state.Source, error) {
		given, _ := p.env("KSTEP_VERSION")
		name, source, warning, err := version.Resolve(ctx, version.Options{
			Flag: flag, Env: given, Dir: filepath.Dir(cfg.Path), BuildsTree: cfg.Builder.Context != "",
			Exclude: []string{"kstep-state", p.stateFolder("")},
		})
		if warning != "" && options.Image == "" { // It is of a build.
			sink.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Warning, Message: warning})
		}
		return name, source, err
	}
}

// secretText gives a secret's text to code that has no other use for it than
// to log in.
func secretText(secrets *secret.Store) func(string) (string, error) {
	return func(name string) (string, error) {
		value, err := secrets.Get(name)
		return value.Reveal(), err
	}
}

// hookDirs are where hooks are looked for: the project's folder wins.
func hookDirs(cfg *config.Config, home string) []string {
	dirs := []string{filepath.Join(filepath.Dir(cfg.Path), cfg.HooksPath)}
	if filepath.IsAbs(cfg.HooksPath) {
		dirs[0] = cfg.HooksPath
	}
	if home != "" {
		dirs = append(dirs, filepath.Join(home, ".kstep", "hooks"))
	}
	return dirs
}

// result prints one line of a command's result.
func (p *program) result(format string, args ...any) {
	fmt.Fprintf(p.out, format+"\n", args...)
}
