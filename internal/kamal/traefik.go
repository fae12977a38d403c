package kamal

import (
	"regexp"
	"slices"
	"strings"
)

// traefikFacts is what labels and arguments of Kamal 1 say about HTTPS.
type traefikFacts struct {
	at        *node // The first place.
	key       string
	email     string
	resolver  string
	challenge string
	provider  string
	redirect  bool
	rank      int
}

// How clearly a place speaks of HTTPS: the clearest one is reported.
const (
	byLabel = iota + 1
	byPort
	byEntryPoint
	byResolver
	byEmail
)

func (f *traefikFacts) seen(key string, at *node, rank int) {
	if rank > f.rank {
		f.at, f.key, f.rank = at, key, rank
	}
}

// traefik translates Kamal 1's proxy: Traefik by labels and arguments.
func (im *importer) traefik() {
	var facts traefikFacts
	hosts := listOf(im.in)
	p, given := im.pairOf("traefik")
	if given && p.value.kind == mapping {
		for _, q := range p.value.pairs {
			if q.value.kind != null {
				im.traefikKey(q, &facts)
			}
		}
	}
	var labels traefikFacts
	if top, ok := im.pairOf("labels"); ok {
		im.traefikLabels("labels", top.value, true, &labels, hosts)
	}
	for _, role := range roles(im.in) {
		if own := role.value.get("labels"); own != nil {
			im.traefikLabels("servers."+role.key+".labels", own, im.isProxied(role), &labels, hosts)
		}
	}
	if facts.at == nil {
		facts.at, facts.key = labels.at, labels.key
	}
	facts.redirect = facts.redirect || labels.redirect
	if len(hosts.items) > 0 {
		im.put(hosts, "proxy", "hosts")
	}
	if facts.at == nil {
		return
	}
	h := https{key: facts.key, at: facts.at, email: facts.email, redirect: facts.redirect, automatic: facts.resolver != "", provider: facts.provider}
	if facts.resolver != "" {
		h.how = "resolver " + facts.resolver
	}
	if facts.challenge != "" {
		h.how += ", " + facts.challenge
	}
	im.tls(h)
}

func (im *importer) traefikKey(q pair, facts *traefikFacts) {
	key := "traefik." + q.key
	switch q.key {
	case "image":
		im.changed(Other, key, q.at(), "%s: kstep runs Traefik v3 (proxy.image)", im.show(q.value))
	case "publish":
		if isFalse(q.value) {
			im.put(words("false", q.value, true), "proxy", "publish")
		}
	case "host_port":
		address, port, bound := strings.Cut(q.value.text, ":")
		if bound && !strings.Contains(port, ":") && im.listen(address, port, "443", q.value) {
			return
		}
		if bound {
			im.lost(Names, key, q.at(), "kstep's proxy listens on all addresses of the host; close the port for others with a firewall: %s", im.show(q.value))
			return
		}
		im.number(key, q.value, "proxy", "publish")
	case "args":
		for _, arg := range q.value.pairs {
			im.traefikArg(arg, q.value, facts)
		}
	case "options":
		for _, option := range q.value.pairs {
			im.traefikOption(option, facts)
		}
	case "labels":
		im.free(q, func(label pair) bool {
			if strings.HasPrefix(strings.ToLower(label.key), "traefik.") {
				im.lost(Names, key+"."+label.key, label.at(), "a route by a label has no effect: %s", im.show(label.value))
				return false
			}
			return true
		}, "proxy", "labels")
	case "env":
		im.env(q, nil, "proxy", "env")
	default:
		im.lost(Other, key, q.at(), "kstep has no such key: %s", im.show(q.value))
	}
}

var (
	resolverArg = regexp.MustCompile(`^certificatesresolvers\.([^.]+)(?:\.(.*))?$`)
	entryArg    = regexp.MustCompile(`^entrypoints\.([^.]+)(?:\.(.*))?$`)
)

