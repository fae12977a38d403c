package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/report"
)

const (
	ciExamples   = "../../ci-examples"
	githubAction = "../../.github/actions/kstep/action.yml"
	stateFolder  = "${{ env.KSTEP_STATE_DIR }}" // Of the GitHub examples.
)

func TestCIExamples_HaveTheStagesOfThePipelineInOrder(t *testing.T) {
	t.Parallel()
	var want []string
	for _, stage := range pipeline() {
		want = append(want, stage.Info().Name)
	}
	github := text(t, "github/deploy.yml") + text(t, "github/deploy-hosts.yml")
	gitlab := document[struct{ Stages []string }](t, "gitlab/.gitlab-ci.yml").Stages
	list := regexp.MustCompile(`(?m)^kstep_stages := (.*)$`).FindStringSubmatch(text(t, "make/kstep.mk"))
	if list == nil {
		t.Fatal("kstep.mk has no list of stages")
	}
	first := append([]string{"preflight"}, want...)
	for name, c := range map[string]struct{ got, want []string }{
		"github": {captures(github, `(?m)^          stage: (\S+)$`), first},
		"gitlab": {gitlab, first},
		"make":   {strings.Fields(list[1]), want}, // Preflight leaves no file.
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s has the stages %v, want %v", name, c.got, c.want)
		}
	}
}

// What a deploy needs is checked before minutes go into a build, by a job that holds
// the secrets: build holds none.
func TestCIExamples_CheckWhatADeployNeedsBeforeTheBuild(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"github/deploy.yml", "github/approve.yml"} {
		jobs := document[struct{ Jobs map[string]githubJob }](t, path).Jobs
		var check, verdict githubStep
		if steps := jobs["preflight"].Steps; len(steps) > 1 {
			check, verdict = steps[len(steps)-2], steps[len(steps)-1]
		}
		if check.With["stage"] != "preflight" || !slices.Equal(jobs["build"].Needs, needs{"preflight"}) || jobs["preflight"].Environment != "production" {
			t.Errorf("%s: the build needs %v, want preflight in the environment without reviewers", path, jobs["build"].Needs)
		}
		if got := slices.Sorted(maps.Keys(check.Env)); !slices.Equal(got, []string{"DATABASE_URL", "KSTEP_KNOWN_HOSTS", "REGISTRY_PASSWORD", "SSH_PRIVATE_KEY"}) {
			t.Errorf("%s: preflight has %v, want all that a deploy needs", path, got)
		}
		// A lease that another release holds ends no build: its deploy waits.
		if verdict.If != "steps.preflight.outcome != 'success' && steps.preflight.outputs.exit-code != '20'" || verdict.Run != "exit 1" {
			t.Errorf("%s: preflight ends with %+v", path, verdict)
		}
		for _, step := range jobs["build"].Steps {
			if len(step.Env) > 0 {
				t.Errorf("%s: build has %v, want no secret", path, step.Env)
			}
		}
	}
	type job struct {
		Needs        []string
		Script       []string
		Environment  struct{ Name, Action string }
		AllowFailure struct {
			ExitCodes []int `yaml:"exit_codes"`
		} `yaml:"allow_failure"`
	}
	for _, path := range []string{"gitlab/.gitlab-ci.yml", "gitlab/approve.gitlab-ci.yml"} {
		jobs := document[struct{ Preflight, Build job }](t, path)
		if p := jobs.Preflight; !slices.Equal(jobs.Build.Needs, []string{"preflight"}) || jobs.Build.Environment.Name != "" ||
			!slices.Equal(p.Script, []string{"exec kstep preflight"}) || p.Environment.Name != "production" || p.Environment.Action != "access" || !slices.Equal(p.AllowFailure.ExitCodes, []int{20}) {
			t.Errorf("%s: got %+v, want preflight before the build", path, jobs)
		}
	}
	if !strings.Contains(text(t, "make/kstep.mk"), "\n$(KSTEP_STATE_DIR)/build.json:\n\t$(KSTEP) preflight\n\t$(KSTEP) build\n") {
		t.Error("make does not run preflight before build")
	}
}

