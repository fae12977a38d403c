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
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/stages"
)

// certificateMark is the first line of a file with certificates.
const certificateMark = "# kstep.certificates/v1: private keys\n"

// expiresSoon is when a certificate of the user's own is warned about.
const expiresSoon = 21 * 24 * time.Hour

// ownCertificates is the file with the service's own certificates, as the proxy reads
// it: certificate and key in one file, so that one rename changes both. It is nil where
// the configuration names none.
// https://doc.traefik.io/traefik/reference/routing-configuration/http/tls/tls-certificates/
func ownCertificates(in stages.Input) ([]byte, error) {
	t := in.Config.Proxy.TLS
	if !t.On || t.Issued() {
		return nil, nil
	}
	type pair struct {
		Certificate string `json:"certFile"`
		Key         string `json:"keyFile"`
	}
	var file struct {
		TLS struct {
			Certificates []pair `json:"certificates"`
		} `json:"tls"`
	}
	var covered []func(string) error
	for i, p := range t.Pairs() {
		where := pairPath(t, i)
		certificate, err := pem(in, p.Certificate)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		key, err := pem(in, p.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		leaf, err := checkPair(certificate, key)
		if err != nil {
			return nil, exit.With(exit.Config, fmt.Errorf("%s: %w", where, err), "openssl x509 -noout -text shows what a certificate says")
		}
		if left := time.Until(leaf.NotAfter); left < expiresSoon {
			in.Warn("%s expires on %s", where, leaf.NotAfter.UTC().Format(time.DateOnly))
		}
		covered = append(covered, leaf.VerifyHostname)
		file.TLS.Certificates = append(file.TLS.Certificates, pair{string(certificate), string(key)})
	}
	for _, name := range in.Config.Proxy.Names() {
		sample := strings.Replace(name, "*", "kstep-check", 1)
		if !slices.ContainsFunc(covered, func(covers func(string) error) bool { return covers(sample) == nil }) {
			return nil, exit.With(exit.Config, fmt.Errorf("proxy.tls: no certificate is for %s, which proxy.hosts names", name),
				"add its certificate to proxy.tls.certificates, or take the name out of proxy.hosts")
		}
	}
	data, err := json.MarshalIndent(file, "", "  ")
	return append([]byte(certificateMark), append(data, '\n')...), err
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

// writeCertificates gives the host's proxy the service's own certificates, or takes
// those away that it had before an authority issued them.
func writeCertificates(ctx context.Context, in stages.Input, w *stages.Work, data []byte) error {
	if !in.Config.Proxy.TLS.On || !serves(in, w) {
		return nil
	}
	at := w.Names.CertificateFile()
	have, err := read(ctx, w, at)
	switch {
	case err != nil || bytes.Equal(have, data):
		return err
	case data == nil:
		if err := w.Host.Files().Remove(ctx, host.Inside(w.Names.ProxyDir(), at)); err != nil {
			return err
		}
		w.Made(stages.To(stages.Remove, "the certificates of its own"))
		return nil
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
	data, err := ownCertificates(in)
	if err != nil {
		w.Wonder("the certificates: not available here")
		return nil //nolint:nilerr // A plan does not need the secrets.
	}
	have, err := read(ctx, w, w.Names.CertificateFile())
	if err == nil && !bytes.Equal(have, data) {
		w.Intend(writingCertificates())
	}
	return err
}
