package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Statuses are ranges of HTTP statuses.
type Statuses []StatusRange

// StatusRange is a range of HTTP statuses with its ends.
type StatusRange struct{ From, To int }

// StatusPattern is the notation of a StatusRange.
const StatusPattern = `^[2-5][0-9]{2}(-[2-5][0-9]{2})?$`

// Has reports whether one of the ranges has the status.
func (s Statuses) Has(status int) bool {
	return slices.ContainsFunc(s, func(r StatusRange) bool { return r.From <= status && status <= r.To })
}

// String is the ranges as a person writes them: `200-299, 401`.
func (s Statuses) String() string {
	all := make([]string, len(s))
	for i, r := range s {
		all[i] = r.String()
	}
	return strings.Join(all, ", ")
}

// String is `200`, or `200-299`.
func (r StatusRange) String() string {
	if r.From == r.To {
		return strconv.Itoa(r.From)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

// MarshalJSON writes one range as text, several as a list.
func (s Statuses) MarshalJSON() ([]byte, error) {
	if len(s) == 1 {
		return json.Marshal(s[0].String())
	}
	all := make([]string, len(s))
	for i, r := range s {
		all[i] = r.String()
	}
	return json.Marshal(all)
}

// UnmarshalJSON reads a status, a range, or a list of them.
func (s *Statuses) UnmarshalJSON(data []byte) error {
	var all []json.RawMessage
	if json.Unmarshal(data, &all) != nil {
		all = []json.RawMessage{data}
	}
	*s = make(Statuses, len(all))
	for i, one := range all {
		var text string
		if json.Unmarshal(one, &text) != nil {
			text = string(one)
		}
		from, to, isRange := strings.Cut(text, "-")
		if !isRange {
			to = from
		}
		var err error
		if (*s)[i].From, err = strconv.Atoi(from); err != nil {
			return fmt.Errorf("read status: %w", err)
		}
		if (*s)[i].To, err = strconv.Atoi(to); err != nil {
			return fmt.Errorf("read status: %w", err)
		}
	}
	return nil
}

// Custom reports whether the user gave a command that checks the container.
func (h Healthcheck) Custom() bool { return h.Cmd.Shell != "" || len(h.Cmd.Exec) > 0 }

// HealthHost is the Host header of the request that finds out whether a role's
// container is ready: `healthcheck.host`, else a name of `proxy.hosts`. It is
// empty where neither is known; then the request goes out with the container's
// address.
func (c *Config) HealthHost(role Role) string {
	return cmp.Or(c.EffectiveHealthcheck(role).Host, c.Proxy.requestHost(""))
}

// ProxyHost is the Host header of kstep's own requests through the proxy to a
// role: the one of its health check if the proxy routes that name to it, else
// the first of `proxy.hosts`.
func (c *Config) ProxyHost(role Role) string {
	return c.Proxy.requestHost(c.EffectiveHealthcheck(role).Host)
}

// requestHost is the wanted name if the proxy routes it, else one that it does
// route.
func (p Proxy) requestHost(wanted string) string {
	if len(p.Hosts) == 0 {
		return wanted
	}
	if wanted != "" && slices.ContainsFunc(p.Hosts, func(host string) bool { return hostMatches(host, withoutPort(wanted)) }) {
		return wanted
	}
	return SampleName(p.Hosts[0])
}

// SampleName is a name that a wildcard stands for, or the name itself.
func SampleName(host string) string {
	if below, wildcard := strings.CutPrefix(host, "*."); wildcard {
		return checkLabel + "." + below
	}
	return host
}

// checkLabel stands for the star of a wildcard in kstep's own requests.
const checkLabel = "kstep-check"

// hostMatches reports whether a name is a host of `proxy.hosts`. A star stands
// for one label.
func hostMatches(host, name string) bool {
	host, name = strings.ToLower(host), strings.ToLower(name)
	below, wildcard := strings.CutPrefix(host, "*.")
	if !wildcard {
		return host == name
	}
	_, parent, _ := strings.Cut(name, ".")
	return parent == below
}

func withoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

// CertificateName is the name that the certificate of a role's containers must
// have, with `scheme: https`.
func (c *Config) CertificateName(role Role) string { return withoutPort(c.HealthHost(role)) }

func (c *checker) healthcheck(segs []string, h Healthcheck) {
	at := func(key string, more ...string) []string { return append(append(slices.Clip(segs), key), more...) }
	c.positive(at("interval"), h.Interval)
	c.positive(at("timeout"), h.Timeout)
	for i, r := range h.Status {
		if r.From > r.To {
			c.at(c.entry(segs, "status", i), "the range %s is empty; write the lower status first", r)
		}
	}
	if path, err := url.ParseRequestURI(h.Path); h.Path != "" && err != nil {
		c.at(at("path"), "has a %% without two hexadecimal digits after it")
	} else if h.Path != "" && strings.Contains(path.Path+path.RawQuery, "#") {
		c.at(at("path"), "must not have #: a request ends before it")
	}
	spelt := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		value, canonical := h.Headers[name], http.CanonicalHeaderKey(name)
		if other, twice := spelt[canonical]; twice {
			c.atKey(at("headers", name), "is the same header as %s", other)
		}
		spelt[canonical] = name
		switch {
		case canonical == "Host":
			c.atKey(at("headers", name), "belongs to healthcheck.host")
		case slices.Contains([]string{"Connection", "Content-Length", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}, canonical):
			c.atKey(at("headers", name), "is set by the connection and cannot be chosen")
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			c.at(at("headers", name), "must be one line without control characters")
		}
	}
}

// trafficCheck checks the health check of a role with traffic, its own keys and those
// of the top level together.
func (c *checker) trafficCheck(segs []string, h Healthcheck) {
	at := func(key string) []string {
		if own := append(slices.Clip(segs), key); c.tree.find(own) != nil {
			return own
		}
		return []string{"healthcheck", key}
	}
	if h.Scheme == "https" && h.Verify && h.Host == "" && len(c.cfg.Proxy.Hosts) == 0 {
		c.at(at("scheme"), "https needs a name that the certificate must have: set healthcheck.host, or healthcheck.verify: false to accept every certificate")
	}
	if c.cfg.Proxy.Switch != "cord" || h.Custom() {
		return
	}
	const instead = "give a healthcheck.cmd that checks it, or use proxy.switch: routes"
	switch {
	case h.Scheme == "h2c":
		c.at(at("scheme"), "with proxy.switch: cord the check runs in the container, where wget does not speak h2c; %s", instead)
	case h.Scheme == "https" && h.Verify:
		c.at(at("scheme"), "with proxy.switch: cord the check runs in the container and cannot verify the certificate; set healthcheck.verify: false, or %s", instead)
	}
	if h.Status.String() != defaultHealthcheck().Status.String() {
		c.at(at("status"), "with proxy.switch: cord the check runs in the container, where wget cannot distinguish statuses; %s", instead)
	}
}
