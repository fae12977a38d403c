package actor

import (
	"slices"
	"testing"
)

func TestSecretHint_SaysWhereTheCISystemKeepsASecret(t *testing.T) {
	t.Parallel()
	const (
		add   = "add the CI/CD variable DATABASE_URL (Settings > CI/CD > Variables), of the type Variable, masked and protected"
		scope = "a variable with an environment scope "
	)
	for name, c := range map[string]struct {
		env  map[string]string
		want []string
	}{
		"GitHub": {map[string]string{"GITHUB_ACTIONS": "true"}, []string{
			"give it to this step: env: DATABASE_URL: ${{ secrets.DATABASE_URL }}",
			"a secret of an environment reaches only a job with environment: and its name, and a called workflow only with secrets: inherit",
		}},
		"GitLab, another branch": {
			map[string]string{"GITLAB_CI": "true", "CI_COMMIT_REF_NAME": "feature", "CI_COMMIT_REF_PROTECTED": "false"},
			[]string{add, "a protected variable does not reach this job: feature is not protected (Settings > Repository)"},
		},
		"GitLab, with an environment": {
			map[string]string{"GITLAB_CI": "true", "CI_COMMIT_REF_NAME": "main", "CI_COMMIT_REF_PROTECTED": "true", "CI_ENVIRONMENT_NAME": "production"},
			[]string{add, scope + "reaches this job only if the scope matches production"},
		},
		"GitLab, without one": {
			map[string]string{"GITLAB_CI": "true", "CI_COMMIT_REF_NAME": "main", "CI_COMMIT_REF_PROTECTED": "true"},
			[]string{add, scope + "does not reach this job, which has no environment"},
		},
		"another CI system": {map[string]string{"CI": "true", "BUILD_URL": "https://ci.example/3"}, nil},
		"by hand":           {nil, nil},
	} {
		if got := SecretHint(func(k string) string { return c.env[k] }, "DATABASE_URL"); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
