package build

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kstep/kstep/internal/config"
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

// project is a git checkout with a Dockerfile, and a stage's input for it.
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
	t.Setenv("GORACE", "atexit_sleep_ms=0") // Else the fake sleeps a second at each end.
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
