package hosttest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// client connects to addresses from the host.
func client(h host.Host) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, network, addr string) (net.Conn, error) { return h.Dial(ctx, network, addr) },
		DisableKeepAlives: true,
	}}
}

func ask(t *testing.T, h host.Host, url string) (int, string) {
	t.Helper()
	resp, err := client(h).Get(url)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(body)
}

// run creates and starts a container and returns it as inspected.
func run(t *testing.T, h host.Host, spec engine.Spec) engine.Container {
	t.Helper()
	id, err := h.Engine().Create(t.Context(), spec)
	must(t, err)
	must(t, h.Engine().Start(t.Context(), id))
	c, err := h.Engine().Inspect(t.Context(), id)
	must(t, err)
	return c
}

func TestFake_PullsFromARegistryWithWhatIsInTheImage(t *testing.T) {
	t.Parallel()
	var login string
	store := registry.New()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); login != "" && user+":"+password != login {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(401)
			return
		}
		store.ServeHTTP(w, r)
	}))
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "http://")
	img, err := random.Image(1000, 2)
	must(t, err)
	img, err = mutate.Config(img, v1.Config{Labels: map[string]string{"a": "b"}, Cmd: []string{"serve"}})
	must(t, err)
	tag, err := name.NewTag(at+"/shop:1", name.Insecure)
	must(t, err)
	must(t, remote.Write(tag, img))
	digest, err := img.Digest()
	must(t, err)
	config, err := img.ConfigName()
	must(t, err)

	fake := hosttest.NewFake(t, "vm1")
	e := fake.Connect(t).Engine()
	var total int64
	ref := at + "/shop@" + digest.String()
	must(t, e.PullImage(t.Context(), ref, nil, func(_, all int64, _ string) { total = all }))
	have, err := e.Image(t.Context(), ref)
	must(t, err)
	if have.ID != config.String() || have.ConfigDigest != config.String() || len(have.DiffIDs) != 2 || have.Labels["a"] != "b" || total == 0 {
		t.Errorf("got %+v and a progress to %d", have, total)
	}

	login = "user:word"
	tests := map[string]struct {
		ref  string
		auth *engine.Auth
		want error
		code exit.Code
	}{
		"a login":       {at + "/shop:1", &engine.Auth{Username: "user", Password: "word"}, nil, exit.OK},
		"no login":      {at + "/shop:1", nil, engine.ErrUnauthorized, exit.Registry},
		"a wrong login": {at + "/shop:1", &engine.Auth{Username: "user", Password: "other"}, engine.ErrUnauthorized, exit.Registry},
		"no such tag":   {at + "/shop:none", &engine.Auth{Username: "user", Password: "word"}, engine.ErrNotFound, exit.Failed},
		"no registry":   {"127.0.0.1:1/shop:1", nil, engine.ErrRegistry, exit.Registry},
	}
	for label, test := range tests {
		t.Run(label, func(t *testing.T) {
			err := e.PullImage(t.Context(), test.ref, test.auth, nil)
			if !errors.Is(err, test.want) || exit.CodeOf(err) != test.code {
				t.Errorf("got %v (exit %d), want %v", err, exit.CodeOf(err), test.want)
			}
		})
	}
	fake.Engine.SetDiskFull(true)
	if err := e.PullImage(t.Context(), ref, nil, nil); !errors.Is(err, engine.ErrDiskFull) || exit.CodeOf(err) != exit.Failed {
		t.Errorf("got %v, want ErrDiskFull", err)
	}
}

func TestFake_ContainersBehaveAsTheirImageIsTold(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	h := fake.Connect(t)
	three := 3
	behaviours := map[string]hosttest.Behaviour{
		"exits":   {Exit: &three, Log: []string{"cannot read config"}},
		"slow":    {Slow: 2 * time.Second}, // On a busy machine, too, the request comes before.
		"deaf":    {IgnoreStop: true},
		"handled": {Handler: func(hosttest.Process) http.Handler { return http.NotFoundHandler() }},
	}
	for name, b := range behaviours {
		fake.Engine.AddImage(name+":1", hosttest.Image{})
		fake.Engine.Behave(name+":1", b)
	}
	t.Run("exits and is started again by its policy", func(t *testing.T) {
		c := run(t, h, engine.Spec{Name: "exits", Image: "exits:1", Restart: "unless-stopped"})
		must(t, h.Engine().WaitFor(t.Context(), c.ID, func(c engine.Container) (bool, error) { return c.Restarts >= 2, nil }))
		must(t, h.Engine().Stop(t.Context(), c.ID, engine.Stop{}))
		c, err := h.Engine().Inspect(t.Context(), c.ID)
		must(t, err)
		lines, err := h.Engine().Logs(t.Context(), c.ID, 1)
		must(t, err)
		if c.ExitCode != 3 || c.State != "exited" || len(lines) != 1 || lines[0] != "cannot read config" {
			t.Errorf("got %+v with %q", c, lines)
		}
	})
	t.Run("refuses connections until it listens", func(t *testing.T) {
		c := run(t, h, engine.Spec{Name: "slow", Image: "slow:1"})
		address := c.Addresses["bridge"] + ":3000"
		if conn, err := h.Dial(t.Context(), "tcp", address); err == nil {
			conn.Close()
			t.Error("listens at once")
		}
		for {
			if conn, err := h.Dial(t.Context(), "tcp", address); err == nil {
				conn.Close()
				return
			}
		}
	})
	t.Run("is killed after the grace when it ignores the signal", func(t *testing.T) {
		c := run(t, h, engine.Spec{Name: "deaf", Image: "deaf:1"})
		must(t, h.Engine().Stop(t.Context(), c.ID, engine.Stop{Timeout: time.Second}))
		c, err := h.Engine().Inspect(t.Context(), c.ID)
		must(t, err)
		if c.ExitCode != 137 {
			t.Errorf("got status %d, want 137", c.ExitCode)
		}
	})
	t.Run("serves what the test gives it", func(t *testing.T) {
		c := run(t, h, engine.Spec{Name: "handled", Image: "handled:1"})
		if status, _ := ask(t, h, "http://"+c.Addresses["bridge"]+":3000/"); status != 404 {
			t.Errorf("got %d, want 404", status)
		}
	})
}

