package cord

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
)

// health runs the composed check as the engine does, with a cord folder of the
// test's.
func health(t *testing.T, app string, tied bool) (ok bool, output string) {
	t.Helper()
	dir := t.TempDir()
	if tied {
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := Health(config.Healthcheck{
		Cord: dir, Cmd: config.HealthCommand{Shell: app}, Interval: config.Duration(time.Second), Timeout: config.Duration(time.Second),
	})
	out, err := exec.Command("/bin/sh", "-c", check.Shell).CombinedOutput()
	return err == nil, strings.TrimSpace(string(out))
}

func TestHealth_IsAppCheckAndCord(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		app    string
		tied   bool
		ok     bool
		output string
	}{
		"fine and tied":             {"true", true, true, ""},
		"fine and untied is ready":  {"true", false, false, Untied},
		"sick and untied":           {"false", false, false, ""},
		"sick and tied":             {"false", true, false, ""},
		"quotes in the app's check": {`test "a b" = 'a b'`, true, true, ""},
		"an app's check that exits": {"exit 0", true, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if ok, output := health(t, c.app, c.tied); ok != c.ok || output != c.output {
				t.Errorf("got %t %q, want %t %q", ok, output, c.ok, c.output)
			}
		})
	}
}

func TestHealth_RetriesTheAppInsideTheProbe(t *testing.T) {
	t.Parallel()
	count := filepath.Join(t.TempDir(), "count")
	hiccup := "echo x >> " + count + "; test $(wc -l < " + count + ") -ge 2"
	if ok, output := health(t, hiccup, true); !ok {
		t.Errorf("one failing check of the app made the probe fail: %q", output)
	}
}

func TestReady_KnowsTheMarker(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		container engine.Container
		want      bool
	}{
		"healthy":                {engine.Container{Health: "healthy"}, true},
		"unhealthy for the cord": {engine.Container{Health: "unhealthy", HealthLog: []string{"", Untied + "\n"}}, true},
		"unhealthy again":        {engine.Container{Health: "unhealthy", HealthLog: []string{Untied, "connection refused"}}, false},
		"not checked yet":        {engine.Container{Health: "starting"}, false},
	} {
		if got := Ready(c.container); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}
