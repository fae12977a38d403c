package kamal

import (
	"slices"
	"strings"
)

const forwardedHeaders = "entrypoints.web.forwardedheaders.insecure"

// proxy translates what leads requests to the application.
func (im *importer) proxy() {
	if im.v1 {
		if p, ok := im.pairOf("healthcheck"); ok && p.value.kind == mapping {
			im.healthcheck(p, true, "healthcheck")
			im.onlyForTraffic()
		}
		im.traefik()
		return
	}
	for _, key := range []string{"traefik", "healthcheck"} {
		if p, ok := im.pairOf(key); ok {
			im.lost(Names, key, p.at(), "is a key of Kamal 1, in a configuration of Kamal 2: %s", im.show(p.value))
		}
	}
	all := roles(im.in)
	if len(all) > 0 && !slices.ContainsFunc(all, im.isProxied) {
		return
	}
	p := im.proxyConfig()
	port := p.get("app_port")
	if port == nil {
		port = words("80", p, true)
		if p == nil || p.line == 0 {
			port = words("80", im.in, true)
		}
	}
	im.number("proxy.app_port", port, "healthcheck", "port")
	im.proxyHosts(p)
	for _, q := range p.pairs {
		if q.value.kind != null {
			im.proxyKey(q, p)
		}
	}
	im.proxyPorts(p.get("run"))
	im.forwarding(p)
}

// proxyPorts translates the address and the ports of the proxy.
func (im *importer) proxyPorts(run *node) {
	if run == nil || run.kind != mapping || isFalse(run.get("publish")) {
		return
	}
	httpPort, httpsPort, addresses := run.get("http_port"), run.get("https_port"), many(run.get("bind_ips"))
	if httpPort == nil && httpsPort == nil && len(addresses) == 0 {
		return
	}
	port := func(n *node, other string) string {
		if n == nil || n.kind != scalar {
			return other
		}
		return typed(im.value("proxy.run", n))
	}
	address := ""
	if len(addresses) == 1 {
		if address = im.value("proxy.run.bind_ips", orEmpty(addresses[0])); strings.Contains(address, ":") {
			address = "[" + address + "]"
		}
	}
	if len(addresses) < 2 && im.listen(address, port(httpPort, "80"), port(httpsPort, "443"), run) {
		return
	}
	if httpPort != nil {
		im.number("proxy.run.http_port", httpPort, "proxy", "publish")
	}
	if port(httpsPort, "443") != "443" {
		im.lost(Names, "proxy.run.https_port", httpsPort, "kstep publishes no port for HTTPS of this number: %s", im.show(httpsPort))
	}
	if len(addresses) > 0 {
		im.lost(Names, "proxy.run.bind_ips", run.get("bind_ips"), "kstep's proxy listens on all addresses of the host; close the port for others with a firewall: %s", im.show(run.get("bind_ips")))
	}
}

// onlyForTraffic moves the command of Kamal 1's check to the roles with traffic,
// where there are others: Kamal checks only them with it.
func (im *importer) onlyForTraffic() {
	cmd := im.out.get("healthcheck", "cmd")
	all := roles(im.in)
	if cmd == nil || !slices.ContainsFunc(all, func(r pair) bool { return !im.isProxied(r) }) {
		return
	}
	im.out.get("healthcheck").remove("cmd")
	for _, role := range all {
		if im.isProxied(role) && role.value.get("healthcheck", "cmd") == nil {
			im.put(cmd, "servers", role.key, "healthcheck", "cmd")
		}
	}
}

func (im *importer) pairOf(key string) (pair, bool) {
	i := slices.IndexFunc(im.in.pairs, func(p pair) bool { return p.key == key })
	if i < 0 || im.in.pairs[i].value.kind == null {
		return pair{}, false
	}
	return im.in.pairs[i], true
}

// proxyConfig is the proxy configuration of the role with traffic.
func (im *importer) proxyConfig() *node {
	p := im.in.get("proxy")
	if p == nil || p.kind != mapping {
		p = &node{kind: mapping, file: im.in.file}
	}
	for _, role := range roles(im.in) {
		own := role.value.get("proxy")
		if role.key == im.proxyRole() && own != nil && own.kind == mapping {
			p = merge(p, own)
		}
	}
	return p
}

func (im *importer) proxyHosts(p *node) {
	hosts := listOf(p)
	for _, key := range []string{"host", "hosts"} {
		for _, n := range many(p.get(key)) {
			if n.kind != scalar {
				continue
			}
			for host := range strings.SplitSeq(n.text, ",") {
				if host = strings.TrimSpace(host); host != "" {
					im.addHost(hosts, im.value("proxy."+key, words(host, n, false)), n)
				}
			}
		}
	}
	if len(hosts.items) > 0 {
		im.put(hosts, "proxy", "hosts")
	}
}

func (im *importer) addHost(hosts *node, host string, n *node) {
	if !slices.ContainsFunc(hosts.items, func(o *node) bool { return o.text == host }) {
		hosts.items = append(hosts.items, words(host, n, false))
	}
}

