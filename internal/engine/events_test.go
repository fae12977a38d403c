package engine

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestEvents_OfAStreamThatIsLostAtOnceAreNotTheCallersEnd: the stream may end between
// the engine's answer and the caller's first look at it. Which comes first is a matter
// of chance, so it is tried often.
func TestEvents_OfAStreamThatIsLostAtOnceAreNotTheCallersEnd(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		if strings.HasSuffix(r.URL.Path, "/events") {
			w.WriteHeader(http.StatusOK) // And nothing follows.
		}
	}))
	defer server.Close()
	c := New(Options{Host: "vm1", Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}})
	defer c.CloseIdle()
	atOnce := 0
	for range 300 {
		events, err := c.Events(t.Context(), Filter{IDs: []string{"app"}}, time.Time{})
		if err == nil {
			for _, later := range events {
				err = later
			}
		} else {
			atOnce++
		}
		if !errors.Is(err, ErrUnreachable) || errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want an engine that did not answer", err)
		}
	}
	t.Logf("%d of the streams ended before they were looked at", atOnce)
}
