//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

// The tests in this file show each of S1 to S17 (docs/seeds.md) on real hosts, in
// a short time: `make seeds`.

// countingContainers is a docker-setup hook that records how many containers there
// are on each host.
const countingContainers = `#!/bin/sh
set -eu
for host in $(echo "$KSTEP_HOSTS" | tr , ' '); do
  echo "$host $(ssh "root@$host" docker ps --all --quiet | wc -l)" >>containers-at-setup
done
`

// TestSeeds_SetupDeployBrokenDeployAndRollback follows one service through its
// releases, by the cord.
func TestSeeds_SetupDeployBrokenDeployAndRollback(t *testing.T) {
	t.Parallel()
	// S3: tags of hosts. S14, S15: what is built, and how long it is kept.
	const extra = `retain: 1
builder: {context: .}
env:
  clear: {PLACE: everywhere}
  tags:
    red: {clear: {COLOR: red, RED: 'yes'}}
    blue: {clear: {COLOR: blue}}
`
	s := settings{shell: true, extra: extra}.with("cord")
	version := func(name, flags string) rig.AppVersion {
		v := s.version(name, flags)
		v.Files["kstep.yml"] = strings.Replace(s.yaml(), "[vm1, vm2]", "[vm1: red, vm2: [red, blue]]", 1)
		v.Files[".gitignore"] += "containers-at-setup\n"
		v.Files[".kstep/hooks/docker-setup"] = countingContainers
		return v
	}
	w := beginWith(t, version("v1", ""))
	w.rigIsHealthy()                                                                        // S16, S17
	if status, body := w.get("http://" + w.rig.RegistryAddress() + "/v2/"); status != 200 { // S1
		t.Errorf("the registry answers %d %s over plain HTTP, want 200", status, body)
	}
	if status, _ := w.get(w.rig.LoadBalancerURL()); status != 502 { // S17
		t.Errorf("before the first deploy the load balancer answers %d, want 502", status)
	}

	w.must("setup")
	w.serves("v1")
	first := w.head()
	w.setUpBeforeAnyContainer()                                             // S5
	w.runs("vm3", "shop-job-"+first)                                        // S4
	w.sees("vm1", map[string]string{"PLACE": "everywhere", "COLOR": "red"}) // S3
	w.sees("vm2", map[string]string{"COLOR": "blue", "RED": "yes"})
	w.hasCord("vm1") // S8

	load := w.load(rig.Load{Kept: 4, Fresh: 2, Slow: 2, Pace: 100 * time.Millisecond})
	second := w.commit(version("v2", ""))
	for _, stage := range allStages()[:3] {
		w.must(stage)
	}
	// S7: from before the new version boots, both answer for the files of both.
	assets := w.load(rig.Load{Paths: []string{"/assets/app-v1.css", "/assets/app-v2.css"}, Kept: 4, Slow: -1, Pace: 100 * time.Millisecond})
	for _, stage := range allStages()[3:] {
		w.must(stage)
	}
	w.serves("v2")
	w.must("boot") // S13: a stage that is run again changes nothing.
	if got := w.state("boot")["status"]; got != "unchanged" {
		t.Errorf("boot run again reports %v, want unchanged", got)
	}
	w.lostNothing(assets, 250)
	for _, host := range []string{"vm1", "vm2"} {
		if _, manifest := w.get(w.rig.Host(host).URL() + "/assets/manifest.json"); !strings.Contains(manifest, "app-v2.css") {
			t.Errorf("%s: the new version sees the manifest %q, want its own", host, manifest)
		}
	}

	// S2: a broken image closes the barrier, and what served keeps serving.
	before := map[string][]string{"vm1": w.running("vm1"), "vm2": w.running("vm2"), "vm3": w.running("vm3")}
	w.commit(version("broken", "exit"))
	w.exits(13, "deploy")
	w.serves("v2")
	for host, want := range before {
		w.runs(host, want...)
	}

	// S14: the name of a version with uncommitted changes comes from their content.
	if err := w.app.Write(version("v3", "")); err != nil {
		t.Fatal(err)
	}
	w.must("deploy")
	w.serves("v3")
	third := w.live("vm1").Name
	if !regexp.MustCompile("^shop-web-" + w.head() + "_uncommitted_[0-9a-f]{16}$").MatchString(third) {
		t.Errorf("the container with uncommitted changes is called %s", third)
	}

	// S15: prune has kept the version before the live one, with its tag, and no more.
	if names := w.containers("vm1"); slices.Contains(names, "shop-web-"+first) || !slices.Contains(names, "shop-web-"+second) {
		t.Errorf("vm1 has %v, want the container of %s and not that of %s", names, second, first)
	}
	if tags := w.tags("vm1"); !slices.Contains(tags, rig.Registry+"/acme/shop:"+second) {
		t.Errorf("vm1 has the tags %v, want that of %s", tags, second)
	}
	w.must("rollback")
	w.serves("v2")
	w.runs("vm3", "shop-job-"+second)
	w.lostNothing(load, 500)
}

