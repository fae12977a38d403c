package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// TLS is how the proxy serves HTTPS: `true` for certificates of Let's Encrypt, `false`
// for none, or a map with settings.
type TLS struct {
	// On reports whether the proxy serves HTTPS for the service.
	On bool
	HTTPS
}

// HTTPS are the settings of a service that is served by HTTPS.
type HTTPS struct {
	// ACME is the authority that issues the certificates, where none is given below:
	// Let's Encrypt by default.
	ACME ACME `json:"acme,omitzero"`
	// Certificate is the service's own certificate with its chain, in PEM: a file on
	// the machine that runs kstep, or a list with the name of the secret that holds it.
	Certificate SecretOrValue `json:"certificate,omitzero"`
	// PrivateKey is the key of the certificate, in the same form.
	PrivateKey SecretOrValue `json:"private_key,omitzero"`
	// Certificates are several pairs, for host names that do not share one.
	Certificates []KeyPair `json:"certificates,omitempty"`
	// Redirect sends requests over plain HTTP to HTTPS, once there is a certificate for
	// all host names.
	Redirect bool `json:"redirect" jsonschema:"default=true"`
	// HSTS makes browsers use HTTPS alone for a year (`Strict-Transport-Security`). They
	// keep to it even after the key is removed here.
	HSTS bool `json:"hsts,omitempty"`
	// MinVersion is the oldest version of TLS that clients may use.
	MinVersion string `json:"min_version" jsonschema:"enum=1.2,enum=1.3,default=1.2"`
	// HTTP3 also serves HTTP/3, over the UDP port with the same number. `kstep proxy
	// reboot` makes a running proxy take a change.
	HTTP3 bool `json:"http3,omitempty"`
}

// KeyPair is a certificate with its private key.
type KeyPair struct {
	// Certificate is the certificate with its chain, in PEM: a file on the machine that
	// runs kstep, or a list with the name of the secret that holds it.
	Certificate SecretOrValue `json:"certificate" jsonschema:"required"`
	// PrivateKey is its key, in the same form.
	PrivateKey SecretOrValue `json:"private_key" jsonschema:"required"`
}

// ACME is an authority that issues certificates by the ACME protocol (RFC 8555).
// Traefik orders and renews them by itself; `kstep proxy reboot` makes a running proxy
// take a change of these keys.
type ACME struct {
	// Email is where the authority sends notices about the certificates.
	Email string `json:"email,omitempty"`
	// Directory is the URL of the authority's directory. Let's Encrypt has one for
	// trials, too, whose certificates no browser accepts:
	// `https://acme-staging-v02.api.letsencrypt.org/directory`.
	Directory string `json:"directory,omitempty"`
	// Challenge is how the authority finds out that the host names are the service's:
	// `http` needs port 80 of the host open to the internet, `dns` the API of the DNS
	// provider. Wildcards need `dns`.
	Challenge string `json:"challenge" jsonschema:"enum=http,enum=dns,default=http"`
	// Provider is Traefik's code of the DNS provider, such as `cloudflare`; its token
	// belongs in `proxy.env`. For `challenge: dns`.
	Provider string `json:"provider,omitempty"`
	// CA is the file of a root certificate, on the machine that runs kstep, with which
	// the authority's own server is checked. For an authority of your own.
	CA string `json:"ca,omitempty"`
}

func defaultHTTPS() HTTPS {
	return HTTPS{ACME: defaultACME(), Redirect: true, MinVersion: "1.2"}
}

func defaultACME() ACME { return ACME{Challenge: "http"} }

// IsZero reports whether the service is served without HTTPS.
func (t TLS) IsZero() bool { return !t.On }

// IsZero reports whether the settings are the defaults.
func (a ACME) IsZero() bool { return a == defaultACME() || a == ACME{} }

// MarshalJSON writes true for nothing but defaults, false, or a map.
func (t TLS) MarshalJSON() ([]byte, error) {
	if !t.On {
		return []byte("false"), nil
	}
	settings, err := json.Marshal(t.HTTPS)
	if err != nil {
		return nil, err
	}
	usual, err := json.Marshal(defaultHTTPS())
	if err == nil && bytes.Equal(settings, usual) {
		return []byte("true"), nil
	}
	return settings, err
}

// UnmarshalJSON reads true, false or a map over the defaults.
func (t *TLS) UnmarshalJSON(data []byte) error {
	*t = TLS{}
	if string(data) == "false" {
		return nil
	}
	t.On, t.HTTPS = true, defaultHTTPS()
	if string(data) == "true" {
		return nil
	}
	return json.Unmarshal(data, &t.HTTPS)
}

