package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
)

// Puller brings images to hosts. It is the only way to pull: it picks the login
// by the server of each image, so that no image goes without one and no server
// gets the login of another. Its methods may be called from several goroutines.
type Puller struct {
	cfg     *config.Config
	secrets Secrets

	mu     sync.Mutex
	logins map[string]func() (*engine.Auth, error) // By repository.
}

// NewPuller makes a Puller. It reads no secret before an image is pulled.
func NewPuller(cfg *config.Config, secrets Secrets) *Puller {
	return &Puller{cfg: cfg, secrets: secrets, logins: map[string]func() (*engine.Auth, error){}}
}

// Pull brings an image, such as `ghcr.io/acme/db:2`, to the host of an engine.
// progress may be nil. Errors are those of engine.PullImage.
func (p *Puller) Pull(ctx context.Context, on *engine.Client, image string, progress func(done, total int64, msg string)) error {
	ref, err := name.ParseReference(image)
	if err != nil {
		return exit.With(exit.Config, fmt.Errorf("image %s: %w", image, err))
	}
	auth, err := p.login(ctx, ref.Context())
	if err != nil {
		return err
	}
	err = on.PullImage(ctx, image, auth, progress)
	if errors.Is(err, engine.ErrUnauthorized) {
		return exit.Hint(err, loginHint(p.cfg, ref.Context()))
	}
	if r, _ := p.cfg.RegistryAt(ref.Context().RegistryStr()); r.Insecure && errors.Is(err, engine.ErrRegistry) {
		return exit.Hint(err, fmt.Sprintf("the registry speaks plain HTTP: does the engine on %s list it under insecure-registries?", on.Host()))
	}
	return err
}

// login is the login for a repository, looked up once for all hosts.
func (p *Puller) login(ctx context.Context, repo name.Repository) (*engine.Auth, error) {
	p.mu.Lock()
	get := p.logins[repo.Name()]
	if get == nil {
		get = sync.OnceValues(func() (*engine.Auth, error) { return pullAuth(ctx, p.cfg, repo, p.secrets) })
		p.logins[repo.Name()] = get
	}
	p.mu.Unlock()
	return get()
}

// pullAuth is the login with which a host's engine pulls from a repository, or
// nil for none.
func pullAuth(ctx context.Context, cfg *config.Config, repo name.Repository, secrets Secrets) (*engine.Auth, error) {
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
