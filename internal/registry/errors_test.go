package registry

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/registry/registrytest"
	"github.com/kstep/kstep/internal/report"
)

func secured(t *testing.T) *registrytest.Server {
	t.Helper()
	s := registrytest.New(t)
	s.Protect("ci", "right")
	return s
}

func login(cfg *config.Config) *config.Config {
	cfg.Registry.Username = config.SecretOrValue{Secret: "REGISTRY_USER"}
	cfg.Registry.Password = []string{"REGISTRY_PASSWORD"}
	return cfg
}

func TestPush_LogsInWithTheSecretsOfTheConfig(t *testing.T) {
	t.Parallel()
	s := secured(t)
	get := secrets{"REGISTRY_USER": "ci", "REGISTRY_PASSWORD": "right"}
	push(t, open(t, login(configFor(s)), get, report.Discard{}), dockerArchive(t, noise(1, 1000)))
}

func TestPush_FallsBackToDockersLogin(t *testing.T) {
	s := secured(t)
	// base64 of ci:right
	docker := t.TempDir()
	t.Setenv("DOCKER_CONFIG", docker)
	write(t, filepath.Join(docker, "config.json"), `{"auths":{"`+s.Host()+`":{"auth":"Y2k6cmlnaHQ="}}}`)
	push(t, open(t, configFor(s), nil, report.Discard{}), dockerArchive(t, noise(1, 1000)))
	auth, err := authOf(t, configFor(s), Repository(configFor(s)), nil)
	if err != nil || auth == nil || auth.Password != "right" {
		t.Errorf("got %v, %v, want docker's login for the hosts too", auth, err)
	}
}

func TestPush_NamesTheSecretThatIsRefused(t *testing.T) {
	t.Parallel()
	s := secured(t)
	get := secrets{"REGISTRY_USER": "ci", "REGISTRY_PASSWORD": "hunter2"}
	_, err := open(t, login(configFor(s)), get, report.Discard{}).Push(t.Context(), dockerArchive(t, noise(1, 1000)))
	hints := strings.Join(exit.Hints(err), "\n")
	if exit.CodeOf(err) != exit.Registry || !strings.Contains(hints, "REGISTRY_PASSWORD") || !strings.Contains(hints, "REGISTRY_USER") {
		t.Errorf("got %v with hints %q, want the secrets' names", err, hints)
	}
	if strings.Contains(err.Error()+hints, "hunter2") {
		t.Error("the password is in the error")
	}
	if _, err := open(t, configFor(s), nil, report.Discard{}).Push(t.Context(), dockerArchive(t, noise(1, 1000))); !strings.Contains(strings.Join(exit.Hints(err), " "), "docker login") {
		t.Errorf("without login: got hints %q, want docker login", exit.Hints(err))
	}
}

func TestPush_ExplainsWhyTheRegistryCannotBeUsed(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	full := registrytest.New(t)
	full.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(`{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"Err":28,"Op":"write: no space left on device"}}]}`))
			return true
		}
		return false
	})
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(untrusted.Close)
	cases := map[string]struct{ server, hint string }{
		"nothing listens":         {refused, "nothing answers at " + refused},
		"storage is full":         {full.Host(), "no space left"},
		"unknown name":            {"registry.invalid", "cannot be resolved"},
		"certificate not trusted": {strings.TrimPrefix(untrusted.URL, "https://"), "not trusted"},
	}
	for title, c := range cases {
		t.Run(title, func(t *testing.T) {
			cfg := &config.Config{Image: "acme/shop", Registry: config.Registry{Server: c.server}}
			_, err := open(t, cfg, nil, report.Discard{}).Push(t.Context(), dockerArchive(t, noise(1, 1000)))
			if exit.CodeOf(err) != exit.Registry || !strings.Contains(strings.Join(exit.Hints(err), "\n"), c.hint) {
				t.Errorf("got %v with hints %q, want %q", err, exit.Hints(err), c.hint)
			}
		})
	}
}

func TestPush_TalksPlainHTTPOnlyWhenTheConfigSaysSo(t *testing.T) {
	t.Parallel()
	// 127.0.0.0/8 is tried over HTTP anyway, as docker does, so the server is
	// reached by another name.
	s := registrytest.New(t)
	cfg := configFor(s)
	cfg.Registry.Server = "registry.example.com:5000"
	reach := func() *Client {
		c := open(t, cfg, nil, report.Discard{})
		c.http.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.Host())
		}
		return c
	}
	_, err := reach().Push(t.Context(), dockerArchive(t, noise(1, 1000)))
	if exit.CodeOf(err) != exit.Registry || !strings.Contains(strings.Join(exit.Hints(err), "\n"), "registry.insecure: true") {
		t.Errorf("got %v with hints %q, want registry.insecure", err, exit.Hints(err))
	}
	cfg.Registry.Insecure = true
	push(t, reach(), dockerArchive(t, noise(1, 1000)))
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
