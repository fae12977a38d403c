package kamal

import (
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/runopt"
)

// knownOptions are the options of `docker run` that kstep takes.
func knownOptions() map[string]reflect.Type {
	known := map[string]reflect.Type{}
	for field := range reflect.TypeFor[runopt.Options]().Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		known[key] = field.Type
	}
	return known
}

// options translates the options of `docker run` of a role or an accessory.
// owner is its key, such as `servers.web`.
func (im *importer) options(p pair, owner string, accessory bool, out func(...string) []string) {
	known := knownOptions()
	for _, q := range p.value.pairs {
		name := strings.ReplaceAll(q.key, "_", "-")
		key := owner + ".options." + q.key
		if q.value.kind == null {
			continue
		}
		switch {
		case strings.HasPrefix(name, "health-"):
			im.healthOption(key, name, q, out)
		case name == "volume":
			im.addVolumes(key, q.value, out("volumes"))
		case name == "mount":
			im.mounts(key, q, out)
		case name == "stop-timeout":
			im.put(im.seconds(key, q.value), out("stop", "timeout")...)
		case name == "stop-signal":
			im.same(q, out("stop", "signal")...)
		case name == "log-driver":
			im.same(q, out("logging", "driver")...)
		case name == "log-opt":
			im.keyValues(key, q, out("logging", "options"))
		case name == "label":
			im.keyValues(key, q, out("labels"))
		case name == "network" || name == "net":
			im.network(key, q, owner, out)
		case slices.Contains(strings.Fields("detach name rm"), name):
			im.dropped(key, q.at(), "%s", runopt.Elsewhere()[name])
		case known[name] != nil:
			im.option(key, name, known[name], q, owner, accessory, out)
		case runopt.Elsewhere()[name] != "":
			im.lost(Other, key, q.at(), "%s: %s", im.show(q.value), runopt.Elsewhere()[name])
		default:
			im.lost(Other, key, q.at(), "kstep has no such option of docker run: %s", im.show(q.value))
		}
	}
}

func (im *importer) option(key, name string, kind reflect.Type, q pair, owner string, accessory bool, out func(...string) []string) {
	if name == "publish" && !accessory && im.publishes(key, q, owner, out) {
		return
	}
	target := out("options", name)
	switch {
	case kind.Kind() == reflect.Map:
		im.keyValues(key, q, target)
	case kind == reflect.TypeFor[runopt.Texts]():
		l := listOf(q.value)
		for _, item := range many(q.value) {
			if item.kind == scalar {
				l.items = append(l.items, words(im.onHostValue(key, item), item, false))
			}
		}
		if len(l.items) == 0 {
			return
		}
		if q.value.kind == scalar {
			l = l.items[0]
		}
		im.put(l, target...)
	case q.value.kind != scalar:
		im.lost(Other, key, q.at(), "must be one value: %s", im.show(q.value))
	case kind.Kind() == reflect.String:
		im.put(words(im.onHostValue(key, q.value), q.value, false), target...)
	default:
		c := im.copy(key, q.value)
		c.plain = c.plain || kind != reflect.TypeFor[runopt.Size]() // Docker takes "2" for a number.
		im.put(c, target...)
	}
}

var fixedPort = regexp.MustCompile(`:[0-9]+(-[0-9]+)?(/[a-z]+)?$`)

// publishes handles a port of the host, which only one container can have. It
// reports whether the option is done with.
func (im *importer) publishes(key string, q pair, owner string, out func(...string) []string) bool {
	if !slices.ContainsFunc(many(q.value), func(n *node) bool { return fixedPort.MatchString(n.text) }) {
		return false
	}
	name := strings.TrimPrefix(owner, "servers.")
	for _, role := range roles(im.in) {
		if role.key == name && (im.isProxied(role) || name == im.primaryRole()) {
			im.lost(Names, key, q.at(), "the old and the new container cannot both have a port of the host; kstep publishes one for them (proxy.publish): %s", im.show(q.value))
			return true
		}
	}
	im.put(words("after-barrier", q.value, false), out("start")...)
	im.changed(Other, key, q.at(), "the old and the new container cannot both have a port of the host, so the new one starts when the old one has stopped (start: after-barrier)")
	return false
}

func (im *importer) healthOption(key, name string, q pair, out func(...string) []string) {
	switch name {
	case "health-cmd":
		im.put(words(im.value(key, q.value), q.value, false), out("healthcheck", "cmd")...)
	case "health-interval", "health-timeout":
		im.put(im.seconds(key, q.value), out("healthcheck", strings.TrimPrefix(name, "health-"))...)
	case "health-start-period":
		im.put(im.seconds(key, q.value), out("healthcheck", "start_period")...)
	case "health-retries":
		im.number(key, q.value, out("healthcheck", "retries")...)
	default:
		im.lost(Other, key, q.at(), "kstep has no such option: %s", im.show(q.value))
	}
}

