package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/stages"
)

// configureProxyHands declares what of `kstep proxy …` is done by hand.
func configureProxyHands(p *program, cmd *kingpin.CmdClause, actions map[string]action) {
	for _, one := range []struct {
		name, help string
		act        func(context.Context, *stages.Session, *stages.Work) (proxy.Booted, error)
	}{
		{"start", "Start proxies that were stopped, as they were made.", func(ctx context.Context, _ *stages.Session, w *stages.Work) (proxy.Booted, error) {
			return proxy.Start(ctx, w.Host, w.Names)
		}},
		{"stop", "Stop the proxies. No service of these hosts is reached until they are started.", func(ctx context.Context, _ *stages.Session, w *stages.Work) (proxy.Booted, error) {
			return proxy.Stop(ctx, w.Host)
		}},
		{"restart", "Stop the proxies and start them again, as they were made. Requests that come meanwhile fail.", func(ctx context.Context, _ *stages.Session, w *stages.Work) (proxy.Booted, error) {
			return proxy.Restart(ctx, w.Host, w.Names)
		}},
	} {
		cmd.Command(one.name, one.help)
		actions["proxy "+one.name] = p.onProxies("proxy "+one.name, oneHost(one.act))
	}
	remove := cmd.Command("remove", "Remove the proxies. The routes stay, and the next proxy boot serves as before; until then no service of these hosts is reached.")
	yes := remove.Flag("yes", "Confirm the removal; without it nothing is removed.").Short('y').Bool()
	actions["proxy remove"] = p.onProxies("proxy remove", func(ctx context.Context, s *stages.Session, targets []plan.Target) error {
		if !*yes {
			return wantsYes("%s of %s, for all services there", plan.ProxyContainer, strings.Join(plan.HostNames(targets), ", "))
		}
		return oneHost(func(ctx context.Context, _ *stages.Session, w *stages.Work) (proxy.Booted, error) {
			return proxy.Remove(ctx, w.Host)
		})(ctx, s, targets)
	})

	cmd.Command("details", "Show the proxies: image, state, and whether their settings are today's.")
	actions["proxy details"] = p.answering(p.onProxies("proxy details", p.proxyDetails))
	logs := cmd.Command("logs", "Show what the proxies have written.")
	flags := &logFlags{}
	flags.declare(logs)
	actions["proxy logs"] = p.answering(p.onProxies("proxy logs", func(ctx context.Context, s *stages.Session, targets []plan.Target) error {
		var hosts []plan.Target
		for _, host := range plan.HostNames(targets) { // Of no role: it is all of them's.
			hosts = append(hosts, plan.Target{Host: host})
		}
		in := s.Input(hosts, hosts)
		return p.showLogs(ctx, s, in, flags, logSource{
			find: func(ctx context.Context, w *stages.Work) ([]engine.Container, error) {
				return single(proxy.There(ctx, w.Host))
			},
			later: func(*stages.Work) engine.Filter { return engine.Filter{Names: []string{plan.ProxyContainer}} },
		})
	}))
}

// proxyStatus is a line of `kstep proxy details`.
type proxyStatus struct {
	Host      string    `json:"host"`
	Container string    `json:"container,omitempty"`
	Image     string    `json:"image,omitempty"`
	State     string    `json:"state,omitempty"` // Empty where there is none.
	Since     time.Time `json:"since,omitzero"`
	// Differs is true if its settings are not today's.
	Differs bool `json:"differs,omitempty"`
	// Certificates are names whose certificate clients refuse, or soon will.
	Certificates []string `json:"certificates,omitempty"`
	Error        string   `json:"error,omitempty"`
}

func (p *program) proxyDetails(ctx context.Context, s *stages.Session, targets []plan.Target) error {
	all, err := observeProxies(ctx, s, targets)
	return errors.Join(err, p.printProxies(all))
}

func observeProxies(ctx context.Context, s *stages.Session, targets []plan.Target) ([]proxyStatus, error) {
	in := s.Input(targets, targets)
	records, found, err := stages.EachHost(ctx, in, targets, func(ctx context.Context, w *stages.Work) (proxyStatus, error) {
		c, err := w.Host.Engine().Inspect(ctx, plan.ProxyContainer)
		if errors.Is(err, engine.ErrNotFound) {
			return proxyStatus{}, nil
		}
		if err != nil {
			return proxyStatus{}, err
		}
		one := proxyStatus{Container: c.ID, Image: c.Image, State: c.State, Since: c.Started}
		one.Differs, err = proxy.Differs(ctx, w.Host, s.Config, w.Names, c)
		if err == nil && s.Config.Proxy.TLS.On && c.Running() && proxy.Lacks(s.Config, w.Host, c) == nil {
			one.Certificates = proxy.Doubtful(proxy.Certificates(ctx, w.Host, c, s.Config.Proxy.Names()))
		}
		return one, err
	})
	all := []proxyStatus{}
	for i, name := range plan.HostNames(targets) {
		one := found[name]
		one.Host = name
		if e := records[i].Error; e != nil {
			one.Error = e.Message
		}
		all = append(all, one)
	}
	return all, err
}

func (p *program) printProxies(all []proxyStatus) error {
	if p.global.output == "json" {
		return p.encode(map[string]any{"proxies": all})
	}
	t := p.table("HOST", "IMAGE", "STATE", "SINCE (UTC)", "SETTINGS")
	for _, one := range all {
		settings := "as configured"
		switch {
		case one.State == "":
			settings = ""
		case one.Differs:
			settings = "differ"
		}
		t.row(one.Host, one.Image, condition(one.State, "", one.Error), dated(one.Since), settings)
	}
	return t.end()
}
