package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/silence"
)

// Options make a client.
type Options struct {
	// Dial opens a connection to the engine's socket.
	Dial func(ctx context.Context) (net.Conn, error)
	// Host is named in errors.
	Host string
	// Around is called around every request, so that a caller can count,
	// repeat or break requests. It calls the request itself, which may be
	// repeated when safe is true. Nil calls it once.
	Around func(ctx context.Context, name string, safe bool, request func(context.Context) error) error
	// Patience is how long the answer to a question may take; a change may take five
	// times as long. Zero is a minute. See ErrSilent.
	Patience time.Duration
	// Observed gets each container, with its environment, before anything that
	// it has written is passed on: its secrets may be in there. Nil drops it. It
	// may be called by several goroutines at once.
	Observed func(Container)
}

// Client is one host's engine. Its methods may be called from several
// goroutines at once.
type Client struct {
	api       *client.Client
	seam      *seam
	transport *http.Transport
	host      string
	observed  func(Container)

	mu      sync.Mutex
	version version // Zero until negotiated.
	moved   []move
	known   map[string]bool // The containers that Observed got, by id and by name.
	ahead   *time.Duration  // Of this machine's clock; nil until Info has read it.
}

// New makes a client. It does not connect yet.
func New(opts Options) *Client {
	base := &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return opts.Dial(ctx) },
		DisableCompression:  true,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     time.Minute,
	}
	through := &seam{base: base, around: opts.Around, patience: cmp.Or(opts.Patience, time.Minute)}
	// The client takes its socket from the transport; without an option that
	// can fail there is no error to return.
	api, err := client.New(client.WithHTTPClient(&http.Client{
		Transport:     through,
		CheckRedirect: client.CheckRedirect,
	}), client.WithUserAgent("kstep"))
	if err != nil {
		panic(fmt.Sprintf("make engine client: %v", err)) //nolint:forbidigo // These options cannot fail.
	}
	return &Client{api: api, seam: through, transport: base, host: opts.Host, observed: opts.Observed, known: map[string]bool{}}
}

// CloseIdle drops connections that wait for a next request, such as after the
// connection below them broke.
func (c *Client) CloseIdle() { c.transport.CloseIdleConnections() }

// Host is the name of the engine's host.
func (c *Client) Host() string { return c.host }

// move is a folder of the host that is at another path than when containers were
// made.
type move struct{ from, to string }

// Moved makes containers be observed with the path that a folder has now. An
// engine reports mounts with the path at which they were made.
func (c *Client) Moved(from, to string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := (move{from, to}); !slices.Contains(c.moved, one) {
		c.moved = append(c.moved, one)
	}
}

