// Package probe sends HTTP requests to an application through a host's
// connection, so that neither the image nor the host needs a shell, wget or
// curl, and no port is published for it.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/host"
)

// Client is an HTTP client whose connections start on the host.
func Client(h host.Host, timeout time.Duration) *http.Client {
	return client(&http.Transport{
		DialContext:         func(ctx context.Context, network, addr string) (net.Conn, error) { return h.Dial(ctx, network, addr) },
		MaxIdleConnsPerHost: 2,
	}, timeout)
}

// SecureClient is a Client for HTTPS whose connections all lead to one address,
// whatever host name a request is for, and which accepts any certificate.
func SecureClient(h host.Host, address string, timeout time.Duration) *http.Client {
	return client(&http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) { return h.Dial(ctx, network, address) },
		TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, //nolint:gosec // The first certificate comes after the first request.
		},
		MaxIdleConnsPerHost: 2,
	}, timeout)
}

// ClientOf is a Client that speaks what the health check says the application
// speaks. With https, certificate is the name that it must have.
func ClientOf(h host.Host, health config.Healthcheck, certificate string) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(health.Scheme != "h2c")
	protocols.SetHTTP2(health.Scheme == "https")
	protocols.SetUnencryptedHTTP2(health.Scheme == "h2c")
	return client(&http.Transport{
		DialContext:         func(ctx context.Context, network, addr string) (net.Conn, error) { return h.Dial(ctx, network, addr) },
		MaxIdleConnsPerHost: 2,
		Protocols:           protocols,
		TLSClientConfig: &tls.Config{
			ServerName:         certificate,
			InsecureSkipVerify: !health.Verify, //nolint:gosec // The user asked for it with healthcheck.verify: false.
		},
	}, health.Timeout.D())
}

func client(transport *http.Transport, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:   timeout,
		Transport: transport,
		// A redirect to a login page means ready; following it may leave the host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// URL is the address of a path of an application that speaks scheme (http,
// https or h2c).
func URL(scheme, address string, port int, path string) string {
	if scheme != "https" {
		scheme = "http"
	}
	return scheme + "://" + net.JoinHostPort(address, fmt.Sprint(port)) + path
}

// Request is a GET request.
type Request struct {
	URL     string
	Host    string            // The Host header; empty: that of the URL.
	Headers map[string]string // More headers.
	Success config.Statuses   // Answers that are a success; nil: 200-399.
}

// Answer is an application's answer, without its body.
type Answer struct {
	Status int
	Header http.Header
}

// StatusError is an answer that is no success.
type StatusError struct {
	Answer
	// PlainToTLS reports that a server which speaks TLS complained about a request
	// without it.
	PlainToTLS bool
}

func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("answered %d %s", e.Status, http.StatusText(e.Status)))
}

// Successes are the answers that are a success where a request does not say so.
func Successes() config.Statuses { return config.Statuses{{From: 200, To: 399}} }

// Once sends the request one time. An answer that is no success is a
// *StatusError.
func Once(ctx context.Context, client *http.Client, r Request) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("User-Agent", "kstep")
	for name, value := range r.Headers {
		req.Header.Set(name, value)
	}
	req.Host = r.Host
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	// Reading to the end lets the connection be used again.
	var start strings.Builder
	if _, err := io.CopyN(&start, resp.Body, 512); err != nil && !errors.Is(err, io.EOF) {
		return Answer{}, err
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return Answer{}, err
	}
	answer := Answer{Status: resp.StatusCode, Header: resp.Header}
	success := r.Success
	if success == nil {
		success = Successes()
	}
	if !success.Has(answer.Status) {
		return answer, &StatusError{
			Answer:     answer,
			PlainToTLS: answer.Status == http.StatusBadRequest && strings.Contains(start.String(), "HTTPS") && req.URL.Scheme == "http",
		}
	}
	return answer, nil
}

// refusedPause is the pause after an application that does not listen yet: a
// request to it costs one packet there and back.
const refusedPause = 50 * time.Millisecond

// Limits say how patient Ready is.
type Limits struct {
	Interval    time.Duration // Between two answers that were not a success.
	StartPeriod time.Duration // Failing answers do not count within it.
	Retries     int           // Failing answers in a row that mean sick.
}

// SickError is an application that answered with failure too often.
type SickError struct {
	Last  *StatusError
	Path  string
	Times int           // How often in a row.
	Took  time.Duration // Since the first request.
}

func (e *SickError) Error() string {
	return fmt.Sprintf("GET %s %v, %d times in a row", e.Path, e.Last, e.Times)
}

func (e *SickError) Unwrap() error { return e.Last }

// Ready sends the request until it is a success, and returns that answer. It
// gives up with a *SickError when the application answered with failure too
// often. An application that does not listen yet is not sick; ctx carries the
// deadline for it.
func Ready(ctx context.Context, client *http.Client, r Request, limits Limits) (Answer, error) {
	start := time.Now()
	failures := 0
	var last error // What is wrong, and not that the time is up.
	for {
		answer, err := Once(ctx, client, r)
		if err == nil {
			return answer, nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		pause := refusedPause
		if failed, answered := errors.AsType[*StatusError](err); answered {
			pause = limits.Interval
			if time.Since(start) > limits.StartPeriod {
				failures++
			}
			if failures >= limits.Retries {
				return answer, &SickError{Last: failed, Path: pathOf(r.URL), Times: failures, Took: time.Since(start)}
			}
		}
		select {
		case <-ctx.Done():
			return answer, fmt.Errorf("%w; last: %w", context.Cause(ctx), last)
		case <-time.After(pause):
		}
	}
}

// pathOf leaves the address out, which says nothing to people and would make
// the same failure on two hosts look like two.
func pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.RequestURI()
}
