package boot

import (
	"errors"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// One of two hosts is enough for a quorum of 1, and a failing worker says nothing
// of the primary role: the barrier stays as it is, and the ways out are named.
func TestJudge_LeavesTheBarrierWhereTheQuorumCanBeReached(t *testing.T) {
	t.Parallel()
	all := []plan.Target{
		{Host: "vm1", Role: config.Role{Name: "web"}, Primary: true},
		{Host: "vm2", Role: config.Role{Name: "web"}, Primary: true},
		{Host: "vm3", Role: config.Role{Name: "job"}},
	}
	refused := errors.New("no such device")
	for name, sick := range map[string]plan.Target{"one host of the primary role": all[0], "a worker": all[2]} {
		cfg := &config.Config{}
		cfg.Barrier.Quorum = "1"
		a := &attempt{in: stages.Input{Config: cfg, All: all}}
		err := a.judge(t.Context(), nil, a.sick(sick, refused))
		if !errors.Is(err, refused) || exit.CodeOf(err) == exit.BarrierClosed {
			t.Errorf("%s: got %v", name, err)
		}
		if hints := strings.Join(exit.Hints(err), "\n"); !strings.Contains(hints, "kstep abort") {
			t.Errorf("%s: the hints are %q", name, hints)
		}
	}
}
