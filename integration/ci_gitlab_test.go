//go:build integration

package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGitLab_PipelineDeploysAndAFailedStageIsAFailedJob(t *testing.T) {
	t.Parallel()
	w := beginCI(t)
	w.gitlabSettings()
	if log, code := w.gitlab(); code != 0 || !strings.Contains(log, "the database is [REDACTED]") {
		t.Fatalf("the pipeline exits with %d, want 0 and a masked secret:\n%s", code, log)
	}
	w.serves("v1")
	w.hasDatabase("vm1")
	before := w.snapshot()

	if log, _ := w.gitlab("--list-csv", "--variable", "APPROVE_CUTOVER=yes"); !strings.Contains(log, "\ncutover;\"\";cutover;manual;") {
		t.Errorf("cutover does not wait for approval:\n%s", log)
	}

	// A job that is retried has the artifacts of those it needs, and no others.
	log, code := w.gitlab("boot")
	if got := w.artifact("boot")["status"]; code != 0 || got != "unchanged" {
		t.Errorf("boot again exits with %d and says %v, want unchanged:\n%s", code, got, log)
	}
	if diff := before.Diff(w.snapshot()); diff != "" {
		t.Errorf("boot again changed the hosts:\n%s", diff)
	}

	// A plan of what was pushed, and a deploy that does just that: of the same version, little.
	for _, job := range []string{"preflight", "build", "push", "plan", "deploy"} {
		if log, code := w.gitlab("--file", "approve.gitlab-ci.yml", job); code != 0 {
			t.Errorf("the approved %s exits with %d:\n%s", job, code, log)
		}
	}

	w.commit(ciVersion(t, "v2", "exit"))
	if log, code := w.gitlab(); code == 0 || !strings.Contains(log, "FAIL") || !strings.Contains(log, "barrier-wait") {
		t.Errorf("the pipeline of a broken image exits with %d, want a failed job:\n%s", code, log)
	}
	if got := w.artifact("barrier-wait")["status"]; got != "failed" {
		t.Errorf("the artifact of barrier-wait says %v, want failed", got)
	}
	w.serves("v1")
}

// gitlabSettings are the variables that a person enters in GitLab's settings.
func (w *world) gitlabSettings() {
	w.t.Helper()
	variables := w.secrets()
	variables["KSTEP_KNOWN_HOSTS"] = w.knownHosts()
	data, err := json.Marshal(map[string]any{"global": variables}) // Which is YAML too.
	if err != nil {
		w.t.Fatal(err)
	}
	dir := w.rig.Deployer.Path("ci-home", ".gitlab-ci-local")
	if err := os.Mkdir(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "variables.yml"), data, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// gitlab runs the pipeline, or one job of it, by gitlab-ci-local in the
// deployer, which is the runner.
func (w *world) gitlab(args ...string) (log string, code int) {
	w.t.Helper()
	bin := ciTools + "/gitlab-ci-local/node_modules/.bin/"
	log, code = w.ci(nil, append([]string{
		bin + "node", bin + "gitlab-ci-local", "--force-shell-executor", "--shell-isolation", "--no-artifacts-to-source",
		"--variable", "GITLAB_CI=true",
	}, args...)...)
	w.keeps(log)
	return log, code
}

// artifact is a stage's state file in its job's artifacts.
func (w *world) artifact(stage string) map[string]any {
	w.t.Helper()
	var file map[string]any
	path := filepath.Join(w.app.Dir, ".gitlab-ci-local/artifacts", stage, "kstep-state", stage+".json")
	if err := json.Unmarshal([]byte(readFile(w.t, path)), &file); err != nil {
		w.t.Fatal(err)
	}
	return file
}
