package registry

import (
	"context"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// CheckPush checks that this machine may push into the repository: it begins an
// upload and breaks it off, which leaves nothing there.
func (c *Client) CheckPush(ctx context.Context) error {
	err := c.retry(ctx, func() error {
		return remote.CheckPushPermission(c.repo.Tag("latest"), only{c.login}, within{ctx, c.wire})
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.explain(c.repo.Name(), err)
}

// only is the login of one repository.
type only struct{ login authn.Authenticator }

func (o only) Resolve(authn.Resource) (authn.Authenticator, error) { return o.login, nil }

// within ends the requests of a library that takes no context.
type within struct {
	ctx   context.Context //nolint:containedctx // For one call.
	inner http.RoundTripper
}

func (w within) RoundTrip(request *http.Request) (*http.Response, error) {
	return w.inner.RoundTrip(request.WithContext(w.ctx))
}
