package scaffold

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/exit"
)

// Frameworks are the values of --framework, in the order in which they are looked for:
// a Rails application often has a package.json, and a Go service an index.html.
func Frameworks() []string {
	return []string{"rails", "phoenix", "laravel", "django", "fastapi", "go", "next", "node", "static", "dockerfile"}
}

// App is what the files of a folder say about the application. Notes are comments
// without the sign.
type App struct {
	Framework string // One of Frameworks, or empty.
	Name      string // As people write it.
	File      string // The file that it was recognised by; empty if the user named it.

	Port           int
	PortNote       string
	Health         string
	HealthNote     string
	Assets         []string // Folders in the image.
	Migrate        string   // The command, or empty.
	MigrateNote    string
	Worker         string // The command of a worker, or empty.
	WorkerNote     string
	Secrets        []string // Variables that it does not start without.
	DomainVariable string   // The variable that has the domain, or empty.
	HasDockerfile  bool
}

// Sentence says what was recognised.
func (a App) Sentence() string {
	switch {
	case a.Framework == "":
		return "No framework was recognised in this folder; kstep.yml has general defaults."
	case a.File == "":
		return fmt.Sprintf("%s: port %d, health check GET %s.", a.Name, a.Port, a.Health)
	}
	return fmt.Sprintf("%s, recognised by %s: port %d, health check GET %s.", a.Name, a.File, a.Port, a.Health)
}

// Detect reads the folder. A framework that is given is taken as it is.
func Detect(dir, framework string) (App, error) {
	if framework != "" && !slices.Contains(Frameworks(), framework) {
		return App{}, exit.Errorf(exit.Usage, "framework %q: use one of %s", framework, strings.Join(Frameworks(), ", "))
	}
	p := tree{os.DirFS(dir)}
	app := App{Framework: framework}
	if framework == "" {
		app.Framework, app.File = p.recognise()
	}
	docker := image{}
	if app.HasDockerfile = p.has("Dockerfile"); app.HasDockerfile {
		docker = readDockerfile(p.text("Dockerfile"))
	}
	p.describe(&app, docker.workdir)
	switch port, source := docker.port(); {
	case port != 0:
		app.Port, app.PortNote = port, source
	case app.Framework == "" || app.Framework == "dockerfile":
		app.PortNote = "the port that the application listens on, on 0.0.0.0"
	default:
		app.PortNote = "the usual port of " + app.Name
	}
	return app, nil
}

// recognise finds the framework and the file that shows it.
func (p tree) recognise() (framework, file string) {
	node := p.node()
	for _, try := range []struct {
		framework, file string
		found           bool
	}{
		{"rails", "bin/rails", p.has("bin/rails")},
		{"rails", "Gemfile", gem(p.text("Gemfile"), "rails")},
		{"phoenix", "mix.exs", strings.Contains(p.text("mix.exs"), ":phoenix,")},
		{"laravel", "artisan", p.has("artisan")},
		{"laravel", "composer.json", strings.Contains(p.text("composer.json"), `"laravel/framework"`)},
		{"django", "manage.py", p.has("manage.py")},
		{"fastapi", "requirements.txt", python(p.text("requirements.txt"), "fastapi")},
		{"fastapi", "pyproject.toml", python(p.text("pyproject.toml"), "fastapi")},
		{"go", "go.mod", p.has("go.mod")},
		{"next", "package.json", node.uses("next")},
		{"static", "index.html", p.has("index.html") && node.uses("vite") && node.Scripts["start"] == ""},
		{"node", "package.json", p.has("package.json")},
		{"static", "index.html", p.has("index.html")},
		{"dockerfile", "Dockerfile", p.has("Dockerfile")},
	} {
		if try.found {
			return try.framework, try.file
		}
	}
	return "", ""
}

// tree is the folder of the application.
type tree struct{ fs.FS }

func (p tree) has(name string) bool {
	info, err := fs.Stat(p, name)
	return err == nil && !info.IsDir()
}

func (p tree) hasFolder(name string) bool {
	info, err := fs.Stat(p, name)
	return err == nil && info.IsDir()
}

// text is the beginning of a file, or empty: what cannot be read says nothing.
func (p tree) text(name string) string {
	if !p.has(name) {
		return ""
	}
	f, err := p.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}

// first is the first of the files that there is.
func (p tree) first(names ...string) string {
	for _, name := range names {
		if p.has(name) {
			return name
		}
	}
	return ""
}

// nodePackage is what kstep reads of a package.json.
type nodePackage struct {
	Main            string            `json:"main"`
	Scripts         map[string]string `json:"scripts"`
	Dependencies    map[string]any    `json:"dependencies"`
	DevDependencies map[string]any    `json:"devDependencies"`
}

func (p tree) node() nodePackage {
	var n nodePackage
	if json.Unmarshal([]byte(p.text("package.json")), &n) != nil {
		return nodePackage{}
	}
	return n
}

func (n nodePackage) uses(name string) bool {
	return n.Dependencies[name] != nil || n.DevDependencies[name] != nil
}

// sources are files with one of the endings, at most three folders deep and 200 in all,
// without those of others.
func (p tree) sources(endings ...string) []string {
	var found []string
	//nolint:errcheck // A folder that cannot be read has no sources.
	fs.WalkDir(p, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir
		case len(found) >= 200:
			return fs.SkipAll
		case entry.IsDir():
			base := entry.Name()
			if name != "." && (strings.HasPrefix(base, ".") || strings.Count(name, "/") > 3 ||
				slices.Contains([]string{"node_modules", "vendor", "venv", "test", "tests", "testdata", "dist", "build"}, base)) {
				return fs.SkipDir
			}
		case slices.Contains(endings, path.Ext(name)) && !strings.Contains(entry.Name(), "_test.") && !strings.Contains(entry.Name(), ".test."):
			found = append(found, name)
		}
		return nil
	})
	return found
}
