package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
)

func TestLoad_NotesVariablesOutsideOfEnvironments(t *testing.T) {
	t.Parallel()
	vars := func(name string) (string, bool) { return "value-of-" + name, name != "UNSET" }
	cfg, err := load(t, map[string]string{
		"kstep.yml": `service: shop
image: acme/shop
labels:
  owner: ${OWNER}
  both: ${A}-${B:-${A}}
  price: $$5
env:
  clear: {ALSO: "${IN_ENV}"}
env_tags: {gpu: {X: "${IN_TAG}"}}
servers:
  web:
    hosts: [192.0.2.1, "${UNSET:-192.0.2.2}"]
    cmd: run ${CMD}
    env: {clear: {ROLE: "${IN_ROLE}"}}
x-other: ${IGNORED}
`,
		"kstep.staging.yml": "labels: {owner: \"${STAGING}\"}\nbuilder: {args: {V: \"${ARG}\"}}\n",
	}, LoadOptions{Env: vars, Destination: "staging"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, use := range cfg.Variables {
		got = append(got, fmt.Sprintf("%s:%d %s %v", filepath.Base(use.File), use.Line, use.Key, use.Names))
	}
	want := []string{
		"kstep.staging.yml:1 labels.owner [STAGING]",
		"kstep.staging.yml:2 builder.args.V [ARG]",
		"kstep.yml:5 labels.both [A B]",
		"kstep.yml:12 servers.web.hosts[1] [UNSET]",
		"kstep.yml:13 servers.web.cmd [CMD]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