// located puts today's paths into what was observed. The proxy watches a folder
// for files that are written later, so its mounts keep the path they were made
// with.
func (c *Client) located(seen Container) Container {
	if seen.Labels[LabelProxy] != "" {
		return seen
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range seen.Mounts {
		for _, m := range c.moved {
			if rest, below := strings.CutPrefix(seen.Mounts[i].Source, m.from+"/"); below {
				seen.Mounts[i].Source = m.to + "/" + rest
			}
		}
	}
	return seen
}

// observe passes an inspected container on to Observed. id is the name or ID that
// was requested.
func (c *Client) observe(id string, seen Container) {
	if c.observed == nil {
		return
	}
	c.mu.Lock()
	first := !c.known[seen.ID]
	c.mu.Unlock()
	if first { // Of two at once, each has it before its text comes.
		c.observed(seen)
	}
	c.mu.Lock()
	c.known[seen.ID], c.known[id] = true, true
	c.mu.Unlock()
}

// beforeText makes sure that Observed has got the container whose text comes
// next. A container that is not there has none.
func (c *Client) beforeText(ctx context.Context, id string) error {
	c.mu.Lock()
	known := c.observed == nil || c.known[id]
	c.mu.Unlock()
	if known {
		return nil
	}
	if _, err := c.Inspect(ctx, id); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// Ping negotiates the API version, once, and returns it.
func (c *Client) Ping(ctx context.Context) (string, error) {
	v, err := c.ready(ctx)
	return v.String(), err
}

// ready negotiates by itself: the client would ignore a ping that failed and
// go on with its newest version, which an old engine refuses.
func (c *Client) ready(ctx context.Context) (version, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.version != (version{}) {
		return c.version, nil
	}
	if _, err := c.api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return version{}, c.fail("reach engine", err)
	}
	v, err := parseVersion(c.api.ClientVersion())
	if err != nil {
		return version{}, c.fail("reach engine", err)
	}
	c.version = v
	return v, nil
}

// Info describes the engine.
func (c *Client) Info(ctx context.Context) (Info, error) {
	v, err := c.ready(ctx)
	if err != nil {
		return Info{}, err
	}
	answer, err := c.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return Info{}, c.fail("query engine", err)
	}
	info := Info{
		ID: answer.Info.ID, Version: answer.Info.ServerVersion, APIVersion: v.String(),
		Name: answer.Info.Name, Root: answer.Info.DockerRootDir, Storage: answer.Info.Driver,
		OS: answer.Info.OSType, Architecture: answer.Info.Architecture,
	}
	info.Now, _ = time.Parse(time.RFC3339Nano, answer.Info.SystemTime)
	if !info.Now.IsZero() {
		c.mu.Lock()
		c.ahead = new(time.Until(info.Now))
		c.mu.Unlock()
	}
	for _, pair := range answer.Info.DriverStatus {
		if pair[0] == "driver-type" && strings.Contains(pair[1], "containerd") {
			info.Containerd = true
		}
	}
	if registries := answer.Info.RegistryConfig; registries != nil {
		for name, index := range registries.IndexConfigs {
			if !index.Secure {
				info.Insecure = append(info.Insecure, name)
			}
		}
	}
	return info, nil
}

// Clock is the time on the engine's host, as far as Info has read it. It is good
// to the length of one request.
func (c *Client) Clock() (now time.Time, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ahead == nil {
		return time.Time{}, false
	}
	return time.Now().Add(*c.ahead), true
}

// seam is the transport through which every request passes.
type seam struct {
	base     http.RoundTripper
	around   func(context.Context, string, bool, func(context.Context) error) error
	patience time.Duration
}

// RoundTrip sends one request. Short answers are read completely within it,
// so that a connection that breaks halfway is noticed where it can be
// repeated.
func (s *seam) RoundTrip(req *http.Request) (*http.Response, error) {
	var resp *http.Response
	send := func(context.Context) (err error) {
		ctx, done := s.limit(req)
		defer func() { err = done(err) }()
		again := req.WithContext(ctx)
		if req.Body != nil && req.GetBody != nil {
			if again.Body, err = req.GetBody(); err != nil {
				return err
			}
		}
		answer, err := s.roundTrip(again) //nolint:bodyclose // The caller closes it.
		if err == nil && !streams(req) {
			answer.Body, err = whole(answer.Body)
		}
		if err != nil {
			return err
		}
		resp = answer
		return nil
	}
	err := s.call(req, send)
	if err != nil {
		if resp != nil {
			resp.Body.Close() // An interceptor hid the answer.
		}
		if ended := Ended(req.Context()); ended != nil {
			err = ended
		}
		return nil, &transportError{err}
	}
	return resp, nil
}

// roundTrip sends a request once. An answer that is read as it comes fails when it is
// silent for ten times the patience: a pull shows its progress all the time. Only what
// has no end by itself may be silent for ever.
func (s *seam) roundTrip(req *http.Request) (*http.Response, error) {
	if !streams(req) || endless(req) {
		return s.base.RoundTrip(req)
	}
	within := 10 * s.patience
	return silence.RoundTrip(s.base, req, within, within,
		exit.With(exit.Unreachable, fmt.Errorf("%w: %w from the engine for %s", ErrUnreachable, ErrSilent, within)))
}

// ErrSilent is an engine that took a request and did not answer it in time, such as
// one whose disk hangs. Whether it did what was requested is not known.
var ErrSilent = errors.New("no answer")

