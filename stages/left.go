package stages

import (
	"context"
	"fmt"
	"slices"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
)

// KnownHosts are the hosts that have or had the service, as the host's ledger
// lists them. For releases of older versions of kstep, which did not list them,
// the copies of the state on the lease host do.
func (w *Work) KnownHosts(ctx context.Context, in Input, book ledger.Ledger) ([]string, error) {
	hosts := book.Hosts
	if len(hosts) == 0 && len(book.Releases) > 0 && w.Target.Host == plan.LeaseHost(in.All) {
		var err error
		if hosts, err = w.mirrored().Hosts(ctx); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return !ledger.IsHostName(h) }), nil
}

// LeftHosts are those of the known hosts that are no longer configured.
func LeftHosts(in Input, known []string) []string {
	configured := plan.HostNames(in.All)
	left := slices.DeleteFunc(slices.Clone(known), func(h string) bool { return slices.Contains(configured, h) })
	slices.Sort(left)
	return slices.Compact(left)
}

// LeftHost says what to do about a host that is no longer configured.
func LeftHost(cfg *config.Config, host string) string {
	return fmt.Sprintf("host %s is no longer configured, but still has the service; remove it there with: %s",
		host, RemoveCommand(cfg, host))
}

// RemoveCommand removes the service from a host that is no longer configured.
func RemoveCommand(cfg *config.Config, host string) string {
	return Command(cfg, "remove --hosts "+host+" --yes")
}

// FindLeftHosts reads the ledgers of the targets' hosts.
func FindLeftHosts(ctx context.Context, in Input) ([]string, error) {
	_, found, err := EachHost(ctx, in, in.Targets, func(ctx context.Context, w *Work) ([]string, error) {
		book, err := ledger.Read(ctx, w.Host.Files(), w.Names.Ledger())
		if err != nil {
			return nil, err
		}
		return w.KnownHosts(ctx, in, book)
	})
	var known []string
	for _, hosts := range found {
		known = append(known, hosts...)
	}
	return LeftHosts(in, known), err
}

// ForgetHosts removes hosts from the ledger of the work's host, so that no
// deploy warns of them any more.
func (w *Work) ForgetHosts(ctx context.Context, in Input, names []string) error {
	book, err := ledger.Read(ctx, w.Host.Files(), w.Names.Ledger())
	if err != nil {
		return err
	}
	known, err := w.KnownHosts(ctx, in, book)
	if err != nil || !slices.ContainsFunc(known, func(h string) bool { return slices.Contains(names, h) }) {
		return err
	}
	return w.Note(ctx, func(l *ledger.Ledger) bool {
		added := l.AddHosts(append(slices.Clip(known), w.Target.Host)) // Never an empty list again.
		return l.ForgetHosts(names) || added
	})
}

// LeftAccessory is an accessory that has a container on a host where it is not
// configured any more.
type LeftAccessory struct{ Host, Name string }

// Describe says what to do about it.
func (l LeftAccessory) Describe(cfg *config.Config) string {
	return fmt.Sprintf("accessory %s is no longer configured on %s, but still has a container; remove it with: %s", l.Name, l.Host, l.Command(cfg))
}

// Command removes it.
func (l LeftAccessory) Command(cfg *config.Config) string {
	return Command(cfg, fmt.Sprintf("accessory remove %s --hosts %s --yes", l.Name, l.Host))
}

// LeftAccessories finds those of the service among a host's containers.
func (w *Work) LeftAccessories(in Input, containers []engine.Container) []LeftAccessory {
	configured := plan.Accessories(in.Config)
	var left []LeftAccessory
	for _, c := range containers {
		one := LeftAccessory{w.Target.Host, c.Labels[engine.LabelAccessory]}
		own := len(engine.With([]engine.Container{c}, plan.AccessoryLabels(w.Names, one.Name))) > 0
		if own && plan.IsRoleName(one.Name) && !plan.IsTarget(configured, one.Name, one.Host) && !slices.Contains(left, one) {
			left = append(left, one)
		}
	}
	return left
}

// FindLeftAccessories looks for them on the targets' hosts.
func FindLeftAccessories(ctx context.Context, in Input) ([]LeftAccessory, error) {
	_, found, err := EachHost(ctx, in, in.Targets, func(ctx context.Context, w *Work) ([]LeftAccessory, error) {
		all, err := w.Host.Engine().Containers(ctx, engine.Filter{Labeled: []string{engine.LabelAccessory}, All: true})
		return w.LeftAccessories(in, all), err
	})
	var all []LeftAccessory
	for _, host := range plan.HostNames(in.Targets) {
		all = append(all, found[host]...)
	}
	return all, err
}
