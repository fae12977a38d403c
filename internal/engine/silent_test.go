package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
)

// An engine that takes requests and stops in the middle of an answer, such as one whose
// disk hangs.
func TestStreams_ThatAreSilentEnd(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.44")
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
			return
		case strings.HasSuffix(r.URL.Path, "/json"):
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, "{}")
			return
		case strings.HasSuffix(r.URL.Path, "/images/create"):
			io.WriteString(w, `{"status":"Pulling"}`+"\n")
		case strings.HasSuffix(r.URL.Path, "/archive"):
			w.Header().Set("X-Docker-Container-Path-Stat", "e30=") // {}
		}
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	const patience = 20 * time.Millisecond
	client := New(Options{Host: "vm1", Patience: patience, Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	}})
	for name, do := range map[string]func(ctx context.Context) error{
		"a pull": func(ctx context.Context) error {
			return client.PullImage(ctx, "app:1", nil, func(int64, int64, string) {})
		},
		"files of a container": func(ctx context.Context) error {
			body, err := client.CopyFrom(ctx, "abc", "/www")
			if err != nil {
				return err
			}
			defer body.Close()
			_, err = io.ReadAll(body)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := do(ctx); exit.CodeOf(err) != exit.Unreachable || !errors.Is(err, ErrSilent) {
				t.Errorf("got %v, want exit code 30 for the silence", err)
			}
		})
	}
	for query, want := range map[string]bool{
		"GET /v1.44/events": true, "GET /v1.44/containers/a/logs?follow=1": true, "GET /v1.44/containers/a/logs?stdout=1": false,
		"POST /v1.44/exec/a/start": true, "POST /v1.44/images/create?fromImage=a": false, "GET /v1.44/containers/a/archive?path=/events": false,
	} {
		method, url, _ := strings.Cut(query, " ")
		if got := endless(httptest.NewRequest(method, url, nil)); got != want {
			t.Errorf("%s: got %t, want %t", query, got, want)
		}
	}
}
