package stages

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/cord"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/traffic"
)

// Orphan is a role that still has running containers or a route on a host, and
// is not configured there any more: it was renamed, removed, or taken off the
// host.
type Orphan struct {
	Host, Role string
	// Containers are all of the role's on the host, newest first.
	Containers []engine.Container
	// Routed is true if the proxy's folder has a route of the role.
	Routed bool
	// Proxied is true if the role receives traffic, or did before this release
	// removed its route.
	Proxied bool
}

// Running are the orphan's containers that are up.
func (o Orphan) Running() []engine.Container {
	return slices.DeleteFunc(slices.Clone(o.Containers), func(c engine.Container) bool { return !c.Up() })
}

// Version is the version of the containers that run, or of the newest if none
// does.
func (o Orphan) Version() string {
	for _, c := range slices.Concat(o.Running(), o.Containers) {
		return c.Labels[engine.LabelVersion]
	}
	return ""
}

// Orphans finds the orphans of the service and destination among a host's
// containers. Those that the filters leave out are no orphans: in.All counts.
func Orphans(ctx context.Context, in Input, w *Work, containers []engine.Container, book ledger.Ledger) ([]Orphan, error) {
	byRole := map[string][]engine.Container{}
	atWork := false // Else all are retained containers of roles that were replaced.
	for _, c := range engine.With(containers, RoleLabels(in.Config, "")) {
		if role := c.Labels[engine.LabelRole]; w.IsLeft(in, role) {
			byRole[role] = append(byRole[role], c)
			atWork = atWork || c.Up()
		}
	}
	for _, role := range book.Roles() {
		if w.IsLeft(in, role) && len(book.Live(role)) > 0 {
			byRole[role] = slices.Clip(byRole[role]) // Its route may be left without containers.
			atWork = true
		}
	}
	if !atWork {
		return nil, nil
	}
	routes, err := w.Host.Files().List(ctx, w.Names.RouteDir())
	if err != nil {
		return nil, err
	}
	// Read after the routes: another shard records a role before it removes the
	// role's route.
	if book, err = ledger.Read(ctx, w.Host.Files(), w.Names.Ledger()); err != nil {
		return nil, err
	}
	var found []Orphan
	for role, own := range byRole {
		o := Orphan{Host: w.Target.Host, Role: role, Containers: own}
		file := path.Base(w.Names.RouteFile(role))
		o.Routed = slices.ContainsFunc(routes, func(e host.Entry) bool { return e.Name == file })
		proxied, _ := book.IsProxied(role)
		o.Proxied = o.Routed || proxied
		if !o.Routed && len(o.Running()) == 0 {
			continue
		}
		slices.SortFunc(o.Containers, func(a, b engine.Container) int {
			return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
		})
		found = append(found, o)
	}
	slices.SortFunc(found, func(a, b Orphan) int { return cmp.Compare(a.Role, b.Role) })
	return found, nil
}

// IsLeft reports whether a text is the name of a role that has no place on the
// work's host.
func (w *Work) IsLeft(in Input, role string) bool {
	return plan.IsRoleName(role) && !plan.IsTarget(in.All, role, w.Target.Host)
}

// Route is the orphan's route on its host.
func (o Orphan) Route(in Input, w *Work, word traffic.Word) traffic.Role {
	return traffic.Role{Host: w.Host, Names: w.Names, Name: o.Role, Config: in.Config, Word: word}
}

// CutCords cuts the cords of the orphan's containers: started again, none is
// healthy before a release ties it.
func (o Orphan) CutCords(ctx context.Context, w *Work) error {
	for _, c := range o.Running() {
		if dir := cord.Dir(c, w.Names.CordPrefix(o.Role)); dir != "" {
			if err := cord.Cut(ctx, w.Host.Files(), dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// RemoveOrphanRoute is the act of removing an orphan's route.
func RemoveOrphanRoute(role string) Act {
	return To(Remove, "the route of role %s, which is no longer configured here", role)
}

// Command is the command that stops the orphans of a configuration.
func Command(cfg *config.Config, words string) string {
	if cfg.Destination == "" {
		return "kstep " + words
	}
	return "kstep -d " + cfg.Destination + " " + words
}

// Describe says in a few words what an orphan still does.
func (o Orphan) Describe() string {
	var parts []string
	if running := o.Running(); len(running) > 0 {
		parts = append(parts, "still runs "+engine.NamesOf(running))
	}
	if o.Routed {
		parts = append(parts, "still has a route")
	}
	return fmt.Sprintf("role %s is no longer configured on %s, but %s", o.Role, o.Host, strings.Join(parts, " and "))
}