func TestCIExamples_GiveEachStageTheStateFilesItReads(t *testing.T) {
	t.Parallel()
	gitlab := document[map[string]yaml.Node](t, "gitlab/.gitlab-ci.yml")
	rules := text(t, "make/kstep.mk")
	github := githubJobs(t)
	for _, stage := range pipeline() {
		info := stage.Info()
		var job struct{ Needs []string }
		want := info.Reads
		if info.Name == "build" {
			want = []string{"preflight"}
		}
		if node := gitlab[info.Name]; node.Decode(&job) != nil || !slices.Equal(job.Needs, want) {
			t.Errorf("gitlab: %s needs %v, want %v", info.Name, job.Needs, want)
		}
		var made []string
		for _, file := range captures(rules, `(?m)^\$\(KSTEP_STATE_DIR\)/`+info.Name+`\.json: (.*)$`) {
			made = captures(file, `\$\(KSTEP_STATE_DIR\)/(\S+)\.json`)
		}
		if !slices.Equal(made, info.Reads) {
			t.Errorf("make: %s is made from %v, but reads %v", info.Name, made, info.Reads)
		}
		// A download by pattern gets what the jobs before have left.
		for _, read := range info.Reads {
			if !before(github, info.Name, read) {
				t.Errorf("github: %s reads %s, but may run before it", info.Name, read)
			}
		}
	}
}

func TestGitHubExample_GivesSecretsOnlyToTheJobsThatNeedThem(t *testing.T) {
	t.Parallel()
	jobs := githubJobs(t)
	for _, stage := range pipeline() {
		info := stage.Info()
		var want []string
		if info.Hosts {
			want = append(want, "SSH_PRIVATE_KEY")
		}
		switch info.Name {
		case "push", "assets": // Which pulls.
			want = append(want, "REGISTRY_PASSWORD")
		case "env-push":
			want = append(want, "DATABASE_URL")
		}
		var got []string
		for _, step := range jobs[info.Name].Steps {
			for name, value := range step.Env {
				if strings.Contains(value, "secrets.") {
					got = append(got, name)
				}
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s has the secrets %v, want %v", info.Name, got, want)
		}
	}
}

func TestGitHubExample_KeepsTheStateOfAFailedStage(t *testing.T) {
	t.Parallel()
	jobs := githubJobs(t)
	for _, stage := range pipeline() {
		name := stage.Info().Name
		kept := slices.ContainsFunc(jobs[name].Steps, func(s githubStep) bool {
			return strings.HasPrefix(s.Uses, "actions/upload-artifact@") && s.If == "always()" &&
				s.With["path"] == stateFolder+"/"+name+".json" && s.With["name"] == "kstep-state${{ env.SUFFIX }}-"+name
		})
		if !kept {
			t.Errorf("%s does not keep %s.json when it fails", name, name)
		}
		for _, step := range jobs[name].Steps {
			if strings.HasPrefix(step.Uses, "actions/") && !regexp.MustCompile(`@[0-9a-f]{40}$`).MatchString(step.Uses) {
				t.Errorf("%s: %s is not pinned to a commit", name, step.Uses)
			}
		}
	}
}

func TestGitHubExample_CarriesOutJustThePlanThatWasApproved(t *testing.T) {
	t.Parallel()
	const file = stateFolder + "/plan.json"
	jobs := document[struct{ Jobs map[string]githubJob }](t, "github/approve.yml").Jobs
	steps := func(job, uses string) (found []githubStep) {
		for _, step := range jobs[job].Steps {
			if strings.HasPrefix(step.Uses, "actions/") && !regexp.MustCompile(`@[0-9a-f]{40}$`).MatchString(step.Uses) {
				t.Errorf("%s: %s is not pinned to a commit", job, step.Uses)
			}
			if strings.Contains(step.Uses, uses+"@") {
				found = append(found, step)
			}
		}
		return found
	}
	made, kept := steps("plan", "actions/kstep"), steps("plan", "upload-artifact")
	if len(made) != 1 || made[0].With["stage"] != "plan" || made[0].With["args"] != "--out="+file || len(kept) != 1 || kept[0].With["path"] != file {
		t.Errorf("plan does %v and keeps %v, want a plan made and kept", made, kept)
	}
	for name := range made[0].Env {
		if name != "SSH_PRIVATE_KEY" && name != "KSTEP_KNOWN_HOSTS" && name != "REGISTRY_PASSWORD" {
			t.Errorf("plan has %s, which it does not need", name)
		}
	}
	// The plan pins what was pushed: it is made after that, of the image by its digest.
	if pushed := steps("push", "actions/kstep"); !slices.Equal(jobs["plan"].Needs, needs{"push"}) || !slices.Equal(jobs["push"].Needs, needs{"build"}) || len(pushed) != 1 ||
		jobs["push"].Outputs["image"] != "${{ steps."+pushed[0].ID+".outputs.image }}" || made[0].With["image"] != "${{ needs.push.outputs.image }}" {
		t.Errorf("plan needs %v and gets the image %q, push has the outputs %v", jobs["plan"].Needs, made[0].With["image"], jobs["push"].Outputs)
	}
	if guard := jobs["plan"].Steps[1]; guard.If != "${{ !needs.push.outputs.image }}" || !strings.HasSuffix(guard.Run, "exit 1") {
		t.Errorf("plan goes on without an image: %+v", guard)
	}
	got, done := steps("deploy", "download-artifact"), steps("deploy", "actions/kstep")
	if len(got) != 1 || got[0].With["pattern"] != kept[0].With["name"] || len(done) != 1 || done[0].With["stage"] != "deploy" || done[0].With["plan"] != file || done[0].With["plan-digest"] != "${{ needs.plan.outputs.digest }}" {
		t.Errorf("deploy gets %v and does %v, want the plan carried out", got, done)
	}
	if deploy := jobs["deploy"]; !slices.Equal(deploy.Needs, needs{"plan"}) || deploy.Environment != "production-cutover" || jobs["plan"].Environment != "production" {
		t.Errorf("deploy needs %v and has the environment %q, plan %q; want an approval between them", deploy.Needs, deploy.Environment, jobs["plan"].Environment)
	}
}

func TestGitHubExamples_PinEachActionByCommitAndNameItsVersion(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(ciExamples, "github/*.yml"))
	if err != nil || len(files) != 3 {
		t.Fatalf("got %v, %v", files, err)
	}
	commits := map[string]string{}
	for _, file := range files {
		for _, uses := range captures(readText(t, file), `(?m)^ +(?:- )?uses: (.*)$`) {
			if strings.HasPrefix(uses, "./") {
				continue // A workflow beside it.
			}
			pin := regexp.MustCompile(`^(\S+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+|main of \d{4}-\d\d-\d\d)$`).FindStringSubmatch(uses)
			if pin == nil {
				t.Errorf("%s: %s is not pinned to a commit with its version", file, uses)
				continue
			}
			if other := commits[pin[1]]; other != "" && other != pin[2] {
				t.Errorf("%s: %s has two commits", file, pin[1])
			}
			commits[pin[1]] = pin[2]
		}
	}
}

