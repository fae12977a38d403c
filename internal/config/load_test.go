package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

const base = "service: shop\nimage: acme/shop\nservers: [192.0.2.1]\n"

// load writes the files into a folder of their own and loads kstep.yml.
func load(t *testing.T, files map[string]string, o LoadOptions) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.Path = filepath.Join(dir, "kstep.yml")
	return Load(o)
}

func mustLoad(t *testing.T, text string) *Config {
	t.Helper()
	cfg, err := load(t, map[string]string{"kstep.yml": text}, LoadOptions{Env: env})
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return cfg
}

// complaints are what is wrong with a file, one line each, without its folder.
func complaints(t *testing.T, files map[string]string, o LoadOptions) []string {
	t.Helper()
	_, err := load(t, files, o)
	problems, ok := errors.AsType[Errors](err)
	if !ok {
		t.Fatalf("got error %v, want Errors", err)
	}
	if code := exit.CodeOf(err); code != exit.Config {
		t.Errorf("got exit code %d, want %d", code, exit.Config)
	}
	lines := make([]string, len(problems))
	for i, p := range problems {
		p.File = filepath.Base(p.File)
		lines[i] = p.Error()
	}
	return lines
}

func env(name string) (string, bool) {
	value, ok := map[string]string{
		"PORT": "8080", "DB": "hunter2", "EMPTY": "", "BROKEN": "\xff", "TAG": "gpu", "VERSION": "1.2",
	}[name]
	return value, ok
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %#v, want %#v", what, got, want)
	}
}

func TestLoad_ReportsEveryErrorAtOnceSortedByPosition(t *testing.T) {
	got := complaints(t, map[string]string{"kstep.yml": `service: shop
image: acme/shop
servres: x
servers:
  web:
    hosts:
      - 192.0.2.1
      - 192.0.2.2: gpuu
env:
  clear: {A: 1}
  secret: [A]
  tags:
    gpu: {X: y}
healthcheck:
  port: many
  interval: 0
stop: {signal: SIGTREM}
retain: 0
hooks_path: ${NOPE}
service: again
`}, LoadOptions{Env: env})
	want := []string{
		`kstep.yml:3:1: servres: unknown key; did you mean "servers"?`,
		`kstep.yml:8:20: servers.web.hosts[1]: unknown tag "gpuu"; did you mean "gpu"?`,
		`kstep.yml:11:12: env.secret[0]: A is under clear too; keep one`,
		`kstep.yml:15:9: healthcheck.port: must be a whole number, not text`,
		`kstep.yml:16:13: healthcheck.interval: must be longer than 0s`,
		`kstep.yml:17:16: stop.signal: unknown signal "SIGTREM"; did you mean "SIGTERM"?`,
		`kstep.yml:18:9: retain: must be at least 1`,
		`kstep.yml:19:13: hooks_path: variable NOPE is not set; set it, or write ${NOPE:-default}`,
		`kstep.yml:20:1: key "service" is given twice; first on line 1`,
	}
	same(t, "complaints", got, want)
}

