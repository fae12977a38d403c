package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/invopop/jsonschema"
)

// docsHead is what the keys alone do not say.
const docsHead = `# kstep.yml

<!-- Made by schema/gen from the comments in internal/config; run make generate. -->

kstep reads ` + "`kstep.yml`" + ` from the current folder. ` + "`kstep init`" + ` writes one, ` + "`kstep config validate`" + `
checks it, ` + "`kstep config show`" + ` prints what it amounts to, and ` + "`kstep schema config`" + ` prints the
JSON Schema that this page is made from. With this first line editors complete and check the
file while you type:

` + "```yaml" + `
# yaml-language-server: $schema=` + configID + `
` + "```" + `

**Destinations.** With ` + "`-d staging`" + `, ` + "`kstep.staging.yml`" + ` is merged over ` + "`kstep.yml`" + `: maps key by key,
lists and single values are replaced, and a key without a value (` + "`asset_path:`" + ` or ` + "`asset_path: ~`" + `) is
taken away.

**Variables.** ` + "`${VAR}`" + ` in a value is filled in from the environment of the machine that runs kstep.
` + "`${VAR:-default}`" + ` has a default, ` + "`${VAR:?message}`" + ` an error message of its own, ` + "`$$`" + ` is a dollar sign.
A variable that is named as a secret anywhere in the file may be filled in only under ` + "`env`" + `.
` + "`kstep config validate`" + ` lists all variables that are filled in elsewhere, with file, line and key: what they
hold can be seen in labels, state files and ` + "`kstep config show`" + `. So declare each secret under ` + "`env.secret`" + `.

**Values.** YAML 1.2: only ` + "`true`" + ` and ` + "`false`" + ` are booleans, and numbers are decimal. Variables, labels
and options may be written without quotes and arrive exactly as written. A time span is ` + "`300ms`" + `,
` + "`5s`" + `, ` + "`1h30m`" + ` or a number of seconds. Keys that begin with ` + "`x-`" + ` at the top level are for YAML anchors
and other tools; kstep skips them.
`

// configDocs renders the reference from the schema.
func configDocs(s *jsonschema.Schema) []byte {
	d := &docs{defs: s.Definitions, paths: map[string]string{}}
	d.WriteString(docsHead)
	sections := d.sections(s)
	d.section("", "Top level", s)
	for _, sec := range sections {
		d.section(sec.path, "`"+sec.path+"`", sec.schema)
	}
	return d.Bytes()
}

type docs struct {
	bytes.Buffer
	defs  jsonschema.Definitions
	paths map[string]string // Of the sections, by definition.
}

type section struct {
	path   string
	schema *jsonschema.Schema
}

// sections are all maps with fixed keys below s, each under the shortest path
// that leads to it; d.paths remembers that.
func (d *docs) sections(s *jsonschema.Schema) []section {
	var all []section
	queue := []section{{"", s}}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		for p := next.schema.Properties.Oldest(); p != nil; p = p.Next() {
			name, def, suffix := d.target(p.Value)
			if def == nil || d.paths[name] != "" {
				continue
			}
			at := strings.TrimPrefix(next.path+"."+p.Key, ".") + suffix
			d.paths[name] = at
			all = append(all, section{at, def})
			queue = append(queue, section{at, def})
		}
	}
	return all
}

// target is the definition with keys that a property leads to.
func (d *docs) target(s *jsonschema.Schema) (name string, def *jsonschema.Schema, suffix string) {
	name = strings.TrimPrefix(s.Ref, "#/$defs/")
	switch name {
	case "Servers":
		return "Role", d.defs["Role"], ".<role>"
	case "Tasks":
		return "Task", d.defs["Task"], ".<task>"
	case "Accessories":
		return "Accessory", d.defs["Accessory"], ".<accessory>"
	case "Env":
		return "Env", d.defs["Env"].AnyOf[0], ""
	case "TLS":
		return "HTTPS", d.defs["HTTPS"], ""
	}
	if s.AdditionalProperties != nil { // Of a map to maps.
		inner := strings.TrimPrefix(s.AdditionalProperties.Ref, "#/$defs/")
		if def := d.defs[inner]; def != nil && def.Properties != nil && def.Properties.Len() > 0 {
			return inner, def, ".<path>"
		}
	}
	if def := d.defs[name]; def != nil && def.Properties != nil && def.Properties.Len() > 0 {
		return name, def, ""
	}
	return "", nil, ""
}

