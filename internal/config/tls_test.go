package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestTLS_CanBeWrittenInSeveralWays(t *testing.T) {
	t.Parallel()
	on := TLS{On: true, HTTPS: defaultHTTPS()}
	with := func(change func(*TLS)) TLS {
		one := on
		change(&one)
		return one
	}
	for name, c := range map[string]struct {
		text string
		want TLS
	}{
		"one word":     {"tls: true", on},
		"off":          {"tls: false", TLS{}},
		"an empty map": {"tls: {}", on},
		"an authority": {"tls: {acme: {email: ops@example.com}}", with(func(t *TLS) { t.ACME.Email = "ops@example.com" })},
		"DNS": {"tls: {acme: {challenge: dns, provider: route53}}", with(func(t *TLS) {
			t.ACME.Challenge, t.ACME.Provider = "dns", "route53"
		})},
		"a pair of files": {"tls: {certificate: a.pem, private_key: a.key}", with(func(t *TLS) {
			t.Certificate, t.PrivateKey = SecretOrValue{Value: "a.pem"}, SecretOrValue{Value: "a.key"}
		})},
		"a pair of secrets": {"tls: {certificate: [CERT], private_key: [KEY]}", with(func(t *TLS) {
			t.Certificate, t.PrivateKey = SecretOrValue{Secret: "CERT"}, SecretOrValue{Secret: "KEY"}
		})},
		"no redirect": {"tls: {redirect: false}", with(func(t *TLS) { t.Redirect = false })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := mustLoad(t, base+"proxy:\n  hosts: [shop.example.com]\n  "+c.text+"\n")
			if got := cfg.Proxy.TLS; !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestTLS_RefusesWhatCannotServe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ proxy, want string }{
		"no host names":             {"{tls: true}", "proxy.tls: needs proxy.hosts: a certificate is for host names"},
		"a wildcard by HTTP":        {"{hosts: ['*.example.com'], tls: true}", "proxy.hosts[0]: is a wildcard, for which no authority takes an HTTP challenge: set proxy.tls.acme.challenge: dns with your provider, or give a certificate of your own"},
		"DNS without a provider":    {"{hosts: [a.example.com], tls: {acme: {challenge: dns}}}", "proxy.tls.acme.challenge: dns needs proxy.tls.acme.provider, Traefik's code of your DNS provider such as cloudflare, and its token in proxy.env"},
		"a provider without DNS":    {"{hosts: [a.example.com], tls: {acme: {provider: route53}}}", "proxy.tls.acme.provider: has no effect with challenge: http; set challenge: dns"},
		"a key alone":               {"{hosts: [a.example.com], tls: {private_key: a.key}}", "proxy.tls.private_key: needs proxy.tls.certificate beside it"},
		"a certificate alone":       {"{hosts: [a.example.com], tls: {certificate: a.pem}}", "proxy.tls.certificate: needs proxy.tls.private_key beside it"},
		"both":                      {"{hosts: [a.example.com], tls: {certificate: a.pem, private_key: a.key, acme: {email: a@b.c}}}", "proxy.tls.acme: has no effect beside a certificate of your own; keep one"},
		"a directory without TLS":   {"{hosts: [a.example.com], tls: {acme: {directory: 'http://ca.internal/dir'}}}", "proxy.tls.acme.directory: must be a URL that begins with https://"},
		"a name of the local net":   {"{hosts: [intranet], tls: true}", "proxy.hosts[0]: is no name that an authority issues certificates for; give a certificate of your own (proxy.tls.certificate)"},
		"an address":                {"{hosts: [192.0.2.7], tls: true}", "proxy.hosts[0]: is no name that an authority issues certificates for; give a certificate of your own (proxy.tls.certificate)"},
		"one port for both":         {"{hosts: [a.example.com], tls: true, publish: 443}", "proxy.publish: has one port for HTTP and HTTPS; the port for HTTPS is 443 unless you set publish: {http: …, https: …}"},
		"no port for HTTPS":         {"{hosts: [a.example.com], tls: true, publish: {https: false}}", "proxy.publish: has no port for HTTPS, which proxy.tls needs: set publish: {http: 80, https: 443}"},
		"no port for the challenge": {"{hosts: [a.example.com], tls: true, publish: {http: false}}", "proxy.publish: has no port for HTTP, where the authority requests the challenge: publish one, set proxy.tls.acme.challenge: dns, or give a certificate of your own"},
		"another address of HTTPS":  {"{hosts: [a.example.com], tls: true, args: {entrypoints.websecure.address: ':8443'}}", `proxy.args["entrypoints.websecure.address"]: would take the services of the host down: kstep opens this entry point for HTTPS; instead, proxy.tls and proxy.publish set it`},
		"an address that is none":   {"{publish: '999.1.1.1:80'}", "proxy.publish: must be a port such as 80, or an address of the host with one such as 127.0.0.1:8080"},
		"a port that is none":       {"{publish: {http: '127.0.0.1:99999'}}", "proxy.publish.http: must be a port from 1 to 65535"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantProblem(t, base+"proxy: "+c.proxy+"\n", c.want)
		})
	}
}

func TestTLS_OnSeveralHostsAnHTTPChallengeIsRefused(t *testing.T) {
	t.Parallel()
	two := "service: shop\nimage: acme/shop\nservers: [192.0.2.1, 192.0.2.2]\nproxy: {hosts: [shop.example.com], tls: "
	wantProblem(t, two+"true}\n", "proxy.tls: 2 hosts serve the same names, and the authority requests the challenge from only one of them: "+
		"set proxy.tls.acme.challenge: dns, give a certificate of your own, or end TLS in a load balancer (docs/behind-a-load-balancer.md)")
	for _, tls := range []string{"{acme: {challenge: dns, provider: route53}}", "{certificate: [C], private_key: [K]}"} {
		mustLoad(t, two+tls+"}\n")
	}
}

func TestPublish_CanBeWrittenInSeveralWays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Publish{
		"8080":                                 {Listen{"", 8080}, Listen{"", 443}},
		"'127.0.0.1:8080'":                     {Listen{"127.0.0.1", 8080}, Listen{"", 443}},
		"'[::1]:8080'":                         {Listen{"::1", 8080}, Listen{"", 443}},
		"{https: 8443}":                        {Listen{"", 80}, Listen{"", 8443}},
		"{http: false, https: '10.0.0.1:443'}": {Listen{}, Listen{"10.0.0.1", 443}},
		"false":                                {},
	} {
		cfg := mustLoad(t, base+"proxy: {publish: "+text+"}\n")
		if cfg.Proxy.Publish != want {
			t.Errorf("publish: %s is %+v, want %+v", text, cfg.Proxy.Publish, want)
		}
	}
}

// wantProblem expects one problem at line 4 and no other.
func wantProblem(t *testing.T, text, want string) {
	t.Helper()
	got := complaints(t, map[string]string{"kstep.yml": text}, LoadOptions{})
	if len(got) != 1 || !strings.HasPrefix(got[0], "kstep.yml:4:") || !strings.HasSuffix(got[0], ": "+want) {
		t.Errorf("got\n%s\nwant one at kstep.yml:4\n%s", strings.Join(got, "\n"), want)
	}
}
