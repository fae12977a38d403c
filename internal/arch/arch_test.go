package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/kstep/kstep/"

// layers are the packages from the bottom up: one may import only those in
// layers below its own, and its own layer's where the list says so.
func layers() [][]string {
	return [][]string{
		{"internal/atomicfile", "internal/platform"},
		{"internal/exit", "internal/report", "internal/arch", "internal/linger", "internal/lines", "internal/route", "internal/short", "internal/silence", "internal/sshconfig"},
		{"schema", "internal/secret", "internal/state", "internal/runopt"},
		{"internal/config", "internal/actor", "internal/timeline", "internal/hook", "internal/engine", "internal/git"},
		{"internal/host", "internal/version", "internal/scaffold", "internal/envify", "internal/kamal", "internal/builder", "internal/registry"},
		{"internal/fault", "internal/cord", "internal/probe", "internal/ledger", "internal/lease", "internal/envfile", "internal/asset", "internal/mirror", "internal/audit", "internal/bootstrap", "internal/drain", "internal/delivery", "internal/sysinfo"},
		{"internal/plan"},
		{"internal/barrier", "internal/traffic", "internal/ready", "internal/task", "internal/network"},
		{"internal/proxy", "internal/accessory"},
		{"stages"},
		{"stages/build", "stages/push", "stages/assets", "stages/envpush", "stages/boot", "stages/barrierwait", "stages/cutover", "stages/prune", "stages/abort", "stages/remove"},
		{"cmd/kstep"},
	}
}

func TestImports_PointDownwards(t *testing.T) {
	rank := map[string]int{}
	for i, layer := range layers() {
		for _, pkg := range layer {
			rank[pkg] = i
		}
	}
	for pkg, imports := range product(t) {
		own, ok := rank[pkg]
		if !ok {
			if !tool(pkg) {
				t.Errorf("package %s has no layer: add it to layers() in this test", pkg)
			}
			continue
		}
		for _, imported := range imports {
			below, inside := strings.CutPrefix(imported, module)
			if !inside {
				continue
			}
			if theirs, ok := rank[below]; !ok || theirs >= own {
				t.Errorf("%s imports %s, which is not below it", pkg, below)
			}
		}
	}
}

func TestImports_OfOutsideModulesAreThoseOfTheDocumentation(t *testing.T) {
	rows := documented(t)
	for _, outside := range required(t) {
		if rows[outside] == "" {
			t.Errorf("docs/dependencies.md has no row for %s", outside)
		}
	}
	used := map[string]bool{}
	for pkg, imports := range product(t) {
		for _, imported := range imports {
			for outside, importers := range rows {
				if imported != outside && !strings.HasPrefix(imported, outside+"/") {
					continue
				}
				used[outside+" in "+pkg] = true
				if !strings.Contains(importers, "`"+pkg+"`") && !tool(pkg) {
					t.Errorf("%s imports %s; by docs/dependencies.md only %s may", pkg, imported, importers)
				}
			}
		}
	}
	for outside, importers := range rows {
		if !slices.Contains(required(t), outside) {
			t.Errorf("docs/dependencies.md lists %s, which go.mod does not require directly", outside)
		}
		for pkg := range strings.SplitSeq(importers, ", ") {
			if pkg = strings.Trim(pkg, "`"); pkg != "tests" && !used[outside+" in "+pkg] {
				t.Errorf("docs/dependencies.md says that %s imports %s, and it does not", pkg, outside)
			}
		}
	}
}

// documented are the importers of each module, as docs/dependencies.md has them.
func documented(t *testing.T) map[string]string {
	t.Helper()
	rows := map[string]string{}
	_, table, _ := strings.Cut(read(t, "docs/dependencies.md"), "<!-- modules: begin -->")
	table, _, _ = strings.Cut(table, "<!-- modules: end -->")
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, " | "); len(cells) == 3 && strings.HasPrefix(line, "| `") {
			rows[strings.Trim(cells[0], "|` ")] = cells[1]
		}
	}
	return rows
}

// required are the modules that go.mod requires directly.
func required(t *testing.T) []string {
	t.Helper()
	_, list, _ := strings.Cut(read(t, "go.mod"), "require (")
	list, _, _ = strings.Cut(list, ")")
	var modules []string
	for line := range strings.Lines(list) {
		if fields := strings.Fields(line); len(fields) == 2 {
			modules = append(modules, fields[0])
		}
	}
	if len(modules) == 0 {
		t.Fatal("go.mod requires nothing: is the test looking at the right file?")
	}
	return modules
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A caller of the engine package would have to pick the login, too.
func TestPull_GoesThroughTheRegistryPackage(t *testing.T) {
	eachFile(t, parser.SkipObjectResolution, func(_, pkg string, file *ast.File) {
		if pkg == "internal/registry" || pkg == "internal/engine" || tool(pkg) {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && (s.Sel.Name == "PullImage" || s.Sel.Name == "ImagePull") {
				t.Errorf("%s calls %s; pull with registry.Puller, which picks the login by the image's server", pkg, s.Sel.Name)
			}
			return true
		})
	})
}

// tool reports whether a package is not in the product: a generator, or support
// code of tests.
func tool(pkg string) bool {
	return strings.HasPrefix(pkg, "integration") || path.Base(pkg) == "gen" || strings.HasSuffix(pkg, "test") || strings.Contains(pkg, "/gen/")
}

// product is every package's imports, tests left out.
func product(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	eachFile(t, parser.ImportsOnly, func(_, pkg string, file *ast.File) {
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			found[pkg] = append(found[pkg], imported)
		}
		if found[pkg] == nil {
			found[pkg] = []string{}
		}
	})
	if len(found) < 20 {
		t.Fatalf("found only %d packages: is the test looking at the right folder?", len(found))
	}
	return found
}

// eachFile visits every Go file that is not a test.
func eachFile(t *testing.T, mode parser.Mode, visit func(name, pkg string, file *ast.File)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != "." && d.Name() != ".." || d.Name() == "testdata" || d.Name() == "tools") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, mode)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if name = filepath.ToSlash(name); err == nil {
			visit(name, path.Dir(name), parsed)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
