package silence_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/silence"
)

var errSilent = errors.New("silent")

func TestRoundTrip_EndsAnAnswerThatIsSilent(t *testing.T) {
	t.Parallel()
	const within = 300 * time.Millisecond
	steady := func(w http.ResponseWriter, r *http.Request) {
		for range 6 {
			io.WriteString(w, "x")
			http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(within / 3):
			}
		}
	}
	for name, c := range map[string]struct {
		serve   http.HandlerFunc
		body    string
		read    string
		answers bool
		want    error
	}{
		"at once":  {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "all") }, "", "all", true, nil},
		"steadily": {steady, "", "xxxxxx", true, nil},
		"silent after a part": {func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "x")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "", "x", true, errSilent},
		"silent from the start of its body": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "", "", true, errSilent},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "", "", false, errSilent},
		"slow answer to a body": {func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			time.Sleep(2 * within)
			io.WriteString(w, "ok")
		}, "data", "ok", true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(c.serve)
			t.Cleanup(server.Close)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.body == "" {
				req.Body, req.ContentLength = nil, 0
			}
			resp, err := silence.RoundTrip(&http.Transport{}, req, within, within, errSilent)
			if (err == nil) != c.answers {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				if !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				return
			}
			defer resp.Body.Close()
			data, err := io.ReadAll(resp.Body)
			if string(data) != c.read || !errors.Is(err, c.want) {
				t.Errorf("got %q and %v, want %q and %v", data, err, c.read, c.want)
			}
		})
	}
}

func TestRoundTrip_LeavesTheCallersOwnEnd(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := silence.RoundTrip(&http.Transport{}, req, time.Minute, time.Minute, errSilent)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the caller's end", err)
	}
}
