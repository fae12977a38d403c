package config

import (
	"strings"
	"testing"
)

const beside = `service: shop
image: acme/shop
servers:
  web: [192.0.2.1: db, 192.0.2.2]
  job: [192.0.2.2, 192.0.2.3: [db, big]]
env: {clear: {APP: 1}, tags: {db: {}, big: {}}}
stop: {timeout: 7}
logging: {driver: json-file}
accessories:
  db:
    image: mysql:8.4
    host: 192.0.2.9
    cmd: mysqld --sql-mode='ANSI QUOTES'
    port: 3306
    env: {clear: {N: 1.10}, secret: [ROOT:MYSQL_ROOT, B]}
    files:
      - my.cnf:/etc/my.cnf
      - {local: tls.key, remote: /etc/tls.key, mode: 0600, owner: 999, options: ro}
    directories: [data:/var/lib/mysql, /srv/backups:/backups:ro]
    volumes: [extra:/extra]
    stop: {signal: SIGQUIT}
    healthcheck: {cmd: mysqladmin ping, interval: 1s}
    options: {memory: 512m, user: 1000}
  cache: {image: "registry:5000/valkey", roles: [web, job]}
  logs: {image: "vector@sha256:` + sixtyFour + `", tag: db}
  metrics: {image: node, hosts: [192.0.2.1, 192.0.2.1, 192.0.2.7], env: {A: b}}
`

const sixtyFour = "0123456789012345678901234567890123456789012345678901234567890123"

func TestAccessories_AreReadInEveryFormAndShownAgain(t *testing.T) {
	cfg := mustLoad(t, beside)
	for name, want := range map[string]string{
		"db": "192.0.2.9", "cache": "192.0.2.1 192.0.2.2 192.0.2.3", "logs": "192.0.2.1 192.0.2.3", "metrics": "192.0.2.1 192.0.2.7",
	} {
		a, _ := cfg.Accessory(name)
		same(t, "hosts of "+name, strings.Join(cfg.AccessoryHosts(a), " "), want)
	}
	db, _ := cfg.Accessory("db")
	same(t, "cmd", db.Cmd, Command{"mysqld", "--sql-mode=ANSI QUOTES"})
	same(t, "port", db.Port, "3306")
	same(t, "env", db.Env.Clear, map[string]string{"N": "1.10"})
	same(t, "files", db.Files, []Mounted{
		{Local: "my.cnf", Remote: "/etc/my.cnf"},
		{Local: "tls.key", Remote: "/etc/tls.key", Mode: "0600", Owner: "999", Options: "ro"},
	})
	same(t, "directories", db.Directories, []Mounted{
		{Local: "data", Remote: "/var/lib/mysql"}, {Local: "/srv/backups", Remote: "/backups", Options: "ro"},
	})
	same(t, "stop", cfg.AccessoryStop(db), Stop{Signal: "SIGQUIT", Timeout: Duration(7e9)})
	same(t, "healthcheck", *db.Healthcheck, AccessoryHealthcheck{
		Cmd: HealthCommand{Shell: "mysqladmin ping"}, Interval: Duration(1e9), Timeout: Duration(5e9), StartPeriod: Duration(60e9), Retries: 3,
	})
	same(t, "user", db.Options.User, "1000")
	same(t, "logging", cfg.AccessoryLogging(db).Options, map[string]string{"max-size": "10m"})
	var uses []string
	for _, use := range cfg.SecretNames() {
		uses = append(uses, use.Name+" "+strings.Join(use.Where, ","))
	}
	same(t, "secrets", uses, []string{"B accessories.db.env.secret[1]", "MYSQL_ROOT accessories.db.env.secret[0]"})

	shown, err := cfg.Show()
	if err != nil {
		t.Fatal(err)
	}
	again := mustLoad(t, string(shown))
	same(t, "what is shown", again.Accessories, cfg.Accessories)
}

func TestAccessories_OfADestinationStandOverTheMainFiles(t *testing.T) {
	cfg, err := load(t, map[string]string{
		"kstep.yml":         base + "accessories: {db: {image: mysql, host: a, port: 1}, cache: {image: valkey, role: web}}\n",
		"kstep.staging.yml": "accessories: {db: {host: b}, cache: ~}\n",
	}, LoadOptions{Destination: "staging", Env: env})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "accessories", cfg.Accessories.All, []Accessory{{Name: "db", Image: "mysql", Host: "b", Port: "1"}})
}

