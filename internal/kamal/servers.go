package kamal

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// roles are those of a configuration with their values, which are maps.
func roles(in *node) []pair {
	servers := in.get("servers")
	switch {
	case servers == nil:
		return nil
	case servers.kind == list || servers.kind == scalar:
		return []pair{{"web", servers.line, hostsOnly(servers)}}
	}
	all := slices.DeleteFunc(slices.Clone(servers.pairs), func(p pair) bool { return mark.MatchString(p.key) })
	for i := range all {
		if kind := all[i].value.kind; kind == list || kind == scalar {
			all[i].value = hostsOnly(all[i].value)
		}
	}
	return all
}

func hostsOnly(hosts *node) *node {
	return &node{kind: mapping, file: hosts.file, line: hosts.line, pairs: []pair{{"hosts", hosts.line, hosts}}}
}

func (im *importer) primaryRole() string {
	if name := text(im.in.get("primary_role")); name != "" {
		return name
	}
	return "web"
}

// isProxied reports whether a role gets traffic.
func (im *importer) isProxied(role pair) bool {
	for _, key := range []string{"proxy", "traefik"} {
		if p := role.value.get(key); p != nil && p.kind != null {
			return !isFalse(p) && !isFalse(role.value.get("labels", "traefik.enable"))
		}
	}
	return role.key == im.primaryRole()
}

func (im *importer) servers(servers pair) {
	for _, p := range servers.value.pairs {
		if mark.MatchString(p.key) {
			im.lost(Names, "servers", p.at(), "the name of a role is Ruby; kstep fills in values only: %s", im.show(words(p.key, p.at(), false)))
		}
	}
	for _, role := range roles(im.in) {
		switch role.value.kind {
		case null:
			im.changed(Names, "servers."+role.key, role.at(), "the role has no hosts and is left out; a destination may list some")
		case mapping:
			im.role(role)
		default:
			im.lost(Names, "servers."+role.key, role.at(), "must be a list of hosts or a map: %s", im.show(role.value))
		}
	}
}

func (im *importer) role(role pair) {
	name := role.key
	out := func(keys ...string) []string { return append([]string{"servers", name}, keys...) }
	for _, p := range role.value.pairs {
		key := "servers." + name + "." + p.key
		switch p.key {
		case "hosts":
			im.put(im.hosts(key, p.value), out("hosts")...)
		case "cmd":
			im.command(key, p, out("cmd")...)
		case "proxy":
			im.roleProxy(role, p, out)
		case "traefik":
			im.put(words(strconv.FormatBool(im.isProxied(role)), p.value, true), out("proxy")...)
		case "env":
			im.env(p, names(im.in.get("env")), out("env")...)
		case "labels":
			im.labels(p, out("labels")...)
		case "volumes":
			im.volumes(p, out("volumes")...)
		case "options":
			im.options(p, "servers."+name, false, out)
		case "logging":
			im.logging(p, out("logging")...)
		case "asset_path":
			im.assetPath(p, out("asset_path")...)
		case "stop_timeout", "stop_wait_time", "drain_timeout":
			im.put(im.seconds(key, p.value), out("stop", "timeout")...)
		case "healthcheck":
			im.healthcheck(p, im.isProxied(role), out("healthcheck")...)
		default:
			im.lost(Other, key, p.at(), "kstep has no such key, and the import does not know its meaning")
		}
	}
}

// hosts are those of a role, each alone or with its tags.
func (im *importer) hosts(key string, n *node) *node {
	l := listOf(n)
	for _, item := range many(n) {
		switch {
		case item.kind == scalar:
			if id, whole := wholeFragment(item.text); whole && im.fragment(id).expr == nil {
				im.changed(Names, key, item, "Ruby is not executed; one entry for one host stands here, add one for each: %s", im.fragment(id).code)
			}
			if v := im.value(key, item); v != "" {
				l.items = append(l.items, words(v, item, false))
			}
		case item.kind == mapping && len(item.pairs) > 0:
			p := item.pairs[0]
			if mark.MatchString(p.key) {
				im.lost(Names, key, p.at(), "a host with tags whose name is Ruby: kstep fills in values, and this is a key: %s", im.show(words(p.key, p.at(), false)))
				continue
			}
			entry := &node{kind: mapping, file: item.file, line: p.line}
			tags := im.list(key, p.value)
			if tags == nil {
				l.items = append(l.items, words(p.key, item, false))
				continue
			}
			if p.value.kind == scalar {
				tags = tags.items[0]
			}
			entry.pairs = []pair{{p.key, p.line, tags}}
			l.items = append(l.items, entry)
		}
	}
	if len(l.items) == 0 {
		return nil
	}
	return l
}

