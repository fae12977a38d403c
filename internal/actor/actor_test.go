package actor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kstep/kstep/internal/hook/hooktest"
	"github.com/kstep/kstep/internal/state"
)

func TestDetect_KnowsTheRunAndTheUser(t *testing.T) {
	for name, tc := range map[string]struct {
		env  map[string]string
		want state.Actor
	}{
		"GitHub, first attempt": {
			map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "acme/shop",
				"GITHUB_RUN_ID": "42", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_ACTOR": "ann", "USER": "runner"},
			state.Actor{CI: "github", RunURL: "https://github.com/acme/shop/actions/runs/42", Run: "https://github.com/acme/shop/actions/runs/42", Attempt: 1, User: "ann"},
		},
		"GitHub, rerun by another": {
			map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://ghe.example/", "GITHUB_REPOSITORY": "acme/shop",
				"GITHUB_RUN_ID": "42", "GITHUB_RUN_ATTEMPT": "3", "GITHUB_ACTOR": "ann", "GITHUB_TRIGGERING_ACTOR": "bob"},
			state.Actor{CI: "github", RunURL: "https://ghe.example/acme/shop/actions/runs/42/attempts/3", Run: "https://ghe.example/acme/shop/actions/runs/42", Attempt: 3, User: "bob"},
		},
		"GitHub without a run": {
			map[string]string{"GITHUB_ACTIONS": "true"},
			state.Actor{CI: "github"},
		},
		"GitLab": {
			map[string]string{"GITLAB_CI": "true", "CI_JOB_URL": "https://gitlab.example/-/jobs/7", "CI_PIPELINE_URL": "https://gitlab.example/-/pipelines/3", "GITLAB_USER_LOGIN": "ann"},
			state.Actor{CI: "gitlab", RunURL: "https://gitlab.example/-/jobs/7", Run: "https://gitlab.example/-/pipelines/3", User: "ann"},
		},
		"another CI, with credentials in its address": {
			map[string]string{"BUILD_URL": "https://u:pw@ci.example/job/3", "USER": "jenkins"},
			state.Actor{RunURL: "https://ci.example/job/3", Run: "https://ci.example/job/3", User: "ann@example.com"},
		},
		"a laptop": {
			map[string]string{"USER": "ann", "BUILD_URL": "not an address"},
			state.Actor{User: "ann@example.com"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Detect(func(k string) string { return tc.env[k] }, func() string { return "ann@example.com" })
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestDetect_FallsBackToTheLoginName(t *testing.T) {
	env := map[string]string{"LOGNAME": "ann"}
	got := Detect(func(k string) string { return env[k] }, func() string { return "" })
	if got.User != "ann" || Performer(got) != "ann" {
		t.Errorf("got %+v", got)
	}
	if got := Performer(state.Actor{}); got != "unknown" {
		t.Errorf("got %q, want unknown", got)
	}
}

func TestGitUser_ReadsTheFoldersConfig(t *testing.T) {
	hooktest.Installed(t, "git")
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(dir))
	if got := GitUser(t.Context(), dir); got != "" {
		t.Errorf("without a config: got %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, ".gitconfig"), []byte("[user]\nemail = ann@example.com\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := GitUser(t.Context(), dir); got != "ann@example.com" {
		t.Errorf("got %q", got)
	}
}
