package kamal

import (
	"path"
	"slices"
	"strings"
)

func (im *importer) accessories(p pair) {
	if len(p.value.pairs) > 0 {
		im.changed(Networks, "accessories", p.at(), "application and accessories share one network of the service; containers of other services on the host are not on it (networks)")
	}
	for _, a := range p.value.pairs {
		if mark.MatchString(a.key) {
			im.lost(Data, "accessories", a.at(), "the name of an accessory is Ruby; kstep fills in values only: %s", im.show(words(a.key, a.at(), false)))
			continue
		}
		if a.value.kind != mapping {
			if a.value.kind != null {
				im.lost(Data, "accessories."+a.key, a.at(), "must be a map: %s", im.show(a.value))
			}
			continue
		}
		im.accessory(a)
	}
}

func (im *importer) accessory(a pair) {
	name, service := a.key, im.accessoryService(a)
	isRole := func(n string) bool {
		return slices.ContainsFunc(roles(im.in), func(r pair) bool { return r.key == n })
	}
	if isRole(name) {
		name += "-accessory"
		im.changed(Other, "accessories."+a.key, a.at(), "is called %s, because there is a role of the same name; its container keeps its name", name)
		im.put(words(service, a.at(), false), "accessories", name, "service")
	}
	out := func(keys ...string) []string { return append([]string{"accessories", name}, keys...) }
	for _, q := range a.value.pairs {
		if q.value.kind != null {
			im.accessoryKey(q, "accessories."+a.key, service, out)
		}
	}
	if a.value.get("service") == nil && len(im.src.destinations) > 0 {
		im.put(words(service, a.at(), false), out("service")...)
		im.changed(Other, "accessories."+a.key, a.at(), "has the service %s: Kamal's name of its container has no destination, kstep's would have one", service)
	}
}

// accessoryService is the name of an accessory's container.
func (im *importer) accessoryService(a pair) string {
	if s := a.value.get("service"); s != nil && s.kind == scalar && s.text != "" {
		return im.value("accessories."+a.key+".service", s)
	}
	return im.value("service", orEmpty(im.in.get("service"))) + "-" + a.key
}

func (im *importer) accessoryKey(q pair, owner, service string, out func(...string) []string) {
	key := owner + "." + q.key
	switch q.key {
	case "image", "service", "host":
		im.put(words(im.value(key, orEmpty(q.value)), q.value, false), out(q.key)...)
	case "role", "tag":
		im.same(q, out(q.key)...)
	case "hosts", "roles", "tags":
		im.put(im.list(key, q.value), out(q.key)...)
	case "cmd":
		im.command(key, q, out("cmd")...)
	case "port":
		im.put(words(im.value(key, orEmpty(q.value)), q.value, q.value.plain), out("port")...)
		if sexagesimalForm.MatchString(q.value.text) && q.value.plain {
			im.changed(Names, key, q.at(), "%s is %s for Kamal (YAML 1.1); it is written as it stands", q.value.text, rubyText(q.value.text))
		}
	case "env":
		im.env(q, nil, out("env")...)
	case "files":
		im.files(key, q, out("files"))
	case "directories":
		im.directories(key, q, service, out("directories"))
	case "volumes":
		im.volumes(q, out("volumes")...)
	case "labels":
		im.accessoryLabels(key, q, out)
	case "options":
		im.options(q, owner, true, out)
	case "logging":
		im.logging(q, out("logging")...)
	case "registry":
		im.accessoryLogin(key, q)
	case "network":
		im.network(key, q, owner, out)
	case "proxy":
		hosts := append(many(q.value.get("host")), many(q.value.get("hosts"))...)
		im.lost(Names, key, q.at(), "kstep leads no requests to accessories: %s is not routed any more", im.show(listOf(q.value, hosts...)))
	default:
		im.lost(Other, key, q.at(), "kstep has no such key: %s", im.show(q.value))
	}
}

func (im *importer) accessoryLabels(key string, q pair, out func(...string) []string) {
	im.free(q, func(label pair) bool {
		if strings.HasPrefix(strings.ToLower(label.key), "traefik.") {
			im.lost(Names, key+"."+label.key, label.at(), "kstep leads no requests to accessories by labels: %s", im.show(label.value))
			return false
		}
		return true
	}, out("labels")...)
}

// mounted takes a file or directory apart.
func (im *importer) mounted(key string, n *node) (local, remote, options string, long *node) {
	if n.kind == mapping {
		long = im.copy(key, n)
		for i := range long.pairs {
			long.pairs[i].value.plain = false
		}
		return text(long.get("local")), text(long.get("remote")), text(long.get("options")), long
	}
	v := im.value(key, orEmpty(n))
	at := strings.Index(v, ":/")
	if at < 0 {
		return v, "", "", nil
	}
	local = v[:at]
	remote, options, _ = strings.Cut(v[at+1:], ":")
	return local, remote, options, nil
}

// files are uploaded from the project. Kamal renders those that end in .erb.
func (im *importer) files(key string, q pair, out []string) {
	l := listOf(q.value)
	for _, n := range many(q.value) {
		local, remote, options, long := im.mounted(key, n)
		if strings.HasSuffix(local, ".erb") {
			im.lost(Missing, key, n, "Kamal renders %s; kstep does not, so it is left out, and the container starts without %s. Write the file by hand and add it", local, remote)
			continue
		}
		l.items = append(l.items, im.mount(key, n, local, remote, options, long))
	}
	if len(l.items) > 0 {
		im.put(l, out...)
	}
}

func (im *importer) mount(key string, n *node, local, remote, options string, long *node) *node {
	if options != "" && options != "ro" && options != "rw" {
		kept := ""
		if slices.Contains(strings.Split(options, ","), "ro") {
			kept = "ro"
		}
		im.changed(Other, key, n, "of the mount options %s only ro is kept", options)
		options = kept
	}
	if long != nil {
		long.set(words(local, n, false), "local")
		if long.remove("options"); options != "" {
			long.set(words(options, n, false), "options")
		}
		return long
	}
	v := local
	if remote != "" {
		v += ":" + remote
	}
	if options != "" {
		v += ":" + options
	}
	return words(v, n, false)
}

// directories with a relative path are where Kamal has them: in a folder with
// the name of the accessory's container, in the home of the SSH user.
func (im *importer) directories(key string, q pair, service string, out []string) {
	l := listOf(q.value)
	for _, n := range many(q.value) {
		local, remote, options, long := im.mounted(key, n)
		if !strings.HasPrefix(local, "/") && local != "" {
			folder := im.home() + "/" + service + "/" + strings.TrimPrefix(local, "./")
			if !strings.Contains(folder, "${") {
				folder = path.Clean(folder)
			}
			im.changed(Data, key, n, "the data of %s is in %s on the host, which is written in full (kstep's own place would be in .kstep/@accessories, and empty); check that this is the home of the SSH user", service, folder)
			local = folder
		}
		l.items = append(l.items, im.mount(key, n, local, remote, options, long))
	}
	if len(l.items) > 0 {
		im.put(l, out...)
	}
}
