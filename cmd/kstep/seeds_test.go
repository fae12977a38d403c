package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// notYet marks what is promised and not kept.
const notYet = "**not yet**"

func TestSeeds_NameTestsCommandsKeysAndFilesThatExist(t *testing.T) {
	t.Parallel()
	const root = "../.."
	text := readText(t, root+"/docs/seeds.md")
	tests := testNames(t, root)
	commands, keys := readText(t, root+"/docs/cli.md"), readText(t, root+"/docs/config.md")
	hooks := readText(t, root+"/docs/hooks.md")
	quoted := regexp.MustCompile("`([^`]+)`")
	rows := 0
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "promise" {
			continue
		}
		rows++
		how, proof := cells[2], cells[3]
		found := quoted.FindAllStringSubmatch(proof, -1)
		if len(found) == 0 && !strings.Contains(proof, notYet) {
			t.Errorf("no test proves %q, and it does not say %s", cells[1], notYet)
		}
		for _, m := range found {
			if !tests[m[1]] {
				t.Errorf("%q names the test %s, which does not exist", cells[1], m[1])
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(how, -1) {
			if !known(m[1], root, commands, keys, hooks) {
				t.Errorf("%q names `%s`, which is no command, key, hook, variable or file", cells[1], m[1])
			}
		}
	}
	if rows < 45 {
		t.Errorf("found %d promises only: is the table read right?", rows)
	}
	for n := 1; n <= 17; n++ {
		if !strings.Contains(text, fmt.Sprintf("\n## S%d: ", n)) {
			t.Errorf("S%d is missing", n)
		}
	}
}

// known reports whether there is such a command, key, hook, variable or file.
func known(what, root, commands, keys, hooks string) bool {
	switch {
	case strings.HasPrefix(what, "kstep "):
		return strings.Contains(commands, "\n## "+what+"\n")
	case strings.HasPrefix(what, "make "):
		data, err := os.ReadFile(filepath.Join(root, "Makefile"))
		return err == nil && strings.Contains(string(data), "\n"+strings.TrimPrefix(what, "make ")+":")
	case strings.HasPrefix(what, "KSTEP_") && strings.Contains(commands, "Also `"+what+"`"):
		return true
	case strings.HasPrefix(what, "~/"), strings.Contains(hooks, "| `"+what+"` |"):
		return strings.Contains(hooks, what)
	case strings.Contains(what, "/"):
		_, err := os.Stat(filepath.Join(root, what))
		return err == nil
	}
	section, key, below := strings.Cut(what, ".")
	if !below {
		return strings.Contains(keys, "| `"+what+"` |")
	}
	_, rest, found := strings.Cut(keys, "\n## `"+section+"`\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	return found && strings.Contains(rest, "| `"+key+"` |")
}

// testNames are the tests of all packages.
func testNames(t *testing.T, root string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, m := range declared.FindAllStringSubmatch(string(data), -1) {
			names[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
