package kamal

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// shared is what the translations of all destinations have in common.
type shared struct {
	src   *source
	knows func(key ...string) bool
	names map[int]string    // Names of variables for fragments, by number.
	taken map[string]string // The Ruby that a name stands for.
}

// importer translates one merged configuration.
type importer struct {
	*shared
	destination string
	in          *node
	out         *node
	found       collector
	hooks       []File
	v1          bool
	aliases     map[string]string // Secrets that are another one, from the secrets file.
	parts       []networkUse
}

func newImporter(s *shared, destination string, in *node) *importer {
	im := &importer{shared: s, destination: destination, in: in, out: &node{kind: mapping, file: in.file, line: 1}}
	im.v1 = isVersion1(in)
	return im
}

// isVersion1 reports whether a configuration is Kamal's 1.x, or mrsk's. 2.x
// requires builder.arch.
func isVersion1(in *node) bool {
	switch {
	case in.get("proxy") != nil || in.get("builder", "arch") != nil || in.get("aliases") != nil:
		return false
	case in.get("traefik") != nil || in.get("healthcheck") != nil || in.get("builder", "multiarch") != nil || in.get("stop_wait_time") != nil:
		return true
	}
	return !strings.HasPrefix(text(in.get("minimum_version")), "2") && in.get("drain_timeout") == nil && in.get("deploy_timeout") == nil
}

func (im *importer) entry(k Kind, d Danger, key string, n *node, format string, args ...any) {
	e := Entry{Kind: k, Key: im.show(words(key, nil, false)), Text: fmt.Sprintf(format, args...), danger: d, File: im.src.path}
	if n != nil {
		e.File, e.Line = n.file, n.line
	}
	e.Line = max(e.Line, 1) // What is missing has no line.
	im.found.add(e)
}

func (im *importer) lost(d Danger, key string, n *node, format string, args ...any) {
	im.entry(NotImportable, d, key, n, format, args...)
}

func (im *importer) changed(d Danger, key string, n *node, format string, args ...any) {
	im.entry(Changed, d, key, n, format, args...)
}

func (im *importer) dropped(key string, n *node, format string, args ...any) {
	im.entry(Dropped, Other, key, n, format, args...)
}

// at is a node for reports that has the line of the key, not of the value.
func (p pair) at() *node { return &node{file: p.value.file, line: p.line} }

func (im *importer) put(n *node, keys ...string) {
	if n != nil {
		im.out.set(n, keys...)
	}
}

// same copies text, list or map with the same meaning.
func (im *importer) same(p pair, keys ...string) {
	if p.value.kind != null {
		im.put(im.copy(keyPath(keys...), p.value), keys...)
	}
}

func keyPath(keys ...string) string { return strings.Join(keys, ".") }

// translate fills im.out.
func (im *importer) translate() {
	im.readAliases()
	for _, p := range im.in.pairs {
		im.key(p)
	}
	im.proxy()
	im.builder()
	im.timeouts()
	im.dropNetworks()
	im.declareTags()
	im.tasksFromHooks()
	im.secretCommands()
	im.unleak()
	im.order()
}

// key translates one key of the top level. Those that depend on each other have
// a function of their own, which translate calls.
func (im *importer) key(p pair) {
	switch p.key {
	case "service":
		im.service(p)
	case "image":
		if !im.ownRegistry() { // Else it would name one on Docker Hub.
			im.same(p, p.key)
		}
	case "primary_role", "allow_empty_roles", "require_destination":
		im.same(p, p.key)
	case "asset_path":
		im.assetPath(p, "asset_path")
	case "retain_containers":
		im.number("retain_containers", p.value, "retain")
	case "registry":
		im.registry(p)
	case "servers":
		im.servers(p)
	case "env":
		im.env(p, nil, "env")
	case "labels":
		im.labels(p, "labels")
	case "volumes":
		im.volumes(p, "volumes")
	case "logging":
		im.logging(p, "logging")
	case "ssh":
		im.ssh(p)
	case "sshkit":
		im.sshkit(p)
	case "boot":
		im.boot(p)
	case "accessories":
		im.accessories(p)
	case "aliases":
		im.commandAliases(p)
	case "hooks_path":
		im.changed(Other, p.key, p.at(), "the hooks are copied to .kstep/hooks, where kstep looks for them")
	case "error_pages_path":
		im.lost(Other, p.key, p.at(), "kstep serves no error pages of the application's: %s", im.show(p.value))
	case "proxy", "traefik", "healthcheck", "builder", "deploy_timeout", "drain_timeout", "stop_timeout", "stop_wait_time":
	case "minimum_version":
		im.dropped(p.key, p.at(), "is a version of Kamal's: %s", im.show(p.value))
	case "readiness_delay":
		im.changed(Other, p.key, p.at(), "is dropped: %s s; kstep looks at a container without a check for the time of healthcheck.settle (7s)", im.show(p.value))
	case "run_directory", "hooks_output", "secrets_path", "output":
		im.dropped(p.key, p.at(), "%s", whyDropped(p.key))
	default:
		if strings.HasPrefix(p.key, "x-") {
			im.put(im.copy(p.key, p.value), p.key)
			return
		}
		im.lost(Other, p.key, p.at(), "kstep has no such key, and the import does not know its meaning")
	}
}

