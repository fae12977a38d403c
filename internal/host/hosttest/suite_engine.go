package hosttest

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
)

// suite is one test's surroundings on the host's engine.
type suite struct {
	*testing.T
	h       host.Host
	e       *engine.Client
	image   string
	network string
}

func suiteEngine(t *testing.T, h host.Host, img string) {
	network := suiteName()
	if _, err := h.Engine().EnsureNetwork(t.Context(), network, map[string]string{"kstep.suite": "yes"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeNetwork(t, h, network) })
	tests := map[string]func(suite){
		"a container lives from created to gone":            suite.lifecycle,
		"names are taken once":                              suite.names,
		"a list selects by label, name, id and state":       suite.lists,
		"environment values arrive byte for byte":           suite.environment,
		"a container that ends tells status and last lines": suite.ends,
		"a program in a container tells status and output":  suite.exec,
		"health is followed by events":                      suite.health,
		"events since an instant miss nothing":              suite.events,
		"stop sends the signal and waits for the end":       suite.stops,
		"a taken port is named":                             suite.ports,
		"a missing mount is an error":                       suite.mounts,
		"an address of a container is reached":              suite.dials,
		"images have names that come and go":                suite.images,
		"files come out of an image that never ran":         suite.extracts,
		"a network is made once by many":                    suite.networks,
		"what is missing is ErrNotFound":                    suite.missing,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(suite{t, h, h.Engine(), img, network}) })
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

func (s suite) environment() {
	spec := s.spec()
	spec.Env = map[string]string{
		"PLAIN": "x", "EMPTY": "", "LINES": "a\nb\n", "QUOTES": `'"\$x` + "`", "WIDE": "grüße 日本", "EQUALS": "a=b=c", "SPACES": "  a  ",
	}
	id := s.run(spec)
	for name, want := range spec.Env {
		status, out, err := s.e.Exec(s.Context(), id, []string{"sh", "-c", `printf '%s.' "$` + name + `"`})
		must(s, err)
		if status != 0 || string(out) != want+"." {
			s.Errorf("%s: got %q (status %d), want %q", name, out, status, want+".")
		}
	}
}

func (s suite) ends() {
	spec := s.spec()
	spec.Cmd = []string{"sh", "-c", "echo one; echo two; echo three >&2; exit 3"}
	id := s.run(spec)
	var last engine.Container
	err := s.e.WaitFor(s.Context(), id, func(c engine.Container) (bool, error) {
		last = c
		return c.State == "exited", nil
	})
	must(s, err)
	if last.ExitCode != 3 {
		s.Errorf("got status %d, want 3", last.ExitCode)
	}
	lines, err := s.e.Logs(s.Context(), id, 10)
	must(s, err)
	slices.Sort(lines) // The order of two streams is not promised.
	if want := []string{"one", "three", "two"}; !slices.Equal(lines, want) {
		s.Errorf("got lines %q, want %q", lines, want)
	}
	if lines, err = s.e.Logs(s.Context(), id, 1); err != nil || len(lines) != 1 {
		s.Errorf("got %q, %v, want one line", lines, err)
	}
	list, err := s.e.Containers(s.Context(), engine.Filter{IDs: []string{id}, All: true})
	must(s, err)
	if len(list) != 1 || list[0].ExitCode != 3 {
		s.Errorf("got list %+v, want status 3 in it", list)
	}
}

func (s suite) exec() {
	id := s.run(s.spec())
	status, out, err := s.e.Exec(s.Context(), id, []string{"sh", "-c", "echo out; echo err >&2; exit 4"})
	must(s, err)
	if status != 4 || !strings.Contains(string(out), "out\n") || !strings.Contains(string(out), "err\n") {
		s.Errorf("got status %d and %q, want 4 and both lines", status, out)
	}
	must(s, s.e.Stop(s.Context(), id, engine.Stop{Timeout: time.Second}))
	if _, _, err := s.e.Exec(s.Context(), id, []string{"sh"}); !errors.Is(err, engine.ErrConflict) {
		s.Errorf("in a stopped container: got %v, want ErrConflict", err)
	}
}