// TestSeeds_HooksEnvironmentsAccessoriesAndCommandsByHand follows one service
// through what people and CI do around its releases.
func TestSeeds_HooksEnvironmentsAccessoriesAndCommandsByHand(t *testing.T) {
	t.Parallel()
	const one, two = "it is \"vaulted\"\n$one", "two\nlines"
	s := settings{extra: "env: {secret: [TOKEN]}\n" + accessoryYAML, shell: true}
	w := begin(t, s)
	w.commit(s.seed(w.rig.LoadBalancerContainer()))

	// S9: envify makes the secrets' file from its template, and pushes it.
	r := w.must("envify")
	if strings.Contains(r.Stdout+r.Stderr, "vaulted") {
		t.Errorf("the secret is in the output:\n%s%s", r.Stdout, r.Stderr)
	}
	info, err := os.Stat(filepath.Join(w.app.Dir, ".env"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf(".env is %v (%v), want mode 600", info, err)
	}
	w.private()

	// S9: only the containers see a secret. S10 to S12: the hooks of a release.
	watched := w.watchProcesses()
	said := w.deployWithSecrets(environment{})
	w.hidden("TOKEN", `it is "vaulted"`, said, watched())
	w.serves("v1")
	w.sees("vm1", map[string]string{"TOKEN": one})
	proxy, err := w.rig.Host("vm2").Container(t.Context(), "kstep-proxy")
	if err != nil || !slices.Contains(proxy.Config.Env, "TOKEN="+one) {
		t.Errorf("the proxy has %q (%v), want its environment", proxy.Config.Env, err)
	}
	what := `: shop@` + w.head()[:7] + ` on vm1,vm2,vm3 by [^,]+, `
	w.noteds("pre-build of build "+what+"no s", "post-push of push "+what+`\d+ s`, "pre-deploy of assets "+what+"no s", "post-deploy of prune "+what+`[1-9]\d* s`)
	w.must("prune")
	w.noteds("")

	// S13: commands by hand.
	w.byHand()
	w.must("lock", "acquire", "-m", "maintenance")
	if r := w.exits(20, "deploy", "--new-release"); !strings.Contains(r.Stderr, "maintenance") {
		t.Errorf("a deploy during a lock does not say why it is refused:\n%s", r.Stderr)
	}
	w.must("lock", "release")
	accessory := w.bootAccessory("TOKEN="+one, one)

	// S9: containers keep their environment until they are made anew.
	w.with([]string{"TOKEN=" + two}, "env", "push")
	w.sees("vm1", map[string]string{"TOKEN": one})
	load := w.load(rig.Load{Kept: 4, Fresh: 2, Slow: 2, Pace: 100 * time.Millisecond})
	w.with([]string{"TOKEN=" + two}, "redeploy") // S15
	w.lostNothing(load, 200)
	for _, host := range []string{"vm1", "vm2"} {
		w.sees(host, map[string]string{"TOKEN": two})
	}
	if boot := fmt.Sprint(w.state("boot")["outputs"]); !strings.Contains(boot, "shop-web-"+w.head()+"_replaced_") { // S14
		t.Errorf("boot did not give the old container of the same version another name: %s", boot)
	}
	w.rebootAccessory(accessory, "TOKEN="+two, two)
	w.removeAccessory()

	// S10, S12: a hook that fails stops a release before a host is touched.
	v2 := s.seed(w.rig.LoadBalancerContainer())
	v2.Version, v2.Files[".kstep/hooks/pre-deploy"] = "v2", "#!/bin/sh\necho CI is red\nexit 1\n"
	w.commit(v2)
	w.must("build")
	w.must("push")
	before := w.snapshot()
	if r := w.exits(10, "assets"); !strings.Contains(r.Stderr, "CI is red") {
		t.Errorf("it does not show what the hook printed:\n%s", r.Stderr)
	}
	if after := w.snapshot(); after != before {
		t.Errorf("it touched the hosts:\n%s", before.Diff(after))
	}
	w.noted()

	// S6: hooks around each host's reboot take it out of the load balancer.
	balanced := w.load(rig.Load{URLs: []string{w.rig.LoadBalancerURL()}, Kept: -1, Fresh: 4, Slow: -1, Pace: 40 * time.Millisecond})
	w.must("proxy", "reboot", "--rolling")
	w.lostNothing(balanced, 250)
	of := " of proxy reboot: shop@ on "
	w.noteds("pre-traefik-reboot"+of+"vm1 by .*", "post-traefik-reboot"+of+"vm1 by .*", "pre-traefik-reboot"+of+"vm2 by .*", "post-traefik-reboot"+of+"vm2 by .*")

	w.must("env", "delete") // S9
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

// seed is a version with secrets, an accessory and hooks; those around a reboot of
// the proxy change the load balancer.
func (s settings) seed(balancer string) rig.AppVersion {
	v := s.hooked("v1", "pre-build", "post-push", "pre-deploy", "post-deploy")
	v.Files["kstep.yml"] = strings.Replace(s.yaml(), "switch: routes", "switch: routes, env: {secret: [TOKEN]}", 1)
	v.Files[".gitignore"] += ".env\n"
	v.Files["db.conf"] = "first\n"
	v.Files["vault"] = "#!/bin/sh\nprintf 'it is \"vaulted\"\\n$%s\\n' \"$1\"\n"
	v.Files[".env.tmpl"] = `TOKEN={{ exec "./vault" "one" }}` + "\n"
	for hook, mark := range map[string]string{"pre-traefik-reboot": "#", "post-traefik-reboot": ""} {
		v.Files[".kstep/hooks/"+hook] = noting + strings.TrimPrefix(fmt.Sprintf(outOfBalancer, balancer, mark), "#!/bin/sh\n")
	}
	return v
}

// rigIsHealthy expects that all containers of the rig were waited for.
func (w *world) rigIsHealthy() {
	w.t.Helper()
	project := strings.TrimSuffix(w.rig.LoadBalancerContainer(), "-load_balancer-1")
	r, err := w.rig.Deployer.Run(w.t.Context(), nil, ".", "docker", "ps", "--format", "{{.Names}}",
		"--filter", "health=healthy", "--filter", "label=com.docker.compose.project="+project)
	if err != nil {
		w.t.Fatal(err)
	}
	if names := strings.Fields(r.Stdout); len(names) != 7 {
		w.t.Errorf("these containers of the rig are healthy: %v, want all 7\n%s", names, r.Stderr)
	}
}

// setUpBeforeAnyContainer expects the docker-setup hook to have run on each host
// before there was a container.
func (w *world) setUpBeforeAnyContainer() {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.app.Dir, "containers-at-setup"))
	if err != nil {
		w.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	slices.Sort(lines)
	if want := []string{"vm1 0", "vm2 0", "vm3 0"}; !slices.Equal(lines, want) {
		w.t.Errorf("docker-setup saw these containers: %q, want %q", lines, want)
	}
}

// hasCord expects a folder with the cord on the host for what serves there.
func (w *world) hasCord(host string) {
	w.t.Helper()
	files, err := w.rig.Host(host).Files(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if !strings.Contains(strings.Join(files, "\n"), "/cords/web@"+w.head()) {
		w.t.Errorf("%s has no cord for version %s: %v", host, w.head(), files)
	}
}