// Pairs are the service's own certificates.
func (h HTTPS) Pairs() []KeyPair {
	all := slices.Clone(h.Certificates)
	if h.Certificate != (SecretOrValue{}) {
		all = append([]KeyPair{{h.Certificate, h.PrivateKey}}, all...)
	}
	return all
}

// Issued reports whether an authority issues the certificates, by ACME.
func (t TLS) Issued() bool { return t.On && len(t.Pairs()) == 0 }

// Publish is where the proxy is reached: a port of the hosts for HTTP, as a number or
// as `address:port`; a map with `http` and `https`; `true` for the default ports, or
// `false` for none. The port for HTTPS is 443 where the service has `proxy.tls`.
type Publish struct {
	HTTP, HTTPS Listen
}

// Listen is a port of the host with the address it is opened on, all of them where
// that is empty. Port 0 is none.
type Listen struct {
	Address string
	Port    int
}

// ListenPattern is the notation of a Listen with an address.
const ListenPattern = `^(([0-9.]+|\[[0-9a-fA-F:]+\]):)?[0-9]{1,5}$`

func defaultPublish() Publish { return Publish{HTTP: Listen{Port: 80}, HTTPS: Listen{Port: 443}} }

// String is the port, with its address where it has one.
func (l Listen) String() string {
	if l.Address == "" {
		return strconv.Itoa(l.Port)
	}
	if strings.Contains(l.Address, ":") {
		return "[" + l.Address + "]:" + strconv.Itoa(l.Port)
	}
	return l.Address + ":" + strconv.Itoa(l.Port)
}

// MarshalJSON writes a port, an address with a port, or false.
func (l Listen) MarshalJSON() ([]byte, error) {
	switch {
	case l.Port == 0:
		return []byte("false"), nil
	case l.Address == "":
		return json.Marshal(l.Port)
	}
	return json.Marshal(l.String())
}

