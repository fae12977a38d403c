package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestEnvify_MakesTheFileFromItsTemplateAndPushesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	vault, _ := w.vault()
	w.configure("env: {secret: [TOKEN, USER_NAME]}\n")
	w.write(".env.tmpl", "TOKEN={{ exec \""+vault+"\" \"it's \\\"$x\\\"\" }}\nUSER_NAME={{ env \"SHOP_USER\" }}\n")
	w.env["SHOP_USER"] = "shopkeeper"
	stdout, stderr := w.exits(exit.OK, "envify", "--skip-push")
	if w.envOf("vm1", "shop", "web") != nil {
		t.Error("--skip-push pushed")
	}
	path := filepath.Join(w.dir, ".env")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("got %v (%v), want a file with mode 600", info, err)
	}
	pushedOut, pushedErr := w.exits(exit.OK, "envify")
	got := w.envOf("vm1", "shop", "web")
	if got["TOKEN"] != "vaulted\nit's \"$x\"" || got["USER_NAME"] != "shopkeeper" {
		t.Errorf("vm1 has %q", got)
	}
	for _, value := range []string{"vaulted", "shopkeeper"} {
		if strings.Contains(stdout+stderr+pushedOut+pushedErr, value) {
			t.Errorf("%s is in the output", value)
		}
	}
	if !strings.Contains(pushedOut, path+" is unchanged") {
		t.Errorf("the second run says\n%s", pushedOut)
	}
}

func TestEnvify_OfADestinationHasItsOwnTemplateAndFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {secret: [TOKEN]}\n")
	w.write("kstep.staging.yml", "{}")
	w.write(".env.tmpl", "TOKEN=production\n")
	_, stderr := w.exits(exit.Config, "envify", "-d", "staging")
	if !strings.Contains(stderr, ".env.staging.tmpl") {
		t.Errorf("it does not name the missing template:\n%s", stderr)
	}
	w.write(".env.staging.tmpl", "TOKEN=staging\n")
	w.exits(exit.OK, "envify", "-d", "staging")
	w.exits(exit.OK, "envify")
	for folder, want := range map[string]string{"shop": "production", "shop-staging": "staging"} {
		if got := w.envOf("vm1", folder, "web")["TOKEN"]; got != want {
			t.Errorf("%s has %q, want %q", folder, got, want)
		}
	}
}

func TestEnvify_ThatFailsLeavesTheOldFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	vault, _ := w.vault()
	w.write(".env", "TOKEN=old\n")
	for template, wants := range map[string][]string{
		"TOKEN={{ env \"GONE\" }}\n":                      {".env.tmpl:1:10: variable GONE is not set"},
		"TOKEN={{ exec \"" + vault + "\" \"locked\" }}\n": {"the vault is locked", ".env.tmpl:1:10: run " + vault + ": exit status 1"},
	} {
		w.write(".env.tmpl", template)
		_, stderr := w.exits(exit.Config, "envify")
		for _, want := range wants {
			if !strings.Contains(stderr, want) {
				t.Errorf("the output does not tell %q:\n%s", want, stderr)
			}
		}
		if data, err := os.ReadFile(filepath.Join(w.dir, ".env")); err != nil || string(data) != "TOKEN=old\n" {
			t.Errorf("the old file is %q (%v)", data, err)
		}
	}
}