func (im *importer) proxyKey(q pair, p *node) {
	key := "proxy." + q.key
	switch q.key {
	case "host", "hosts", "app_port", "forward_headers":
	case "healthcheck":
		im.healthcheck(q, true, "healthcheck")
	case "ssl":
		im.ssl(q, p)
	case "ssl_redirect":
		if ssl := p.get("ssl"); ssl == nil || isFalse(ssl) {
			im.dropped(key, q.at(), "has no meaning without ssl")
		} else if !im.knows("proxy", "tls") {
			im.lost(Names, key, q.at(), "belongs to HTTPS: %s", im.show(q.value))
		}
	case "path_prefix", "path_prefixes":
		im.pathPrefixes(q, p)
	case "strip_path_prefix":
		if p.get("path_prefix") == nil && p.get("path_prefixes") == nil {
			im.dropped(key, q.at(), "has no meaning without a path prefix")
		}
	case "response_timeout":
		im.responseTimeout(q)
	case "buffering":
		im.buffering(q)
	case "logging":
		im.accessLog(q)
	case "run":
		im.proxyRun(q)
	case "error_pages_path":
		im.lost(Other, key, q.at(), "kstep serves no error pages of the application's: %s", im.show(q.value))
	default:
		im.lost(Names, key, q.at(), "kstep has no such key: %s", im.show(q.value))
	}
}

func (im *importer) ssl(q pair, p *node) {
	redirect := p.get("ssl_redirect")
	h := https{key: "proxy.ssl", at: q.at(), redirect: !isFalse(redirect)}
	switch {
	case q.value.kind == mapping:
		h.certificate = im.sslSecret(q.value.get("certificate_pem"), "TLS_CERTIFICATE")
		h.privateKey = im.sslSecret(q.value.get("private_key_pem"), "TLS_PRIVATE_KEY")
	case isFalse(q.value):
		return
	case isTrue(q.value):
		h.automatic = true
	default:
		h.computed, h.automatic = q.value, true
	}
	im.tls(h)
}

func (im *importer) sslSecret(n *node, other string) string {
	if n == nil || n.kind != scalar {
		return other
	}
	return im.secretName(n, other)
}

func (im *importer) pathPrefixes(q pair, p *node) {
	if q.key == "path_prefix" && p.get("path_prefixes") != nil {
		return // Kamal takes one of them; the longer form has all.
	}
	var all []*node
	for _, n := range many(q.value) {
		if n.kind != scalar {
			continue
		}
		for prefix := range strings.SplitSeq(n.text, ",") {
			if prefix = strings.TrimSpace(prefix); strings.Trim(prefix, "/") != "" {
				all = append(all, words(im.value("proxy."+q.key, words(prefix, n, false)), n, false))
			}
		}
	}
	im.prefixes(q, all, !isFalse(p.get("strip_path_prefix")))
}

// forwarding lets the application see the headers of the proxy in front, which
// Kamal does by default where HTTPS ends there.
func (im *importer) forwarding(p *node) {
	given, ssl := p.get("forward_headers"), p.get("ssl")
	forward := ssl == nil || ssl.kind == null || isFalse(ssl)
	at, key := p, "proxy"
	if given != nil && given.kind == scalar {
		forward, at, key = isTrue(given), given, "proxy.forward_headers"
		if mark.MatchString(given.text) {
			im.lost(Names, key, given, "Ruby is not executed; set proxy.trusted_proxies where a load balancer is in front: %s", im.show(given))
		}
	}
	if !forward {
		return
	}
	im.put(words("true", at, false), "proxy", "args", forwardedHeaders)
	im.changed(Names, key, at, "X-Forwarded-* headers reach the application as they come, for all services of the host, from every sender; better list your load balancers in proxy.trusted_proxies instead of %s", forwardedHeaders)
}

// accessLog keeps headers in the access log.
func (im *importer) accessLog(q pair) {
	for _, r := range q.value.pairs {
		if r.key != "request_headers" {
			im.lost(Other, "proxy.logging."+r.key, r.at(), "kstep's proxy logs no headers of responses: %s", im.show(r.value))
			continue
		}
		im.put(words("true", r.value, false), "proxy", "args", "accesslog")
		for _, n := range many(r.value) {
			if n.kind == scalar && headerName(n.text) {
				im.put(words("keep", n, false), "proxy", "args", "accesslog.fields.headers.names."+n.text)
			}
		}
		im.changed(Other, "proxy.logging.request_headers", r.at(), "are options of Traefik's access log (proxy.args), for all services of the host")
	}
}

func headerName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// proxyRun translates how the proxy's container is run.
func (im *importer) proxyRun(q pair) {
	for _, r := range q.value.pairs {
		key := "proxy.run." + r.key
		if r.value.kind == null {
			continue
		}
		switch r.key {
		case "http_port", "https_port", "bind_ips": // See proxyPorts.
		case "publish":
			if isFalse(r.value) {
				im.put(words("false", r.value, true), "proxy", "publish")
			}
		case "image", "repository", "registry", "version":
			im.changed(Other, key, r.at(), "is an image of kamal-proxy; kstep runs Traefik (proxy.image)")
		case "debug", "log_max_size":
			im.dropped(key, r.at(), "is for kamal-proxy: %s", im.show(r.value))
		default:
			im.lost(Other, key, r.at(), "kstep has no such key: %s", im.show(r.value))
		}
	}
}
