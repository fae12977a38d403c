package scaffold

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// schemaLine makes editors check the file.
const schemaLine = "# yaml-language-server: $schema=https://kstep.dev/schema/v1/config.schema.json"

// render writes kstep.yml: only what applies, each part with one line that says why.
func render(s settings, a App) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s", schemaLine)
	line("# Every key with an example: docs/config.md. Check this file: kstep config validate")
	line("service: %s", quote(s.service))
	registry(line, s)
	servers(line, s, a)
	proxy(line, s)

	line("\n# A new container gets traffic once GET %s is answered: docs/healthcheck.md", a.Health)
	line("healthcheck:")
	line("  path: %s%s", quote(a.Health), note(a.HealthNote))
	line("  port: %d%s", a.Port, note(a.PortNote))

	if a.Migrate != "" {
		line("\n# Runs once in each release, before the new containers start: docs/tasks.md")
		line("tasks:\n  migrate:\n    cmd: %s%s", quote(a.Migrate), note(a.MigrateNote))
	}
	if len(a.Assets) > 0 {
		line("\n# Both versions serve the files of the other one during a deploy: docs/assets.md")
		line("asset_paths:")
		for _, dir := range a.Assets {
			line("  - %s", quote(dir))
		}
	}
	environment(line, s, a)
	return b.String()
}

func registry(line func(string, ...any), s settings) {
	if s.image == "" {
		line("# Without an image, there is no registry: the image goes to the servers through SSH: docs/registries.md")
		return
	}
	line("image: %s", quote(s.image))
	line("\n# The login of the registry. [NAMES] are those of secrets, never their values: docs/registries.md")
	line("registry:")
	if s.server != "" {
		line("  server: %s", quote(s.server))
	}
	line("  username: [REGISTRY_USERNAME]")
	line("  password: [REGISTRY_PASSWORD]")
}

func servers(line func(string, ...any), s settings, a App) {
	line("\nservers:")
	if a.Worker == "" {
		for _, host := range s.hosts {
			line("  - %s", quote(host))
		}
		return
	}
	hosts := func(indent string) {
		for _, host := range s.hosts {
			line("%s- %s", indent, quote(host))
		}
	}
	line("  web:\n    hosts:")
	hosts("      ")
	line("  # %s: uncomment the role to run its workers: docs/roles.md", a.WorkerNote)
	line("  # worker:\n  #   hosts:")
	hosts("  #     ")
	line("  #   cmd: %s", quote(a.Worker))
}

// proxy writes the host names. An authority proves names by HTTP only where a single
// host has them, and wildcards never: config refuses both.
func proxy(line func(string, ...any), s settings) {
	switch {
	case s.domain == "":
		return
	case len(s.hosts) == 1 && !strings.Contains(s.domain, "*"):
		line("\n# HTTPS with a certificate from Let's Encrypt; the domain's DNS record leads to the host: docs/https.md")
		line("proxy:\n  hosts: [%s]\n  tls: true", quote(s.domain))
	default:
		line("\n# HTTPS for several hosts or a wildcard needs a DNS challenge, or a load balancer: docs/https.md")
		line("proxy:\n  hosts: [%s]", quote(s.domain))
	}
}

func environment(line func(string, ...any), s settings, a App) {
	clear := a.DomainVariable != "" && s.domain != "" && !strings.Contains(s.domain, "*")
	if !clear && len(a.Secrets) == 0 {
		return
	}
	line("\n# The containers' environment; a secret is read where kstep runs: docs/env.md")
	line("env:")
	if clear {
		line("  clear:\n    %s: %s", a.DomainVariable, quote(s.domain))
	}
	if len(a.Secrets) > 0 {
		line("  secret: [%s]", strings.Join(a.Secrets, ", "))
	}
}

func note(text string) string {
	if text == "" {
		return ""
	}
	return " # " + text
}

var (
	plain  = regexp.MustCompile(`^[A-Za-z0-9_@./][A-Za-z0-9_@./: -]*$`)
	number = regexp.MustCompile(`^[0-9._]+$|^(?i:true|false|null|yes|no|on|off|~|0x[0-9a-f]+|[0-9.]+e[0-9]+)$`)
)

// quote writes a text so that YAML reads it as that text.
func quote(s string) string {
	if plain.MatchString(s) && (!number.MatchString(s) || strings.Count(s, ".") == 3) &&
		!strings.Contains(s, ": ") && !strings.HasSuffix(s, ":") && strings.TrimSpace(s) == s {
		return s
	}
	data, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(data)
}
