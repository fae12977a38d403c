package envpush

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/traffic"
	"github.com/kstep/kstep/stages"
)

// certificateMark is the first line of a file with certificates.
const certificateMark = "# kstep.certificates/v1: private keys\n"

// expiresSoon is when a certificate of the user's own is warned about.
const expiresSoon = 21 * 24 * time.Hour

// certificates is a file with certificates, as the proxy reads it: certificate and key
// in one file, so that one rename changes both.
// https://doc.traefik.io/traefik/reference/routing-configuration/http/tls/tls-certificates/
type certificates struct {
	TLS struct {
		Certificates []keyPair `json:"certificates"`
	} `json:"tls"`
}

type keyPair struct {
	Certificate string `json:"certFile"`
	Key         string `json:"keyFile"`
}

// encode writes the file.
func (c certificates) encode() ([]byte, error) {
	data, err := json.MarshalIndent(c, "", "  ")
	return append([]byte(certificateMark), append(data, '\n')...), err
}

// ownCertificates are the service's own; none where the configuration names none.
func ownCertificates(in stages.Input) (certificates, error) {
	var file certificates
	t := in.Config.Proxy.TLS
	if !t.On || t.Issued() {
		return file, nil
	}
	var covered []func(string) error
	for i, p := range t.Pairs() {
		where := pairPath(t, i)
		certificate, err := pem(in, p.Certificate)
		if err != nil {
			return file, fmt.Errorf("%s: %w", where, err)
		}
		key, err := pem(in, p.PrivateKey)
		if err != nil {
			return file, fmt.Errorf("%s: %w", where, err)
		}
		leaf, err := checkPair(certificate, key)
		if err != nil {
			return file, exit.With(exit.Config, fmt.Errorf("%s: %w", where, err), "openssl x509 -noout -text shows what a certificate says")
		}
		if left := time.Until(leaf.NotAfter); left < expiresSoon {
			in.Warn("%s expires on %s", where, leaf.NotAfter.UTC().Format(time.DateOnly))
		}
		covered = append(covered, leaf.VerifyHostname)
		file.TLS.Certificates = append(file.TLS.Certificates, keyPair{string(certificate), string(key)})
	}
	for _, name := range in.Config.Proxy.Names() {
		sample := config.SampleName(name)
		if !slices.ContainsFunc(covered, func(covers func(string) error) bool { return covers(sample) == nil }) {
			return file, exit.With(exit.Config, fmt.Errorf("proxy.tls: no certificate is for %s, which proxy.hosts names", name),
				"add its certificate to proxy.tls.certificates, or take the name out of proxy.hosts")
		}
	}
	return file, nil
}

// with is the file with those pairs of the file before that the live routes need for names
// which the new pairs are not for: until the traffic moves, and if it never does.
func (c certificates) with(before []byte, live []string) certificates {
	var had certificates
	if json.Unmarshal(bytes.TrimPrefix(before, []byte(certificateMark)), &had) != nil {
		return c
	}
	kept := c
	kept.TLS.Certificates = slices.Clone(c.TLS.Certificates)
	for _, name := range live {
		if kept.covers(name) {
			continue
		}
		for _, pair := range had.TLS.Certificates {
			if pair.covers(name) {
				kept.TLS.Certificates = append(kept.TLS.Certificates, pair)
				break
			}
		}
	}
	return kept
}

// covers reports whether one of the pairs is for the name, or wildcard.
func (c certificates) covers(name string) bool {
	return slices.ContainsFunc(c.TLS.Certificates, func(p keyPair) bool { return p.covers(name) })
}

func (p keyPair) covers(name string) bool {
	one, err := checkPair([]byte(p.Certificate), []byte(p.Key))
	return err == nil && one.VerifyHostname(config.SampleName(name)) == nil
}

// merged is the file that the host gets, in place of the one that it has.
func merged(ctx context.Context, in stages.Input, w *stages.Work, own certificates, have []byte) ([]byte, error) {
	if data, err := own.encode(); err != nil || have == nil || bytes.Equal(have, data) {
		return data, err
	}
	table, err := traffic.ReadTable(ctx, w.Host, w.Names.RouteDir())
	if err != nil {
		return nil, err
	}
	var live []string
	for _, t := range in.All {
		if t.Host == w.Target.Host && t.Proxied {
			claim, _, _ := table.Own(traffic.ClaimOf(in.Config, t.Role.Name).Owner)
			live = append(live, claim.Hosts...)
		}
	}
	return own.with(have, live).encode()
}

