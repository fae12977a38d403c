package scaffold

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
)

var update = flag.Bool("update", false, "write the golden files")

// applications are folders as the frameworks leave them, by framework.
func applications() map[string]map[string]string {
	return map[string]map[string]string{
		"rails": {
			"bin/rails": "", "Gemfile": "gem \"rails\", \"~> 8.0\"\ngem \"propshaft\"\ngem \"solid_queue\"\n", "Gemfile.lock": "    rails (8.0.2)\n",
			"config/database.yml": "", "config/credentials.yml.enc": "", "package.json": "{}", ".ruby-version": "ruby-3.4.1\n",
			"Dockerfile": "FROM ruby:3.4 AS base\nWORKDIR /rails\nFROM base AS build\nEXPOSE 9999\nFROM base\nEXPOSE 80\n",
		},
		"phoenix": {
			"mix.exs":            "[app: :shop, {:phoenix, \"~> 1.8\"}, {:ecto_sql, \"~> 3.13\"}, \"assets.deploy\": []]",
			"config/runtime.exs": "System.get_env(\"SECRET_KEY_BASE\") System.get_env(\"DATABASE_URL\") System.get_env(\"PHX_HOST\")",
		},
		"laravel": {"artisan": "", "composer.json": `{"require": {"laravel/framework": "^12.0", "laravel/horizon": "^5"}}`, "vite.config.js": "", "package.json": "{}"},
		"django": {
			"manage.py":        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')",
			"shop/settings.py": "STATIC_ROOT = BASE_DIR / \"staticfiles\"\n", "shop/urls.py": `path("healthz/", ok)`,
			"requirements.txt": "Django==5.2\ncelery[redis]>=5\n",
		},
		"fastapi":    {"requirements.txt": "fastapi[standard]>=0.115\n", "app/main.py": "app = FastAPI()\n", "alembic.ini": ""},
		"go":         {"go.mod": "module a\n\ngo 1.25.1\n", "cmd/shop/main.go": `mux.HandleFunc("GET /healthz", ok)`},
		"next":       {"package.json": `{"scripts": {"build": "next build", "start": "next start"}, "dependencies": {"next": "15", "prisma": "6"}}`, "prisma/schema.prisma": "", "package-lock.json": ""},
		"node":       {"package.json": `{"main": "server.js", "dependencies": {"express": "5"}}`, "server.js": "app.get('/health', ok)", "pnpm-lock.yaml": ""},
		"static":     {"index.html": "<h1>shop</h1>"},
		"dockerfile": {"Dockerfile": "FROM a\nEXPOSE 8080/tcp\n"},
		"":           {"notes.txt": ""},
	}
}

func TestInit_WritesAConfigThatLoadsForEveryFramework(t *testing.T) {
	for framework, texts := range applications() {
		for i, hosts := range [][]string{nil, {"203.0.113.7"}, {"203.0.113.7", "deploy@web2.example.com:2222", "[2001:db8::1]:22"}, {"local"}} {
			for _, domain := range []string{"", "shop.example.com", "*.example.com"} {
				image := []string{"", "ghcr.io/acme/shop", "registry:5000/a/b", "acme/123"}[i]
				t.Run(fmt.Sprint(framework, i, domain, image), func(t *testing.T) {
					dir := project(t, texts)
					s, err := Init(Options{Path: filepath.Join(dir, "kstep.yml"), Hosts: hosts, Domain: domain, Image: image})
					if err != nil {
						t.Fatal(err)
					}
					if s.App.Framework != framework {
						t.Errorf("got framework %q, want %q", s.App.Framework, framework)
					}
					text := read(t, dir, "kstep.yml")
					cfg := load(t, text)
					if got, want := cfg.Proxy.TLS.On, domain == "shop.example.com" && len(hosts) < 2; got != want {
						t.Errorf("got tls %v, want %v\n%s", got, want, text)
					}
					if s.App.Worker != "" && !strings.Contains(text, "# worker:") {
						t.Errorf("got no worker in\n%s", text)
					}
					load(t, strings.NewReplacer("  # worker:", "  worker:", "  #   ", "    ").Replace(text))
				})
			}
		}
	}
}

// Every framework that is named counts, in an empty folder too.
func TestInit_TakesTheFrameworkThatIsNamed(t *testing.T) {
	for _, framework := range Frameworks() {
		dir := project(t, nil)
		s, err := Init(Options{Path: filepath.Join(dir, "deploy.yml"), Framework: framework, Port: 1234, Service: "123", Domain: "a.example.com"})
		if err != nil {
			t.Fatal(err)
		}
		cfg := load(t, read(t, dir, "deploy.yml"))
		if s.App.Framework != framework || cfg.Healthcheck.Port != 1234 || cfg.Service != "123" {
			t.Errorf("got %s, port %d, service %q", s.App.Framework, cfg.Healthcheck.Port, cfg.Service)
		}
	}
}

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	name := filepath.Join(t.TempDir(), "kstep.yml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.LoadOptions{Path: name})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return cfg
}

