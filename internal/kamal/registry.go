package kamal

import "strings"

// registry translates the login of the application's registry.
func (im *importer) registry(p pair) {
	if server := p.value.get("server"); im.ownRegistry() {
		im.changed(Other, "registry.server", server, "%s is a registry that Kamal runs itself; kstep needs none: it sends the image to the hosts through SSH, and names it after the service", im.show(server))
		return
	}
	im.login(p, "registry")
}

// ownRegistry reports whether Kamal runs the registry on this machine.
func (im *importer) ownRegistry() bool { return isLocal(text(im.in.get("registry", "server"))) }

func isLocal(server string) bool {
	host, _, _ := strings.Cut(server, ":")
	return host == "localhost" || host == "127.0.0.1"
}

// login translates server, user name and password, under a key of kstep's.
func (im *importer) login(p pair, keys ...string) {
	key := keyPath(keys...)
	below := func(name string) []string { return append(append([]string{}, keys...), name) }
	for _, q := range p.value.pairs {
		switch q.key {
		case "server":
			if v := im.value(key+".server", q.value); v != "" && q.value.kind == scalar {
				im.put(words(v, q.value, false), below("server")...)
			}
		case "username":
			if q.value.kind == list && len(q.value.items) > 0 {
				im.put(texts(q.value, im.secretName(q.value.items[0], "REGISTRY_USERNAME")), below("username")...)
			} else if q.value.kind == scalar {
				im.put(words(im.value(key+".username", q.value), q.value, false), below("username")...)
			}
		case "password":
			im.password(q, key, below("password"))
		default:
			im.lost(Other, key+"."+q.key, q.at(), "kstep has no such key")
		}
	}
}

func (im *importer) password(p pair, key string, out []string) {
	n := p.value
	if n.kind == list {
		if len(n.items) == 0 {
			return
		}
		n = n.items[0]
		if !mark.MatchString(n.text) {
			im.put(texts(n, im.secretName(n, "REGISTRY_PASSWORD")), out...)
			return
		}
	}
	if n.kind != scalar || n.text == "" {
		return
	}
	name := "REGISTRY_PASSWORD"
	id, whole := wholeFragment(n.text)
	f := im.fragment(id)
	switch {
	case !mark.MatchString(n.text):
		im.changed(Other, key+".password", p.at(), "is written in the file; kstep takes the name of a secret: set %s in the environment or in .env", name)
	case whole && f.command != "":
		im.put(commandLine(f.command, n), "secrets", "commands", name)
		im.changed(Other, key+".password", p.at(), "is the output of a command, which is under secrets.commands now, as %s: %s", name, f.command)
	case whole && f.env != "":
		name = f.env
	default:
		im.changed(Other, key+".password", p.at(), "Ruby is not executed; set %s to %s", name, im.show(n))
	}
	im.put(texts(n, name), out...)
}

// secretName is the name of a secret in a list, or the one that it stands for.
func (im *importer) secretName(n *node, other string) string {
	name := strings.TrimSpace(im.constant(n))
	if !variableName.MatchString(name) {
		im.changed(Other, "registry", n, "is not the name of a secret: %s; set %s", im.show(n), other)
		return other
	}
	return im.aliased(name)
}
