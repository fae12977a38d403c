package main

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/route"
	"github.com/kstep/kstep/internal/runopt"
)

// refine adds what is true of single keys: patterns, which are too long for a
// struct tag, and how they are explained.
func refine(s *jsonschema.Schema) {
	p := func(def, key string) *jsonschema.Schema {
		in := s
		if def != "" {
			in = s.Definitions[def]
		}
		found, ok := in.Properties.Get(key)
		if !ok {
			panic("schema/gen: no key " + def + "." + key) //nolint:forbidigo // The types have changed; mend the list below.
		}
		return found
	}
	pattern := func(at *jsonschema.Schema, pattern, message string) {
		at.Pattern = pattern
		at.Extras = map[string]any{"patternErrorMessage": message}
	}
	pattern(p("", "service"), `^[a-z0-9][a-z0-9_-]*$`, "must have lower-case letters, digits, - and _ only, and begin with a letter or digit")
	p("", "service").MaxLength = new(uint64(128))
	p("", "image").MaxLength = new(uint64(255)) // The distribution's limit of a repository's name.
	pattern(p("", "image"), imagePattern, "must be a repository such as acme/shop, without https:// and tag")
	pattern(p("", "minimum_version"), `^v?[0-9]+(\.[0-9]+){0,2}(-[0-9A-Za-z.-]+)?$`, "must be a version such as 1.2 or 1.2.3")
	pattern(p("", "run_directory"), `^[A-Za-z0-9._/-]*[A-Za-z0-9_-]/*$`, "must be a folder such as .kstep or /opt/kstep; a relative one is below the user's home, without ~/")
	p("", "hooks_path").MinLength = new(uint64(1))
	pattern(p("Registry", "server"), serverPattern, serverMessage)
	*p("Registry", "password") = names(p("Registry", "password"))
	*p("Builder", "secrets") = names(p("Builder", "secrets"))
	*p("SecretSources", "allow_empty") = names(p("SecretSources", "allow_empty"))
	restrictKeys(p("SecretSources", "commands"), s.Definitions["SecretName"])
	restrictKeys(p("", "aliases"), text(`^[a-z][a-z0-9_-]{0,62}$`, "an alias's name has lower-case letters, digits, - and _, and at most 63 of them"))
	*p("State", "key") = names(p("State", "key"))
	*p("SSH", "key_data") = names(p("SSH", "key_data"))

	const inContainer = "must be an absolute path in the container"
	for _, def := range []string{"", "Role", "Accessory"} {
		pattern(p(def, "volumes").Items, `^(/[^:]*|[A-Za-z0-9][A-Za-z0-9_.-]*):/[^:]*(:[A-Za-z]+(,[A-Za-z]+)*)?$`, "must be source:target or source:target:options, such as ro,z; the source is an absolute path or a volume's name, the target an absolute path")
	}
	for _, def := range []string{"", "Role", "Accessory"} {
		pattern(p(def, "networks").Items, `^[A-Za-z0-9][A-Za-z0-9_.-]*$`, "must be a Docker network's name: letters, digits, _, . and -")
		p(def, "networks").Items.MaxLength = new(uint64(128))
	}
	for _, def := range []string{"", "Role"} {
		pattern(p(def, "asset_path"), `^/[^:]*[^:/]/*$`, inContainer)
		pattern(p(def, "asset_paths").Items, `^/[^:]*[^:/]/*$`, inContainer)
	}
	pattern(p("Options", "restart"), `^(no|always|unless-stopped|on-failure(:[1-9][0-9]{0,5})?)$`, "must be no, always, unless-stopped, on-failure or on-failure:3")
	pattern(p("Options", "gpus"), `^(all|[1-9][0-9]*|device=[A-Za-z0-9,_-]+)$`, "must be all, a number, or device=0,1")
	misplaced(s.Definitions["Options"])
	pattern(p("Options", "workdir"), `^/`, "must be an absolute path in the container")
	pattern(p("Healthcheck", "path"), `^/[!-~]*$`, "must be a path such as /up")
	pattern(p("Healthcheck", "host"), `^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`,
		"must be a host name such as shop.example.com, with :port after it where the application wants one")
	restrictKeys(p("Healthcheck", "headers"), text("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", "must be the name of a header such as X-Forwarded-Proto"))
	pattern(p("Healthcheck", "cord"), `^/[^:]*[^:/]/*$`, inContainer)
	pattern(p("Proxy", "path_prefix"), "^/[!-_a-z|~]*$", "must be a path such as /shop")
	p("Proxy", "path_prefix").MaxLength = new(uint64(1024))
	pattern(p("Proxy", "hosts").Items, route.HostPattern, "must be a host name such as shop.example.com, or *.example.com for all names one level below")
	p("Proxy", "hosts").Items.MaxLength = new(uint64(route.MaxHostLength))
	restrictKeys(p("Proxy", "args"), text(`^[A-Za-z0-9][A-Za-z0-9_.\[\]-]*$`, "must be a Traefik option without leading dashes"))
	restrictKeys(p("Proxy", "redirects"), text(hostNamePattern, "must be a host name such as www.example.com"))
	restrictKeys(p("Proxy", "headers"), text("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", "must be the name of a header such as X-Frame-Options"))
	pattern(p("ACME", "email"), `^[^@\s]+@[^@\s]+$`, "must be an e-mail address")
	pattern(p("ACME", "directory"), `^https://[^\s]+$`, "must be a URL that begins with https://")
	pattern(p("ACME", "provider"), `^[a-z0-9][a-z0-9_-]*$`, "must be Traefik's code of a DNS provider, such as cloudflare")
	p("ACME", "ca").MinLength = new(uint64(1))
	pattern(p("Proxy", "image"), imageRefPattern, "must be an image such as traefik:v3.6 or registry:5000/traefik:v3.6, without https://")
	p("Builder", "dockerfile").MinLength = new(uint64(1))
	pattern(p("Builder", "platforms").Items, `^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$`, "must be a platform such as linux/amd64 or linux/arm/v7")
	pattern(p("SSH", "proxy_jump"), `^[A-Za-z0-9_\[][^\s]*$`, "must be user@host:port, several by comma")
	pattern(p("SSH", "docker_socket"), `^/.`, "must be an absolute path on the hosts")
	pattern(p("SSH", "user"), `^[A-Za-z0-9_][A-Za-z0-9_.$-]*$`, "must be a user name")
	fingerprint := p("SSH", "host_keys")
	fingerprint.AdditionalProperties = text(`^SHA256:[A-Za-z0-9+/]{43}=?$`, "must be a fingerprint such as ssh-keygen -l prints: SHA256:…")

	replace(p("Barrier", "quorum"), count(`^([1-9][0-9]{0,8}|all|(100|[1-9][0-9]?)%)$`, "must be a number from 1, a percentage such as 50%, or all"))
	for _, def := range []string{"Rolling", "Cutover"} {
		replace(p(def, "limit"), count(`^([1-9][0-9]{0,8}|(100|[1-9][0-9]?)%)$`, "must be a number from 1, or a percentage such as 25%"))
	}
	for _, key := range []string{"connect_retries", "max_dials"} {
		p("SSH", key).Maximum = "1000"
	}
	p("", "retain").Maximum = "1000"
	p("Role", "replicas").Maximum = "100"
	p("Healthcheck", "retries").Maximum = "100000"
	// Tags are declared once, for all roles.
	replace(p("Role", "env"), []*jsonschema.Schema{{Ref: "#/$defs/PlainEnv"}})
	replace(p("Proxy", "env"), []*jsonschema.Schema{{Ref: "#/$defs/PlainEnv"}})
	replace(p("Accessory", "env"), []*jsonschema.Schema{{Ref: "#/$defs/PlainEnv"}})
	pattern(p("Accessory", "image"), imageRefPattern,
		"must be an image such as mysql:8.4 or ghcr.io/acme/db:2, without https://")
	p("Accessory", "service").MaxLength = new(uint64(128))
	pattern(p("Accessory", "service"), `^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`, "must be a container's name: letters, digits, _, . and -")
	pattern(p("Accessory", "port"), `^(([0-9.]+|\[[0-9a-fA-F:]+\]):)?([0-9]{1,5}:)?[0-9]{1,5}(/(tcp|udp|sctp))?$`, "must be a port such as 5432, or [address:]host port:port such as 127.0.0.1:15432:5432")
	replace(p("Accessory", "host"), []*jsonschema.Schema{ref("HostName")})
	for _, key := range []string{"hosts", "roles", "tags"} {
		nonEmpty(p("Accessory", key))
	}
	p("Accessory", "hosts").Items = ref("HostName")
}

