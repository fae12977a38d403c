//go:build integration

package integration

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/integration/rig"
)

// later has the test's end undo what it breaks, also when it fails.
func (w *world) later(mend func(context.Context) error) {
	w.t.Helper()
	w.t.Cleanup(func() {
		if err := mend(context.WithoutCancel(w.t.Context())); err != nil {
			w.t.Error(err)
		}
	})
}

// ignore keeps what the test writes into the checkout from making it dirty.
func (w *world) ignore(patterns ...string) {
	w.t.Helper()
	w.write(".git/info/exclude", strings.Join(patterns, "\n")+"\n")
}

// write puts a file into the checkout.
func (w *world) write(path, content string) {
	w.t.Helper()
	full := filepath.Join(w.app.Dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// hide moves a file of the checkout away.
func (w *world) hide(path string) {
	w.t.Helper()
	full := filepath.Join(w.app.Dir, path)
	away := filepath.Join(w.t.TempDir(), "away")
	if err := os.Rename(full, away); err != nil {
		w.t.Fatal(err)
	}
	w.later(func(context.Context) error { return os.Rename(away, full) })
}

// stopEngine stops a host's engine, and with it its containers.
func (w *world) stopEngine(host string) {
	w.t.Helper()
	h := w.rig.Host(host)
	w.later(h.StartEngine)
	if err := h.StopEngine(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// on runs a script as root on a host.
func (w *world) on(ctx context.Context, host, script string) error {
	_, err := w.rig.Host(host).Exec(ctx, "bash", "-c", script)
	return err
}

// fillEngine leaves a host's engine no room for what it downloads.
func (w *world) fillEngine(host string) {
	w.t.Helper()
	const downloads = "/var/lib/docker/tmp"
	w.later(func(ctx context.Context) error { return w.on(ctx, host, "umount "+downloads) })
	if err := w.on(w.t.Context(), host, "mount -t tmpfs -o size=16k none "+downloads); err != nil {
		w.t.Fatal(err)
	}
}

// memory is a small file system in the deployer.
const memory = "/dev/shm"

// fillMemory leaves almost no room there.
func (w *world) fillMemory() {
	w.t.Helper()
	in := func(ctx context.Context, script string) error {
		r, err := w.rig.Deployer.Run(ctx, nil, ".", "bash", "-c", script)
		if err == nil && r.Exit != 0 {
			err = fmt.Errorf("%s: %s", script, r.Stderr)
		}
		return err
	}
	w.later(func(ctx context.Context) error { return in(ctx, "find "+memory+" -mindepth 1 -delete") })
	const fill = `free=$(df --output=avail -k ` + memory + ` | tail -n 1); fallocate -l $((free - 256))K ` + memory + `/fill`
	if err := in(w.t.Context(), fill); err != nil {
		w.t.Fatal(err)
	}
}

// auth is a kstep.yml whose registry wants a login.
func (s settings) auth(address string) string {
	return strings.Replace(s.yaml(), fmt.Sprintf("{server: %q", rig.Registry),
		fmt.Sprintf("{server: %q, username: %s, password: [RIG_PASSWORD]", address, rig.RegistryUser), 1)
}

// answers returns an error unless every web host answers with the version.
func (w *world) answers(version string) error {
	for _, url := range []string{w.rig.Host("vm1").URL(), w.rig.Host("vm2").URL()} {
		if status, body := w.get(url + "/"); status != 200 || !strings.HasPrefix(body, "version "+version+" ") {
			return fmt.Errorf("%s answers %d %q, want version %s", url, status, body, version)
		}
	}
	return nil
}

// stateCopy is a copy of the state folder, for setState to bring back.
func (w *world) stateCopy() string {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "state")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(w.app.Dir, "kstep-state"))); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

func (w *world) setState(dir string) {
	w.t.Helper()
	state := filepath.Join(w.app.Dir, "kstep-state")
	if err := os.RemoveAll(state); err != nil {
		w.t.Fatal(err)
	}
	if err := os.CopyFS(state, os.DirFS(dir)); err != nil {
		w.t.Fatal(err)
	}
}

// noise is text that does not compress.
func noise(n int) string {
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, n)
	for i := range text {
		text[i] = byte(random.IntN(256))
	}
	return string(text)
}

// beginWith is begin with a version that has a kstep.yml of its own.
func beginWith(t *testing.T, v rig.AppVersion) *world {
	t.Helper()
	w := begin(t, settings{})
	app, err := w.rig.NewApp("app", v)
	if err != nil {
		t.Fatal(err)
	}
	w.app = app
	return w
}

// do sends one request.
func (w *world) do(req *http.Request) (int, string) {
	w.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}
