// Package network is the Docker network of one service and destination on a host:
// whether it is there, which of the service's accessories are not in it yet, and
// how it is removed. Containers of other services are in networks of their own,
// so that they do not reach this one's by name.
package network

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
)

// Needs are what containers want of networks besides to be in the service's.
type Needs struct {
	// Further are networks of the user's, which have to be there. kstep makes only
	// the one that its services shared before they had networks of their own.
	Further []string
	// Addresses is true where a container has an address of its own choice: the
	// service's network must have been made with a subnet.
	Addresses bool
}

// Seen is what a host has of a service's network.
type Seen struct {
	// Missing are the networks that are to be made.
	Missing []string
	// Outside are the service's accessories that are not in its network: they were
	// made by an earlier version of kstep.
	Outside []engine.Container
}

// Look observes the networks. It refuses what kstep cannot make.
func Look(ctx context.Context, h host.Host, n plan.Names, needs Needs) (Seen, error) {
	names := []string{n.Network()}
	for _, name := range needs.Further {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	missing := make([]bool, len(names))
	errs := make([]error, len(names)+1)
	var seen Seen
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			have, err := h.Engine().Networks(ctx, name)
			missing[i], errs[i] = len(have) == 0, err
		})
	}
	wg.Go(func() { seen.Outside, errs[len(names)] = outside(ctx, h, n) })
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return seen, err
	}
	var absent []string
	for i, name := range names {
		switch {
		case !missing[i]:
		case i > 0 && name != plan.Network:
			absent = append(absent, name)
		case i == 0 && needs.Addresses:
			return seen, exit.With(exit.Failed,
				fmt.Errorf("options.ip needs a network %s on %s with a subnet, and there is none", name, h.Name()),
				"make it there: docker network create --subnet 172.30.0.0/16 "+name)
		default:
			seen.Missing = append(seen.Missing, name)
		}
	}
	if len(absent) > 0 {
		return seen, exit.With(exit.Failed, fmt.Errorf("networks: %s is not on %s: %w", strings.Join(absent, ", "), h.Name(), engine.ErrNetworkMissing),
			"make it there: docker network create "+absent[0])
	}
	return seen, nil
}

// outside are the accessories of the service that are not in its network.
func outside(ctx context.Context, h host.Host, n plan.Names) ([]engine.Container, error) {
	all, err := h.Engine().Containers(ctx, engine.Filter{Labeled: []string{engine.LabelAccessory}, All: true})
	if err != nil {
		return nil, err
	}
	own := engine.With(all, map[string]string{
		engine.LabelAccessoryService: n.Service, engine.LabelAccessoryDestination: n.Destination,
	})
	return slices.DeleteFunc(own, func(c engine.Container) bool { return slices.Contains(c.Networks, n.Network()) }), nil
}

// Make makes the networks that Look has found missing, and returns those that no
// other job has made first, also with an error.
func Make(ctx context.Context, h host.Host, n plan.Names, seen Seen) (made []string, err error) {
	for _, name := range seen.Missing {
		labels := map[string]string{engine.LabelProxy: "network"}
		if name == n.Network() {
			labels = Labels(n)
		}
		own, err := h.Engine().EnsureNetwork(ctx, name, labels)
		if err != nil {
			return made, err
		}
		if own {
			made = append(made, name)
		}
	}
	return made, nil
}

// Labels mark the network as the service's, which Release removes.
func Labels(n plan.Names) map[string]string {
	return map[string]string{engine.LabelService: n.Service, engine.LabelDestination: n.Destination}
}

// Join connects a container of an earlier version of kstep to the service's
// network, with the aliases that it has in the old one, and leaves it there, too.
// One that was removed meanwhile is fine.
func Join(ctx context.Context, h host.Host, n plan.Names, c engine.Container) error {
	now, err := h.Engine().Inspect(ctx, c.ID)
	if err == nil && !slices.Contains(now.Networks, n.Network()) {
		err = h.Engine().Connect(ctx, now.ID, n.Network(), now.Aliases[plan.Network])
	}
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	return err
}

// Old reports whether the service has containers that are in the network of earlier
// versions of kstep, and not in its own: those that run, and those that a rollback
// may start.
func Old(ctx context.Context, h host.Host, n plan.Names) (bool, error) {
	all, err := h.Engine().Containers(ctx, engine.Filter{Labeled: []string{engine.LabelRole}, All: true})
	if err != nil {
		return false, err
	}
	own := engine.With(all, map[string]string{engine.LabelService: n.Service, engine.LabelDestination: n.Destination})
	return slices.ContainsFunc(own, func(c engine.Container) bool {
		return slices.Contains(c.Networks, plan.Network) && !slices.Contains(c.Networks, n.Network())
	}), nil
}

// Of are the networks in which the proxy reaches the containers of all services of
// a host, but for its own, sorted.
func Of(all []engine.Container) []string {
	var names []string
	for _, c := range all {
		if c.Labels[engine.LabelService] == "" || c.Labels[engine.LabelRole] == "" {
			continue
		}
		if name := plan.Shared(c); name != plan.Network && slices.Contains(c.Networks, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Release removes the service's network, unless a container other than the proxy is
// in it, which may be one that does not run. One that kstep did not make stays.
func Release(ctx context.Context, h host.Host, n plan.Names) (removed bool, err error) {
	have, err := h.Engine().Networks(ctx, n.Network())
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(have, func(one engine.Network) bool { return one.Labels[engine.LabelService] == n.Service }) {
		return false, nil
	}
	all, err := h.Engine().Containers(ctx, engine.Filter{All: true})
	if err != nil {
		return false, err
	}
	inside := slices.DeleteFunc(all, func(c engine.Container) bool { return !slices.Contains(c.Networks, n.Network()) })
	if slices.ContainsFunc(inside, func(c engine.Container) bool { return c.Labels[engine.LabelProxy] == "" }) {
		return false, nil
	}
	for _, c := range inside {
		if err := h.Engine().Disconnect(ctx, c.ID, n.Network()); err != nil {
			return false, err
		}
	}
	return true, h.Engine().RemoveNetwork(ctx, n.Network())
}
