package traffic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/route"
)

// Maintenance is what the proxy does with requests of a service that is in maintenance:
// it answers them with 503, except those of the allowed senders.
type Maintenance struct {
	// RetryAfter is the value of the header Retry-After, in seconds.
	RetryAfter int `json:"retryAfter"`
	// Allow are addresses and ranges whose requests the application gets.
	Allow []string `json:"allow,omitempty"`
}

// String is the setting in a sentence.
func (m Maintenance) String() string {
	text := fmt.Sprintf("visitors get 503 with Retry-After: %d", m.RetryAfter)
	if len(m.Allow) > 0 {
		text += "; allowed: " + strings.Join(m.Allow, ", ")
	}
	return text
}

const (
	// maintenanceInfix is between the route's name and the rest of the names of the two
	// middlewares of maintenance, which end with a digest of the setting. So the list of a
	// router's middlewares shows which setting the proxy has.
	maintenanceInfix = "-maintenance-"
	// openSuffix ends the names of the routers for the path that stays open.
	openSuffix = "-health"
	// noSender is a range that has no sender: Traefik refuses an empty list.
	noSender = "255.255.255.255/32"
)

type (
	allowList struct {
		SourceRange []string    `json:"sourceRange"`
		Strategy    *ipStrategy `json:"ipStrategy,omitempty"`
		// Reject is the status of the answer to other senders.
		Reject int `json:"rejectStatusCode,omitempty"`
	}
	// ipStrategy says which address is the sender's; without one it is that of the
	// connection.
	ipStrategy struct {
		// Depth counts the addresses in X-Forwarded-For from the right.
		Depth int `json:"depth,omitempty"`
	}
)

// closure is how maintenance is part of a route.
type closure struct {
	Maintenance
	// open is a path that the application answers in any case; empty for none.
	open string
	// forwarded has the sender's address in X-Forwarded-For, from a trusted proxy.
	forwarded bool
}

// closure is what the role's route has in maintenance.
func (r Role) closure(m Maintenance) closure {
	return closure{Maintenance: m, open: r.Open(), forwarded: len(r.Config.Proxy.TrustedNetworks()) > 0}
}

// Open is the path at which the proxy gets requests for the role's health check: a load
// balancer that uses it must not take the host out. It is empty where no request with
// that path reaches the role, where the path cannot be in a rule, and where it is the
// first page, which visitors request.
func (r Role) Open() string {
	health, _, _ := strings.Cut(r.Health.Path, "?")
	health, _, _ = strings.Cut(health, "#")
	prefix := route.Prefix(r.Config.Proxy.PathPrefix)
	if r.Config.Proxy.StripPathPrefix && prefix != "/" {
		health = prefix + health
	}
	reached := prefix == "/" || strings.HasPrefix(health, prefix+"/")
	if health == "" || !reached || route.Prefix(health) == prefix || strings.Contains(health, "`") || strings.Contains(health, "{{") {
		return ""
	}
	return health
}

// into closes every router of a route, but for the path that stays open. The routers for
// that path have the priority of the others, and the rules of the two exclude each other:
// so no claim of another service has to be compared anew.
func (c closure) into(file *routeFile, name string) {
	digest := route.Mark(append([]string{strconv.Itoa(c.RetryAfter), strconv.FormatBool(c.forwarded)}, c.Allow...))
	retry, allow := name+maintenanceInfix+"retry-"+digest, name+maintenanceInfix+"allow-"+digest
	list := &allowList{SourceRange: append([]string{noSender}, c.Allow...), Reject: http.StatusServiceUnavailable}
	if c.forwarded {
		list.Strategy = &ipStrategy{Depth: 1}
	}
	file.HTTP.Middlewares[retry] = setsHeader("Retry-After", strconv.Itoa(c.RetryAfter))
	file.HTTP.Middlewares[allow] = middleware{Allow: list}
	for key, r := range maps.Clone(file.HTTP.Routers) {
		if c.open != "" {
			opened := r
			opened.Rule = "(" + r.Rule + ") && Path(`" + c.open + "`)"
			file.HTTP.Routers[key+openSuffix] = opened
			r.Rule = "(" + r.Rule + closedFor + c.open + "`)"
		}
		at := 0 // Behind the mark and what belongs to HTTPS.
		for at < len(r.Middlewares) && slices.Contains([]string{name, name + redirectSuffix, name + hstsSuffix}, r.Middlewares[at]) {
			at++
		}
		r.Middlewares = slices.Insert(slices.Clone(r.Middlewares), at, retry, allow)
		file.HTTP.Routers[key] = r
	}
}

// closedFor is in the rule of a closed router, between its ordinary rule and the open path.
const closedFor = ") && !Path(`"

// ordinaryRule is the rule of a router without maintenance, and the open path.
func ordinaryRule(rule string) (ordinary, open string) {
	at := strings.LastIndex(rule, closedFor)
	if at < 1 {
		return rule, ""
	}
	return rule[1:at], strings.TrimSuffix(rule[at+len(closedFor):], "`)")
}