// health uses a check that follows a file in a mounted folder, as the cord
// does.
func (s suite) health() {
	dir := suiteDir(s.T, s.h)
	spec := s.spec()
	spec.Mounts = []engine.Mount{{Source: dir, Target: "/tied", ReadOnly: true}}
	spec.Health = &engine.Health{
		Shell:    "if [ ! -e '/tied/cord' ]; then echo 'app fine, cord untied'; exit 1; fi",
		Interval: 500 * time.Millisecond, Timeout: 2 * time.Second, Retries: 1,
	}
	id := s.run(spec)
	wait := func(what string, done func(engine.Container) bool) {
		s.Helper()
		ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
		defer cancel()
		if err := s.e.WaitFor(ctx, id, func(c engine.Container) (bool, error) { return done(c), nil }); err != nil {
			s.Fatalf("wait for %s: %v", what, err)
		}
	}
	wait("untied", func(c engine.Container) bool {
		return c.Health == "unhealthy" && len(c.HealthLog) > 0 && c.HealthLog[len(c.HealthLog)-1] == "app fine, cord untied"
	})
	cord := path.Join(dir, "cord")
	must(s, s.h.Files().Write(s.Context(), cord, nil, 0o644))
	wait("tied", func(c engine.Container) bool { return c.Health == "healthy" })
	list, err := s.e.Containers(s.Context(), engine.Filter{IDs: []string{id}})
	must(s, err)
	if len(list) != 1 || list[0].Health != "healthy" {
		s.Errorf("got list %+v, want it healthy there too", list)
	}
	must(s, s.h.Files().Remove(s.Context(), cord))
	wait("cut", func(c engine.Container) bool { return c.Health == "unhealthy" })
}

func (s suite) events() {
	spec := s.spec()
	id := s.create(spec)
	since := s.inspect(id).Created
	must(s, s.e.Start(s.Context(), id))
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	stream, err := s.e.Events(ctx, engine.Filter{Labels: map[string]string{"kstep.suite": s.Name()}}, since)
	must(s, err)
	stopped := false
	for event, err := range stream {
		must(s, err)
		if event.Container != id || event.Name != spec.Name {
			s.Errorf("got %+v, want only those of %s", event, spec.Name)
		}
		if event.Action == "start" && !stopped {
			stopped = true
			must(s, s.e.Stop(ctx, id, engine.Stop{Timeout: time.Second}))
		}
		if event.Action == "die" {
			break
		}
	}
	if !stopped {
		s.Error("missed the start that was before the subscription")
	}
}

func (s suite) stops() {
	spec := s.spec()
	// `wait` is interruptible, and the trap ends the shell.
	spec.Cmd = []string{"sh", "-c", "trap 'exit 5' TERM; trap 'exit 6' INT; echo up; while :; do sleep 1 & wait; done"}
	spec.Stop = engine.Stop{Signal: "SIGINT", Timeout: 10 * time.Second}
	id := s.run(spec)
	s.waitForLine(id, "up")
	began := time.Now()
	must(s, s.e.Stop(s.Context(), id, spec.Stop))
	if c := s.inspect(id); c.State != "exited" || c.ExitCode != 6 || time.Since(began) > 8*time.Second {
		s.Errorf("after %v: got %s with status %d, want the trap's 6", time.Since(began), c.State, c.ExitCode)
	}
	must(s, s.e.Start(s.Context(), id))
	must(s, s.e.Kill(s.Context(), id, ""))
	must(s, s.e.WaitFor(s.Context(), id, func(c engine.Container) (bool, error) { return !c.Running(), nil }))
	if c := s.inspect(id); c.ExitCode != 137 {
		s.Errorf("killed: got status %d, want 137", c.ExitCode)
	}
	if err := s.e.Kill(s.Context(), id, ""); !errors.Is(err, engine.ErrConflict) {
		s.Errorf("killed again: got %v, want ErrConflict", err)
	}
}

