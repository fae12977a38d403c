// Package drain waits until the proxy has no connection to containers that get
// no new requests any more. It reads the sockets of the containers in the
// host's /proc, so it depends on nothing in the image, and it stops nothing.
package drain

import (
	"cmp"
	"context"
	_ "embed" // For the script.
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
)

// settle is the time between the proxy's confirmation and the first look. A
// request that the proxy took just before may still be about to connect.
const settle = 100 * time.Millisecond

// silence is how long nothing may leave a container before connections that the
// proxy keeps without requests count as idle. A request is lost only if no byte
// of it moves for that long and the application drops it on the stop signal.
const silence = 5 * time.Second

// Bounds are how long a drain waits.
type Bounds struct {
	// Limit is the longest wait; zero does not wait and looks at nothing.
	Limit time.Duration
	// Keeps reports that the proxy keeps connections to a container that have no
	// request, so that open ones say little. They count as idle once the
	// container has sent nothing for a while. Nil: it keeps none.
	Keeps func(engine.Container) bool
	// Silence is how long; zero is 5 s.
	Silence time.Duration
}

// Result is how a drain ended.
type Result struct {
	// Waited is the time that it took.
	Waited time.Duration
	// Open is the number of connections at the end, by container id, for
	// containers that had some.
	Open map[string]int
	// Unseen is why the connections could not be observed. Then the whole limit
	// was waited, and Open says nothing.
	Unseen error
}

// Total is the number of connections that were open at the end.
func (r Result) Total() (n int) {
	for _, open := range r.Open {
		n += open
	}
	return n
}

// Wait returns when none of the containers has a connection from the proxy, or
// none but idle ones, at the latest after the limit.
// The proxy must have confirmed that it sends them no new requests. proxy may
// be the zero Container: then connections from every other address count. The
// error is that of ctx, or of a host that cannot be reached.
func Wait(ctx context.Context, h host.Host, proxy engine.Container, containers []engine.Container, bounds Bounds) (Result, error) {
	if bounds.Limit <= 0 || len(containers) == 0 {
		return Result{}, nil
	}
	w := &waiting{
		host: h, peers: peers(proxy.IPs), began: time.Now(), limit: bounds.Limit,
		keeps: bounds.Keeps, silence: cmp.Or(bounds.Silence, silence),
	}
	if err := w.find(ctx, containers); err != nil {
		return Result{}, err
	}
	err := w.wait(ctx)
	if err == nil && w.unseen != nil {
		err = rest(ctx, w.left())
	}
	return Result{Waited: time.Since(w.began), Open: w.open, Unseen: w.unseen}, err
}

type waiting struct {
	host       host.Host
	peers      string // A pattern for the addresses of the proxy.
	began      time.Time
	limit      time.Duration
	containers []engine.Container
	keeps      func(engine.Container) bool
	silence    time.Duration
	open       map[string]int
	unseen     error
}

// keepsIdle reports that the proxy keeps connections to the container that have
// no request.
func (w *waiting) keepsIdle(c engine.Container) bool { return w.keeps != nil && w.keeps(c) }

func (w *waiting) left() time.Duration { return max(0, w.limit-time.Since(w.began)) }

// find keeps the containers that can have connections: those that run and have
// an address. A list does not contain the process ID, so they are inspected.
func (w *waiting) find(ctx context.Context, containers []engine.Container) error {
	now, err := inspect(ctx, w.host, containers)
	for _, c := range now {
		if c.Running() && c.Pid > 0 && len(c.IPs) > 0 {
			w.containers = append(w.containers, c)
		}
	}
	return err
}

