package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// configureAppShow declares what of `kstep app …` shows containers and images.
func configureAppShow(p *program, cmd *kingpin.CmdClause, actions map[string]action) {
	cmd.Command("details", "Show the containers in service.")
	actions["app details"] = p.look("app details", p.appDetails)
	cmd.Command("containers", "Show all containers of the application, also those that are kept for a rollback.")
	actions["app containers"] = p.look("app containers", p.appContainers)
	stale := cmd.Command("stale-containers", "Show the containers that run and are not in service: left by a release that did not come to its end, or of roles that are no longer configured on their host.")
	stop := stale.Flag("stop", "Stop them; refused (20) while a release is under way.").Bool()
	actions["app stale-containers"] = func(ctx context.Context) error {
		if *stop {
			return p.inSession("app stale-containers", func(ctx context.Context, s *stages.Session) error {
				return stages.Outside(ctx, s, "app stale-containers", stopStale)
			})(ctx)
		}
		return p.look("app stale-containers", p.appStale)(ctx)
	}
	cmd.Command("images", "Show the application's images on the hosts, and what they are kept for.")
	actions["app images"] = p.look("app images", p.appImages)
	cmd.Command("version", "Print the version in service, one line for each if there are several.")
	actions["app version"] = p.look("app version", p.appVersion)
}

// appContainer is a line of `kstep app containers`.
type appContainer struct {
	Host      string `json:"host"`
	Role      string `json:"role"`
	Name      string `json:"name"`
	Container string `json:"container"`
	Version   string `json:"version"`
	Release   string `json:"release,omitempty"`
	State     string `json:"state"`
	Health    string `json:"health,omitempty"`
	// InService is true if it serves, or would if it ran.
	InService bool      `json:"inService"`
	Created   time.Time `json:"created,omitzero"`
}

// observeApp looks at the containers of all targets.
func observeApp(ctx context.Context, s *stages.Session) ([]appContainer, error) {
	in, err := looking(s)
	if err != nil {
		return nil, err
	}
	s.Warm(ctx)
	_, found, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) ([]appContainer, error) {
		seen, err := stages.Observe(ctx, in, w)
		live := engine.IDs(inService(w.Target, seen))
		var all []appContainer
		for _, c := range seen.Containers {
			all = append(all, appContainer{
				Host: w.Target.Host, Role: w.Target.Role.Name, Name: c.Name, Container: c.ID, Version: c.Labels[engine.LabelVersion], Release: c.Labels[engine.LabelRelease],
				State: c.State, Health: c.Health, InService: slices.Contains(live, c.ID), Created: c.Created,
			})
		}
		return all, err
	})
	all := []appContainer{}
	for _, t := range in.Targets {
		all = append(all, found[t.Key()]...)
	}
	return all, err
}

func (p *program) appDetails(ctx context.Context, s *stages.Session) error {
	all, err := observeApp(ctx, s)
	return errors.Join(err, p.printContainers(slices.DeleteFunc(all, func(c appContainer) bool { return !c.InService })))
}

func (p *program) appContainers(ctx context.Context, s *stages.Session) error {
	all, err := observeApp(ctx, s)
	return errors.Join(err, p.printContainers(all))
}

// appStale shows containers that run without serving, because their release did
// not complete. Those of the release under way are not stale.
func (p *program) appStale(ctx context.Context, s *stages.Session) error {
	all, err := observeApp(ctx, s)
	if err != nil {
		return err
	}
	orphans, err := runningOrphans(ctx, s)
	if err != nil {
		return err
	}
	all = append(all, orphans...)
	lease, err := holder(ctx, s)
	if err != nil {
		return err
	}
	return p.printContainers(slices.DeleteFunc(all, func(c appContainer) bool {
		return c.InService || !engine.Container{State: c.State}.Up() || lease.Held && c.Release == lease.Release
	}))
}

// stopStale stops them. It is done in the lease, so no release is under way.
func stopStale(ctx context.Context, in stages.Input) ([]state.Target, error) {
	records, _, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		seen, err := stages.Observe(ctx, in, w)
		if err != nil {
			return struct{}{}, err
		}
		live := engine.IDs(inService(w.Target, seen))
		others := slices.DeleteFunc(slices.Clone(seen.Containers), func(c engine.Container) bool { return slices.Contains(live, c.ID) })
		stale := slices.DeleteFunc(slices.Clone(others), func(c engine.Container) bool { return !c.Up() })
		if w.Target.Proxied && len(stale) > 0 {
			front, _, err := stages.Proxy(ctx, w)
			if err != nil {
				return struct{}{}, err
			}
			if _, err := stages.Drain(ctx, in, w, front, stale); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, stopApp(ctx, in, w, seen.Book, others)
	})
	if err != nil {
		return records, err
	}
	hosts, _, err := stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		orphans, err := w.Orphans(ctx, in)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, w.StopOrphans(ctx, in, orphans)
	})
	return stages.Merge(hosts, records), err
}

