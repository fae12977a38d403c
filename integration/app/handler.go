package main

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	versionFile = "/app/version"
	assetsDir   = "/app/public/assets"
	// maxBody keeps a mistyped /body?n= from filling the machine's memory.
	maxBody = 64 << 20
)

// newHandler serves the paths that the tests request.
func newHandler(f flags) http.Handler {
	page := fmt.Sprintf("version %s host %s\n", version(), hostName())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, page)
	})
	mux.HandleFunc("GET /up", func(w http.ResponseWriter, _ *http.Request) {
		if f.unhealthy {
			http.Error(w, "APP_FLAGS says unhealthy", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		ms, err := strconv.Atoi(r.FormValue("ms"))
		if err != nil {
			http.Error(w, "ms: "+err.Error(), http.StatusBadRequest)
			return
		}
		time.Sleep(time.Duration(ms) * time.Millisecond)
		fmt.Fprint(w, page)
	})
	mux.HandleFunc("GET /env/{name}", serveEnv)
	mux.HandleFunc("GET /header/{name}", serveHeader)
	mux.HandleFunc("GET /events", serveEvents)
	mux.HandleFunc("GET /socket", serveSocket)
	mux.HandleFunc("GET /body", serveBody)
	mux.Handle("GET /assets/", http.StripPrefix("/assets/", http.FileServer(http.Dir(assetsDir))))
	return mux
}

// serveHeader answers with the values of a request header, as the proxy sent it.
func serveHeader(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, strings.Join(r.Header.Values(r.PathValue("name")), ", "))
}

// named refuses requests for other host names than this, as frameworks do.
func named(name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if name != "" && host != name {
			http.Error(w, "APP_FLAGS refuses the host "+strconv.Quote(r.Host), http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// selfSigned is a self-signed certificate.
func selfSigned() (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"app"}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, err
}

// serveEnv answers with a variable's bytes as they are.
func serveEnv(w http.ResponseWriter, r *http.Request) {
	value, ok := os.LookupEnv(r.PathValue("name"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	fmt.Fprint(w, value)
}

// serveEvents sends an event and keeps the stream open until the client leaves.
func serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "data: version %s\n\n", version())
	if err := http.NewResponseController(w).Flush(); err != nil {
		return
	}
	<-r.Context().Done()
}

// serveSocket accepts an upgrade, as a WebSocket server does, and sends back what
// it gets.
func serveSocket(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		http.Error(w, "not an upgrade", http.StatusBadRequest)
		return
	}
	conn, both, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
	_, _ = io.Copy(conn, both)
}

// serveBody answers with n bytes.
func serveBody(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.FormValue("n"))
	if err != nil || n < 0 || n > maxBody {
		http.Error(w, fmt.Sprintf("n: want 0 to %d", maxBody), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	_, _ = w.Write(bytes.Repeat([]byte{'x'}, n))
}

func version() string {
	b, err := os.ReadFile(versionFile)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// hostName is the machine's name if the deploy sets it, else the container's.
func hostName() string {
	name, _ := os.Hostname()
	return cmp.Or(os.Getenv("KSTEP_HOST"), name)
}
