package config

import (
	"errors"
	"strings"
	"testing"
)

func TestImage_ThatIsNoneNamesWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	vars := func(name string) (string, bool) {
		value, ok := map[string]string{
			"GITHUB_REPOSITORY": "Acme/Shop", "CI_REGISTRY_IMAGE": "registry.gitlab.com/Acme/Shop", "URL": "https://ghcr.io/acme/shop",
			"TAGGED": "acme/shop:v1", "TOKEN": "Hunter2", "BLANK": "acme/shop ",
		}[name]
		return value, ok
	}
	const head, tail = "service: shop\n", "\nservers: [192.0.2.1]\n"
	tests := map[string]struct{ text, want string }{
		"GitHub's variable": {head + "image: ${GITHUB_REPOSITORY}" + tail, `2:8: image: has capital letters, and an image's name cannot: "Acme/Shop"; write acme/shop`},
		"GitLab's variable": {head + "image: ${CI_REGISTRY_IMAGE}" + tail, `"registry.gitlab.com/Acme/Shop"; write registry.gitlab.com/acme/shop`},
		"as written":        {head + "image: acme/Shop" + tail, `has capital letters, and an image's name cannot: "acme/Shop"; write acme/shop`},
		"a URL":             {head + "image: ${URL}" + tail, `must not begin with a scheme such as https://: "https://ghcr.io/acme/shop"; write ghcr.io/acme/shop`},
		"a tag":             {head + "image: ${TAGGED}" + tail, `without https:// and tag; ${TAGGED} is "acme/shop:v1"`},
		"a blank":           {head + "image: ${BLANK}" + tail, `must not have blanks: "acme/shop "; write acme/shop`},
		"an accessory":      {head + "image: acme/shop" + tail + "accessories: {db: {role: web, image: 'ghcr.io/Acme/DB:V1'}}\n", `accessories.db.image: has capital letters, and an image's name cannot: "ghcr.io/Acme/DB:V1"; write ghcr.io/acme/db:V1`},
		"the proxy":         {head + "image: acme/shop" + tail + "proxy: {image: 'Traefik:v3.6'}\n", `proxy.image: has capital letters, and an image's name cannot: "Traefik:v3.6"; write traefik:v3.6`},
		"too long":          {head + "image: " + strings.Repeat("a", 256) + tail, "is 256 characters long; at most 255 are allowed"},
	}
	for title, test := range tests {
		got := strings.Join(complaints(t, map[string]string{"kstep.yml": test.text}, LoadOptions{Env: vars}), "\n")
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: got %s, want %s", title, got, test.want)
		}
	}
	for _, secret := range []string{"env: {secret: [TOKEN]}", "registry: {username: u, password: [TOKEN]}", "secrets: {commands: {TOKEN: vault}}"} {
		got := strings.Join(complaints(t, map[string]string{"kstep.yml": head + "image: ${TOKEN}" + tail + secret + "\n"}, LoadOptions{Env: vars}), "\n")
		if strings.Contains(strings.ToLower(got), "hunter2") || !strings.Contains(got, "capital letters") {
			t.Errorf("%s: got %s, want the capitals without the value", secret, got)
		}
	}
}

