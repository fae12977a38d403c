// Package actor reports who runs kstep: which CI job, which person. It believes
// the environment and proves nothing; do not decide about rights by it.
package actor

import (
	"cmp"
	"context"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/state"
)

// The CI systems that kstep knows by name.
const (
	GitHub = "github"
	GitLab = "gitlab"
)

// runURLs are the variables in which other CI systems give the address of the
// run: Buildkite, CircleCI, Woodpecker and Jenkins.
func runURLs() []string {
	return []string{"BUILDKITE_BUILD_URL", "CIRCLE_BUILD_URL", "CI_PIPELINE_URL", "RUN_DISPLAY_URL", "BUILD_URL"}
}

// Detect reads the environment. Outside of CI it calls person, which returns
// the user's name (see GitUser).
func Detect(env func(string) string, person func() string) state.Actor {
	switch CI(env) {
	case GitHub:
		return github(env)
	case GitLab:
		return state.Actor{
			CI:     GitLab,
			RunURL: plainURL(cmp.Or(env("CI_JOB_URL"), env("CI_PIPELINE_URL"))),
			Run:    plainURL(cmp.Or(env("CI_PIPELINE_URL"), env("CI_JOB_URL"))),
			User:   cmp.Or(env("GITLAB_USER_LOGIN"), env("GITLAB_USER_EMAIL")),
		}
	}
	a := state.Actor{}
	for _, name := range runURLs() {
		if a.RunURL = plainURL(env(name)); a.RunURL != "" {
			break
		}
	}
	a.Run = a.RunURL
	if person != nil {
		a.User = person()
	}
	a.User = cmp.Or(a.User, env("USER"), env("LOGNAME"))
	return a
}

// CI is the CI system by its name, or empty. Gitea and Forgejo run GitHub's
// workflows and count as GitHub.
func CI(env func(string) string) string {
	switch {
	case env("GITHUB_ACTIONS") == "true":
		return GitHub
	case env("GITLAB_CI") == "true":
		return GitLab
	}
	return ""
}

func github(env func(string) string) state.Actor {
	a := state.Actor{CI: GitHub, User: cmp.Or(env("GITHUB_TRIGGERING_ACTOR"), env("GITHUB_ACTOR"))}
	a.Attempt, _ = strconv.Atoi(env("GITHUB_RUN_ATTEMPT"))
	server, repo, run := env("GITHUB_SERVER_URL"), env("GITHUB_REPOSITORY"), env("GITHUB_RUN_ID")
	if server == "" || repo == "" || run == "" {
		return a
	}
	address := strings.TrimRight(server, "/") + "/" + repo + "/actions/runs/" + run
	a.Run = plainURL(address)
	if a.Attempt > 1 {
		address += "/attempts/" + strconv.Itoa(a.Attempt)
	}
	a.RunURL = plainURL(address)
	return a
}

// plainURL leaves out what is no web address, and credentials in what is one:
// it ends up in state files.
func plainURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return ""
	}
	u.User = nil
	return u.String()
}

// gitTimeout is for a git that hangs on a network home folder.
const gitTimeout = 2 * time.Second

// GitUser is the e-mail address that git would commit with in dir, or its user
// name, or empty.
func GitUser(ctx context.Context, dir string) string {
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	for _, key := range []string{"user.email", "user.name"} {
		cmd := exec.CommandContext(ctx, "git", "config", "--get", key)
		cmd.Dir = dir
		cmd.WaitDelay = gitTimeout
		if out, err := cmd.Output(); err == nil && len(strings.TrimSpace(string(out))) > 0 {
			return strings.TrimSpace(string(out))
		}
	}
	return ""
}

// Performer is the actor in one word for hooks, leases and the audit.
func Performer(a state.Actor) string {
	return cmp.Or(a.User, a.CI, "unknown")
}
