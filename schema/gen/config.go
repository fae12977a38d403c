package main

import (
	"maps"
	"reflect"

	"github.com/invopop/jsonschema"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/runopt"
)

const configID = "https://kstep.dev/schema/v1/config.schema.json"

// configSchema reflects the types of kstep.yml.
func configSchema() (*jsonschema.Schema, error) {
	r, err := newReflector("internal/config")
	if err != nil {
		return nil, err
	}
	if err := comments(r, "internal/runopt"); err != nil {
		return nil, err
	}
	r.Mapper = union
	s := r.Reflect(config.Config{})
	s.ID = configID
	s.Title = "kstep.yml"
	// Top-level x- keys are for YAML anchors and for other tools.
	s.PatternProperties = map[string]*jsonschema.Schema{"^x-": jsonschema.TrueSchema}

	for name, value := range map[string]any{"Role": config.Role{}, "Task": config.Task{}, "Accessory": config.Accessory{}, "HTTPS": config.HTTPS{}} {
		def := r.Reflect(value) // Behind a union, so not reached from Config.
		maps.Copy(s.Definitions, def.Definitions)
		def.Version, def.Definitions = "", nil
		s.Definitions[name] = def
	}
	for name, def := range unions() {
		def.Description = tidy(r.CommentMap[module+"/internal/config."+name], name)
		s.Definitions[name] = def
	}
	all := map[string]reflect.Type{}
	types(reflect.TypeFor[config.Config](), all)
	complete(s, all["Config"])
	for name, def := range s.Definitions {
		if t, ok := all[name]; ok {
			complete(def, t)
		}
	}
	refine(s)
	addExamples(s)
	return s, nil
}

// union refers to the types that may be written in several ways; unions
// describes them. The types themselves do not know the generator.
func union(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[config.Duration](), reflect.TypeFor[config.SecretOrValue](),
		reflect.TypeFor[config.Servers](), reflect.TypeFor[config.Tasks](), reflect.TypeFor[config.Accessories](), reflect.TypeFor[config.Registries](), reflect.TypeFor[config.Mounted](), reflect.TypeFor[config.Host](), reflect.TypeFor[config.Env](),
		reflect.TypeFor[config.Command](), reflect.TypeFor[config.HealthCommand](),
		reflect.TypeFor[config.Publish](), reflect.TypeFor[config.TLS](), reflect.TypeFor[config.Middlewares](), reflect.TypeFor[config.Statuses](), reflect.TypeFor[config.SSHConfig](), reflect.TypeFor[config.Texts](),
		reflect.TypeFor[runopt.Texts](), reflect.TypeFor[runopt.Size]():
		return ref(t.Name())
	case reflect.TypeFor[map[string]config.Env]():
		return mapOf(nil, ref("PlainEnv"))
	case reflect.TypeFor[map[string]string]():
		return mapOf(nil, plainValue())
	case reflect.TypeFor[map[string]config.Command]():
		return mapOf(nil, ref("Command"))
	}
	return nil
}

// plainValue is text; kstep takes numbers and booleans as they are written.
func plainValue() *jsonschema.Schema {
	return &jsonschema.Schema{Extras: map[string]any{"type": []string{"string", "number", "boolean"}}}
}

