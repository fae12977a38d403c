package hosttest

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// network is a bridge of the engine's. Each has a subnet of its own, and containers
// reach each other on a network that they share only.
type network struct {
	ID, Name string
	Labels   map[string]string
	Created  time.Time
	subnet   int // 172.<subnet>.0.0/16.
}

// firstSubnet is that of the first network that is made.
const firstSubnet = 18

func (n *network) gateway() string { return fmt.Sprintf("172.%d.0.1", n.subnet) }

// endpoint is a container's place on a network. It has an address while the
// container runs.
type endpoint struct {
	aliases []string
	address string
}

func (e *Engine) serveNetworks(w http.ResponseWriter, r *http.Request, parts []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.Method == http.MethodGet && len(parts) == 0 {
		e.listNetworks(w, r)
		return
	}
	if r.Method == http.MethodPost && len(parts) == 1 && parts[0] == "create" {
		e.createNetwork(w, r)
		return
	}
	n := e.findNetwork(parts[0])
	switch {
	case n == nil:
		refuse(w, 404, "network "+parts[0]+" not found")
	case r.Method == http.MethodGet && len(parts) == 1:
		answer(w, 200, e.inspectNetwork(n))
	case r.Method == http.MethodDelete:
		if len(e.attached(n)) > 0 {
			refuse(w, 403, fmt.Sprintf("error while removing network: network %s id %s has active endpoints", n.Name, n.ID))
			return
		}
		e.networks = slices.DeleteFunc(e.networks, func(o *network) bool { return o == n })
		w.WriteHeader(204)
	case r.Method == http.MethodPost && len(parts) == 2 && (parts[1] == "connect" || parts[1] == "disconnect"):
		e.serveConnection(w, r, n, parts[1] == "connect")
	default:
		refuse(w, 404, "page not found")
	}
}

func (e *Engine) listNetworks(w http.ResponseWriter, r *http.Request) {
	found := []*network{}
	want := filtersOf(r)["name"]
	for _, n := range e.networks {
		if len(want) == 0 || slices.ContainsFunc(want, func(s string) bool { return strings.Contains(n.Name, s) }) {
			found = append(found, n)
		}
	}
	answerList(w, found, func(n *network) any {
		return map[string]any{"Id": n.ID, "Name": n.Name, "Labels": n.Labels, "Created": n.Created.Format(time.RFC3339Nano)}
	})
}

func (e *Engine) createNetwork(w http.ResponseWriter, r *http.Request) {
	var asked network
	if !read(w, r, &asked) {
		return
	}
	asked.ID, asked.Created, asked.subnet = newID(), time.Now(), firstSubnet
	for slices.ContainsFunc(e.networks, func(n *network) bool { return n.subnet == asked.subnet }) {
		asked.subnet++
	}
	e.networks = append(e.networks, &asked)
	answer(w, 201, map[string]any{"Id": asked.ID, "Warning": ""})
}

// findNetwork finds by name or id; the engine is locked.
func (e *Engine) findNetwork(ref string) *network {
	at := slices.IndexFunc(e.networks, func(n *network) bool { return n.ID == ref || n.Name == ref })
	if at < 0 {
		return nil
	}
	return e.networks[at]
}

// attached are the running containers on a network; the engine is locked.
func (e *Engine) attached(n *network) []*container {
	return slices.DeleteFunc(slices.Clone(e.containers), func(c *container) bool { return !c.isRunning() || c.on(n) == nil })
}

func (e *Engine) inspectNetwork(n *network) any {
	within := map[string]any{}
	for _, c := range e.attached(n) {
		within[c.ID] = map[string]any{"Name": c.Name, "IPv4Address": c.on(n).address + "/16"}
	}
	return map[string]any{
		"Id": n.ID, "Name": n.Name, "Labels": n.Labels, "Created": n.Created.Format(time.RFC3339Nano), "Containers": within,
	}
}

