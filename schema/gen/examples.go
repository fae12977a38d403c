package main

import (
	"strings"

	"github.com/invopop/jsonschema"
)

// addExamples gives keys an example each, as the JSON of what a person would
// write. A test loads all of them.
func addExamples(s *jsonschema.Schema) {
	for path, example := range examples() {
		def, key, ok := strings.Cut(path, ".")
		in := s
		if ok {
			in = s.Definitions[def]
		} else {
			key = def
		}
		p, found := in.Properties.Get(key)
		if !found {
			panic("schema/gen: example for unknown key " + path) //nolint:forbidigo // The types have changed; mend the list below.
		}
		p.Examples = append(p.Examples, example...)
	}
}

type (
	obj = map[string]any
	arr = []any
)

// examples are by key, or by type and key.
func examples() map[string][]any {
	return map[string][]any{
		"service": {"shop"},
		"image":   {"acme/shop"},
		"servers": {
			arr{"192.0.2.1", obj{"192.0.2.2": arr{"gpu"}}},
			obj{"web": arr{"192.0.2.1"}, "worker": obj{"hosts": arr{"192.0.2.3"}, "cmd": "bin/worker --queue all"}},
		},
		"env": {
			obj{"RAILS_ENV": "production"},
			obj{"clear": obj{"PORT": 3000}, "secret": arr{"SECRET_KEY", "DATABASE_URL:SHOP_DATABASE_URL"}, "tags": obj{"gpu": obj{"DEVICE": "cuda"}}},
		},
		"env_tags": {obj{"gpu": obj{"DEVICE": "cuda"}}},
		"registries": {
			obj{"registry.gitlab.com": obj{"username": "deploy-token", "password": arr{"GITLAB_DEPLOY_TOKEN"}}},
			arr{obj{"server": "registry:5001", "username": "acme", "password": arr{"MIRROR_PASSWORD"}, "insecure": true}},
		},
		"aliases":     {obj{"console": "app exec -i -- bin/rails console", "logs-of-web": "app logs -f --roles web"}},
		"asset_paths": {arr{"/app/public/assets", "/app/public/packs"}},
		"tasks": {obj{
			"migrate": obj{"cmd": "bin/rails db:migrate"},
			"cleanup": obj{"cmd": "bin/rails db:cleanup", "run": "after-cutover"},
		}},
		"accessories": {obj{
			"db": obj{
				"image": "postgres:17", "host": "192.0.2.5", "env": obj{"secret": arr{"POSTGRES_PASSWORD"}},
				"directories": arr{"data:/var/lib/postgresql/data"},
			},
			"cache": obj{"image": "valkey/valkey:8", "role": "web"},
		}},
		"Accessory.image":   {"mysql:8.4"},
		"Accessory.service": {"main-db"},
		"Accessory.host":    {"192.0.2.5"},
		"Accessory.cmd":     {"mysqld --max-connections=500"},
		"Accessory.port":    {3306, "127.0.0.1:13306:3306"},
		"Accessory.env":     {obj{"clear": obj{"MYSQL_DATABASE": "shop"}, "secret": arr{"MYSQL_ROOT_PASSWORD"}}},
		"Accessory.files": {arr{
			"config/my.cnf:/etc/mysql/conf.d/my.cnf:ro",
			obj{"local": "config/tls.key", "remote": "/etc/mysql/tls.key", "mode": "0600", "owner": "999:999"},
		}},
		"Accessory.directories":    {arr{"data:/var/lib/mysql", "/srv/backups:/backups"}},
		"Accessory.healthcheck":    {obj{"cmd": "mysqladmin ping --host 127.0.0.1"}},
		"Accessory.volumes":        {arr{"mysql-files:/var/lib/mysql-files"}},
		"Accessory.labels":         {obj{"team": "checkout"}},
		"Accessory.options":        {obj{"memory": "2g", "network-alias": arr{"db"}}},
		"Task.cmd":                 {"bin/rails db:migrate", arr{"bin/rails", "db:migrate"}},
		"Task.role":                {"web"},
		"Task.host":                {"192.0.2.1"},
		"Task.timeout":             {"1h"},
		"assets":                   {obj{"/app/public/assets": obj{"on_conflict": "new"}}},
		"AssetRule.on_conflict":    {"new"},
		"labels":                   {obj{"team": "checkout"}},
		"volumes":                  {arr{"/srv/shop/uploads:/app/uploads", "cache:/app/cache:ro"}},
		"networks":                 {arr{"backend"}},
		"Role.networks":            {arr{"metrics"}},
		"Accessory.networks":       {arr{"backend"}},
		"minimum_version":          {"1.2"},
		"run_directory":            {"/opt/kstep"},
		"hook_timeout":             {"5m"},
		"retain":                   {3},
		"retain_size":              {"20g"},
		"primary_role":             {"web"},
		"hooks_path":               {"deploy/hooks"},
		"Registry.server":          {"ghcr.io", "registry:5000"},
		"Registry.username":        {"acme-bot", arr{"REGISTRY_USERNAME"}},
		"Registry.password":        {arr{"REGISTRY_PASSWORD"}},
		"State.key":                {arr{"STATE_KEY"}},
		"Role.hosts":               {arr{"192.0.2.1", "deploy@192.0.2.2:2222", obj{"192.0.2.3": "gpu"}}},
		"Role.cmd":                 {"bin/worker --queue 'low prio'", arr{"bin/worker", "--queue", "all"}},
		"Role.env":                 {obj{"QUEUES": "all"}},
		"Role.options":             {obj{"memory": "512m", "cap-drop": arr{"ALL"}}},
		"Options.add-host":         {arr{"db:192.0.2.5"}},
		"Options.cpus":             {1.5},
		"Options.memory":           {"512m"},
		"Options.gpus":             {"all"},
		"Options.init":             {true},
		"Options.network-alias":    {arr{"worker"}},
		"Options.publish":          {"127.0.0.1::9090"},
		"Options.read-only":        {true},
		"Options.restart":          {"on-failure:3"},
		"Options.security-opt":     {arr{"no-new-privileges"}},
		"Options.sysctl":           {obj{"net.core.somaxconn": 1024}},
		"Options.tmpfs":            {arr{"/run:size=64m"}},
		"Options.ulimit":           {arr{"nofile=65536"}},
		"Options.user":             {"1000:1000"},
		"Role.labels":              {obj{"tier": "background"}},
		"Role.volumes":             {arr{"/srv/shop/spool:/app/spool"}},
		"Role.asset_paths":         {arr{}},
		"Healthcheck.cmd":          {"curl -fsS localhost:3000/up", arr{"/app/healthy"}},
		"Healthcheck.path":         {"/healthz"},
		"Healthcheck.port":         {8080},
		"Healthcheck.retries":      {60},
		"Healthcheck.scheme":       {"h2c"},
		"Healthcheck.verify":       {false},
		"Healthcheck.host":         {"shop.example.com"},
		"Healthcheck.headers":      {obj{"X-Forwarded-Proto": "https"}},
		"Healthcheck.status":       {"200-299", arr{200, 401}},
		"Healthcheck.settle":       {"20s"},
		"Stop.signal":              {"SIGQUIT"},
		"Stop.timeout":             {"2m"},
		"Logging.driver":           {"json-file"},
		"Logging.options":          {obj{"max-size": "10m", "max-file": 3}},
		"Barrier.quorum":           {2, "50%", "all"},
		"Barrier.timeout":          {"5m"},
		"Rolling.limit":            {2, "25%"},
		"Rolling.wait":             {"10s"},
		"Cutover.limit":            {1, "50%"},
		"Cutover.wait":             {"10s"},
		"Cutover.drain":            {"2s"},
		"Proxy.switch":             {"cord"},
		"Proxy.publish":            {8080, "127.0.0.1:8080", obj{"http": 80, "https": 8443}, false},
		"Proxy.tls":                {true, obj{"acme": obj{"email": "ops@example.com"}, "hsts": true}},
		"Proxy.response_timeout":   {"60s"},
		"Proxy.max_body":           {"50m"},
		"Proxy.headers":            {obj{"X-Frame-Options": "DENY"}},
		"Proxy.allow":              {arr{"203.0.113.0/24"}},
		"Proxy.middlewares":        {obj{"limit": obj{"rateLimit": obj{"average": 100, "burst": 50}}}},
		"Proxy.args":               {obj{"accesslog": true}},
		"Proxy.labels":             {obj{"team": "checkout"}},
		"Proxy.hosts":              {arr{"shop.example.com"}},
		"Proxy.path_prefix":        {"/shop"},
		"Builder.context":          {"."},
		"Builder.dockerfile":       {"docker/Dockerfile"},
		"Builder.target":           {"production"},
		"Builder.args":             {obj{"RUBY_VERSION": "3.4.1"}},
		"Builder.secrets":          {arr{"GITHUB_TOKEN"}},
		"Builder.ssh":              {"default"},
		"Builder.platforms":        {arr{"linux/amd64", "linux/arm64"}},
		"Cache.from":               {arr{"type=gha"}},
		"Cache.to":                 {arr{"type=gha,mode=max"}},
		"Lease.ttl":                {"30m"},
		"Lease.wait":               {"10m"},
		"SSH.user":                 {"deploy"},
		"SSH.port":                 {2222},
		"SSH.keys":                 {arr{"~/.ssh/deploy_ed25519"}},
		"SSH.key_data":             {arr{"SSH_PRIVATE_KEY"}},
		"SSH.config":               {false, "deploy/ssh_config"},
		"SSH.proxy_jump":           {"jump@bastion.example.com"},
		"SSH.known_hosts":          {"deploy/known_hosts"},
		"SSH.host_keys":            {obj{"192.0.2.1": "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"}},
		"SSH.docker_socket":        {"/run/user/1000/docker.sock"},
		"SSH.connect_timeout":      {"30s"},
		"Healthcheck.interval":     {"500ms"},
		"Healthcheck.cord":         {"/var/run/kstep-cord"},
		"Proxy.image":              {"registry:5000/traefik:v3.6"},
		"Cutover.timeout":          {"1m"},
		"Cutover.probe":            {false},
		"Role.proxy":               {true},
		"Role.start":               {"after-barrier"},
		"Healthcheck.timeout":      {"2s"},
		"SSH.max_dials":            {10},
		"SSH.connect_retries":      {5},
		"SSH.sudo":                 {true},
		"Registry.insecure":        {true},
		"require_destination":      {true},
		"allow_empty_roles":        {true},
		"Healthcheck.start_period": {"20s"},

		"SecretSources.commands":    {obj{"DATABASE_URL": "op read op://shop/database/url", "API_KEY": arr{"vault", "kv", "get", "-field=key", "secret/shop"}}},
		"SecretSources.allow_empty": {arr{"SENTRY_DSN"}},
		"Proxy.env":                 {obj{"secret": arr{"CF_DNS_API_TOKEN"}}},
		"Bootstrap.script":          {"deploy/install-engine.sh"},
	}
}
