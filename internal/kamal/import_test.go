package kamal

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
)

var update = flag.Bool("update", false, "write the reports, and those kstep.yml that are missing, instead of comparing them")

// newKeys are keys that kstep's schema may have or not. The files in want are as
// if it had none of them; the tests in carried_test.go are about them.
var newKeys = []string{
	"proxy.tls", "aliases", "proxy.strip_path_prefix", "proxy.response_timeout", "proxy.max_body", "proxy.path_prefix.[]",
	"registries", "accessories.*.networks", "proxy.publish.https",
}

func withoutNewKeys(key ...string) bool {
	path := strings.Join(key, ".")
	return !slices.ContainsFunc(newKeys, func(n string) bool { return path == n || strings.HasPrefix(path, n+".") }) && knowsKey(key...)
}

// examples are the folders in testdata, each a project with the wanted result.
func examples(t testing.TB) []string {
	t.Helper()
	all, err := filepath.Glob("testdata/*/config/deploy.yml")
	if err != nil || len(all) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for i := range all {
		all[i] = filepath.Dir(filepath.Dir(all[i]))
	}
	return all
}

func TestImport_MakesWhatIsWanted(t *testing.T) {
	for _, dir := range examples(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			result, err := Import(Options{Path: filepath.Join(dir, DefaultPath), Knows: withoutNewKeys})
			if err != nil {
				t.Fatal(err)
			}
			want := filepath.Join(dir, "want")
			compareReport(t, filepath.Join(want, "report"), dir, result.Report)
			got := t.TempDir()
			if err := result.Write(got); err != nil {
				t.Fatal(err)
			}
			for _, file := range result.Report.Files {
				if _, err := os.Stat(filepath.Join(want, file)); *update && errors.Is(err, os.ErrNotExist) {
					copyFile(t, filepath.Join(got, file), filepath.Join(want, file))
				}
				if strings.HasSuffix(file, ".yml") {
					continue
				}
				if diff := cmp.Diff(readText(t, filepath.Join(want, file)), readText(t, filepath.Join(got, file))); diff != "" {
					t.Errorf("%s differs (-want +got):\n%s", file, diff)
				}
			}
			for _, destination := range destinationsOf(result.Report.Files) {
				env := valuesFor(t, got)
				if diff := cmp.Diff(shown(t, want, destination, env), shown(t, got, destination, env)); diff != "" {
					t.Errorf("configuration of destination %q differs (-want +got):\n%s", destination, diff)
				}
			}
			wanted, _ := filepath.Glob(want + "/*.yml")
			made, _ := filepath.Glob(got + "/*.yml")
			if len(wanted) != len(made) {
				t.Errorf("got %d files, want %d", len(made), len(wanted))
			}
		})
	}
}

// destinationsOf are those of the files; without one it is the main file alone.
func destinationsOf(files []string) []string {
	var all []string
	for _, f := range files {
		if parts := strings.Split(f, "."); len(parts) == 3 && parts[0] == "kstep" {
			all = append(all, parts[1])
		}
	}
	if len(all) == 0 {
		return []string{""}
	}
	return all
}

func compareReport(t *testing.T, path, dir string, r Report) {
	t.Helper()
	var b strings.Builder
	for _, e := range r.Entries {
		fmt.Fprintf(&b, "%s %s %s:%d\n", e.Kind, e.Key, strings.TrimPrefix(e.File, dir+"/"), e.Line)
	}
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(readText(t, path), b.String()); diff != "" {
		t.Errorf("report differs (-want +got):\n%s", diff)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, []byte(readText(t, from)), 0o600); err != nil {
		t.Fatal(err)
	}
}

var needed = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-)?`)

func valueFor(name string) string {
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(name, w) })
	}
	switch {
	case has("HOST", "JUMP"):
		return strings.ToLower(strings.ReplaceAll(name, "_", "-")) + ".example.com"
	case has("HOME", "DIR"):
		return "/home/app"
	case has("PORT", "CPUS", "MEMORY", "RETAIN", "LIMIT", "TIMEOUT"):
		return "1"
	}
	return "v1"
}

// valuesFor has a value for each variable in the files of a folder that has no
// default, of the kind that its name promises.
func valuesFor(t testing.TB, dir string) map[string]string {
	t.Helper()
	env := map[string]string{}
	files, _ := filepath.Glob(dir + "/*.yml")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range needed.FindAllStringSubmatch(string(data), -1) {
			if m[2] != "" {
				continue
			}
			env[m[1]] = valueFor(m[1])
		}
	}
	return env
}

// loadResult loads what an import made. A main file that requires a destination
// is loaded with an empty one.
func loadResult(t *testing.T, dir, destination string, env map[string]string) (*config.Config, error) {
	t.Helper()
	if main := readText(t, filepath.Join(dir, "kstep.yml")); destination == "" && strings.Contains(main, "\nrequire_destination: true") {
		dir, destination = t.TempDir(), "empty"
		for name, data := range map[string]string{"kstep.yml": main, "kstep.empty.yml": "{}\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return config.Load(config.LoadOptions{
		Path: filepath.Join(dir, "kstep.yml"), Destination: destination,
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
}

func shown(t *testing.T, dir, destination string, env map[string]string) string {
	t.Helper()
	cfg, err := loadResult(t, dir, destination, env)
	if err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	text, err := cfg.Show()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWrite_KeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	r := &Result{Files: []File{{Path: "kstep.yml", Data: []byte("new")}, {Path: ".kstep/hooks/pre-build", Data: []byte("x"), Executable: true}}}
	if err := os.WriteFile(filepath.Join(dir, "kstep.yml"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := r.Write(dir)
	if exit.CodeOf(err) != exit.Config || !strings.Contains(err.Error(), "kstep.yml") {
		t.Errorf("got %v, want an error with exit code %d that names the file", err, exit.Config)
	}
	if got := readText(t, filepath.Join(dir, "kstep.yml")); got != "old" {
		t.Errorf("got %q, want the old file", got)
	}
	if _, err := os.Stat(filepath.Join(dir, ".kstep")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no other file either", err)
	}
	other := t.TempDir()
	if err := r.Write(other); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(other, ".kstep/hooks/pre-build")); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("got %v, %v, want an executable hook", info, err)
	}
}
