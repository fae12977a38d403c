package registry

import (
	"context"
	"fmt"
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
			cfg := &config.Config{Image: "acme/shop", Registry: config.Registry{Server: c.server, Insecure: c.server == full.Host()}}
			_, err := open(t, cfg, nil, report.Discard{}).Push(t.Context(), dockerArchive(t, noise(1, 1000)))
			if exit.CodeOf(err) != exit.Registry || !strings.Contains(strings.Join(exit.Hints(err), "\n"), c.hint) {
				t.Errorf("got %v with hints %q, want %q", err, exit.Hints(err), c.hint)
			}
		})
	}
}

func TestPush_TalksPlainHTTPOnlyWhenTheConfigSaysSo(t *testing.T) {
	t.Parallel()
	// go-containerregistry uses plain HTTP for most of these by itself.
	for _, server := range []string{
		"registry.example.com:5000", "registry:5000", "localhost:5000", "127.0.0.1:5000", "127.8.8.8:5000", "[::1]:5000",
		"10.1.2.3:5000", "172.17.0.1:5000", "192.168.7.7:5000", "registry.local:5000", "10.1.2.3", "203.0.113.9:80",
	} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			s := registrytest.New(t)
			s.Protect("ci", "secret")
			cfg := login(configFor(s))
			cfg.Registry.Server, cfg.Registry.Insecure = server, false
			reach := func() *Client {
				c := open(t, cfg, secrets{"REGISTRY_USER": "ci", "REGISTRY_PASSWORD": "secret"}, report.Discard{})
				c.http.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, network, s.Host())
				}
				return c
			}
			acts := map[string]func(*Client) error{
				"push": func(c *Client) error {
					_, err := c.Push(t.Context(), dockerArchive(t, noise(1, 1000)))
					return err
				},
				"check": func(c *Client) error { return c.CheckPush(t.Context()) },
				"resolve": func(c *Client) error {
					_, err := c.resolve(t.Context(), c.repo.Tag("v1"))
					return c.explain("look up", err)
				},
			}
			for name, act := range acts {
				err := act(reach())
				if exit.CodeOf(err) != exit.Registry || !strings.Contains(strings.Join(exit.Hints(err), "\n"), "registry.insecure: true") {
					t.Errorf("%s: got %v with hints %q, want registry.insecure", name, err, exit.Hints(err))
				}
			}
			if sent := s.Requests(); len(sent) > 0 {
				t.Errorf("the registry got %q, want no request over plain HTTP", sent)
			}
			cfg.Registry.Insecure = true
			push(t, reach(), dockerArchive(t, noise(1, 1000)))
			if len(s.Logins()) != 1 {
				t.Errorf("got logins %q, want the configured one", s.Logins())
			}
		})
	}
}

func TestOpen_RegistryThatSendsRequestsOnGetsNoLoginOverPlainHTTP(t *testing.T) {
	t.Parallel()
	plain := registrytest.New(t)
	ways := map[string]http.HandlerFunc{
		"a token service": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="registry"`, plain.Host()))
			w.WriteHeader(http.StatusUnauthorized)
		},
		"a redirect of all": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+plain.Host()+r.URL.Path, http.StatusTemporaryRedirect)
		},
		"a redirect after the login": func(w http.ResponseWriter, r *http.Request) {
			if _, _, given := r.BasicAuth(); !given {
				w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			http.Redirect(w, r, "http://"+plain.Host()+r.URL.Path, http.StatusTemporaryRedirect)
		},
	}
	for title, way := range ways {
		t.Run(title, func(t *testing.T) {
			server := httptest.NewTLSServer(way)
			t.Cleanup(server.Close)
			cfg := login(&config.Config{Image: "acme/shop", Registry: config.Registry{Server: server.Listener.Addr().String()}})
			c := open(t, cfg, secrets{"REGISTRY_USER": "ci", "REGISTRY_PASSWORD": "secret"}, report.Discard{})
			c.http.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
			_, err := c.Push(t.Context(), dockerArchive(t, noise(1, 1000)))
			want := plain.Host() + " over plain HTTP"
			if strings.Contains(title, "token") { // go-containerregistry refuses that itself.
				want = `realm scheme "http" not allowed`
			}
			if said := fmt.Sprint(err, exit.Hints(err)); exit.CodeOf(err) != exit.Registry || !strings.Contains(said, want) {
				t.Errorf("got %s, want %s", said, want)
			}
			if sent := plain.Requests(); len(sent) > 0 {
				t.Errorf("got %q over plain HTTP, want none", sent)
			}
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
