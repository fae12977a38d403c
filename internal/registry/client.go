package registry

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/silence"
)

const (
	attempts    = 5
	firstWait   = 500 * time.Millisecond // Doubled each time: 7.5 s in all.
	dialTimeout = 10 * time.Second
	// A registry may copy a whole layer within its store before it answers.
	answerTimeout = 5 * time.Minute
	// No registry pauses for so long within an answer.
	silenceTimeout = 3 * time.Minute
)

// Client talks to one repository of one registry.
type Client struct {
	cfg    *config.Config
	repo   name.Repository
	login  authn.Authenticator
	puller *remote.Puller
	pusher *remote.Pusher
	http   *http.Transport
	wire   http.RoundTripper // All requests go through it to http.
	sent   atomic.Int64
	sink   report.Sink
	wait   time.Duration
	within time.Duration // So long may an answer be silent, once it has begun.
}

// Open prepares a client for a repository; it reads the secrets and sends
// nothing yet. Retries and progress go to sink.
func Open(ctx context.Context, cfg *config.Config, repository string, secrets Secrets, sink report.Sink) (*Client, error) {
	repo, err := parseRepository(repository, cfg)
	if err != nil {
		return nil, err
	}
	login, err := authenticator(ctx, cfg, repo, secrets)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, repo: repo, login: login, sink: sink, wait: firstWait, within: silenceTimeout, http: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   parallel + 1,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: answerTimeout,
		ExpectContinueTimeout: time.Second,
	}}
	c.wire = talkative{c.http, &c.within}
	if r, _ := cfg.RegistryAt(repo.RegistryStr()); !r.Insecure {
		c.wire = encrypted{c.wire}
	}
	// The library's own retries sleep whatever the context says; Client.retry
	// does not.
	once := remote.WithRetryBackoff(remote.Backoff{Steps: 1})
	options := []remote.Option{remote.WithAuth(login), remote.WithTransport(meter{c.wire, &c.sent}), once, remote.WithUserAgent("kstep")}
	if c.puller, err = remote.NewPuller(options...); err != nil {
		return nil, err
	}
	if c.pusher, err = remote.NewPusher(options...); err != nil {
		return nil, err
	}
	return c, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// retry does f until it succeeds, fails for good or was tried often enough.
func (c *Client) retry(ctx context.Context, f func() error) error {
	wait := c.wait
	for attempt := 1; ; attempt++ {
		err := f()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil || attempt == attempts || !transient(err) {
			return err
		}
		c.sink.Emit(report.Event{Kind: report.Notice, Message: "trying again in " + wait.String() + ": " + plain(err)})
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		wait *= 2
	}
}

// transient reports whether an error may be gone at the next attempt: one of
// the connection, or an answer that a registry gives while it restarts or is
// busy.
func transient(err error) bool {
	if answer, ok := errors.AsType[*transport.Error](err); ok {
		switch answer.StatusCode {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, 499, 522:
			return true
		case http.StatusInsufficientStorage, http.StatusNotImplemented:
			return false
		}
		return answer.StatusCode >= 500 && !storageFull(err)
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return !dns.IsNotFound
	}
	for _, cause := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// errSilent is a registry that stopped in the middle of an answer.
var errSilent = errors.New("the registry sends nothing any more")

// talkative ends answers that are silent. The transport has the limits for those that
// do not begin.
type talkative struct {
	inner  http.RoundTripper
	within *time.Duration
}

func (t talkative) RoundTrip(request *http.Request) (*http.Response, error) {
	return silence.RoundTrip(t.inner, request, 0, *t.within, errSilent)
}

// meter counts the bytes of request bodies, which are blobs and manifests.
type meter struct {
	inner http.RoundTripper
	sent  *atomic.Int64
}

func (m meter) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body != nil && request.Body != http.NoBody {
		request = request.Clone(request.Context())
		request.Body = &meteredBody{request.Body, m.sent}
	}
	return m.inner.RoundTrip(request)
}

type meteredBody struct {
	io.ReadCloser
	sent *atomic.Int64
}

func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.sent.Add(int64(n))
	return n, err
}
