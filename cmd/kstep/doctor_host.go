package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/sysinfo"
	"github.com/kstep/kstep/stages"
)

// What doctor takes for too little, or too much.
const (
	leastSpace   = 16 << 20 // Bytes. Below it kstep cannot be sure to write its own files.
	lowSpace     = 1 << 30  // Bytes. An image may well need it.
	leastInodes  = 200
	lowInodes    = 5 // Percent.
	lowMemory    = 200 << 20
	clockDiffers = 30 * time.Second
)

// examined is what doctor has found on a host.
type examined struct {
	w     *stages.Work
	name  string
	info  engine.Info
	ports stages.ProxyPorts
	has   sysinfo.Info
	all   []engine.Container

	unfit, taken, unknown, unlisted, noSudo error
}

// examine checks one host. All of its parts are read at the same time.
func examine(ctx context.Context, s *stages.Session, in stages.Input, name string) []checkState {
	if _, err := s.Hosts.Get(ctx, name); err != nil {
		return on(name, checked("ssh", "", err))
	}
	_, found, err := stages.EachHost(ctx, in, []plan.Target{{Host: name}}, func(ctx context.Context, w *stages.Work) (*examined, error) {
		p := &examined{w: w, name: name}
		p.read(ctx, s, in)
		return p, nil
	})
	if err != nil {
		return on(name, checked("ssh", "connected", nil), checked("host", "", err))
	}
	p := found[name]
	checks := append([]checkState{checked("ssh", "connected", nil)}, p.fit()...)
	if s.Config.SSH.Sudo {
		checks = append(checks, p.sudo())
	}
	checks = append(checks, p.port())
	checks = append(checks, p.disks()...)
	return on(name, append(checks, p.memory(), p.clock(), p.leftovers(s.Config.Service))...)
}

// fit is how the engine is, and whether it may run this service.
func (p *examined) fit() []checkState {
	if p.info.Version == "" {
		return []checkState{checked("engine", "", p.unfit)}
	}
	return []checkState{
		checked("engine", fmt.Sprintf("%s, API %s", p.info.Version, p.info.APIVersion), nil),
		checked("service", "may be deployed here", p.unfit),
	}
}

// on puts checks on a host.
func on(name string, checks ...checkState) []checkState {
	for i := range checks {
		checks[i].Host = name
	}
	return checks
}

func (p *examined) read(ctx context.Context, s *stages.Session, in stages.Input) {
	e := p.w.Host.Engine()
	var wg sync.WaitGroup
	wg.Go(func() { p.info, p.unfit = p.w.Fit(ctx, in, in.Config.Builder.Platforms) })
	wg.Go(func() { p.ports, p.taken = p.w.PortsFree(ctx, in) })
	wg.Go(func() { p.all, p.unlisted = e.Containers(ctx, engine.Filter{All: true}) })
	wg.Go(func() {
		folders := []string{p.w.Names.Run}
		if info, err := e.Info(ctx); err == nil && info.Root != "" {
			folders = append(folders, info.Root)
		}
		p.has, p.unknown = sysinfo.Read(ctx, p.w.Host, folders)
	})
	if s.Config.SSH.Sudo {
		wg.Go(func() { _, p.noSudo = p.w.Host.Run(ctx, []string{"sudo", "-n", "docker", "--version"}, nil) })
	}
	wg.Wait()
}

// sudo is a warning only: the check of the engine fails where the engine needs it.
func (p *examined) sudo() checkState {
	if p.noSudo == nil {
		return checked("sudo", "without a password, for docker", nil)
	}
	return warned("sudo", "not possible", fmt.Sprintf("ssh.sudo: %s", p.noSudo),
		fmt.Sprintf("add on %s with visudo: USER ALL=(root) NOPASSWD: /usr/bin/docker; or leave ssh.sudo out", p.name))
}