func (p *program) printContainers(all []appContainer) error {
	if p.global.output == "json" {
		return p.encode(map[string]any{"containers": all})
	}
	t := p.table("HOST", "ROLE", "CONTAINER", "VERSION", "STATE", "IN SERVICE", "CREATED (UTC)")
	for _, c := range all {
		serves := ""
		if c.InService {
			serves = "yes"
		}
		t.row(c.Host, c.Role, c.Name, c.Version, condition(c.State, c.Health, ""), serves, dated(c.Created))
	}
	return t.end()
}

func (p *program) appVersion(ctx context.Context, s *stages.Session) error {
	all, err := observeApp(ctx, s)
	versions := []string{}
	for _, c := range all {
		if c.InService && !slices.Contains(versions, c.Version) {
			versions = append(versions, c.Version)
		}
	}
	if p.global.output == "json" {
		return errors.Join(err, p.encode(map[string]any{"versions": versions}))
	}
	for _, v := range versions {
		p.result("%s", v)
	}
	if err == nil && len(versions) == 0 {
		err = exit.Hint(errors.New("nothing is in service"), "kstep deploy")
	}
	return err
}

// appImage is a line of `kstep app images`.
type appImage struct {
	Host    string    `json:"host"`
	Image   string    `json:"image"` // By its tag.
	ID      string    `json:"id"`
	Version string    `json:"version"`
	Size    int64     `json:"size"` // Bytes, layers that it shares with others included.
	Created time.Time `json:"created,omitzero"`
	// Roles have containers of it, running or kept for a rollback.
	Roles []string `json:"roles"`
}

func (p *program) appImages(ctx context.Context, s *stages.Session) error {
	in, err := looking(s)
	if err != nil {
		return err
	}
	s.Warm(ctx)
	_, found, err := stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) ([]appImage, error) {
		return imagesOn(ctx, in, w)
	})
	all := []appImage{}
	for _, name := range plan.HostNames(in.Targets) {
		all = append(all, found[name]...)
	}
	if p.global.output == "json" {
		return errors.Join(err, p.encode(map[string]any{"images": all}))
	}
	t := p.table("HOST", "IMAGE", "ID", "SIZE", "CREATED (UTC)", "CONTAINERS OF")
	for _, i := range all {
		t.row(i.Host, i.Image, short.Of(strings.TrimPrefix(i.ID, "sha256:")), fmt.Sprintf("%.1f MB", float64(i.Size)/1e6),
			dated(i.Created), strings.Join(i.Roles, ", "))
	}
	return errors.Join(err, t.end())
}

// imagesOn are the images of the releases that the host remembers, newest first.
func imagesOn(ctx context.Context, in stages.Input, w *stages.Work) ([]appImage, error) {
	book, err := ledger.Read(ctx, w.Host.Files(), w.Names.Ledger())
	if err != nil {
		return nil, err
	}
	images, err := w.Host.Engine().Images(ctx, engine.Filter{})
	if err != nil {
		return nil, err
	}
	containers, err := w.Host.Engine().Containers(ctx, engine.Filter{Labels: stages.RoleLabels(in.Config, ""), All: true})
	if err != nil {
		return nil, err
	}
	var all []appImage
	for _, r := range slices.Backward(book.Releases) {
		known := slices.ContainsFunc(all, func(i appImage) bool { return i.Image == r.Tag })
		at := slices.IndexFunc(images, func(i engine.Image) bool { return i.Named(r.Tag) })
		if known || at < 0 {
			continue
		}
		one := appImage{
			Host: w.Target.Host, Image: r.Tag, ID: images[at].ID, Version: r.Version,
			Size: images[at].Size, Created: images[at].Created, Roles: []string{},
		}
		for _, c := range containers {
			if role := c.Labels[engine.LabelRole]; role != "" && c.Labels[engine.LabelVersion] == r.Version && !slices.Contains(one.Roles, role) {
				one.Roles = append(one.Roles, role)
			}
		}
		slices.Sort(one.Roles)
		all = append(all, one)
	}
	return all, nil
}
