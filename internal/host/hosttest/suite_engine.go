package hosttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/runopt"
)

// suite is one test's surroundings on the host's engine.
type suite struct {
	*testing.T
	h       host.Host
	e       *engine.Client
	image   string
	network string
	restart func(context.Context) error
}

func suiteEngine(t *testing.T, h host.Host, img string, restart func(context.Context) error) {
	network := suiteName()
	if _, err := h.Engine().EnsureNetwork(t.Context(), network, map[string]string{"kstep.suite": "yes"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeNetwork(t, h, network) })
	tests := map[string]func(suite){
		"a machine is the same by every connection":          suite.identity,
		"a mount follows a folder that is moved":             suite.moves,
		"a container lives from created to gone":             suite.lifecycle,
		"names are taken once":                               suite.names,
		"a device that is not there keeps it from starting":  suite.devices,
		"a list selects by label, name, id and state":        suite.lists,
		"environment values arrive byte for byte":            suite.environment,
		"a container that ends tells status and last lines":  suite.ends,
		"a program in a container tells status and output":   suite.exec,
		"output is followed to the end of the container":     suite.follow,
		"each line is told when it is written":               suite.streams,
		"health is followed by events":                       suite.health,
		"events since an instant miss nothing":               suite.events,
		"stop sends the signal and waits for the end":        suite.stops,
		"a restart policy changes in every state":            suite.policies,
		"the policy at the end of a container counts":        suite.policyInForce,
		"an engine that restarts goes by the policies":       suite.engineRestarts,
		"a taken port is named":                              suite.ports,
		"a missing mount is an error":                        suite.mounts,
		"an address of a container is reached":               suite.dials,
		"the ports that are exposed are seen":                suite.exposed,
		"connections to a container are seen":                suite.sockets,
		"images have names that come and go":                 suite.images,
		"files come out of an image that never ran":          suite.extracts,
		"files of an image come into a container":            suite.gives,
		"programs are found in an image that never ran":      suite.lacks,
		"a network is made once by many":                     suite.networks,
		"a container joins a network and leaves it":          suite.joins,
		"a container is made in several networks":            suite.severalNetworks,
		"networks of a container that does not run are seen": suite.joinsBeforeStart,
		"a network in use is not removed":                    suite.networkInUse,
		"networks do not reach each other":                   suite.isolation,
		"what is missing is ErrNotFound":                     suite.missing,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(suite{t, h, h.Engine(), img, network, restart}) })
	}
}

func removeNetwork(t *testing.T, h host.Host, name string) {
	ctx := context.WithoutCancel(t.Context())
	if err := h.Engine().RemoveNetwork(ctx, name); err != nil {
		t.Errorf("clean up: %v", err)
	}
}

func (s suite) spec() engine.Spec {
	return engine.Spec{
		Name: suiteName(), Image: s.image, Network: s.network,
		Labels: map[string]string{"kstep.suite": s.Name(), "kstep.empty": ""},
		Stop:   engine.Stop{Timeout: 2 * time.Second},
	}
}

// create creates a container that is removed with the test.
func (s suite) create(spec engine.Spec) string {
	s.Helper()
	id, err := s.e.Create(s.Context(), spec)
	must(s, err)
	s.Cleanup(func() {
		if err := s.e.Remove(context.WithoutCancel(s.Context()), id); err != nil {
			s.Errorf("clean up: %v", err)
		}
	})
	return id
}

func (s suite) run(spec engine.Spec) string {
	s.Helper()
	id := s.create(spec)
	must(s, s.e.Start(s.Context(), id))
	return id
}

func (s suite) inspect(id string) engine.Container {
	s.Helper()
	c, err := s.e.Inspect(s.Context(), id)
	must(s, err)
	return c
}

func (s suite) exposed() {
	spec := s.spec()
	spec.Options.Expose = runopt.Texts{"8080", "9000/udp"}
	c := s.inspect(s.create(spec))
	for _, want := range []string{"8080/tcp", "9000/udp"} {
		if !slices.Contains(c.Exposed, want) {
			s.Errorf("got exposed ports %q, want %s among them", c.Exposed, want)
		}
	}
}

func (s suite) lifecycle() {
	spec := s.spec()
	id := s.create(spec)
	c := s.inspect(id)
	if c.ID != id || c.Name != spec.Name || c.State != "created" || c.Image != s.image || c.Labels["kstep.suite"] != s.Name() {
		s.Errorf("created: got %+v", c)
	}
	for range 2 {
		must(s, s.e.Start(s.Context(), id))
	}
	c = s.inspect(spec.Name)
	if !c.Running() || net.ParseIP(c.Addresses[s.network]) == nil || c.Started.IsZero() || c.Health != "" {
		s.Errorf("started: got %+v", c)
	}
	for range 2 {
		must(s, s.e.Stop(s.Context(), id, engine.Stop{}))
	}
	if c = s.inspect(id); c.State != "exited" || c.Finished.IsZero() {
		s.Errorf("stopped: got %+v", c)
	}
	for range 2 {
		must(s, s.e.Remove(s.Context(), id))
	}
	if _, err := s.e.Inspect(s.Context(), id); !errors.Is(err, engine.ErrNotFound) {
		s.Errorf("removed: got %v, want ErrNotFound", err)
	}
}

func (s suite) names() {
	first, second := s.spec(), s.spec()
	id := s.create(first)
	if _, err := s.e.Create(s.Context(), first); !errors.Is(err, engine.ErrConflict) {
		s.Errorf("create with a taken name: got %v, want ErrConflict", err)
	}
	other := s.create(second)
	if err := s.e.Rename(s.Context(), other, first.Name); !errors.Is(err, engine.ErrConflict) {
		s.Errorf("rename to a taken name: got %v, want ErrConflict", err)
	}
	must(s, s.e.Rename(s.Context(), id, first.Name+"_replaced"))
	must(s, s.e.Rename(s.Context(), other, first.Name))
	if c := s.inspect(first.Name); c.ID != other {
		s.Errorf("got %s under the name, want %s", c.ID, other)
	}
}

