package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/traffic"
	"github.com/kstep/kstep/stages"
)

// configureStatus declares `kstep status`: it reads the hosts and no state
// file.
func configureStatus(p *program, app *kingpin.Application, actions map[string]action) {
	app.Command("status", "Show what runs on every host: version, health, traffic, and what can be rolled back to. Also: kstep details.").Alias("details")
	actions["status"] = p.look("status", p.status)
}

// statusReport is `kstep status --output json`.
type statusReport struct {
	Service     string      `json:"service"`
	Destination string      `json:"destination,omitempty"`
	Lease       leaseStatus `json:"lease"`
	// Rollback is the version that a rollback without a version goes to; absent
	// if none is ready everywhere, or a host could not be observed.
	Rollback string         `json:"rollback,omitempty"`
	Targets  []targetStatus `json:"targets"`
	// Unserved is the newest release, if it has put nothing into service.
	Unserved *unservedStatus `json:"unserved,omitempty"`
	// Proxies are those on the hosts of roles with traffic that answered.
	Proxies []proxyStatus `json:"proxies,omitempty"`
	// Orphans are roles that run on these hosts and are not configured there.
	Orphans []orphanStatus `json:"orphans,omitempty"`
	// LeftHosts have or had the service and are not in the configuration. They
	// are not connected to.
	LeftHosts []leftHostStatus `json:"leftHosts,omitempty"`
	// Accessories are those on the hosts that the filters leave.
	Accessories []accessoryStatus `json:"accessories,omitempty"`
	// LeftAccessories have a container on a host where they are not configured.
	LeftAccessories []leftAccessoryStatus `json:"leftAccessories,omitempty"`
}

type leaseStatus struct {
	Held    bool   `json:"held"`
	Unknown bool   `json:"unknown,omitempty"` // It could not be read.
	Release string `json:"release,omitempty"`
	Holder  string `json:"holder,omitempty"`
	LeftMs  int64  `json:"leftMs,omitempty"`
}

