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

// TestHealth_AsksAsTheHealthcheckSays runs the check with stand-ins for curl and
// wget that note what they are called with.
func TestHealth_AsksAsTheHealthcheckSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		check      config.Healthcheck
		curl, wget []string
	}{
		"as it is": {
			config.Healthcheck{Port: 3000, Path: "/up", Scheme: "http"},
			[]string{"-fsS", "-o", "/dev/null", "http://127.0.0.1:3000/up"},
			[]string{"-q", "-O", "/dev/null", "http://127.0.0.1:3000/up"},
		},
		"with a host, headers and TLS": {
			config.Healthcheck{Port: 8443, Path: "/a'b", Scheme: "https", Host: "shop.example.com", Headers: map[string]string{"X-B": "it's $HOME `id`", "X-A": "1"}},
			[]string{"-fsS", "-o", "/dev/null", "-k", "-H", "Host: shop.example.com", "-H", "X-A: 1", "-H", "X-B: it's $HOME `id`", "https://127.0.0.1:8443/a%27b"},
			[]string{"-q", "-O", "/dev/null", "--no-check-certificate", "--header", "Host: shop.example.com", "--header", "X-A: 1", "--header", "X-B: it's $HOME `id`", "https://127.0.0.1:8443/a%27b"},
		},
	} {
		for program, want := range map[string][]string{"curl": c.curl, "wget": c.wget} {
			t.Run(name+" by "+program, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				note := filepath.Join(dir, "args")
				if err := os.WriteFile(filepath.Join(dir, program), []byte("#!/bin/sh\nprintf '%s\\n' \"$@\" >"+note+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
				check := c.check
				check.Cord = dir // Without a cord in it: the app gets one request.
				cmd := exec.Command("/bin/sh", "-c", Health(check).Shell)
				cmd.Env = []string{"PATH=" + dir}
				out, _ := cmd.CombinedOutput() // It fails for want of the cord.
				if got := strings.TrimSpace(string(out)); got != Untied {
					t.Errorf("got output %q, want %q", got, Untied)
				}
				args, err := os.ReadFile(note)
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.TrimSpace(string(args)); got != strings.Join(want, "\n") {
					t.Errorf("got arguments\n%s\nwant\n%s", got, strings.Join(want, "\n"))
				}
			})
		}
	}
}
