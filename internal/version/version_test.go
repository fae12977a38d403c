package version

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func checkout(t *testing.T) (dir, head string) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	dir = t.TempDir()
	write(t, dir, "one\n")
	gitRun(t, dir, "init", "--quiet")
	gitRun(t, dir, "add", "--all")
	gitRun(t, dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message=x")
	return dir, gitRun(t, dir, "rev-parse", "HEAD")
}

func write(t *testing.T, dir, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "app.txt"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func gitRun(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestResolve_TakesTheFlagThenTheEnvironmentThenTheCommit(t *testing.T) {
	dir, head := checkout(t)
	cases := map[string]struct {
		options Options
		want    string
	}{
		"flag wins":             {Options{Flag: "v1", Env: "v2"}, "v1"},
		"environment is second": {Options{Env: "v2"}, "v2"},
		"commit is last":        {Options{}, head},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.options.Dir = dir
			got, src, warn, err := Resolve(t.Context(), c.options)
			if err != nil || got != c.want || src.Commit != head || src.Subject != "x" || src.Dirty || warn != "" {
				t.Errorf("got %q, %+v, %q, %v, want %q from clean %s", got, src, warn, err, c.want, head)
			}
		})
	}
}

func TestResolve_NamesUncommittedChangesOnlyWhenTheyAreBuilt(t *testing.T) {
	dir, head := checkout(t)
	write(t, dir, "two\n")
	got, src, warn, err := Resolve(t.Context(), Options{Dir: dir})
	if err != nil || got != head || src.Dirty || !strings.Contains(warn, "uncommitted changes") {
		t.Errorf("clean copy: got %q, %+v, %q, %v, want the commit and a warning", got, src, warn, err)
	}
	got, src, warn, err = Resolve(t.Context(), Options{Dir: dir, BuildsTree: true})
	if err != nil || !src.Dirty || warn != "" {
		t.Errorf("tree: got %+v, %q, %v, want dirty without warning", src, warn, err)
	}
	if !regexp.MustCompile("^" + head + "_uncommitted_[0-9a-f]{16}$").MatchString(got) {
		t.Errorf("tree: got %q, want <commit>_uncommitted_<16 hex>", got)
	}
	if err := Validate(got); err != nil {
		t.Error(err)
	}
}

func TestResolve_AVersionThatIsACommitMeansThatCommit(t *testing.T) {
	dir, first := checkout(t)
	write(t, dir, "two\n")
	gitRun(t, dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--all", "--message=y")
	for _, given := range []string{first, strings.Repeat("0", 40)} {
		_, src, _, err := Resolve(t.Context(), Options{Dir: dir, Flag: given})
		want := first
		if given != first {
			want = gitRun(t, dir, "rev-parse", "HEAD")
		}
		if err != nil || src.Commit != want {
			t.Errorf("%s: got %+v, %v, want commit %s", given, src, err, want)
		}
	}
}

func TestResolve_OutsideGitNeedsAVersion(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(dir))
	_, _, _, err := Resolve(t.Context(), Options{Dir: dir})
	if exit.CodeOf(err) != exit.Config || len(exit.Hints(err)) == 0 {
		t.Errorf("got %v, want the config code with hints", err)
	}
	if got, src, _, err := Resolve(t.Context(), Options{Dir: dir, Flag: "1.2.3"}); got != "1.2.3" || src.Commit != "" || err != nil {
		t.Errorf("got %q, %+v, %v, want the given version", got, src, err)
	}
}

func TestValidate_AcceptsOnlyWhatTagsAndNamesCanHold(t *testing.T) {
	cases := map[string]bool{
		"v1.2.3": true, "_x": true, strings.Repeat("a", 128): true,
		"": false, "-x": false, ".x": false, "a/b": false, "a b": false, "ä": false, "a\n": false, strings.Repeat("a", 129): false,
	}
	for version, ok := range cases {
		if err := Validate(version); (err == nil) != ok {
			t.Errorf("%q: got %v, want ok %v", version, err, ok)
		}
	}
}
