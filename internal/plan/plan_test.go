package plan

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/state"
)

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kstep.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.LoadOptions{Path: path, Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

const twoRoles = `
service: shop
image: acme/shop
servers:
  web: [10.0.0.1, 10.0.0.2]
  job:
    hosts:
      - 10.0.0.3: [eu, canary]
    env: {LEVEL: role}
env:
  clear: {LEVEL: top, KEEP: "1", TOKEN: plain}
  secret: [PASSWORD]
  tags:
    eu: {LEVEL: eu, PASSWORD: from-tag}
    canary: {clear: {LEVEL: canary}, secret: ["TOKEN:CANARY_TOKEN"]}
`

func TestTargets_AreAllRolesOnAllHostsInOrder(t *testing.T) {
	got := Keys(Targets(load(t, twoRoles)))
	if want := []string{"web@10.0.0.1", "web@10.0.0.2", "job@10.0.0.3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTargets_LaterEnvLayerWinsWhateverItsKind(t *testing.T) {
	job := Targets(load(t, twoRoles))[2]
	want := config.Env{
		Clear:  map[string]string{"LEVEL": "canary", "KEEP": "1", "PASSWORD": "from-tag"},
		Secret: []string{"TOKEN:CANARY_TOKEN"},
	}
	got := config.Env{Clear: job.Env.Clear, Secret: job.Env.Secret}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(config.Env{})); diff != "" {
		t.Errorf("env (-want +got):\n%s", diff)
	}
}

func TestFilter_RefusesAGlobThatMatchesNothing(t *testing.T) {
	_, err := Filter(Targets(load(t, twoRoles)), []string{"wbe"}, nil)
	if exit.CodeOf(err) != exit.Usage || !strings.Contains(strings.Join(exit.Hints(err), " "), "web, job") {
		t.Errorf("got %v with hints %v, want a usage error that lists the roles", err, exit.Hints(err))
	}
}

func TestFilter_TakesGlobsOfRolesAndHosts(t *testing.T) {
	got, err := Filter(Targets(load(t, twoRoles)), []string{"w*"}, []string{"*.2"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"web@10.0.0.2"}; !slices.Equal(Keys(got), want) {
		t.Errorf("got %v, want %v", Keys(got), want)
	}
}

func TestFilter_TakesANameAsItIsWritten(t *testing.T) {
	targets := Targets(load(t, strings.NewReplacer("10.0.0.1", `"[2001:db8::1]:2222"`, "10.0.0.2", `"2001:db8::2"`).Replace(twoRoles)))
	for _, host := range []string{"[2001:db8::1]:2222", "2001:db8::2"} {
		if got, err := Filter(targets, nil, []string{host}); err != nil || len(got) == 0 || got[0].Host != host {
			t.Errorf("%s: got %v, %v", host, got, err)
		}
	}
	for _, glob := range []string{"[2001:db8::9]:2222", "[2001"} {
		if got, err := Filter(targets, nil, []string{glob}); exit.CodeOf(err) != exit.Usage {
			t.Errorf("%s: got %v, %v, want a usage error", glob, got, err)
		}
	}
}

func TestCount_ReadsNumbersAndPercentages(t *testing.T) {
	for name, c := range map[string]struct {
		text        string
		total, want int
	}{
		"nothing means all":               {"", 4, 4},
		"all":                             {"all", 4, 4},
		"a number":                        {"3", 4, 3},
		"more than there are":             {"9", 4, 4},
		"a percentage is rounded down":    {"60%", 4, 2},
		"a small percentage is still one": {"1%", 4, 1},
		"a hundred percent":               {"100%", 3, 3},
	} {
		if got := Count(c.text, c.total); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestGroups_LimitEachRoleByItsOwnHosts(t *testing.T) {
	targets := Targets(load(t, twoRoles))
	var got [][]string
	for _, wave := range Groups(targets, "50%") {
		got = append(got, Keys(wave))
	}
	want := [][]string{{"web@10.0.0.1", "job@10.0.0.3"}, {"web@10.0.0.2"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("waves (-want +got):\n%s", diff)
	}
}

func TestNames_NeverCollide(t *testing.T) {
	a := Names{Service: "a-b", Run: "/r"}
	b := Names{Service: "a", Destination: "b", Run: "/r"}
	if a.Route("c") == b.Route("c") || a.RouteFile("web") == b.RouteFile("web") {
		t.Error("service a-b and service a at destination b share a route")
	}
	web := Names{Service: "shop", Run: "/r"}
	if got, want := web.Replica("web", "v1", 1), web.Container("web", "v1"); got != want {
		t.Errorf("the first replica is called %s, want %s", got, want)
	}
	second := web.Replica("web", "v1", 2) // Versions hold dots, roles do not.
	for _, other := range []string{web.Container("web", "v1.2"), web.Container("web", "2-v1"), web.Container("web-2", "v1")} {
		if second == other {
			t.Errorf("a second replica is called %s like the first of something else", second)
		}
	}
}

func TestContainer_SpecDigestIgnoresTheReleaseButNothingElse(t *testing.T) {
	cfg := load(t, twoRoles)
	names := Names{Service: "shop", Run: "/root/.kstep"}
	push := state.PushOutputs{Repository: "acme/shop", Digest: "sha256:1"}
	spec := func(release string, push state.PushOutputs, env string) string {
		w := Container(cfg, names, Targets(cfg)[0], 1, "v1", release, push, state.AssetsTarget{}, state.EnvTarget{Fingerprint: env})
		return w.Spec.Labels["kstep.spec"]
	}
	base := spec("R1", push, "f1")
	two := Container(cfg, names, Targets(cfg)[0], 2, "v1", "R1", push, state.AssetsTarget{}, state.EnvTarget{Fingerprint: "f1"})
	if two.Spec.Labels["kstep.spec"] == base || two.Spec.Labels["kstep.replica"] != "2" {
		t.Error("two replicas have one digest, and would share a cord")
	}
	if got := spec("R2", push, "f1"); got != base {
		t.Error("another release changes the digest: every redeploy would restart the container")
	}
	if spec("R1", push, "f2") == base {
		t.Error("another environment does not change the digest")
	}
	push.Digest = "sha256:2"
	if spec("R1", push, "f1") == base {
		t.Error("another image does not change the digest")
	}
}

func TestContainer_TheNameThatACordsCheckSendsIsNoOtherContainer(t *testing.T) {
	t.Parallel()
	container := func(more string) engine.Spec {
		cfg := load(t, "service: shop\nimage: acme/shop\nservers: [a]\n"+more)
		return Container(cfg, Names{Service: "shop", Run: "/run"}, Targets(cfg)[0], 1, "v1", "R1",
			state.PushOutputs{Repository: "acme/shop", Digest: "sha256:1"}, state.AssetsTarget{}, state.EnvTarget{}).Spec
	}
	plain, named := container("proxy: {switch: cord}\n"), container("proxy: {switch: cord, hosts: [shop.example.com]}\n")
	if plain.Labels["kstep.spec"] != named.Labels["kstep.spec"] {
		t.Error("a host of the proxy changes the digest: hosts deployed before would get other containers of the same version")
	}
	if !strings.Contains(named.Health.Shell, "Host: shop.example.com") || strings.Contains(plain.Health.Shell, "Host:") {
		t.Errorf("got the checks\n%s\n%s", named.Health.Shell, plain.Health.Shell)
	}
	for name, keys := range map[string]string{
		"a host": "host: own", "a header": "headers: {A: b}", "TLS": "scheme: https, verify: false",
	} {
		other := container("proxy: {switch: cord}\nhealthcheck: {" + keys + "}\n")
		if other.Labels["kstep.spec"] == plain.Labels["kstep.spec"] {
			t.Errorf("%s that the user asks for does not change the digest", name)
		}
	}
	route := Names{Service: "shop"}.CordService("web")
	tls := container("proxy: {switch: cord}\nhealthcheck: {scheme: https, verify: false}\n")
	if _, plainHas := plain.Labels["traefik.http.services."+route+".loadbalancer.server.scheme"]; plainHas || tls.Labels["traefik.http.services."+route+".loadbalancer.server.scheme"] != "https" {
		t.Errorf("got labels %q and %q", plain.Labels, tls.Labels)
	}
}
