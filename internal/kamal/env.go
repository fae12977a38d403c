package kamal

import (
	"regexp"
	"slices"
	"strings"
)

// partsOf takes an environment of Kamal's apart. A flat one is all clear.
func partsOf(env *node) (clear, secret, tags *node) {
	if env == nil || env.kind != mapping {
		return nil, nil, nil
	}
	clear, secret, tags = env.get("clear"), env.get("secret"), env.get("tags")
	if clear == nil && secret == nil && tags == nil {
		clear = env
	}
	return clear, secret, tags
}

// env translates an environment. A secret whose name is also clear, here or in
// an outer environment, is clear for Kamal.
func (im *importer) env(p pair, outer map[string]bool, keys ...string) {
	key := keyPath(keys...)
	clear, secret, tags := partsOf(p.value)
	below := func(more ...string) []string { return append(slices.Clip(keys), more...) }
	own := names(p.value)
	if clear != nil {
		for _, v := range clear.pairs {
			if clear != p.value || !slices.Contains([]string{"clear", "secret", "tags"}, v.key) {
				im.clearValue(v, key, below("clear", v.key)...)
			}
		}
	}
	if clear != p.value {
		for _, q := range p.value.pairs {
			if !slices.Contains([]string{"clear", "secret", "tags"}, q.key) {
				im.lost(Other, key+"."+q.key, q.at(), "stands beside clear, secret and tags, where Kamal refuses it; put it under clear")
			}
		}
	}
	var secrets []*node
	seen := map[string]bool{}
	for _, n := range many(secret) {
		if n.kind != scalar || n.text == "" {
			continue
		}
		name, source, entry := im.secretEntry(n)
		at := key + ".secret"
		switch {
		case !secretForm.MatchString(entry):
			im.lost(Other, at, n, "is not the name of a secret: %s", im.show(n))
			continue
		case own[name] || outer[name]:
			im.changed(Other, at, n, "%s is clear, too; Kamal uses the clear value, so only that is imported", name)
			continue
		case seen[name]:
			im.changed(Other, at, n, "%s is listed twice; it is imported once", name)
			continue
		}
		seen[name] = true
		if im.src.isConditional(n) {
			im.changed(Other, at, n, "%s stands under a condition; in kstep the variable is always there, and may be empty (secrets.allow_empty)", name)
			im.allowEmpty(source, n)
		}
		secrets = append(secrets, words(entry, n, false))
	}
	if len(secrets) > 0 {
		im.put(listOf(secret, secrets...), below("secret")...)
	}
	if tags != nil {
		for _, tag := range tags.pairs {
			if mark.MatchString(tag.key) {
				im.lost(Other, key+".tags", tag.at(), "the name of a tag is Ruby; kstep fills in values only")
				continue
			}
			im.env(tag, own, below("tags", tag.key)...)
			if im.out.get(below("tags", tag.key)...) == nil {
				im.put(&node{kind: mapping, file: tag.value.file, line: tag.line}, below("tags", tag.key)...)
			}
		}
	}
}

var secretForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_]*)?$`)

// secretEntry is an entry of `secret`: the variable, the secret that its value
// comes from, and both in kstep's notation.
func (im *importer) secretEntry(n *node) (name, source, entry string) {
	name, source, renamed := strings.Cut(im.constant(n), ":")
	if !renamed {
		source = name
	}
	if source = im.aliased(source); source != name {
		return name, source, name + ":" + source
	}
	return name, source, name
}

func (im *importer) allowEmpty(name string, n *node) {
	l := im.out.get("secrets", "allow_empty")
	if l == nil {
		l = listOf(n)
		im.put(l, "secrets", "allow_empty")
	}
	if !slices.ContainsFunc(l.items, func(o *node) bool { return o.text == name }) {
		l.items = append(l.items, words(name, n, false))
	}
}

var (
	onHost     = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^{}$]*)?\}`)
	isPassword = regexp.MustCompile(`(?i)(PASS|PASSWORD|SECRET|TOKEN|API_KEY|PRIVATE_KEY)`)
)

// clearValue translates a clear variable.
func (im *importer) clearValue(v pair, env string, out ...string) {
	key := env + ".clear." + v.key
	n := v.value
	switch {
	case mark.MatchString(v.key):
		im.lost(Other, env, v.at(), "the name of a variable is Ruby; kstep fills in values only")
		return
	case n.kind == null:
		im.changed(Other, key, v.at(), "has no value: Kamal passes the host's own variable of that name, kstep sets it to nothing")
		im.put(words("", v.at(), false), out...)
		return
	case n.kind != scalar || n.plain && !mark.MatchString(n.text) && !onHost.MatchString(n.text):
		im.put(im.read(key, n), out...)
		return
	}
	for _, id := range fragmentsIn(n.text) {
		if f := im.fragment(id); f.env != "" && isPassword.MatchString(f.env) {
			im.changed(Other, key, v.at(), "has the secret %s in a clear value", f.env)
		}
	}
	text := im.onHostValue(key, n)
	if id, whole := wholeFragment(n.text); whole && len(im.fragment(id).expr) == 1 {
		if p := im.fragment(id).expr[0]; p.name != "" && p.other == nil && strings.HasPrefix(im.fragment(id).code, "ENV[") {
			text = "${" + p.name + ":-}"
		}
	}
	im.put(words(text, n, false), out...)
}

// onHostValue is a value in which Kamal leaves `${NAME}` for the shell of the
// host. kstep has no such shell: the variable is filled in on this machine.
func (im *importer) onHostValue(key string, n *node) string {
	if !onHost.MatchString(n.text) {
		return im.value(key, n)
	}
	var b strings.Builder
	s := n.text
	for {
		at := onHost.FindStringSubmatchIndex(s)
		if at == nil {
			b.WriteString(im.value(key, words(s, n, false)))
			return b.String()
		}
		b.WriteString(im.valueBefore(key, words(s[:at[0]], n, false), true))
		name, other := s[at[2]:at[3]], ":?a variable of the hosts in Kamal, of this machine in kstep"
		if at[4] >= 0 {
			other = s[at[4]:at[5]]
		}
		im.changed(Data, key, n, "Kamal fills in ${%s} on the host, kstep on the machine that runs it; set it there, or write its value", name)
		b.WriteString("${" + name + other + "}")
		s = s[at[1]:]
	}
}