func TestInit_Golden(t *testing.T) {
	for _, framework := range []string{"rails", "django", "phoenix", ""} {
		dir := project(t, applications()[framework])
		o := Options{Path: filepath.Join(dir, "kstep.yml"), Hosts: []string{"203.0.113.7"}, Domain: "shop.example.com", Image: "ghcr.io/acme/shop"}
		if framework == "" {
			o = Options{Path: o.Path}
		}
		if _, err := Init(o); err != nil {
			t.Fatal(err)
		}
		golden(t, "kstep-"+framework+".yml", read(t, dir, "kstep.yml"))
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestInit_LinksOnlyToDocsThatExist(t *testing.T) {
	link := regexp.MustCompile(`docs/[a-z-]+\.md`)
	for _, texts := range applications() {
		for _, hosts := range [][]string{{"a"}, {"a", "b"}} {
			app, err := Detect(project(t, texts), "")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range link.FindAllString(render(settings{hosts: hosts, domain: "a.example.com"}, app), -1) {
				if _, err := os.Stat(filepath.Join("../..", name)); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestInit_WritesADockerfileWithThePort(t *testing.T) {
	for framework, texts := range applications() {
		t.Run(framework, func(t *testing.T) {
			delete(texts, "Dockerfile")
			dir := project(t, texts)
			s, err := Init(Options{Path: filepath.Join(dir, "kstep.yml"), Port: 8765, Framework: framework, Dockerfile: true})
			if framework == "" || framework == "dockerfile" {
				if exit.CodeOf(err) != exit.Usage || (tree{os.DirFS(dir)}).has("kstep.yml") {
					t.Errorf("got %v, want a refusal and nothing written", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			text := read(t, dir, "Dockerfile")
			if port, _ := (&[]image{readDockerfile(text)}[0]).port(); port != 8765 {
				t.Errorf("got port %d in\n%s", port, text)
			}
			if strings.Contains(text, "no value") || strings.Contains(text, "\n\n\n") {
				t.Errorf("got\n%s", text)
			}
			if !strings.Contains(read(t, dir, ".dockerignore"), ".env*\n") || len(s.Next) == 0 {
				t.Errorf("got next %v, and .dockerignore without .env*", s.Next)
			}
			golden(t, framework+".Dockerfile", text)
		})
	}
}

func TestInit_RefusesWrongFlagsAndWritesNothing(t *testing.T) {
	for name, o := range map[string]Options{
		"service":   {Service: "Shop App"},
		"image":     {Image: "ghcr.io/acme/shop:latest"},
		"host":      {Hosts: []string{"a b"}},
		"hosts":     {Domain: "https://shop.example.com"},
		"port":      {Port: 70000},
		"framework": {Framework: "cobol"},
	} {
		dir := project(t, nil)
		o.Path = filepath.Join(dir, "kstep.yml")
		_, err := Init(o)
		if exit.CodeOf(err) != exit.Usage || !strings.Contains(fmt.Sprint(err), name) {
			t.Errorf("%s: got %v, code %d, want its name and 64", name, err, exit.CodeOf(err))
		}
		if (tree{os.DirFS(dir)}).has("kstep.yml") || (tree{os.DirFS(dir)}).has(".gitignore") {
			t.Errorf("%s: files were written", name)
		}
	}
}

func TestDetect_HealthPathFollowsTheVersion(t *testing.T) {
	for want, texts := range map[string][]map[string]string{
		"/up": {
			{"Gemfile": "gem 'rails', '~> 7.1'"}, {"bin/rails": "", "Gemfile.lock": "    rails (7.2.1)\n"},
			{"bin/rails": "", "config/routes.rb": `get "up" => "rails/health#show"`},
			{"artisan": "", "composer.json": `"laravel/framework": "^11.9"`},
		},
		"/": {
			{"Gemfile": "gem 'rails', '~> 7.0'"}, {"bin/rails": ""}, {"Gemfile.lock": "", "bin/rails": "", "Gemfile": `gem "rails", "~> 6"`},
			{"artisan": "", "composer.json": `"laravel/framework": "^10.0"`},
		},
		"/healthz/":     {{"manage.py": "", "shop/urls.py": `path("healthz/", ok)`}},
		"/openapi.json": {{"pyproject.toml": "dependencies = [\n  \"fastapi>=0.1\",\n]"}},
		"/health":       {{"pyproject.toml": "dependencies = [\"fastapi\"]", "main.py": `@app.get("/health")`}},
	} {
		for _, t2 := range texts {
			app, err := Detect(project(t, t2), "")
			if err != nil || app.Health != want {
				t.Errorf("%v: got %s (%s), %v, want %s", t2, app.Health, app.Framework, err, want)
			}
		}
	}
}
