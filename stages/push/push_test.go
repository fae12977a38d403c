package push

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/registry"
	"github.com/kstep/kstep/internal/registry/registrytest"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

func TestMain(m *testing.M) { os.Exit(registrytest.Main(m)) }

// built is the input of a stage after a build.
func built(t *testing.T, s *registrytest.Server) stages.Input {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "image-v1.tar")
	if err := os.WriteFile(path, registrytest.Archive(t, []byte("one layer")), 0o600); err != nil {
		t.Fatal(err)
	}
	archive, err := registry.OpenArchive(path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	cfg := &config.Config{Service: "shop", Image: "acme/shop", Registry: config.Registry{Server: s.Host(), Insecure: true}}
	return stages.Input{
		Config: cfg, Version: "v1", StateDir: dir, Report: report.Discard{},
		Secrets:  secret.NewStore(secret.Options{Env: func(string) (string, bool) { return "", false }, Dir: dir}),
		Upstream: upstream(t, state.BuildOutputs{Image: archive.Image(), Archive: "image-v1.tar", ArchiveFormat: archive.Format()}),
	}
}

func upstream(t *testing.T, out state.BuildOutputs) state.Set {
	t.Helper()
	return state.NewSet(&state.File{Stage: "build", Status: state.OK, Outputs: encode(t, out)})
}

func encode(t *testing.T, value any) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// run runs the stage and makes its result the next run's own file.
func run(t *testing.T, in *stages.Input) (stages.Result, state.PushOutputs) {
	t.Helper()
	result, err := Stage{}.Run(t.Context(), *in)
	if err != nil {
		t.Fatal(err)
	}
	in.Own = &state.File{Stage: "push", Status: state.OK, Outputs: encode(t, result.Outputs)}
	return result, result.Outputs.(state.PushOutputs)
}

func TestPush_LeavesTheNamesThatHostsPullBy(t *testing.T) {
	s := registrytest.New(t)
	in := built(t, s)
	in.Config.Destination = "staging"
	result, out := run(t, &in)
	if !result.Changed || out.Repository != s.Host()+"/acme/shop" || !slices.Equal(out.Tags, []string{"v1", "latest-staging"}) || !out.Insecure || out.Uploaded == 0 {
		t.Errorf("got %+v, want repository, both tags and bytes", out)
	}
	if !strings.HasPrefix(out.Reference(), s.Host()+"/acme/shop@sha256:") {
		t.Errorf("got reference %s, want one by digest", out.Reference())
	}
	s.Requests()
	again, _ := run(t, &in)
	if requests := s.Requests(); again.Changed || len(requests) > 3 {
		t.Errorf("again: got changed %v with %v, want a few requests", again.Changed, requests)
	}
}

func TestPush_RecordsAReadyImage(t *testing.T) {
	s := registrytest.New(t)
	in := built(t, s)
	_, pushed := run(t, &in)
	in.Own, in.Upstream = nil, state.Set{}
	in.Options.Image = s.Host() + "/acme/shop:v1"
	result, out := run(t, &in)
	if !result.Changed || out.Digest != pushed.Digest || out.ConfigDigest != pushed.ConfigDigest || !slices.Equal(out.Tags, []string{"v1"}) {
		t.Errorf("got %+v, want the pushed image", out)
	}
	if again, _ := run(t, &in); again.Changed {
		t.Error("again: got changed, want unchanged")
	}
}

func TestPush_TellsWhatIsWrong(t *testing.T) {
	cases := map[string]struct {
		change func(t *testing.T, s *registrytest.Server, in *stages.Input)
		code   exit.Code
	}{
		"archive outside of the state folder": {func(t *testing.T, _ *registrytest.Server, in *stages.Input) {
			in.Upstream = upstream(t, state.BuildOutputs{Archive: "../image.tar"})
		}, exit.BadState},
		"archive not brought along": {func(_ *testing.T, _ *registrytest.Server, in *stages.Input) { in.StateDir = "/nowhere" }, exit.MissingState},
		"no state of build":         {func(_ *testing.T, _ *registrytest.Server, in *stages.Input) { in.Upstream = state.Set{} }, exit.MissingState},
		"secret missing": {func(_ *testing.T, _ *registrytest.Server, in *stages.Input) {
			in.Config.Registry.Username.Value = "ci"
			in.Config.Registry.Password = []string{"NONE"}
		}, exit.Config},
		"registry refuses": {func(_ *testing.T, s *registrytest.Server, _ *stages.Input) {
			s.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusForbidden)
				return true
			})
		}, exit.Registry},
	}
	for title, c := range cases {
		t.Run(title, func(t *testing.T) {
			s := registrytest.New(t)
			in := built(t, s)
			c.change(t, s, &in)
			if _, err := (Stage{}).Run(t.Context(), in); exit.CodeOf(err) != c.code {
				t.Errorf("got %v (%d), want code %d", err, exit.CodeOf(err), c.code)
			}
		})
	}
}
