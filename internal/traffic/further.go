package traffic

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/route"
)

// further is a middleware of a route beside the one that marks its answers.
type further struct {
	suffix     string // Of its name, behind the route's.
	middleware middleware
}

// furtherOf are the middlewares that the configuration has for the service's requests,
// in the order in which Traefik applies them.
func furtherOf(p config.Proxy) []further {
	var all []further
	add := func(suffix string, settings any) {
		data, _ := json.Marshal(settings) // Texts, numbers and what was read as JSON: cannot fail.
		all = append(all, further{"-" + suffix, middleware{all: data}})
	}
	type obj = map[string]any
	if len(p.Allow) > 0 {
		add("allow", obj{"ipAllowList": obj{"sourceRange": p.Allow}})
	}
	for _, from := range slices.Sorted(maps.Keys(p.Redirects)) {
		add("redirect-"+from, obj{"redirectRegex": obj{
			"regex":       "(?i)^(https?)://" + regexp.QuoteMeta(from) + "(:[0-9]+)?/(.*)",
			"replacement": "${1}://" + p.Redirects[from] + "${2}/${3}", "permanent": true,
		}})
	}
	if p.MaxBody > 0 {
		add("max-body", obj{"buffering": obj{"maxRequestBodyBytes": int64(p.MaxBody)}})
	}
	if prefix := route.Prefix(p.PathPrefix); p.StripPathPrefix && prefix != "/" {
		add("strip", obj{"stripPrefix": obj{"prefixes": []string{prefix}}})
	}
	if p.Compress {
		add("compress", obj{"compress": obj{}})
	}
	if len(p.Headers) > 0 {
		add("headers", obj{"headers": obj{"customResponseHeaders": p.Headers}})
	}
	for _, m := range p.Middlewares.All {
		add("own-"+m.Name, m.Settings)
	}
	return all
}

// chain are the names of the route's middlewares in order, the mark first: it has to be
// on every answer.
func (o routeOptions) chain() []string {
	names := []string{o.Name}
	for _, one := range o.Further {
		names = append(names, o.Name+one.suffix)
	}
	return names
}

// is reports whether the file says what the options do, on the same terms with its
// neighbours, and whether or not it redirects to HTTPS already.
func (p parsedRoute) is(o routeOptions) bool {
	o.HTTPS.Redirect = o.HTTPS.Redirect && p.https(o.Name).Redirect
	if have := p.urls(o.Name); sameServers(have, o.Servers) {
		o.Servers = have // In whichever order.
	}
	if c, ok := p.closed(o.Name); ok { // With the path that the role's health check has now.
		now := o.closure(c.Maintenance)
		o.Closed = &now
	}
	o.Priorities = map[route.Kind]int{}
	for _, rule := range o.Claim.Rules() {
		o.Priorities[rule.Kind] = cmp.Or(p.HTTP.Routers[o.Name+rule.Suffix].Priority, rule.Priority)
	}
	return p.owned && bytes.Equal(o.encode(), written(p.claim, p.routeFile))
}

// settings are the digest of what the route does beside sending requests on; nothing
// where it does nothing else. As a part of the mark it keeps answers of the new
// route apart from those of the old one to the same containers.
func (r Role) settings() []string {
	all := furtherOf(r.Config.Proxy)
	if h := httpsOf(r.Config.Proxy); len(all) > 0 || h.On {
		var texts []string
		for _, one := range all {
			texts = append(texts, one.suffix, string(one.middleware.all))
		}
		return []string{route.Mark(append(texts, h.Resolver, h.MinVersion, strconv.FormatBool(h.On), strconv.FormatBool(h.HSTS)))}
	}
	return nil
}

// works refuses a route that the proxy has, but cannot serve: it answers 502 for it. Only
// what kstep does not write by itself can be wrong.
func (r Role) works(ctx context.Context, name string) error {
	if r.Word == nil || len(furtherOf(r.Config.Proxy)) == 0 {
		return nil
	}
	reason, err := r.Word.Broken(ctx, name+"@file")
	if err != nil || reason == "" {
		return err
	}
	return exit.With(exit.Failed, fmt.Errorf("the proxy refuses the route: %s", reason), "correct proxy.middlewares, or the other keys of proxy, and deploy again")
}