// An environment keeps its secrets from workflows of other branches, and only the
// one of cutover waits for a reviewer.
func TestGitHubExamples_TakeEachSecretFromAnEnvironment(t *testing.T) {
	t.Parallel()
	for file, environments := range map[string][2]string{ // Of cutover, of others.
		"github/deploy.yml":       {"", "production"},
		"github/deploy-hosts.yml": {"${{ inputs.cutover-environment }}", "${{ inputs.environment }}"},
		"github/approve.yml":      {"production-cutover", "production"},
	} {
		for name, job := range document[struct{ Jobs map[string]githubJob }](t, file).Jobs {
			secret := slices.ContainsFunc(job.Steps, func(s githubStep) bool {
				return slices.ContainsFunc(slices.Collect(maps.Values(s.Env)), func(v string) bool { return strings.Contains(v, "secrets.") })
			})
			want := environments[1]
			if name == "cutover" || name == "deploy" {
				want = environments[0]
			}
			if !secret {
				want = ""
			}
			if job.Environment != want {
				t.Errorf("%s: %s has the environment %q, want %q", file, name, job.Environment, want)
			}
		}
	}
	if _, calls, _ := strings.Cut(text(t, "github/deploy.yml"), "\n  hosts:\n"); !strings.Contains(calls, "    secrets: inherit\n") || strings.Contains(calls, "secrets.") {
		t.Error("deploy.yml hands secrets on by name: then those of the environments do not count")
	}
}

func TestGitLabExample_CarriesOutJustThePlanThatWasApproved(t *testing.T) {
	t.Parallel()
	type job struct {
		When, Stage string
		Needs       []string
		Script      []string
		Variables   map[string]string
		Artifacts   struct {
			Paths   []string
			Reports map[string]string
		}
	}
	jobs := document[struct{ Push, Plan, Deploy job }](t, "gitlab/approve.gitlab-ci.yml")
	file := jobs.Deploy.Variables["KSTEP_PLAN"]
	image := `export KSTEP_IMAGE="${KSTEP_OUT_IMAGE:?the report of push names no image}"`
	if p := jobs.Plan; !slices.Equal(p.Needs, []string{"push"}) || !slices.Equal(jobs.Push.Needs, []string{"build"}) || jobs.Push.Variables["KSTEP_DOTENV_FILE"] != jobs.Push.Artifacts.Reports["dotenv"] || !variables()["KSTEP_IMAGE"] {
		t.Errorf("plan is %+v after %+v, want it to pin what was pushed", p, jobs.Push)
	}
	if want := []string{image, "exec kstep plan --out=" + file}; !slices.Equal(jobs.Plan.Script, want) || !slices.Equal(jobs.Plan.Artifacts.Paths, []string{file}) {
		t.Errorf("plan runs %v and keeps %v, want the plan that deploy takes, %s", jobs.Plan.Script, jobs.Plan.Artifacts.Paths, file)
	}
	if d := jobs.Deploy; d.When != "manual" || !slices.Equal(d.Needs, []string{"plan"}) || !slices.Equal(d.Script, []string{`export KSTEP_PLAN_DIGEST="$KSTEP_OUT_PLAN_DIGEST"`, "exec kstep deploy"}) || !variables()["KSTEP_PLAN"] {
		t.Errorf("deploy is %+v, want it to wait for somebody and to follow the plan", d)
	}
}

