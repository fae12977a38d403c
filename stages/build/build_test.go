package build

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/stages"
)

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

func TestBuild_OfAProjectInASubfolderHasThatFolderAsContext(t *testing.T) {
	dir, in := project(t)
	dockerOnPath(t)
	sub := filepath.Join(dir, "services", "shop")
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(sub, "Dockerfile"), "FROM scratch\n")
	gitRun(t, dir, "add", "--all")
	gitRun(t, dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message=y")
	in.Config.Path = filepath.Join(sub, "kstep.yml")
	run(t, &in)
	if output := in.Report.(*events).of(report.Output); !strings.HasPrefix(output, "Dockerfile ") || strings.Contains(output, "app.txt") {
		t.Errorf("got context\n%s\nwant the subfolder's Dockerfile alone", output)
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
