package abort

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// refusal is why abort changes nothing, although the release is not complete.
// It is decided for all targets before the first one is touched.
func (a *abort) refusal(records []state.Target, ways map[string]Way) error {
	if err := a.stuck(ways); err != nil || a.yes {
		return err
	}
	taken := a.taken(records, ways)
	if len(taken) == 0 {
		return nil
	}
	return exit.With(exit.Usage,
		fmt.Errorf("nothing was changed: release %s is not complete, but users get version %s on every host (%s); abort would %s",
			a.in.Release, a.in.Version, strings.Join(plan.HostNames(taken), ", "), consequence(taken, ways)),
		"add --yes to do it", "or complete the release: run the stage that failed again, or "+stages.Command(a.in.Config, "deploy"))
}

// stuck names the targets from which there is no way back.
func (a *abort) stuck(ways map[string]Way) error {
	var where []string
	for _, t := range a.all {
		if why := ways[t.Key()].Stuck; why != "" && a.isOwn(t) {
			where = append(where, t.Key()+": "+why)
		}
	}
	if len(where) == 0 {
		return nil
	}
	return exit.With(exit.Failed, fmt.Errorf("nothing was changed, because there is no way back (%s): what runs now keeps serving", strings.Join(where, "; ")),
		"complete the release: run the stage that failed again, or "+stages.Command(a.in.Config, "deploy"),
		fmt.Sprintf("or go back to a version that the hosts still have: %s lists them, %s",
			stages.Command(a.in.Config, "releases"), stages.Command(a.in.Config, "rollback VERSION")))
}

// taken are the release's targets with traffic, if it has the traffic on all of
// them.
func (a *abort) taken(records []state.Target, ways map[string]Way) []plan.Target {
	var all []plan.Target
	for i, t := range a.all {
		way := ways[t.Key()]
		switch {
		case !t.Proxied || !plan.IsTarget(a.in.All, t.Role.Name, t.Host) || a.isForeign(t, ways):
		case records[i].Error != nil || !way.Taken:
			return nil
		default:
			all = append(all, t)
		}
	}
	return all
}

// consequence is what abort would do to the traffic, in words.
func consequence(taken []plan.Target, ways map[string]Way) string {
	var versions []string
	for _, t := range taken {
		for _, c := range ways[t.Key()].Keep {
			versions = append(versions, c.Labels[engine.LabelVersion])
		}
	}
	slices.Sort(versions)
	if versions = slices.Compact(versions); len(versions) == 0 {
		return "take it down, and nothing served there before"
	}
	return fmt.Sprintf("give the traffic back to the containers of version %s that served before", strings.Join(versions, ", "))
}

// isForeign reports whether the release has nothing to do with a target: its
// role, or its host, was added to the configuration later.
func (a *abort) isForeign(t plan.Target, ways map[string]Way) bool {
	way := ways[t.Key()]
	if way.Foreign {
		return true
	}
	if way.Over || way.Noted || way.late() || way.book.Knows(a.in.Release) {
		return false
	}
	listed := false
	for _, other := range ways {
		if other.Noted && len(other.book.Hosts) > 0 {
			if slices.Contains(other.book.Hosts, t.Host) {
				return false
			}
			listed = true
		}
	}
	return listed
}
