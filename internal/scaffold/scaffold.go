// Package scaffold writes the files that a project starts with: a kstep.yml for the
// application that it recognises in the folder, lines for .gitignore and, on request,
// sample hooks and a Dockerfile. It overwrites nothing.
package scaffold

import (
	"cmp"
	"embed"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:embed files
var files embed.FS

// exampleHost stands in kstep.yml where no host was given. It is reserved for
// documentation (RFC 5737).
const exampleHost = "192.0.2.1"

// Options are the answers of the user. Empty ones are derived from the folder.
type Options struct {
	Path      string // Of the configuration; the project is its folder.
	Hosts     []string
	Service   string
	Image     string // With or without registry server; empty for none.
	Domain    string
	Port      int
	Framework string // One of Frameworks.
	Hooks     bool   // Write the sample hooks.

	// Dockerfile writes a Dockerfile for the framework.
	Dockerfile bool
}

// Summary is what Init did, and what is left to do.
type Summary struct {
	Results []Result
	App     App
	Next    []string // Each is one step, a line.
}

// Init writes the files. Where one of them exists already, it writes none and returns
// an error that names it. Only to .gitignore and .dockerignore it adds what is missing.
// The summary is complete as far as Init came, also with an error.
func Init(o Options) (Summary, error) {
	o.Path = cmp.Or(o.Path, "kstep.yml")
	dir := filepath.Dir(o.Path)
	app, err := Detect(dir, o.Framework)
	if err != nil {
		return Summary{}, err
	}
	if o.Port != 0 {
		app.Port, app.PortNote = o.Port, ""
	}
	s := settingsOf(o, dir)
	text := render(s, app)
	if err := check(text); err != nil {
		return Summary{}, err
	}
	list := []file{{name: filepath.Base(o.Path), data: []byte(text), perm: 0o644}}
	if o.Dockerfile {
		data, err := dockerfile(dir, app)
		if err != nil {
			return Summary{}, err
		}
		list = append(list, file{name: "Dockerfile", data: data, perm: 0o644})
	}
	if o.Hooks {
		hooks, err := hooks()
		if err != nil {
			return Summary{}, err
		}
		list = append(list, hooks...)
	}
	results, err := writeAll(dir, list)
	if err != nil {
		return Summary{Results: results, App: app}, err
	}
	lists := []ignoreList{{".gitignore", gitIgnored()}}
	if o.Dockerfile {
		lists = append(lists, ignoreList{".dockerignore", dockerIgnored()})
	}
	for _, l := range lists {
		action, err := addLines(filepath.Join(dir, l.name), l.lines)
		if err != nil {
			return Summary{Results: results, App: app}, err
		}
		results = append(results, Result{Path: l.name, Action: action})
	}
	return Summary{Results: results, App: app, Next: next(o, app)}, nil
}

// settings are the answers with what was derived for the empty ones.
type settings struct {
	service string
	server  string // The registry's, or empty for Docker Hub.
	image   string // Empty if there is no registry.
	hosts   []string
	domain  string
}

func settingsOf(o Options, dir string) settings {
	s := settings{service: cmp.Or(o.Service, ServiceName(dir)), domain: o.Domain}
	s.server, s.image = splitImage(o.Image)
	for _, host := range o.Hosts {
		if !slices.Contains(s.hosts, host) {
			s.hosts = append(s.hosts, host)
		}
	}
	if len(s.hosts) == 0 {
		s.hosts = []string{exampleHost}
	}
	return s
}

// splitImage takes the registry's server off, by the rule of the docker command: the
// first part is a server if it has a dot or a colon, or is localhost.
func splitImage(image string) (server, repository string) {
	first, rest, ok := strings.Cut(image, "/")
	if ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return first, rest
	}
	return "", image
}

func hooks() ([]file, error) {
	entries, err := files.ReadDir("files/hooks")
	if err != nil {
		return nil, err
	}
	var list []file
	for _, e := range entries {
		data, err := fs.ReadFile(files, path.Join("files/hooks", e.Name()))
		if err != nil {
			return nil, err
		}
		list = append(list, file{name: path.Join(".kstep/hooks", e.Name()), data: data, perm: 0o755})
	}
	return list, nil
}

// next lists what the user has to do before the first deploy.
func next(o Options, app App) []string {
	var steps []string
	name := filepath.Base(o.Path)
	if len(o.Hosts) == 0 {
		steps = append(steps, "replace "+exampleHost+" in "+name+" with the address of your server")
	}
	switch {
	case o.Dockerfile:
		steps = append(steps, "read Dockerfile, and build it once: docker build .")
	case app.HasDockerfile:
	case hasTemplate(app.Framework):
		steps = append(steps, "add a Dockerfile, or remove "+name+" and run: kstep init --dockerfile")
	default:
		steps = append(steps, "add a Dockerfile to this folder: kstep builds the image from it")
	}
	return append(steps, "commit the new files: kstep builds a clean clone of the commit",
		"check what a deploy needs: kstep doctor", "deploy for the first time: kstep setup")
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// ServiceName derives a service's name from the folder's.
func ServiceName(dir string) string {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "my-app"
	}
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(filepath.Base(absolute)), "-"), "-")
	return cmp.Or(name, "my-app")
}
