package config

import (
	"testing"
	"time"
)

func TestLoad_TakesServersInEveryForm(t *testing.T) {
	for name, tt := range map[string]struct {
		servers string
		want    []Role
	}{
		"a list is the role web": {"[a, b]", []Role{{Name: "web", Hosts: []Host{{Name: "a"}, {Name: "b"}}, Replicas: 1, Start: "with-boot"}}},
		"a map of lists keeps its order": {"{web: [a], job: [b], app: [c]}", []Role{
			{Name: "web", Hosts: []Host{{Name: "a"}}, Replicas: 1, Start: "with-boot"},
			{Name: "job", Hosts: []Host{{Name: "b"}}, Replicas: 1, Start: "with-boot"},
			{Name: "app", Hosts: []Host{{Name: "c"}}, Replicas: 1, Start: "with-boot"},
		}},
		"a map of maps": {"{web: {hosts: ['u@a:22'], cmd: \"run 'x y' z\\\\ z\", proxy: false}}", []Role{
			{Name: "web", Hosts: []Host{{Name: "u@a:22"}}, Cmd: Command{"run", "x y", "z z"}, Proxy: new(false), Replicas: 1, Start: "with-boot"},
		}},
		"hosts with tags, united when listed twice": {"[1.1.1.1, 1.1.1.2: t1, 1.1.1.2: [t2, t1], 1.1.1.3: [t1, t2]]", []Role{
			{Name: "web", Replicas: 1, Start: "with-boot", Hosts: []Host{
				{Name: "1.1.1.1"}, {Name: "1.1.1.2", Tags: []string{"t1", "t2"}}, {Name: "1.1.1.3", Tags: []string{"t1", "t2"}},
			}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := mustLoad(t, "service: s\nimage: a\nenv_tags: {t1: , t2: {A: 1}}\nservers: "+tt.servers+"\n")
			same(t, "roles", cfg.Servers.Roles, tt.want)
		})
	}
}

func TestLoad_TakesEnvFlatOrStructured(t *testing.T) {
	cfg := mustLoad(t, base+`
env:
  clear: {OCTAL: 0777, FLOAT: 1.10, YES: yes, BOOL: True, NUM: 1_000, EMPTY: "", HEX: 0x1f, DATE: 2024-01-01}
  secret: [A, B:C]
  tags:
    one: {X: 1}
env_tags:
  two: {clear: {Y: 2}, secret: [Z]}
`)
	same(t, "clear", cfg.Env.Clear, map[string]string{
		"OCTAL": "0777", "FLOAT": "1.10", "YES": "yes", "BOOL": "True", "NUM": "1_000", "EMPTY": "", "HEX": "0x1f", "DATE": "2024-01-01",
	})
	same(t, "secret", cfg.Env.Secret, []string{"A", "B:C"})
	same(t, "tag one", cfg.TagEnv("one"), Env{Clear: map[string]string{"X": "1"}})
	same(t, "tag two", cfg.TagEnv("two"), Env{Clear: map[string]string{"Y": "2"}, Secret: []string{"Z"}})
	same(t, "no such tag", cfg.TagEnv("three"), Env{})
	flat := mustLoad(t, base+"env: {A: 1, B: two}\n")
	same(t, "flat", flat.Env, Env{Clear: map[string]string{"A": "1", "B": "two"}})
}

func TestLoad_TakesEveryOtherForm(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		get  func(*Config) any
		want any
	}{
		"shell health command":    {"healthcheck: {cmd: 'curl -f x | y'}", func(c *Config) any { return c.Healthcheck.Cmd }, HealthCommand{Shell: "curl -f x | y"}},
		"direct health command":   {"healthcheck: {cmd: [a, b]}", func(c *Config) any { return c.Healthcheck.Cmd }, HealthCommand{Exec: []string{"a", "b"}}},
		"no ssh config":           {"ssh: {config: false}", func(c *Config) any { return c.SSH.Config }, SSHConfig{Disabled: true}},
		"one ssh config":          {"ssh: {config: a}", func(c *Config) any { return c.SSH.Config }, SSHConfig{Files: []string{"a"}}},
		"several ssh configs":     {"ssh: {config: [a, b]}", func(c *Config) any { return c.SSH.Config }, SSHConfig{Files: []string{"a", "b"}}},
		"known hosts inline":      {"ssh: {known_hosts: 'h ssh-ed25519 AAAA'}", func(c *Config) any { return c.SSH.KnownHosts }, Texts{"h ssh-ed25519 AAAA"}},
		"known hosts files":       {"ssh: {known_hosts: [a, b]}", func(c *Config) any { return c.SSH.KnownHosts }, Texts{"a", "b"}},
		"publish a port":          {"proxy: {publish: 8080}", func(c *Config) any { return c.Proxy.Publish }, Publish{HTTP: Listen{Port: 8080}, HTTPS: Listen{Port: 443}}},
		"publish nothing":         {"proxy: {publish: false}", func(c *Config) any { return c.Proxy.Publish }, Publish{}},
		"publish the default":     {"proxy: {publish: true}", func(c *Config) any { return c.Proxy.Publish }, defaultPublish()},
		"quorum as a number":      {"barrier: {quorum: 2}", func(c *Config) any { return c.Barrier.Quorum }, "2"},
		"quorum as a share":       {"barrier: {quorum: 50%}", func(c *Config) any { return c.Barrier.Quorum }, "50%"},
		"limit as a number":       {"cutover: {limit: 2}", func(c *Config) any { return c.Cutover.Limit }, "2"},
		"limit as a share":        {"boot: {limit: 25%}", func(c *Config) any { return c.Boot.Limit }, "25%"},
		"time span as text":       {"stop: {timeout: 1h30m}", func(c *Config) any { return c.Stop.Timeout.D() }, 90 * time.Minute},
		"time span as seconds":    {"stop: {timeout: 1.5}", func(c *Config) any { return c.Stop.Timeout.D() }, 1500 * time.Millisecond},
		"seconds in quotes":       {"stop: {timeout: '30'}", func(c *Config) any { return c.Stop.Timeout.D() }, 30 * time.Second},
		"an explicit zero":        {"cutover: {drain: 0}", func(c *Config) any { return c.Cutover.Drain }, Duration(0)},
		"user by value":           {"registry: {username: me, password: [P]}", func(c *Config) any { return c.Registry.Username }, SecretOrValue{Value: "me"}},
		"user by secret":          {"registry: {username: [U], password: [P]}", func(c *Config) any { return c.Registry.Username }, SecretOrValue{Secret: "U"}},
		"an empty block":          {"healthcheck:\n  # port: 1\nssh:", func(c *Config) any { return c.Healthcheck.Port }, 3000},
		"an anchor":               {"x-l: &l {a: b}\nlabels: {<<: *l, c: 1.0}", func(c *Config) any { return c.Labels }, map[string]string{"a": "b", "c": "1.0"}},
		"a merge key gives way":   {"x-l: &l {a: b, c: d}\nlabels: {a: x, <<: [*l]}", func(c *Config) any { return c.Labels }, map[string]string{"a": "x", "c": "d"}},
		"a version like a number": {"minimum_version: 1.10", func(c *Config) any { return c.MinimumVersion }, "1.10"},
		"an x- key with dollars":  {"x-any: ${NOPE", func(c *Config) any { return c.Service }, "shop"},
	} {
		t.Run(name, func(t *testing.T) { same(t, "value", tt.get(mustLoad(t, base+tt.text+"\n")), tt.want) })
	}
}