// hostNamePattern is a host name without a wildcard.
var hostNamePattern = strings.Replace(route.HostPattern, `(\*\.)?`, "", 1) //nolint:gochecknoglobals // A constant.

// misplaced gives keys that people look for among a role's options a message
// that says where they belong.
func misplaced(options *jsonschema.Schema) {
	reasons := runopt.Elsewhere()
	for key := range fields(reflect.TypeFor[config.Role]()) {
		reasons[key] = "is no option of docker run but a key of the role; write it beside options, not below"
	}
	for _, key := range slices.Sorted(maps.Keys(reasons)) {
		options.Properties.Set(key, &jsonschema.Schema{Not: jsonschema.TrueSchema, Extras: map[string]any{
			"patternErrorMessage": reasons[key], "doNotSuggest": true,
		}})
	}
}

// imagePattern is the distribution grammar of a repository name.
const imagePattern = imageRepository + `$`

const imageRepository = `^([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?/)?` +
	`[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`

// imageRefPattern is a repository with a tag, a digest or both.
const imageRefPattern = imageRepository + `(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$`

// names makes a list of text a list of secrets' names.
func names(s *jsonschema.Schema) jsonschema.Schema {
	named := *s
	named.Items = ref("SecretName")
	return named
}

// count is a number that may also be written as text.
func count(pattern, message string) []*jsonschema.Schema {
	return []*jsonschema.Schema{text(pattern, message), {Type: "integer", Minimum: "1"}}
}

// replace keeps a key's description and default.
func replace(s *jsonschema.Schema, branches []*jsonschema.Schema) {
	s.Type, s.Pattern, s.Ref = "", "", ""
	if len(branches) == 1 {
		s.Ref = branches[0].Ref
		return
	}
	s.AnyOf = branches
}