func TestGitHubAction_MapsWhatTheProgramKnows(t *testing.T) {
	t.Parallel()
	var action struct {
		Outputs map[string]struct{ Value string }
		Runs    struct{ Steps []githubStep }
	}
	if err := yaml.Unmarshal([]byte(readText(t, githubAction)), &action); err != nil {
		t.Fatal(err)
	}
	for _, name := range report.OutputNames() {
		if got, want := action.Outputs[name].Value, "${{ steps.stage.outputs."+name+" }}"; got != want {
			t.Errorf("output %s is %q, want %q", name, got, want)
		}
	}
	if got, want := len(action.Outputs), len(report.OutputNames()); got != want {
		t.Errorf("the action has %d outputs, want %d", got, want)
	}
	known := variables()
	for _, step := range action.Runs.Steps {
		if strings.Contains(step.Run, "${{") {
			t.Errorf("an expression inside of a script lets its value run as a program:\n%s", step.Run)
		}
		for name := range step.Env {
			if strings.HasPrefix(name, "KSTEP_") && !known[name] {
				t.Errorf("the action sets %s, which kstep does not read", name)
			}
		}
	}
	last := action.Runs.Steps[len(action.Runs.Steps)-1].Run
	if lines := strings.Split(strings.TrimSpace(last), "\n"); !strings.HasPrefix(lines[len(lines)-1], "exec ") {
		t.Errorf("the last line is %q; without exec kstep gets no signal", lines[len(lines)-1])
	}
}

// variables are the environment variables that set flags, and the one that
// names the version.
func variables() map[string]bool {
	app, _ := application(&program{})
	known := map[string]bool{"KSTEP_VERSION": true}
	add := func(flags *kingpin.FlagGroupModel) {
		for _, f := range flags.Flags {
			known[f.Envar] = true
		}
	}
	model := app.Model()
	add(model.FlagGroupModel)
	for _, cmd := range model.FlattenedCommands() {
		add(cmd.FlagGroupModel)
	}
	return known
}

// githubJob and githubStep are what the tests look at.
type githubJob struct {
	Needs       needs
	Environment string
	Outputs     map[string]string
	Steps       []githubStep
}

type githubStep struct {
	ID, Uses, If, Run string
	With, Env         map[string]string
}

// needs is written as one name or as a list.
type needs []string

// UnmarshalYAML takes both forms.
func (n *needs) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*n = needs{node.Value}
		return nil
	}
	return node.Decode((*[]string)(n))
}

// githubJobs are the jobs of the calling and of the called workflow.
func githubJobs(t *testing.T) map[string]githubJob {
	t.Helper()
	type workflow struct{ Jobs map[string]githubJob }
	jobs := document[workflow](t, "github/deploy.yml").Jobs
	for name, job := range document[workflow](t, "github/deploy-hosts.yml").Jobs {
		if len(job.Needs) == 0 {
			job.Needs = jobs["hosts"].Needs
		}
		jobs[name] = job
	}
	return jobs
}

// before reports whether a job has to wait for another, perhaps through others.
func before(jobs map[string]githubJob, job, other string) bool {
	return slices.ContainsFunc(jobs[job].Needs, func(need string) bool {
		return need == other || before(jobs, need, other)
	})
}

func document[T any](t *testing.T, path string) T {
	t.Helper()
	var doc T
	if err := yaml.Unmarshal([]byte(text(t, path)), &doc); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return doc
}

func text(t *testing.T, path string) string {
	t.Helper()
	return readText(t, filepath.Join(ciExamples, path))
}

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// captures are the first groups of all matches.
func captures(text, pattern string) []string {
	var all []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}
