package plan

import (
	"testing"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/state"
)

// The digests are those that the last kstep with one network for all services made
// (501d818): its containers are equal to today's, and no upgrade replaces them.
func TestNetwork_IsNotInTheDigest(t *testing.T) {
	t.Parallel()
	n := Names{Service: "shop", Destination: "staging", Run: "/run"}
	push := state.PushOutputs{Repository: "r/shop", Digest: "sha256:aa"}
	same := func(what string, spec engine.Spec, digest string) {
		t.Helper()
		if got := spec.Labels[engine.LabelSpec]; got != digest {
			t.Errorf("%s: got %s, want %s", what, got, digest)
		}
		if spec.Network != "kstep-shop.staging" {
			t.Errorf("%s: got the network %s", what, spec.Network)
		}
	}
	for extra, digest := range map[string]string{
		"":                        "sha256:483a6c36206ad1837f265e90d290ce0a61bf53a72e56bf9330b449fe105769c6",
		"proxy: {switch: cord}\n": "sha256:019a944671c856ed7883dba014ef6bdc64e16eed2f114d18354760f9c5a6681c",
	} {
		cfg := load(t, "service: shop\nimage: r/shop\nservers:\n  web: {hosts: [a], options: {network-alias: [w]}}\ntasks:\n  migrate: {cmd: run}\n"+extra)
		target, env := Targets(cfg)[0], state.EnvTarget{Fingerprint: "f1"}
		same("container "+extra, Container(cfg, n, target, 1, "v1", "R1", push, state.AssetsTarget{}, env).Spec, digest)
		same("task", Task(cfg, n, target, config.Task{Name: "migrate", Cmd: []string{"run"}}, "v1", "R1", push, env),
			"sha256:567b5dacd5fb160410e48bc6f0dc39c3aea3971206cb70ecca495e6ebe1b4c8c")
	}
	db := config.Accessory{Name: "db", Image: "db:1"}
	was := Accessory(&config.Config{}, n, db, "hmac-sha256:aaaa", "")
	same("accessory", was, "sha256:26cd1464963cdf53bbf2a1325ee6f2a82605ed531db8d6f445e25e290ad69b7d")

	db.Networks = []string{"backend"}
	joined := Accessory(&config.Config{}, n, db, "hmac-sha256:aaaa", "")
	for what, tt := range map[string]struct{ now, want engine.Spec }{"added": {was, joined}, "removed": {joined, was}} {
		if got := Drift(engine.Container{Image: "db:1", Labels: tt.now.Labels}, tt.want); len(got) != 1 || got[0] != "networks" {
			t.Errorf("%s: got %q, want networks", what, got)
		}
	}
}

func TestNetwork_NamesAreOnesOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]Names{Network: {}}
	for _, n := range []Names{
		{Service: "a"}, {Service: "a-b"}, {Service: "a", Destination: "b"}, {Service: "a-b", Destination: "c"}, {Service: "a", Destination: "b-c"}, {Service: "proxy"},
	} {
		if other, taken := seen[n.Network()]; taken {
			t.Errorf("%+v and %+v have the network %s", n, other, n.Network())
		}
		seen[n.Network()] = n
	}
}
