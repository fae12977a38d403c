//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/integration/rig"
)

// The folders of the definitions that are tested, and of the programs that run
// them in the deployer, where `make ci-tools` puts them.
const (
	examples    = "../ci-examples"
	actions     = "../.github/actions"
	ciTools     = "/opt/ci"
	databaseURL = "postgres://shop:s3cr3t+/pass@db/shop"
)

// beginCI is begin for an app whose repository holds the CI definitions as they
// are in ci-examples, and whose every access is by secrets: the deployer's own
// SSH key and known hosts are out of reach.
func beginCI(t *testing.T) *world {
	t.Helper()
	w := begin(t, settings{})
	for _, dir := range []string{"ci", "ci-home"} {
		if err := os.RemoveAll(w.rig.Deployer.Path(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(w.rig.Deployer.Path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.commit(ciVersion(t, "v1", ""))
	if _, err := w.app.Git("remote", "add", "origin", "https://github.com/acme/shop.git"); err != nil {
		t.Fatal(err)
	}
	return w
}

// ciVersion is a version of the app with the CI definitions.
func ciVersion(t *testing.T, name, flags string) rig.AppVersion {
	t.Helper()
	v := settings{extra: `env: {secret: [DATABASE_URL]}
ssh: {key_data: [SSH_PRIVATE_KEY]}
healthcheck: {interval: 200ms, retries: 5}
`}.version(name, flags)
	v.Files["kstep.yml"] = strings.Replace(v.Files["kstep.yml"], `registry: {server: "`+rig.Registry+`", insecure: true}`,
		fmt.Sprintf(`registry: {server: "%s", insecure: true, username: %s, password: [REGISTRY_PASSWORD]}`, rig.AuthRegistry, rig.RegistryUser), 1)
	// A hook that gives away what it can.
	v.Files[".kstep/hooks/pre-env-push"] = "#!/bin/sh\necho \"the database is $DATABASE_URL\"\n"
	for to, from := range map[string]string{
		".github/workflows/deploy.yml":       "github/deploy.yml",
		".github/workflows/deploy-hosts.yml": "github/deploy-hosts.yml",
		".github/workflows/approve.yml":      "github/approve.yml",
		".gitlab-ci.yml":                     "gitlab/.gitlab-ci.yml",
		"approve.gitlab-ci.yml":              "gitlab/approve.gitlab-ci.yml",
		"kstep.mk":                           "make/kstep.mk",
	} {
		v.Files[to] = readFile(t, filepath.Join(examples, from))
	}
	v.Files[".gitignore"] = "kstep-state/\n.gitlab-ci-local/\n"
	return v
}

// actionCommit is the commit to which the examples pin kstep's action.
func actionCommit(t *testing.T) string {
	t.Helper()
	_, rest, _ := strings.Cut(readFile(t, filepath.Join(examples, "github/deploy.yml")), "kstep/kstep/.github/actions/kstep@")
	commit, _, _ := strings.Cut(rest, " ")
	return commit
}

// secrets are what a person would enter in the CI system's settings.
func (w *world) secrets() map[string]string {
	w.t.Helper()
	return map[string]string{
		"SSH_PRIVATE_KEY":   w.inDeployer("cat", "/shared/id_ed25519"),
		"REGISTRY_PASSWORD": rig.RegistryPassword,
		"DATABASE_URL":      databaseURL,
	}
}

func (w *world) knownHosts() string {
	w.t.Helper()
	return w.inDeployer("cat", "/shared/known_hosts")
}

// ci runs a program in the app's checkout in the deployer, as a CI system's
// runner on that machine.
func (w *world) ci(env []string, argv ...string) (log string, code int) {
	w.t.Helper()
	env = append([]string{"HOME=/work/ci-home"}, env...)
	result, err := w.rig.Deployer.Run(w.t.Context(), env, w.app.Work, argv...)
	if err != nil {
		w.t.Fatalf("%s: %v", argv[0], err)
	}
	if strings.Contains(result.Stderr, "no such file or directory: "+argv[0]) || result.Exit == 127 {
		w.t.Fatalf("%s is not there: run `make ci-tools`\n%s", argv[0], result.Stderr)
	}
	return result.Stdout + result.Stderr, result.Exit
}

func (w *world) inDeployer(argv ...string) string {
	w.t.Helper()
	result, err := w.rig.Deployer.Run(w.t.Context(), nil, ".", argv...)
	if err != nil || result.Exit != 0 {
		w.t.Fatalf("%v: exit status %d, %v\n%s", argv, result.Exit, err, result.Stderr)
	}
	return result.Stdout
}

// keeps expects a log without the secrets, in which kstep has masked what the
// hook gave away.
func (w *world) keeps(log string) {
	w.t.Helper()
	if strings.Contains(log, databaseURL) || strings.Contains(log, rig.RegistryPassword) || strings.Contains(log, "PRIVATE KEY") {
		w.t.Errorf("the log shows a secret:\n%s", log)
	}
}

// hasDatabase expects the secret in the environment of the app on a host.
func (w *world) hasDatabase(host string) {
	w.t.Helper()
	var container struct{ Config struct{ Env []string } }
	for _, name := range w.running(host) {
		if err := w.rig.Host(host).Get(w.t.Context(), "/containers/"+name+"/json", &container); err != nil {
			w.t.Fatal(err)
		}
		if !strings.Contains(strings.Join(container.Config.Env, "\n"), "DATABASE_URL="+databaseURL) {
			w.t.Errorf("%s on %s has no DATABASE_URL", name, host)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
