package actor

import "fmt"

// SecretHint is where to put a secret that a job lacks, for the CI system that
// runs it; nil outside of those that kstep knows. GitHub sets the variable of an
// unknown secret to an empty text, so the hint is for empty secrets too.
func SecretHint(env func(string) string, name string) []string {
	switch CI(env) {
	case GitHub:
		return []string{
			fmt.Sprintf("give it to this step: env: %s: ${{ secrets.%s }}", name, name),
			"a secret of an environment reaches only a job with environment: and its name, and a called workflow only with secrets: inherit",
		}
	case GitLab:
		return []string{
			fmt.Sprintf("add the CI/CD variable %s (Settings > CI/CD > Variables), of the type Variable, masked and protected", name),
			gitlabReach(env),
		}
	}
	return nil
}

// gitlabReach is why a variable that is there may not reach this job.
func gitlabReach(env func(string) string) string {
	branch := env("CI_COMMIT_REF_NAME")
	if branch != "" && env("CI_COMMIT_REF_PROTECTED") == "false" {
		return fmt.Sprintf("a protected variable does not reach this job: %s is not protected (Settings > Repository)", branch)
	}
	if environment := env("CI_ENVIRONMENT_NAME"); environment != "" {
		return fmt.Sprintf("a variable with an environment scope reaches this job only if the scope matches %s", environment)
	}
	return "a variable with an environment scope does not reach this job, which has no environment"
}