func unions() map[string]*jsonschema.Schema {
	secretName := text(secretPattern, "must be the name of a secret: letters, digits and _")
	span := text(config.DurationPattern, "must be a time span such as 300ms, 5s, 2m or 1h30m")
	span.MinLength = new(uint64(1))
	status := text(config.StatusPattern, "must be a status such as 200, or a range such as 200-299")
	code := &jsonschema.Schema{Type: "integer", Minimum: "200", Maximum: "599"}
	port := &jsonschema.Schema{Type: "integer", Minimum: "1", Maximum: "65535"}
	listen := text(config.ListenPattern, "must be a port such as 80, or an address of the host with one such as 127.0.0.1:8080")
	return map[string]*jsonschema.Schema{
		"Duration":      anyOf(span, &jsonschema.Schema{Type: "number", Minimum: "0", Maximum: "100000000"}),
		"SecretName":    secretName,
		"SecretOrValue": anyOf(required(text("", "")), &jsonschema.Schema{Type: "array", Items: ref("SecretName"), MinItems: new(uint64(1)), MaxItems: new(uint64(1))}),
		"Servers": anyOf(nonEmpty(listOf(ref("Host"))), mapOf(
			text(namePattern, "a role's name has lower-case letters, digits, - and _, and at most 63 of them"),
			anyOf(ref("Role"), listOf(ref("Host"))))),
		"Tasks": mapOf(
			text(namePattern, "a task's name has lower-case letters, digits, - and _, and at most 63 of them"), ref("Task")),
		"Accessories": mapOf(
			text(namePattern, "an accessory's name has lower-case letters, digits, - and _, and at most 63 of them"), ref("Accessory")),
		"Registries": anyOf(nonEmpty(listOf(ref("Registry"))), mapOf(text(serverPattern, serverMessage), ref("Registry"))),
		"Mounted":    mounted(),
		"Size": anyOf(text(runopt.SizePattern, "must be a size such as 512m or 1.5g, or a number of bytes"),
			&jsonschema.Schema{Type: "integer", Minimum: "-1"}),
		"Host":          anyOf(ref("HostName"), hostWithTags()),
		"HostName":      hostName(),
		"Env":           env(true),
		"PlainEnv":      env(false),
		"EnvVars":       mapOf(variableName(), plainValue()),
		"Command":       anyOf(required(text("", "")), nonEmpty(listOf(&jsonschema.Schema{Type: "string"}))),
		"HealthCommand": anyOf(required(text("", "")), nonEmpty(listOf(required(text("", ""))))),
		"Statuses":      anyOf(status, code, nonEmpty(listOf(anyOf(status, code)))),
		"Publish":       anyOf(port, listen, &jsonschema.Schema{Type: "boolean"}, published()),
		"Listen":        anyOf(port, listen, &jsonschema.Schema{Const: false}),
		"Middlewares": mapOf(text(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`, "a middleware's name has letters, digits, - and _"),
			&jsonschema.Schema{Type: "object", MinProperties: new(uint64(1)), MaxProperties: new(uint64(1))}),
		"TLS":       anyOf(&jsonschema.Schema{Type: "boolean"}, ref("HTTPS")),
		"SSHConfig": anyOf(&jsonschema.Schema{Const: false}, required(text("", "")), listOf(required(text("", "")))),
		"Texts":     anyOf(required(text("", "")), listOf(required(text("", "")))),
	}
}

// published are the proxy's ports as a map.
func published() *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
	for _, p := range []struct{ key, description string }{
		{"http", "The port for HTTP, or `false`."},
		{"https", "The port for HTTPS, or `false`."},
	} {
		one := ref("Listen")
		one.Description = p.description
		s.Properties.Set(p.key, one)
	}
	return s
}

// mounted is a file or folder of an accessory, in one line or as a map.
func mounted() *jsonschema.Schema {
	line := text(`^[^:]+:/[^:]*(:(ro|rw))?$`, "must be local:remote or local:remote:ro; remote is an absolute path in the container")
	s := &jsonschema.Schema{
		Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema,
		Required: []string{"local", "remote"},
	}
	for _, p := range []struct {
		key, description string
		value            *jsonschema.Schema
	}{
		{"local", "Where it comes from: a file of this machine, or a folder of the host.", required(text(`^[^:]+$`, "must be a path without a colon"))},
		{"remote", "Its absolute path in the container.", text(`^/[^:]*[^:/]/*$`, "must be an absolute path in the container")},
		{"mode", "Its permissions, in octal digits.", octal()},
		{"owner", "The user and group that own it, as numbers.", text(`^[0-9]{1,9}(:[0-9]{1,9})?$`, "must be numbers such as 999 or 999:999")},
		{"options", "`ro` for one that the container may not change.", &jsonschema.Schema{Type: "string", Enum: arr{"ro", "rw"}}},
	} {
		p.value.Description = p.description
		s.Properties.Set(p.key, p.value)
	}
	return anyOf(line, s)
}

func octal() *jsonschema.Schema {
	return text(`^0?[0-7]{3}$`, "must be permissions in octal digits, such as 0640")
}

const (
	namePattern   = `^[a-z0-9][a-z0-9_-]{0,62}$`
	serverPattern = `^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9._/-]+)?$`
	serverMessage = "must be a host such as ghcr.io or registry:5000, without https://"
)

const secretPattern = `^[A-Za-z_][A-Za-z0-9_]*$`

const hostPattern = `^([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_:\[][A-Za-z0-9_.:%\[\]-]*$`

func hostName() *jsonschema.Schema {
	return text(hostPattern, "must be a host name or address, with user@ before it and :port after it where needed")
}

func hostWithTags() *jsonschema.Schema {
	tag := text(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`, "a tag has letters, digits, ., - and _")
	s := mapOf(hostName(), anyOf(tag, listOf(tag)))
	s.MinProperties, s.MaxProperties = new(uint64(1)), new(uint64(1))
	return s
}

func variableName() *jsonschema.Schema {
	return text(`^[A-Za-z_][A-Za-z0-9_.-]*$`, "must be the name of a variable: letters, digits, _, . and -")
}

// env is an environment, flat or structured.
func env(tags bool) *jsonschema.Schema {
	s := &jsonschema.Schema{
		Type:                 "object",
		Properties:           jsonschema.NewProperties(),
		AdditionalProperties: jsonschema.FalseSchema,
	}
	clear := ref("EnvVars")
	clear.Description = "Values written in this file as they are."
	clear.Examples = arr{obj{"PORT": 3000}}
	s.Properties.Set("clear", clear)
	secret := listOf(text(`^[A-Za-z_][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_]*)?$`,
		"must be the name of a secret, or VARIABLE:SECRET"))
	secret.Description = "Names whose values come from the machine that runs `kstep env-push`; `NAME:SECRET` reads SECRET and sets NAME."
	secret.Examples = arr{arr{"SECRET_KEY", "DATABASE_URL:SHOP_DATABASE_URL"}}
	s.Properties.Set("secret", secret)
	if tags {
		byTag := mapOf(nil, ref("PlainEnv"))
		byTag.Description = "Environments for hosts that carry the tag. Only at the top level."
		byTag.Examples = arr{obj{"gpu": obj{"DEVICE": "cuda"}}}
		s.Properties.Set("tags", byTag)
	}
	flat := mapOf(variableName(), plainValue())
	flat.Properties = jsonschema.NewProperties()
	for _, key := range []string{"clear", "secret", "tags"} {
		flat.Properties.Set(key, &jsonschema.Schema{Not: jsonschema.TrueSchema, Extras: map[string]any{
			"patternErrorMessage": "clear, secret and tags do not mix with plain variables; put those under clear",
		}})
	}
	return anyOf(s, flat)
}

// required is text that is not empty.
func required(s *jsonschema.Schema) *jsonschema.Schema {
	s.MinLength = new(uint64(1))
	return s
}
