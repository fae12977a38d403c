package build

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// TestMain lets this test binary play docker when it is called by that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "docker" {
		if err := fakeDocker(filepath.Dir(os.Args[0]), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "ERROR:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fakeDocker has buildx; its images hold one file that lists the context.
func fakeDocker(dir string, args []string) error {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	fmt.Fprintln(log, strings.Join(args, " "))
	image := filepath.Join(dir, "image")
	switch args[0] {
	case "buildx":
		if args[1] == "version" {
			return nil
		}
		listing, err := list(args[len(args)-1])
		if err != nil {
			return err
		}
		fmt.Print(listing)
		return os.WriteFile(image, []byte(listing), 0o600)
	case "image":
		content, err := os.ReadFile(image)
		if err != nil {
			return err
		}
		digest, _, _ := archiveOf(content)
		fmt.Println(digest)
		return nil
	case "save":
		content, err := os.ReadFile(image)
		if err != nil {
			return err
		}
		if bytes.Contains(content, []byte("break-save")) {
			fmt.Print("half an archive")
			return errors.New("write: no space left on device")
		}
		_, archive, err := archiveOf(content)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(archive)
		return err
	}
	return errors.New("unknown command")
}

func list(dir string) (string, error) {
	var listing strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if !strings.HasPrefix(rel, ".git/") {
			fmt.Fprintf(&listing, "%s %s %q\n", rel, info.Mode(), content)
		}
		return err
	})
	return listing.String(), err
}

func archiveOf(content []byte) (digest string, archive []byte, err error) {
	layer, err := tarOf("listing", content)
	if err != nil {
		return "", nil, err
	}
	config, err := json.Marshal(map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{
		"type": "layers", "diff_ids": []string{sum(layer)},
	}})
	if err != nil {
		return "", nil, err
	}
	manifest, err := json.Marshal([]any{map[string]any{"Config": "config.json", "Layers": []string{"layer.tar"}}})
	if err != nil {
		return "", nil, err
	}
	archive, err = tarOf("manifest.json", manifest, "config.json", config, "layer.tar", layer)
	return sum(config), archive, err
}

func tarOf(pairs ...any) ([]byte, error) {
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for i := 0; i < len(pairs); i += 2 {
		content := pairs[i+1].([]byte)
		if err := writer.WriteHeader(&tar.Header{Name: pairs[i].(string), Mode: 0o644, Size: int64(len(content))}); err != nil {
			return nil, err
		}
		if _, err := writer.Write(content); err != nil {
			return nil, err
		}
	}
	return buffer.Bytes(), writer.Close()
}

