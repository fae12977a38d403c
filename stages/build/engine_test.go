//go:build integration

package build

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/builder"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/registry"
	"github.com/kstep/kstep/internal/registry/registrytest"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// These tests build with every builder that the docker clients of this machine
// offer, with and without their plugins, on a real engine.

// toolbox is a program for images from scratch: `toolbox digest FILE OUT`
// writes the digest of a file.
const toolbox = `package main

import (
	"crypto/sha256"
	"fmt"
	"os"
)

func main() {
	data, err := os.ReadFile(os.Args[2])
	if err == nil {
		err = os.WriteFile(os.Args[3], fmt.Appendf(nil, "%x", sha256.Sum256(data)), 0o644)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
`

func kinds() []builder.Kind { return []builder.Kind{builder.Buildx, builder.BuildKit, builder.Legacy} }

// withBuilder makes only builders of one kind be found, or skips.
func withBuilder(t *testing.T, kind builder.Kind) {
	t.Helper()
	config := os.Getenv("DOCKER_CONFIG")
	if config == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		config = filepath.Join(home, ".docker")
	}
	original := os.Getenv("PATH")
	for _, config := range []string{config, t.TempDir()} {
		t.Setenv("DOCKER_CONFIG", config)
		for _, dir := range filepath.SplitList(original) {
			if _, err := os.Stat(filepath.Join(dir, "docker")); err != nil {
				continue
			}
			// This client alone, and everything that is not docker.
			alone := t.TempDir()
			if err := os.Symlink(filepath.Join(dir, "docker"), filepath.Join(alone, "docker")); err != nil {
				t.Fatal(err)
			}
			linkTools(t, alone)
			t.Setenv("PATH", alone)
			b, err := builder.Find(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if b.Kind == kind {
				return
			}
		}
	}
	t.Skipf("no docker client here builds with %s", kind)
}

func linkTools(t *testing.T, dir string) {
	t.Helper()
	for _, tool := range []string{"git", "go"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, tool)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
}

// realProject is a checkout whose image holds a program, a file that shows a
// build secret's digest (where secrets can be had) and one with a mode.
func realProject(t *testing.T, secrets bool) (dir string, in stages.Input) {
	t.Helper()
	dockerConfig, home := os.Getenv("DOCKER_CONFIG"), os.Getenv("HOME")
	source := filepath.Join(t.TempDir(), "main.go")
	write(t, source, toolbox)
	program := filepath.Join(t.TempDir(), "toolbox")
	compile(t, source, program)
	dir, in = project(t)
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", dockerConfig)
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "toolbox"), content, 0o755); err != nil {
		t.Fatal(err)
	}
	dockerfile := "FROM scratch\nARG GREETING\nCOPY toolbox /toolbox\nCOPY app.txt /\nENV GREETING=$GREETING\n"
	if secrets {
		dockerfile += "RUN --mount=type=secret,id=TOKEN [\"/toolbox\", \"digest\", \"/run/secrets/TOKEN\", \"/digest\"]\n"
		in.Config.Builder.Secrets = []string{"TOKEN"}
	}
	write(t, filepath.Join(dir, "Dockerfile"), dockerfile)
	gitRun(t, dir, "add", "--all")
	gitRun(t, dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message=y")
	in.Config.Builder.Args = map[string]string{"GREETING": "hello"}
	// A name of its own, for the engine is shared.
	in.Config.Image = fmt.Sprintf("kstep-test/%d", time.Now().UnixNano())
	return dir, in
}