// CheckCertificates refuses certificates of the service's own that clients would.
func CheckCertificates(in stages.Input) error {
	_, err := ownCertificates(in)
	return err
}

// pairPath is the key of the configuration for one of the pairs.
func pairPath(t config.TLS, i int) string {
	if t.Certificate != (config.SecretOrValue{}) {
		i--
	}
	if i < 0 {
		return "proxy.tls.certificate"
	}
	return fmt.Sprintf("proxy.tls.certificates[%d]", i)
}

// pem reads a secret, or a file of this machine.
func pem(in stages.Input, from config.SecretOrValue) ([]byte, error) {
	if from.Secret != "" {
		value, err := in.Secrets.Get(from.Secret)
		return []byte(value.Reveal()), err
	}
	data, err := os.ReadFile(in.Config.Local(from.Value))
	if err != nil {
		return nil, exit.With(exit.Config, err, "give the path of a PEM file, or a list with the name of the secret that holds it")
	}
	in.Secrets.Add(from.Value, secret.NewValue(string(data)))
	return data, nil
}

// leaf is what of a certificate is compared with the configuration.
type leaf struct {
	NotAfter       time.Time
	VerifyHostname func(string) error
}

// checkPair refuses a pair that no client would accept. The errors name no content.
func checkPair(certificate, key []byte) (leaf, error) {
	pair, err := tls.X509KeyPair(certificate, key)
	switch {
	case err != nil && strings.Contains(err.Error(), "private key does not match"):
		return leaf{}, errors.New("the private key does not belong to the certificate")
	case err != nil && strings.Contains(err.Error(), "certificate input"):
		return leaf{}, errors.New("the certificate is not in PEM: a text with BEGIN CERTIFICATE in it")
	case err != nil && strings.Contains(err.Error(), "key input"):
		return leaf{}, errors.New("the private key is not in PEM: a text with BEGIN PRIVATE KEY in it")
	case err != nil:
		return leaf{}, errors.New("the certificate and its key cannot be read")
	}
	now := time.Now()
	switch c := pair.Leaf; {
	case now.After(c.NotAfter):
		return leaf{}, fmt.Errorf("the certificate expired on %s", c.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(c.NotBefore):
		return leaf{}, fmt.Errorf("the certificate begins on %s", c.NotBefore.UTC().Format(time.DateOnly))
	}
	return leaf{pair.Leaf.NotAfter, pair.Leaf.VerifyHostname}, nil
}

// serves reports whether the host's proxy has the service's certificates.
func serves(in stages.Input, w *stages.Work) bool {
	return slices.ContainsFunc(in.All, func(t plan.Target) bool { return t.Host == w.Target.Host && t.Proxied })
}

// writeCertificates gives the host's proxy the service's own certificates. It takes none
// away: what serves may need them until the traffic has moved.
func writeCertificates(ctx context.Context, in stages.Input, w *stages.Work, own certificates) error {
	if len(own.TLS.Certificates) == 0 || !serves(in, w) {
		return nil
	}
	at := w.Names.CertificateFile()
	have, err := read(ctx, w, at)
	if err != nil {
		return err
	}
	data, err := merged(ctx, in, w, own, have)
	if err != nil || bytes.Equal(have, data) {
		return err
	}
	// Open for the proxies of other accounts; the file is not.
	if err := w.Host.Files().Mkdir(ctx, w.Names.RouteDir(), 0o755); err != nil {
		return err
	}
	if err := w.Host.Files().WriteVia(ctx, w.Names.ProxyDir(), at, data, 0o600); err != nil {
		return err
	}
	w.Made(writingCertificates())
	return nil
}

func writingCertificates() stages.Act { return stages.To(stages.Write, "certificates of the proxy") }

// foreseeCertificates compares the host's certificates with those of the configuration.
func foreseeCertificates(ctx context.Context, in stages.Input, w *stages.Work) error {
	if !in.Config.Proxy.TLS.On || in.Config.Proxy.TLS.Issued() || !serves(in, w) {
		return nil
	}
	own, err := ownCertificates(in)
	if err != nil {
		w.Wonder("the certificates: not available here")
		return nil //nolint:nilerr // A plan does not need the secrets.
	}
	have, err := read(ctx, w, w.Names.CertificateFile())
	if err != nil {
		return err
	}
	data, err := merged(ctx, in, w, own, have)
	if err == nil && !bytes.Equal(have, data) {
		w.Intend(writingCertificates())
	}
	return err
}