// keyValues puts `name=value` texts, or a map, into a map of kstep's.
func (im *importer) keyValues(key string, q pair, out []string) {
	if q.value.kind == mapping {
		im.free(q, nil, out...)
		return
	}
	for _, item := range many(q.value) {
		name, _, ok := strings.Cut(item.text, "=")
		if !ok || item.kind != scalar || mark.MatchString(name) {
			im.lost(Other, key, q.at(), "is not of the form name=value: %s", im.show(item))
			continue
		}
		_, value, _ := strings.Cut(im.value(key, item), "=")
		im.put(words(value, item, false), append(slices.Clip(out), name)...)
	}
}

// mounts translates `type=bind,source=/a,target=/b`.
func (im *importer) mounts(key string, q pair, out func(...string) []string) {
	for _, item := range many(q.value) {
		fields := map[string]string{}
		other := false
		for field := range strings.SplitSeq(item.text, ",") {
			name, value, _ := strings.Cut(field, "=")
			switch name {
			case "type", "source", "target":
				fields[name] = value
			case "src":
				fields["source"] = value
			case "dst", "destination":
				fields["target"] = value
			case "ro", "readonly":
				fields["readonly"] = "true"
				if value == "false" || value == "0" {
					fields["readonly"] = ""
				}
			default:
				other = true
			}
		}
		kind := fields["type"]
		if other || fields["target"] == "" || (kind != "bind" && kind != "volume" && kind != "") || fields["source"] == "" {
			im.lost(Data, key, item, "kstep mounts folders and named volumes only; make the volume with docker volume create, and name it under volumes: %s", im.show(item))
			continue
		}
		text := fields["source"] + ":" + fields["target"]
		if fields["readonly"] != "" {
			text += ":ro"
		}
		im.addVolumes(key, words(text, item, false), out("volumes"))
	}
}

func (im *importer) volumes(p pair, out ...string) { im.addVolumes(keyPath(out...), p.value, out) }

func (im *importer) addVolumes(key string, n *node, out []string) {
	l := im.out.get(out...)
	if l == nil {
		l = listOf(n)
	}
	for _, item := range many(n) {
		if item.kind == scalar && item.text != "" {
			l.items = append(l.items, im.volume(key, item))
		}
	}
	if len(l.items) > 0 {
		im.put(l, out...)
	}
}

var inHome = regexp.MustCompile(`^(~|\$HOME|\$\{HOME\}|\$PWD|\$\{PWD\}|\$\(pwd\)|\.)(/|$)`)

// volume translates a volume. The shell of the host reads Kamal's, so a relative
// source is below the home folder of the SSH user.
func (im *importer) volume(key string, n *node) *node {
	source, rest, found := strings.Cut(n.text, ":")
	if strings.HasPrefix(n.text, "${") || !found {
		if !inHome.MatchString(n.text) {
			return words(im.onHostValue(key, n), n, false)
		}
		source, rest, _ = strings.Cut(n.text, ":/")
		rest = "/" + rest
	}
	relative := ""
	switch at := inHome.FindString(source); {
	case at != "":
		relative = strings.TrimPrefix(source, at)
	case strings.Contains(source, "/") && !strings.HasPrefix(source, "/") && !mark.MatchString(source):
		relative = source
	default:
		return words(im.onHostValue(key, n), n, false)
	}
	folder := strings.TrimSuffix(im.home()+"/"+strings.TrimPrefix(relative, "/"), "/")
	im.changed(Data, key, n, "the folder %s of the host is written as %s; check that this is the home of the SSH user", source, folder)
	return words(folder+":"+im.onHostValue(key, words(rest, n, false)), n, false)
}

// home is the home folder of the SSH user on the hosts.
func (im *importer) home() string {
	user := "root"
	if u := im.in.get("ssh", "user"); u != nil && u.kind == scalar && u.text != "" {
		user = im.value("ssh.user", u)
	}
	switch {
	case strings.Contains(user, "${"):
		return "${SSH_HOME:?the home folder of the SSH user on the hosts}"
	case user == "root":
		return "/root"
	}
	return "/home/" + user
}

// labels copies those that are not Traefik's.
func (im *importer) labels(p pair, out ...string) {
	key := keyPath(out...)
	im.free(p, func(q pair) bool {
		if strings.HasPrefix(strings.ToLower(q.key), "traefik.") {
			if !im.v1 {
				im.lost(Names, key+"."+q.key, q.at(), "routes are kstep's own; use proxy.hosts and proxy.path_prefix: %s", im.show(q.value))
			}
			return false // Of 1.x: see traefikLabels.
		}
		if q.key == "service" || q.key == "role" || q.key == "destination" {
			im.dropped(key+"."+q.key, q.at(), "is a label of Kamal's own")
			return false
		}
		return true
	}, out...)
}