func (d *docs) section(path, title string, s *jsonschema.Schema) {
	fmt.Fprintf(d, "\n## %s\n\n", title)
	if s.Description != "" && path != "" {
		fmt.Fprintf(d, "%s\n\n", s.Description)
	}
	d.WriteString("| key | form | default | |\n|---|---|---|---|\n")
	var example bytes.Buffer
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		if p.Value.Not != nil { // Only there to say where it belongs.
			continue
		}
		d.row(s, p.Key, p.Value)
		for i, e := range p.Value.Examples {
			entry := blockYAML(map[string]any{p.Key: e})
			if i > 0 {
				entry = "# or\n# " + strings.ReplaceAll(strings.TrimSuffix(entry, "\n"), "\n", "\n# ") + "\n"
			}
			example.WriteString(entry)
		}
	}
	if example.Len() == 0 {
		return
	}
	text := strings.TrimSuffix(example.String(), "\n")
	for key := range strings.SplitSeq(reversed(path), ".") {
		if key == "" {
			continue
		}
		text = strings.NewReplacer("<role>", "web", "<task>", "migrate", "<accessory>", "db", "<path>", "/app/public/assets").Replace(key) + ":\n  " + strings.ReplaceAll(text, "\n", "\n  ")
	}
	fmt.Fprintf(d, "\n```yaml\n%s\n```\n", text)
}

func reversed(path string) string {
	parts := strings.Split(path, ".")
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return strings.Join(parts, ".")
}

func (d *docs) row(in *jsonschema.Schema, key string, s *jsonschema.Schema) {
	def := ""
	if s.Default != nil {
		def = "`" + flowYAML(s.Default) + "`"
	}
	for _, r := range in.Required {
		if r == key {
			def = "required"
		}
	}
	description := s.Description
	if description == "" {
		description = d.defs[strings.TrimPrefix(s.Ref, "#/$defs/")].Description
	}
	fmt.Fprintf(d, "| `%s` | %s | %s | %s |\n", key, d.form(s), def, strings.ReplaceAll(description, "|", `\|`))
}

// anchor is the link to a section.
func anchor(path string) string { return strings.NewReplacer(".", "", "<", "", ">", "").Replace(path) }

// form says in a few words what may be written.
func (d *docs) form(s *jsonschema.Schema) string {
	switch name := strings.TrimPrefix(s.Ref, "#/$defs/"); name {
	case "":
	case "Duration":
		return "time span"
	case "Size":
		return "size"
	case "Servers":
		return "list of hosts, or map of [roles](#serversrole)"
	case "Tasks":
		return "map of [tasks](#taskstask)"
	case "Accessories":
		return "map of [accessories](#accessoriesaccessory)"
	case "Registries":
		return "list of [registries](#registry) with `server`, or map of them by server"
	case "Mounted":
		return "`local:remote[:ro]`, or map with `local`, `remote`, `mode`, `owner`, `options`"
	case "HostName":
		return "host"
	case "Host":
		return "host, or `host: tag`, or `host: [tags]`"
	case "Env", "PlainEnv":
		return "[environment](#env)"
	case "SecretName":
		return "name of a secret"
	case "SecretOrValue":
		return "text, or list of one secret's name"
	case "Publish":
		return "port, `address:port`, `true`, `false`, or map with `http` and `https`"
	case "Middlewares":
		return "map of a name to Traefik's settings"
	case "TLS":
		path := d.paths["HTTPS"]
		return "`true`, `false`, or map: [" + path + "](#" + anchor(path) + ")"
	case "Statuses":
		return "status, range, or list of them"
	case "SSHConfig":
		return "`false`, text or list of text"
	case "EnvVars":
		return "map of text"
	case "Command", "HealthCommand", "Texts":
		return "text or list of text"
	default:
		path := d.paths[name]
		return "map: [" + path + "](#" + anchor(path) + ")"
	}
	switch {
	case len(s.Enum) > 0:
		var all []string
		for _, e := range s.Enum {
			all = append(all, fmt.Sprintf("`%v`", e))
		}
		return strings.Join(all, " or ")
	case len(s.AnyOf) > 0:
		return "number or text"
	case s.Type == "array":
		return "list of " + strings.Replace(d.form(s.Items), "name of a secret", "names of secrets", 1)
	case s.Type == "object" && s.AdditionalProperties != nil && strings.HasSuffix(s.AdditionalProperties.Ref, "PlainEnv"):
		return "map of tag to [environment](#env)"
	case len(s.PatternProperties) == 1 && s.PatternProperties[secretPattern] != nil:
		return "map of a secret's name to text or list of text"
	case s.Type == "object" && s.AdditionalProperties != nil && d.paths[strings.TrimPrefix(s.AdditionalProperties.Ref, "#/$defs/")] != "":
		return "map of [rules](#" + anchor(d.paths[strings.TrimPrefix(s.AdditionalProperties.Ref, "#/$defs/")]) + ")"
	case s.Type == "object":
		return "map of text"
	case s.Type == "boolean":
		return "`true` or `false`"
	case s.Type == "integer":
		return "whole number"
	case s.Type == "number":
		return "number"
	default:
		return "text"
	}
}
