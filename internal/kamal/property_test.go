package kamal

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

// project is the input of an import: file names with their content.
type project map[string]string

func readProject(t testing.TB, dir string) project {
	t.Helper()
	p := project{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path, filepath.Join(dir, "want")) {
			return err
		}
		data, err := os.ReadFile(path)
		p[strings.TrimPrefix(path, dir+"/")] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p project) write(t testing.TB, dir string) {
	t.Helper()
	for name, data := range p {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// mustBeValidOrRefused imports a project. What it makes has to be valid, with
// values for the variables, or the import has to be refused with a reason.
func mustBeValidOrRefused(t *testing.T, p project) (imported bool) {
	t.Helper()
	dir, out := t.TempDir(), t.TempDir()
	p.write(t, dir)
	result, err := Import(Options{Path: filepath.Join(dir, DefaultPath)})
	if err != nil {
		if exit.CodeOf(err) != exit.Config || err.Error() == "" {
			t.Errorf("got %v (exit code %d), want a reason and exit code %d", err, exit.CodeOf(err), exit.Config)
		}
		return false
	}
	if err := result.Write(out); err != nil {
		t.Fatalf("write: %v", err)
	}
	files, _ := filepath.Glob(out + "/*.yml")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if filledName.Match(data) && !onlySampled(p) {
			return true // What the values may be depends on the place.
		}
	}
	env := valuesFor(t, out)
	for _, d := range destinationsOf(result.Report.Files) {
		if _, err := loadResult(t, out, d, env); err != nil {
			t.Errorf("destination %q is not valid: %v\n%s", d, err, readText(t, filepath.Join(out, "kstep.yml")))
		}
	}
	for _, write := range []func(*bytes.Buffer) error{
		func(b *bytes.Buffer) error { return result.Report.WriteText(b) },
		func(b *bytes.Buffer) error { return result.Report.WriteMarkdown(b) },
		func(b *bytes.Buffer) error { return result.Report.WriteJSON(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil || b.Len() == 0 {
			t.Errorf("report: %v, %d bytes", err, b.Len())
		}
	}
	return true
}

// onlySampled reports that a project is one of the examples as it is, whose
// variables have names that promise the kind of their values.
func onlySampled(p project) bool { return p["config/deploy.yml"] != "" && p["changed"] == "" }

func TestImport_IsValidOrRefused_WhateverIsChanged(t *testing.T) {
	t.Parallel()
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	imported, all := 0, 0
	for _, dir := range examples(t) {
		original := readProject(t, dir)
		if !mustBeValidOrRefused(t, original) {
			t.Errorf("%s is refused", dir)
		}
		random := rand.New(rand.NewPCG(1, uint64(len(dir))))
		for range rounds {
			p := project{"changed": "yes"}
			for name, data := range original {
				if strings.HasSuffix(name, ".yml") {
					data = mutate(random, data)
				}
				p[name] = data
			}
			all++
			if mustBeValidOrRefused(t, p) {
				imported++
			}
			if t.Failed() {
				t.Fatalf("input, from %s:\n%s", dir, p[DefaultPath])
			}
		}
	}
	t.Logf("%d of %d changed configurations are imported, the others refused", imported, all)
	if imported < all/3 {
		t.Errorf("got %d of %d imported; the changes are too coarse to show anything", imported, all)
	}
}

// mutate changes some lines: it drops, doubles and moves them, and replaces
// values.
func mutate(random *rand.Rand, data string) string {
	values := []string{"", "true", "no", "010", "[]", "{}", "[a, b]", "{a: b}", "-1", "1:30", `"x y"`, "/a:/b", "../x", "a:b:c", "*.x.com", "${X}", "$(x)", "Ü", "~", "65536", "0"}
	lines := strings.Split(data, "\n")
	for range 1 + random.IntN(3) {
		i := random.IntN(len(lines))
		switch random.IntN(4) {
		case 0:
			lines = slices.Delete(lines, i, i+1)
		case 1:
			lines = slices.Insert(lines, random.IntN(len(lines)), lines[i])
		default:
			if key, _, ok := strings.Cut(lines[i], ": "); ok {
				lines[i] = key + ": " + values[random.IntN(len(values))]
			} else if key, _, ok := strings.Cut(lines[i], "- "); ok {
				lines[i] = key + "- " + values[random.IntN(len(values))]
			}
		}
		if len(lines) == 0 {
			return ""
		}
	}
	return strings.Join(lines, "\n")
}

func FuzzImport(f *testing.F) {
	for _, dir := range examples(f) {
		p := readProject(f, dir)
		destination := p["config/deploy.staging.yml"]
		f.Add(p[DefaultPath], destination, p[".kamal/secrets"], p[".kamal/hooks/pre-deploy"])
	}
	f.Fuzz(func(t *testing.T, main, destination, secrets, hook string) {
		p := project{"changed": "yes", DefaultPath: main, ".kamal/secrets": secrets, ".kamal/hooks/pre-deploy": hook}
		if destination != "" {
			p["config/deploy.staging.yml"] = destination
		}
		mustBeValidOrRefused(t, p)
	})
}
