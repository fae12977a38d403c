package rig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Load says what traffic to send. It is bounded: it ends by itself after Limit
// requests or the time For, whichever comes first.
type Load struct {
	// URLs are the targets, taken in turn; both web hosts and the load balancer
	// by default. Only addresses of the rig and loopback are accepted.
	URLs []string
	// Paths are requested in turn; "/" by default.
	Paths []string
	// Host is the Host header; the target's address by default.
	Host string
	// Kept clients (8 by default) reuse their connection for each target, Fresh
	// clients (2) open one for each request, Slow clients (4) reuse theirs and
	// request /slow. A negative number means none.
	Kept, Fresh, Slow int
	// SlowFor is how long the app takes for a slow request; 1.5 s by default.
	SlowFor time.Duration
	// Pace is each client's pause between requests, which leaves the machine some
	// time for the deploy itself; 5 ms by default.
	Pace time.Duration
	// Timeout is when a request without an answer has failed; 15 s by default.
	Timeout time.Duration
	// Limit is the number of requests after which the traffic ends; 500,000 by default.
	Limit int
	// For is the time after which it ends; 5 min by default.
	For time.Duration
}

// Traffic is a running Load.
type Traffic struct {
	load   Load
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	sum     Summary
	lap     Summary // Since the last Lap.
	started int
	changed chan struct{} // closed and replaced at each result
}

// StartTraffic starts a load.
func (r *Rig) StartTraffic(ctx context.Context, load Load) (*Traffic, error) {
	if len(load.URLs) == 0 {
		load.URLs = []string{r.Host("vm1").URL(), r.Host("vm2").URL(), r.LoadBalancerURL()}
	}
	load = load.withDefaults()
	for _, target := range load.URLs {
		if err := checkTarget(target); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, load.For)
	t := &Traffic{load: load, cancel: cancel, changed: make(chan struct{})}
	t.sum.start()
	t.lap.start()
	for kind, clients := range map[string]int{kindKept: load.Kept, kindFresh: load.Fresh, kindSlow: load.Slow} {
		for i := range max(clients, 0) {
			t.done.Go(func() { t.loop(ctx, kind, i) })
		}
	}
	return t, nil
}

// Stop lets the requests in flight end and returns the count.
func (t *Traffic) Stop() Summary {
	t.cancel()
	t.done.Wait()
	return t.Summary()
}

// Summary is the count so far.
func (t *Traffic) Summary() Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum.copy()
}

// Lap counts the requests that ended since the last Lap, or since the start.
func (t *Traffic) Lap() Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	lap := t.lap
	t.lap = Summary{}
	t.lap.start()
	return lap
}

// WaitTotal waits until n requests have ended, counted from the start.
func (t *Traffic) WaitTotal(ctx context.Context, n int) error {
	return t.wait(ctx, fmt.Sprintf("%d requests", n), func(s *Summary) bool { return s.Total >= n })
}

// WaitVersion waits until the app has answered with this version.
func (t *Traffic) WaitVersion(ctx context.Context, version string) error {
	return t.wait(ctx, "version "+version, func(s *Summary) bool { return s.Versions[version].Count > 0 })
}

func (t *Traffic) wait(ctx context.Context, what string, reached func(*Summary) bool) error {
	for {
		t.mu.Lock()
		ok, changed := reached(&t.sum), t.changed
		t.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("traffic never reached %s: %w", what, ctx.Err())
		case <-changed:
		case <-time.After(t.load.Timeout):
			return fmt.Errorf("traffic ended before %s", what)
		}
	}
}

// loop is one client. Requests that have begun are ended although ctx has.
func (t *Traffic) loop(ctx context.Context, kind string, client int) {
	conns := map[string]*connection{}
	defer func() {
		for _, c := range conns {
			c.close()
		}
	}()
	for n := client; ctx.Err() == nil && t.begin(); n++ {
		target := t.load.URLs[n%len(t.load.URLs)]
		path := t.load.Paths[n/len(t.load.URLs)%len(t.load.Paths)]
		if kind == kindSlow {
			path = fmt.Sprintf("/slow?ms=%d", t.load.SlowFor.Milliseconds())
		}
		conn := conns[target]
		if conn == nil {
			conn = &connection{address: address(target), timeout: t.load.Timeout}
			conns[target] = conn
		}
		from := time.Now()
		body, err := conn.get(cmp.Or(t.load.Host, conn.address), path)
		if kind == kindFresh {
			conn.close()
		}
		if _, ok := versionOf(body); err == nil && !ok && (kind == kindSlow || path == "/") {
			err = errors.New("a 200 that is not the app's page")
		}
		t.end(request{kind: kind, url: target + path, target: target, from: from, took: time.Since(from), body: body, err: err})
		select {
		case <-ctx.Done():
		case <-time.After(t.load.Pace):
		}
	}
}

// begin is false when the limit is reached.
func (t *Traffic) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.started++
	return t.started <= t.load.Limit
}

func (t *Traffic) end(r request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.add(r)
	t.lap.add(r)
	close(t.changed)
	t.changed = make(chan struct{})
}

func (l Load) withDefaults() Load {
	if len(l.Paths) == 0 {
		l.Paths = []string{"/"}
	}
	l.Kept = cmp.Or(l.Kept, 8)
	l.Fresh = cmp.Or(l.Fresh, 2)
	l.Slow = cmp.Or(l.Slow, 4)
	l.SlowFor = cmp.Or(l.SlowFor, 1500*time.Millisecond)
	l.Pace = cmp.Or(l.Pace, 5*time.Millisecond)
	l.Timeout = cmp.Or(l.Timeout, 15*time.Second)
	l.Limit = cmp.Or(l.Limit, 500_000)
	l.For = cmp.Or(l.For, 5*time.Minute)
	return l
}

// checkTarget refuses to send traffic to a machine outside the rig.
func checkTarget(target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	if u.Scheme != "http" || u.Path != "" {
		return errors.New("traffic: want http://ADDRESS[:PORT], got " + target)
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return fmt.Errorf("traffic: %w", err)
	}
	if !ip.IsLoopback() && !netip.MustParsePrefix(subnets).Contains(ip) {
		return fmt.Errorf("traffic: %s is outside the rig", ip)
	}
	return nil
}

// address is a target's host and port.
func address(target string) string {
	host := strings.TrimPrefix(target, "http://")
	if !strings.Contains(host, ":") {
		host += ":80"
	}
	return host
}
