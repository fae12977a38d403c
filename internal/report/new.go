package report

import "io"

// Options select the sinks.
type Options struct {
	// Format is `text` (or empty) or `json`.
	Format string
	// CI is `github`, `gitlab` or empty.
	CI string
	// Stdout takes the JSON events, Stderr everything for people and for CI
	// systems. Both should redact already.
	Stdout, Stderr io.Writer
	// TTY is set if Stderr is a terminal of Width by Height.
	TTY           bool
	Width, Height int
	// Env looks up NO_COLOR, TERM, GITHUB_OUTPUT and GITHUB_STEP_SUMMARY.
	Env func(string) string
	// Redact masks secrets in the files that are written at the end.
	Redact func(string) string
	// Dotenv and JUnit are files to write, or empty.
	Dotenv, JUnit string
}

// New chooses the sinks: one that shows what happens, and one for the files at
// the end.
func New(opt Options) Sink {
	if opt.Env == nil {
		opt.Env = func(string) string { return "" }
	}
	files := &atEnd{redact: opt.Redact}
	if opt.CI == "github" {
		files.write = append(files.write, githubOutputs(opt.Env), githubSummary(opt.Env))
	}
	if opt.Dotenv != "" {
		files.write = append(files.write, dotenvFile(opt.Dotenv))
	}
	if opt.JUnit != "" {
		files.write = append(files.write, junitFile(opt.JUnit))
	}
	if len(files.write) == 0 {
		return &staged{Sink: log(opt)}
	}
	return &staged{Sink: Multi{log(opt), files}}
}

func log(opt Options) Sink {
	color := opt.Env("NO_COLOR") == ""
	switch {
	case opt.Format == "json":
		return NewJSON(opt.Stdout)
	case opt.CI == "github":
		return NewGitHub(opt.Stderr)
	case opt.CI == "gitlab":
		return NewGitLab(opt.Stderr, color)
	case opt.TTY && opt.Env("TERM") != "dumb":
		return NewTerminal(opt.Stderr, opt.Width, opt.Height, color)
	}
	return NewText(opt.Stderr)
}