// lift is the route without maintenance.
func (f routeFile) lift(name string) routeFile {
	is := func(m string) bool { return strings.HasPrefix(m, name+maintenanceInfix) }
	routers := map[string]router{}
	for key, r := range f.HTTP.Routers {
		if strings.HasSuffix(key, openSuffix) {
			continue
		}
		if slices.ContainsFunc(r.Middlewares, is) {
			r.Rule, _ = ordinaryRule(r.Rule)
			r.Middlewares = slices.DeleteFunc(slices.Clone(r.Middlewares), is)
		}
		routers[key] = r
	}
	f.HTTP.Routers = routers
	f.HTTP.Middlewares = maps.Clone(f.HTTP.Middlewares)
	maps.DeleteFunc(f.HTTP.Middlewares, func(key string, _ middleware) bool { return is(key) })
	return f
}

// closed is the maintenance that the route has; false where it has none.
func (f routeFile) closed(name string) (closure, bool) {
	var c closure
	found := false
	for _, key := range f.HTTP.Routers[name].Middlewares {
		m := f.HTTP.Middlewares[key]
		switch {
		case !strings.HasPrefix(key, name+maintenanceInfix):
		case m.Headers != nil:
			c.RetryAfter, _ = strconv.Atoi(m.Headers.CustomResponseHeaders["Retry-After"])
		case m.Allow != nil && len(m.Allow.SourceRange) > 0:
			c.Allow, c.forwarded, found = m.Allow.SourceRange[1:], m.Allow.Strategy != nil, true
		}
	}
	if found {
		_, c.open = ordinaryRule(f.HTTP.Routers[name].Rule)
	}
	return c, found
}

// Closed is the maintenance that the owner's route is in or, where it has no route yet,
// that of another role of its service. It is nil for none. open is the path that the
// application answers all the same.
func (t *Table) Closed(owner route.Owner) (m *Maintenance, open string) {
	c, ok := t.closed(owner)
	if !ok {
		return nil, ""
	}
	return &c.Maintenance, c.open
}

func (t *Table) closed(owner route.Owner) (closure, bool) {
	if own, ok := t.own(owner); ok {
		return own.closed(own.name)
	}
	for _, r := range t.routes {
		if c, ok := r.closed(r.name); ok && r.owned && r.claim.SameService(owner) {
			return c, true
		}
	}
	if t.assumed != nil {
		return closure{Maintenance: *t.assumed}, true
	}
	return closure{}, false
}

// Assume has routes of a service that has none on the host begin in maintenance: its
// other hosts are.
func (t *Table) Assume(m *Maintenance) { t.assumed = m }

// Owners are the roles of the service that have a route on the host.
func (t *Table) Owners(service route.Owner) []route.Owner {
	var all []route.Owner
	for _, r := range t.routes {
		if r.owned && r.claim.SameService(service) {
			all = append(all, r.claim.Owner)
		}
	}
	return all
}

// Maintenance is that of the role's route; nil for none.
func (r Role) Maintenance(ctx context.Context) (*Maintenance, error) {
	now, ok, err := new(ownFile).read(ctx, r)
	if err != nil || !ok {
		return nil, err
	}
	if c, ok := now.closed(r.Names.Route(r.Name)); ok {
		return &c.Maintenance, nil
	}
	return nil, nil
}

// Maintain makes the role's route one with this maintenance, or with none where it is nil,
// and changes nothing else of it. It returns when the proxy has the route, also where a
// run that was killed has written it. It reports whether the route was another one. If the
// proxy does not take it before ctx ends, the route becomes what it was.
func (r Role) Maintain(ctx context.Context, want *Maintenance) (changed bool, err error) {
	var file ownFile
	now, ok, err := file.read(ctx, r)
	if err != nil {
		return false, err
	}
	name := r.Names.Route(r.Name)
	if !ok || !now.owned {
		return false, exit.With(exit.Failed, errors.New("role "+r.Name+" has no route of this version of kstep"), "kstep redeploy")
	}
	before := written(now.claim, now.routeFile)
	next := now.lift(name)
	if want != nil {
		r.closure(*want).into(&next, name)
	}
	after := written(now.claim, next)
	if changed = !bytes.Equal(before, after); changed {
		if err := file.write(ctx, r, after); err != nil {
			return false, err
		}
	}
	if r.Word == nil {
		return changed, nil
	}
	err = r.confirmChains(ctx, next)
	if err == nil || !changed || errors.Is(ctx.Err(), context.Canceled) { // A person who interrupts runs it again.
		return changed, err
	}
	if back := file.write(context.WithoutCancel(ctx), r, before); back != nil {
		return true, exit.With(exit.Partial, errors.Join(err, fmt.Errorf("restore the route of role %s: %w", r.Name, back)))
	}
	code := exit.CodeOf(err)
	if ctx.Err() != nil { // Whatever the last query ended with.
		code = exit.CodeOf(context.Cause(ctx))
	}
	return false, exit.With(code, fmt.Errorf("%w; its route is as it was", err), "kstep proxy logs shows why the proxy does not take the route", "then run the same command again")
}

// confirmChains queries until the routers of the file have their middlewares.
func (r Role) confirmChains(ctx context.Context, file routeFile) error {
	for _, key := range slices.Sorted(maps.Keys(file.HTTP.Routers)) {
		want := file.HTTP.Routers[key].Middlewares
		err := r.poll(ctx, func() (bool, error) {
			now, err := r.Word.Middlewares(ctx, key+"@file")
			for i := range now { // Traefik adds the provider.
				now[i] = strings.TrimSuffix(now[i], "@file")
			}
			return err == nil && slices.Equal(now, want), err
		})
		if err != nil {
			return fmt.Errorf("wait for the proxy to take the route of role %s: %w", r.Name, err)
		}
	}
	return nil
}
