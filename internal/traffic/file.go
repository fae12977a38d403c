package traffic

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/kstep/kstep/internal/route"
)

// routeFile is the part of Traefik's dynamic configuration that kstep writes:
// https://doc.traefik.io/traefik/reference/routing-configuration/other-providers/file/
// JSON is YAML, which is what Traefik reads from a .yml file.
type routeFile struct {
	HTTP struct {
		Routers     map[string]router     `json:"routers"`
		Services    map[string]service    `json:"services,omitempty"`
		Middlewares map[string]middleware `json:"middlewares,omitempty"`
		// Transports are how the proxy connects to the containers.
		Transports map[string]transport `json:"serversTransports,omitempty"`
	} `json:"http"`
	TLS *tlsSection `json:"tls,omitempty"`
}

type router struct {
	Rule        string   `json:"rule"`
	Service     string   `json:"service"`
	EntryPoints []string `json:"entryPoints"`
	Middlewares []string `json:"middlewares,omitempty"`
	Priority    int      `json:"priority,omitempty"`
	// TLS is set for a router of requests by HTTPS.
	TLS *routerTLS `json:"tls,omitempty"`
}

// effective is the priority that Traefik works with.
func (r router) effective() int {
	if r.Priority == 0 {
		return len(r.Rule)
	}
	return r.Priority
}

type service struct {
	LoadBalancer loadBalancer `json:"loadBalancer"`
}

type loadBalancer struct {
	Servers   []server `json:"servers"`
	Transport string   `json:"serversTransport,omitempty"`
}

type server struct {
	URL string `json:"url"`
}

type middleware struct {
	Headers  *headers   `json:"headers,omitempty"`
	Redirect *redirect  `json:"redirectScheme,omitempty"`
	Allow    *allowList `json:"ipAllowList,omitempty"`
	// all is the whole of one that was read, or that is the user's own.
	all json.RawMessage
}

// MarshalJSON writes the whole of it.
func (m middleware) MarshalJSON() ([]byte, error) {
	if m.all != nil {
		return m.all, nil
	}
	type plain middleware
	return json.Marshal(plain(m))
}

// UnmarshalJSON keeps what kstep has no field for.
func (m *middleware) UnmarshalJSON(data []byte) error {
	type plain middleware
	if err := json.Unmarshal(data, (*plain)(m)); err != nil {
		return err
	}
	m.all = slices.Clone(data)
	return nil
}

type headers struct {
	CustomResponseHeaders map[string]string `json:"customResponseHeaders"`
}

// routeOptions are what a route file is made from.
type routeOptions struct {
	// Name is the name of the router, and of the service where the file has one.
	Name string
	// Claim is whose file it is, and for which requests.
	Claim route.Claim
	// Service is where the router leads to: Name, or a service of another provider.
	Service string
	// Servers are the URLs of the service in this file; with none it has no service.
	Servers []string
	// Mark is the value of route.Header in every response.
	Mark string
	// Transport is how the proxy connects to the servers; the labels of
	// containers with a cord name it too.
	Transport transport
	// Priorities are those of the routers that need another one than usual.
	Priorities map[route.Kind]int
	// HTTPS is how the route serves HTTPS.
	HTTPS https
	// Further are what else the proxy does to requests and answers, in order.
	Further []further
	// Closed is the maintenance that the service is in, or nil; closure makes it from a
	// setting.
	Closed  *closure
	closure func(Maintenance) closure
}

// encode makes the file. Its first line is a comment with the claim.
func (o routeOptions) encode() []byte {
	var file routeFile
	file.HTTP.Routers = map[string]router{}
	for _, rule := range o.Claim.Rules() {
		priority, ok := o.Priorities[rule.Kind]
		if !ok {
			priority = rule.Priority
		}
		file.HTTP.Routers[o.Name+rule.Suffix] = router{
			Rule: rule.Text, Service: o.Service, EntryPoints: []string{"web"},
			Middlewares: o.chain(), Priority: priority,
		}
	}
	file.HTTP.Middlewares = map[string]middleware{o.Name: setsHeader(route.Header, o.Mark)}
	for _, one := range o.Further {
		file.HTTP.Middlewares[o.Name+one.suffix] = one.middleware
	}
	file.HTTP.Transports = map[string]transport{o.Name: o.Transport}
	if len(o.Servers) > 0 {
		own := loadBalancer{Transport: o.Name}
		for _, url := range o.Servers {
			own.Servers = append(own.Servers, server{url})
		}
		file.HTTP.Services = map[string]service{o.Name: {own}}
	}
	if o.HTTPS.On {
		o.HTTPS.into(&file, o.Name, o.Claim)
	}
	if o.Closed != nil {
		o.Closed.into(&file, o.Name)
	}
	return written(o.Claim, file)
}

// written is the text of a route file.
func written(claim route.Claim, file routeFile) []byte {
	data, _ := json.MarshalIndent(file, "", "  ") // Strings and slices only: cannot fail.
	return append(claim.Comment(), append(data, '\n')...)
}

func setsHeader(name, value string) middleware {
	return middleware{Headers: &headers{map[string]string{name: value}}}
}

// parsedRoute is a route file that is on a host. Its text may come from any
// user who can write there.
type parsedRoute struct {
	routeFile
	claim route.Claim
	// owned reports that the file names its owner; files of an older kstep do
	// not.
	owned bool
}

// parseRoute reads a route file.
func parseRoute(data []byte) (parsedRoute, error) {
	claim, rest, owned, err := route.Split(data)
	if err != nil {
		return parsedRoute{}, err
	}
	p := parsedRoute{claim: claim, owned: owned}
	if err := json.Unmarshal(rest, &p.routeFile); err != nil {
		return parsedRoute{}, fmt.Errorf("not a file of kstep: %w", err)
	}
	return p, nil
}

// urls are the servers of a service in the file.
func (p parsedRoute) urls(name string) []string {
	var urls []string
	for _, s := range p.HTTP.Services[name].LoadBalancer.Servers {
		urls = append(urls, s.URL)
	}
	return urls
}

// mark is the value of route.Header that the router adds to responses.
func (p parsedRoute) mark(name string) string {
	r, ok := p.HTTP.Routers[name]
	if !ok || !slices.Contains(r.Middlewares, name) {
		return ""
	}
	if h := p.HTTP.Middlewares[name].Headers; h != nil {
		return h.CustomResponseHeaders[route.Header]
	}
	return ""
}

// priority is that of the routers for one kind of hosts; the highest of all
// where the rules are not those of the claim.
func (p parsedRoute) priority(kind route.Kind) int {
	rules := p.claim.Rules()
	at := slices.IndexFunc(rules, func(r route.Rule) bool { return r.Kind == kind })
	highest := 0
	for _, r := range p.HTTP.Routers {
		if rule, _ := ordinaryRule(r.Rule); p.owned && at >= 0 && rule == rules[at].Text {
			return r.effective()
		}
		highest = max(highest, r.effective())
	}
	return highest
}