// service copies the name in lower case, as kstep wants it.
func (im *importer) service(p pair) {
	if p.value.kind != scalar {
		return
	}
	name := im.value("service", p.value)
	if lower := strings.ToLower(name); lower != name && !mark.MatchString(p.value.text) {
		im.changed(Other, "service", p.at(), "%s is written as %s: kstep's names have no capital letters", name, lower)
		name = lower
	}
	im.put(words(name, p.value, false), "service")
}

func whyDropped(key string) string {
	switch key {
	case "run_directory":
		return "kstep keeps its own files on the hosts in .kstep (run_directory)"
	case "secrets_path":
		return "the secrets were read from there; kstep reads them from its environment, .env and secrets.commands"
	case "hooks_output", "output":
		return "kstep shows what hooks print"
	}
	return "has no meaning for kstep"
}

// show is a value for a report, on one line.
func (im *importer) show(n *node) string {
	switch {
	case n == nil || n.kind == null:
		return "(nothing)"
	case n.kind == list:
		all := make([]string, len(n.items))
		for i, item := range n.items {
			all[i] = im.show(item)
		}
		return strings.Join(all, ", ")
	case n.kind == mapping:
		all := make([]string, len(n.pairs))
		for i, p := range n.pairs {
			all[i] = p.key + ": " + im.show(p.value)
		}
		return strings.Join(all, ", ")
	}
	return mark.ReplaceAllStringFunc(n.text, func(m string) string {
		f := im.fragment(fragmentsIn(m)[0])
		if f.expr != nil {
			return f.expr.text()
		}
		return "<%= " + oneLine(f.code) + " %>"
	})
}

func (im *importer) fragment(id int) fragment {
	if id < len(im.src.fragments) {
		return im.src.fragments[id]
	}
	return fragment{code: "?"}
}

// value is a scalar in kstep's notation. Ruby of the plain forms is filled in;
// for other Ruby a variable is named that has to be set.
func (im *importer) value(key string, n *node) string { return im.valueBefore(key, n, false) }

// valueBefore is value for a text that a variable may follow.
func (im *importer) valueBefore(key string, n *node, before bool) string {
	var b strings.Builder
	s := n.text
	for {
		at := mark.FindStringSubmatchIndex(s)
		if at == nil {
			b.WriteString(escape(s, before))
			return b.String()
		}
		b.WriteString(escape(s[:at[0]], true))
		id := fragmentsIn(s[at[0]:at[1]])[0]
		b.WriteString(im.filled(id, key, n))
		s = s[at[1]:]
	}
}

