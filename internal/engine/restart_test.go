package engine

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// ending is an engine one of whose containers has just ended: it refuses to update
// it as often as refuses says.
func ending(t *testing.T, refuses int, words string) (c *Client, asked *int) {
	t.Helper()
	asked = new(int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case !strings.HasSuffix(r.URL.Path, "/update"):
			_, _ = io.WriteString(w, `{"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}`)
		case *asked < refuses:
			*asked++
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"message": "Cannot update container 1: `+words+`"}`)
		default:
			*asked++
			_, _ = io.WriteString(w, `{}`)
		}
	}))
	t.Cleanup(server.Close)
	c = New(Options{Host: "vm1", Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}})
	t.Cleanup(c.CloseIdle)
	return c, asked
}

func TestSetRestart_WaitsUntilTheEngineHasNoticedTheEndOfTheContainer(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]struct{ refuses, asked int }{
		"cannot update a stopped container: unknown": {2, 3}, // Engine 20.10 with runc.
		"Cannot update a stopped container":          {1, 2},
		"the disk is full":                           {2, 1},
	} {
		c, asked := ending(t, want.refuses, words)
		err := c.SetRestart(t.Context(), "1", RestartNo)
		if (err != nil) != (*asked <= want.refuses) || *asked != want.asked {
			t.Errorf("%s: asked %d times, want %d; %v", words, *asked, want.asked, err)
		}
	}
}
