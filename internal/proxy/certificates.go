package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
)

// Certificate is what the proxy of a host presents for a host name.
type Certificate struct {
	// Name is the host name or wildcard that was requested.
	Name string
	// Issuer is who signed it; Begins and Ends are its validity.
	Issuer       string
	Begins, Ends time.Time
	// Problem is why clients refuse it, as far as that does not depend on whom they trust;
	// or empty.
	Problem string
}

// defaultCertificate is the name of the certificate that Traefik makes for itself and
// presents where it has no other one.
const defaultCertificate = "TRAEFIK DEFAULT CERT"

// noCertificate is the problem of a name for which there is no certificate yet.
const noCertificate = "there is no certificate yet"

// trialCertificate is the problem of a certificate from Let's Encrypt's directory for trials.
const trialCertificate = "it is a certificate for trials, which browsers refuse"

// WorthWaiting reports whether one of the problems may be gone in a moment.
func WorthWaiting(all []Certificate) bool {
	return slices.ContainsFunc(all, func(c Certificate) bool { return c.Problem != "" && c.Problem != trialCertificate })
}

// Certificates are what the proxy presents for each of the names, in their order.
func Certificates(ctx context.Context, h host.Host, c engine.Container, names []string) []Certificate {
	all := make([]Certificate, len(names))
	slots := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			all[i] = presented(ctx, h, c, name)
		})
	}
	wg.Wait()
	return all
}

// Pending are the names whose certificates clients would refuse.
func Pending(all []Certificate) []string {
	var names []string
	for _, c := range all {
		if c.Problem != "" {
			names = append(names, c.Name)
		}
	}
	return names
}

// expiresSoon is when a certificate is worth a word. Traefik renews those of an authority
// thirty days before they expire.
const expiresSoon = 14 * 24 * time.Hour

// Doubtful says what is wrong with certificates, or soon will be.
func Doubtful(all []Certificate) []string {
	var lines []string
	for _, c := range all {
		switch left := time.Until(c.Ends); {
		case c.Problem != "":
			lines = append(lines, c.Name+": "+c.Problem)
		case left < expiresSoon && left < c.Ends.Sub(c.Begins)/3:
			lines = append(lines, fmt.Sprintf("%s: the certificate expires on %s", c.Name, c.Ends.UTC().Format(time.DateOnly)))
		}
	}
	return lines
}

// handshakeTime bounds the look at one certificate.
const handshakeTime = 5 * time.Second

func presented(ctx context.Context, h host.Host, c engine.Container, name string) Certificate {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	found, server := Certificate{Name: name}, config.SampleName(name)
	leaf, err := handshake(ctx, h, c, server)
	if err != nil {
		found.Problem = err.Error()
		return found
	}
	if leaf.Subject.CommonName == defaultCertificate {
		found.Problem = noCertificate
		return found
	}
	found.Issuer, found.Begins, found.Ends = issuer(leaf), leaf.NotBefore, leaf.NotAfter
	now := time.Now()
	switch {
	case leaf.VerifyHostname(server) != nil:
		found.Problem = "the certificate is for " + listed(leaf.DNSNames)
	case now.After(leaf.NotAfter):
		found.Problem = "the certificate expired on " + leaf.NotAfter.UTC().Format(time.DateOnly)
	case strings.HasPrefix(leaf.Issuer.CommonName, "(STAGING)") || strings.HasPrefix(issuer(leaf), "(STAGING)"):
		found.Problem = trialCertificate
	case now.Before(leaf.NotBefore):
		found.Problem = "the certificate begins on " + leaf.NotBefore.UTC().Format(time.DateOnly)
	}
	return found
}

func handshake(ctx context.Context, h host.Host, c engine.Container, name string) (*x509.Certificate, error) {
	conn, err := h.Dial(ctx, "tcp", secureAddress(c))
	if err != nil {
		return nil, fmt.Errorf("connect to the proxy: %w", err)
	}
	defer conn.Close()
	secure := tls.Client(conn, &tls.Config{
		ServerName: name, InsecureSkipVerify: true, //nolint:gosec // It is looked at, and nothing is sent.
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake with the proxy: %w", err)
	}
	if chain := secure.ConnectionState().PeerCertificates; len(chain) > 0 {
		return chain[0], nil
	}
	return nil, errors.New("the proxy presents no certificate")
}

func issuer(leaf *x509.Certificate) string {
	if len(leaf.Issuer.Organization) > 0 {
		return leaf.Issuer.Organization[0]
	}
	return leaf.Issuer.CommonName
}

func listed(names []string) string {
	names = slices.Clone(names)
	if len(names) == 0 {
		return "no host name"
	}
	if len(names) > 3 {
		names = append(names[:3], fmt.Sprintf("%d more", len(names)-3))
	}
	return strings.Join(names, ", ")
}
