package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// visitor sends requests to vm1, one connection each unless it keeps them.
type visitor struct {
	w      *world
	client *http.Client
	inside atomic.Int32 // Requests that have reached an application.
}

func (w *world) visitor(keep bool) *visitor { return w.visitorOf("vm1", keep) }

func (w *world) visitorOf(hostName string, keep bool) *visitor {
	w.t.Helper()
	h, err := w.pool().Get(w.t.Context(), hostName)
	if err != nil {
		w.t.Fatal(err)
	}
	v := &visitor{w: w}
	v.client = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: !keep, MaxIdleConnsPerHost: 100,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return h.Dial(ctx, "tcp", "127.0.0.1:80") },
	}}
	w.t.Cleanup(v.client.CloseIdleConnections)
	return v
}

// serve is an application that answers /slow?d=… late, never ends /stream, and
// ends at once on a stop signal.
func (v *visitor) serve(version string) {
	v.w.behave(version, hosttest.Behaviour{Abrupt: true, Handler: func(hosttest.Process) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/up" || r.URL.Path == "/" {
				fmt.Fprintln(w, version)
				return
			}
			v.inside.Add(1)
			if d, err := time.ParseDuration(r.FormValue("d")); err == nil {
				time.Sleep(d)
				fmt.Fprintln(w, version)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintln(w, "data: "+version)
			http.NewResponseController(w).Flush() // The visitor notices.
			<-r.Context().Done()
		})
	}})
}

// send begins n requests and returns when the application works on all of them.
func (v *visitor) send(n int, path string) (wait func() (failed []string)) {
	v.w.t.Helper()
	want := v.inside.Load() + int32(n)
	var wg sync.WaitGroup
	results := make(chan string, n)
	for range n {
		wg.Go(func() {
			resp, err := v.client.Get("http://vm1" + path)
			if err != nil {
				results <- err.Error()
				return
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				results <- fmt.Sprintf("%d %v", resp.StatusCode, err)
			}
		})
	}
	v.until(func() bool { return v.inside.Load() >= want })
	return func() (failed []string) {
		wg.Wait()
		close(results)
		for text := range results {
			failed = append(failed, text)
		}
		return failed
	}
}

// until looks again and again until a condition holds.
func (v *visitor) until(holds func() bool) {
	v.w.t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(2 * time.Minute)
	for !holds() {
		select {
		case <-again.C:
		case <-deadline:
			v.w.t.Fatal("nothing came of it within two minutes")
		}
	}
}

// version answers, or nothing does.
func (v *visitor) version() string {
	resp, err := v.client.Get("http://vm1/")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(body)
}

// drained is the drain of web on vm1 in cutover.json.
func (w *world) drained() (waited time.Duration, cut int, unobserved bool) {
	w.t.Helper()
	targets := w.state("cutover")["outputs"].(map[string]any)["targets"].(map[string]any)
	drain, ok := targets["web@vm1"].(map[string]any)["drain"].(map[string]any)
	if !ok {
		w.t.Fatalf("no drain in %v", targets)
	}
	unobserved, _ = drain["unobserved"].(bool)
	return time.Duration(drain["waitedMs"].(float64)) * time.Millisecond, int(drain["cut"].(float64)), unobserved
}

// draining sets the bound, with a kind of switch.
func (w *world) draining(drain, extra string) {
	w.t.Helper()
	w.configure(extra)
	w.replace("cutover: {drain: 10ms}", "cutover: {drain: "+drain+"}")
}

func TestDrain_WaitsForRequestsInFlight(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.draining("5m", extra)
			v := w.visitor(false)
			v.serve("v1")
			w.deploy("v1")
			w.image("v2")
			wait := v.send(20, "/slow?d=8s")
			w.deploy("v2")
			if failed := wait(); len(failed) > 0 {
				t.Errorf("lost %d of 20: %s", len(failed), strings.Join(failed, ", "))
			}
			if waited, cut, _ := w.drained(); cut != 0 || waited > time.Minute {
				t.Errorf("waited %s, cut %d: want no longer than the requests", waited, cut)
			}
		})
	}
}

func TestDrain_CutsStreamsAtTheLimitAndCountsThem(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.draining("700ms", extra)
			v := w.visitor(false)
			v.serve("v1")
			w.deploy("v1")
			wait := v.send(2, "/stream")
			upgraded := v.upgrade()
			defer upgraded.Close()
			_, stderr := w.exits(exit.OK, "deploy", "--image", w.image("v2"), "--version", "v2")
			if waited, cut, _ := w.drained(); cut != 3 || waited < 700*time.Millisecond {
				t.Errorf("waited %s, cut %d: want 3 after 700ms", waited, cut)
			}
			if want := "3 connections to shop-web-v1 on vm1 still open after 700ms: closed"; !strings.Contains(stderr, want) {
				t.Errorf("got %q, want %q in it", stderr, want)
			}
			wait()
		})
	}
}

// upgrade opens a connection that is no HTTP any more.
func (v *visitor) upgrade() net.Conn {
	v.w.t.Helper()
	conn, err := v.client.Transport.(*http.Transport).DialContext(v.w.t.Context(), "tcp", "vm1:80")
	if err != nil {
		v.w.t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /stream HTTP/1.1\r\nHost: vm1\r\n\r\n") // A failure shows in the answer.
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		v.w.t.Fatalf("got %q, %v", line, err)
	}
	return conn
}

