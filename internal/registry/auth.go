package registry

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/secret"
)

// Secrets resolves the names of secrets; *secret.Store does.
type Secrets interface {
	// Get returns a secret.
	Get(name string, opts ...secret.Option) (secret.Value, error)
	// Identifier returns what is kept with the secrets but is none: a user
	// name may well be a part of the image's.
	Identifier(name string) (string, error)
}

var _ Secrets = (*secret.Store)(nil)

// authenticator finds the login for a repository, for this machine's own
// requests and for pulls alike: what the configuration names for its server, else
// what `docker login` left on this machine, else none.
func authenticator(ctx context.Context, cfg *config.Config, repo name.Repository, secrets Secrets) (authn.Authenticator, error) {
	if r, key := cfg.RegistryAt(repo.RegistryStr()); r.HasLogin() {
		return configLogin(r, key, secrets)
	}
	login, err := authn.Resolve(ctx, authn.DefaultKeychain, repo)
	if err != nil {
		return nil, exit.With(exit.Registry, fmt.Errorf("read docker's login for %s: %w", displayServer(repo), err),
			loginHint(cfg, repo)+"; or correct docker's config.json")
	}
	return login, nil
}

func configLogin(r config.Registry, key string, secrets Secrets) (authn.Authenticator, error) {
	username := r.Username.Value
	if secretName := r.Username.Secret; secretName != "" {
		var err error
		if username, err = secrets.Identifier(secretName); err != nil {
			return nil, fmt.Errorf("%s.username: %w", key, err)
		}
	}
	value, err := secrets.Get(r.Password[0])
	if err != nil {
		return nil, fmt.Errorf("%s.password: %w", key, err)
	}
	if username == "" || value.Reveal() == "" {
		return nil, exit.With(exit.Config, fmt.Errorf("%s: username or password is empty", key), checkLogin(r))
	}
	return &authn.Basic{Username: username, Password: value.Reveal()}, nil
}

// loginHint says which login was used for a repository's server, or how to set
// one.
func loginHint(cfg *config.Config, repo name.Repository) string {
	if r, _ := cfg.RegistryAt(repo.RegistryStr()); r.HasLogin() {
		return checkLogin(r)
	}
	key := cfg.RegistryKey(repo.RegistryStr())
	return fmt.Sprintf("no login is configured for %s: set %s.username and %s.password, or run docker login", displayServer(repo), key, key)
}

func checkLogin(r config.Registry) string {
	hint := "check the secret " + r.Password[0]
	if name := r.Username.Secret; name != "" {
		return hint + " and the user name in " + name
	}
	return hint + " of user " + r.Username.Value
}

// parseRepository allows plain HTTP only for servers that the configuration
// calls insecure.
func parseRepository(repository string, cfg *config.Config) (name.Repository, error) {
	repo, err := name.NewRepository(repository)
	if err != nil {
		return name.Repository{}, exit.With(exit.Config, fmt.Errorf("image repository: %w", err), "correct image and registry.server")
	}
	if r, _ := cfg.RegistryAt(repo.RegistryStr()); r.Insecure {
		return name.NewRepository(repository, name.Insecure)
	}
	return repo, nil
}

// displayServer is the registry as people write it.
func displayServer(repo name.Repository) string {
	return config.CanonicalServer(repo.RegistryStr())
}
