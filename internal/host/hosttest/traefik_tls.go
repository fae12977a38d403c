package hosttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Authority signs certificates, as one that speaks ACME does, and those of a user.
type Authority struct {
	mu     sync.Mutex
	key    *ecdsa.PrivateKey
	root   *x509.Certificate
	serial int64
	// refused are names that it does not issue certificates for.
	refused map[string]bool
	issued  map[string]*tls.Certificate
}

// NewAuthority returns an authority with a root certificate of its own.
func NewAuthority() *Authority {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // Never fails.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"kstep test authority"}, CommonName: "root"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, _ := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key) // A fixed template.
	root, _ := x509.ParseCertificate(der)
	return &Authority{key: key, root: root, serial: 1, refused: map[string]bool{}, issued: map[string]*tls.Certificate{}}
}

// Authority issues the certificates that the host's proxy requests.
func (f *Fake) Authority() *Authority {
	f.authorityMade.Do(func() { f.authority = NewAuthority() })
	return f.authority
}

// Roots trust this authority alone.
func (a *Authority) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root)
	return pool
}

// Root is its root certificate in PEM.
func (a *Authority) Root() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw}))
}

// Refuse makes it issue no certificate for a name, or issue them again.
func (a *Authority) Refuse(name string, refuse bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused[name] = refuse
}

// Pair is a certificate for the names with its key, both in PEM.
func (a *Authority) Pair(begins, ends time.Time, names ...string) (certificate, key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := a.sign(begins, ends, names)
	private, _ := x509.MarshalPKCS8PrivateKey(one.PrivateKey) // A key that was just made.
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return text("CERTIFICATE", one.Certificate[0]) + text("CERTIFICATE", a.root.Raw), text("PRIVATE KEY", private)
}

func (a *Authority) sign(begins, ends time.Time, names []string) tls.Certificate {
	a.serial++
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // Never fails.
	template := &x509.Certificate{SerialNumber: big.NewInt(a.serial), NotBefore: begins, NotAfter: ends}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, _ := x509.CreateCertificate(rand.Reader, template, a.root, key.Public(), a.key) // Names of tests only.
	leaf, _ := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der, a.root.Raw}, PrivateKey: key, Leaf: leaf}
}

// forName is the certificate that was issued for a name, or nil where none is.
func (a *Authority) forName(name string) *tls.Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused[name] {
		return nil
	}
	if a.issued[name] == nil {
		one := a.sign(time.Now().Add(-time.Minute), time.Now().Add(2*time.Hour), []string{name})
		a.issued[name] = &one
	}
	return a.issued[name]
}

// tTLS is what a file says about TLS.
type tTLS struct {
	Certificates []struct {
		Certificate string `yaml:"certFile"`
		Key         string `yaml:"keyFile"`
	} `yaml:"certificates"`
	Options map[string]struct {
		MinVersion string `yaml:"minVersion"`
	} `yaml:"options"`
}

type tRouterTLS struct {
	Resolver string `yaml:"certResolver" json:"certResolver,omitempty"`
	Domains  []struct {
		Main string `yaml:"main" json:"main"`
	} `yaml:"domains" json:"domains,omitempty"`
	Options string `yaml:"options" json:"options,omitempty"`
}

type tRedirect struct {
	Scheme    string `yaml:"scheme"`
	Port      string `yaml:"port"`
	Permanent bool   `yaml:"permanent"`
}

func (m *tRedirect) answer(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if m.Port != "" {
		host = net.JoinHostPort(host, m.Port)
	}
	status := http.StatusFound
	if m.Permanent {
		status = http.StatusMovedPermanently
	}
	http.Redirect(w, r, m.Scheme+"://"+host+r.URL.RequestURI(), status)
}

// secured is the listener of a proxy, with TLS at the port of the entry point for HTTPS.
func (t *traefik) secured(l net.Listener) net.Listener {
	if t.secure == 0 {
		return l
	}
	return &secureListener{l, t}
}

type secureListener struct {
	net.Listener
	t *traefik
}

func (l *secureListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if local, ok := c.LocalAddr().(*net.TCPAddr); !ok || local.Port != l.t.secure {
		return c, nil
	}
	return tls.Server(c, &tls.Config{GetConfigForClient: l.t.settings}), nil
}

// settings are those of a connection: the certificate for its server name, else
// Traefik's own, and the oldest version of the router for it.
func (t *traefik) settings(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	d := t.read()
	found := &tls.Config{Certificates: []tls.Certificate{defaultCertificate()}}
	own := false // Then nothing is ordered for the name.
	for _, pair := range d.certificates {
		if one, err := tls.X509KeyPair([]byte(pair.Certificate), []byte(pair.Key)); err == nil && one.Leaf.VerifyHostname(hello.ServerName) == nil {
			found.Certificates, own = []tls.Certificate{one}, true
		}
	}
	for _, r := range d.routers {
		if r.TLS == nil || r.Status != "enabled" {
			continue
		}
		for _, one := range r.TLS.Domains {
			covers := one.Main == hello.ServerName
			if parent, wildcard := strings.CutPrefix(one.Main, "*"); wildcard {
				covers = strings.HasSuffix(hello.ServerName, parent)
			}
			if own || !covers {
				continue
			}
			if issued := t.c.engine.fake.Authority().forName(one.Main); issued != nil && t.resolves(r.TLS.Resolver) {
				found.Certificates = []tls.Certificate{*issued}
			}
		}
		if strings.Contains(r.Rule, "`"+hello.ServerName+"`") && d.minVersions[r.TLS.Options] == "VersionTLS13" {
			found.MinVersion = tls.VersionTLS13
		}
	}
	return found, nil
}

// resolves reports whether the proxy was started with the certificate resolver.
func (t *traefik) resolves(resolver string) bool {
	return resolver != "" && t.option("certificatesresolvers."+resolver+".acme.storage") != ""
}

// entryPoints are the names of those that the proxy was started with.
func (t *traefik) entryPoints() []string {
	names := []string{"traefik"}
	if t.web != 0 {
		names = append(names, "web")
	}
	if t.secure != 0 {
		names = append(names, "websecure")
	}
	return names
}

// enters reports whether the proxy has one of the router's entry points.
func (t *traefik) enters(r *tRouter) bool {
	return len(r.EntryPoints) == 0 || slices.ContainsFunc(r.EntryPoints, func(name string) bool { return slices.Contains(t.entryPoints(), name) })
}

var defaultCertificate = sync.OnceValue(func() tls.Certificate { //nolint:gochecknoglobals // Made once.
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // Never fails.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "TRAEFIK DEFAULT CERT"}, NotAfter: time.Now().Add(time.Hour),
	}
	der, _ := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key) // A fixed template.
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})
