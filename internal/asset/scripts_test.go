package asset

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/hook/hooktest"
)

// tools are what hosts have for cp; BusyBox has all its own programs.
func tools(t *testing.T) map[string]string {
	t.Helper()
	cp, err := exec.LookPath("cp")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"coreutils": "exec " + cp + ` "$@"`,
		"BusyBox":   "",
		"no links of root's files": `case "$*" in
			*' -l '*.lent/.*|*' -l '*.overlay\ *|*' -l '*.overlay/.*) ;;
			*' -l '*) echo 'Operation not permitted' >&2; exit 1 ;;
			esac
			exec ` + cp + ` "$@"`,
	}
}

// trees are a folder with the files of one generation, and one with those of
// another.
func trees(t *testing.T) (own, all string) {
	t.Helper()
	dir := t.TempDir()
	own, all = filepath.Join(dir, "own"), filepath.Join(dir, "all")
	for name, text := range map[string]string{
		"own/app-1.css": "one", "own/.keys/a b": "hidden", "own/manifest": "mine",
		"all/app-2.css": "two", "all/manifest": "theirs",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("app-1.css", filepath.Join(own, "app.css")); err != nil {
		t.Fatal(err)
	}
	return own, all
}

func run(t *testing.T, cp, script, from, to string) {
	t.Helper()
	runWith(t, cp, script, from, to, to)
}

// runWith is run with the own folder of the version that to is of.
func runWith(t *testing.T, cp, script, from, to, own string) {
	t.Helper()
	var path string
	if cp == "" {
		path = hooktest.BusyBox(t)
	} else {
		bin := t.TempDir()
		hooktest.Program(t, filepath.Join(bin, "cp"), "#!/bin/sh\n"+cp+"\n")
		path = bin + ":" + os.Getenv("PATH")
	}
	for range 2 { // As a run after one that was killed.
		cmd := exec.CommandContext(t.Context(), "env", "PATH="+path, "sh", "-c", script, filepath.Dir(from), from, to, own)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// holds expects files in a folder, and no others.
func holds(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(filepath.Dir(dir), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, below := strings.CutPrefix(path, dir+"/")
		if !below {
			if strings.HasPrefix(path, dir) {
				t.Errorf("%s was left", path)
			}
			return nil
		}
		data, err := os.ReadFile(path)
		got[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s: got %q, want %q", name, got[name], text)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d files, want %d: %v", len(got), len(want), got)
	}
}

func TestAddMissing_LendsWhatIsMissingWhateverTheHostsTools(t *testing.T) {
	for name, cp := range tools(t) {
		t.Run(name, func(t *testing.T) {
			own, all := trees(t)
			run(t, cp, lending(loan{}), own, all)
			holds(t, all, map[string]string{
				"app-1.css": "one", "app.css": "one", ".keys/a b": "hidden", "app-2.css": "two", "manifest": "theirs",
			})
		})
	}
}

func TestAddMissing_CopiesNoBytes(t *testing.T) {
	own, all := trees(t)
	run(t, tools(t)["coreutils"], lending(loan{}), own, all)
	one, err := os.Stat(filepath.Join(own, "app-1.css"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.Stat(filepath.Join(all, "app-1.css"))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(one, two) {
		t.Error("the file was copied, want it linked")
	}
}

func TestOverlay_ExchangesWhatBothHaveWhateverTheHostsTools(t *testing.T) {
	for name, cp := range tools(t) {
		t.Run(name, func(t *testing.T) {
			own, all := trees(t)
			served, err := os.Open(filepath.Join(all, "manifest"))
			if err != nil {
				t.Fatal(err)
			}
			defer served.Close()
			run(t, cp, copying(false)+overlay, own, all)
			holds(t, all, map[string]string{
				"app-1.css": "one", "app.css": "one", ".keys/a b": "hidden", "app-2.css": "two", "manifest": "mine",
			})
			text := make([]byte, 6)
			if _, err := served.Read(text); err != nil || string(text) != "theirs" {
				t.Errorf("who reads it meanwhile got %q (%v), want it whole", text, err)
			}
		})
	}
}

// BusyBox's `cp -l -f` removed a name before it made the new one: some requests for
// manifest.json got 404.
func TestOverlay_LeavesNoNameMissingForAMoment(t *testing.T) {
	for name, cp := range tools(t) {
		t.Run(name, func(t *testing.T) {
			own, all := trees(t)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan int)
			go func() {
				missing := 0
				for ctx.Err() == nil {
					if _, err := os.Stat(filepath.Join(all, "manifest")); err != nil {
						missing++
					}
				}
				done <- missing
			}()
			for i := range 4 {
				file := filepath.Join(own, "manifest")
				if err := os.Remove(file); err != nil {
					t.Error(err)
				}
				if err := os.WriteFile(file, []byte(fmt.Sprint("mine, ", i)), 0o644); err != nil {
					t.Error(err)
				}
				run(t, cp, copying(false)+overlay, own, all)
			}
			stop()
			if missing := <-done; missing > 0 {
				t.Errorf("the file was not there %d times", missing)
			}
		})
	}
}

// A file of one version may be a folder of the other one, or a link that leads anywhere.
func TestScripts_WhereOneVersionHasAFolderAndTheOtherOneAFile(t *testing.T) {
	put := func(t *testing.T, dir string, files map[string]string) {
		t.Helper()
		for name, text := range files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if to, link := strings.CutPrefix(text, "-> "); link {
				if err := os.Symlink(to, path); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, cp := range tools(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			own, all, elsewhere := filepath.Join(dir, "own"), filepath.Join(dir, "all"), t.TempDir()
			put(t, own, map[string]string{
				"docs/index.html": "new", "docs/more/a": "new", "logo": "new", "fonts/a": "new", "plain": "new", "shared/x": "new",
			})
			put(t, all, map[string]string{
				"docs": "old", "logo/a": "old", "logo/b/c": "old", "fonts": "-> " + elsewhere, "plain": "-> " + filepath.Join(elsewhere, "plain"), "shared/y": "old",
			})
			put(t, elsewhere, map[string]string{"plain": "of the host"})
			lent := filepath.Join(dir, "lent")
			put(t, lent, map[string]string{
				"docs": "old", "logo/a": "old", "fonts": "-> " + elsewhere, "plain": "-> " + filepath.Join(elsewhere, "plain"), "shared/y": "old",
			})

			run(t, cp, lending(loan{}), own, lent)
			if data, err := os.ReadFile(filepath.Join(lent, "docs")); string(data) != "old" {
				t.Errorf("a loan put something in place of a file of the version itself: %q, %v", data, err)
			}
			if data, err := os.ReadFile(filepath.Join(lent, "shared/x")); string(data) != "new" {
				t.Errorf("what can be lent was not: %q, %v", data, err)
			}
			run(t, cp, copying(false)+overlay, own, all)
			if err := os.RemoveAll(lent); err != nil {
				t.Fatal(err)
			}
			holds(t, all, map[string]string{
				"docs/index.html": "new", "docs/more/a": "new", "logo": "new", "fonts/a": "new", "plain": "new", "shared/x": "new", "shared/y": "old",
			})
			holds(t, elsewhere, map[string]string{"plain": "of the host"})
		})
	}
}

// A container that can write into a file of its folder must not write into that
// of another version.
func TestScripts_ShareNoFileWhereTheyCopy(t *testing.T) {
	for name, cp := range tools(t) {
		for script, want := range map[string]string{lending(loan{copies: true}): "theirs", copying(true) + overlay: "mine"} {
			t.Run(name, func(t *testing.T) {
				own, all := trees(t)
				run(t, cp, script, own, all)
				holds(t, all, map[string]string{
					"app-1.css": "one", "app.css": "one", ".keys/a b": "hidden", "app-2.css": "two", "manifest": want,
				})
				for _, file := range []string{"app-1.css", ".keys/a b", "manifest"} {
					one, err := os.Stat(filepath.Join(own, file))
					if err != nil {
						t.Fatal(err)
					}
					two, err := os.Stat(filepath.Join(all, file))
					if err != nil {
						t.Fatal(err)
					}
					if os.SameFile(one, two) {
						t.Errorf("%s is one file in both folders", file)
					}
				}
			})
		}
	}
}

func TestFill_MakesTheFolderAnewWhateverTheHostsTools(t *testing.T) {
	for name, cp := range tools(t) {
		for _, copies := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, copies: %t", name, copies), func(t *testing.T) {
				own, all := trees(t)
				run(t, cp, copying(copies)+fill, own, all)
				holds(t, all, map[string]string{"app-1.css": "one", "app.css": "one", ".keys/a b": "hidden", "manifest": "mine"})
				one, err := os.Stat(filepath.Join(own, "app-1.css"))
				if err != nil {
					t.Fatal(err)
				}
				two, err := os.Stat(filepath.Join(all, "app-1.css"))
				if err != nil {
					t.Fatal(err)
				}
				if linked := name != "no links of root's files" && !copies; os.SameFile(one, two) != linked {
					t.Errorf("the file is linked: %t, want %t", !linked, linked)
				}
			})
		}
	}
}

func TestLending_MakesLoansOneAfterTheOther(t *testing.T) {
	own, all := trees(t)
	third := filepath.Join(filepath.Dir(filepath.Dir(own)), "third")
	if err := os.Mkdir(third, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", lending(loan{}, loan{copies: true}), "kstep", own, all, all, all, third, third)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := map[string]string{"app-1.css": "one", "app.css": "one", ".keys/a b": "hidden", "app-2.css": "two", "manifest": "theirs"}
	holds(t, all, want)
	holds(t, third, want)
	cmd = exec.CommandContext(t.Context(), "sh", "-c", lending(loan{}, loan{}), "kstep", own, filepath.Join(third, "nowhere/at all"), third, own, third, third)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "not copied: ") {
		t.Errorf("a loan that fails ends with %v: %s", err, out)
	}
}

// cp gives folders that are there the modes of those that it copies: one version's
// mistake closed the folders of the other one.
func TestScripts_KeepTheModesOfTheVersionThatAFolderIsOf(t *testing.T) {
	for name, cp := range tools(t) {
		for what, script := range map[string]string{
			"links": lending(loan{}), "copies": lending(loan{copies: true}), "overlay": copying(false) + overlay, "overlay by copies": copying(true) + overlay,
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				dir := t.TempDir()
				from, to, own := filepath.Join(dir, "from"), filepath.Join(dir, "to"), filepath.Join(dir, "own")
				modes := func(root string, of map[string]os.FileMode) {
					t.Helper()
					for _, folder := range slices.Sorted(maps.Keys(of)) {
						if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
							t.Fatal(err)
						}
						if err := os.WriteFile(filepath.Join(root, folder, filepath.Base(root)), nil, 0o644); err != nil {
							t.Fatal(err)
						}
					}
					for _, folder := range slices.Backward(slices.Sorted(maps.Keys(of))) {
						if err := os.Chmod(filepath.Join(root, folder), of[folder]); err != nil {
							t.Fatal(err)
						}
					}
				}
				mine := map[string]os.FileMode{".": 0o755, "sub": 0o755, "sub/a b\n": 0o750, "sub/same": 0o700, "bits": 0o755 | os.ModeSetgid}
				modes(from, map[string]os.FileMode{".": 0o700, "sub": 0o750, "sub/a b\n": 0o755 | os.ModeSetgid, "sub/same": 0o700, "bits": 0o700, "new": 0o711})
				modes(own, mine)
				modes(to, mine)
				watch, stop := context.WithCancel(t.Context())
				closed := make(chan int)
				go func() {
					times := 0
					for watch.Err() == nil {
						if info, err := os.Stat(filepath.Join(to, "sub")); err != nil || info.Mode().Perm() != 0o755 {
							times++
						}
					}
					closed <- times
				}()
				runWith(t, cp, script, from, to, own)
				stop()
				if times := <-closed; times > 0 {
					t.Errorf("a folder had another mode %d times", times)
				}
				mine["new"] = 0o711
				for folder, want := range mine {
					info, err := os.Stat(filepath.Join(to, folder))
					if err != nil || info.Mode() != os.ModeDir|want {
						t.Errorf("%q: got %v, %v, want %v", folder, info.Mode(), err, want)
					}
					if _, err := os.Stat(filepath.Join(to, folder, "from")); err != nil {
						t.Errorf("%q lacks the other version's file: %v", folder, err)
					}
				}
				if left, err := filepath.Glob(to + ".*"); err != nil || len(left) > 0 {
					t.Errorf("%q were left (%v)", left, err)
				}
			})
		}
	}
}
