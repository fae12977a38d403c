package kamal

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// everyKey is a schema that has all keys.
func everyKey(...string) bool { return true }

// translated is the tree of a project, with a schema that has all keys. The
// result is not checked: the schema of this kstep may not have them.
func translated(t *testing.T, dir string, knows func(...string) bool) (*node, Report) {
	t.Helper()
	o := Options{Path: filepath.Join(dir, DefaultPath), Knows: knows}
	src, err := readSource(o)
	if err != nil {
		t.Fatal(err)
	}
	im := newImporter(&shared{src: src, knows: knows, names: map[int]string{}, taken: map[string]string{}}, "", src.base)
	im.translate()
	return im.out, Report{Entries: im.found.sorted()}
}

func TestCarried_WhatTheSchemaHas(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ dir, key, yaml string }{
		"automatic certificate":  {"rails-ssl", "proxy.tls", "true"},
		"Let's Encrypt by args":  {"traefik-acme", "proxy.tls.acme.email", "ops@example.com"},
		"own certificate":        {"routes", "proxy.tls.certificate", "CERT"},
		"own key":                {"routes", "proxy.tls.private_key", "KEY"},
		"no redirect":            {"routes", "proxy.tls.redirect", "false"},
		"response time-out":      {"django-workers", "proxy.response_timeout", "120s"},
		"largest body":           {"django-workers", "proxy.max_body", "20000000"},
		"alias":                  {"rails-ssl", "aliases.console", "app exec -i -- bin/rails console"},
		"stripped prefixes":      {"routes", "proxy.strip_path_prefix", "true"},
		"DNS challenge":          {"traefik-labels", "proxy.tls.acme.provider", "hetzner"},
		"address and port":       {"local-registry", "proxy.publish.http", "127.0.0.1:8080"},
		"login of an accessory":  {"accessories", "registries.registry.example.com.username", "tools"},
		"network of a container": {"accessories", "accessories.render.networks", "tools"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, _ := translated(t, filepath.Join("testdata", want.dir), everyKey)
			keys := strings.Split(strings.Replace(want.key, "registry.example.com", "SERVER", 1), ".")
			for i := range keys {
				keys[i] = strings.Replace(keys[i], "SERVER", "registry.example.com", 1)
			}
			got := out.get(keys...)
			if got != nil && got.kind == list {
				got = got.items[0]
			}
			if text(got) != want.yaml {
				t.Errorf("%s: got %q, want %q", want.key, text(got), want.yaml)
			}
		})
	}
	out, _ := translated(t, "testdata/routes", everyKey)
	if got := out.get("proxy", "path_prefix"); got == nil || len(got.items) != 2 {
		t.Errorf("proxy.path_prefix: got %+v, want both prefixes", got)
	}
	if got := out.get("proxy", "args", "serverstransport.forwardingtimeouts.responseheadertimeout"); got != nil {
		t.Error("the time-out is among the options of Traefik, too")
	}
}

func TestCarried_WhatTheSchemaHasNotIsReported(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		dir, key string
		kind     Kind
	}{
		"automatic certificate":  {"rails-ssl", "proxy.ssl", NotImportable},
		"own certificate":        {"routes", "proxy.ssl", NotImportable},
		"response time-out":      {"routes", "proxy.response_timeout", Changed},
		"prefixes":               {"routes", "proxy.path_prefixes", NotImportable},
		"alias":                  {"rails-ssl", "aliases.console", Dropped},
		"login of an accessory":  {"accessories", "accessories.render.registry", NotImportable},
		"network of a container": {"accessories", "accessories.render.network", NotImportable},
	} {
		out, report := translated(t, filepath.Join("testdata", want.dir), func(...string) bool { return false })
		found := false
		for _, e := range report.Entries {
			found = found || e.Key == want.key && e.Kind == want.kind
		}
		if !found {
			t.Errorf("%s: %s is not reported as %s", name, want.key, want.kind)
		}
		if out.get("proxy", "tls") != nil || out.get("aliases") != nil || out.get("registries") != nil {
			t.Errorf("%s: a key is written that the schema does not have", name)
		}
	}
}

// TestImport_WithTheSchemaOfThisKstep holds whichever keys the schema has: what
// it has is written, what it has not is reported, and all is valid.
func TestImport_WithTheSchemaOfThisKstep(t *testing.T) {
	t.Parallel()
	for _, dir := range examples(t) {
		result, err := Import(Options{Path: filepath.Join(dir, DefaultPath)})
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		for _, e := range result.Report.Entries {
			if strings.HasPrefix(e.Key, "proxy.ssl") && e.Kind == NotImportable && knowsKey("proxy", "tls") && e.Text != "" && !strings.Contains(e.Text, "computed") {
				t.Errorf("%s: HTTPS is not carried: %s", dir, e.Text)
			}
			if strings.HasPrefix(e.Key, "proxy.tls") || strings.HasPrefix(e.Key, "aliases[") || strings.HasPrefix(e.Key, "proxy.publish") {
				t.Errorf("%s: kstep refuses what is carried: %s", dir, e.Text)
			}
		}
	}
}

func TestKnowsKey(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{
		"service": true, "proxy.hosts.[]": true, "proxy.nothing": false, "servers.*.networks": true, "accessories.*.networks": true,
		"accessories.*.nothing": false, "nothing": false, "registries": true, "secrets.commands.*": true,
	} {
		if got := knowsKey(strings.Split(key, ".")...); got != want {
			t.Errorf("%s: got %t, want %t", key, got, want)
		}
	}
}

// A registry that Kamal runs itself is not needed: kstep sends the image to the hosts.
func TestImport_ARegistryOfKamalsOwnIsLeftOut(t *testing.T) {
	t.Parallel()
	for server, cache := range map[string]string{"localhost:5555": "", "127.0.0.1:5000": "builder: {arch: amd64, cache: {type: registry}}\n"} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "config"), 0o755); err != nil {
			t.Fatal(err)
		}
		text := "service: shop\nimage: acme/shop\nservers: [192.0.2.1]\nregistry: {server: \"" + server + "\", username: any, password: [ANY]}\n" + cache
		if err := os.WriteFile(filepath.Join(dir, "config", "deploy.yml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, report := translated(t, dir, everyKey)
		if out.get("image") != nil || out.get("registry") != nil || out.get("builder", "cache") != nil {
			t.Errorf("%s: the image or its registry is still there", server)
		}
		lost := slices.ContainsFunc(report.Entries, func(e Entry) bool { return e.Kind == NotImportable })
		if lost != (cache != "") {
			t.Errorf("%s: got %+v", server, report.Entries)
		}
	}
}