func TestFake_TraefikFollowsFilesAndLabels(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	for _, ref := range []string{"traefik:v3.6", "app:1"} {
		fake.Engine.AddImage(ref, hosttest.Image{})
	}
	h := fake.Connect(t)
	_, err := h.Engine().EnsureNetwork(t.Context(), "kstep", nil)
	must(t, err)
	routes := path.Join(fake.Home, "routes")
	must(t, h.Files().Mkdir(t.Context(), routes, 0o755))
	proxy := run(t, h, engine.Spec{
		Name: "proxy", Image: "traefik:v3.6", Network: "kstep",
		Cmd:    []string{"--entrypoints.web.address=:80", "--api.insecure=true", "--providers.file.directory=/etc/routes", "--providers.docker=true"},
		Mounts: []engine.Mount{{Source: routes, Target: "/etc/routes", ReadOnly: true}},
		Ports:  []engine.Port{{Host: 80, Container: 80}},
	})
	app := func(version string, labels map[string]string) engine.Container {
		return run(t, h, engine.Spec{
			Name: "app-" + version, Image: "app:1", Network: "kstep", Labels: labels, Env: map[string]string{"KSTEP_VERSION": version},
		})
	}
	one := app("one", nil)
	route := func(rule, url string) {
		t.Helper()
		text := fmt.Sprintf(`{"http": {"routers": {"shop": {"rule": %q, "service": "shop", "entryPoints": ["web"]}},
			"services": {"shop": {"loadBalancer": {"servers": [{"url": %q}]}}}}}`, rule, url)
		must(t, h.Files().Write(t.Context(), path.Join(routes, "shop.yml"), []byte(text), 0o644))
	}
	if status, _ := ask(t, h, "http://127.0.0.1/"); status != 404 {
		t.Errorf("without a route: got %d, want 404", status)
	}
	route("(Host(`127.0.0.1`) || Host(`x`)) && PathPrefix(`/`)", "http://"+one.ID[:12]+":3000")
	for status, began := 404, time.Now(); status == 404 && time.Since(began) < 10*time.Second; {
		status, _ = ask(t, h, "http://127.0.0.1/") // Until it has loaded its files.
	}
	if status, body := ask(t, h, "http://127.0.0.1/"); status != 200 || body != "version one\n" {
		t.Errorf("with a route: got %d %q", status, body)
	}
	route("Host(`other`)", "http://"+one.ID[:12]+":3000")
	if status, _ := ask(t, h, "http://127.0.0.1/"); status != 404 {
		t.Errorf("with a route for another host: got %d, want 404", status)
	}
	route("PathPrefix(`/`)", "http://000000000000:3000")
	if status, _ := ask(t, h, "http://127.0.0.1/"); status != 502 {
		t.Errorf("with a route to nobody: got %d, want 502", status)
	}
	api := "http://" + proxy.Addresses["kstep"] + ":8080/api/http"
	if _, body := ask(t, h, api+"/services/shop@file"); !strings.Contains(body, "http://000000000000:3000") || !strings.Contains(body, `"status":"enabled"`) {
		t.Errorf("got service %s", body)
	}
	if status, _ := ask(t, h, api+"/services/none@file"); status != 404 {
		t.Errorf("an unknown service: got %d, want 404", status)
	}
	two := app("two", map[string]string{"traefik.enable": "true", "traefik.http.services.blog.loadbalancer.server.port": "3000"})
	var service struct {
		LoadBalancer struct{ Servers []struct{ URL string } }
	}
	_, body := ask(t, h, api+"/services/blog@docker")
	must(t, json.Unmarshal([]byte(body), &service))
	if want := "http://" + two.Addresses["kstep"] + ":3000"; len(service.LoadBalancer.Servers) != 1 || service.LoadBalancer.Servers[0].URL != want {
		t.Errorf("got %s, want %s in it", body, want)
	}
	must(t, h.Engine().Stop(t.Context(), two.ID, engine.Stop{}))
	if status, _ := ask(t, h, api+"/services/blog@docker"); status != 404 {
		t.Errorf("after the container stopped: got %d, want 404", status)
	}
}

func TestFake_CommandsStayInside(t *testing.T) {
	t.Parallel()
	outside := path.Join(t.TempDir(), "file")
	must(t, os.WriteFile(outside, nil, 0o600))
	h := hosttest.NewFake(t, "vm1").Connect(t)
	_, err := h.Run(t.Context(), []string{"rm", "-rf", "--", outside}, nil)
	if failed, ok := errors.AsType[*host.CommandError](err); !ok || failed.Status != 126 {
		t.Errorf("got %v, want it refused", err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
}

func TestFake_RefusesAnAPINewerThanItsOwn(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	for _, api := range []string{"1.40", "1.41", "1.52"} {
		fake.Engine.SetAPI(api)
		info, err := fake.Connect(t).Engine().Info(t.Context())
		if err != nil || info.APIVersion != api {
			t.Errorf("got %+v, %v, want %s", info, err, api)
		}
	}
	fake.Engine.SetAPI("1.24")
	_, err := fake.Connect(t).Engine().Info(t.Context())
	if err == nil || !strings.Contains(err.Error(), "1.24") || !strings.Contains(err.Error(), "vm1") {
		t.Errorf("got %v, want it to be too old", err)
	}
}
