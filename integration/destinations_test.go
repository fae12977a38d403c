//go:build integration

package integration

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestDestinations_SideBySideOnTheSameHostsShareNothing(t *testing.T) {
	t.Parallel()
	s := settings{extra: "env: {PLACE: production}\n"}
	s.extra += "retain: 1\n"
	v := s.version("v1", "")
	v.Files["kstep.yml"] = strings.Replace(s.yaml(), "switch: routes", "switch: routes, hosts: [shop.example.com]", 1)
	v.Files["kstep.staging.yml"] = "env: {PLACE: staging}\nproxy: {hosts: [staging.example.com]}\n"
	v.Files[".gitignore"] += "staging-state/\n"
	w := beginWith(t, v)
	production, staging := w.head(), ""
	w.must("deploy")
	w.must("-d", "staging", "--state-dir", "staging-state", "deploy")
	for _, version := range []string{"v2", "v3"} {
		next := v
		next.Version = version
		staging = w.commit(next)
		w.must("-d", "staging", "--state-dir", "staging-state", "deploy")
	}

	for _, c := range []struct{ host, version, place string }{
		{"shop.example.com", "v1", "production"}, {"staging.example.com", "v3", "staging"},
	} {
		for _, vm := range []string{"vm1", "vm2"} {
			for path, want := range map[string]string{"/": "version " + c.version + " ", "/env/PLACE": c.place, "/assets/app-" + c.version + ".css": ""} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.rig.Host(vm).URL()+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Host = c.host
				if status, body := w.do(req); status != 200 || !strings.HasPrefix(body, want) {
					t.Errorf("%s for %s answers %d %q, want %q", vm, c.host+path, status, body, want)
				}
			}
		}
	}
	w.runs("vm1", "shop-web-"+production, "shop-web-staging-"+staging)
	images, err := w.rig.Host("vm1").Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var tags []string
	for _, i := range images {
		tags = append(tags, i.RepoTags...)
	}
	if !slices.ContainsFunc(tags, func(tag string) bool { return strings.HasSuffix(tag, ":"+production) }) {
		t.Errorf("staging's prune took production's tag: vm1 has %v", tags)
	}
	// One's lease is not the other's.
	w.must("lock", "acquire", "-m", "hands off")
	w.exits(20, "deploy", "--new-release")
	w.must("-d", "staging", "--state-dir", "staging-state", "deploy", "--new-release")
	w.must("lock", "release")

	// One goes, the other keeps serving.
	w.must("remove", "--yes")
	w.runs("vm1", "shop-web-staging-"+staging)
	if status := w.ask("vm1", "shop.example.com"); status != 502 { // As before its first deploy.
		t.Errorf("the removed destination answers %d", status)
	}
	if status := w.ask("vm1", "staging.example.com"); status != 200 {
		t.Errorf("the other destination answers %d", status)
	}
	for _, h := range w.rig.Hosts {
		files, err := h.Files(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range files {
			path, kind, _ := strings.Cut(line, " ")
			stays := strings.Contains(path, "/shop/lease/") || strings.HasSuffix(path, "/shop/audit.jsonl")
			if strings.Contains(path, "/.kstep/shop/") && strings.HasPrefix(kind, "f") && !stays {
				t.Errorf("%s still has %s", h.Name, path)
			}
		}
	}
	w.must("deploy", "--new-release")
	if status := w.ask("vm1", "shop.example.com"); status != 200 {
		t.Errorf("deployed again, the destination answers %d", status)
	}
}

// ask sends a request for that name to a host.
func (w *world) ask(vm, name string) int {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.rig.Host(vm).URL()+"/", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Host = name
	status, _ := w.do(req)
	return status
}
