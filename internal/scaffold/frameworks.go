package scaffold

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
)

// describe fills in what the framework is known for and what its files say. workdir is
// the Dockerfile's, or empty.
func (p tree) describe(a *App, workdir string) {
	a.Health, a.HealthNote = "/", "any page that answers 200 to 399; a path that also checks the database is better"
	switch a.Framework {
	case "rails":
		p.rails(a, cmp.Or(workdir, "/rails"))
	case "phoenix":
		p.phoenix(a)
	case "laravel":
		p.laravel(a, cmp.Or(workdir, "/app"))
	case "django":
		p.django(a, cmp.Or(workdir, "/app"))
	case "fastapi":
		p.fastapi(a)
	case "go":
		a.Name, a.Port = "Go", 8080
		p.findHealth(a, healthRoute, ".go")
	case "next":
		a.Name, a.Port = "Next.js", 3000
		a.Assets = []string{cmp.Or(workdir, "/app") + "/.next/static"}
		p.prisma(a)
	case "node":
		a.Name, a.Port = "Node.js", 3000
		p.findHealth(a, healthRoute, ".js", ".mjs", ".cjs", ".ts")
		p.prisma(a)
	case "static":
		a.Name, a.Port = "static site", 80
		a.HealthNote = "the home page"
	case "dockerfile":
		a.Name, a.Port = "Dockerfile", 3000
	default:
		a.Port = 3000
	}
}

func (p tree) rails(a *App, workdir string) {
	a.Name, a.Port = "Rails", 3000
	gems, lock := p.text("Gemfile"), p.text("Gemfile.lock")
	routes := p.text("config/routes.rb")
	if strings.Contains(routes, "rails/health") || atLeast(railsVersion(gems, lock), 7, 1) {
		a.Health, a.HealthNote = "/up", "rails/health in config/routes.rb, since Rails 7.1"
	}
	if p.hasFolder("app/assets") || gem(gems, "propshaft") || gem(gems, "sprockets-rails") {
		a.Assets = []string{workdir + "/public/assets"}
	}
	if gem(gems, "shakapacker") || gem(gems, "webpacker") {
		a.Assets = append(a.Assets, workdir+"/public/packs")
	}
	if p.has("config/database.yml") || p.hasFolder("db") {
		a.Migrate = "bin/rails db:migrate"
	}
	switch all := gems + "\n" + lock; {
	case gem(all, "sidekiq"):
		a.Worker, a.WorkerNote = "bundle exec sidekiq", "Sidekiq is in the Gemfile"
	case gem(all, "solid_queue"):
		a.Worker, a.WorkerNote = "bin/jobs", "Solid Queue is in the Gemfile"
	case gem(all, "good_job"):
		a.Worker, a.WorkerNote = "bundle exec good_job start", "GoodJob is in the Gemfile"
	}
	if p.has("config/credentials.yml.enc") {
		a.Secrets = []string{"RAILS_MASTER_KEY"}
	}
}

func (p tree) phoenix(a *App) {
	a.Name, a.Port = "Phoenix", 4000
	p.findHealth(a, healthRoute, ".ex")
	if strings.Contains(p.text("mix.exs"), ":ecto_sql") {
		a.Migrate = "bin/migrate"
		if !p.has("rel/overlays/bin/migrate") {
			a.MigrateNote = "written by: mix phx.gen.release"
		}
	}
	runtime := p.text("config/runtime.exs")
	for _, name := range []string{"SECRET_KEY_BASE", "DATABASE_URL"} {
		if strings.Contains(runtime, `"`+name+`"`) {
			a.Secrets = append(a.Secrets, name)
		}
	}
	if strings.Contains(runtime, `"PHX_HOST"`) {
		a.DomainVariable = "PHX_HOST"
	}
}

var laravelVersion = regexp.MustCompile(`"laravel/framework"\s*:\s*"[^0-9"]*([0-9.]+)`)

func (p tree) laravel(a *App, workdir string) {
	a.Name, a.Port = "Laravel", 8080
	composer := p.text("composer.json")
	if atLeast(match(laravelVersion, composer), 11, 0) || strings.Contains(p.text("bootstrap/app.php"), "health: '/up'") {
		a.Health, a.HealthNote = "/up", "health in bootstrap/app.php, since Laravel 11"
	}
	if p.first("vite.config.js", "vite.config.ts") != "" {
		a.Assets = []string{workdir + "/public/build"}
	}
	a.Migrate = "php artisan migrate --force"
	a.Secrets = []string{"APP_KEY"}
	if strings.Contains(composer, `"laravel/horizon"`) {
		a.Worker, a.WorkerNote = "php artisan horizon", "Horizon is in composer.json"
	}
}

