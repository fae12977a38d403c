//go:build integration

package integration

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/integration/rig"
)

func TestPrune_KeepsWhatRollbackNeedsAndLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	s := settings{extra: "retain: 3\n", proxy: ", fallback: true"}
	v := s.version("v1", "")
	v.Files["kstep.staging.yml"] = "proxy: {hosts: [staging.test], fallback: false}\n"
	w := beginWith(t, v)
	w.ignore("/staging-state/")
	commits := []string{w.head()}
	w.must("deploy")
	w.must("-d", "staging", "--state-dir", "staging-state", "deploy") // Stays at v1: production must not prune its image.
	blog := w.beside("blog", "proxy: {image: \""+rig.TraefikImage+"\", hosts: [blog.test]}")
	blog.must("deploy")
	for _, version := range []string{"v2", "v3", "v4"} {
		v := s.version(version, "")
		v.Files["kstep.staging.yml"] = "proxy: {hosts: [staging.test], fallback: false}\n"
		commits = append(commits, w.commit(v))
		w.must("deploy")
	}

	w.serves("v4")
	w.answersAt("staging.test", "v1")
	w.answersAt("blog.test", "v1")
	for host, role := range map[string]string{"vm1": "web", "vm2": "web", "vm3": "job"} {
		names := w.containers(host)
		for i, commit := range commits {
			name := "shop-" + role + "-" + commit
			if kept := i > 0; slices.Contains(names, name) != kept {
				t.Errorf("%s has %s: %t, want %t", host, name, !kept, kept)
			}
		}
		if !slices.Contains(names, "shop-"+role+"-staging-"+commits[0]) || !slices.Contains(names, "blog-"+role+"-"+blog.head()) {
			t.Errorf("%s has %v, want staging and blog untouched", host, names)
		}
		tags := w.tags(host)
		for _, commit := range append(slices.Clone(commits), "latest", "latest-staging") {
			if !slices.Contains(tags, rig.Registry+"/acme/shop:"+commit) {
				t.Errorf("%s has the tags %v, want %s for rollback or staging", host, tags, commit)
			}
		}
	}

	for i, version := range []string{"v2", "v3"} {
		w.must("rollback", commits[i+1])
		w.serves(version)
	}
	w.answersAt("staging.test", "v1")
	w.answersAt("blog.test", "v1")
}

// beside is a second service, with its own checkout, on the same hosts.
func (w *world) beside(service, proxy string) *world {
	w.t.Helper()
	app, err := w.rig.NewApp(service, settings{service: service}.proxied("v1", proxy))
	if err != nil {
		w.t.Fatal(err)
	}
	return &world{t: w.t, rig: w.rig, app: app}
}

// proxied is a version whose configuration has another line for the proxy.
func (s settings) proxied(version, proxy string) rig.AppVersion {
	v := s.version(version, "")
	lines := strings.Split(v.Files["kstep.yml"], "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "proxy:") {
			lines[i] = proxy
		}
	}
	v.Files["kstep.yml"] = strings.Join(lines, "\n")
	return v
}

// answersAt checks both web hosts under a name.
func (w *world) answersAt(name, version string) {
	w.t.Helper()
	for _, host := range []string{"vm1", "vm2"} {
		req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.rig.Host(host).URL()+"/", nil)
		if err != nil {
			w.t.Fatal(err)
		}
		req.Host = name
		if status, body := w.do(req); status != 200 || !strings.HasPrefix(body, "version "+version+" ") {
			w.t.Errorf("%s on %s answers %d %q, want version %s", name, host, status, body, version)
		}
	}
}

// containers lists the names of a host's containers, running or not.
func (w *world) containers(host string) []string {
	w.t.Helper()
	containers, err := w.rig.Host(host).Containers(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, c := range containers {
		names = append(names, c.Name)
	}
	return names
}

// tags lists the tags of a host's images.
func (w *world) tags(host string) []string {
	w.t.Helper()
	images, err := w.rig.Host(host).Images(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var tags []string
	for _, i := range images {
		tags = append(tags, i.RepoTags...)
	}
	return tags
}
