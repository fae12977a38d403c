// Package probe asks an application over HTTP through a host's connection, so
// that neither the image nor the host needs a shell, wget or curl, and no port
// is published for it.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/state"
)

// Client is an HTTP client whose connections start on the host.
func Client(h host.Host, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext:         func(ctx context.Context, network, addr string) (net.Conn, error) { return h.Dial(ctx, network, addr) },
			MaxIdleConnsPerHost: 2,
		},
		// A redirect to a login page means ready; following it may leave the host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// StatusError is an answer that does not mean ready.
type StatusError struct{ Status int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("answered %d %s", e.Status, http.StatusText(e.Status))
}

// Once asks one time. Any 2xx or 3xx answer is success, another one a
// *StatusError. hostHeader may be empty.
func Once(ctx context.Context, client *http.Client, url, hostHeader string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "kstep")
	req.Host = hostHeader
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	// Reading to the end lets the connection be used again.
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return &StatusError{resp.StatusCode}
	}
	return nil
}

// refusedPause is the pause after an application that does not listen yet:
// asking it costs one packet there and back.
const refusedPause = 50 * time.Millisecond

// Limits say how patient Ready is.
type Limits struct {
	Interval    time.Duration // Between two answers that were not a success.
	StartPeriod time.Duration // Failing answers do not count within it.
	Retries     int           // Failing answers in a row that mean sick.
}

// Ready asks until success, and gives up with the last answer when the
// application answered with failure too often. An application that does not
// listen yet is not sick; ctx carries the deadline for it.
func Ready(ctx context.Context, client *http.Client, url string, limits Limits) error {
	start := time.Now()
	failures := 0
	for {
		err := Once(ctx, client, url, "")
		if err == nil {
			return nil
		}
		pause := refusedPause
		if _, answered := errors.AsType[*StatusError](err); answered {
			pause = limits.Interval
			if time.Since(start) > limits.StartPeriod {
				failures++
			}
			if failures >= limits.Retries {
				return fmt.Errorf("GET %s %w, %d times in a row", pathOf(url), err, failures)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
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

// Watch sends a request every pause until it is stopped, and counts. It proves
// from the user's side of the proxy that a move of traffic lost nothing.
type Watch struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	count  state.Probe
}

// watchPause bounds a probe to some fifty requests a second and host.
const watchPause = 20 * time.Millisecond

// StartWatch begins to probe. Call Stop exactly once.
func StartWatch(ctx context.Context, client *http.Client, url, hostHeader string) *Watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &Watch{cancel: cancel}
	w.done.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			err := Once(ctx, client, url, hostHeader)
			if ctx.Err() != nil {
				return // Cut off by Stop: no answer to count.
			}
			if status, ok := errors.AsType[*StatusError](err); ok && status.Status < 500 {
				err = nil // The application's own answer: it was reached.
			}
			w.add(err, time.Since(began))
			select {
			case <-ctx.Done():
			case <-time.After(watchPause):
			}
		}
	})
	return w
}

func (w *Watch) add(err error, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count.Requests++
	w.count.SlowestMs = max(w.count.SlowestMs, took.Milliseconds())
	if err != nil {
		w.count.Failed++
		if w.count.FirstFail == "" {
			w.count.FirstFail = err.Error()
		}
	}
}

// Stop ends the probing and returns the count.
func (w *Watch) Stop() state.Probe {
	w.cancel()
	w.done.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}