func TestLoad_FillsInVariables(t *testing.T) {
	for text, want := range map[string]string{
		"${PORT}":                    "8080",
		"a${PORT}b${PORT}":           "a8080b8080",
		"${NOPE:-x}":                 "x",
		"${EMPTY:-x}":                "x",
		"${EMPTY}":                   "",
		"${NOPE:-}":                  "",
		"${NOPE:-a${PORT}}b":         "a8080b",
		"${NOPE:-${EMPTY:-${PORT}}}": "8080",
		"${PORT:?no port}":           "8080",
		"$$":                         "$",
		"$${PORT}":                   "${PORT}",
		"$PORT":                      "$PORT",
		"$":                          "$",
		"a$ b":                       "a$ b",
		"{}${PORT}}":                 "{}8080}",
	} {
		t.Run(text, func(t *testing.T) {
			cfg := mustLoad(t, base+"env:\n  A: '"+text+"'\n")
			same(t, "value", cfg.Env.Clear["A"], want)
		})
	}
	cfg := mustLoad(t, base+"healthcheck:\n  port: ${PORT}\nlogging: {driver: \"${EMPTY}\"}\n")
	same(t, "port", cfg.Healthcheck.Port, 8080)
}

func TestLoad_MergesTheDestinationOverTheMainFile(t *testing.T) {
	main := `service: shop
image: acme/shop
servers: {web: {hosts: [a, b], cmd: run, env: {A: 1}}}
env: {A: 1, B: "${NOPE:?not used}"}
labels: {a: b, c: d}
volumes: [/a:/a]
asset_path: /assets
healthcheck: {path: /up, port: 80}
`
	cfg, err := load(t, map[string]string{"kstep.yml": main, "kstep.staging.yml": `
servers: {web: [c]}
env: {clear: {B: 2}, secret: [S]}
labels: {c: , e: f}
volumes: [/b:/b]
asset_path:
healthcheck: {port: 81}
`}, LoadOptions{Destination: "staging"})
	if err != nil {
		t.Fatal(err)
	}
	web, _ := cfg.Role("web")
	same(t, "hosts", web.Hosts, []Host{{Name: "c"}})
	same(t, "cmd", web.Cmd, Command{"run"})
	same(t, "env", cfg.Env, Env{Clear: map[string]string{"A": "1", "B": "2"}, Secret: []string{"S"}})
	same(t, "labels", cfg.Labels, map[string]string{"a": "b", "e": "f"})
	same(t, "volumes", cfg.Volumes, []string{"/b:/b"})
	same(t, "asset path", cfg.AssetPath, "")
	same(t, "path", cfg.Healthcheck.Path, "/up")
	same(t, "port", cfg.Healthcheck.Port, 81)
	same(t, "destination", cfg.Destination, "staging")
}

func TestLoad_PointsToTheFileThatAValueCameFrom(t *testing.T) {
	got := complaints(t, map[string]string{
		"kstep.yml":         base + "retain: 0\nhealthcheck:\n  port: 0\n",
		"kstep.staging.yml": "healthcheck:\n\n  path: up\nbarier: {}\n",
	}, LoadOptions{Destination: "staging"})
	same(t, "complaints", got, []string{
		`kstep.yml:4:9: retain: must be at least 1`,
		`kstep.yml:6:9: healthcheck.port: must be at least 1`,
		`kstep.staging.yml:3:9: healthcheck.path: must be a path such as /up`,
		`kstep.staging.yml:4:1: barier: unknown key; did you mean "barrier"?`,
	})
}

func TestLoad_MissingDestinationNamesThePathAndWhatThereIs(t *testing.T) {
	_, err := load(t, map[string]string{"kstep.yml": base, "kstep.production.yml": "{}"}, LoadOptions{Destination: "prod"})
	wantError(t, err, "kstep.prod.yml", "kstep.production.yml")
	_, err = load(t, map[string]string{"kstep.yml": base}, LoadOptions{Destination: "../x"})
	wantError(t, err, `destination "../x"`, "")
}
