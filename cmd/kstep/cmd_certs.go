package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// configureCerts declares `kstep certs …`: the certificates that the proxies present.
func configureCerts(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("certs", "The certificates with which the hosts serve HTTPS.")
	cmd.Command("status", "Show the certificate of each host name on each host. Ends with 10 where clients would refuse one.")
	actions["certs status"] = p.answering(p.onSecure("certs status", p.certsStatus))
	cmd.Command("ensure", "Wait for certificates that are missing, and then redirect HTTP to HTTPS; needs no release. Ends with 10 where one does not come.")
	actions["certs ensure"] = p.onSecure("certs ensure", certsEnsure)
}

// onSecure makes an action of work on every host that serves HTTPS.
func (p *program) onSecure(command string, work func(context.Context, *stages.Session, []plan.Target) error) action {
	return p.onProxies(command, func(ctx context.Context, s *stages.Session, targets []plan.Target) error {
		if !s.Config.Proxy.TLS.On {
			return exit.With(exit.Usage, errors.New("the service has no HTTPS"), "proxy.tls: true in kstep.yml serves it (docs/https.md)")
		}
		return work(ctx, s, targets)
	})
}

// certificateStatus is a line of `kstep certs status`.
type certificateStatus struct {
	Host    string    `json:"host"`
	Name    string    `json:"name"`
	Issuer  string    `json:"issuer,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Problem string    `json:"problem,omitempty"`
	// Redirects reports whether plain HTTP is redirected to HTTPS.
	Redirects bool `json:"redirects"`
}

func (p *program) certsStatus(ctx context.Context, s *stages.Session, targets []plan.Target) error {
	in := s.Input(targets, targets)
	records, found, err := stages.Each(ctx, in, targets, func(ctx context.Context, w *stages.Work) ([]certificateStatus, error) {
		front, err := proxy.There(ctx, w.Host)
		if err != nil {
			return nil, err
		}
		if err := proxy.Lacks(s.Config, w.Host, front); err != nil {
			return nil, err
		}
		redirects, err := stages.Redirects(ctx, in, w)
		var all []certificateStatus
		for _, c := range proxy.Certificates(ctx, w.Host, front, s.Config.Proxy.Names()) {
			all = append(all, certificateStatus{w.Host.Name(), c.Name, c.Issuer, c.Ends, c.Problem, redirects})
		}
		return all, err
	})
	all := []certificateStatus{}
	var refused int
	for i, t := range targets {
		if e := records[i].Error; e != nil {
			all = append(all, certificateStatus{Host: t.Host, Problem: e.Message})
			continue
		}
		for _, c := range found[t.Key()] {
			if c.Problem != "" {
				refused++
			}
			all = append(all, c)
		}
	}
	if err == nil && refused > 0 {
		err = exit.With(exit.Failed, fmt.Errorf("clients refuse %s", counted(refused, "certificate")), "kstep certs ensure waits for missing ones and says what is in their way")
	}
	return errors.Join(err, p.printCertificates(all))
}

func (p *program) printCertificates(all []certificateStatus) error {
	if p.global.output == "json" {
		return p.encode(map[string]any{"certificates": all})
	}
	t := p.table("HOST", "NAME", "ISSUER", "EXPIRES", "HTTP", "PROBLEM")
	for _, c := range all {
		plain, expires := "redirects", ""
		if !c.Redirects {
			plain = "serves"
		}
		if !c.Expires.IsZero() {
			expires = fmt.Sprintf("%s (%d days)", c.Expires.UTC().Format(time.DateOnly), int(time.Until(c.Expires).Hours()/24))
		}
		t.row(c.Host, c.Name, c.Issuer, expires, plain, inRow(c.Problem))
	}
	return t.end()
}

func certsEnsure(ctx context.Context, s *stages.Session, targets []plan.Target) error {
	return stages.OutsideOn(ctx, s, "certs ensure", targets, func(ctx context.Context, in stages.Input) ([]state.Target, error) {
		records, _, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
			if _, err := w.Guarded(ctx); err != nil {
				return struct{}{}, err
			}
			front, err := proxy.There(ctx, w.Host)
			if err == nil {
				err = proxy.Lacks(in.Config, w.Host, front)
			}
			if err == nil {
				err = stages.EnsureCertificates(ctx, in, w, front)
			}
			return struct{}{}, err
		})
		return records, err
	})
}