func compile(t *testing.T, source, program string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func removeImage(t *testing.T, reference string) {
	t.Helper()
	t.Cleanup(func() {
		if out, err := exec.Command("docker", "image", "rm", "--force", reference).CombinedOutput(); err != nil {
			t.Logf("%v: %s", err, out)
		}
	})
}

func TestBuild_WithEveryRealBuilder(t *testing.T) {
	for _, kind := range kinds() {
		t.Run(string(kind), func(t *testing.T) {
			withBuilder(t, kind)
			_, in := realProject(t, kind != builder.Legacy)
			result, out := run(t, &in)
			removeImage(t, out.Reference)
			if !result.Changed || out.Builder != string(kind) || out.ArchiveFormat != registry.FormatDocker {
				t.Errorf("got %+v, want a docker archive made with %s", out, kind)
			}
			files := filesOf(t, filepath.Join(in.StateDir, out.Archive))
			if kind != builder.Legacy {
				if want := fmt.Sprintf("%x", sha256.Sum256([]byte("hunter2"))); files["digest"] != want {
					t.Errorf("got digest %q, want that of the secret", files["digest"])
				}
			}
			if files["app.txt"] != "one" {
				t.Errorf("got app.txt %q, want the committed one", files["app.txt"])
			}
			for name, content := range files {
				if strings.Contains(content, "hunter2") {
					t.Errorf("the secret is in %s", name)
				}
			}
			if strings.Contains(in.Report.(*events).of(report.Output), "hunter2") {
				t.Error("the secret is in the output")
			}
			started := time.Now()
			if again, _ := run(t, &in); again.Changed {
				t.Error("again: got changed, want unchanged")
			}
			t.Logf("unchanged in %v", time.Since(started))
			// The same from the builder's cache, as on a runner without state.
			in.Own = nil
			_, cached := run(t, &in)
			if kind != builder.Legacy && cached.ConfigDigest != out.ConfigDigest {
				t.Errorf("from the cache: got %s, want %s again", cached.ConfigDigest, out.ConfigDigest)
			}
			pullBack(t, in, cached)
		})
	}
}

// pullBack pushes the archive and lets the engine pull it by digest: the
// engine checks every digest on the way.
func pullBack(t *testing.T, in stages.Input, out *state.BuildOutputs) {
	t.Helper()
	s := registrytest.New(t)
	cfg := *in.Config
	cfg.Registry.Server, cfg.Registry.Insecure = s.Host(), true
	client, err := registry.Open(t.Context(), &cfg, registry.Repository(&cfg), in.Secrets, in.Report)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	pushed, err := client.Push(t.Context(), registry.Request{
		Archive: filepath.Join(in.StateDir, out.Archive), Format: out.ArchiveFormat, Image: out.Image, Tags: []string{"v1", "latest"},
	})
	if err != nil {
		t.Fatal(err)
	}
	reference := registry.Repository(&cfg) + "@" + pushed.Digest
	// Otherwise the engine would find that it has every layer.
	if combined, err := exec.Command("docker", "image", "rm", "--force", out.Reference).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, combined)
	}
	if combined, err := exec.Command("docker", "pull", "--quiet", reference).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, combined)
	}
	id, err := exec.Command("docker", "image", "inspect", "--format", "{{.Id}}", reference).Output()
	if err != nil || strings.TrimSpace(string(id)) != out.ConfigDigest {
		t.Errorf("got image %s, %v, want %s", id, err, out.ConfigDigest)
	}
	removeImage(t, reference)
	removeImage(t, out.Reference)
}

// filesOf are the files of all layers in a docker archive.
func filesOf(t *testing.T, path string) map[string]string {
	t.Helper()
	archive, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	found := map[string]string{}
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		layer := tar.NewReader(bytes.NewReader(content))
		for inner, err := layer.Next(); err == nil; inner, err = layer.Next() {
			file, err := io.ReadAll(layer)
			if err != nil {
				t.Fatal(err)
			}
			found[inner.Name] = string(file)
		}
		found["in the archive: "+header.Name] = string(content)
	}
}

func TestBuild_OfSeveralPlatformsSaysWhatItNeeds(t *testing.T) {
	for _, kind := range kinds() {
		t.Run(string(kind), func(t *testing.T) {
			withBuilder(t, kind)
			_, in := realProject(t, false)
			in.Config.Builder.Platforms = []string{"linux/amd64", "linux/arm64"}
			result, err := Stage{}.Run(t.Context(), in)
			if err == nil {
				if out := result.Outputs.(*state.BuildOutputs); out.ArchiveFormat != registry.FormatOCI || len(out.Variants) != 1 {
					t.Errorf("got %+v, want an OCI archive of both", out)
				}
				return
			}
			if !strings.Contains(strings.Join(exit.Hints(err), "\n"), "buildx") {
				t.Errorf("got %v with %q, want a hint at buildx", err, exit.Hints(err))
			}
			if left, err := filepath.Glob(filepath.Join(in.StateDir, "*")); err != nil || len(left) > 0 {
				t.Errorf("got %v, %v left, want nothing", left, err)
			}
		})
	}
}

func TestBuild_ThatFailsShowsTheCause(t *testing.T) {
	for _, kind := range kinds() {
		t.Run(string(kind), func(t *testing.T) {
			withBuilder(t, kind)
			dir, in := realProject(t, false)
			in.Config.Builder.Context = "."
			write(t, filepath.Join(dir, "Dockerfile"), "FROM scratch\nCOPY missing.txt /\n")
			_, err := Stage{}.Run(t.Context(), in)
			if err == nil || !strings.Contains(err.Error(), "missing.txt") {
				t.Errorf("got %v, want the missing file", err)
			}
			t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
			_, err = Stage{}.Run(t.Context(), in)
			if err == nil || !strings.Contains(strings.Join(exit.Hints(err), "\n"), "DOCKER_HOST") {
				t.Errorf("no engine: got %v with %q, want a hint", err, exit.Hints(err))
			}
		})
	}
}