// UnmarshalJSON reads a port, an address with a port, or false.
func (l *Listen) UnmarshalJSON(data []byte) error {
	*l = Listen{}
	if string(data) == "false" || json.Unmarshal(data, &l.Port) == nil {
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	if at := strings.LastIndexByte(text, ':'); at >= 0 {
		l.Address, text = strings.Trim(text[:at], "[]"), text[at+1:]
	}
	var err error
	l.Port, err = strconv.Atoi(text)
	return err
}

// MarshalJSON writes the port for HTTP alone where the other one is the default.
func (p Publish) MarshalJSON() ([]byte, error) {
	if p.HTTPS == defaultPublish().HTTPS || p == (Publish{}) {
		return json.Marshal(p.HTTP)
	}
	return json.Marshal(map[string]Listen{"http": p.HTTP, "https": p.HTTPS})
}

// UnmarshalJSON reads a port, a boolean, or a map over the defaults.
func (p *Publish) UnmarshalJSON(data []byte) error {
	*p = defaultPublish()
	switch {
	case string(data) == "true":
		return nil
	case string(data) == "false":
		*p = Publish{}
		return nil
	case bytes.HasPrefix(data, []byte("{")):
		given := struct {
			HTTP  *Listen `json:"http"`
			HTTPS *Listen `json:"https"`
		}{&p.HTTP, &p.HTTPS}
		return json.Unmarshal(data, &given)
	}
	return json.Unmarshal(data, &p.HTTP)
}

// tls checks HTTPS: its host names, certificates, authority and ports.
func (c *checker) tls() {
	p := c.cfg.Proxy
	for _, one := range []struct {
		segs   []string
		listen Listen
	}{{[]string{"proxy", "publish", "http"}, p.Publish.HTTP}, {[]string{"proxy", "publish", "https"}, p.Publish.HTTPS}} {
		segs := one.segs
		if n := c.tree.find(segs[:2]); n == nil || n.kind == scalar {
			segs = segs[:2]
		}
		if problem := unlistenable(one.listen); problem != "" {
			c.at(segs, "%s", problem)
		}
	}
	if !p.TLS.On {
		return
	}
	at := func(keys ...string) []string { return append([]string{"proxy", "tls"}, keys...) }
	switch {
	case len(p.Hosts) == 0:
		c.atKey(at(), "needs proxy.hosts: a certificate is for host names")
		return
	case p.Publish.HTTP != (Listen{}) && p.Publish.HTTP == p.Publish.HTTPS:
		c.at([]string{"proxy", "publish"}, "has one port for HTTP and HTTPS; the port for HTTPS is 443 unless you set publish: {http: …, https: …}")
	case p.Publish.HTTPS.Port == 0 && p.Publish.HTTP.Port != 0:
		c.at([]string{"proxy", "publish"}, "has no port for HTTPS, which proxy.tls needs: set publish: {http: 80, https: 443}")
	}
	if slices.ContainsFunc(p.Hosts, func(h string) bool { return strings.HasPrefix(h, "*.") }) && p.TLS.MinVersion == "1.3" {
		c.at(at("min_version"), "has no effect for wildcards: Traefik chooses the version of TLS by whole names only")
	}
	c.pairs(at)
	if p.TLS.Issued() {
		c.acme(at, p)
	} else if !p.TLS.ACME.IsZero() {
		c.atKey(at("acme"), "has no effect beside a certificate of your own; keep one")
	}
}

// unlistenable returns why a port cannot be opened, or "".
func unlistenable(l Listen) string {
	if l.Port < 0 || l.Port > 65535 {
		return "must be a port from 1 to 65535"
	}
	if l.Address != "" {
		if _, err := netip.ParseAddr(l.Address); err != nil {
			return "must be a port such as 80, or an address of the host with one such as 127.0.0.1:8080"
		}
	}
	return ""
}

func (c *checker) pairs(at func(...string) []string) {
	t := c.cfg.Proxy.TLS
	c.pasted(at("certificate"), t.Certificate)
	c.pasted(at("private_key"), t.PrivateKey)
	for i, pair := range t.Certificates {
		c.pasted(at("certificates", itoa(i), "certificate"), pair.Certificate)
		c.pasted(at("certificates", itoa(i), "private_key"), pair.PrivateKey)
	}
	if none := (SecretOrValue{}); t.Certificate == none != (t.PrivateKey == none) {
		key, other := "certificate", "private_key"
		if t.Certificate == none {
			key, other = other, key
		}
		c.atKey(at(key), "needs proxy.tls.%s beside it", other)
	}
}

// pasted refuses a certificate or key where the name of its file or secret belongs, and
// does not repeat it.
func (c *checker) pasted(segs []string, value SecretOrValue) {
	if strings.ContainsAny(value.Value, "\n\r") || strings.Contains(value.Value, "-----BEGIN") {
		c.atKey(segs, "must be a file, or a list with the name of the secret that holds it; not the content itself")
	}
}

func (c *checker) acme(at func(...string) []string, p Proxy) {
	a := p.TLS.ACME
	wildcard := slices.IndexFunc(p.Hosts, func(h string) bool { return strings.HasPrefix(h, "*.") })
	switch {
	case a.Challenge == "dns" && a.Provider == "":
		c.atKey(at("acme", "challenge"), "dns needs proxy.tls.acme.provider, Traefik's code of your DNS provider such as cloudflare, and its token in proxy.env")
	case a.Challenge == "http" && a.Provider != "":
		c.atKey(at("acme", "provider"), "has no effect with challenge: http; set challenge: dns")
	case a.Challenge == "http" && wildcard >= 0:
		c.at([]string{"proxy", "hosts", itoa(wildcard)}, "is a wildcard, for which no authority takes an HTTP challenge: set proxy.tls.acme.challenge: dns with your provider, or give a certificate of your own")
	case a.Challenge == "http" && p.Publish.HTTP.Port == 0:
		c.at([]string{"proxy", "publish"}, "has no port for HTTP, where the authority requests the challenge: publish one, set proxy.tls.acme.challenge: dns, or give a certificate of your own")
	}
	if a.Challenge == "http" {
		c.oneHostToIssue(at)
	}
	for _, h := range p.Hosts {
		if _, err := netip.ParseAddr(h); err == nil || !strings.Contains(h, ".") {
			c.at([]string{"proxy", "hosts", itoa(slices.Index(p.Hosts, h))}, "is no name that an authority issues certificates for; give a certificate of your own (proxy.tls.certificate)")
		}
	}
}

// oneHostToIssue refuses an HTTP challenge where several hosts serve the same names:
// the authority might query a host that does not have the answer.
func (c *checker) oneHostToIssue(at func(...string) []string) {
	if c.isBroken("servers") {
		return
	}
	var hosts []string
	for _, role := range c.cfg.Servers.Roles {
		if !c.cfg.Proxied(role) {
			continue
		}
		for _, h := range role.Hosts {
			if !slices.Contains(hosts, h.Name) {
				hosts = append(hosts, h.Name)
			}
		}
	}
	if len(hosts) > 1 {
		c.atKey(at(), "%s", fmt.Sprintf("%d hosts serve the same names, and the authority requests the challenge from only one of them: "+
			"set proxy.tls.acme.challenge: dns, give a certificate of your own, or end TLS in a load balancer (docs/behind-a-load-balancer.md)", len(hosts)))
	}
}

// Resolver is the name of Traefik's certificate resolver with these settings: services
// with other ones have one of their own on the same proxy.
func (a ACME) Resolver() string {
	a.Challenge = cmp.Or(a.Challenge, "http")
	return "kstep-" + strings.TrimPrefix(DigestOf(a), "sha256:")[:8]
}
