//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEnv_PushedByHandReachesTheNextContainersAndGoesWhenItIsDeleted(t *testing.T) {
	t.Parallel()
	s := settings{extra: "env: {secret: [TOKEN]}\n" + accessoryYAML, shell: true}
	v := s.version("v1", "")
	v.Files["kstep.yml"] = strings.Replace(s.yaml(), "switch: routes", "switch: routes, env: {secret: [TOKEN]}", 1)
	v.Files[".gitignore"] += ".env\n"
	v.Files["db.conf"] = "first\n"
	v.Files["vault"] = "#!/bin/sh\nprintf 'it is \"vaulted\"\\n$%s\\n' \"$1\"\n"
	v.Files[".env.tmpl"] = `TOKEN={{ exec "./vault" "one" }}` + "\n"
	w := beginWith(t, v)

	r := w.must("envify")
	if strings.Contains(r.Stdout+r.Stderr, "vaulted") {
		t.Errorf("the secret is in the output:\n%s%s", r.Stdout, r.Stderr)
	}
	info, err := os.Stat(filepath.Join(w.app.Dir, ".env"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf(".env is %v (%v), want mode 600", info, err)
	}
	w.private()
	w.must("deploy")
	w.sees("vm1", map[string]string{"TOKEN": "it is \"vaulted\"\n$one"})

	proxy, err := w.rig.Host("vm2").Container(t.Context(), "kstep-proxy")
	if err != nil || !slices.Contains(proxy.Config.Env, "TOKEN=it is \"vaulted\"\n$one") {
		t.Errorf("the proxy has %q (%v), want its environment", proxy.Config.Env, err)
	}

	w.byHand()
	accessory := w.bootAccessory("TOKEN=it is \"vaulted\"\n$one", "it is \"vaulted\"\n$one")

	// Another value: the containers keep theirs until they are made anew.
	if r := w.kstepWith([]string{"TOKEN=two\nlines"}, "env", "push"); r.Exit != 0 {
		t.Fatalf("env push: exit status %d\n%s", r.Exit, r.Stderr)
	}
	w.sees("vm1", map[string]string{"TOKEN": "it is \"vaulted\"\n$one"})
	load := w.traffic()
	if r := w.kstepWith([]string{"TOKEN=two\nlines"}, "deploy", "--new-release"); r.Exit != 0 {
		t.Fatalf("deploy: exit status %d\n%s", r.Exit, r.Stderr)
	}
	w.lostNothing(load, 200)
	for _, host := range []string{"vm1", "vm2"} {
		w.sees(host, map[string]string{"TOKEN": "two\nlines"})
	}
	if boot := fmt.Sprint(w.state("boot")["outputs"]); !strings.Contains(boot, "shop-web-"+w.head()+"_replaced_") {
		t.Errorf("boot did not give the old container of the same version another name: %s", boot)
	}

	w.rebootAccessory(accessory, "TOKEN=two\nlines", "two\nlines")
	w.removeAccessory()

	w.must("env", "delete")
	for _, h := range w.rig.Hosts {
		files, err := h.Files(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.Join(files, "\n"), "/env/") {
			t.Errorf("%s still has an env file in %v", h.Name, files)
		}
	}
	w.serves("v1")
}
