// Package assets is the stage that brings the image to every host and puts the
// assets of old and new version into both versions' folders, before the new
// one boots: a page of either may request its files from either (S7).
package assets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/asset"
	"github.com/kstep/kstep/internal/delivery"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Stage is `assets`.
type Stage struct{}

var _ stages.Planner = Stage{}

// Info implements stages.Stage.
func (Stage) Info() stages.Info {
	return stages.Info{
		Name:    "assets",
		Summary: "bring the image to the hosts and bridge old and new assets",
		Reads:   []string{"push"},
		Hosts:   true,
	}
}

// Run implements stages.Stage.
func (Stage) Run(ctx context.Context, in stages.Input) (stages.Result, error) {
	push, err := state.Outputs[state.PushOutputs](in.Upstream, "push")
	if err != nil {
		return stages.Result{}, err
	}
	bring := bringing{in: in, push: push}
	if push.Archive != "" {
		if !filepath.IsLocal(push.Archive) {
			return stages.Result{}, exit.With(exit.BadState, fmt.Errorf("push.json names an archive outside of the state folder: %.200q", push.Archive), "run kstep push again")
		}
		bring.delivery = delivery.New(filepath.Join(in.StateDir, push.Archive), push)
		defer bring.delivery.Close() // What is left of it is in the folder for temporary files.
	}
	hosts, _, err := stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, bring.image(ctx, w)
	})
	if err != nil {
		return stages.Result{Targets: hosts}, err
	}
	records, results, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (state.AssetsTarget, error) {
		return bridge(ctx, in, w, push)
	})
	return stages.Result{
		Targets: stages.Merge(hosts, records),
		Outputs: state.AssetsOutputs{Targets: results},
	}, err
}

// image makes the host have the image under its version tag. Secrets for the
// registry are read only if it must be pulled.
func (b bringing) image(ctx context.Context, w *stages.Work) error {
	in, push := b.in, b.push
	var have engine.Image
	var missing bool
	var lookErr error
	var looking sync.WaitGroup
	looking.Go(func() { have, missing, lookErr = look(ctx, w, push) })
	book, err := w.Guarded(ctx)
	looking.Wait()
	if err = cmp.Or(err, lookErr); err != nil {
		return err
	}
	tag := tagOf(in, push)
	if err == nil && !have.Tagged(tag) { // Else a run before this one has checked it.
		err = w.RunsOneOf(ctx, platforms(push))
	}
	if err == nil && missing {
		have, err = b.to(ctx, w)
	}
	if err != nil {
		return err
	}
	if err := same(have, push); err != nil {
		return err
	}
	if !have.Tagged(tag) {
		if err := w.Host.Engine().Tag(ctx, push.Reference(), tag); err != nil {
			return err
		}
		w.Made(tagging(tag))
	}
	release := ledger.Release{
		ID: in.Release, Version: in.Version, Image: push.Reference(), Tag: tag, By: in.By, At: time.Now().UTC(),
		GoesBack: push.GoesBack,
	}
	if !book.Note(release) {
		return nil
	}
	return w.Note(ctx, func(l *ledger.Ledger) bool { return l.Note(release) })
}

// look finds out whether the host has the image.
func look(ctx context.Context, w *stages.Work, push state.PushOutputs) (have engine.Image, missing bool, err error) {
	have, err = w.Host.Engine().Image(ctx, push.Reference())
	if errors.Is(err, engine.ErrNotFound) {
		return have, true, nil
	}
	return have, false, err
}

// same refuses an image that is not the one which push recorded. What a rollback goes back
// to was read from one host, whose engine may name it in another way.
func same(have engine.Image, push state.PushOutputs) error {
	switch {
	case !push.HasLayers(have.DiffIDs):
		return fmt.Errorf("the layers of %s are not those that push recorded", push.Reference())
	case !push.GoesBack && have.ConfigDigest != "" && !push.Has(have.ConfigDigest):
		return fmt.Errorf("%s has another configuration (%s) than push recorded", push.Reference(), short.Of(have.ConfigDigest))
	}
	return nil
}

func tagOf(in stages.Input, push state.PushOutputs) string { return push.Repository + ":" + in.Version }

func tagging(tag string) stages.Act { return stages.To(stages.Tag, "%s", tag) }

