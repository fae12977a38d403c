package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// expression evaluates the part of GitHub's expressions that the examples use:
// names, text in quotes, ||, &&, parentheses and format.
type expression struct {
	tokens []string
	values map[string]string
}

var expressionToken = regexp.MustCompile(`\|\||&&|[(),]|'[^']*'|[A-Za-z][A-Za-z0-9_.-]*`)

// expanded replaces all expressions of a text.
func expanded(text string, values map[string]string) string {
	return regexp.MustCompile(`\$\{\{(.*?)\}\}`).ReplaceAllStringFunc(text, func(found string) string {
		e := &expression{expressionToken.FindAllString(found, -1), values}
		return e.or()
	})
}

func (e *expression) next(token string) bool {
	if len(e.tokens) == 0 || e.tokens[0] != token {
		return false
	}
	e.tokens = e.tokens[1:]
	return true
}

func (e *expression) or() string {
	value := e.and()
	for e.next("||") {
		if other := e.and(); value == "" {
			value = other
		}
	}
	return value
}

func (e *expression) and() string {
	value := e.primary()
	for e.next("&&") {
		if other := e.primary(); value != "" {
			value = other
		}
	}
	return value
}

func (e *expression) primary() string {
	if e.next("(") {
		value := e.or()
		e.next(")")
		return value
	}
	if len(e.tokens) == 0 {
		return ""
	}
	token := e.tokens[0]
	e.tokens = e.tokens[1:]
	if token == "format" && e.next("(") {
		pattern := e.or()
		e.next(",")
		pattern = strings.ReplaceAll(pattern, "{0}", e.or())
		e.next(")")
		return pattern
	}
	if text, quoted := strings.CutPrefix(token, "'"); quoted {
		return strings.TrimSuffix(text, "'")
	}
	return e.values[token]
}

// expandedExample is an example of GitHub as it is read where the destination is
// given as the variable, or as an input.
func expandedExample(t *testing.T, path, destination string, input bool) string {
	t.Helper()
	values := map[string]string{"vars.KSTEP_DESTINATION": destination}
	if input || path == "github/deploy-hosts.yml" {
		values = map[string]string{"vars.KSTEP_DESTINATION": "other", "inputs.destination": destination}
	}
	for name, value := range document[struct{ Env map[string]string }](t, path).Env {
		values["env."+name] = expanded(value, values)
	}
	return regexp.MustCompile(`\$\{\{[^}]*(env|inputs\.destination|vars\.KSTEP)[^}]*(\}[^}]+)*\}\}`).ReplaceAllStringFunc(text(t, path),
		func(found string) string { return expanded(found, values) })
}

// Two destinations in one folder, artifact or group would take each other's state,
// and each other's turn.
func TestCIExamples_StateArtifactsAndGroupsFollowTheDestination(t *testing.T) {
	t.Parallel()
	for _, destination := range []string{"", "staging", "qa-2"} {
		folder := (&program{global: globals{destination: destination}}).stateFolder("")
		group, suffix := "production", ""
		if destination != "" {
			group, suffix = destination, "-"+destination
		}
		for path, input := range map[string]bool{"github/deploy.yml": false, "github/deploy-hosts.yml": true, "github/approve.yml": true} {
			got := expandedExample(t, path, destination, input && destination != "")
			for pattern, want := range map[string][]string{ // What each value is, or begins with.
				`(?m)^ +path: (.*)$`:                          {folder, folder + "/*"},
				`(?m)^ +KSTEP_STATE_DIR: (.*)$`:               {folder},
				`(?m)^ +KSTEP_DESTINATION: (.*)$`:             {destination},
				`(?m)^ +destination: (.*)$`:                   {destination},
				`(?m)^ +group: (.*)$`:                         {"kstep-" + group},
				`(?m)^ +(?:name|pattern): (kstep-image.*)$`:   {"kstep-image" + suffix},
				`(?m)^ +(?:name|pattern): (kstep-state.*)$`:   {"kstep-state" + suffix + "-*"},
				`(?m)^ +pattern: (kstep-\*.*)$`:               {"kstep-*" + suffix + "*"},
				`(?m)^ +(?:name|pattern): (deploy-[a-z]+.*)$`: {"deploy-plan" + suffix, "deploy-state" + suffix},
			} {
				for _, value := range captures(got, pattern) {
					if !slices.ContainsFunc(want, func(w string) bool {
						prefix, open := strings.CutSuffix(w, "*")
						return value == w || open && strings.HasPrefix(value, prefix)
					}) {
						t.Errorf("%s, destination %q: %s finds %q, want %q", path, destination, pattern, value, want)
					}
				}
			}
			if !strings.Contains(got, folder) {
				t.Errorf("%s, destination %q: nothing is in %s", path, destination, folder)
			}
		}
		for _, path := range []string{"gitlab/.gitlab-ci.yml", "gitlab/approve.gitlab-ci.yml"} {
			gitlab := document[struct {
				Variables map[string]string
				Workflow  struct {
					Rules []struct {
						If        string
						Variables map[string]string
					}
				}
			}](t, path)
			set := gitlab.Variables
			if rule := gitlab.Workflow.Rules[0]; destination != "" && strings.HasSuffix(rule.If, "&& $KSTEP_DESTINATION") {
				for name, value := range rule.Variables {
					set[name] = strings.ReplaceAll(value, "$KSTEP_DESTINATION", destination)
				}
			}
			if set["KSTEP_STATE_DIR"] != folder || set["RESOURCE_GROUP"] != group {
				t.Errorf("%s, destination %q: got %v, want the folder %s and the group %s", path, destination, set, folder, group)
			}
			_, jobs, _ := strings.Cut(text(t, path), "\n  RESOURCE_GROUP: production\n")
			if strings.Contains(jobs, "kstep-state") || strings.Contains(jobs, "resource_group: production") || !strings.Contains(jobs, "resource_group: $RESOURCE_GROUP\n") {
				t.Errorf("%s: a job has a folder or group of its own", path)
			}
		}
	}
}

func TestGitHubAction_StateFolderFollowsTheDestination(t *testing.T) {
	t.Parallel()
	var action struct{ Runs struct{ Steps []githubStep } }
	if err := yaml.Unmarshal([]byte(readText(t, githubAction)), &action); err != nil {
		t.Fatal(err)
	}
	text := action.Runs.Steps[len(action.Runs.Steps)-1].Env["KSTEP_STATE_DIR"]
	for _, c := range []struct {
		values map[string]string
		want   string
	}{
		{nil, "kstep-state"},
		{map[string]string{"inputs.destination": "staging"}, "kstep-state/staging"},
		{map[string]string{"env.KSTEP_DESTINATION": "qa-2"}, "kstep-state/qa-2"},
		{map[string]string{"inputs.destination": "staging", "env.KSTEP_DESTINATION": "qa-2"}, "kstep-state/staging"},
		{map[string]string{"env.KSTEP_DESTINATION": "qa-2", "env.KSTEP_STATE_DIR": "kstep-state"}, "kstep-state"},
		{map[string]string{"inputs.destination": "staging", "inputs.state-dir": "s"}, "s"},
	} {
		if got := expanded(text, c.values); got != c.want {
			t.Errorf("%v: got the folder %q, want %q", c.values, got, c.want)
		}
	}
}
