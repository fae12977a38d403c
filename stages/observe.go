package stages

import (
	"cmp"
	"context"
	"slices"

	"github.com/kstep/kstep/internal/cord"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/traffic"
)

// Seen is what a host tells of one target. It comes from observation alone.
type Seen struct {
	// Book is the host's ledger.
	Book ledger.Ledger
	// Containers are the role's, newest first.
	Containers []engine.Container
	// Routed are the ids that get traffic; none in a role without proxy.
	Routed []string
}

// Observe looks at one target and changes nothing.
func Observe(ctx context.Context, in Input, w *Work) (Seen, error) {
	var seen Seen
	var err error
	if seen.Book, err = ledger.Read(ctx, w.Host.Files(), w.Names.Ledger()); err != nil {
		return seen, err
	}
	seen.Containers, err = w.Host.Engine().Containers(ctx, engine.Filter{
		Labels: RoleLabels(in.Config, w.Target.Role.Name), All: true,
	})
	if err != nil {
		return seen, err
	}
	slices.SortFunc(seen.Containers, func(a, b engine.Container) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	if !w.Target.Proxied || len(seen.Containers) == 0 {
		return seen, nil
	}
	// Both switches are asked: a release may have been the one that changed it.
	for _, kind := range []string{"routes", "cord"} {
		live, err := SwitchOf(kind, in, w, nil).Live(ctx, seen.Containers)
		if err != nil {
			return seen, err
		}
		seen.Routed = append(seen.Routed, live...)
	}
	slices.Sort(seen.Routed)
	seen.Routed = slices.Compact(seen.Routed)
	return seen, nil
}

// Find is the role's container of this id.
func (s Seen) Find(id string) (engine.Container, bool) {
	at := slices.IndexFunc(s.Containers, func(c engine.Container) bool { return id != "" && c.ID == id })
	if at < 0 {
		return engine.Container{}, false
	}
	return s.Containers[at], true
}

// Live is the container in service: the one that gets traffic or, for a role
// without proxy, the one that the ledger names.
func (s Seen) Live(role string, proxied bool) (engine.Container, bool) {
	if !proxied {
		return s.Find(s.Book.Live(role))
	}
	for _, c := range s.Containers {
		if slices.Contains(s.Routed, c.ID) {
			return c, true
		}
	}
	return engine.Container{}, false
}

// Up tells whether a container works, or would by itself.
func Up(c engine.Container) bool {
	return c.Running() || c.State == "restarting" || c.State == "paused"
}

// SwitchOf is Switch of a kind that the config need not ask for: a container
// gets traffic in the way it was made for.
func SwitchOf(kind string, in Input, w *Work, word traffic.Word) traffic.Switch {
	cfg := *in.Config
	cfg.Proxy.Switch = kind
	in.Config = &cfg
	return Switch(in, w, word)
}

// SwitchKind is the kind of switch that the container was made for.
func SwitchKind(w *Work, c engine.Container) string {
	if cord.Dir(c, w.Names.CordPrefix(w.Target.Role.Name)) != "" {
		return "cord"
	}
	return "routes"
}
