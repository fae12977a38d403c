package stages

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/kstep/kstep/internal/cord"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/traffic"
)

// Seen is what a host shows of one target. It comes from observation alone.
type Seen struct {
	// Book is the host's ledger.
	Book ledger.Ledger
	// Containers are the role's, newest first.
	Containers []engine.Container
	// Routed are the ids that get traffic; none in a role without proxy.
	Routed []string
	// Closed is true if maintenance answers visitors, where that was looked for.
	Closed bool
}

// Observe looks at one target and changes nothing.
func Observe(ctx context.Context, in Input, w *Work) (Seen, error) {
	var seen Seen
	var bookErr error
	var reading sync.WaitGroup
	reading.Go(func() { seen.Book, bookErr = ledger.Read(ctx, w.Host.Files(), w.Names.Ledger()) })
	var err error
	seen.Containers, err = w.Host.Engine().Containers(ctx, engine.Filter{
		Labels: RoleLabels(in.Config, w.Target.Role.Name), All: true,
	})
	reading.Wait()
	if err = cmp.Or(bookErr, err); err != nil {
		return seen, err
	}
	slices.SortFunc(seen.Containers, func(a, b engine.Container) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	if !w.Target.Proxied || len(seen.Containers) == 0 {
		return seen, nil
	}
	// Both switches are checked: a release may have been the one that changed it.
	kinds := []string{"routes", "cord"}
	live, errs := make([][]string, len(kinds)), make([]error, len(kinds))
	var asking sync.WaitGroup
	for i, kind := range kinds {
		asking.Go(func() { live[i], errs[i] = SwitchOf(kind, in, w, nil).Live(ctx, seen.Containers) })
	}
	asking.Wait()
	for i := range kinds {
		if errs[i] != nil {
			return seen, errs[i]
		}
		seen.Routed = append(seen.Routed, live[i]...)
	}
	slices.Sort(seen.Routed)
	seen.Routed = slices.Compact(seen.Routed)
	return seen, nil
}

// Find are the role's containers that have these ids, in their order, as far as
// they are there.
func (s Seen) Find(ids []string) []engine.Container {
	var found []engine.Container
	for _, id := range ids {
		if at := slices.IndexFunc(s.Containers, func(c engine.Container) bool { return c.ID == id }); at >= 0 {
			found = append(found, s.Containers[at])
		}
	}
	return found
}

// Live are the containers in service, newest first: those that get traffic or,
// for a role without proxy, those that the ledger names.
func (s Seen) Live(role string, proxied bool) []engine.Container {
	ids := s.Routed
	if !proxied {
		ids = s.Book.Live(role)
	}
	return slices.DeleteFunc(slices.Clone(s.Containers), func(c engine.Container) bool { return !slices.Contains(ids, c.ID) })
}

// RoutedTo reports whether these containers, and no others, get traffic.
func (s Seen) RoutedTo(all []engine.Container) bool {
	return len(all) == len(s.Routed) &&
		!slices.ContainsFunc(all, func(c engine.Container) bool { return !slices.Contains(s.Routed, c.ID) })
}

// SwitchOf is Switch of a kind that the config need not have: a container
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