// traefikArg carries an option of Traefik's, except those for HTTPS, which would
// send every request to a port that nothing publishes, and those that kstep sets.
func (im *importer) traefikArg(arg pair, all *node, facts *traefikFacts) {
	key, name := "traefik.args."+arg.key, strings.ToLower(arg.key)
	partOfTLS := func() {
		im.dropped(key, arg.at(), "is part of HTTPS, which has an entry of its own: %s", im.show(arg.value))
	}
	if m := resolverArg.FindStringSubmatch(name); m != nil {
		facts.seen(key, arg.at(), byResolver)
		facts.resolver = m[1]
		switch {
		case m[2] == "acme.email":
			facts.seen(key, arg.at(), byEmail)
			facts.email = im.value(key, orEmpty(arg.value))
		case strings.HasPrefix(m[2], "acme.httpchallenge"):
			facts.challenge = "HTTP challenge"
		case strings.HasPrefix(m[2], "acme.tlschallenge"):
			facts.challenge = "TLS challenge"
		case strings.HasPrefix(m[2], "acme.dnschallenge"):
			facts.challenge = "DNS challenge"
			if strings.HasSuffix(m[2], ".provider") {
				facts.provider = im.value(key, orEmpty(arg.value))
			}
		}
		partOfTLS()
		return
	}
	m := entryArg.FindStringSubmatch(name)
	switch {
	case m != nil && (m[1] == "websecure" || isSecureEntry(all, m[1])):
		facts.seen(key, arg.at(), byEntryPoint)
		if strings.HasPrefix(m[2], "forwardedheaders.") {
			im.changed(Names, key, arg.at(), "the proxies that are trusted belong to proxy.trusted_proxies: %s", im.show(arg.value))
			return
		}
		partOfTLS()
	case m != nil && m[1] == "web" && strings.HasPrefix(m[2], "http.redirections."):
		facts.seen(key, arg.at(), byEntryPoint)
		facts.redirect = true
		partOfTLS()
	case m != nil && m[1] == "web" && m[2] == "address":
		im.changed(Other, key, arg.at(), "kstep sets it itself: %s; proxy.publish is the port of the host", im.show(arg.value))
	case m != nil && m[1] != "web":
		im.lost(Names, key, arg.at(), "kstep's proxy has one entry point: %s", im.show(arg.value))
	case strings.HasPrefix(name, "providers."):
		im.dropped(key, arg.at(), "kstep writes the routes itself: %s", im.show(arg.value))
	default:
		im.put(im.traefikValue(key, arg.value), "proxy", "args", arg.key)
	}
}

// isSecureEntry reports whether an entry point is the one of port 443.
func isSecureEntry(all *node, name string) bool {
	return slices.ContainsFunc(all.pairs, func(p pair) bool {
		return strings.EqualFold(p.key, "entrypoints."+name+".address") && strings.HasSuffix(text(p.value), ":443")
	})
}

func (im *importer) traefikValue(key string, n *node) *node {
	if n.kind == list {
		all := make([]string, len(n.items))
		for i, item := range n.items {
			all[i] = im.value(key, orEmpty(item))
		}
		return words(strings.Join(all, ","), n, false)
	}
	if n.kind == null { // Kamal writes the option without a value.
		return words("true", n, false)
	}
	return im.read(key, n)
}

func (im *importer) traefikOption(q pair, facts *traefikFacts) {
	key := "traefik.options." + q.key
	for _, n := range many(q.value) {
		v := im.show(n)
		at := &node{file: n.file, line: n.line}
		switch {
		case q.key == "publish" && strings.HasSuffix(strings.TrimSuffix(v, "/tcp"), ":443"):
			facts.seen(key, at, byPort)
			im.dropped(key, at, "is part of HTTPS, which has an entry of its own: %s", v)
		case q.key == "publish":
			im.lost(Names, key, at, "kstep's proxy publishes one port of the host (proxy.publish): %s", v)
		case q.key == "volume" && (strings.Contains(v, "acme") || strings.Contains(v, "letsencrypt")):
			im.dropped(key, at, "holds the certificates of HTTPS, which has an entry of its own: %s", v)
		case q.key == "network":
			im.parts = append(im.parts, networkUse{key: key, name: v, at: q.at()})
		default:
			im.lost(Other, key, at, "kstep's proxy takes no options of docker run: %s", v)
		}
	}
}

