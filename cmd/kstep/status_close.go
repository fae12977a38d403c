package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// lookClosely finds what the engines' lists do not show: whether the containers
// that have traffic get it, and how often their engine has restarted each.
func lookClosely(ctx context.Context, in stages.Input, found []targetStatus) error {
	var asked []plan.Target
	at := map[string]*targetStatus{}
	for i, t := range in.Targets {
		if len(found[i].Containers) > 0 {
			asked = append(asked, t)
			at[t.Key()] = &found[i]
		}
	}
	_, _, err := stages.Each(ctx, in, asked, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		one := at[w.Target.Key()]
		errs := make([]error, len(one.Containers)+2)
		var all sync.WaitGroup
		if w.Target.Proxied {
			all.Go(func() { one.Maintenance, errs[len(errs)-2] = stages.Maintenance(ctx, in, w) })
		}
		for i := range one.Containers {
			all.Go(func() {
				c, err := w.Host.Engine().Inspect(ctx, one.Containers[i].ID)
				one.Containers[i].Restarts, errs[i] = c.Restarts, err
			})
		}
		if one.Routed != nil && *one.Routed {
			reason, err := stages.NoTraffic(ctx, in, w)
			if errs[len(errs)-1] = err; reason != "" {
				one.Routed, one.NoTraffic = new(false), reason
			}
		}
		all.Wait()
		return struct{}{}, errors.Join(errs...)
	})
	return err
}

// unservedStatus is the newest release, where it has put nothing into service.
type unservedStatus struct {
	Version string    `json:"version"`
	Release string    `json:"release"`
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"`
	// UnderWay is true if it holds the lease.
	UnderWay bool `json:"underWay,omitempty"`
	// Stage is the last of its stages that ended, Status how, and Reason why it
	// failed, by the copies of its state files on the hosts.
	Stage  string `json:"stage,omitempty"`
	Status string `json:"status,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// look finds out how far the release came.
func (u *unservedStatus) look(ctx context.Context, s *stages.Session, lease leaseStatus) error {
	u.UnderWay = lease.Held && lease.Release == u.Release
	from, err := s.Mirror(ctx)
	if err != nil {
		return err
	}
	last, err := from.Last(ctx, u.Release)
	if last != nil {
		u.Stage, u.Status, u.Reason = last.Stage, string(last.Status), last.Reason
	}
	return err
}

// unserved finds the newest release in the ledgers, unless it has served.
func unserved(found map[string]stages.Sight) *unservedStatus {
	var newest unservedStatus
	served := false
	for _, seen := range found {
		for _, r := range seen.Book.Releases {
			switch {
			case r.ID > newest.Release:
				newest = unservedStatus{Version: r.Version, Release: r.ID, At: r.At, By: r.By}
				served = len(r.Live) > 0
			case r.ID == newest.Release:
				served = served || len(r.Live) > 0
			}
		}
	}
	if served || newest.Release == "" {
		return nil
	}
	return &newest
}

func (u *unservedStatus) String() string {
	by := ""
	if u.By != "" {
		by = " by " + u.By
	}
	return fmt.Sprintf("version %s (%s UTC%s) has not served: %s", short.Of(u.Version), dated(u.At), by, u.why())
}

func (u *unservedStatus) why() string {
	status := state.Status(u.Status)
	switch done := status.Done(); {
	case u.UnderWay:
		return "it is under way"
	case u.Stage == "":
		return "it failed, was aborted, or waits for its next stage"
	case u.Stage == "abort" && done:
		return "it was aborted"
	case done:
		return u.Stage + " is done, and no stage has come after it"
	case status == state.Interrupted:
		return u.Stage + " was interrupted"
	case status == state.Partial:
		return u.Stage + " failed in part: " + short.In(u.Reason)
	}
	return u.Stage + " failed: " + short.In(u.Reason)
}

// printProxiesBriefly has a line for all proxies that are alike.
func (p *program) printProxiesBriefly(all []proxyStatus) {
	hosts := map[string][]string{}
	var order []string
	for _, one := range all {
		text := one.text()
		if !slices.Contains(order, text) {
			order = append(order, text)
		}
		hosts[text] = append(hosts[text], one.Host)
	}
	for _, text := range order {
		p.result("proxy on %s: %s", strings.Join(hosts[text], ", "), text)
	}
}

func (s proxyStatus) text() string {
	switch {
	case s.Error != "":
		return "unknown"
	case s.State == "":
		return "there is none; the next deploy makes it, or kstep proxy boot"
	case s.Differs:
		return s.State + ", with other settings than the configuration has: kstep proxy reboot"
	case len(s.Certificates) > 0:
		return s.State + "; HTTPS: " + strings.Join(s.Certificates, "; ") + " (kstep certs status)"
	}
	return s.State
}