func TestNames_AreBounded(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("a", n) }
	head := "image: acme/shop\nservice: "
	tests := map[string]struct{ text, want string }{
		"the service":        {head + long(240) + "\nservers: [192.0.2.1]\n", "service: is 240 characters long; at most 128 are allowed"},
		"a role":             {head + "shop\nprimary_role: " + long(64) + "\nservers: {" + long(64) + ": [192.0.2.1]}\n", "at most 63 of them"},
		"an accessory":       {head + "shop\nservers: [192.0.2.1]\naccessories: {" + long(64) + ": {image: a, role: web}}\n", "at most 63 of them"},
		"a task":             {head + "shop\nservers: [192.0.2.1]\ntasks: {" + long(64) + ": {cmd: 'true'}}\n", "at most 63 of them"},
		"a container's name": {head + "shop\nservers: [192.0.2.1]\naccessories: {db: {image: a, role: web, service: " + long(129) + "}}\n", "is 129 characters long; at most 128 are allowed"},
		"a variable":         {head + "shop\nservers: [192.0.2.1]\nenv: {BIG: " + long(140_000) + "}\n", "env.BIG: is 140004 bytes long with its name; a variable can have 131071 (128 KiB)"},
		"a role's variable":  {head + "shop\nservers: {web: {hosts: [192.0.2.1], env: {clear: {BIG: " + long(131_068) + "}}}}\n", "servers.web.env.clear.BIG: is 131072 bytes long"},
		"the proxy's":        {head + "shop\nservers: [192.0.2.1]\nproxy: {env: {BIG: " + long(131_068) + "}}\n", "proxy.env.BIG: is 131072 bytes long"},
	}
	for title, test := range tests {
		got := strings.Join(complaints(t, map[string]string{"kstep.yml": test.text}, LoadOptions{}), "\n")
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: got %.300s, want %s", title, got, test.want)
		}
	}
	text := head + long(128) + "\nservers: {web: [192.0.2.1], " + long(63) + ": [192.0.2.2]}\n"
	mustLoad(t, text)
	_, err := load(t, map[string]string{"kstep.yml": text, "kstep.production.yml": "{}"}, LoadOptions{Destination: "production"})
	if problems, _ := errors.AsType[Errors](err); len(problems) != 1 || !strings.Contains(err.Error(), "the role's name is 201 characters long together with service and destination; at most 200") {
		t.Errorf("got %v, want the names that are too long together", err)
	}
	mustLoad(t, head+"shop\nservers: [192.0.2.1]\nenv: {BIG: "+long(131_067)+"}\n")
}

func TestHosts_ThatAreNoneNameWhatIsWrongWithThem(t *testing.T) {
	t.Parallel()
	const form = ": must be a host name such as shop.example.com, or *.example.com for all names one level below"
	for host, want := range map[string]string{
		"https://shop.example.com":        "must not begin with a scheme such as https://" + form,
		"shop.example.com/api":            "must not have a path, which belongs to proxy.path_prefix" + form,
		"shop.example.com:8080":           "must not have a port",
		"shop.example.com.":               "must not end with a dot; requests with one are served too" + form,
		"shop.example.com, a.example.com": "must be one name, without blanks and commas; several are a list" + form,
		"b\u00fccher.example":             "write that one" + form,
		"*":                               "for all names, leave proxy.hosts out" + form,
		"*.*.example.com":                 "the star can only be the whole first part of a name" + form,
		"a*.example.com":                  "the star can only be the whole first part of a name" + form,
		"my_shop.example.com":             "has an underscore, which the name of a host cannot have" + form,
		"2001:db8::1":                     "an IPv6 address cannot be routed by its name" + form,
		"shop..example.com":               "proxy.hosts[0]" + form,
		strings.Repeat("a.", 130) + "a":   "characters long; at most 253 are allowed",
	} {
		got := strings.Join(complaints(t, map[string]string{"kstep.yml": base + "proxy: {hosts: ['" + host + "']}\n"}, LoadOptions{}), "\n")
		if !strings.Contains(got, "kstep.yml:4:17: proxy.hosts[0]") || !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
}

func TestPathPrefix_ThatNoRequestHasIsRefused(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"/%61pi", "/a%20b", "/a%2fb", "/a%zz", "/a%"} {
		got := complaints(t, map[string]string{"kstep.yml": base + "proxy: {path_prefix: '" + prefix + "'}\n"}, LoadOptions{})
		if len(got) != 1 || !strings.HasPrefix(got[0], "kstep.yml:4:22: proxy.path_prefix: has a percent sign that no request has") {
			t.Errorf("%s: got %q, want a refusal", prefix, got)
		}
	}
	for _, prefix := range []string{"/a%2Fb", "/100%25", "/a/"} {
		mustLoad(t, base+"proxy: {path_prefix: '"+prefix+"'}\n")
	}
}