var (
	hostRule   = regexp.MustCompile(`(?:^|[^A-Za-z])Host\(\s*([^)]*)\)`)
	pathRule   = regexp.MustCompile("PathPrefix\\(\\s*[`\"']([^`\"')]*)[`\"']\\s*\\)")
	ruleLeft   = regexp.MustCompile(`[|&()\s]+`)
	ruleQuotes = regexp.MustCompile("[`\"']([^`\"']*)[`\"']")
)

// traefikLabels reads host names and HTTPS from the labels of a role.
func (im *importer) traefikLabels(owner string, labels *node, proxied bool, facts *traefikFacts, hosts *node) {
	for _, q := range labels.pairs {
		name := strings.ToLower(q.key)
		if !strings.HasPrefix(name, "traefik.") {
			continue
		}
		key := owner + "." + q.key
		kind := name[strings.LastIndex(name, ".")+1:]
		switch {
		case name == "traefik.enable" || name == "traefik.docker.network":
			im.dropped(key, q.at(), "kstep writes the routes itself")
		case !proxied || !strings.HasPrefix(name, "traefik.http."):
			im.lost(Names, key, q.at(), "routes by labels have no effect, and this is not a route to the role with traffic: %s", im.show(q.value))
		case strings.HasPrefix(name, "traefik.http.middlewares."):
			if strings.Contains(name, ".redirectscheme.") {
				facts.redirect = true
				im.dropped(key, q.at(), "is part of HTTPS, which has an entry of its own")
				continue
			}
			im.lost(Names, key, q.at(), "kstep has no middlewares of the application's: %s", im.show(q.value))
		case kind == "rule":
			im.rule(key, q, hosts)
		case strings.Contains(name, ".tls") || kind == "entrypoints" && strings.Contains(text(q.value), "secure"):
			if !strings.Contains(name, ".tls") || !isFalse(q.value) {
				facts.seen(key, q.at(), byLabel)
			}
			im.dropped(key, q.at(), "is part of HTTPS, which has an entry of its own")
		case strings.HasSuffix(name, ".loadbalancer.server.port"):
			im.number(key, q.value, "healthcheck", "port")
			im.changed(Other, key, q.at(), "is healthcheck.port, where requests go, too")
		case kind == "middlewares" || strings.Contains(name, ".loadbalancer."):
			im.lost(Names, key, q.at(), "kstep's routes have no such setting: %s", im.show(q.value))
		default:
			im.dropped(key, q.at(), "kstep writes the routes itself: %s", im.show(q.value))
		}
	}
}

// rule takes host names and a path prefix out of the rule of a router.
func (im *importer) rule(key string, q pair, hosts *node) {
	rule := im.value(key, orEmpty(q.value))
	rest := hostRule.ReplaceAllString(rule, "")
	for _, m := range hostRule.FindAllStringSubmatch(rule, -1) {
		for _, one := range ruleQuotes.FindAllStringSubmatch(m[1], -1) {
			im.addHost(hosts, one[1], q.value)
		}
	}
	paths := pathRule.FindAllStringSubmatch(rest, -1)
	if len(paths) == 1 && !strings.Contains(rest, "||") {
		if paths[0][1] != "/" {
			im.put(words(paths[0][1], q.value, false), "proxy", "path_prefix")
		}
		rest = pathRule.ReplaceAllString(rest, "")
	}
	if ruleLeft.ReplaceAllString(rest, "") != "" {
		im.lost(Names, key, q.at(), "of the rule only host names are imported: %s", rule)
		return
	}
	im.dropped(key, q.at(), "its host names are in proxy.hosts: %s", rule)
}