// inspect inspects those whose process ID is not known, in parallel. One that
// is gone is left out.
func inspect(ctx context.Context, h host.Host, containers []engine.Container) ([]engine.Container, error) {
	found := make([]engine.Container, len(containers))
	errs := make([]error, len(containers))
	var wg sync.WaitGroup
	for i, c := range containers {
		if found[i] = c; c.Pid > 0 {
			continue
		}
		wg.Go(func() {
			found[i], errs[i] = h.Engine().Inspect(ctx, c.ID)
			if errors.Is(errs[i], engine.ErrNotFound) {
				found[i], errs[i] = engine.Container{}, nil
			}
		})
	}
	wg.Wait()
	return found, errors.Join(errs...)
}

// wait observes in the best way that the host allows.
func (w *waiting) wait(ctx context.Context) error {
	if len(w.containers) == 0 {
		return nil
	}
	words, err := w.command(ctx)
	if err != nil && ctx.Err() == nil {
		words, err = w.poll(ctx)
	}
	if err != nil {
		return err
	}
	return w.conclude(ctx, words)
}

// conclude takes the last look's words. A process that cannot be seen has ended,
// or the host hides it.
func (w *waiting) conclude(ctx context.Context, words []string) error {
	w.open = map[string]int{}
	var doubtful []engine.Container
	for i, c := range w.containers {
		switch n, err := strconv.Atoi(words[i]); {
		case words[i] == idle:
		case err != nil:
			c.Pid = 0 // To be inspected again.
			doubtful = append(doubtful, c)
		case n > 0:
			w.open[c.ID] = n
		}
	}
	now, err := inspect(ctx, w.host, doubtful)
	if err != nil {
		return err
	}
	for _, c := range now {
		if c.Running() && w.sameProcess(c) {
			w.unseen = fmt.Errorf("the sockets of %s cannot be read in /proc/%d/net", c.Name, c.Pid)
			w.open = nil
		}
	}
	return nil
}

func (w *waiting) sameProcess(c engine.Container) bool {
	for _, was := range w.containers {
		if was.ID == c.ID {
			return was.Pid == c.Pid
		}
	}
	return false
}

// What a look says of a container whose connections it does not count.
const (
	gone   = "gone"   // Its process has ended.
	idle   = "idle"   // Its connections carry nothing.
	hidden = "hidden" // Its sockets cannot be read.
)

//go:embed wait.sh
var script []byte

// grace is how much longer than the limit the command may take.
const grace = 10 * time.Second

// command runs one command on the host that waits there.
func (w *waiting) command(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, w.limit+grace)
	defer cancel()
	argv := []string{
		"sh", "-s", "/proc/uptime", fmt.Sprintf("%.2f", min(settle, w.limit).Seconds()),
		strconv.FormatInt(w.left().Milliseconds()/10, 10), w.peers,
		strconv.FormatInt(w.silence.Milliseconds()/10, 10),
	}
	for _, c := range w.containers {
		file, pattern := ownAddress(c.IPs[0])
		mark := ""
		if w.keepsIdle(c) {
			mark = "~"
		}
		argv = append(argv, mark+proc(c)+"="+file+"="+pattern)
	}
	out, err := w.host.Run(ctx, argv, script)
	if err != nil {
		return nil, err
	}
	return parse(string(out), len(w.containers))
}

func proc(c engine.Container) string { return "/proc/" + strconv.Itoa(c.Pid) }

// parse reads the last line: start files of the login shell may have printed
// something before it.
func parse(out string, containers int) ([]string, error) {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	words := strings.Fields(lines[len(lines)-1])
	if len(words) == 0 || words[0] != "open" || len(words) > containers+1 {
		return nil, errors.New("the command printed something else")
	}
	words = words[1:]
	for len(words) < containers { // It ends early when it can see nothing.
		words = append(words, hidden)
	}
	return words, nil
}

// rest waits, and ends early with ctx.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// Busy are the names of the containers that had connections at the end.
func (r Result) Busy(containers []engine.Container) (names []string) {
	open := maps.Clone(r.Open)
	for _, c := range containers {
		if open[c.ID] > 0 {
			names = append(names, c.Name)
		}
	}
	return names
}
