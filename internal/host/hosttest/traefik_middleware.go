package hosttest

import (
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// tRewrite redirects requests whose address matches.
type tRewrite struct {
	Regex       string `yaml:"regex"`
	Replacement string `yaml:"replacement"`
}

func (m *tRewrite) answer(w http.ResponseWriter, r *http.Request) bool {
	if m == nil {
		return false
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	address := scheme + "://" + r.Host + r.URL.RequestURI()
	to := regexp.MustCompile(m.Regex).ReplaceAllString(address, m.Replacement)
	if to == address {
		return false
	}
	http.Redirect(w, r, to, http.StatusMovedPermanently)
	return true
}

// stripped is the request without the prefix of its path.
func (m *tMiddleware) stripped(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	for _, prefix := range m.Strip.Prefixes {
		if rest, ok := strings.CutPrefix(r.URL.Path, prefix); ok {
			r.URL.Path = "/" + strings.TrimPrefix(rest, "/")
			r.Header.Set("X-Forwarded-Prefix", prefix)
			break
		}
	}
	return r
}

func (m *tMiddleware) allows(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	sender, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(m.Allow.Source, func(one string) bool {
		network, err := netip.ParsePrefix(one)
		return one == sender.String() || err == nil && network.Contains(sender)
	})
}

// works reports whether the middleware can be built.
func (m *tMiddleware) works() bool {
	if m.Rewrite == nil {
		return true
	}
	_, err := regexp.Compile(m.Rewrite.Regex)
	return err == nil
}