func TestLoad_SaysWhatIsWrongAndWhere(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"a missing required key":               {"service: shop\nimage: a\n", `kstep.yml:1:1: servers: is missing`},
		"a service with capitals":              {"service: Shop\nimage: a\nservers: [a]\n", `kstep.yml:1:10: service: must have lower-case letters, digits, - and _ only, and begin with a letter or digit`},
		"an image with a tag":                  {"service: s\nimage: a:1\nservers: [a]\n", `kstep.yml:2:8: image: must be a repository such as acme/shop, without https:// and tag`},
		"no hosts at all":                      {"service: s\nimage: a\nservers: []\n", `kstep.yml:3:1: servers: must have one entry or more`},
		"a role without hosts":                 {"service: s\nimage: a\nservers: {web: [a], job: []}\n", `kstep.yml:3:26: servers.job: has no hosts; list some, or set allow_empty_roles: true`},
		"a role without a value":               {"service: s\nimage: a\nservers:\n  web: [a]\n  job:\n", `kstep.yml:5:7: servers.job: has no value; it must be a list or a map`},
		"an empty primary role":                {"service: s\nimage: a\nservers: {web: {hosts: []}}\nallow_empty_roles: true\n", `kstep.yml:3:17: servers.web.hosts: the primary role needs at least one host`},
		"an unknown primary role":              {base + "primary_role: wen\n", `kstep.yml:4:15: primary_role: unknown role "wen"; did you mean "web"?`},
		"a primary role that is left out":      {"service: s\nimage: a\nservers: {app: [a]}\n", `kstep.yml:1:1: primary_role: unknown role "web"; known are app`},
		"a role name with a blank":             {"service: s\nimage: a\nservers: {web: [a], \"a b\": [b]}\n", `kstep.yml:3:21: servers["a b"]: a role's name has lower-case letters, digits, - and _, and at most 63 of them`},
		"a host that looks like an option":     {"service: s\nimage: a\nservers: [-oProxyCommand=x]\n", `kstep.yml:3:11: servers[0]: must be a host name or address, with user@ before it and :port after it where needed`},
		"a tag that nobody declares":           {"service: s\nimage: a\nservers: [a: gpu]\n", `kstep.yml:3:14: servers[0]: unknown tag "gpu"; none is declared`},
		"a host that is a number":              {"service: s\nimage: a\nservers: [5]\n", `kstep.yml:3:11: servers[0]: must be text or a map, not a number`},
		"an unknown key of a role":             {"service: s\nimage: a\nservers: {web: {hosts: [a], heathcheck: {}}}\n", `kstep.yml:3:29: servers.web.heathcheck: unknown key; did you mean "healthcheck"?`},
		"an unclosed quote in a command":       {"service: s\nimage: a\nservers: {web: {hosts: [a], cmd: 'a \"b'}}\n", `kstep.yml:3:34: servers.web.cmd: a quote is not closed`},
		"a blank command":                      {"service: s\nimage: a\nservers: {web: {hosts: [a], cmd: ' '}}\n", `kstep.yml:3:34: servers.web.cmd: must not be empty`},
		"a late start with traffic":            {"service: s\nimage: a\nservers: {web: {hosts: [a], start: after-barrier}}\n", `kstep.yml:3:36: servers.web.start: a role with traffic must start with-boot: stopping the old container first would lose requests`},
		"a late start of the primary role":     {"service: s\nimage: a\nservers: {web: {hosts: [a], proxy: false, start: after-barrier}}\n", `kstep.yml:3:50: servers.web.start: the primary role opens the barrier, so it must start with-boot`},
		"tags below a role":                    {"service: s\nimage: a\nservers: {web: {hosts: [a], env: {tags: {x: {}}}}}\n", `kstep.yml:3:35: servers.web.env.tags: unknown key; known are clear, secret`},
		"a cord without traffic":               {"service: s\nimage: a\nservers: {web: {hosts: [a], proxy: false}}\nproxy: {switch: cord}\n", `kstep.yml:4:17: proxy.switch: cord needs a role with traffic; set proxy: true on one`},
		"a command that cannot be split":       {base + "secrets: {commands: {A: op 'read}}\n", `kstep.yml:4:25: secrets.commands.A: a quote is not closed`},
		"two ways to name asset paths":         {base + "asset_path: /a\nasset_paths: [/b]\n", `kstep.yml:4:1: asset_path: is given beside asset_paths; put all paths there`},
		"a relative asset path":                {base + "asset_path: public\n", `kstep.yml:4:13: asset_path: must be an absolute path in the container`},
		"a variable without a value":           {base + "env: {A: }\n", `kstep.yml:4:10: env.A: has no value; it must be text, a number or true or false`},
		"a variable with a strange name":       {base + "env: {A B: 1}\n", `kstep.yml:4:7: env["A B"]: must be the name of a variable: letters, digits, _, . and -`},
		"plain variables beside clear":         {base + "env: {clear: {A: 1}, B: 1, C: 2}\n", `kstep.yml:4:7: env.clear: clear, secret and tags do not mix with plain variables; put those under clear`},
		"a typing error in clear":              {base + "env: {claer: {A: 1}}\n", `kstep.yml:4:7: env.claer: unknown key; did you mean "clear"?`},
		"a secret that is listed twice":        {base + "env: {secret: [A, 'A:B']}\n", `kstep.yml:4:19: env.secret[1]: A is listed twice`},
		"a tag in env and in env_tags":         {base + "env: {tags: {x: {A: 1}}}\nenv_tags: {x: {B: 1}}\n", `kstep.yml:5:12: env_tags.x: tag "x" is also in env.tags, on line 4; keep one`},
		"a quorum of nothing":                  {base + "barrier: {quorum: 0}\n", `kstep.yml:4:19: barrier.quorum: must be a number from 1, a percentage such as 50%, or all`},
		"a limit above everything":             {base + "boot: {limit: 101%}\n", `kstep.yml:4:15: boot.limit: must be a number from 1, or a percentage such as 25%`},
		"a time span in words":                 {base + "barrier: {timeout: 2 minutes}\n", `kstep.yml:4:20: barrier.timeout: must be a time span such as 300ms, 5s, 2m or 1h30m`},
		"a time span below zero":               {base + "stop: {timeout: -1}\n", `kstep.yml:4:17: stop.timeout: must be at least 0`},
		"a port out of range":                  {base + "healthcheck: {port: 70000}\n", `kstep.yml:4:21: healthcheck.port: must be at most 65535`},
		"an octal port":                        {base + "healthcheck: {port: 0777}\n", `kstep.yml:4:21: healthcheck.port: must be a whole number, not text`},
		"yes for true":                         {base + "ssh: {sudo: yes}\n", `kstep.yml:4:13: ssh.sudo: must be true or false, not text`},
		"a map where text belongs":             {base + "hooks_path: {a: b}\n", `kstep.yml:4:1: hooks_path: must be text, not a map`},
		"a volume without target":              {base + "volumes: [/data]\n", `kstep.yml:4:11: volumes[0]: must be source:target or source:target:options, such as ro,z; the source is an absolute path or a volume's name, the target an absolute path`},
		"a platform without architecture":      {base + "builder: {platforms: [linux]}\n", `kstep.yml:4:23: builder.platforms[0]: must be a platform such as linux/amd64 or linux/arm/v7`},
		"two passwords":                        {base + "registry: {username: a, password: [A, B]}\n", `kstep.yml:4:25: registry.password: must have no more than one entry`},
		"a user without password":              {base + "registry: {username: a}\n", `kstep.yml:4:1: registry.password: is missing; name the secret that holds it, as a list`},
		"a registry with a scheme":             {base + "registry: {server: 'https://x'}\n", `kstep.yml:4:20: registry.server: must be a host such as ghcr.io or registry:5000, without https://`},
		"a rule for no asset path":             {base + "asset_path: /app/assets\nassets: {/app/asets: {on_conflict: new}}\n", `kstep.yml:5:10: assets["/app/asets"]: unknown asset path "/app/asets"; did you mean "/app/assets"?`},
		"a rule that is none":                  {base + "asset_path: /a\nassets: {/a: {on_conflict: newer}}\n", `kstep.yml:5:28: assets["/a"].on_conflict: must be new or old`},
		"an option with a typing error":        {"service: s\nimage: a\nservers: {web: {hosts: [a], options: {memroy: 1g}}}\n", `kstep.yml:3:39: servers.web.options.memroy: unknown key; did you mean "memory"?`},
		"a key of the role as an option":       {"service: s\nimage: a\nservers: {web: {hosts: [a], options: {cmd: bin/web}}}\n", `kstep.yml:3:39: servers.web.options.cmd: is no option of docker run but a key of the role; write it beside options, not below`},
		"an option that kstep owns":            {"service: s\nimage: a\nservers: {web: {hosts: [a], options: {rm: true}}}\n", `kstep.yml:3:39: servers.web.options.rm: a container that was stopped stays for a rollback; retain is how many`},
		"an option of another name":            {"service: s\nimage: a\nservers: {web: {hosts: [a], options: {volume: \"/a:/b\"}}}\n", `kstep.yml:3:39: servers.web.options.volume: belongs beside options, as volumes`},
		"a rate of no device":                  {"service: s\nimage: a\nservers: {web: {hosts: [a], options: {device-read-bps: 10mb}}}\n", `kstep.yml:3:56: servers.web.options.device-read-bps: must be /dev/name:bytes a second, such as /dev/sda:10mb`},
		"a device's weight beyond the limits":  {"service: s\nimage: a\nservers: {web: {hosts: [a], options: {blkio-weight-device: [\"/dev/sda:5\"]}}}\n", `kstep.yml:3:61: servers.web.options.blkio-weight-device[0]: must be /dev/name:weight, such as /dev/sda:200; a weight is from 10 to 1000`},
		"an address that is another kind's":    {"service: s\nimage: a\nservers: {web: [a], job: {hosts: [a], start: after-barrier, options: {ip: \"2001:db8::1\"}}}\n", `kstep.yml:3:75: servers.job.options.ip: must be an IPv4 address, such as 172.30.0.10`},
		"an address that two workers want":     {"service: s\nimage: a\nservers: {web: [a], job: {hosts: [a], options: {mac-address: \"02:42:ac:1e:00:0a\"}}}\n", `kstep.yml:3:62: servers.job.options.mac-address: old and new container cannot both have this address; set start: after-barrier, or leave it out`},
		"a size in words":                      {"service: s\nimage: a\nservers: {web: {hosts: [a], options: {memory: much}}}\n", `kstep.yml:3:47: servers.web.options.memory: must be a size such as 512m or 1.5g, or a number of bytes`},
		"a limit of nothing":                   {"service: s\nimage: a\nservers: {web: {hosts: [a], options: {ulimit: [nofile=1, bogus]}}}\n", `kstep.yml:3:58: servers.web.options.ulimit[1]: must be name=soft or name=soft:hard, such as nofile=65536`},
		"a strange restart policy":             {"service: s\nimage: a\nservers: {web: {hosts: [a], options: {restart: sometimes}}}\n", `kstep.yml:3:48: servers.web.options.restart: must be no, always, unless-stopped, on-failure or on-failure:3`},
		"a port that two containers want":      {"service: s\nimage: a\nservers: {web: {hosts: [a], options: {publish: \"8080:80\"}}}\n", `kstep.yml:3:48: servers.web.options.publish: old and new container cannot both have this port of the host; the proxy publishes one for them (proxy.publish)`},
		"a port that replicas want":            {"service: s\nimage: a\nservers: {web: [a], job: {hosts: [a], start: after-barrier, replicas: 3, options: {publish: \"8080:80\"}}}\n", `kstep.yml:3:93: servers.job.options.publish: only one of the 3 replicas could have this port of the host; leave out the host port, or replicas`},
		"an address that replicas want":        {"service: s\nimage: a\nservers: {web: [a], job: {hosts: [a], start: after-barrier, replicas: 2, options: {mac-address: \"02:42:ac:1e:00:0a\"}}}\n", `kstep.yml:3:97: servers.job.options.mac-address: only one of the 2 replicas could have this address; leave it out, or replicas`},
		"no replica":                           {"service: s\nimage: a\nservers: {web: {hosts: [a], replicas: 0}}\n", `kstep.yml:3:39: servers.web.replicas: must be at least 1`},
		"replicas that are no number":          {"service: s\nimage: a\nservers: {web: {hosts: [a], replicas: two}}\n", `kstep.yml:3:39: servers.web.replicas: must be a whole number, not text`},
		"a port that two workers want":         {"service: s\nimage: a\nservers: {web: [a], job: {hosts: [a], options: {publish: [\"80\", \"8080:80\"]}}}\n", `kstep.yml:3:65: servers.job.options.publish[1]: old and new container cannot both have this port of the host; set start: after-barrier, or leave out the host port`},
		"a task without a value":               {base + "tasks:\n  migrate:\n", `kstep.yml:5:11: tasks.migrate: has no value; it must be a map`},
		"a task without a command":             {base + "tasks: {migrate: {}}\n", `kstep.yml:4:9: tasks.migrate.cmd: is missing`},
		"a task of no role":                    {base + "tasks: {a: {cmd: x, role: wbe}}\n", `kstep.yml:4:27: tasks.a.role: unknown role "wbe"; did you mean "web"?`},
		"a task on a host of another role":     {base + "tasks: {a: {cmd: x, host: 192.0.2.2}}\n", `kstep.yml:4:27: tasks.a.host: unknown host of role web "192.0.2.2"; did you mean "192.0.2.1"?`},
		"a task at no known moment":            {base + "tasks: {a: {cmd: x, run: before-bot}}\n", `kstep.yml:4:26: tasks.a.run: must be before-boot or after-cutover; did you mean "before-boot"?`},
		"a task with an open quote":            {base + "tasks: {a: {cmd: \"x 'y\"}}\n", `kstep.yml:4:18: tasks.a.cmd: a quote is not closed`},
		"a task with the names of a role":      {"service: s\nimage: a\nservers: {web: [a], task-a: [a]}\ntasks: {a: {cmd: x}}\n", `kstep.yml:4:9: tasks.a: its containers would have the names of those of the role "task-a"; rename one`},
		"a label of kstep's own":               {base + "labels: {kstep.role: x}\n", `kstep.yml:4:10: labels["kstep.role"]: labels that begin with "kstep." are kstep's own`},
		"a newer minimum version":              {base + "minimum_version: 1.10\n", `kstep.yml:4:18: minimum_version: this kstep is 1.9.3; install 1.10 or newer`},
		"no destination":                       {base + "require_destination: true\n", `kstep.yml:4:22: require_destination: no destination is given; name one with -d`},
		"a variable that is not set":           {base + "primary_role: ${NOPE}\n", `kstep.yml:4:15: primary_role: variable NOPE is not set; set it, or write ${NOPE:-default}`},
		"a variable with a message":            {base + "primary_role: ${EMPTY:?say which}\n", `kstep.yml:4:15: primary_role: variable EMPTY is not set: say which`},
		"a variable with a strange operator":   {base + "primary_role: ${PORT+x}\n", `kstep.yml:4:15: primary_role: ${PORT+x} is not understood; known are ${PORT}, ${PORT:-default} and ${PORT:?message}`},
		"an open brace":                        {base + "primary_role: ${PORT\n", `kstep.yml:4:15: primary_role: ${ without }; write $$ for a dollar sign`},
		"a variable that is not UTF-8":         {base + "env: {A: \"${BROKEN}\"}\n", `kstep.yml:4:10: env.A: the value of BROKEN is not valid UTF-8`},
		"a secret outside env":                 {base + "env: {secret: ['X:DB']}\nlabels: {a: \"${DB}\"}\n", `kstep.yml:5:13: labels.a: fills in the secret DB; only a clear value under env may do that`},
		"a list at the top":                    {"- a\n", `kstep.yml:1:1: must be a map of keys such as ` + "`service: shop`"},
		"nothing":                              {"# nothing\n", `kstep.yml: is empty`},
		"an explicit nothing":                  {"~\n", `kstep.yml: is empty`},
		"a tab":                                {"service:\n\tshop\n", `kstep.yml:2:1: not valid YAML: found character that cannot start any token; indent with spaces, not tabs`},
		"a brace that ends a map":              {base + "healthcheck: {port: ${PORT}}\n", `kstep.yml:4:22: not valid YAML: did not find expected ',' or '}'; within { } and [ ] put ${…} in quotes`},
		"an alias of nothing":                  {"service: *x\n", `kstep.yml:1:10: not valid YAML: unknown anchor 'x' referenced`},
		"a strange YAML tag":                   {base + "primary_role: !ruby web\n", `kstep.yml:4:15: YAML tag !ruby is not supported`},
		"a second document":                    {base + "---\na: 1\n", `kstep.yml:4:1: a second document; everything has to be in the first one`},
		"an alias of itself":                   {base + "x-a: &a [*a]\n", `kstep.yml:4:6: nested too deeply, or aliases make too much of it`},
		"a Windows newline is no trouble, but": {"service: s\r\nimage: a\r\nservers: [a]\r\nretain: x\r\n", `kstep.yml:4:9: retain: must be a whole number, not text`},
	} {
		t.Run(name, func(t *testing.T) {
			got := complaints(t, map[string]string{"kstep.yml": tt.text}, LoadOptions{Env: env, KstepVersion: "1.9.3"})
			if len(got) != 1 || got[0] != tt.want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

func TestLoad_NeverRepeatsAValueThatAVariableWasFilledInto(t *testing.T) {
	for name, text := range map[string]string{
		"signal": "stop: {signal: \"${DB}\"}\n",
		"role":   "primary_role: ${DB}\n",
		"tag":    "env_tags: {}\nx: {servers: 1}\n",
		"choice": "proxy: {switch: \"${DB}\"}\n",
		"number": "retain: ${DB}\n",
		"text":   "run_directory: ~/${DB}\n",
		"list":   "volumes: [\"${DB}\"]\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := complaints(t, map[string]string{"kstep.yml": base + text}, LoadOptions{Env: env})
			if all := strings.Join(got, "\n"); strings.Contains(strings.ToLower(all), "hunter2") {
				t.Errorf("got %s, want nothing of the value", all)
			}
		})
	}
}

func TestLoad_ExplainsAFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.yml")
	if err := os.WriteFile(big, make([]byte, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ path, want, hint string }{
		"missing":  {filepath.Join(dir, "kstep.yml"), "no such file", "kstep init"},
		"a folder": {dir, "is a folder, not a file", ""},
		"5 MB":     {big, "larger than 1 MB", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(LoadOptions{Path: tt.path})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path) {
				t.Fatalf("got error %v, want one with %q and the path", err, tt.want)
			}
			if exit.CodeOf(err) != exit.Config {
				t.Errorf("got exit code %d, want %d", exit.CodeOf(err), exit.Config)
			}
			if hints := strings.Join(exit.Hints(err), "\n"); !strings.Contains(hints, tt.hint) {
				t.Errorf("got hints %q, want %q", hints, tt.hint)
			}
		})
	}
}
