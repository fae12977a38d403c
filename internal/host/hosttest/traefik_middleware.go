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

// allows reports whether the sender is in the list. Behind a trusted sender it is the one
// that X-Forwarded-For names, if the middleware has it so.
func (m *tMiddleware) allows(r *http.Request, trusted bool) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	if depth := m.Allow.Strategy.Depth; depth > 0 {
		chain := strings.Split(r.Header.Get("X-Forwarded-For"), ",")
		if !trusted || len(chain) < depth {
			return false
		}
		host = strings.TrimSpace(chain[len(chain)-depth])
	}
	return isAmong(m.Allow.Source, host)
}

// isAmong reports whether an address is one of the addresses and ranges.
func isAmong(all []string, address string) bool {
	sender, err := netip.ParseAddr(address)
	return err == nil && slices.ContainsFunc(all, func(one string) bool {
		network, err := netip.ParsePrefix(one)
		return one == sender.String() || err == nil && network.Contains(sender)
	})
}

// trusts reports whether the entry point keeps the request's X-Forwarded-For.
func (t *traefik) trusts(r *http.Request, entry string) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return err == nil && isAmong(strings.Split(t.option("entrypoints."+entry+".forwardedheaders.trustedips"), ","), host)
}

// works reports whether the middleware can be built.
func (m *tMiddleware) works() bool {
	if m.Allow != nil && (len(m.Allow.Source) == 0 || m.Allow.Reject != 0 && http.StatusText(m.Allow.Reject) == "") {
		return false
	}
	if m.Rewrite == nil {
		return true
	}
	_, err := regexp.Compile(m.Rewrite.Regex)
	return err == nil
}