func sum(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// events keeps what is reported.
type events struct {
	mu   sync.Mutex
	list []report.Event
}

func (e *events) Emit(event report.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

func (*events) Close() error { return nil }

func (e *events) of(kind report.Kind) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []string
	for _, event := range e.list {
		if event.Kind == kind {
			found = append(found, event.Message)
		}
	}
	return strings.Join(found, "\n")
}

// project is a git checkout with a Dockerfile, and what a stage is told of it.
func project(t *testing.T) (dir string, in stages.Input) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	dir = t.TempDir()
	write(t, filepath.Join(dir, "Dockerfile"), "FROM scratch\nCOPY app.txt /\n")
	write(t, filepath.Join(dir, "app.txt"), "one")
	write(t, filepath.Join(dir, ".gitignore"), "kstep-state\n")
	gitRun(t, dir, "init", "--quiet")
	gitRun(t, dir, "add", "--all")
	gitRun(t, dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message=x")
	cfg := &config.Config{Service: "shop", Image: "acme/shop", Path: filepath.Join(dir, "kstep.yml")}
	cfg.Registry.Server = "registry.example.com"
	cfg.Builder.Dockerfile = "Dockerfile"
	env := func(name string) (string, bool) { return "hunter2", name == "TOKEN" }
	return dir, stages.Input{
		Config: cfg, Version: "v1", StateDir: filepath.Join(dir, "kstep-state"),
		Secrets: secret.NewStore(secret.Options{Env: env, Dir: dir}), Report: &events{},
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func gitRun(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

// dockerOnPath puts the fake before everything else and returns the commands that
// it was given since the last call.
func dockerOnPath(t *testing.T) (commands func() []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "docker")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return func() []string {
		log := filepath.Join(dir, "log")
		content, err := os.ReadFile(log)
		if err != nil {
			return nil
		}
		if err := os.Remove(log); err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(content)), "\n")
	}
}

// run runs the stage and makes its result the next run's own file.
func run(t *testing.T, in *stages.Input) (stages.Result, *state.BuildOutputs) {
	t.Helper()
	result, err := Stage{}.Run(t.Context(), *in)
	if err != nil {
		t.Fatal(err)
	}
	outputs, err := json.Marshal(result.Outputs)
	if err != nil {
		t.Fatal(err)
	}
	in.Own = &state.File{Stage: "build", Status: state.OK, Outputs: outputs}
	return result, result.Outputs.(*state.BuildOutputs)
}

func TestBuild_IsMadeFromTheCommitAlone(t *testing.T) {
	dir, in := project(t)
	commands := dockerOnPath(t)
	write(t, filepath.Join(dir, "app.txt"), "uncommitted")
	write(t, filepath.Join(dir, "new.txt"), "new")
	result, out := run(t, &in)
	output := in.Report.(*events).of(report.Output)
	if !result.Changed || !strings.Contains(output, `app.txt -rw-r--r-- "one"`) || strings.Contains(output, "new") {
		t.Errorf("got context\n%s\nwant the committed files", output)
	}
	if out.Reference != "registry.example.com/acme/shop:v1" || out.Platform != "linux/amd64" || out.Builder != "buildx" || len(out.DiffIDs) != 1 {
		t.Errorf("got %+v, want the image described", out)
	}
	build := strings.Join(commands(), "\n")
	if !strings.Contains(build, "--label kstep.service=shop") || strings.Contains(build, dir) {
		t.Errorf("got commands\n%s\nwant a label, and a context elsewhere", build)
	}
}

func TestBuild_AgainDoesNotRunDocker(t *testing.T) {
	_, in := project(t)
	commands := dockerOnPath(t)
	_, first := run(t, &in)
	commands()
	result, second := run(t, &in)
	if got := commands(); result.Changed || len(got) > 0 || first.ArchiveDigest != second.ArchiveDigest {
		t.Errorf("got changed %v, commands %q, want nothing done", result.Changed, got)
	}
}

func TestBuild_AgainAfterAChange(t *testing.T) {
	cases := map[string]func(t *testing.T, dir string, in *stages.Input){
		"another argument": func(_ *testing.T, _ string, in *stages.Input) { in.Config.Builder.Args = map[string]string{"A": "1"} },
		"another secret":   func(_ *testing.T, _ string, in *stages.Input) { in.Config.Builder.Secrets = []string{"TOKEN"} },
		"another commit": func(t *testing.T, dir string, _ *stages.Input) {
			gitRun(t, dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--allow-empty", "--message=y")
		},
		"archive gone": func(t *testing.T, dir string, _ *stages.Input) {
			if err := os.Remove(filepath.Join(dir, "kstep-state/image-v1.tar")); err != nil {
				t.Fatal(err)
			}
		},
		"archive damaged": func(t *testing.T, dir string, _ *stages.Input) {
			write(t, filepath.Join(dir, "kstep-state/image-v1.tar"), "x")
		},
	}
	for title, change := range cases {
		t.Run(title, func(t *testing.T) {
			dir, in := project(t)
			commands := dockerOnPath(t)
			run(t, &in)
			commands()
			change(t, dir, &in)
			result, _ := run(t, &in)
			// The image is the same, so the stage did not change anything.
			if got := commands(); len(got) == 0 || result.Changed {
				t.Errorf("got changed %v, commands %q, want a build of the same image", result.Changed, got)
			}
		})
	}
}

func TestBuild_OfTheTreeSeesWhatIsNotCommitted(t *testing.T) {
	dir, in := project(t)
	commands := dockerOnPath(t)
	in.Config.Builder.Context = "."
	run(t, &in)
	if warnings := in.Report.(*events).of(report.Warning); !strings.Contains(warnings, ".dockerignore") {
		t.Errorf("got warnings %q, want one about the state folder in the context", warnings)
	}
	commands()
	if result, _ := run(t, &in); result.Changed || len(commands()) > 0 {
		t.Error("again: got a build, want nothing done")
	}
	// git ignores it, the build context has it.
	write(t, filepath.Join(dir, ".gitignore"), "ignored\nkstep-state\n")
	write(t, filepath.Join(dir, "ignored"), "x")
	if result, _ := run(t, &in); !result.Changed {
		t.Error("new file: got unchanged, want a new image")
	}
	write(t, filepath.Join(dir, ".dockerignore"), "/kstep-state/\n")
	in.Report = &events{}
	run(t, &in)
	if warnings := in.Report.(*events).of(report.Warning); warnings != "" {
		t.Errorf("got warnings %q, want none", warnings)
	}
}

func TestBuild_KeepsSecretsOutOfCommandLineAndState(t *testing.T) {
	_, in := project(t)
	commands := dockerOnPath(t)
	in.Config.Builder.Secrets = []string{"TOKEN"}
	_, out := run(t, &in)
	encoded, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(commands(), "\n")
	if !strings.Contains(all, "--secret id=TOKEN,env=") || strings.Contains(all+string(encoded), "hunter2") {
		t.Errorf("got %s\n%s, want the secret by name alone", all, encoded)
	}
}

func TestBuild_LeavesNothingHalf(t *testing.T) {
	dir, in := project(t)
	dockerOnPath(t)
	in.Config.Builder.Context = "."
	write(t, filepath.Join(dir, "app.txt"), "break-save")
	_, err := Stage{}.Run(t.Context(), in)
	if exit.CodeOf(err) != exit.Failed || !strings.Contains(strings.Join(exit.Hints(err), "\n"), "make room") {
		t.Errorf("got %v with %q, want a hint to make room", err, exit.Hints(err))
	}
	if left, err := os.ReadDir(in.StateDir); err != nil || len(left) > 0 {
		t.Errorf("got %v, %v left in the state folder, want nothing", left, err)
	}
}

func TestBuild_RemovesArchivesOfEarlierVersions(t *testing.T) {
	_, in := project(t)
	dockerOnPath(t)
	run(t, &in)
	in.Version, in.Own = "v2", nil
	run(t, &in)
	left, err := filepath.Glob(filepath.Join(in.StateDir, "*"))
	if err != nil || !slices.Equal(left, []string{filepath.Join(in.StateDir, "image-v2.tar")}) {
		t.Errorf("got %v, %v, want the newest archive alone", left, err)
	}
}

func TestBuild_TellsWhatIsMissing(t *testing.T) {
	cases := map[string]struct {
		change func(t *testing.T, dir string, in *stages.Input)
		want   string
	}{
		"Dockerfile": {func(_ *testing.T, _ string, in *stages.Input) { in.Config.Builder.Dockerfile = "Other" }, "Other"},
		"context":    {func(_ *testing.T, _ string, in *stages.Input) { in.Config.Builder.Context = "nowhere" }, "nowhere"},
		"secret":     {func(_ *testing.T, _ string, in *stages.Input) { in.Config.Builder.Secrets = []string{"NONE"} }, "NONE"},
		"checkout": {func(t *testing.T, dir string, _ *stages.Input) {
			t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(dir))
			if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
				t.Fatal(err)
			}
		}, "git checkout"},
	}
	for title, c := range cases {
		t.Run(title, func(t *testing.T) {
			dir, in := project(t)
			dockerOnPath(t)
			c.change(t, dir, &in)
			_, err := Stage{}.Run(t.Context(), in)
			if exit.CodeOf(err) != exit.Config || !strings.Contains(err.Error(), c.want) || len(exit.Hints(err)) == 0 {
				t.Errorf("got %v with %q, want a config error about %s with hints", err, exit.Hints(err), c.want)
			}
		})
	}
}

func TestBuild_EndsWithItsContext(t *testing.T) {
	_, in := project(t)
	dockerOnPath(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Stage{}).Run(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}
