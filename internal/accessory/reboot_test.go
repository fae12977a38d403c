package accessory

import (
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/engine"
)

func TestInherited_AreTheVolumesWithoutNameThatNothingElseIsMountedOver(t *testing.T) {
	t.Parallel()
	kept, covered := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	old := engine.Container{Mounts: []engine.Mount{
		{Source: kept, Target: "/var/lib/db"},
		{Source: covered, Target: "/logs"},
		{Source: "named", Target: "/named"},
		{Source: "/srv/" + kept, Target: "/srv"},
	}}
	spec := engine.Spec{Mounts: []engine.Mount{{Source: "/srv/logs", Target: "/logs"}}}
	if got := inherited(old, spec); !slices.Equal(got, old.Mounts[:1]) {
		t.Errorf("got %v, want %v", got, old.Mounts[:1])
	}
}