// port is the check of the ports that the proxy needs.
func (p *examined) port() checkState {
	var numbers []string
	for _, at := range p.ports.Wanted {
		numbers = append(numbers, fmt.Sprint(at.Host))
	}
	all := strings.Join(numbers, ", ")
	if taken, is := errors.AsType[*stages.PortTakenError](p.taken); is && taken.By == "" {
		return p.portTaken(taken.Port)
	}
	switch {
	case p.noEngine(p.taken):
		return warned("ports", "not known", "the ports are not known, because the engine does not answer")
	case p.taken != nil:
		return checked("ports", "", p.taken)
	case len(p.ports.Wanted) == 0:
		return checked("ports", "none needed, no proxied role", nil)
	case p.ports.Own:
		return checked("ports", fmt.Sprintf("%s: %s", all, plan.ProxyContainer), nil)
	}
	for _, at := range p.ports.Wanted {
		if p.listener(at) != nil {
			return p.portTaken(at.Host)
		}
	}
	if !p.has.ListenersKnown {
		return warned("ports", all+": nothing answers", "the programs that listen are not known: a port may be in use on another address than the one that was tried",
			fmt.Sprintf("run on %s: ss -ltn", p.name))
	}
	return checked("ports", all+": free", nil)
}

// noEngine reports whether an error is that of the engine's check, which reports it.
func (p *examined) noEngine(err error) bool {
	return exit.CodeOf(err) == exit.Unreachable && exit.CodeOf(p.unfit) == exit.Unreachable
}

// portTaken names the program that has a port, where it is known.
func (p *examined) portTaken(port int) checkState {
	program := ""
	if l := p.listener(engine.Port{Host: port}); l != nil {
		program = l.Program
	}
	err := stages.PortTaken(p.name, port, "", program)
	find := fmt.Sprintf("run on %s: sudo ss -ltnp 'sport = :%d' shows the program", p.name, port)
	if program != "" {
		find = fmt.Sprintf("stop %s on %s, and keep it from starting at boot", program, p.name)
	}
	return checked("ports", "", exit.Hint(err, find))
}

// listener is the socket that keeps the engine from opening a port, or nil.
func (p *examined) listener(at engine.Port) *sysinfo.Listener {
	i := slices.IndexFunc(p.has.Listeners, func(l sysinfo.Listener) bool {
		return l.Port == at.Host && (at.Address == "" || l.Address.IsUnspecified() || l.Address.String() == at.Address)
	})
	if i < 0 {
		return nil
	}
	return &p.has.Listeners[i]
}

// why adds the reason for which nothing is known of a host's resources.
func (p *examined) why(problem string) string {
	if p.unknown == nil {
		return problem
	}
	return fmt.Sprintf("%s: %s", problem, p.unknown)
}

func (p *examined) disks() []checkState {
	var all []checkState
	for _, d := range p.has.Disks {
		all = append(all, p.disk(d))
	}
	for _, folder := range p.has.Unknown {
		all = append(all, warned("disk", "not known", p.why("the free space of "+folder+" is not known"), fmt.Sprintf("run on %s: df -P %s", p.name, folder)))
	}
	return all
}

func (p *examined) disk(d sysinfo.Disk) checkState {
	found := fmt.Sprintf("%s: %s of %s free", d.Mount, size(d.Free), size(d.Size))
	percent := int64(100)
	if d.Inodes > 0 {
		percent = int64(float64(d.FreeInodes) / float64(d.Inodes) * 100)
		found += fmt.Sprintf(", %d%% of inodes", percent)
	}
	space := []string{"kstep prune removes containers and images past retention", fmt.Sprintf("run on %s: docker system df shows what takes the space", p.name)}
	files := []string{fmt.Sprintf("run on %s: df -i %s; many small files take the inodes, such as old layers and sessions", p.name, d.Mount)}
	switch {
	case d.Free < leastSpace:
		return full(found, fmt.Sprintf("%s on %s is full: %s of %s are free", d.Mount, p.name, size(d.Free), size(d.Size)), space)
	case d.Inodes > 0 && d.FreeInodes < leastInodes:
		return full(found, fmt.Sprintf("%s on %s has %d free inodes", d.Mount, p.name, d.FreeInodes), files)
	case d.Free < lowSpace:
		return warned("disk", found, fmt.Sprintf("%s has %s free: an image may need more", d.Mount, size(d.Free)), space...)
	case percent < lowInodes:
		return warned("disk", found, fmt.Sprintf("%s has %d%% of its inodes free", d.Mount, percent), files...)
	}
	return checked("disk", found, nil)
}

