// Command app is the sample application that the integration tests deploy. It
// shows its version, and fails on demand. It is no model of a good app: it has
// neither logging nor configuration beyond what the tests need.
//
//	app         serves HTTP on $PORT (3000)
//	app work    is a worker: it waits for a stop signal
//	app check   requests /up from the server in the same container, for images
//	            that have no shell
//
// $APP_FLAGS holds words: exit, unhealthy, boot=DURATION, crash=DURATION,
// no-grace (drops requests on SIGTERM), deaf (ignores SIGTERM), host=NAME
// (answers 400 to other names), h2c (HTTP/2 without TLS and nothing else), tls
// (HTTPS with a self-signed certificate).
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// drain is how long a stop waits for requests in flight; the engine's own
// patience is usually shorter.
const drain = 60 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags, err := parseFlags(os.Getenv("APP_FLAGS"))
	if err != nil {
		return err
	}
	port := cmp.Or(os.Getenv("PORT"), "3000")
	switch {
	case len(args) == 0:
		misbehave(flags)
		return serve(flags, ":"+port)
	case args[0] == "work":
		misbehave(flags)
		fmt.Println("app: working")
		<-stopSignal(flags)
		return nil
	case args[0] == "check":
		return check("http://127.0.0.1:" + port + "/up")
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// misbehave does what the flags say about booting and crashing.
func misbehave(f flags) {
	if f.exit {
		fmt.Println("app: refusing to boot: APP_FLAGS says exit")
		os.Exit(3)
	}
	if f.boot > 0 {
		fmt.Println("app: booting for", f.boot)
		time.Sleep(f.boot)
	}
	if f.crash > 0 {
		time.AfterFunc(f.crash, func() {
			fmt.Println("app: crashing: APP_FLAGS says crash after", f.crash)
			os.Exit(4)
		})
	}
}

// stopSignal is closed or sent to when the process should stop gracefully.
func stopSignal(f flags) <-chan os.Signal {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	if f.deaf {
		return nil
	}
	if f.noGrace {
		<-stop
		fmt.Println("app: stopping without grace")
		os.Exit(f.status)
	}
	return stop
}

func serve(f flags, addr string) error {
	server := newServer(named(f.host, newHandler(f)))
	server.Addr = addr
	listen := server.ListenAndServe
	switch {
	case f.h2c:
		server.Protocols = new(http.Protocols)
		server.Protocols.SetUnencryptedHTTP2(true)
	case f.tls:
		certificate, err := selfSigned()
		if err != nil {
			return err
		}
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
		listen = func() error { return server.ListenAndServeTLS("", "") }
	}
	stopped := make(chan error, 1)
	go func() {
		<-stopSignal(f)
		fmt.Println("app: stopping")
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	}()
	fmt.Println("app: listening on", addr)
	if err := listen(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// unusedGrace is how long a stop waits for the first request of a connection. A
// proxy may hold one that it opened for a request which then went another way;
// Go's server waits 5 s for those.
const unusedGrace = time.Second

func newServer(handler http.Handler) *http.Server {
	var unused sync.Map
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	server.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			unused.Store(c, nil)
		} else {
			unused.Delete(c)
		}
	}
	server.RegisterOnShutdown(func() {
		time.Sleep(unusedGrace)
		unused.Range(func(c, _ any) bool {
			c.(net.Conn).Close()
			return true
		})
	})
	return server
}

func check(url string) error {
	client := &http.Client{Timeout: 3 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}
