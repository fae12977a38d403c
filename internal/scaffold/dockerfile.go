package scaffold

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"text/template"

	"github.com/kstep/kstep/internal/exit"
)

// hasTemplate reports whether --dockerfile can write one for the framework.
func hasTemplate(framework string) bool {
	_, err := fs.Stat(files, templateName(framework))
	return framework != "" && err == nil
}

func templateName(framework string) string { return path.Join("files/dockerfiles", framework+".tmpl") }

// recipe is what the templates fill in.
type recipe struct {
	Port    int
	Version string // Of the language, for the tag of the base image.
	Module  string // What to run: a module, a package or a release.
	Start   string // A command in JSON form.
	Install string // The command that installs the packages.
	Copy    string // The files that Install needs.
	Build   string // The command that builds, or empty.
	Assets  bool   // The framework compiles assets.
	Static  bool   // Django collects static files.
	Prune   string
}

// dockerfile fills in the framework's template.
func dockerfile(dir string, a App) ([]byte, error) {
	if !hasTemplate(a.Framework) {
		return nil, exit.With(exit.Usage, fmt.Errorf("--dockerfile: kstep has none for %s", cmp.Or(a.Name, "this folder")),
			"name the framework with --framework, or write a Dockerfile")
	}
	t, err := template.ParseFS(files, templateName(a.Framework))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, tree{os.DirFS(dir)}.recipe(a)); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

var (
	twoNumbers = regexp.MustCompile(`([0-9]+\.[0-9]+)`)
	oneNumber  = regexp.MustCompile(`([0-9]+)`)
	goVersion  = regexp.MustCompile(`(?m)^go ([0-9]+\.[0-9]+)`)
	mixApp     = regexp.MustCompile(`app:\s*:([a-z0-9_]+)`)
)

func (p tree) recipe(a App) recipe {
	r := recipe{Port: a.Port}
	switch a.Framework {
	case "rails":
		r.Version = cmp.Or(match(twoNumbers, p.text(".ruby-version")), "3.4")
		r.Assets = len(a.Assets) > 0
	case "phoenix":
		r.Module = cmp.Or(match(mixApp, p.text("mix.exs")), "app")
		r.Assets = strings.Contains(p.text("mix.exs"), "assets.deploy")
	case "laravel":
		r.Assets = p.has("package.json")
	case "django":
		r.python(p)
		r.Module = cmp.Or(strings.Split(p.djangoModule(), ".")[0], "config") + ".wsgi"
		r.Static = len(a.Assets) > 0
	case "fastapi":
		r.python(p)
		r.Module = p.fastapiModule()
	case "go":
		r.Version = cmp.Or(match(goVersion, p.text("go.mod")), "1.25")
		r.Module = p.goMain()
	case "next", "node", "static":
		r.node(p)
	}
	return r
}

func (r *recipe) python(p tree) {
	r.Version = cmp.Or(match(twoNumbers, p.text(".python-version")), "3.13")
	switch {
	case p.has("requirements.txt"):
		r.Copy, r.Install = "requirements.txt", "pip install --no-cache-dir -r requirements.txt"
	case p.has("uv.lock"):
		r.Copy = "pyproject.toml uv.lock"
		r.Install = "pip install --no-cache-dir uv && uv export --frozen --no-dev --no-emit-project -o /tmp/requirements.txt && pip install --no-cache-dir -r /tmp/requirements.txt"
	default:
		r.Copy, r.Install = ".", "pip install --no-cache-dir ."
	}
}

func (r *recipe) node(p tree) {
	n := p.node()
	r.Version = cmp.Or(match(oneNumber, p.text(".nvmrc")), match(oneNumber, p.text(".node-version")), "22")
	r.Copy, r.Install = "package.json", "npm install"
	run := "npm run build"
	r.Prune = "npm prune --omit=dev"
	switch {
	case p.has("pnpm-lock.yaml"):
		r.Copy, r.Install, run = "package.json pnpm-lock.yaml", "corepack enable && pnpm install --frozen-lockfile", "corepack enable && pnpm run build"
		r.Prune = "corepack enable && CI=true pnpm prune --prod"
	case p.has("yarn.lock"):
		r.Copy, r.Install, run = "package.json yarn.lock", "corepack enable && yarn install", "corepack enable && yarn run build"
		r.Prune = ""
	case p.has("package-lock.json"):
		r.Copy, r.Install = "package.json package-lock.json", "npm ci"
	}
	if n.Scripts["build"] != "" {
		r.Build = run
	}
	r.Start = `["npm", "start"]`
	if n.Scripts["start"] == "" {
		r.Start = fmt.Sprintf("[%q, %q]", "node", cmp.Or(n.Main, p.first("server.js", "app.js", "index.js"), "index.js"))
	}
}

// goMain is the package with the main function: the folder itself, or the only one
// below cmd.
func (p tree) goMain() string {
	if p.has("main.go") {
		return "."
	}
	if names, err := fs.Glob(p, "cmd/*/main.go"); err == nil && len(names) > 0 {
		return "./" + path.Dir(names[0])
	}
	return "."
}