// full is the check of a file system on which a deploy cannot write.
func full(found, problem string, hints []string) checkState {
	one := checked("disk", "", exit.With(exit.Failed, errors.New(problem), hints...))
	one.Found = found
	return one
}

// size is a number of bytes for people.
func size(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

func (p *examined) memory() checkState {
	switch found := size(p.has.Memory) + " available"; {
	case p.has.Memory < 0:
		return warned("memory", "not known", p.why("the available memory is not known"), fmt.Sprintf("run on %s: free -m", p.name))
	case p.has.Memory < lowMemory:
		return warned("memory", found, found+": during a deploy the old and the new containers run side by side",
			fmt.Sprintf("run on %s: docker stats --no-stream shows what uses it", p.name))
	default:
		return checked("memory", found, nil)
	}
}

// clock compares the clocks: leases and certificates have times of both machines.
func (p *examined) clock() checkState {
	const hint = "timedatectl set-ntp true sets it by the network"
	if !p.has.ClockKnown {
		return warned("clock", "not known", p.why("the host's clock is not known"), fmt.Sprintf("run on %s: date", p.name))
	}
	differs, how := p.has.Ahead, "ahead of"
	if differs < 0 {
		differs, how = -differs, "behind"
	}
	if differs-p.has.Within <= clockDiffers {
		return checked("clock", "as here", nil)
	}
	found := fmt.Sprintf("%s %s this machine's", differs.Round(time.Second), how)
	return warned("clock", found, "the clock is "+found+": leases and certificates depend on it", fmt.Sprintf("run on %s, or here if this clock is wrong: %s", p.name, hint))
}

const composeProject = "com.docker.compose.project"

// leftovers are containers of other tools that are in the way of a deploy, or of what
// the user believes to be the only containers of the service.
func (p *examined) leftovers(service string) checkState {
	var kamal, compose, hints []string
	for _, c := range p.all {
		name := cmp.Or(c.Name, short.Of(c.ID))
		switch {
		case c.Name == plan.ProxyContainer || c.Labels[engine.LabelService] != "":
		case c.Name == "kamal-proxy" || c.Labels["service"] == service && service != "":
			kamal = append(kamal, name)
		case c.Labels[composeProject] != "" && p.inTheWay(c):
			compose = append(compose, name)
			if project := c.Labels[composeProject]; stages.IsPlain(project) {
				hints = append(hints, fmt.Sprintf("run on %s: docker compose -p %s stop", p.name, project))
			}
		}
	}
	switch {
	case p.noEngine(p.unlisted):
		return warned("leftovers", "not known", "the containers of other tools are not known, because the engine does not answer")
	case p.unlisted != nil:
		return warned("leftovers", "not known", fmt.Sprintf("the containers of other tools are not known: %s", p.unlisted))
	}
	var problems []string
	if len(kamal) > 0 {
		problems = append(problems, "containers of Kamal: "+some(kamal))
		hints = append(hints, "docs/coming-from-kamal.md says when to stop them; kamal proxy stop frees the ports")
	}
	if len(compose) > 0 {
		problems = append(problems, "containers of docker compose that publish the proxy's ports: "+some(compose))
	}
	if len(problems) == 0 {
		return checked("leftovers", "none", nil)
	}
	return warned("leftovers", some(append(kamal, compose...)), strings.Join(problems, "; "), hints...)
}

// inTheWay reports whether a container publishes a port that the proxy needs.
func (p *examined) inTheWay(c engine.Container) bool {
	return slices.ContainsFunc(p.ports.Wanted, func(at engine.Port) bool { return stages.Publisher([]engine.Container{c}, at) != "" })
}

// some are the first of many names.
func some(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