// waitForLine waits until a shell has set its traps.
func (s suite) waitForLine(id, line string) {
	s.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		lines, err := s.e.Logs(s.Context(), id, 5)
		must(s, err)
		if slices.Contains(lines, line) {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("got lines %q, want %q", lines, line)
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

func (s suite) mounts() {
	spec := s.spec()
	spec.Mounts = []engine.Mount{{Source: path.Join(suiteDir(s.T, s.h), "missing"), Target: "/x"}}
	if id, err := s.e.Create(s.Context(), spec); err == nil {
		err = s.e.Remove(s.Context(), id)
		s.Errorf("created with a missing folder (removed: %v)", err)
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

// get asks until the container listens; any answer will do.
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

func (s suite) images() {
	have, err := s.e.Image(s.Context(), s.image)
	must(s, err)
	if have.ID == "" || len(have.DiffIDs) == 0 {
		s.Errorf("got %+v, want id and layers", have)
	}
	repository := "kstep.invalid/" + suiteName()
	for _, tag := range []string{":1", ":2"} {
		must(s, s.e.Tag(s.Context(), s.image, repository+tag))
	}
	list, err := s.e.Images(s.Context(), engine.Filter{Reference: repository})
	must(s, err)
	if len(list) != 1 || list[0].ID != have.ID || !slices.Contains(list[0].Tags, repository+":1") {
		s.Errorf("got %+v, want the image once with its new tags", list)
	}
	for _, tag := range []string{":1", ":2", ":2"} {
		must(s, s.e.RemoveImage(s.Context(), repository+tag))
	}
	if _, err := s.e.Image(s.Context(), repository+":1"); !errors.Is(err, engine.ErrNotFound) {
		s.Errorf("after the tag went: got %v, want ErrNotFound", err)
	}
	_, err = s.e.Image(s.Context(), s.image)
	must(s, err)
}

func (s suite) extracts() {
	id := s.create(s.spec())
	stream, err := s.e.CopyFrom(s.Context(), id, "/www")
	must(s, err)
	defer stream.Close()
	reader := tar.NewReader(stream)
	var names []string
	for {
		head, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(s, err)
		names = append(names, head.Name)
	}
	if !slices.Contains(names, "www/index.html") {
		s.Errorf("got %q, want www/index.html", names)
	}
	if _, err := s.e.CopyFrom(s.Context(), id, "/missing"); !errors.Is(err, engine.ErrNotFound) {
		s.Errorf("a missing folder: got %v, want ErrNotFound", err)
	}
	above := suiteDir(s.T, s.h)
	dir := path.Join(above, "own")
	must(s, s.h.Files().Mkdir(s.Context(), dir, 0o755))
	s.Cleanup(func() { s.clear(above) })
	x := engine.Extract{Image: s.image, Name: suiteName(), Folders: map[string]string{"/www": dir}}
	must(s, s.e.Extract(s.Context(), x))
	wantList(s.T, s.h.Files(), dir, "index.html")
	if _, err := s.e.Inspect(s.Context(), x.Name); !errors.Is(err, engine.ErrNotFound) {
		s.Errorf("the helper container: got %v, want it gone", err)
	}
	x.Folders = map[string]string{"/missing": dir}
	if err := s.e.Extract(s.Context(), x); !errors.Is(err, engine.ErrNotFound) {
		s.Errorf("extract a missing folder: got %v, want ErrNotFound", err)
	}
}

// clear empties a folder from within a container: what the engine put there
// belongs to root, and the SSH user may be somebody else.
func (s suite) clear(dir string) {
	ctx := context.WithoutCancel(s.Context())
	spec := s.spec()
	spec.Cmd = []string{"sh", "-c", "busybox rm -rf /above/own"}
	spec.Mounts = []engine.Mount{{Source: dir, Target: "/above"}}
	id, err := s.e.Create(ctx, spec)
	must(s, err)
	must(s, s.e.Start(ctx, id))
	must(s, s.e.WaitFor(ctx, id, func(c engine.Container) (bool, error) { return c.State == "exited", nil }))
	must(s, s.e.Remove(ctx, id))
}

func (s suite) networks() {
	name := suiteName()
	s.Cleanup(func() { removeNetwork(s.T, s.h, name) })
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := s.e.EnsureNetwork(s.Context(), name, nil); err != nil {
				s.Errorf("ensure: %v", err)
			}
		})
	}
	wg.Wait()
	have, err := s.e.Networks(s.Context(), name)
	must(s, err)
	if len(have) != 1 {
		s.Errorf("got %d networks of one name, want 1", len(have))
	}
	if created, err := s.e.EnsureNetwork(s.Context(), name, nil); err != nil || created {
		s.Errorf("again: got %v, %v, want it there", created, err)
	}
}

func (s suite) missing() {
	spec := s.spec()
	spec.Image = "kstep.invalid/missing:1"
	_, createErr := s.e.Create(s.Context(), spec)
	_, imageErr := s.e.Image(s.Context(), spec.Image)
	_, inspectErr := s.e.Inspect(s.Context(), spec.Name)
	for what, err := range map[string]error{
		"create from a missing image": createErr, "inspect a missing image": imageErr,
		"inspect a missing container": inspectErr, "start one": s.e.Start(s.Context(), spec.Name),
		"stop one": s.e.Stop(s.Context(), spec.Name, engine.Stop{}),
	} {
		if !errors.Is(err, engine.ErrNotFound) || !strings.Contains(err.Error(), s.h.Name()) {
			s.Errorf("%s: got %v, want ErrNotFound with the host", what, err)
		}
	}
}