func (e *Engine) serveConnection(w http.ResponseWriter, r *http.Request, n *network, connect bool) {
	var asked struct {
		Container      string
		EndpointConfig struct{ Aliases []string }
	}
	if !read(w, r, &asked) {
		return
	}
	c := e.find(asked.Container)
	switch {
	case c == nil:
		refuse(w, 404, "No such container: "+asked.Container)
		return
	case connect && c.on(n) != nil:
		refuse(w, 403, fmt.Sprintf("endpoint with name %s already exists in network %s", c.Name, n.Name))
		return
	case !connect && c.on(n) == nil:
		refuse(w, 403, fmt.Sprintf("container %s is not connected to network %s", c.ID, n.Name))
		return
	case connect:
		c.networks[n.Name] = &endpoint{aliases: asked.EndpointConfig.Aliases}
		if c.isRunning() {
			c.networks[n.Name].address = e.freeAddress(n)
			c.sockets.setAddresses(c.addresses())
		}
	default:
		gone := c.on(n).address
		delete(c.networks, n.Name)
		if c.isRunning() {
			c.sockets.setAddresses(c.addresses())
			c.sockets.cut(gone)
		}
	}
	w.WriteHeader(200)
}

// on is the container's endpoint on a network, or nil.
func (c *container) on(n *network) *endpoint { return c.networks[n.Name] }

func (c *container) isRunning() bool { return c.state == "running" }

// addresses are those of a running container, by the names of its networks.
func (c *container) addresses() []string {
	var all []string
	for _, name := range sortedKeys(c.networks) {
		if address := c.networks[name].address; address != "" {
			all = append(all, address)
		}
	}
	return all
}

// freeAddress is the lowest on a network that no running container has, so that
// addresses are used again by others, as in life; the engine is locked.
func (e *Engine) freeAddress(n *network) string {
	for number := 2; ; number++ {
		address := fmt.Sprintf("172.%d.0.%d", n.subnet, number)
		if !slices.ContainsFunc(e.containers, func(c *container) bool { return slices.Contains(c.addresses(), address) }) {
			return address
		}
	}
}

// lookup finds a running container by an address, or by a name as the engine's DNS
// does, on the networks that a container is in; the engine is locked.
func (c *container) lookup(name string) (found *container, from, to string) {
	for _, network := range sortedKeys(c.networks) {
		own := c.networks[network]
		for _, other := range c.engine.containers {
			at := other.networks[network]
			if at == nil || !other.isRunning() {
				continue
			}
			if at.address == name || strings.HasPrefix(other.ID, name) && len(name) >= 12 || other.Name == name || slices.Contains(at.aliases, name) {
				return other, own.address, at.address
			}
		}
	}
	return nil, "", ""
}

// Connect opens a connection from one running container to another one's port. The
// other one is found by its name, an alias or an address on a network of both.
func (e *Engine) Connect(from, to string, port int) (net.Conn, error) {
	e.mu.Lock()
	source := e.find(from)
	if source == nil {
		e.mu.Unlock()
		return nil, fmt.Errorf("no container %s", from)
	}
	target, own, address := source.lookup(to)
	e.mu.Unlock()
	if target == nil {
		return nil, fmt.Errorf("lookup %s from %s: no such host", to, from)
	}
	return target.dial(own, address, port)
}

// Earlier makes the engine's containers stand as versions of kstep left them that
// had one network for all services: in that one alone, without the labels of later
// versions, and with a proxy whose API is open.
func (e *Engine) Earlier(shared string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.findNetwork(shared)
	if n == nil {
		e.fake.t.Fatalf("no network %s", shared)
		return
	}
	for _, c := range e.containers {
		at := &endpoint{}
		for _, name := range sortedKeys(c.networks) {
			at.aliases = c.networks[name].aliases
		}
		c.networks = map[string]*endpoint{shared: at}
		if c.isRunning() {
			at.address = e.freeAddress(n)
			c.sockets.setAddresses(c.addresses())
		}
		for _, label := range []string{"kstep.network", "traefik.docker.network", "kstep.proxy.api"} {
			delete(c.Config.Labels, label)
		}
		var args []string
		for _, arg := range c.Config.Cmd {
			switch {
			case arg == "--api=true":
				args = append(args, "--api.insecure=true")
			case !strings.HasPrefix(arg, "--entrypoints.traefik."):
				args = append(args, arg)
			}
		}
		if !slices.Equal(args, c.Config.Cmd) { // A proxy that runs reads them.
			c.Config.Cmd = args
			c.Config.Labels["kstep.spec"] = "sha256:earlier"
		}
	}
	e.networks = slices.DeleteFunc(e.networks, func(o *network) bool { return strings.HasPrefix(o.Name, shared+"-") })
}