func (s suite) lists() {
	running, created := s.spec(), s.spec()
	created.Labels["kstep.empty"] = "not"
	a, b := s.run(running), s.create(created)
	label := map[string]string{"kstep.suite": s.Name()}
	tests := map[string]struct {
		filter engine.Filter
		want   []string
	}{
		"running":              {engine.Filter{Labels: label}, []string{a}},
		"all":                  {engine.Filter{Labels: label, All: true}, []string{b, a}},
		"a label that differs": {engine.Filter{Labels: map[string]string{"kstep.suite": "other"}, All: true}, nil},
		"an empty label":       {engine.Filter{Labels: map[string]string{"kstep.suite": s.Name(), "kstep.empty": ""}, All: true}, []string{a}},
		"any value":            {engine.Filter{Labels: label, Labeled: []string{"kstep.empty"}, All: true}, []string{b, a}},
		"name":                 {engine.Filter{Names: []string{created.Name}, All: true}, []string{b}},
		"a part of a name":     {engine.Filter{Names: []string{created.Name[:len(created.Name)-1]}, All: true}, nil},
		"id":                   {engine.Filter{IDs: []string{a}, All: true}, []string{a}},
	}
	for name, test := range tests {
		list, err := s.e.Containers(s.Context(), test.filter)
		must(s, err)
		var got []string
		for _, c := range list {
			got = append(got, c.ID)
			if c.ID == a && (c.Name != running.Name || !c.Running() || c.Addresses[s.network] == "") {
				s.Errorf("%s: got %+v", name, c)
			}
		}
		slices.Sort(got)
		slices.Sort(test.want)
		if !slices.Equal(got, test.want) {
			s.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func (s suite) ports() {
	first, second := s.spec(), s.spec()
	first.Ports = []engine.Port{{Host: 38173, Container: 3000}}
	second.Ports = first.Ports
	s.run(first)
	id := s.create(second)
	err := s.e.Start(s.Context(), id)
	if !errors.Is(err, engine.ErrPortTaken) || !strings.Contains(err.Error(), "38173") || !strings.Contains(err.Error(), s.h.Name()) {
		s.Errorf("got %v, want ErrPortTaken with port and host", err)
	}
	s.get("127.0.0.1:38173")
}

func (s suite) devices() {
	spec := s.spec()
	spec.Options.Device = []string{"/dev/kstep-is-not-here"}
	id := s.create(spec)
	err := s.e.Start(s.Context(), id)
	if err == nil || errors.Is(err, engine.ErrNotFound) || errors.Is(err, engine.ErrConflict) || !strings.Contains(err.Error(), "/dev/kstep-is-not-here") {
		s.Errorf("got %v, want an error that names the device", err)
	}
	if c := s.inspect(id); c.Running() {
		s.Errorf("got %+v", c)
	}
}

func (s suite) dials() {
	c := s.inspect(s.run(s.spec()))
	address := c.Addresses[s.network]
	s.get(net.JoinHostPort(address, "3000"))
	must(s, s.e.Stop(s.Context(), c.ID, engine.Stop{Timeout: time.Second}))
	ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
	defer cancel()
	if conn, err := s.h.Dial(ctx, "tcp", net.JoinHostPort(address, "3000")); err == nil {
		conn.Close()
		s.Error("a stopped container was reached")
	}
}

// get retries until the container listens; any answer will do.
func (s suite) get(address string) {
	s.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, network, _ string) (net.Conn, error) { return s.h.Dial(ctx, network, address) },
	}}
	deadline := time.Now().Add(10 * time.Second)
	for {
		resp, err := client.Get("http://" + address + "/")
		if err == nil {
			resp.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("reach %s: %v", address, err)
		}
	}
}

// identity is read from the engine and the kernel, and is the same at each
// call.
func (s suite) identity() {
	first, err := host.Identify(s.Context(), s.h)
	must(s.T, err)
	again, err := host.Identify(s.Context(), s.h)
	must(s.T, err)
	if first.Engine == "" || first.Name == "" || first.Boot == "" {
		s.Errorf("got %+v, want an engine's ID, a name and a boot ID", first)
	}
	if first != again || !first.Same(again) {
		s.Errorf("got %+v, then %+v", first, again)
	}
}

// moves: the kernel reports where a mounted folder is now.
func (s suite) moves() {
	dir := suiteDir(s.T, s.h)
	must(s.T, s.h.Files().Mkdir(s.Context(), path.Join(dir, "old"), 0o755))
	spec := s.spec()
	spec.Mounts = []engine.Mount{{Source: path.Join(dir, "old"), Target: "/kstep-moved", ReadOnly: true}}
	c := s.inspect(s.run(spec))
	_, err := s.h.Run(s.Context(), []string{"mv", path.Join(dir, "old"), path.Join(dir, "new")}, nil)
	must(s.T, err)
	_, err = s.h.Run(s.Context(), []string{"ln", "-s", path.Join(dir, "new"), path.Join(dir, "old")}, nil)
	must(s.T, err)
	data, err := s.h.Files().Read(s.Context(), fmt.Sprintf("/proc/%d/mountinfo", c.Pid))
	must(s.T, err)
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == "/kstep-moved" {
			if !strings.HasSuffix(path.Join(dir, "new"), fields[3]) {
				s.Errorf("got %s, want the end of %s", fields[3], path.Join(dir, "new"))
			}
			return
		}
	}
	s.Errorf("the mount is not told in\n%s", data)
}
