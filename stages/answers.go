package stages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/probe"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/internal/route"
	"github.com/kstep/kstep/internal/traffic"
)

// Sample is a request that belongs to a role.
type Sample struct {
	Host, Path string
	// Closed is true if maintenance answers it, and not the application.
	Closed bool
}

func (s Sample) String() string {
	if s.Host == "" {
		return s.Path + " on any host name"
	}
	return s.Host + s.Path
}

// Samples are requests for each name that the target's role claims, one at least:
// those that no other route of the host is more precise for.
func Samples(in Input, w *Work, claim route.Claim, table *traffic.Table) []Sample {
	health := in.Config.EffectiveHealthcheck(w.Target.Role).Path
	maintenance, open := table.Closed(claim.Owner)
	var all []Sample
	for _, p := range claim.Patterns() {
		if in.Config.Proxy.Redirects[p.Host] != "" { // The proxy answers these itself.
			continue
		}
		host := config.SampleName(p.Host)
		if wanted := in.Config.ProxyHost(w.Target.Role); p.Host == "" || p.Matches(wanted, p.Prefix) {
			host = wanted
		}
		one := Sample{Host: host, Path: p.Prefix}
		for _, path := range []string{health, p.Prefix, strings.TrimSuffix(p.Prefix, "/") + "/kstep-check"} {
			if p.Matches(host, path) && !table.Elsewhere(claim, host, path) {
				one.Path = path
				break
			}
		}
		one.Closed = maintenance != nil && (one.Path != health || one.Path != open)
		all = append(all, one)
	}
	return all
}

// Request is the health check's, through the proxy. The answer of maintenance is a success
// too.
func (s Sample) Request(in Input, w *Work, front engine.Container) probe.Request {
	health := in.Config.EffectiveHealthcheck(w.Target.Role)
	success := health.Status
	if s.Closed {
		if success == nil {
			success = probe.Successes()
		}
		success = append(slices.Clone(success), config.StatusRange{From: http.StatusServiceUnavailable, To: http.StatusServiceUnavailable})
	}
	return probe.Request{URL: proxy.URL(in.Config.Proxy, front, s.Host, s.Path), Host: s.Host, Headers: health.Headers, Success: success}
}

// askedOf bounds the requests for the names of one role.
const askedOf = 8

// NoTraffic requests names of the target's role through the proxy, and returns
// why its containers do not get a request. Empty means that they get them all.
func NoTraffic(ctx context.Context, in Input, w *Work) (reason string, err error) {
	front, runs, err := Proxy(ctx, w)
	if err != nil {
		return "", err
	}
	if !runs {
		return fmt.Sprintf("the proxy (%s) does not run", plan.ProxyContainer), nil
	}
	table, err := traffic.ReadTable(ctx, w.Host, w.Names.RouteDir())
	if err != nil {
		return "", err
	}
	claim, mark, routed := table.Own(traffic.ClaimOf(in.Config, w.Target.Role.Name).Owner)
	if !routed {
		return "it has no route", nil
	}
	samples := Samples(in, w, claim, table)
	samples = samples[:min(len(samples), askedOf)]
	client := proxy.Client(w.Host, in.Config.Proxy, front, in.Config.EffectiveHealthcheck(w.Target.Role).Timeout.D())
	defer client.CloseIdleConnections()
	reasons := make([]string, len(samples))
	var wg sync.WaitGroup
	for i, s := range samples {
		wg.Go(func() {
			answer, err := probe.Once(ctx, client, s.Request(in, w, front))
			status, isStatus := errors.AsType[*probe.StatusError](err)
			switch {
			case err != nil && !isStatus:
				reasons[i] = fmt.Sprintf("%s: %v", s, err)
			case answer.Header.Get(route.Header) != mark:
				reasons[i] = fmt.Sprintf("another route answers %s", s)
			case isStatus && status.Status >= 500:
				reasons[i] = fmt.Sprintf("%s %v", s, status)
			}
		})
	}
	wg.Wait()
	for _, one := range reasons {
		if one != "" {
			return one, nil
		}
	}
	return "", nil
}
