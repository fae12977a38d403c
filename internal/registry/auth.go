package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
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

// PullAuth is the login with which a host's engine pulls from a repository, or
// nil for none. The repository is that of push.json, which may be elsewhere
// after `push --image`: the config's password is given to no other registry.
func PullAuth(ctx context.Context, cfg *config.Config, repository string, secrets Secrets) (*engine.Auth, error) {
	repo, err := parseRepository(repository, cfg)
	if err != nil {
		return nil, err
	}
	login, err := authenticator(ctx, cfg, repo, secrets)
	if err != nil {
		return nil, err
	}
	auth, err := authn.Authorization(ctx, login)
	if err != nil {
		return nil, exit.With(exit.Registry, fmt.Errorf("log in to %s: %w", displayServer(repo), err))
	}
	// A bearer token of docker's keychain is of no use to another engine.
	if auth.Username == "" || auth.Password == "" {
		return nil, nil
	}
	return &engine.Auth{Username: auth.Username, Password: auth.Password, Server: displayServer(repo)}, nil
}

// authenticator finds the login for a repository: the config's secrets if it
// is on the config's registry, else what `docker login` left on this machine,
// else none.
func authenticator(ctx context.Context, cfg *config.Config, repo name.Repository, secrets Secrets) (authn.Authenticator, error) {
	if configured(cfg) && onConfigRegistry(cfg, repo) {
		return configLogin(cfg, secrets)
	}
	login, err := authn.Resolve(ctx, authn.DefaultKeychain, repo)
	if err != nil {
		return nil, exit.With(exit.Registry, fmt.Errorf("read docker's login for %s: %w", displayServer(repo), err),
			"name registry.username and registry.password, or mend docker's config.json")
	}
	return login, nil
}

func configLogin(cfg *config.Config, secrets Secrets) (authn.Authenticator, error) {
	username := cfg.Registry.Username.Value
	if secretName := cfg.Registry.Username.Secret; secretName != "" {
		var err error
		if username, err = secrets.Identifier(secretName); err != nil {
			return nil, fmt.Errorf("registry.username: %w", err)
		}
	}
	value, err := secrets.Get(cfg.Registry.Password[0])
	if err != nil {
		return nil, fmt.Errorf("registry.password: %w", err)
	}
	if username == "" || value.Reveal() == "" {
		return nil, exit.With(exit.Config, errors.New("registry username or password is empty"), LoginHint(cfg))
	}
	return &authn.Basic{Username: username, Password: value.Reveal()}, nil
}

func configured(cfg *config.Config) bool { return len(cfg.Registry.Password) > 0 }

func onConfigRegistry(cfg *config.Config, repo name.Repository) bool {
	own, err := parseRepository(Repository(cfg), cfg)
	return err == nil && own.RegistryStr() == repo.RegistryStr()
}

// LoginHint says which secrets and which user a refused login was made with.
func LoginHint(cfg *config.Config) string {
	if !configured(cfg) {
		return "name registry.username and registry.password, or run docker login"
	}
	hint := "check the secret " + cfg.Registry.Password[0]
	if name := cfg.Registry.Username.Secret; name != "" {
		return hint + " and the user name in " + name
	}
	return hint + " of user " + cfg.Registry.Username.Value
}

// parseRepository allows plain HTTP only where the config does, and only for
// the config's own server.
func parseRepository(repository string, cfg *config.Config) (name.Repository, error) {
	repo, err := name.NewRepository(repository)
	if err != nil {
		return name.Repository{}, exit.With(exit.Config, fmt.Errorf("image repository: %w", err), "mend image and registry.server")
	}
	if cfg.Registry.Insecure {
		own, err := name.NewRepository(Repository(cfg))
		if err == nil && own.RegistryStr() == repo.RegistryStr() {
			return name.NewRepository(repository, name.Insecure)
		}
	}
	return repo, nil
}

// RepositoryOf is the repository of an image by any name, such as
// `ghcr.io/acme/db:2`.
func RepositoryOf(image string) (string, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return "", exit.With(exit.Config, fmt.Errorf("image %s: %w", image, err))
	}
	return ref.Context().Name(), nil
}

// displayServer is the registry as people write it.
func displayServer(repo name.Repository) string {
	if repo.RegistryStr() == name.DefaultRegistry {
		return dockerHub
	}
	return repo.RegistryStr()
}
