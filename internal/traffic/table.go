package traffic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/route"
)

// Bounds of what is read in the folder that the proxy watches.
const (
	maxRouteFiles = 500
	maxRouteSize  = 256 << 10
	readsAtOnce   = 8
)

// Table is what kstep's route files on a host claim.
type Table struct {
	host   host.Host
	routes []tableRoute
	// containers are all of the host's; read only where a question needs them.
	containers []engine.Container
	listed     bool
	// assumed is the maintenance of a service without a route on the host.
	assumed *Maintenance
}

// tableRoute is one route file.
type tableRoute struct {
	parsedRoute
	name string // Of the router, and of the file without its extension.
}

// ReadTable reads the route files in a folder. Files that kstep did not write
// are passed over: what they do is seen by the request that ends each cutover.
func ReadTable(ctx context.Context, h host.Host, dir string) (*Table, error) {
	entries, err := h.Files().List(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("list the routes: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e host.Entry) bool {
		return e.IsDir || !strings.HasSuffix(e.Name, ".yml") || e.Name == plan.CatchAllFile || strings.HasPrefix(e.Name, plan.CertificatePrefix) || e.Size > maxRouteSize
	})
	if len(entries) > maxRouteFiles {
		return nil, fmt.Errorf("%s on %s holds %d routes, more than the %d that kstep reads", dir, h.Name(), len(entries), maxRouteFiles)
	}
	found := make([]*tableRoute, len(entries))
	errs := make([]error, len(entries))
	var wg sync.WaitGroup
	slots := make(chan struct{}, readsAtOnce)
	for i, e := range entries {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found[i], errs[i] = readRoute(ctx, h.Files(), path.Join(dir, e.Name))
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	t := &Table{host: h}
	for _, one := range found {
		if one != nil {
			t.routes = append(t.routes, *one)
		}
	}
	return t, nil
}

// readRoute reads one route file; nil is one that is gone or not kstep's.
func readRoute(ctx context.Context, files host.Files, file string) (*tableRoute, error) {
	data, err := files.Read(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a route: %w", err)
	}
	parsed, err := parseRoute(data)
	if err != nil {
		return nil, nil //nolint:nilerr // Somebody else's, or spoilt: Traefik passes over it too, or the request through the proxy sees it.
	}
	name := strings.TrimSuffix(path.Base(file), ".yml")
	if parsed.owned && plan.RouteOf(parsed.claim.Owner) != name { // A copy under another name.
		return nil, nil
	}
	if _, ok := parsed.HTTP.Routers[name]; !ok {
		return nil, nil
	}
	return &tableRoute{parsedRoute: parsed, name: name}, nil
}

// own is the owner's own route.
func (t *Table) own(owner route.Owner) (tableRoute, bool) {
	name := plan.RouteOf(owner)
	at := slices.IndexFunc(t.routes, func(r tableRoute) bool { return r.name == name })
	if at < 0 {
		return tableRoute{}, false
	}
	r := t.routes[at]
	if !r.owned {
		if claim, ok := route.ParseOld(owner, r.HTTP.Routers[name].Rule); ok {
			r.claim = claim
		}
	}
	return r, true
}

// Own is what the owner's route claims, and the value of route.Header that it
// adds to answers; empty in a route of an older kstep.
func (t *Table) Own(owner route.Owner) (claim route.Claim, mark string, ok bool) {
	r, ok := t.own(owner)
	if !ok {
		return route.Claim{}, "", false
	}
	return r.claim, r.mark(r.name), true
}

// replace makes the owner's route in the table another one, or none.
func (t *Table) replace(owner route.Owner, data []byte) {
	name := plan.RouteOf(owner)
	t.routes = slices.DeleteFunc(t.routes, func(r tableRoute) bool { return r.name == name })
	if parsed, err := parseRoute(data); err == nil && data != nil {
		t.routes = append(t.routes, tableRoute{parsed, name})
	}
}

// list reads the host's containers once.
func (t *Table) list(ctx context.Context) ([]engine.Container, error) {
	if t.listed {
		return t.containers, nil
	}
	all, err := t.host.Engine().Containers(ctx, engine.Filter{All: true})
	if err != nil {
		return nil, fmt.Errorf("find the owners of the routes: %w", err)
	}
	t.containers, t.listed = all, true
	return all, nil
}

// labelled is the owner that a container's labels name.
func labelled(c engine.Container) route.Owner {
	return route.Owner{
		Service: c.Labels[engine.LabelService], Destination: c.Labels[engine.LabelDestination], Role: c.Labels[engine.LabelRole],
	}
}

// others are the routes of other owners, and the routes that are dead: nothing
// is left on the host of who made them. A route of an older kstep names no
// owner; it has its containers' labels in its name.
func (t *Table) others(ctx context.Context, owner route.Owner) (alive, dead []tableRoute, err error) {
	own := plan.RouteOf(owner)
	for _, r := range t.routes {
		if r.name == own {
			continue
		}
		if r.owned && r.claim.SameService(owner) { // A role that left the configuration.
			dead = append(dead, r)
			continue
		}
		containers, err := t.list(ctx)
		if err != nil {
			return nil, nil, err
		}
		at := slices.IndexFunc(containers, func(c engine.Container) bool {
			o := labelled(c)
			return o.Service != "" && o.Role != "" && plan.RouteOf(o) == r.name
		})
		if !r.owned {
			var of route.Owner
			if at >= 0 {
				of = labelled(containers[at])
			}
			claim, ok := route.ParseOld(of, r.HTTP.Routers[r.name].Rule)
			if !ok {
				continue // Not in the form of an older kstep.
			}
			r.claim = claim
		}
		if at < 0 || r.claim.SameService(owner) {
			dead = append(dead, r)
			continue
		}
		alive = append(alive, r)
	}
	return alive, dead, nil
}

// Elsewhere reports whether a request of the claim goes to another route, which
// is more precise for it.
func (t *Table) Elsewhere(mine route.Claim, host, requestPath string) bool {
	own := plan.RouteOf(mine.Owner)
	for _, r := range t.routes {
		if r.name == own {
			continue
		}
		claim := r.claim
		if !r.owned {
			claim, _ = route.ParseOld(route.Owner{}, r.HTTP.Routers[r.name].Rule)
		}
		for _, o := range route.Compare(mine, claim) {
			if o.First == route.Theirs && o.Theirs.Matches(host, requestPath) {
				return true
			}
		}
	}
	return false
}
