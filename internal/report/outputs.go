package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sethvargo/go-githubactions"

	"github.com/kstep/kstep/internal/atomicfile"
)

// output is one output of a CI job.
type output struct{ name, value string }

// OutputNames are the outputs of the GitHub action, in order. GitLab's dotenv
// report has the same as KSTEP_OUT_RESULT and so on.
func OutputNames() []string {
	var names []string
	for _, o := range outputs(&Result{PlanDigest: "any", Plan: &Plan{}}) {
		names = append(names, o.name)
	}
	return names
}

func outputs(r *Result) []output {
	hosts := r.Hosts
	if hosts == nil {
		hosts = []string{}
	}
	// Strings always marshal. GitHub's fromJSON takes this for a matrix.
	list, _ := json.Marshal(hosts)
	all := []output{
		{"result", r.Status},
		{"exit-code", strconv.Itoa(r.ExitCode)},
		{"release", r.Release},
		{"version", r.Version},
		{"image", r.Image},
		{"state-path", r.StatePath},
		{"hosts", string(list)},
		{"changed", strconv.FormatBool(r.Changed)},
	}
	// Empty ones would hide those of an earlier job, whose report GitLab gives on.
	if p := r.Plan; p != nil {
		all = append(all,
			output{"changes", strconv.Itoa(p.Changes())},
			output{"add", strconv.Itoa(p.Add)},
			output{"change", strconv.Itoa(p.Change)},
			output{"remove", strconv.Itoa(p.Remove)})
	}
	if r.PlanDigest != "" {
		all = append(all, output{"plan-digest", r.PlanDigest})
	}
	return all
}

// githubOutputs appends to the file that GITHUB_OUTPUT names.
func githubOutputs(env func(string) string) func(*tally) error {
	return func(t *tally) error {
		if t.result == nil {
			return nil
		}
		return guarded("GITHUB_OUTPUT", env, func(a *githubactions.Action) {
			for _, o := range outputs(t.result) {
				a.SetOutput(o.name, oneLine(o.value))
			}
		})
	}
}

// githubSummary appends to the file that GITHUB_STEP_SUMMARY names.
func githubSummary(env func(string) string) func(*tally) error {
	return func(t *tally) error {
		text := summary(t)
		if text == "" {
			return nil
		}
		return guarded("GITHUB_STEP_SUMMARY", env, func(a *githubactions.Action) { a.AddStepSummary(text) })
	}
}

// AppendSummary appends Markdown to the job summary of GitHub Actions, the file
// that GITHUB_STEP_SUMMARY names.
func AppendSummary(env func(string) string, markdown string) error {
	if env("GITHUB_STEP_SUMMARY") == "" {
		return errors.New("GITHUB_STEP_SUMMARY is not set: this is no step of GitHub Actions")
	}
	return guarded("GITHUB_STEP_SUMMARY", env, func(a *githubactions.Action) { a.AddStepSummary(markdown) })
}

// guarded turns the library's panics into an error; without the variable
// there is nothing to write to.
func guarded(variable string, env func(string) string, write func(*githubactions.Action)) (err error) {
	if env(variable) == "" {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("write to $%s: %v", variable, p)
		}
	}()
	write(githubactions.New(githubactions.WithGetenv(env)))
	return nil
}

// dotenvFile writes GitLab's dotenv report. GitLab takes up to 20 variables in
// 5 KB, without quotes, comments or line ends in values, and gives them to the
// jobs that follow: the prefix must not make flags of them there, as
// KSTEP_HOSTS would be.
func dotenvFile(path string) func(*tally) error {
	return func(t *tally) error {
		if t.result == nil {
			return nil
		}
		var b strings.Builder
		for _, o := range outputs(t.result) {
			name := "KSTEP_OUT_" + strings.ToUpper(strings.ReplaceAll(o.name, "-", "_"))
			fmt.Fprintf(&b, "%s=%s\n", name, oneLine(o.value))
		}
		return writeFile(path, []byte(b.String()))
	}
}

func writeFile(path string, data []byte) error {
	if err := atomicfile.Write(path, data); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