// declareTags declares the tags of hosts that have no variables. Kamal takes a
// tag without, for the places of accessories.
func (im *importer) declareTags() {
	for _, role := range roles(im.in) {
		hosts := im.out.get("servers", role.key, "hosts")
		if hosts == nil {
			continue
		}
		for _, host := range hosts.items {
			for _, p := range host.pairs {
				for _, tag := range many(p.value) {
					if im.out.get("env", "tags", tag.text) == nil {
						im.put(&node{kind: mapping, file: tag.file, line: tag.line}, "env", "tags", tag.text)
					}
				}
			}
		}
	}
}

var shellInCommand = regexp.MustCompile("[|;<>`&]|\\$\\(|\\$[A-Za-z_{]")

// command copies a container's command. Kamal's goes through the shell of the
// host, kstep's through none.
func (im *importer) command(key string, p pair, out ...string) {
	if p.value.kind == list {
		im.put(im.list(key, p.value), out...)
		return
	}
	if p.value.kind != scalar || strings.TrimSpace(p.value.text) == "" {
		return
	}
	v := im.value(key, p.value)
	if found := shellInCommand.FindString(mark.ReplaceAllString(unquoted(p.value.text), "")); found != "" {
		im.changed(Other, key, p.at(), "%q is for a shell, and kstep splits the command into words without one; where the container needs a shell, write: sh -c '…'", found)
	}
	im.put(words(v, p.value, false), out...)
}

var quotedText = regexp.MustCompile(`'[^']*'|"[^"$` + "`" + `]*"`)

// unquoted is a command line without what stands in quotes.
func unquoted(s string) string { return quotedText.ReplaceAllString(s, "") }

// roleProxy translates whether a role has traffic, and what is its own of it.
func (im *importer) roleProxy(role, p pair, out func(...string) []string) {
	key := "servers." + role.key + ".proxy"
	if p.value.kind != mapping {
		if p.value.kind == scalar {
			im.put(words(strconv.FormatBool(!isFalse(p.value)), p.value, true), out("proxy")...)
		}
		return
	}
	if role.key != im.primaryRole() {
		im.put(words("true", p.value, true), out("proxy")...)
	}
	if im.proxyRole() == role.key {
		return // Counts for the whole service: see proxy.
	}
	if port := p.value.get("app_port"); port != nil {
		im.number(key+".app_port", port, out("healthcheck", "port")...)
	}
	for _, q := range p.value.pairs {
		switch q.key {
		case "app_port":
		case "healthcheck":
			im.healthcheck(q, true, out("healthcheck")...)
		default:
			im.lost(Names, key+"."+q.key, q.at(), "kstep has one proxy configuration for all roles: %s", im.show(q.value))
		}
	}
}

// proxyRole is the role whose proxy settings count for the service: the only
// one with traffic, or the primary one.
func (im *importer) proxyRole() string {
	var proxied []string
	for _, role := range roles(im.in) {
		if im.isProxied(role) {
			proxied = append(proxied, role.key)
		}
	}
	if len(proxied) == 1 {
		return proxied[0]
	}
	return im.primaryRole()
}

// names are the clear variables of an environment of Kamal's.
func names(env *node) map[string]bool {
	all := map[string]bool{}
	clear, _, _ := partsOf(env)
	if clear != nil {
		for _, p := range clear.pairs {
			all[p.key] = true
		}
	}
	return all
}

func (im *importer) logging(p pair, out ...string) {
	key := keyPath(out...)
	for _, q := range p.value.pairs {
		switch q.key {
		case "driver":
			im.put(im.copy(key+".driver", q.value), append(slices.Clip(out), "driver")...)
		case "options":
			im.free(q, nil, append(slices.Clip(out), "options")...)
		default:
			im.lost(Other, key+"."+q.key, q.at(), "kstep has no such key")
		}
	}
}

func (im *importer) boot(p pair) {
	for _, q := range p.value.pairs {
		switch q.key {
		case "limit":
			im.put(words(im.value("boot.limit", q.value), q.value, false), "boot", "limit")
			im.put(words(im.value("boot.limit", q.value), q.value, false), "cutover", "limit")
			if strings.HasSuffix(q.value.text, "%") {
				im.changed(Other, "boot.limit", q.at(), "a percentage counts the hosts of a role; Kamal counts all hosts")
			}
		case "wait":
			im.put(im.seconds("boot.wait", q.value), "boot", "wait")
			im.put(im.seconds("boot.wait", q.value), "cutover", "wait")
		case "parallel_roles":
			im.dropped("boot.parallel_roles", q.at(), "kstep boots roles in parallel anyway")
		default:
			im.lost(Other, "boot."+q.key, q.at(), "kstep has no such key")
		}
	}
}