// limit is the context of one attempt of a request. done gives an attempt that ran
// out of time its error.
func (s *seam) limit(req *http.Request) (ctx context.Context, done func(error) error) {
	if streams(req) {
		return req.Context(), func(err error) error { return err }
	}
	within := s.patience
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		within *= 5
	}
	if seconds, err := strconv.Atoi(req.URL.Query().Get("t")); err == nil { // Of a stop.
		within += time.Duration(max(seconds, 0)) * time.Second
	}
	ctx, cancel := context.WithTimeout(req.Context(), within)
	return ctx, func(err error) error {
		defer cancel()
		if err != nil && ctx.Err() != nil && req.Context().Err() == nil {
			return fmt.Errorf("%w from the engine within %s", ErrSilent, within)
		}
		return err
	}
}

func (s *seam) call(req *http.Request, send func(context.Context) error) error {
	if s.around == nil {
		return send(req.Context())
	}
	name := requestName(req)
	return s.around(req.Context(), name, repeatable(req.Method, name), send)
}

// repeatable reports whether a request may be sent again when its answer was
// lost: it changes nothing, or the second request finds the work done. Callers
// look up what other requests did.
func repeatable(method, name string) bool {
	return method == http.MethodGet || method == http.MethodHead || slices.Contains([]string{
		"POST /containers/{}/start", "POST /containers/{}/stop", "POST /containers/{}/update", "DELETE /containers/{}",
		"POST /images/{}/tag", "DELETE /images/{}", "DELETE /networks/{}", "POST /images/prune",
	}, name)
}

// whole reads a body to its end and lets the connection be used again.
func whole(body io.ReadCloser) (io.ReadCloser, error) {
	defer body.Close()
	data, err := readAnswer(body)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// maxAnswer bounds what is taken into memory of one answer, in bytes. A list of a
// thousand containers has about 3 MiB.
const maxAnswer = 64 << 20

// errLargeAnswer is an answer of more than maxAnswer bytes.
var errLargeAnswer = fmt.Errorf("the engine's answer has more than %d MiB", maxAnswer>>20)

func readAnswer(body io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err == nil && len(data) > maxAnswer {
		return nil, errLargeAnswer
	}
	return data, err
}

// streams reports whether an answer has no end, or is too big to keep.
func streams(req *http.Request) bool {
	p := req.URL.Path
	if strings.HasSuffix(p, "/logs") {
		asked := req.URL.Query()
		return asked.Has("follow") || !asked.Has("tail")
	}
	return strings.HasSuffix(p, "/events") || strings.HasSuffix(p, "/archive") ||
		strings.HasSuffix(p, "/images/create") || strings.HasSuffix(p, "/images/load") || strings.HasSuffix(p, "/start") && strings.Contains(p, "/exec/")
}

// endless reports answers that come when something happens: events, new lines of a log,
// and what a program in a container prints.
func endless(req *http.Request) bool {
	p := req.URL.Path
	return strings.HasSuffix(p, "/events") || strings.HasSuffix(p, "/start") ||
		strings.HasSuffix(p, "/logs") && slices.Contains([]string{"1", "true"}, req.URL.Query().Get("follow"))
}

// requestName is a request without what differs from call to call, such as
// `POST /containers/{}/start`.
func requestName(req *http.Request) string {
	p := apiPrefix.ReplaceAllString(req.URL.Path, "")
	m := objectPath.FindStringSubmatch(p)
	if m == nil || slices.Contains([]string{"json", "create", "prune", "load"}, m[2]) {
		return req.Method + " " + p
	}
	return req.Method + " " + m[1] + "{}" + m[3]
}

// The name of an image may have slashes in it.
var (
	apiPrefix  = regexp.MustCompile(`^/v\d+\.\d+`)
	objectPath = regexp.MustCompile(`^(/(?:containers|images|exec|networks)/)(.+?)(/(?:json|start|stop|update|kill|rename|logs|exec|archive|tag|connect|disconnect))?$`)
)

// transportError keeps the client from looking into the cause, not even into
// its text: it would put words of its own, without a host, in its place.
type transportError struct{ err error }

func (e *transportError) Error() string { return "no answer" }

func transportCause(err error) (cause error, ok bool) { //nolint:revive // The cause is the result, not a failure.
	if t, ok := errors.AsType[*transportError](err); ok {
		return t.err, true
	}
	return nil, false
}
