package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
)

// commandLine finds commands in a text: `kstep` and the words and flags after it.
var commandLine = regexp.MustCompile(`\bkstep((?: +(?:--?[a-z][a-z-]*|[a-z][a-z-]*|[A-Z][A-Z_]*|%[svdq]|'[^']*'|[0-9]+[smh]))+)`)

// words are those of a command, without what is quoted.
func words(text string) []string {
	return strings.Fields(regexp.MustCompile(`'[^']*'`).ReplaceAllString(text, "TEXT"))
}

// commandError reports what is wrong with a command that a text names; empty if it
// can be run. strict is for text that is nothing but a command: in a sentence the
// words after kstep may be no command at all.
func commandError(model *kingpin.ApplicationModel, words []string, strict bool) string {
	group, flags := model.CmdGroupModel, slices.Clone(model.Flags)
	var command *kingpin.CmdModel
	for len(words) > 0 && group != nil {
		at := slices.IndexFunc(group.Commands, func(c *kingpin.CmdModel) bool {
			return c.Name == words[0] || slices.Contains(c.Aliases, words[0])
		})
		if at < 0 {
			break
		}
		command, words = group.Commands[at], words[1:]
		group, flags = command.CmdGroupModel, append(flags, command.Flags...)
	}
	if command == nil {
		if strict && len(words) > 0 && !strings.HasPrefix(words[0], "-") {
			return words[0] + " is no command"
		}
		return ""
	}
	if len(command.Commands) > 0 && len(words) > 0 && (strict || strings.HasPrefix(words[0], "-")) {
		return command.FullCommand + " lacks its second word"
	}
	for _, word := range words {
		name := strings.TrimLeft(word, "-")
		known := func(f *kingpin.FlagModel) bool {
			return f.Name == name || string(f.Short) == name || f.IsBoolFlag() && "no-"+f.Name == name
		}
		if strings.HasPrefix(word, "-") && !slices.ContainsFunc(flags, known) && name != "help" {
			return command.FullCommand + " has no " + word
		}
	}
	return ""
}

// A user who follows a hint at night must not meet a command that does not exist.
func TestHints_NameCommandsAndFlagsThatExist(t *testing.T) {
	t.Parallel()
	app, _ := application(&program{})
	model := app.Model()
	found := 0
	for _, root := range []string{"../../cmd", "../../stages", "../../internal"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				literal, is := n.(*ast.BasicLit)
				if !is || literal.Kind != token.STRING {
					return true
				}
				text, _ := strconv.Unquote(literal.Value)
				for _, m := range commandLine.FindAllStringSubmatch(text, -1) {
					found++
					if what := commandError(model, words(m[1]), false); what != "" {
						t.Errorf("%s names %q: %s", files.Position(literal.Pos()), m[0], what)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 100 {
		t.Errorf("found %d commands only: are they read right?", found)
	}
}

func TestDocs_NameCommandsAndFlagsThatExist(t *testing.T) {
	t.Parallel()
	app, _ := application(&program{})
	model := app.Model()
	span := regexp.MustCompile("(?m)`(kstep [^`\n]+)`|^\\s*(?:\\$ |- |run: )?(kstep [^#|&;>\n]+)")
	found := 0
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../../README.md", "../../CONTRIBUTING.md") {
		for _, m := range span.FindAllStringSubmatch(readText(t, page), -1) {
			strict := m[1] != "" // A line of prose may begin with kstep.
			for _, c := range commandLine.FindAllStringSubmatch(m[1]+m[2], 1) {
				found++
				if what := commandError(model, words(c[1]), strict); what != "" {
					t.Errorf("%s names %q: %s", page, c[0], what)
				}
			}
		}
	}
	if found < 300 {
		t.Errorf("found %d commands only: are they read right?", found)
	}
}
