package main

import (
	"regexp"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/secret"
)

// minGuessed is the shortest value that counts as a secret for the name of its
// variable alone.
const minGuessed = 8

// confidential are names of variables that hold secrets, and password finds a URL
// with a password.
var (
	confidential = regexp.MustCompile(`(?i)secret|token|passw|pwd|credential|private|dsn|(^|_)(pass|auth)(_|$)|key$`)
	password     = regexp.MustCompile(`://[^/@\s]*:[^/@\s]+@`)
)

// masking masks the values of each container's secret variables. The job that
// shows what the container has written need not have them: they are taken from the
// container. Of variables that the configuration does not have, such as those of
// an earlier version, the name or a password in the value says so.
func masking(secrets *secret.Store, cfg *config.Config) func(engine.Container) {
	isSecret, isClear := cfg.EnvNames()
	return func(c engine.Container) {
		for _, variable := range c.Env {
			name, value, _ := strings.Cut(variable, "=")
			guessed := !isClear[name] && !strings.HasPrefix(name, "KSTEP_") && len(value) >= minGuessed &&
				(confidential.MatchString(name) || password.MatchString(value))
			if isSecret[name] || guessed {
				secrets.Mask(name, secret.NewValue(value))
			}
		}
	}
}
