package config

import (
	"net/netip"
	"slices"
	"strings"
)

// TrustPrivate stands for all private networks in `proxy.trusted_proxies`.
const TrustPrivate = "private"

// privateNetworks are the ranges that are not routed on the internet: RFC 1918,
// loopback, link-local and unique local addresses.
var privateNetworks = []string{ //nolint:gochecknoglobals // A constant list.
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16",
	"::1/128", "fc00::/7", "fe80::/10",
}

// TrustedNetworks are the trusted senders as addresses and ranges, each once.
func (p Proxy) TrustedNetworks() []string {
	var all []string
	for _, one := range p.TrustedProxies {
		networks := []string{one}
		if one == TrustPrivate {
			networks = privateNetworks
		}
		for _, network := range networks {
			if !slices.Contains(all, network) {
				all = append(all, network)
			}
		}
	}
	return all
}

// trustedProxies checks each sender that is trusted.
func (c *checker) trustedProxies() {
	segs := []string{"proxy"}
	for i, one := range c.cfg.Proxy.TrustedProxies {
		if problem := untrustable(one); problem != "" {
			c.at(c.entry(segs, "trusted_proxies", i), "%s", problem)
		}
	}
}

// untrustable returns why a text does not name trusted senders, or "".
func untrustable(sender string) string {
	const want = "must be an address such as 203.0.113.7, a range such as 203.0.113.0/24, or private"
	if sender == TrustPrivate {
		return ""
	}
	if !strings.Contains(sender, "/") {
		if address, err := netip.ParseAddr(sender); err != nil || address.Zone() != "" {
			return want
		}
		return ""
	}
	network, err := netip.ParsePrefix(sender)
	switch {
	case err != nil:
		return want
	case network.Bits() == 0:
		return "trusts every sender: any client could forge X-Forwarded-For; list the addresses of your load balancer"
	case network != network.Masked():
		return "is a range whose address has bits outside of the mask; write " + network.Masked().String()
	}
	return ""
}
