package config

import (
	"slices"
	"strings"
	"testing"
)

func TestRegistries_AreAListOrAMapByServer(t *testing.T) {
	t.Parallel()
	list := mustLoad(t, base+`registries:
  - {server: ghcr.io, username: bot, password: [GH]}
  - {server: "registry:5001", insecure: true}
`)
	byServer := mustLoad(t, base+`registries:
  ghcr.io: {username: bot, password: [GH]}
  "registry:5001": {server: "registry:5001", insecure: true}
`)
	if list.Digest() != byServer.Digest() {
		t.Errorf("got %+v and %+v, want the same", list.Registries, byServer.Registries)
	}
	if r, key := list.RegistryAt("GHCR.IO/acme"); r.Username.Value != "bot" || key != `registries["ghcr.io"]` {
		t.Errorf("got %+v at %s", r, key)
	}
	if r, key := list.RegistryAt("registry:5002"); key != "" || r.Insecure {
		t.Errorf("another port: got %+v at %s, want nothing", r, key)
	}
	uses := list.SecretNames()
	if len(uses) != 1 || uses[0].Name != "GH" || uses[0].Where[0] != `registries["ghcr.io"].password[0]` {
		t.Errorf("got the secrets %+v", uses)
	}
	if mustLoad(t, base).Digest() != mustLoad(t, base+"registries:\n").Digest() {
		t.Error("a key without a value changes the configuration")
	}
}

func TestRegistries_OfADestinationAreMergedByServer(t *testing.T) {
	t.Parallel()
	for name, over := range map[string]string{
		"map":  "registries: {ghcr.io: {username: staging}, quay.io: {username: q, password: [Q]}}\n",
		"list": "registries: [{server: ghcr.io, username: staging}, {server: quay.io, username: q, password: [Q]}]\n",
	} {
		cfg, err := load(t, map[string]string{
			"kstep.yml":         base + "registries: {ghcr.io: {username: bot, password: [GH]}}\n",
			"kstep.staging.yml": over,
		}, LoadOptions{Destination: "staging"})
		if err != nil || len(cfg.Registries) != 2 || cfg.Registries[0].Username.Value != "staging" || cfg.Registries[0].Password[0] != "GH" {
			t.Errorf("%s: got %+v, %v", name, cfg, err)
		}
	}
}

func TestRegistries_AServerHasOneWholeLogin(t *testing.T) {
	t.Parallel()
	login := "username: bot, password: [GH]"
	tests := map[string]struct {
		text string
		want []string
	}{
		"twice in the list": {
			base + "registries: [{server: ghcr.io, " + login + "}, {server: ghcr.io, " + login + "}]\n",
			[]string{`kstep.yml:4:73: registries[1].server: is listed twice; a server has one login`},
		},
		"no server": {
			base + "registries: [{" + login + "}]\n",
			[]string{`kstep.yml:4:14: registries[0]: server is missing; write the registry's host, such as ghcr.io`},
		},
		"also registry's": {
			base + "registry: {server: ghcr.io, " + login + "}\nregistries: {GHCR.io: {" + login + "}}\n",
			[]string{`kstep.yml:5:14: registries["GHCR.io"]: is the same server as registry; a server has one login, keep one of them`},
		},
		"Docker Hub under two names": {
			base + "registries: {docker.io: {" + login + "}, index.docker.io: {" + login + "}}\n",
			[]string{`kstep.yml:4:58: registries["index.docker.io"]: is the same server as registries["docker.io"]; a server has one login, keep one of them`},
		},
		"another server than its key": {
			base + "registries: {ghcr.io: {server: quay.io, " + login + "}}\n",
			[]string{`kstep.yml:4:32: registries["ghcr.io"].server: is not the key that it stands under; leave it out`},
		},
		"half a login": {
			base + "registries: {ghcr.io: {username: bot}}\n",
			[]string{`kstep.yml:4:14: registries["ghcr.io"].password: is missing; name the secret that holds it, as a list`},
		},
		"nothing": {
			base + "registries: {ghcr.io: {}}\n",
			[]string{`kstep.yml:4:14: registries["ghcr.io"]: says nothing; give username and password, or insecure: true`},
		},
		"a URL": {
			base + "registries: {'https://ghcr.io': {" + login + "}}\n",
			[]string{`kstep.yml:4:14: registries["https://ghcr.io"]: must be a host such as ghcr.io or registry:5000, without https://`},
		},
	}
	for title, test := range tests {
		got := complaints(t, map[string]string{"kstep.yml": test.text}, LoadOptions{})
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", title, strings.Join(got, "\n"), strings.Join(test.want, "\n"))
		}
	}
}
