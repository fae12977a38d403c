package stages

import (
	"context"
	"slices"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
)

// earlier is what the hosts' ledgers say of roles that are not configured there
// any more.
type earlier struct {
	in    Input
	books map[string]ledger.Ledger
	gone  map[string][]plan.Target // By host.
}

// lookEarlier reads the ledgers of the targets' hosts. With a filter on roles
// there is nothing to find: roles that left go with those that took over.
func lookEarlier(ctx context.Context, in Input) earlier {
	e := earlier{in: in, books: map[string]ledger.Ledger{}, gone: map[string][]plan.Target{}}
	for _, t := range in.All {
		if !plan.IsTarget(in.Targets, t.Role.Name, t.Host) && slices.Contains(plan.HostNames(in.Targets), t.Host) {
			return e
		}
	}
	quiet := in
	quiet.Report = report.Multi{} // A host that fails here fails again when its targets are observed.
	type memory struct {
		book ledger.Ledger
		gone []plan.Target
	}
	_, found, _ := EachHost(ctx, quiet, in.Targets, func(ctx context.Context, w *Work) (m memory, err error) {
		if m.book, err = ledger.Read(ctx, w.Host.Files(), w.Names.Ledger()); err == nil {
			m.gone, err = w.gone(ctx, in, m.book)
		}
		return m, err
	})
	for host, m := range found {
		e.books[host], e.gone[host] = m.book, m.gone
	}
	return e
}

// gone are the roles that served on the work's host and are not configured there.
func (w *Work) gone(ctx context.Context, in Input, book ledger.Ledger) ([]plan.Target, error) {
	var all []plan.Target
	for _, role := range book.Roles() {
		if !w.IsLeft(in, role) {
			continue
		}
		t, err := w.Gone(ctx, in, role, book)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// targets are all that may have served: those of the input, and those that left.
func (e earlier) targets() []plan.Target {
	all := slices.Clone(e.in.Targets)
	for _, host := range plan.HostNames(e.in.Targets) {
		all = append(all, e.gone[host]...)
	}
	return all
}

// layout are the targets that a version has when it serves again: the roles that
// it had, where a host's ledger says which.
func (e earlier) layout(version string) []plan.Target {
	var all []plan.Target
	for _, host := range plan.HostNames(e.in.Targets) {
		all = append(all, e.layoutOn(host, version)...)
	}
	return all
}

func (e earlier) layoutOn(host, version string) []plan.Target {
	own := slices.DeleteFunc(slices.Clone(e.in.Targets), func(t plan.Target) bool { return t.Host != host })
	var entry ledger.Release
	for _, r := range e.books[host].Releases {
		if r.Version == version && len(r.Live) > 0 {
			entry = r
		}
	}
	if entry.ID == "" {
		return own // Not one of them has it.
	}
	candidates := slices.Concat(own, e.gone[host])
	if entry.Roles != nil {
		had := slices.DeleteFunc(candidates, func(t plan.Target) bool { _, had := entry.Roles[t.Role.Name]; return !had })
		for i, t := range had {
			had[i].Role = AsServed(e.in.Config, t.Role, entry.Roles[t.Role.Name])
		}
		return had
	}
	return inferred(entry, own, e.gone[host])
}

// inferred is the layout of a release whose ledger entry lists only which roles
// were live, as older versions of kstep wrote it. A configured role that was not
// live then counts as the other name of one that was, if there is one of each.
// Else it may have failed at that time, and is required.
func inferred(entry ledger.Release, own, gone []plan.Target) []plan.Target {
	live := func(t plan.Target) bool { return len(entry.Live[t.Role.Name]) > 0 }
	var all []plan.Target
	for _, proxied := range []bool{true, false} {
		var missing, left []plan.Target
		for _, t := range own {
			switch {
			case t.Proxied != proxied:
			case live(t):
				all = append(all, t)
			default:
				missing = append(missing, t)
			}
		}
		for _, t := range gone {
			if t.Proxied == proxied && live(t) {
				left = append(left, t)
			}
		}
		all = append(all, left...)
		if len(missing) != 1 || len(left) != 1 {
			all = append(all, missing...)
		}
	}
	return all
}

// Config is the configuration with the roles that the version had, and the ports
// at which it served them. The lease stays where the configuration has it.
func (p Past) Config(cfg *config.Config) *config.Config {
	next := p.roles(cfg)
	for i, role := range next.Servers.Roles {
		at := slices.IndexFunc(p.Targets, func(t plan.Target) bool { return t.Role.Name == role.Name })
		if at < 0 || p.Targets[at].Role.Healthcheck == nil {
			continue
		}
		health := p.Targets[at].Role.Healthcheck
		if sameAddress(*health, next.EffectiveHealthcheck(role)) {
			continue
		}
		own := *next
		own.Servers.Roles = slices.Clone(next.Servers.Roles)
		own.Servers.Roles[i].Healthcheck = health
		next = &own
	}
	return next
}

// roles is the configuration with the roles that the version had.
func (p Past) roles(cfg *config.Config) *config.Config {
	all := plan.Targets(cfg)
	same := func(a, b []plan.Target) bool {
		return !slices.ContainsFunc(a, func(t plan.Target) bool { return !plan.IsTarget(b, t.Role.Name, t.Host) })
	}
	hosts := plan.HostNames(p.Targets)
	here := slices.DeleteFunc(slices.Clone(all), func(t plan.Target) bool { return !slices.Contains(hosts, t.Host) })
	if same(here, p.Targets) && same(p.Targets, here) {
		return cfg
	}
	next := *cfg
	next.LeaseHost = plan.LeaseHost(all)
	next.Servers.Roles = nil
	for _, role := range cfg.Servers.Roles {
		kept := slices.DeleteFunc(slices.Clone(role.Hosts), func(h config.Host) bool {
			return slices.Contains(hosts, h.Name) && !plan.IsTarget(p.Targets, role.Name, h.Name)
		})
		if len(kept) > 0 {
			role.Hosts = kept
			next.Servers.Roles = append(next.Servers.Roles, role)
		}
	}
	for _, t := range p.Targets {
		if plan.IsTarget(all, t.Role.Name, t.Host) {
			continue
		}
		at := slices.IndexFunc(next.Servers.Roles, func(r config.Role) bool { return r.Name == t.Role.Name })
		if at < 0 {
			next.Servers.Roles = append(next.Servers.Roles, t.Role)
			continue
		}
		next.Servers.Roles[at].Hosts = append(slices.Clip(next.Servers.Roles[at].Hosts), config.Host{Name: t.Host})
	}
	next.PrimaryRole = primary(cfg, next.Servers.Roles, p.Targets)
	return &next
}

// primary is the role that opens the barrier: the configured one, or the one
// that was it then, or the first with traffic.
func primary(cfg *config.Config, roles []config.Role, targets []plan.Target) string {
	has := func(name string) bool {
		return slices.ContainsFunc(roles, func(r config.Role) bool { return r.Name == name })
	}
	if has(cfg.PrimaryRole) {
		return cfg.PrimaryRole
	}
	for _, is := range []func(plan.Target) bool{
		func(t plan.Target) bool { return t.Primary },
		func(t plan.Target) bool { return t.Proxied },
	} {
		if at := slices.IndexFunc(targets, is); at >= 0 {
			return targets[at].Role.Name
		}
	}
	return roles[0].Name
}