func TestAccessories_SayWhatIsWrongAndWhere(t *testing.T) {
	one := func(keys string) string { return base + "accessories:\n  db: {image: mysql, " + keys + "}\n" }
	for name, tt := range map[string]struct{ text, want string }{
		"no image":             {base + "accessories: {db: {host: a}}\n", `kstep.yml:4:15: accessories.db.image: is missing`},
		"no value":             {base + "accessories:\n  db:\n", `kstep.yml:5:6: accessories.db: has no value; it must be a map`},
		"no place":             {base + "accessories: {db: {image: mysql}}\n", `kstep.yml:4:15: accessories.db: needs a place: one of host, hosts, role, roles, tag and tags`},
		"two places":           {one("host: a, role: web"), `kstep.yml:5:31: accessories.db.role: is given beside host; keep one`},
		"an unknown role":      {one("role: wbe"), `kstep.yml:5:28: accessories.db.role: unknown role "wbe"; did you mean "web"?`},
		"an unknown tag":       {one("tags: [x]"), `kstep.yml:5:29: accessories.db.tags[0]: unknown tag "x"; none is declared`},
		"a typing error":       {one("host: a, iamge: x"), `kstep.yml:5:31: accessories.db.iamge: unknown key; did you mean "image"?`},
		"an image by address":  {base + "accessories: {db: {image: 'https://a/b', host: a}}\n", `kstep.yml:4:27: accessories.db.image: must not begin with a scheme such as https://: "https://a/b"; write a/b`},
		"a role's name":        {base + "accessories: {web: {image: a, host: a}}\n", `kstep.yml:4:15: accessories.web: is the name of a role, too; rename one`},
		"the name of all":      {base + "accessories: {all: {image: a, host: a}}\n", `kstep.yml:4:15: accessories.all: stands for all accessories on the command line; choose another name`},
		"a name with a blank":  {base + "accessories: {'a b': {image: a, host: a}}\n", `kstep.yml:4:15: accessories["a b"]: an accessory's name has lower-case letters, digits, - and _, and at most 63 of them`},
		"a port by name":       {one("host: a, port: mysql"), `kstep.yml:5:37: accessories.db.port: must be a port such as 5432, or [address:]host port:port such as 127.0.0.1:15432:5432`},
		"a port out of range":  {one("host: a, port: 99999"), `kstep.yml:5:37: accessories.db.port: must be a port such as 5432, or [address:]host port:port such as 127.0.0.1:15432:5432`},
		"a file without place": {one("host: a, files: [my.cnf]"), `kstep.yml:5:39: accessories.db.files[0]: must be local:remote or local:remote:ro; remote is an absolute path in the container`},
		"a mode in words":      {one("host: a, files: [{local: a, remote: /a, mode: rw}]"), `kstep.yml:5:68: accessories.db.files[0].mode: must be permissions in octal digits, such as 0640`},
		"a folder out of ours": {one("host: a, directories: ['../x:/x']"), `kstep.yml:5:45: accessories.db.directories[0]: must not lead out of its folder with ..`},
		"a folder in a folder": {one("host: a, directories: ['data:/x', 'data/sub:/y']"), `kstep.yml:5:56: accessories.db.directories[1]: lies in the directory data, in which a container can put a link in its place; give it a path beside that one`},
		"a folder in another's": {
			one("host: a, directories: ['/srv/db/:/x']") + "  pub: {image: b, host: a, directories: ['/srv/db/pub/x:/y:ro']}\n",
			`kstep.yml:6:42: accessories.pub.directories[0]: lies in the directory /srv/db/, in which a container can put a link in its place; give it a path beside that one`,
		},
		"a folder in a volume": {one("host: a, volumes: ['/srv/db:/data'], directories: ['/srv/db/backup:/b']"),
			`kstep.yml:5:73: accessories.db.directories[0]: lies in the directory /srv/db, in which a container can put a link in its place; give it a path beside that one`},
		"a folder in a role's volume": {one("host: a, directories: ['/srv/up/db:/b']") + "volumes: ['/srv/up/:/up']\n",
			`kstep.yml:5:45: accessories.db.directories[0]: lies in the directory /srv/up/, in which a container can put a link in its place; give it a path beside that one`},
		"a file out of ours":   {one("host: a, files: ['x:/../x']"), `kstep.yml:5:39: accessories.db.files[0]: must not lead out of its folder with ..`},
		"two mounts at once":   {one("host: a, directories: ['x:/x'], volumes: ['y:/x/']"), `kstep.yml:5:64: accessories.db.volumes[0]: something else is mounted at /x already`},
		"a check of nothing":   {one("host: a, healthcheck: {}"), `kstep.yml:5:31: accessories.db.healthcheck.cmd: is missing`},
		"a check at no time":   {one("host: a, healthcheck: {cmd: x, interval: 0}"), `kstep.yml:5:63: accessories.db.healthcheck.interval: must be longer than 0s`},
		"an unknown option":    {one("host: a, options: {memry: 1g}"), `kstep.yml:5:41: accessories.db.options.memry: unknown key; did you mean "memory"?`},
		"a bad option":         {one("host: a, options: {ulimit: x}"), `kstep.yml:5:49: accessories.db.options.ulimit: must be name=soft or name=soft:hard, such as nofile=65536`},
		"a label of kstep":     {one("host: a, labels: {kstep.x: y}"), `kstep.yml:5:40: accessories.db.labels["kstep.x"]: labels that begin with "kstep." are kstep's own`},
		"a secret twice":       {one("host: a, env: {secret: [A, A]}"), `kstep.yml:5:49: accessories.db.env.secret[1]: A is listed twice`},
		"tags of its own":      {one("host: a, env: {tags: {x: {}}}"), `kstep.yml:5:37: accessories.db.env.tags: unknown key; known are clear, secret`},
		"one container of two": {one("host: a, service: xy") + "  eb: {image: a, hosts: [b, a], service: xy}\n", `kstep.yml:6:42: accessories.eb.service: is the name of the container of db, too, on the same host`},
	} {
		t.Run(name, func(t *testing.T) {
			got := complaints(t, map[string]string{"kstep.yml": tt.text}, LoadOptions{Env: env})
			if len(got) != 1 || got[0] != tt.want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}
