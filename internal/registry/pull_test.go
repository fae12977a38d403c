package registry

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
)

// authOf is the login that goes with the pull of an image.
func authOf(t *testing.T, cfg *config.Config, image string, get secrets) (*engine.Auth, error) {
	t.Helper()
	ref, err := name.ParseReference(image)
	if err != nil {
		t.Fatal(err)
	}
	return NewPuller(cfg, get).login(t.Context(), ref.Context())
}

func TestPull_PicksTheLoginByTheServerOfTheImage(t *testing.T) {
	t.Parallel()
	secret := func(server, user, name string) config.Registry {
		return config.Registry{Server: server, Username: config.SecretOrValue{Value: user}, Password: []string{name}}
	}
	hub := &config.Config{
		Image: "acme/shop", Registry: secret("", "hub", "HUB"),
		Registries: config.Registries{secret("ghcr.io", "bot", "GH"), secret("registry:5001", "mirror", "MIRROR"), {Server: "plain:5000", Insecure: true}},
	}
	own := &config.Config{
		Image: "shop", Registry: secret("GHCR.io/acme", "bot", "GH"),
		Registries: config.Registries{secret("registry-1.docker.io", "hub", "HUB")},
	}
	inImage := &config.Config{
		Image: "ghcr.io/acme/shop", Registries: config.Registries{secret("ghcr.io:443", "bot", "GH"), secret("index.docker.io", "hub", "HUB")},
	}
	get := secrets{"HUB": "hub's", "GH": "github's", "MIRROR": "mirror's"}
	tests := map[string]struct {
		cfg         *config.Config
		image, want string
	}{
		"no server":                    {hub, "traefik:v3.6", "hub"},
		"no server, with an owner":     {hub, "acme/shop:v1", "hub"},
		"docker.io":                    {hub, "docker.io/library/redis", "hub"},
		"index.docker.io":              {hub, "index.docker.io/acme/db:1", "hub"},
		"registry-1.docker.io":         {hub, "registry-1.docker.io/acme/db:1", "hub"},
		"a further server":             {hub, "ghcr.io/acme/db@sha256:" + strings.Repeat("a", 64), "bot"},
		"upper case":                   {hub, "GHCR.IO/acme/db:1", "bot"},
		"the port of HTTPS":            {hub, "ghcr.io:443/acme/db:1", "bot"},
		"a server with a port":         {hub, "registry:5001/traefik:v3.6", "mirror"},
		"the same name, another port":  {hub, "registry:5002/traefik:v3.6", ""},
		"a name that begins the same":  {hub, "ghcr.io.example.com/acme/db:1", ""},
		"a server without a login":     {hub, "plain:5000/db:1", ""},
		"a server that is not there":   {hub, "quay.io/acme/db:1", ""},
		"a path behind the server":     {own, "ghcr.io/acme/shop:1", "bot"},
		"another path on that server":  {own, "ghcr.io/other/db:1", "bot"},
		"Docker Hub as a further one":  {own, "mysql:8.4", "hub"},
		"the server is in image alone": {inImage, "ghcr.io/acme/shop:v1", "bot"},
		"Docker Hub beside it":         {inImage, "docker.io/traefik:v3.6", "hub"},
	}
	for title, test := range tests {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			auth, err := authOf(t, test.cfg, test.image, get)
			got := ""
			if auth != nil {
				got = auth.Username
			}
			if err != nil || got != test.want {
				t.Errorf("got user %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestPull_NamesTheSecretThatIsMissing(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{Image: "acme/shop", Registries: config.Registries{
		{Server: "ghcr.io", Username: config.SecretOrValue{Value: "bot"}, Password: []string{"GH"}},
	}}
	if _, err := authOf(t, cfg, "ghcr.io/acme/db:1", secrets{}); err == nil || !strings.Contains(err.Error(), `registries["ghcr.io"].password`) {
		t.Errorf("got %v, want the key", err)
	}
	if _, err := authOf(t, cfg, "quay.io/acme/db:1", secrets{}); err != nil {
		t.Errorf("a server without that secret: got %v, want no question for it", err)
	}
	if err := NewPuller(cfg, secrets{}).Pull(t.Context(), nil, "Not An Image", nil); exit.CodeOf(err) != exit.Config {
		t.Errorf("got %v, want the configuration's exit code", err)
	}
}

func TestLoginHint_NamesTheKeyOfTheServer(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{Image: "ghcr.io/acme/shop", Registries: config.Registries{
		{Server: "quay.io", Username: config.SecretOrValue{Secret: "QUAY_USER"}, Password: []string{"QUAY"}},
		{Server: "plain:5000", Insecure: true},
	}}
	for image, want := range map[string]string{
		"ghcr.io/acme/shop": "no login is configured for ghcr.io: set registry.username and registry.password",
		"quay.io/acme/db":   "check the secret QUAY and the user name in QUAY_USER",
		"plain:5000/db":     `no login is configured for plain:5000: set registries["plain:5000"].username`,
		"traefik":           `no login is configured for docker.io: set registries["docker.io"].username`,
	} {
		repo, err := name.NewRepository(image)
		if err != nil {
			t.Fatal(err)
		}
		if got := loginHint(cfg, repo); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", image, got, want)
		}
	}
}
