package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseFlags_ReadsEachWord(t *testing.T) {
	got, err := parseFlags("unhealthy boot=2s  crash=500ms no-grace")
	want := flags{unhealthy: true, noGrace: true, boot: 2 * time.Second, crash: 500 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestParseFlags_RefusesWhatItDoesNotKnow(t *testing.T) {
	for _, words := range []string{"sleepy", "boot", "crash=soon"} {
		if _, err := parseFlags(words); err == nil {
			t.Errorf("%q: got no error, want one", words)
		}
	}
}

func TestHandler_Answers(t *testing.T) {
	t.Setenv("RIG_VALUE", "a\nb \"$c\" ü")
	t.Setenv("RIG_EMPTY", "")
	cases := map[string]struct {
		flags  flags
		path   string
		status int
		body   string
	}{
		"a healthy app is up":                {path: "/up", status: http.StatusOK, body: "ok\n"},
		"an unhealthy app is not":            {flags: flags{unhealthy: true}, path: "/up", status: http.StatusServiceUnavailable, body: "APP_FLAGS says unhealthy\n"},
		"a variable comes byte for byte":     {path: "/env/RIG_VALUE", status: http.StatusOK, body: "a\nb \"$c\" ü"},
		"an empty variable is there":         {path: "/env/RIG_EMPTY", status: http.StatusOK},
		"an unset variable is not":           {path: "/env/RIG_UNSET", status: http.StatusNotFound, body: "404 page not found\n"},
		"a body has the size asked for":      {path: "/body?n=3", status: http.StatusOK, body: "xxx"},
		"a body of no size is a bad request": {path: "/body?n=-1", status: http.StatusBadRequest, body: "n: want 0 to 67108864\n"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			newHandler(c.flags).ServeHTTP(w, httptest.NewRequest(http.MethodGet, c.path, nil))
			if w.Code != c.status || w.Body.String() != c.body {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body, c.status, c.body)
			}
		})
	}
}

// pipes are connections without a network, so that time can be virtual.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// TestServer_StopsSoonBesideAConnectionThatWasNeverUsed: Go's own Shutdown waits
// until such a connection is 5 s old, which some deploys then took longer.
func TestServer_StopsSoonBesideAConnectionThatWasNeverUsed(t *testing.T) {
	for name, c := range map[string]struct {
		server   *http.Server
		min, max time.Duration
	}{
		"Go's server": {&http.Server{}, 5 * time.Second, 10 * time.Second}, //nolint:gosec // Talks to this test only.
		"the app's":   {newServer(http.NewServeMux()), unusedGrace, 2 * unusedGrace},
	} {
		synctest.Test(t, func(t *testing.T) {
			listener := make(pipes)
			go c.server.Serve(listener)
			server, client := net.Pipe()
			defer client.Close()
			listener <- server
			synctest.Wait()
			began := time.Now()
			if err := c.server.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < c.min || took > c.max {
				t.Errorf("%s: stopped after %s, want %s to %s", name, took, c.min, c.max)
			}
		})
	}
}
