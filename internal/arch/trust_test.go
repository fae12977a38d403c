package arch

import (
	"go/ast"
	"go/parser"
	"go/types"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// commands are the files that run commands on hosts, with what keeps each away
// from a folder that a running container can write. kstep works on a host as the
// SSH user, mostly root: a command that walks, copies or removes there can be led
// to any path by a link that the container puts in its way.
func commands() map[string]string {
	return map[string]string{
		"internal/asset/scripts.go":       "takes only a tree, which no container can write",
		"internal/accessory/files.go":     "chown -h of one path, which does not follow a link",
		"internal/bootstrap/bootstrap.go": "a script for a new host, without paths of containers",
		"internal/drain/drain.go":         "reads /proc",
		"internal/sysinfo/sysinfo.go":     "reads /proc, and df of the run directory and of the engine's own folder, without entering them",
		"stages/permission.go":            "find, no deeper than the names of asset folders",
		"stages/prune/sweep.go":           "find, but not below assets and cords",
		"cmd/kstep/doctor_host.go":        "docker --version, to see that sudo lets it run",
		"cmd/kstep/cmd_exec.go":           "the user's own command",
	}
}

func TestCommandsOnHosts_StayOutOfWhatContainersWrite(t *testing.T) {
	found := map[string]bool{}
	eachFile(t, parser.SkipObjectResolution, func(name, pkg string, file *ast.File) {
		if tool(pkg) || pkg == "internal/host" {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			s, ok := call.Fun.(*ast.SelectorExpr)
			// Whatever it is called: only hooks have a Run with as many arguments.
			if !ok || !(s.Sel.Name == "Run" && len(call.Args) == 3 && !strings.HasSuffix(types.ExprString(s.X), ".Hooks") || s.Sel.Name == "RunTo") {
				return true
			}
			found[name] = true
			if commands()[name] == "" {
				t.Errorf("%s runs a command on a host: use Files or Engine, or say in commands() what keeps it out of folders that containers write", name)
			}
			return true
		})
	})
	if missing := slices.DeleteFunc(slices.Sorted(maps.Keys(commands())), func(f string) bool { return found[f] }); len(missing) > 0 {
		t.Errorf("found no command in %q: does this test look for the right calls?", missing)
	}
}

// Only a method that looks at who can write a folder makes a tree of it.
func TestTrees_AreMadeInOnePlace(t *testing.T) {
	made := map[string]int{}
	eachFile(t, parser.SkipObjectResolution, func(_, pkg string, file *ast.File) {
		if pkg != "internal/asset" {
			return
		}
		for _, d := range file.Decls {
			ast.Inspect(d, func(n ast.Node) bool {
				if c, ok := n.(*ast.CompositeLit); ok && c.Type != nil && types.ExprString(c.Type) == "tree" {
					f, _ := d.(*ast.FuncDecl)
					if len(c.Elts) > 0 {
						made[f.Name.Name]++
					}
				}
				return true
			})
		}
	})
	if len(made) != 1 || made["tree"] == 0 {
		t.Errorf("trees are made by %v, want by the method tree alone", made)
	}
}

// removes matches a program's name as an argument, and in a script.
var removes = regexp.MustCompile(`^"(rm|rmdir|unlink|cp|mv)"$|\b(rm -\w*[rf]|cp -\w*[aRr])\b`)

// A removal takes a path of a type that only checked paths have.
func TestRemovals_TakeCheckedPathsOnly(t *testing.T) {
	removals := 0
	eachFile(t, parser.SkipObjectResolution, func(name, pkg string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.InterfaceType:
				for _, m := range n.Methods.List {
					f, ok := m.Type.(*ast.FuncType)
					if ok && name == "internal/host/host.go" && (m.Names[0].Name == "Remove" || m.Names[0].Name == "RemoveTree") {
						removals++
						if got := types.ExprString(f.Params.List[1].Type); got != "Below" {
							t.Errorf("Files.%s takes a %s, want a Below", m.Names[0].Name, got)
						}
					}
				}
			case *ast.BasicLit:
				if words := n.Value; !tool(pkg) && pkg != "internal/runopt" && removes.MatchString(words) && !slices.Contains([]string{"internal/host/sftp.go", "internal/asset/scripts.go"}, name) {
					t.Errorf("%s removes or copies on a host with %s: use Files", name, words)
				}
			}
			return true
		})
	})
	if removals != 2 {
		t.Errorf("found %d removals in internal/host, want 2: does this test look for the right names?", removals)
	}
}

// chown without -h changes what a link leads to.
func TestChown_DoesNotFollowLinks(t *testing.T) {
	found := 0
	eachFile(t, parser.SkipObjectResolution, func(name, pkg string, file *ast.File) {
		if tool(pkg) {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			c, ok := n.(*ast.CompositeLit)
			if !ok || len(c.Elts) < 2 || types.ExprString(c.Elts[0]) != `"chown"` {
				return true
			}
			found++
			if types.ExprString(c.Elts[1]) != `"-h"` {
				t.Errorf("%s runs chown without -h", name)
			}
			return true
		})
	})
	if found == 0 {
		t.Error("found no chown: does this test look for the right words?")
	}
}
