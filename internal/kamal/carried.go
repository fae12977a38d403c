package kamal

import (
	"encoding/json"
	"strings"
	"sync"

	"github.com/kstep/kstep/schema"
)

// This file has all that depends on keys which kstep's schema may have or not.
// Where the schema has the key, the value is carried; where it has not, it is
// reported as not importable.

// items stands for the entries of a list in a path of keys.
const items = "[]"

// knowsKey reports whether kstep's schema has a key. A role or an accessory is
// `*` in its path.
func knowsKey(key ...string) bool { return schemaHas(configSchema(), configSchema(), key, 0) }

var configSchema = sync.OnceValue(func() map[string]any { //nolint:gochecknoglobals // Computed once, never changed.
	var doc map[string]any
	if json.Unmarshal(schema.Config, &doc) != nil {
		return nil // A test holds that the embedded schema is an object.
	}
	return doc
})

func schemaHas(root, at map[string]any, key []string, depth int) bool {
	if depth > 40 {
		return false
	}
	if ref, ok := at["$ref"].(string); ok {
		target := root
		for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			target, _ = target[part].(map[string]any)
		}
		if target != nil && schemaHas(root, target, key, depth+1) {
			return true
		}
	}
	for _, word := range []string{"anyOf", "oneOf", "allOf"} {
		forms, _ := at[word].([]any)
		for _, form := range forms {
			if form, ok := form.(map[string]any); ok && schemaHas(root, form, key, depth+1) {
				return true
			}
		}
	}
	if len(key) == 0 {
		return true
	}
	switch key[0] {
	case items:
		below, ok := at["items"].(map[string]any)
		return ok && schemaHas(root, below, key[1:], depth+1)
	case "*":
		patterns, _ := at["patternProperties"].(map[string]any)
		for _, below := range patterns {
			if below, ok := below.(map[string]any); ok && schemaHas(root, below, key[1:], depth+1) {
				return true
			}
		}
		below, ok := at["additionalProperties"].(map[string]any)
		return ok && schemaHas(root, below, key[1:], depth+1)
	}
	properties, _ := at["properties"].(map[string]any)
	below, ok := properties[key[0]].(map[string]any)
	return ok && schemaHas(root, below, key[1:], depth+1)
}

// placeOf is a path of keys with `*` for the names of roles and accessories.
func placeOf(out []string) []string {
	place := append([]string{}, out...)
	if len(place) > 1 && (place[0] == "servers" || place[0] == "accessories") {
		place[1] = "*"
	}
	return place
}

// https is what Kamal's configuration says about HTTPS.
type https struct {
	key                     string
	at                      *node
	email                   string
	redirect                bool
	certificate, privateKey string // Names of secrets.
	automatic               bool
	provider                string // Of the DNS challenge.
	how                     string // More for the report.
	computed                *node  // Whether there is HTTPS, where Ruby computes it.
}

// tls carries HTTPS as proxy.tls.
func (im *importer) tls(h https) {
	hosts := im.show(im.out.get("proxy", "hosts"))
	facts := []string{"HTTPS for " + hosts}
	if hosts == "(nothing)" {
		facts[0] = "HTTPS"
	}
	if h.automatic {
		facts = append(facts, "automatic certificate")
	}
	if h.certificate != "" {
		facts = append(facts, "own certificate from the secrets "+h.certificate+" and "+h.privateKey)
	}
	if !h.automatic && h.certificate == "" {
		facts = append(facts, "the certificate is not in the configuration")
	}
	if h.email != "" {
		facts = append(facts, "e-mail address "+h.email)
	}
	if h.how != "" {
		facts = append(facts, h.how)
	}
	if h.redirect {
		facts = append(facts, "redirect from HTTP")
	} else {
		facts = append(facts, "no redirect from HTTP")
	}
	if h.computed != nil {
		facts = append(facts, "whether there is HTTPS is computed: "+im.show(h.computed))
	}
	said := strings.Join(facts, "; ")
	complete := h.certificate == "" || im.knows("proxy", "tls", "certificate")
	if !im.knows("proxy", "tls") || !complete {
		im.lost(Names, h.key, h.at, "%s. kstep cannot serve HTTPS; end it in front of the hosts", said)
		return
	}
	if h.computed != nil && im.show(h.computed) != im.value(h.key, h.computed) {
		im.lost(Names, h.key, h.at, "%s. Set proxy.tls where it has to be on", said)
		return
	}
	tls := &node{kind: mapping, file: h.at.file, line: h.at.line}
	if h.certificate != "" {
		tls.set(im.tlsSecret(h.certificate, h.at, "certificate"), "certificate")
		tls.set(im.tlsSecret(h.privateKey, h.at, "private_key"), "private_key")
	}
	if h.email != "" && im.knows("proxy", "tls", "acme", "email") {
		tls.set(words(h.email, h.at, false), "acme", "email")
	}
	if h.provider != "" && im.knows("proxy", "tls", "acme", "provider") {
		tls.set(words("dns", h.at, false), "acme", "challenge")
		tls.set(words(h.provider, h.at, false), "acme", "provider")
	}
	if !h.redirect && im.knows("proxy", "tls", "redirect") {
		tls.set(words("false", h.at, true), "redirect")
	}
	switch {
	case h.computed != nil:
		tls = words(im.value(h.key, h.computed), h.computed, true)
	case len(tls.pairs) == 0:
		tls = words("true", h.at, true)
	}
	im.put(tls, "proxy", "tls")
	note := ""
	if h.certificate == "" {
		note = ". kstep's proxy gets certificates of its own; Kamal's are not copied"
	}
	im.changed(Names, h.key, h.at, "%s: "+tlsNow+"%s", said, note)
}

