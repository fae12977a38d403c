package state

import (
	"strings"
	"testing"
)

func TestFault_VersionHasTheFormOfATag(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1 ", "../v1", "a/b", "-v1", ".v1", "v1\n", "v1\x1b[0m", "v1@sha256", "v1:latest", "ä", strings.Repeat("a", 129)} {
		f := &File{Service: "shop", Version: version, Stage: "push", Tool: Tool{Name: "kstep"}, Kind: Kind}
		if at, _ := f.fault(); at != "/version" {
			t.Errorf("%q: got a fault at %q, want /version", version, at)
		}
	}
	for _, version := range []string{"v1", "1.2.3-rc.1", "_a", "0123abc", strings.Repeat("a", 128), "unknown"} {
		f := &File{Service: "shop", Version: version, Stage: "push", Tool: Tool{Name: "kstep"}, Kind: Kind}
		if at, _ := f.fault(); at == "/version" {
			t.Errorf("%q is refused", version)
		}
	}
}
