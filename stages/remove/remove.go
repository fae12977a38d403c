// Package remove takes a service off its hosts: what all the other stages made
// for this service and destination, and nothing else. It is no stage of a
// release, and runs in the lease.
//
// What stays: accessories and their data, the proxy, the lease with its tokens
// (so that a job of an old release, wherever it was frozen, changes nothing), and
// the audit log.
package remove

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	hosts "github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/network"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/internal/traffic"
	"github.com/kstep/kstep/stages"
)

// Run removes the service from the hosts of the targets. Run again, it goes on
// with what is left.
func Run(ctx context.Context, in stages.Input) ([]state.Target, error) {
	records, _, err := stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, host(ctx, in, w)
	})
	return records, err
}

func host(ctx context.Context, in stages.Input, w *stages.Work) error {
	book, err := w.Guarded(ctx)
	if err != nil {
		return err
	}
	all, err := w.Host.Engine().Containers(ctx, engine.Filter{All: true})
	if err != nil {
		return err
	}
	own := engine.With(all, stages.RoleLabels(in.Config, ""))
	front, runs, err := stages.Proxy(ctx, w)
	if err != nil {
		return err
	}
	if err := routes(ctx, in, w, own, stages.Word(w, front, runs)); err != nil {
		return err
	}
	if _, err := stages.Drain(ctx, in, w, front, served(in, own, runs)); err != nil {
		return err
	}
	if err := containers(ctx, w, own); err != nil {
		return err
	}
	released, err := network.Release(ctx, w.Host, w.Names)
	if err != nil {
		return err
	}
	if released {
		w.Made(removing("network " + w.Names.Network()))
	}
	ids := engine.IDs(own)
	rest := slices.DeleteFunc(all, func(c engine.Container) bool { return slices.Contains(ids, c.ID) })
	if _, err := w.RemoveImages(ctx, names(in, book, rest)); err != nil {
		return err
	}
	return files(ctx, w) // With the ledger, which named the images.
}

// routes take the traffic away first, from roles that the configuration does not
// know any more, too.
func routes(ctx context.Context, in stages.Input, w *stages.Work, own []engine.Container, word traffic.Word) error {
	limit := in.Config.Cutover.Timeout.D()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, exit.Errorf(exit.Deadline, "the proxy did not confirm within %s", limit))
	defer cancel()
	var roles []string
	for _, t := range in.All {
		roles = append(roles, t.Role.Name)
	}
	for _, c := range own {
		roles = append(roles, c.Labels[engine.LabelRole])
	}
	slices.Sort(roles)
	for _, role := range slices.Compact(roles) {
		if role == "" { // A task, or what copied assets.
			continue
		}
		at := w.Names.RouteFile(role)
		if _, err := w.Host.Files().Stat(ctx, at); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := stages.Unroute(ctx, w, role, word); err != nil {
			return err
		}
		w.Made(removing(strings.TrimPrefix(at, w.Names.Run+"/")))
	}
	return certificates(ctx, w)
}

// certificates removes those that the service gave the proxy. Those that an authority
// issued are Traefik's, in one file for all services.
func certificates(ctx context.Context, w *stages.Work) error {
	at := w.Names.CertificateFile()
	if _, err := w.Host.Files().Stat(ctx, at); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := w.Host.Files().Remove(ctx, hosts.Inside(w.Names.ProxyDir(), at)); err != nil {
		return err
	}
	w.Made(removing("certificates of the proxy"))
	return nil
}

// served are the containers that may have requests in flight. Of a role that the
// configuration does not know any more it is not known whether it had traffic.
func served(in stages.Input, own []engine.Container, runs bool) []engine.Container {
	proxied := map[string]bool{}
	for _, t := range in.All {
		proxied[t.Role.Name] = t.Proxied
	}
	return slices.DeleteFunc(slices.Clone(own), func(c engine.Container) bool {
		had, known := proxied[c.Labels[engine.LabelRole]]
		return !c.Up() || c.Labels[engine.LabelRole] == "" || known && !had || !known && !runs
	})
}

// containers end as their roles say, all at once, before any is removed.
func containers(ctx context.Context, w *stages.Work, own []engine.Container) error {
	up := slices.DeleteFunc(slices.Clone(own), func(c engine.Container) bool { return !c.Up() })
	if err := stages.StopToRemove(ctx, w, up); err != nil {
		return err
	}
	for _, c := range own {
		if err := w.Host.Engine().Remove(ctx, c.ID); err != nil {
			return err
		}
		w.Made(removing("container " + c.Name))
	}
	return nil
}

// names are those that this service's releases gave to images, but for what
// other containers need.
func names(in stages.Input, book ledger.Ledger, rest []engine.Container) []string {
	var all []string
	for _, r := range book.Releases {
		repository, _ := strings.CutSuffix(r.Tag, ":"+r.Version)
		for _, ref := range []string{r.Tag, repository + ":" + stages.LatestTag(in.Config), r.Image} {
			used := slices.ContainsFunc(rest, func(c engine.Container) bool { return stages.Uses(c, r, ref) })
			if ref != "" && !used && !slices.Contains(all, ref) {
				all = append(all, ref)
			}
		}
	}
	return all
}

// files are the service's folder, but for what stays. The lease's folder keeps
// the tokens that jobs of old releases are refused by.
func files(ctx context.Context, w *stages.Work) error {
	stay := []string{w.Names.Lease(), w.Names.Audit()}
	env, err := w.Host.Files().List(ctx, w.Names.EnvDir())
	if err != nil {
		return err
	}
	for _, e := range env {
		if strings.HasPrefix(e.Name, "@") { // The proxy's, or an accessory's.
			stay = append(stay, w.Names.EnvDir())
			continue
		}
		if err := file(ctx, w, path.Join(w.Names.EnvDir(), e.Name)); err != nil {
			return err
		}
	}
	entries, err := w.Host.Files().List(ctx, w.Names.Folder())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if at := path.Join(w.Names.Folder(), e.Name); !slices.Contains(stay, at) {
			if err := file(ctx, w, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// file removes a file or folder that is there.
func file(ctx context.Context, w *stages.Work, at string) error {
	if err := w.Host.Files().RemoveTree(ctx, hosts.Inside(w.Names.Folder(), at)); err != nil {
		return err
	}
	w.Made(removing(strings.TrimPrefix(at, w.Names.Run+"/")))
	return nil
}

func removing(what string) stages.Act { return stages.To(stages.Remove, "%s", what) }