func pulling(in stages.Input, push state.PushOutputs) stages.Act {
	switch {
	case push.Direct:
		return stages.To(stages.Send, "%s", tagOf(in, push))
	case !push.Known():
		return stages.To(stages.Pull, "%s", tagOf(in, push))
	}
	return stages.To(stages.Pull, "%s", push.Reference())
}

// bringing is how hosts get the image that lack it.
type bringing struct {
	in       stages.Input
	push     state.PushOutputs
	delivery *delivery.Delivery // Where there is no registry.
}

func (b bringing) to(ctx context.Context, w *stages.Work) (engine.Image, error) {
	var err error
	switch {
	case !b.push.Direct:
		err = b.in.PullOn(w)(ctx, b.push.Reference())
	case b.delivery == nil:
		err = delivery.Missing(b.push, w.Target.Host)
	default:
		return b.send(ctx, w)
	}
	if err != nil {
		return engine.Image{}, err
	}
	w.Made(pulling(b.in, b.push))
	return w.Host.Engine().Image(ctx, b.push.Reference())
}

func (b bringing) send(ctx context.Context, w *stages.Work) (engine.Image, error) {
	began := time.Now()
	sent, err := b.delivery.To(ctx, w.Host, w.Names.Layers(), func(done, total int64, _ string) {
		b.in.Report.Emit(report.Event{Kind: report.Progress, Host: w.Target.Host, Message: "send image", Done: done, Total: total})
	})
	if err != nil {
		return engine.Image{}, err
	}
	if sent.Streamed != nil {
		b.in.Warn("%s: the image was sent as a stream: %s", w.Target.Host, sent.Streamed)
	}
	if sent.Forgotten != nil {
		b.in.Warn("%s: the next deploy sends more than it has to: %s", w.Target.Host, sent.Forgotten)
	}
	w.Made(pulling(b.in, b.push))
	w.Say("%s", sentence(sent, time.Since(began)))
	return w.Host.Engine().Image(ctx, b.push.Reference())
}

// sentence is what a delivery took: `sent 4.2 MB of 98.3 MB in 1.3s; the other layers were
// on the host`.
func sentence(sent delivery.Sent, took time.Duration) string {
	text, rest := fmt.Sprintf("sent %.1f MB", float64(sent.Bytes)/1e6), ""
	if sent.Bytes < sent.Size {
		text, rest = text+fmt.Sprintf(" of %.1f MB", float64(sent.Size)/1e6), "; the other layers were on the host"
	}
	return fmt.Sprintf("%s in %.1fs%s", text, took.Seconds(), rest)
}

// bridge fills the new version's asset folders and lends their files to the
// versions that run now.
func bridge(ctx context.Context, in stages.Input, w *stages.Work, push state.PushOutputs) (_ state.AssetsTarget, err error) {
	b, ok := stages.AssetFolders(in, w, push)
	if !ok {
		return state.AssetsTarget{}, nil
	}
	b.Containers, err = w.Host.Engine().Containers(ctx, engine.Filter{All: true})
	if err != nil {
		return state.AssetsTarget{}, err
	}
	todo, err := b.Look(ctx, servedBefore(in, w, b.Containers))
	if err != nil {
		return state.AssetsTarget{}, err
	}
	return state.AssetsTarget{Volumes: b.Volumes()}, b.Build(ctx, todo, func(s asset.Step) { w.Made(act(s)) })
}

// servedBefore leaves the service's running containers whose pages may request
// assets from the new ones, or the other way round: the role's own, and if it
// gets traffic those of roles that are no longer configured on the host.
func servedBefore(in stages.Input, w *stages.Work, all []engine.Container) []engine.Container {
	return slices.DeleteFunc(engine.With(all, stages.RoleLabels(in.Config, "")), func(c engine.Container) bool {
		role := c.Labels[engine.LabelRole]
		return !c.Up() || role != w.Target.Role.Name && (!w.Target.Proxied || !w.IsLeft(in, role))
	})
}

func act(s asset.Step) stages.Act { return stages.To(stages.Verb(s.Verb), "%s", s.What) }

// platforms are those that the image is for.
func platforms(push state.PushOutputs) []string {
	all := []string{push.Platform}
	for _, v := range push.Variants {
		all = append(all, v.Platform)
	}
	return all
}