// tlsNow is in the entry about HTTPS that is carried.
const tlsNow = "is proxy.tls now"

// tlsSecret names a secret: in a list, where the schema takes one there, because a
// text is a file then.
func (im *importer) tlsSecret(name string, at *node, key string) *node {
	if im.knows("proxy", "tls", key, items) {
		return texts(at, name)
	}
	return words(name, at, false)
}

// withoutTLS turns the entries about HTTPS that is carried into those of HTTPS that
// kstep refuses.
func (c *collector) withoutTLS(r refusal) bool {
	found := false
	for i, e := range c.entries {
		if strings.HasPrefix(r.key, "proxy.tls") && e.Kind == Changed && e.File == r.at.file && e.Line == r.at.line && strings.Contains(e.Text, tlsNow) {
			facts, _, _ := strings.Cut(e.Text, ": "+tlsNow)
			c.entries[i].Kind, c.entries[i].Text, found = NotImportable, facts+". kstep refuses it: "+r.why, true
		}
	}
	return found
}

// listen carries on which address and port of the host the proxy is reached. It
// reports false where the schema takes a number only.
func (im *importer) listen(address, port, securePort string, at *node) bool {
	if !im.knows("proxy", "publish", "https") {
		return false
	}
	on := func(port string) *node {
		if address != "" {
			return words(address+":"+port, at, false)
		}
		return words(port, at, true)
	}
	if securePort == "443" && (address == "" || im.out.get("proxy", "tls") == nil) {
		im.put(on(port), "proxy", "publish")
		return true
	}
	im.put(on(port), "proxy", "publish", "http")
	im.put(on(securePort), "proxy", "publish", "https")
	return true
}

// prefixes carries path prefixes. kamal-proxy strips them from the path, unless
// strip_path_prefix is false.
func (im *importer) prefixes(p pair, all []*node, strip bool) {
	if len(all) == 0 {
		return
	}
	switch {
	case strip && !im.knows("proxy", "strip_path_prefix"):
		im.lost(Names, "proxy."+p.key, p.at(), "Kamal strips %s from the path before the request reaches the application; kstep does not, so the prefix is left out and all paths of the hosts are served", im.show(p.value))
		return
	case len(all) > 1 && !im.knows("proxy", "path_prefix", items):
		im.lost(Names, "proxy."+p.key, p.at(), "kstep takes one path prefix; all paths of the hosts are served: %s", im.show(p.value))
		return
	}
	prefix := listOf(p.value, all...)
	if len(all) == 1 {
		prefix = all[0]
	}
	im.put(prefix, "proxy", "path_prefix")
	if strip {
		im.put(words("true", p.value, true), "proxy", "strip_path_prefix")
	}
}

// responseTimeout carries how long the application may take to answer.
func (im *importer) responseTimeout(p pair) {
	span := im.seconds("proxy.response_timeout", p.value)
	if im.knows("proxy", "response_timeout") {
		im.put(span, "proxy", "response_timeout")
		return
	}
	im.put(span, "proxy", "args", "serverstransport.forwardingtimeouts.responseheadertimeout")
	im.changed(Other, "proxy.response_timeout", p.at(), "is an option of Traefik: it holds for all services of the host, and limits the time until the headers of the response come")
}

// buffering carries the largest body of a request. kstep buffers nothing.
func (im *importer) buffering(p pair) {
	if isTrue(p.value) || p.value.kind == mapping && len(p.value.pairs) > 0 {
		im.lost(Other, "proxy.buffering", p.at(), "kstep's proxy does not buffer requests and responses: %s", im.show(p.value))
	}
	if n := p.value.get("max_request_body"); n != nil && n.kind == scalar && im.knows("proxy", "max_body") {
		im.put(im.copy("proxy.buffering.max_request_body", n), "proxy", "max_body")
	}
}

// commandAliases carries short names for commands.
func (im *importer) commandAliases(p pair) {
	for _, q := range p.value.pairs {
		key := "aliases." + q.key
		if q.value.kind != scalar {
			continue
		}
		command, ok := kstepCommand(im.show(q.value))
		switch {
		case !ok:
			im.dropped(key, q.at(), "kstep has no such command: kamal %s", im.show(q.value))
		case im.knows("aliases"):
			im.put(words(command, q.value, false), "aliases", q.key)
		default:
			im.dropped(key, q.at(), "use: kstep %s", command)
		}
	}
}

// accessoryLogin carries a registry of an accessory's own.
func (im *importer) accessoryLogin(key string, q pair) {
	if !im.knows("registries") {
		im.lost(Other, key, q.at(), "kstep logs in to one registry only, so the image cannot be pulled: %s", im.show(q.value.get("server")))
		return
	}
	server := "docker.io"
	if n := q.value.get("server"); n != nil && n.kind == scalar && n.text != "" {
		server = n.text
	}
	if mark.MatchString(server) {
		im.lost(Other, key, q.at(), "the server is Ruby, and it is a key under registries, where kstep fills in nothing: %s", im.show(q.value))
		return
	}
	if main := text(im.in.get("registry", "server")); main == server || main == "" && server == "docker.io" {
		im.dropped(key, q.at(), "is the registry of the application, whose login is used")
		return
	}
	im.login(q, "registries", server)
	if login := im.out.get("registries", server); login != nil {
		login.remove("server")
	}
	im.changed(Other, key, q.at(), "is under registries now, where the login of each server is")
}
