package main

import (
	"io"
	"os"

	"github.com/kstep/kstep/internal/actor"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/secret"
)

// cleanOutput is one of the process's outputs, for text that others have a say
// in: it is cleaned first and redacted then, since an escape sequence in the
// middle of a secret would hide it.
type cleanOutput struct {
	*report.Cleaner
	// exact redacts and changes nothing else.
	exact *secret.Writer
}

func (p *program) cleanOutput(w io.Writer, isJSON func() bool) *cleanOutput {
	exact := secret.NewWriter(w)
	return &cleanOutput{report.NewCleaner(exact, actor.CI(p.getenv), isJSON), exact}
}

// use masks the secrets of a store in both outputs.
func (p *program) use(secrets *secret.Store) {
	for _, out := range []*cleanOutput{p.out, p.errOut} {
		out.exact.Use(secrets)
	}
}

// isJSON reports whether the command's answer is JSON.
func (p *program) isJSON() bool { return p.global.output == "json" }

// isFile reports whether stdout goes to a file, in which a program's output must
// be what it printed, such as a dump.
func (p *program) isFile() bool {
	f, ok := p.stdout.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}
