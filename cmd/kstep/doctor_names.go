package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// lookupTime is how long DNS may take to answer.
const lookupTime = 5 * time.Second

// maxNames bounds how many host names doctor looks up.
const maxNames = 50

// checkedNames looks up the names of proxy.hosts. A name that leads elsewhere is a
// warning only: a load balancer or a CDN may be in front of the hosts.
func (p *program) checkedNames(ctx context.Context, s *stages.Session) []checkState {
	names := queried(s)
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	var proxied []string
	for _, t := range plan.Targets(s.Config) {
		if t.Proxied && !slices.Contains(proxied, t.Host) {
			proxied = append(proxied, t.Host)
		}
	}
	answers := make([][]netip.Addr, min(len(names), maxNames))
	errs := make([]error, len(answers))
	own := make([][]netip.Addr, len(proxied))
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i], errs[i] = p.addresses(ctx, names[i]) })
	}
	for i, name := range proxied {
		wg.Go(func() { own[i] = p.hostAddresses(ctx, s, name) })
	}
	wg.Wait()
	var all []checkState
	for i, found := range answers {
		all = append(all, checkedName(names[i], found, errs[i], slices.Concat(own...), proxied))
	}
	return all
}

func checkedName(name string, found []netip.Addr, err error, own []netip.Addr, hosts []string) checkState {
	hint := fmt.Sprintf("add a DNS record for %s that leads to %s, or to what is in front", name, strings.Join(hosts, ", "))
	if err != nil {
		return warned("dns", name+": no address known", fmt.Sprintf("look up %s: %s", name, err), hint)
	}
	var texts []string
	for _, a := range found {
		texts = append(texts, a.String())
	}
	at := fmt.Sprintf("%s: %s", name, strings.Join(texts, ", "))
	if slices.ContainsFunc(found, func(a netip.Addr) bool { return slices.Contains(own, a) }) {
		return checked("dns", at, nil)
	}
	problem := fmt.Sprintf("%s has the address %s, which is none that SSH uses for %s", name, strings.Join(texts, ", "), strings.Join(hosts, ", "))
	return warned("dns", at, problem, "if a load balancer or a CDN is in front of the hosts, this is right; otherwise "+hint)
}

// hostAddresses are the addresses by which SSH reaches a host; none that are not known here.
func (p *program) hostAddresses(ctx context.Context, s *stages.Session, name string) []netip.Addr {
	if name == host.Local {
		return ownAddresses()
	}
	at, err := s.Hosts.Address(ctx, name)
	if err != nil {
		return nil // The check of the host reports it.
	}
	found, err := p.addresses(ctx, at)
	if err != nil {
		return nil // Only a jump host may know the name.
	}
	return found
}

// addresses are those of a name, at most eight.
func (p *program) addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	lookup := p.lookup
	if lookup == nil {
		lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	found, err := lookup(ctx, name)
	found = slices.Clone(found[:min(len(found), 8)])
	for i := range found {
		found[i] = found[i].Unmap()
	}
	return found, err
}

// ownAddresses are those of this machine.
func ownAddresses() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var found []netip.Addr
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			found = append(found, prefix.Addr().Unmap())
		}
	}
	return found
}