type targetStatus struct {
	Host string `json:"host"`
	Role string `json:"role"`
	// Version and Release are those in service; empty where nothing is.
	Version string `json:"version,omitempty"`
	Release string `json:"release,omitempty"`
	// Containers are in service: one, or as many as there are replicas.
	Containers []containerStatus `json:"containers"`
	// Routed is true if they get traffic: they answered a request through the
	// proxy. Absent for a role without proxy.
	Routed *bool `json:"routed,omitempty"`
	// NoTraffic is why they get none.
	NoTraffic string    `json:"noTraffic,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	// Maintenance is absent if visitors get the application.
	Maintenance *traffic.Maintenance `json:"maintenance,omitempty"`
	// Others run beside it: a release that is under way, or was left.
	Others []string `json:"others,omitempty"`
	// Retained are the versions that can be rolled back to without a pull.
	Retained []string `json:"retained"`
	// Elsewhere is the run directory that has the service's state on the host,
	// where it is not the configuration's; "unknown" if that is not known.
	Elsewhere string `json:"elsewhere,omitempty"`
	Error     string `json:"error,omitempty"`
}

type containerStatus struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Health string `json:"health,omitempty"`
	// Restarts is how often its engine has started it again, because it ended by
	// itself.
	Restarts int `json:"restarts,omitempty"`
}

func (p *program) status(ctx context.Context, s *stages.Session) error {
	in, err := looking(s)
	if err != nil {
		return err
	}
	_ = s.Survey(ctx, plan.HostNames(in.Targets)) // What it refuses, the targets' errors say.
	view, err := stages.LookAll(ctx, in)
	records, found := view.Records, view.Found
	sum := statusReport{Service: s.Config.Service, Destination: s.Config.Destination}
	if err == nil {
		to, _, _ := stages.Previous(view.Past())
		sum.Rollback = to.Version
	}
	for i, t := range in.Targets {
		one := targetStatus{}
		if e := records[i].Error; e != nil {
			one.Error = e.Message
			if run, elsewhere := s.Elsewhere(t.Host); elsewhere {
				one.Elsewhere = cmp.Or(run, "unknown")
			}
		} else {
			one = describe(t, found[t.Key()])
		}
		one.Host, one.Role = t.Host, t.Role.Name
		one.Retained = append(one.Retained, retainedBefore(in, view.Targets, t, found)...)
		sum.Targets = append(sum.Targets, one)
	}
	err = errors.Join(err, lookClosely(ctx, in, sum.Targets))
	var besideErr, leaseErr, orphanErr error
	answering := without(in, records)
	sum.Orphans, orphanErr = orphansBeside(ctx, answering)
	err = errors.Join(err, orphanErr)
	sum.LeftHosts, orphanErr = leftHosts(ctx, answering)
	err = errors.Join(err, orphanErr)
	sum.LeftAccessories, orphanErr = leftAccessories(ctx, answering)
	err = errors.Join(err, orphanErr)
	if front := proxied(answering.Targets); len(front) > 0 {
		var proxyErr error
		sum.Proxies, proxyErr = observeProxies(ctx, s, front)
		err = errors.Join(err, proxyErr)
	}
	sum.Accessories, besideErr = accessoriesBeside(ctx, s)
	err = errors.Join(err, besideErr)
	if sum.Lease, leaseErr = holder(ctx, s); err == nil {
		err = leaseErr
	}
	if sum.Unserved = unserved(found); sum.Unserved != nil {
		if lookErr := sum.Unserved.look(ctx, s, sum.Lease); err == nil {
			err = lookErr
		}
	}
	if printErr := p.printStatus(sum); printErr != nil {
		return printErr
	}
	return err
}

// accessoriesBeside are the accessories that belong into a picture of the hosts.
func accessoriesBeside(ctx context.Context, s *stages.Session) ([]accessoryStatus, error) {
	all := plan.Accessories(s.Config)
	targets, err := plan.Filter(all, s.Roles, s.HostGlobs)
	if len(all) == 0 || err != nil {
		return nil, nil //nolint:nilerr // The filters are about roles: they leave none of these.
	}
	return observeAccessories(ctx, s.Input(targets, targets))
}

// describe sums up one target.
func describe(t plan.Target, seen stages.Sight) targetStatus {
	one := targetStatus{Containers: []containerStatus{}, Retained: append([]string{}, seen.Retained()...)}
	live := seen.Live(t.Role.Name, t.Proxied)
	ids := engine.IDs(live)
	if len(live) > 0 {
		one.Version, one.Release = live[0].Labels[engine.LabelVersion], live[0].Labels[engine.LabelRelease]
		if noted := seen.Book.Live(t.Role.Name); slices.Contains(noted, live[0].ID) {
			for _, r := range seen.Book.Releases {
				if slices.Contains(r.Live[t.Role.Name], live[0].ID) { // One that an older release made may serve again.
					one.Release, one.Since = r.ID, r.At
				}
			}
		}
	}
	for _, c := range live {
		one.Containers = append(one.Containers, containerStatus{ID: c.ID, Name: c.Name, State: c.State, Health: c.Health})
	}
	slices.SortFunc(one.Containers, func(a, b containerStatus) int { return cmp.Compare(a.Name, b.Name) })
	if t.Proxied {
		one.Routed = new(len(live) > 0)
	}
	for _, c := range seen.Containers {
		version := c.Labels[engine.LabelVersion]
		if c.Up() && !slices.Contains(ids, c.ID) && !slices.Contains(one.Others, version) {
			one.Others = append(one.Others, version)
		}
	}
	return one
}

func holder(ctx context.Context, s *stages.Session) (leaseStatus, error) {
	store, err := s.LeaseStore(ctx)
	if err != nil {
		return leaseStatus{Unknown: true}, err
	}
	now, err := store.Current(ctx)
	if err != nil || now.Free() {
		return leaseStatus{Unknown: err != nil}, err
	}
	return leaseStatus{Held: true, Release: now.Holder.Release, Holder: now.Holder.String(), LeftMs: now.Left.Milliseconds()}, nil
}

func (p *program) printStatus(sum statusReport) error {
	if p.global.output == "json" {
		return p.encode(sum)
	}
	t := p.table("HOST", "ROLE", "VERSION", "STATE", "TRAFFIC", "SINCE (UTC)", "ALSO RUNS", "RETAINED")
	for _, one := range sum.Targets {
		t.row(one.Host, one.Role, one.Version, one.condition(), one.traffic(), dated(one.Since),
			strings.Join(one.Others, ", "), strings.Join(one.Retained, ", "))
	}
	for _, one := range sum.Orphans {
		t.row(one.Host, one.Role, one.Version, one.condition(), one.traffic(), "", "", "")
	}
	if err := t.end(); err != nil {
		return err
	}
	for _, one := range sum.Targets {
		if one.Maintenance != nil {
			p.result("%s %s is in maintenance: %s", one.Host, one.Role, one.Maintenance)
		}
		if one.NoTraffic != "" {
			p.result("%s %s gets no traffic: %s", one.Host, one.Role, one.NoTraffic)
		}
	}
	if sum.Unserved != nil {
		p.result("%s", sum.Unserved)
	}
	p.printProxiesBriefly(sum.Proxies)
	p.printOrphans(sum)
	if len(sum.Accessories) > 0 {
		p.result("")
		if err := p.printAccessories(sum.Accessories); err != nil {
			return err
		}
		p.result("")
	}
	lease := "free"
	if sum.Lease.Unknown {
		lease = "unknown"
	}
	if sum.Lease.Held {
		lease = fmt.Sprintf("held by %s; expires in %s", sum.Lease.Holder, (time.Duration(sum.Lease.LeftMs) * time.Millisecond).Round(time.Second))
	}
	p.result("lease: %s", lease)
	if sum.Rollback != "" {
		p.result("kstep rollback goes to %s", short.Of(sum.Rollback))
	}
	return nil
}

func (t targetStatus) condition() string {
	switch {
	case t.Elsewhere != "":
		return "kept in " + t.Elsewhere
	case t.Error != "":
		return "unknown"
	case len(t.Containers) == 0:
		return "nothing"
	}
	counts := map[string]int{}
	for _, c := range t.Containers {
		text := condition(c.State, c.Health, "")
		if c.Restarts > 0 {
			text += ", " + counted(c.Restarts, "restart")
		}
		counts[text]++
	}
	var parts []string
	for _, one := range slices.Sorted(maps.Keys(counts)) {
		if len(t.Containers) > 1 {
			one = fmt.Sprintf("%d %s", counts[one], one)
		}
		parts = append(parts, one)
	}
	return strings.Join(parts, "; ")
}

func (t targetStatus) traffic() string {
	switch {
	case t.Routed == nil:
		return ""
	case *t.Routed && t.Maintenance != nil:
		return "maintenance"
	case *t.Routed:
		return "yes"
	}
	return "no"
}

func dated(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02 15:04")
}
