package kamal

import (
	"regexp"
	"slices"
	"strings"
)

var filledName = regexp.MustCompile(`\$?\$\{([A-Za-z_][A-Za-z0-9_]*)`)

// unleak renames variables that have the name of a secret, where kstep fills in
// no secrets: everywhere but in clear variables.
func (im *importer) unleak() {
	im.plainUsername()
	secret := im.usedSecrets()
	im.eachValue(im.out, nil, func(n *node) {
		n.text = filledName.ReplaceAllStringFunc(n.text, func(m string) string {
			name := strings.TrimLeft(m, "${")
			if strings.HasPrefix(m, "$$") || !slices.Contains(secret, name) {
				return m
			}
			im.changed(Other, "variables."+name, n, "kstep fills the secret %s into clear variables only; set %s_VALUE to the same value", name, name)
			return m + "_VALUE"
		})
	})
}

// plainUsername writes the user name of the registry as a variable where the
// same variable is needed elsewhere, such as in the name of the image.
func (im *importer) plainUsername() {
	user := im.out.get("registry", "username")
	if user == nil || user.kind != list || len(user.items) != 1 {
		return
	}
	name := user.items[0].text
	used := false
	im.eachValue(im.out, nil, func(n *node) { used = used || strings.Contains(n.text, "${"+name+"}") })
	names := user.items
	user.items = nil
	elsewhere := slices.Contains(im.usedSecrets(), name)
	user.items = names
	if used && !elsewhere {
		im.out.set(words("${"+name+"}", user, false), "registry", "username")
	}
}

// eachValue visits every scalar that is no clear variable.
func (im *importer) eachValue(n *node, path []string, visit func(*node)) {
	switch n.kind {
	case scalar:
		visit(n)
	case list:
		for _, item := range n.items {
			im.eachValue(item, path, visit)
		}
	case mapping:
		for _, p := range n.pairs {
			if p.key == "clear" || len(path) == 0 && strings.HasPrefix(p.key, "x-") {
				continue
			}
			im.eachValue(p.value, append(slices.Clip(path), p.key), visit)
		}
	}
}
