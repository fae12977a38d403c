package arch

import (
	"go/ast"
	"go/parser"
	"slices"
	"testing"
)

// TestProxy_EveryStartWaitsUntilItServes keeps boot, reboot, start and restart
// alike: where package proxy starts a container, the same function waits until
// Traefik names every route that the container's folder holds. No other package
// starts a proxy.
func TestProxy_EveryStartWaitsUntilItServes(t *testing.T) {
	var starts []string
	eachFile(t, parser.SkipObjectResolution, func(_, pkg string, file *ast.File) {
		if pkg != "internal/proxy" {
			return
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			started, serves := false, false
			ast.Inspect(f.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				switch fun := call.Fun.(type) {
				case *ast.SelectorExpr:
					_, engine := fun.X.(*ast.CallExpr) // h.Engine().Start
					started = started || engine && slices.Contains([]string{"Start", "Restart", "Unpause"}, fun.Sel.Name)
				case *ast.Ident:
					serves = serves || fun.Name == "serve"
				}
				return true
			})
			if !started {
				continue
			}
			starts = append(starts, f.Name.Name)
			if !serves {
				t.Errorf("%s starts a container and does not call serve: the proxy would count as up before it has its routes", f.Name.Name)
			}
		}
	})
	if slices.Sort(starts); !slices.Equal(starts, []string{"start", "try"}) {
		t.Errorf("%v start containers, want start and try alone", starts)
	}
}
