package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/secret"
)

// TestMain lets this test binary play docker when it is called by that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "docker" {
		os.Exit(fakeDocker(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// fakeDocker behaves as the folder it is in says, and writes down how it was
// called.
func fakeDocker(args []string) int {
	dir := filepath.Dir(os.Args[0])
	behaviour := filepath.Base(dir)
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		fmt.Fprintf(log, "DOCKER_BUILDKIT=%s %q\n", os.Getenv("DOCKER_BUILDKIT"), args)
	}
	switch {
	case slices.Equal(args, []string{"buildx", "version"}):
		if behaviour == "buildx" {
			return 0
		}
		return 1
	case slices.Equal(args, []string{"build", "--help"}):
		if behaviour == "legacy" && os.Getenv("DOCKER_BUILDKIT") == "1" {
			return 1
		}
		fmt.Println("  --secret stringArray")
		return 0
	case args[0] == "save":
		fmt.Print("archive")
		return 0
	case behaviour == "hang":
		fmt.Println("building")
		time.Sleep(time.Minute)
	case behaviour == "fail":
		fmt.Fprintln(os.Stderr, "#5 RUN false\nERROR: failed to solve: exit code: 1\nView build details")
		return 1
	case behaviour == "down":
		fmt.Fprintln(os.Stderr, "ERROR: Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?")
		return 1
	}
	fmt.Fprintf(os.Stderr, "secret is %s\rsecret is %s\n", "drawn over", os.Getenv(secretVariable(0)))
	return 0
}

// path makes a PATH with one fake docker for each behaviour.
func path(t *testing.T, behaviours ...string) (docker []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, behaviour := range behaviours {
		dir := filepath.Join(t.TempDir(), behaviour)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "docker")
		if err := os.Link(self, file); err != nil {
			if err := os.WriteFile(file, content, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		dirs, docker = append(dirs, dir), append(docker, file)
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0") // Else the fake sleeps a second at each end.
	t.Setenv("PATH", strings.Join(dirs, string(os.PathListSeparator)))
	return docker
}

func TestFind_TakesTheBestBuilderOfAllClients(t *testing.T) {
	cases := map[string]struct {
		clients []string
		want    int
		kind    Kind
	}{
		"plugin":                               {[]string{"buildx"}, 0, Buildx},
		"plugin of the second client":          {[]string{"legacy", "buildx"}, 1, Buildx},
		"BuildKit without plugin":              {[]string{"legacy", "buildkit"}, 1, BuildKit},
		"a new client without plugin, no more": {[]string{"legacy"}, 0, Legacy},
	}
	for title, c := range cases {
		t.Run(title, func(t *testing.T) {
			docker := path(t, c.clients...)
			got, err := Find(t.Context())
			if want := (Builder{docker[c.want], c.kind}); err != nil || got != want {
				t.Errorf("got %v, %v, want %v", got, err, want)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if _, err := Find(t.Context()); err == nil || len(exit.Hints(err)) == 0 {
			t.Errorf("got %v, want an error with hints", err)
		}
	})
}

func full() Spec {
	return Spec{
		Context: "/context", Dockerfile: "/context/Dockerfile", Tag: "shop:v1", Target: "app", SSH: "default",
		Labels: map[string]string{"kstep.service": "shop"}, Args: map[string]string{"B": "2", "A": "1 $x"},
		Secrets:   []Secret{{"PATH", secret.NewValue("hunter2")}},
		Platforms: []string{"linux/amd64"},
		CacheFrom: []string{"type=gha", "shop:cache"}, CacheTo: []string{"type=gha"},
	}
}

func TestArguments_AreThoseOfTheBuilder(t *testing.T) {
	const common = "--tag shop:v1 --file /context/Dockerfile --target app --platform linux/amd64 --label kstep.service=shop " +
		"--build-arg A=1 $x --build-arg B=2 --secret id=PATH,env=KSTEP_BUILD_SECRET_0 --ssh default"
	cases := map[Kind]string{
		Buildx:   "buildx build --progress plain --load " + common + " --cache-from type=gha --cache-from shop:cache --cache-to type=gha /context",
		BuildKit: "build --progress plain " + common + " --cache-from shop:cache /context",
	}
	for kind, want := range cases {
		if got := strings.Join(Builder{"docker", kind}.arguments(full()), " "); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", kind, got, want)
		}
	}
	spec := full()
	spec.Platforms = []string{"linux/amd64", "linux/arm64"}
	got := strings.Join(Builder{"docker", Buildx}.arguments(spec), " ")
	if !strings.Contains(got, "--output type=oci,dest=-") || strings.Contains(got, "--load") {
		t.Errorf("several platforms: got %s, want an archive on standard output", got)
	}
}

func TestCheck_RefusesWhatTheBuilderCannotDo(t *testing.T) {
	several := full()
	several.Platforms = []string{"linux/amd64", "linux/arm64"}
	plain := Spec{Context: "."}
	cases := map[string]struct {
		kind     Kind
		spec     Spec
		ok       bool
		warnings int
	}{
		"buildx does all":               {Buildx, several, true, 0},
		"BuildKit leaves the cache out": {BuildKit, full(), true, 1},
		"BuildKit has one platform":     {BuildKit, several, false, 0},
		"legacy has no secrets":         {Legacy, full(), false, 0},
		"legacy builds, but is told of": {Legacy, plain, true, 1},
		"BuildKit has nothing to say":   {BuildKit, plain, true, 0},
	}
	for title, c := range cases {
		t.Run(title, func(t *testing.T) {
			warnings, err := Builder{"docker", c.kind}.Check(c.spec)
			if (err == nil) != c.ok || len(warnings) != c.warnings {
				t.Errorf("got %q, %v, want ok %v and %d warnings", warnings, err, c.ok, c.warnings)
			}
			if err != nil && exit.CodeOf(err) != exit.Config {
				t.Errorf("got code %d, want config", exit.CodeOf(err))
			}
		})
	}
}

func TestBuild_KeepsSecretsOutOfTheCommandLine(t *testing.T) {
	docker := path(t, "buildx")[0]
	var lines []string
	err := Builder{docker, Buildx}.Build(t.Context(), full(), nil, func(line string) { lines = append(lines, line) })
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(filepath.Dir(docker), "log"))
	if err != nil || strings.Contains(string(log), "hunter2") {
		t.Errorf("got command line %s, %v, want none with the secret", log, err)
	}
	// That docker did get it is seen from what the fake printed.
	if want := []string{"secret is hunter2"}; !slices.Equal(lines, want) {
		t.Errorf("got lines %q, want %q", lines, want)
	}
}

func TestBuild_RefusesASecretThatNoVariableCanHold(t *testing.T) {
	for _, value := range []string{"a\x00b", strings.Repeat("x", maxSecret+1)} {
		spec := Spec{Secrets: []Secret{{"KEY", secret.NewValue(value)}}}
		err := Builder{"docker", Buildx}.Build(t.Context(), spec, nil, func(string) {})
		if exit.CodeOf(err) != exit.Config || !strings.Contains(err.Error(), "KEY") {
			t.Errorf("got %v, want a config error that names KEY", err)
		}
	}
}

func TestBuild_TellsTheCauseFromTheOutput(t *testing.T) {
	cases := map[string]struct {
		want string
		code exit.Code
	}{
		"fail": {"failed to solve: exit code: 1", exit.Failed},
		"down": {"Cannot connect to the Docker daemon", exit.Unreachable},
	}
	for behaviour, c := range cases {
		docker := path(t, behaviour)[0]
		err := Builder{docker, Buildx}.Build(t.Context(), Spec{Context: "."}, nil, func(string) {})
		if err == nil || !strings.Contains(err.Error(), c.want) || exit.CodeOf(err) != c.code {
			t.Errorf("%s: got %v (%d), want %q (%d)", behaviour, err, exit.CodeOf(err), c.want, c.code)
		}
	}
}

func TestBuild_EndsWithItsContext(t *testing.T) {
	docker := path(t, "hang")[0]
	ctx, cancel := context.WithCancel(t.Context())
	started := time.Now()
	err := Builder{docker, Buildx}.Build(ctx, Spec{Context: "."}, nil, func(string) { cancel() })
	if !errors.Is(err, context.Canceled) || time.Since(started) > 20*time.Second {
		t.Errorf("got %v after %v, want canceled at once", err, time.Since(started))
	}
}
