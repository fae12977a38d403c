package kamal

import (
	"path"
	"slices"
	"strings"
)

// builder translates how the image is built.
func (im *importer) builder() {
	b := im.in.get("builder")
	im.platforms(b)
	if b == nil || b.kind != mapping {
		return
	}
	for _, p := range b.pairs {
		key := "builder." + p.key
		if p.value.kind == null {
			continue
		}
		switch p.key {
		case "arch", "multiarch", "dockerfile":
		case "context", "target":
			im.put(words(im.value(key, orEmpty(p.value)), p.value, false), "builder", p.key)
		case "ssh": // Kamal's shell fills in the agent's socket, which is the default.
			agent := strings.TrimSuffix(strings.TrimSuffix(im.value(key, orEmpty(p.value)), "=$SSH_AUTH_SOCK"), "=$${SSH_AUTH_SOCK}")
			im.put(words(agent, p.value, false), "builder", "ssh")
		case "args":
			im.free(p, nil, "builder", "args")
		case "secrets":
			im.buildSecrets(p)
		case "cache":
			im.cache(p)
		case "remote":
			if !isFalse(p.value) {
				im.lost(Other, key, p.at(), "kstep builds with the engine of the machine that runs it; make a buildx builder or a docker context for %s, and select it with BUILDX_BUILDER or DOCKER_CONTEXT", im.show(p.value))
			}
		case "local", "driver", "provenance", "sbom", "git_clone":
			im.dropped(key, p.at(), "kstep has no such setting: %s", im.show(p.value))
		default:
			im.lost(Other, key, p.at(), "kstep has no such key: %s", im.show(p.value))
		}
	}
	im.dockerfile(b)
}

// platforms are what the image is built for.
func (im *importer) platforms(b *node) {
	var arches []*node
	switch {
	case !im.v1:
		arches = many(b.get("arch"))
	case b.get("local") != nil || b.get("remote") != nil:
		for _, key := range []string{"local", "remote"} {
			if arch := b.get(key, "arch"); arch != nil {
				arches = append(arches, arch)
			}
		}
	case isFalse(b.get("multiarch")):
	default:
		im.put(texts(b, "linux/amd64", "linux/arm64"), "builder", "platforms")
		return
	}
	l := listOf(b)
	for _, arch := range arches {
		v := im.value("builder.arch", arch)
		if !strings.Contains(v, "/") || strings.HasPrefix(v, "arm/") {
			v = "linux/" + v
		}
		if v != "linux/" && !slices.ContainsFunc(l.items, func(n *node) bool { return n.text == v }) {
			l.items = append(l.items, words(v, arch, false))
		}
	}
	if len(l.items) > 0 {
		im.put(l, "builder", "platforms")
	}
}

// dockerfile is relative to the project for Kamal, to the context for kstep.
func (im *importer) dockerfile(b *node) {
	n := b.get("dockerfile")
	if n == nil || n.kind != scalar {
		return
	}
	file, context := im.value("builder.dockerfile", n), text(im.out.get("builder", "context"))
	folder := path.Clean(context)
	if context == "" || folder == "." || strings.Contains(context, "://") || strings.Contains(context+file, "${") {
		im.put(words(file, n, false), "builder", "dockerfile")
		return
	}
	below, inside := strings.CutPrefix(path.Clean(file), folder+"/")
	if !inside {
		im.lost(Other, "builder.dockerfile", n, "%s is outside of the context %s, where kstep looks for it; move it there", file, context)
		below = path.Base(file)
	} else {
		im.changed(Other, "builder.dockerfile", n, "%s is written as %s: kstep looks for it below the context", file, below)
	}
	im.put(words(below, n, false), "builder", "dockerfile")
}

// buildSecrets copies the names. One that the secrets file takes from another
// name needs a command, because its id is its name.
func (im *importer) buildSecrets(p pair) {
	l := listOf(p.value)
	for _, n := range many(p.value) {
		if n.kind != scalar || !variableName.MatchString(n.text) {
			im.lost(Other, "builder.secrets", n, "is not the name of a secret: %s", im.show(n))
			continue
		}
		if source := im.aliased(n.text); source != n.text {
			im.put(texts(n, "printenv", source), "secrets", "commands", n.text)
			im.changed(Other, "builder.secrets", n, "%s is taken from the variable %s by secrets.commands", n.text, source)
		}
		l.items = append(l.items, words(n.text, n, false))
	}
	if len(l.items) > 0 {
		im.put(l, "builder", "secrets")
	}
}

func (im *importer) cache(p pair) {
	kind := text(p.value.get("type"))
	options := ""
	if n := p.value.get("options"); n != nil && n.kind == scalar {
		options = "," + im.value("builder.cache.options", n)
	}
	var from string
	switch kind {
	case "gha":
		from = "type=gha"
	case "registry":
		if im.ownRegistry() {
			im.lost(Other, "builder.cache", p.at(), "is in a registry that Kamal runs itself; name one, or use type=gha or type=local")
			return
		}
		ref := im.value("image", orEmpty(im.in.get("image"))) + "-build-cache"
		if n := p.value.get("image"); n != nil && n.kind == scalar && n.text != "" {
			ref = im.value("builder.cache.image", n)
		}
		if server := text(im.out.get("registry", "server")); server != "" {
			ref = server + "/" + ref
		}
		from = "type=registry,ref=" + ref
	default:
		im.lost(Other, "builder.cache", p.at(), "is a cache of an unknown type: %s", im.show(p.value))
		return
	}
	im.put(texts(p.value, from), "builder", "cache", "from")
	im.put(texts(p.value, from+options), "builder", "cache", "to")
}

func orEmpty(n *node) *node {
	if n == nil || n.kind != scalar {
		return &node{kind: scalar}
	}
	return n
}
