//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kstep/kstep/integration/rig"
)

func TestGitHub_WorkflowDeploysAndAFailedStageIsAFailedJob(t *testing.T) {
	t.Parallel()
	w := beginCI(t)
	runner := w.github()
	if log, code := runner.run("push"); code != 0 || !strings.Contains(log, "the database is [REDACTED]") {
		t.Fatalf("the workflow exits with %d, want 0 and a masked secret:\n%s", code, log)
	}
	w.serves("v1")
	w.hasDatabase("vm1")

	// A stage once more, as a job that is run again finds it.
	w.commit(withJob(ciVersion(t, "v1", ""), "again", `
      - uses: kstep/kstep/.github/actions/kstep@main
        id: boot
        with: {stage: boot, hosts: "vm1,vm2", args: --skip-hooks}
        env: {SSH_PRIVATE_KEY: "${{ secrets.SSH_PRIVATE_KEY }}", KSTEP_KNOWN_HOSTS: "${{ vars.KNOWN_HOSTS }}"}
      - run: echo "outputs $OUTPUTS"
        env: {OUTPUTS: "${{ toJSON(steps.boot.outputs) }}"}
`))
	log, code := runner.run("workflow_dispatch", "-W", ".github/workflows/again.yml")
	if code != 0 {
		t.Errorf("boot again exits with %d:\n%s", code, log)
	}
	for _, want := range []string{`"result": "unchanged"`, `"exit-code": "0"`, `"changed": "false"`, `"hosts": "[\"vm1\",\"vm2\"]"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the outputs of boot have no %s:\n%s", want, log)
		}
	}

	// A plan of what was pushed, and a deploy that does just that: of the same version, little.
	if log, code := runner.run("workflow_dispatch", "-W", ".github/workflows/approve.yml"); code != 0 || !strings.Contains(log, "a new release") {
		t.Errorf("a plan that was approved exits with %d, want it shown and carried out:\n%s", code, log)
	}

	w.commit(ciVersion(t, "v2", "exit"))
	if log, code := runner.run("push"); code == 0 || !strings.Contains(log, "Job failed") {
		t.Errorf("the workflow of a broken image exits with %d, want a failed job:\n%s", code, log)
	}
	if got := runner.state("barrier-wait")["status"]; got != "failed" {
		t.Errorf("the artifact of barrier-wait says %v, want failed", got)
	}
	w.serves("v1")
}

// github runs workflows by act in the deployer, which is the runner.
type github struct {
	w     *world
	flags []string
}

func (w *world) github() github {
	w.t.Helper()
	dir := w.rig.Deployer.Path("ci")
	for from, to := range map[string]string{
		actions: "kstep/.github/actions", "testdata/actions/upload": "upload", "testdata/actions/download": "download",
	} {
		if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(from)); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "artifacts"), 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.dotenv("secrets", w.secrets())
	w.dotenv("vars", map[string]string{"KNOWN_HOSTS": w.knownHosts()})
	g := github{w: w, flags: []string{
		"--platform", "ubuntu-latest=-self-hosted", "--no-cache-server", "--env", "CI_ARTIFACTS=/work/ci/artifacts",
		"--secret-file", "/work/ci/secrets", "--var-file", "/work/ci/vars",
		"--local-repository", "kstep/kstep@main=/work/ci/kstep",
		"--local-repository", "kstep/kstep@" + actionCommit(w.t) + "=/work/ci/kstep",
	}}
	// The pinned commits are those of the examples.
	pinned := regexp.MustCompile(`actions/(upload|download)-artifact@\w+`)
	for _, m := range pinned.FindAllStringSubmatch(readFile(w.t, filepath.Join(examples, "github/deploy.yml")), -1) {
		g.flags = append(g.flags, "--local-repository", m[0]+"=/work/ci/"+m[1])
	}
	return g
}

// run runs the workflows of an event.
func (g github) run(event string, args ...string) (log string, code int) {
	g.w.t.Helper()
	log, code = g.w.ci(nil, append(append([]string{ciTools + "/act", event}, g.flags...), args...)...)
	g.w.keeps(log)
	return log, code
}

// state is a stage's state file in its artifact.
func (g github) state(stage string) map[string]any {
	g.w.t.Helper()
	var file map[string]any
	path := g.w.rig.Deployer.Path("ci", "artifacts", "kstep-state-"+stage, stage+".json")
	if err := json.Unmarshal([]byte(readFile(g.w.t, path)), &file); err != nil {
		g.w.t.Fatal(err)
	}
	return file
}

// dotenv writes a file of variables below /work/ci in the deployer.
func (w *world) dotenv(name string, values map[string]string) {
	w.t.Helper()
	var b strings.Builder
	for key, value := range values {
		fmt.Fprintf(&b, "%s=%q\n", key, value)
	}
	if err := os.WriteFile(w.rig.Deployer.Path("ci", name), []byte(b.String()), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// withJob adds a workflow of one job that begins with what the jobs of
// deploy-hosts.yml begin with.
func withJob(v rig.AppVersion, name, steps string) rig.AppVersion {
	hosts := v.Files[".github/workflows/deploy-hosts.yml"]
	begin := strings.Index(hosts, "      - uses: actions/checkout")
	end := begin + strings.Index(hosts[begin:], "      - uses: kstep/")
	env := hosts[strings.Index(hosts, "\nenv:\n")+1 : strings.Index(hosts, "\njobs:\n")+1]
	v.Files[".github/workflows/"+name+".yml"] = "on: workflow_dispatch\n" + env + "jobs:\n  " + name +
		":\n    runs-on: ubuntu-latest\n    steps:\n" + hosts[begin:end] + strings.TrimPrefix(steps, "\n")
	return v
}
