package config

import (
	"regexp"
	"strconv"
	"strings"
)

// Places in the tree; `*` stands for any one key or index. A test compares
// them with the Go types.
const (
	envPlaces  = "env env_tags.* env.tags.* servers.*.env proxy.env accessories.*.env"
	freePlaces = "labels logging.options healthcheck.headers servers.*.healthcheck.headers proxy.args proxy.labels proxy.headers proxy.redirects builder.args ssh.host_keys " +
		"servers.*.labels servers.*.logging.options servers.*.options.annotation servers.*.options.sysctl servers.*.options.storage-opt " +
		"accessories.*.labels accessories.*.logging.options accessories.*.options.annotation accessories.*.options.sysctl accessories.*.options.storage-opt"
	textPlaces = "barrier.quorum boot.limit cutover.limit minimum_version " +
		"servers.*.options.user servers.*.options.cpuset-cpus servers.*.options.cpuset-mems servers.*.options.gpus " +
		"servers.*.options.group-add servers.*.options.group-add.* servers.*.options.publish servers.*.options.publish.* " +
		"servers.*.options.expose servers.*.options.expose.* " +
		"accessories.*.options.user accessories.*.options.cpuset-cpus accessories.*.options.cpuset-mems accessories.*.options.gpus " +
		"accessories.*.options.group-add accessories.*.options.group-add.* accessories.*.options.publish accessories.*.options.publish.* " +
		"accessories.*.options.expose accessories.*.options.expose.* " +
		"accessories.*.port accessories.*.files.*.mode accessories.*.files.*.owner accessories.*.directories.*.mode accessories.*.directories.*.owner"

	commandPlaces = "tasks.*.cmd servers.*.cmd accessories.*.cmd secrets.commands.* aliases.*"
)

// isEnv reports whether an Env stands at segs.
func isEnv(segs []string) bool { return among(envPlaces, segs) }

// isClear reports whether segs is the value of a clear variable, in the flat or
// the structured form.
func isClear(segs []string) bool {
	n := len(segs)
	if n < 2 {
		return false
	}
	if segs[n-2] == "clear" && isEnv(segs[:n-2]) {
		return true
	}
	return isEnv(segs[:n-1])
}

// isText reports whether a scalar at segs is text, even if it looks like a
// number.
func isText(segs []string) bool {
	return len(segs) > 0 && (isClear(segs) || among(freePlaces, segs[:len(segs)-1]) || among(textPlaces, segs))
}

func among(places string, segs []string) bool {
	for place := range strings.SplitSeq(places, " ") {
		if matches(place, segs) {
			return true
		}
	}
	return false
}

func matches(place string, segs []string) bool {
	i := 0
	for want := range strings.SplitSeq(place, ".") {
		if i == len(segs) || want != "*" && want != segs[i] {
			return false
		}
		i++
	}
	return i == len(segs)
}

// isStructured reports whether an Env has the structured form.
func isStructured(env *node) bool { return env.has("clear", "secret", "tags") }

var simpleKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

func keyPath(parent, key string) string {
	switch {
	case !simpleKey.MatchString(key):
		return parent + "[" + strconv.Quote(key) + "]"
	case parent == "":
		return key
	default:
		return parent + "." + key
	}
}

// setPaths writes into every node what a person calls it.
func (n *node) setPaths(path string) {
	n.path = path
	for i := range n.pairs {
		p := &n.pairs[i]
		p.path = keyPath(path, p.key)
		p.value.setPaths(p.path)
	}
	for i, item := range n.items {
		item.setPaths(path + "[" + strconv.Itoa(i) + "]")
	}
}

// spot is where to point for segs, and what to call it: the node itself, or
// the nearest one around it if it was left out. With onKey it is the key.
func (n *node) spot(segs []string, onKey bool) (at position, path string) {
	at, path = n.at, n.path
	for i, seg := range segs {
		var next *node
		switch n.kind {
		case mapping:
			for _, p := range n.pairs {
				if p.key == seg {
					next = p.value
					at, path = next.at, p.path
					if onKey && i == len(segs)-1 || next.kind != scalar {
						// A block begins on the line after its key; the key
						// is what the eye looks for.
						at = p.at
					}
				}
			}
		case list:
			if k, err := strconv.Atoi(seg); err == nil && k < len(n.items) {
				next = n.items[k]
				at, path = next.at, next.path
			}
		}
		if next == nil {
			for _, missing := range segs[i:] {
				path = keyPath(path, missing)
			}
			return at, path
		}
		n = next
	}
	return at, path
}