func (im *importer) filled(id int, key string, n *node) string {
	f := im.fragment(id)
	if f.expr != nil {
		return f.expr.text()
	}
	name := im.variable(id, f, key)
	what := "the value of the Ruby " + oneLine(f.code)
	if f.command != "" {
		what = "the output of " + f.command
	}
	im.changed(Names, key, &node{file: f.file, line: f.line}, "Ruby is not executed; set %s to %s", name, what)
	if f.command != "" && changesEachTime(f.command) {
		im.changed(Other, key, n, "%s is different in each run, so no release is ever unchanged", name)
	}
	return "${" + name + ":?" + message(f) + "}"
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func changesEachTime(command string) bool {
	return strings.HasPrefix(strings.TrimSpace(command), "date")
}

// message is what kstep prints where the variable is not set: the Ruby, without
// what would end it.
func message(f fragment) string {
	what := f.code
	if f.command != "" {
		what = f.command
	}
	what = oneLine(strings.NewReplacer("{", "", "}", "", "$", "", "\\", "", `"`, "'", "#", "", ": ", " ").Replace(what))
	what = strings.TrimSuffix(what, ":")
	if what == "" {
		return "what the Ruby in deploy.yml gave"
	}
	return what
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9_]+`)

// variable names the variable for a fragment after its key.
func (im *importer) variable(id int, f fragment, key string) string {
	if name := im.names[id]; name != "" {
		return name
	}
	parts := strings.Split(key, ".")
	for _, place := range []string{"env.clear.", "builder.args."} {
		if strings.Contains(key, place) {
			parts = parts[len(parts)-1:]
		}
	}
	if len(parts) > 2 {
		parts = parts[len(parts)-2:]
	}
	name := strings.Trim(strings.ToUpper(notInName.ReplaceAllString(strings.Join(parts, "_"), "_")), "_")
	if !variableName.MatchString(name) {
		name = "VALUE_" + name
	}
	// A variable that the Ruby reads has another value than the Ruby.
	if slices.Contains(im.src.reads, name) {
		name += "_VALUE"
	}
	unique := name
	for i := 2; im.taken[unique] != "" && im.taken[unique] != f.code; i++ {
		unique = fmt.Sprintf("%s_%d", name, i)
	}
	im.names[id], im.taken[unique] = unique, f.code
	return unique
}

// copy is a value with the same meaning in kstep.
func (im *importer) copy(key string, n *node) *node {
	c := &node{kind: n.kind, plain: n.plain, file: n.file, line: n.line}
	switch n.kind {
	case scalar:
		c.text = im.value(key, n)
		if c.plain && !mark.MatchString(n.text) {
			c.text = typed(n.text)
		}
	case mapping:
		for _, p := range n.pairs {
			if mark.MatchString(p.key) {
				im.lost(Other, key, p.at(), "a key with Ruby in it: kstep fills in values only")
				continue
			}
			c.pairs = append(c.pairs, pair{p.key, p.line, im.copy(key+"."+p.key, p.value)})
		}
	case list:
		for _, item := range n.items {
			c.items = append(c.items, im.copy(key, item))
		}
	}
	return c
}

// number copies a number, also one in quotes.
func (im *importer) number(key string, n *node, out ...string) {
	if n.kind == scalar {
		c := im.copy(key, n)
		c.plain = true
		im.put(c, out...)
	}
}

// constant is a text that does not depend on anything, also one in Ruby.
func (im *importer) constant(n *node) string {
	if id, whole := wholeFragment(n.text); whole {
		f := im.fragment(id)
		switch {
		case f.env != "":
			return f.env
		case len(f.expr) == 1:
			return f.expr[0].literal
		}
	}
	return n.text
}

// typed is a plain scalar as kstep has to see it: booleans and whole numbers as
// Ruby reads them, everything else as it is.
func typed(s string) string {
	if boolForm.MatchString(s) || decimalForm.MatchString(s) || octalForm.MatchString(s) || hexForm.MatchString(s) || binaryForm.MatchString(s) {
		return rubyText(s)
	}
	return s
}

// read is a scalar as text, as Ruby reads and prints it. What differs from what
// stands in the file is reported.
func (im *importer) read(key string, n *node) *node {
	switch {
	case n.kind == null:
		return words("", n, false)
	case n.kind != scalar:
		im.changed(Other, key, n, "is a list or a map, and has to be text: %s", im.show(n))
		return words(im.show(n), n, false)
	case !n.plain || mark.MatchString(n.text):
		return words(im.value(key, n), n, false)
	}
	seen := rubyText(n.text)
	if seen != n.text {
		im.changed(Other, key, n, "%s is %s for Kamal (YAML 1.1), and so it is written; quote it if it is meant as text", n.text, seen)
	}
	return words(escape(seen, false), n, false)
}

// free copies a map of free names to text.
func (im *importer) free(p pair, keep func(pair) bool, keys ...string) {
	for _, q := range p.value.pairs {
		if mark.MatchString(q.key) {
			im.lost(Other, keyPath(keys...), q.at(), "a key with Ruby in it: kstep fills in values only")
			continue
		}
		if keep == nil || keep(q) {
			im.put(im.read(keyPath(append(slices.Clip(keys), q.key)...), q.value), append(slices.Clip(keys), q.key)...)
		}
	}
}

var bareSeconds = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// seconds is a time span with its unit.
func (im *importer) seconds(key string, n *node) *node {
	v := im.value(key, n)
	if !mark.MatchString(n.text) && n.plain {
		v = rubyText(n.text)
	}
	if bareSeconds.MatchString(v) || strings.HasPrefix(v, "${") && strings.HasSuffix(v, "}") {
		v += "s"
	}
	return words(v, n, false)
}

// list copies a list of text; a single text is a list of one.
func (im *importer) list(key string, n *node) *node {
	l := listOf(n)
	for _, item := range many(n) {
		if item.kind == scalar {
			l.items = append(l.items, words(im.value(key, item), item, false))
		}
	}
	if len(l.items) == 0 {
		return nil
	}
	return l
}

// assetPath copies an asset path; Docker's options behind it are left out.
func (im *importer) assetPath(p pair, keys ...string) {
	if p.value.kind != scalar {
		return
	}
	v := im.value(keyPath(keys...), p.value)
	if !mark.MatchString(p.value.text) {
		path, options, with := strings.Cut(v, ":")
		if with {
			v = path
			im.changed(Other, keyPath(keys...), p.at(), "the mount options %s are left out; kstep mounts assets read-only", options)
		}
	}
	im.put(words(v, p.value, false), keys...)
}

// order sorts the keys of the top level as docs/config.md has them.
func (im *importer) order() {
	known := strings.Fields("service image require_destination registry registries servers primary_role allow_empty_roles healthcheck proxy env secrets tasks " +
		"volumes networks labels asset_path logging stop barrier boot cutover builder ssh retain accessories aliases")
	rank := func(key string) int {
		i := slices.Index(known, key)
		if i < 0 {
			return len(known)
		}
		return i
	}
	slices.SortStableFunc(im.out.pairs, func(a, b pair) int { return rank(a.key) - rank(b.key) })
	im.out.pairs = slices.DeleteFunc(im.out.pairs, func(p pair) bool { return p.value.isEmpty() && p.value.kind != scalar })
}
