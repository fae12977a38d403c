//go:build integration

package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// upToBarrier runs the stages before the cutover.
func (w *world) upToBarrier() {
	w.t.Helper()
	for _, stage := range []string{"build", "push", "assets", "env-push", "boot", "barrier-wait"} {
		w.must(stage)
	}
}

// drain is the drain of a web target in cutover.json.
func (w *world) drain(key string) (waitedMs, cut float64) {
	w.t.Helper()
	targets := w.state("cutover")["outputs"].(map[string]any)["targets"].(map[string]any)
	drain, ok := targets[key].(map[string]any)["drain"].(map[string]any)
	if !ok || drain["unobserved"] != nil {
		w.t.Fatalf("%s: got %v, want a drain that was observed", key, targets[key])
	}
	return drain["waitedMs"].(float64), drain["cut"].(float64)
}

func TestDrain_LosesNoRequestOfAnApplicationThatEndsOnSIGTERM(t *testing.T) {
	t.Parallel()
	for name, s := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.with(name)
			w := begin(t, s)
			w.commit(s.version("v1", "no-grace"))
			w.must("deploy")
			w.commit(s.version("v2", "no-grace"))
			w.upToBarrier()
			stop := w.slowRequests(20, 2*time.Second)
			w.must("cutover")
			sent, failed := stop()
			if len(failed) > 0 {
				t.Errorf("lost %d of %d: %s", len(failed), sent, strings.Join(failed, ", "))
			}
			if sent < 20 {
				t.Errorf("sent %d requests, want at least 20", sent)
			}
			w.serves("v2")
			waited, cut := w.drain("web@vm1")
			t.Logf("vm1: waited %v ms", waited)
			if cut > 0 || waited > 20_000 {
				t.Errorf("waited %v ms and cut %v, want the end of the requests", waited, cut)
			}
			// Idle, and with the old version's connections gone.
			w.must("prune")
			w.commit(s.version("v3", "no-grace"))
			w.must("deploy")
			if waited, cut := w.drain("web@vm1"); cut > 0 || waited > 5_000 {
				t.Errorf("idle: waited %v ms and cut %v, want no wait", waited, cut)
			} else {
				t.Logf("idle: waited %v ms", waited)
			}
		})
	}
}

// slowRequests keeps n requests to vm1 in flight, each of which takes d, until
// stop is called; it waits for the last of them.
func (w *world) slowRequests(n int, d time.Duration) (stop func() (sent int, failed []string)) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	address := w.rig.Host("vm1").URL() + fmt.Sprintf("/slow?ms=%d", d.Milliseconds())
	var mu sync.Mutex
	var sent int
	var failed []string
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				status, body := w.get(address)
				mu.Lock()
				sent++
				if status != http.StatusOK {
					failed = append(failed, fmt.Sprintf("%d %s", status, strings.TrimSpace(body)))
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []string) {
		cancel()
		wg.Wait()
		return sent, failed
	}
}

func TestDrain_CutsStreamsAtItsLimitAndCountsThem(t *testing.T) {
	t.Parallel()
	for name, s := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.with(name)
			s.extra += "cutover: {drain: 2s}\n"
			w := begin(t, s)
			w.commit(s.version("v1", "no-grace"))
			w.must("deploy")
			events, socket := w.openStream("/events", ""), w.openStream("/socket", "websocket")
			w.commit(s.version("v2", "no-grace"))
			w.upToBarrier()
			r := w.must("cutover")
			if waited, cut := w.drain("web@vm1"); cut != 2 || waited < 2_000 || waited > 10_000 {
				t.Errorf("waited %v ms and cut %v, want 2 after 2 s", waited, cut)
			}
			if want := "2 connections to shop-web-"; !strings.Contains(r.Stderr, want) || !strings.Contains(r.Stderr, "on vm1 still open after 2s: closed") {
				t.Errorf("got %q, want %q in it", r.Stderr, want)
			}
			for _, stream := range []net.Conn{events, socket} {
				if err := stream.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, stream); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("a stream of the old version was left open")
				}
			}
			w.serves("v2")
		})
	}
}

// openStream opens a connection to vm1 and returns when the application answers.
func (w *world) openStream(path, upgrade string) net.Conn {
	w.t.Helper()
	address, err := url.Parse(w.rig.Host("vm1").URL())
	if err != nil {
		w.t.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", net.JoinHostPort(address.Hostname(), port(address)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	request := "GET " + path + " HTTP/1.1\r\nHost: " + address.Host + "\r\n"
	want := "200"
	if upgrade != "" {
		request += "Connection: Upgrade\r\nUpgrade: " + upgrade + "\r\n"
		want = "101"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		w.t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, want) {
		w.t.Fatalf("%s: got %q, %v, want status %s", path, line, err, want)
	}
	return conn
}

func port(address *url.URL) string {
	if p := address.Port(); p != "" {
		return p
	}
	return "80"
}
