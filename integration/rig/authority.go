package rig

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/host/hosttest"
)

// Authority is Pebble, a real authority that speaks ACME, beside the rig: it looks names
// up in a DNS of its own, and requests HTTP challenges at port 80 of the address.
type Authority struct {
	// Directory is the URL of its directory, as hosts reach it.
	Directory string
	// ServerRoot is the file of the root certificate of its own server.
	ServerRoot string

	dir    string
	binary string
	server *exec.Cmd
	dns    net.Listener // Pebble queries by TCP.

	mu    sync.Mutex
	names map[string]net.IP
}

// StartAuthority starts an authority whose certificates are valid that long. Stop ends it.
func (r *Rig) StartAuthority(ctx context.Context, dir string, valid time.Duration) (*Authority, error) {
	a := &Authority{dir: dir, binary: filepath.Join(r.dir, ".bin", "pebble"), names: map[string]net.IP{}}
	var err error
	if a.dns, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	go a.answer()
	listen, err := freeAddress(ctx, r.net+".1")
	if err != nil {
		return nil, errors.Join(err, a.dns.Close())
	}
	a.Directory = "https://" + listen + "/dir"
	if err := a.configure(r, listen, valid); err != nil {
		return nil, errors.Join(err, a.dns.Close())
	}
	if err := a.start(ctx); err != nil {
		return nil, errors.Join(err, a.dns.Close())
	}
	return a, nil
}

// freeAddress is an address with a port that nothing listens on.
func freeAddress(ctx context.Context, ip string) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (a *Authority) configure(r *Rig, listen string, valid time.Duration) error {
	own := hosttest.NewAuthority()
	certificate, key := own.Pair(time.Now().Add(-time.Hour), time.Now().Add(12*time.Hour), r.net+".1")
	a.ServerRoot = filepath.Join(a.dir, "server-root.pem")
	management, err := freeAddress(context.Background(), "127.0.0.1")
	if err != nil {
		return err
	}
	settings, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": management,
		"certificate": filepath.Join(a.dir, "server.pem"), "privateKey": filepath.Join(a.dir, "server.key"),
		"httpPort": 80, "tlsPort": 443, "keyAlgorithm": "ecdsa",
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "usual", "validityPeriod": int(valid.Seconds())}},
	}})
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"server-root.pem": own.Root(), "server.pem": certificate, "server.key": key,
		"pebble.json": string(settings), "management": management,
	} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (a *Authority) start(ctx context.Context) error {
	a.server = exec.Command(a.binary, "-config", filepath.Join(a.dir, "pebble.json"), "-dnsserver", a.dns.Addr().String())
	a.server.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	log, err := os.OpenFile(filepath.Join(a.dir, "pebble.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	a.server.Stdout, a.server.Stderr = log, log
	if err := a.server.Start(); err != nil {
		return err
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := a.Roots(ctx)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("the authority does not answer: %w", err), a.Stop())
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), a.Stop())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop makes it unreachable. It may be called twice.
func (a *Authority) Stop() error {
	if a.server.ProcessState != nil {
		return nil
	}
	err := a.server.Process.Kill()
	_ = a.server.Wait() // It was killed.
	return err
}

// Close stops it for good.
func (a *Authority) Close() error { return errors.Join(a.Stop(), a.dns.Close()) }

// Log is what it has printed.
func (a *Authority) Log() string {
	data, err := os.ReadFile(filepath.Join(a.dir, "pebble.log"))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// Roots trust the certificates that it issues now.
func (a *Authority) Roots(ctx context.Context) (*x509.CertPool, error) {
	address, err := os.ReadFile(filepath.Join(a.dir, "management"))
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+string(address)+"/roots/0", nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // On loopback; its certificate is for another address.
		},
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, errors.New("the authority sends no root certificate")
	}
	return pool, nil
}

// Name makes its DNS answer with a host's address for a name; with nil it knows none.
func (a *Authority) Name(name string, h *Host) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.names, name)
	if h != nil {
		a.names[name] = net.ParseIP(h.Addr).To4()
	}
}

// answer answers questions for addresses (RFC 1035, section 4), until the listener is
// closed.
func (a *Authority) answer() {
	for {
		conn, err := a.dns.Accept()
		if err != nil {
			return
		}
		go a.converse(conn)
	}
}

// converse answers the questions of one connection; each message has its length before it.
func (a *Authority) converse(conn net.Conn) {
	defer conn.Close()
	for {
		var size uint16
		if binary.Read(conn, binary.BigEndian, &size) != nil {
			return
		}
		question := make([]byte, size)
		if _, err := io.ReadFull(conn, question); err != nil {
			return
		}
		reply := a.reply(question)
		if reply == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

const (
	dnsHeader = 12 // Bytes.
	typeA     = 1
)

func (a *Authority) reply(question []byte) []byte {
	if len(question) < dnsHeader {
		return nil
	}
	var labels []string
	at := dnsHeader
	for at < len(question) && question[at] != 0 {
		end := at + 1 + int(question[at])
		if end > len(question) {
			return nil
		}
		labels, at = append(labels, string(question[at+1:end])), end
	}
	if at+5 > len(question) {
		return nil
	}
	kind := binary.BigEndian.Uint16(question[at+1:])
	a.mu.Lock()
	ip := a.names[strings.ToLower(strings.Join(labels, "."))]
	a.mu.Unlock()
	reply := append([]byte{}, question[:at+5]...)
	reply[2], reply[3] = 0x81, 0x80 // An answer, recursion available, no error.
	clear(reply[6:dnsHeader])
	switch {
	case ip == nil:
		reply[3] |= 3 // No such name.
	case kind == typeA:
		reply[7] = 1
		reply = append(reply, 0xc0, dnsHeader, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4)
		reply = append(reply, ip...)
	}
	return reply
}