var (
	djangoSettings = regexp.MustCompile(`DJANGO_SETTINGS_MODULE["'],\s*["']([A-Za-z0-9_.]+)["']`)
	staticRoot     = regexp.MustCompile(`(?m)^STATIC_ROOT\s*=\s*(?:BASE_DIR\s*/\s*|os\.path\.join\(\s*BASE_DIR\s*,\s*)["']([A-Za-z0-9_./-]+)["']`)
	djangoHealth   = regexp.MustCompile(`path\(\s*["']((?:api/)?(?:up|healthz|health|healthcheck|readyz|livez|ht)/?)["']`)
	healthRoute    = regexp.MustCompile("[\"'`](?:GET )?(/(?:api/)?(?:up|healthz|health|healthcheck|readyz|livez)/?)[\"'`]")
)

func (p tree) django(a *App, workdir string) {
	a.Name, a.Port = "Django", 8000
	p.findHealth(a, djangoHealth, ".py")
	module := p.djangoModule()
	if root := match(staticRoot, p.text(strings.ReplaceAll(module, ".", "/")+".py")); root != "" {
		a.Assets = []string{workdir + "/" + strings.Trim(root, "/")}
	}
	a.Migrate = "python manage.py migrate"
	p.celery(a, strings.Split(module, ".")[0])
}

// djangoModule is the module of the settings, or empty.
func (p tree) djangoModule() string { return match(djangoSettings, p.text("manage.py")) }

var fastapiVariable = regexp.MustCompile(`(?m)^([A-Za-z_][A-Za-z0-9_]*)(?:\s*:\s*FastAPI)?\s*=\s*(?:fastapi\.)?FastAPI\(`)

func (p tree) fastapi(a *App) {
	a.Name, a.Port = "FastAPI", 8000
	a.Health, a.HealthNote = "/openapi.json", "FastAPI serves it unless it is turned off; a path that also checks the database is better"
	p.findHealth(a, healthRoute, ".py")
	if p.has("alembic.ini") {
		a.Migrate = "alembic upgrade head"
	}
	p.celery(a, "")
}

// fastapiModule is where the application is, as uvicorn takes it.
func (p tree) fastapiModule() string {
	for _, name := range p.sources(".py") {
		if v := match(fastapiVariable, p.text(name)); v != "" {
			module := strings.TrimSuffix(strings.TrimSuffix(name, ".py"), "/__init__")
			return strings.ReplaceAll(module, "/", ".") + ":" + v
		}
	}
	return "main:app"
}

func (p tree) celery(a *App, module string) {
	for _, name := range []string{"requirements.txt", "pyproject.toml"} {
		if python(p.text(name), "celery") {
			a.Worker, a.WorkerNote = "celery -A "+cmp.Or(module, "app")+" worker", "Celery is in "+name
			return
		}
	}
}

func (p tree) prisma(a *App) {
	if p.node().uses("prisma") && p.has("prisma/schema.prisma") {
		a.Migrate = "npx prisma migrate deploy"
	}
}

// findHealth looks in the sources for a path that is usual for health checks.
func (p tree) findHealth(a *App, pattern *regexp.Regexp, endings ...string) {
	for _, name := range p.sources(endings...) {
		if route := match(pattern, p.text(name)); route != "" {
			a.Health, a.HealthNote = "/"+strings.TrimPrefix(route, "/"), "in "+name
			return
		}
	}
}

// gem reports whether a Gemfile, or its lock file, has the gem.
func gem(text, name string) bool {
	return regexp.MustCompile(`(?m)^(?:\s*gem\s+["']` + name + `["']|    ` + name + ` \()`).MatchString(text)
}

// python reports whether a list of requirements, or a pyproject.toml, has the package.
func python(text, name string) bool {
	return regexp.MustCompile(`(?im)^\s*["']?` + name + `\s*(?:["'\[<>=~!;, #]|$)|[\[,]\s*["']` + name + `["'\[<>=~!; ]`).MatchString(text)
}

var (
	railsLocked = regexp.MustCompile(`(?m)^    rails \(([0-9.]+)`)
	railsWanted = regexp.MustCompile(`(?m)^\s*gem\s+["']rails["']\s*,\s*["'][^0-9"']*([0-9.]+)`)
)

func railsVersion(gems, lock string) string {
	return cmp.Or(match(railsLocked, lock), match(railsWanted, gems))
}

// atLeast compares the first two numbers of a version. An empty one is not enough.
func atLeast(version string, major, minor int) bool {
	parts := append(strings.Split(version, "."), "0")
	a, err := strconv.Atoi(parts[0])
	if err != nil {
		return false
	}
	b, err := strconv.Atoi(parts[1])
	return a > major || (a == major && err == nil && b >= minor)
}

func match(pattern *regexp.Regexp, text string) string {
	if m := pattern.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}