func TestDrain_DoesNotWaitForConnectionsWithoutARequest(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.draining("5m", extra)
			v := w.visitor(true)
			v.serve("v1")
			w.deploy("v1")
			if failed := v.send(5, "/slow?d=100ms")(); len(failed) > 0 {
				t.Fatal(failed)
			}
			w.deploy("v2")
			if waited, cut, unobserved := w.drained(); waited > time.Minute || cut != 0 || unobserved {
				t.Errorf("waited %s, cut %d: want no wait for idle connections", waited, cut)
			}
			w.serves("v2")
		})
	}
}

func TestDrain_OfARouteThatAnEarlierKstepWroteWaitsForTheLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.draining("600ms", "")
	v := w.visitor(false)
	v.serve("v1")
	w.deploy("v1")
	// It named no transport, so Traefik keeps idle connections for 90 seconds.
	files, err := filepath.Glob(filepath.Join(w.hosts["vm1"].Home, ".kstep", "proxy", "routes", "shop-*.yml"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got %v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	route := strings.TrimSuffix(filepath.Base(files[0]), ".yml")
	old := strings.Replace(string(data), fmt.Sprintf(`"serversTransport": %q`, route), `"sticky": null`, 1)
	if old == string(data) {
		t.Fatalf("no transport in %s", data)
	}
	if err := os.WriteFile(files[0], []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	w.get("vm1")
	wait := v.send(3, "/slow?d=300ms")
	w.deploy("v2")
	if failed := wait(); len(failed) > 0 {
		t.Errorf("lost %v", failed)
	}
	if waited, _, _ := w.drained(); waited < 600*time.Millisecond {
		t.Errorf("waited %s, want 600ms", waited)
	}
	w.serves("v2")
}

func TestDrain_ThatWasInterruptedIsDoneByTheNextRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.draining("5m", "")
	v := w.visitor(false)
	v.serve("v1")
	w.deploy("v1")
	wait := v.send(5, "/slow?d=10s")
	args := []string{"deploy", "--image", w.image("v2"), "--version", "v2"}
	v.interruptedInDrain(args...)
	w.exits(exit.OK, args...)
	if failed := wait(); len(failed) > 0 {
		t.Errorf("lost %v", failed)
	}
	w.serves("v2")
}

// interruptedInDrain interrupts kstep when the new version v2 answers on vm1,
// while the old one still has requests.
func (v *visitor) interruptedInDrain(args ...string) {
	v.w.t.Helper()
	ctx, interrupt := context.WithCancel(v.w.t.Context())
	ended := make(chan exit.Code, 1)
	go func() {
		code, _, _ := v.w.kstepIn(ctx, args...)
		ended <- code
	}()
	v.until(func() bool { return strings.Contains(v.version(), "v2") })
	interrupt()
	if code := <-ended; code == exit.OK {
		v.w.t.Error("it was not interrupted")
	}
}

func TestDrain_IsDoneByAbort(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.draining("5m", extra)
			v := w.visitor(false)
			v.serve("v1")
			v.serve("v2")
			w.deploy("v1")
			onOld := v.send(1, "/slow?d=10s")
			v.interruptedInDrain("deploy", "--image", w.image("v2"), "--version", "v2")
			onNew := v.send(5, "/slow?d=8s")
			w.exits(exit.OK, "abort", "--yes") // Both hosts have moved.
			if failed := append(onOld(), onNew()...); len(failed) > 0 {
				t.Errorf("lost %v", failed)
			}
			w.serves("v1")
		})
	}
}

func TestDrain_IsDoneByRemove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.draining("5m", "")
	v := w.visitor(false)
	v.serve("v1")
	w.deploy("v1")
	wait := v.send(5, "/slow?d=6s")
	w.exits(exit.OK, "remove", "--yes")
	if failed := wait(); len(failed) > 0 {
		t.Errorf("lost %v", failed)
	}
}

// Traefik keeps its HTTP/2 connection without TLS open when it has no request.
func TestDrain_OfHTTP2WithoutTLSEndsWhenNothingIsSent(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.draining("5m", extra)
			w.replace("retries: 3", "scheme: h2c, cmd: grpc_health_probe, retries: 3")
			var inside atomic.Int32
			w.behave("v", hosttest.Behaviour{H2C: true, Abrupt: true, Handler: func(p hosttest.Process) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/calls" { // A call of 8 s that reports how far it is.
						inside.Add(1)
						for range 16 {
							fmt.Fprintln(w, p.Env["KSTEP_VERSION"])
							http.NewResponseController(w).Flush() // The client notices.
							time.Sleep(500 * time.Millisecond)
						}
						fmt.Fprint(w, "done")
						return
					}
					fmt.Fprintln(w, p.Env["KSTEP_VERSION"])
				})
			}})
			w.deploy("v1")
			w.serves("v1")
			w.deploy("v2")
			if waited, cut, unobserved := w.drained(); waited > 30*time.Second || waited < 5*time.Second || cut != 0 || unobserved {
				t.Errorf("waited %s, cut %d: want the end after some seconds in which nothing is sent", waited, cut)
			}
			answer := make(chan string)
			client := w.visitor(false).client
			go func() {
				resp, err := client.Get("http://vm1/calls")
				if err != nil {
					answer <- err.Error()
					return
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				answer <- fmt.Sprint(string(body), err)
			}()
			w.until("a call is under way", func() bool { return inside.Load() > 0 })
			w.deploy("v3")
			if body := <-answer; !strings.HasSuffix(body, "done<nil>") {
				t.Errorf("the call was cut: %q", body)
			}
			if waited, cut, _ := w.drained(); waited > time.Minute || cut != 0 {
				t.Errorf("waited %s, cut %d: want the call's end and some seconds", waited, cut)
			}
		})
	}
}
