package stages

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
)

// rebuild makes the state files that a stage needs when neither the folder nor
// the mirror has any. The ledgers show the newest release and its image. What a
// stage left is known if it would find nothing to do on the hosts. rebuild
// stops at the first one that would change anything: that one has to run.
func (r *run) rebuild(ctx context.Context) error {
	in := Input{
		Config: r.Config, All: plan.Targets(r.Config), Targets: plan.Targets(r.Config), Hosts: r.Hosts,
		Secrets: r.Secrets, Report: r.Report, By: r.By, StateDir: r.Dir.Path(),
	}
	entry, host, err := latest(ctx, in)
	if err != nil || entry.ID == "" {
		return err
	}
	in.Release, in.Version = entry.ID, entry.Version
	push, err := pushed(ctx, in, host, entry.Image)
	if err != nil {
		return err
	}
	push.GoesBack = entry.GoesBack
	files, reads := []*state.File{r.found(in, LastHostless, push)}, [][]string{nil}
	ahead, _, err := look(ctx, in)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(r.Pipeline, func(s Stage) bool { return s.Info().Name == r.info.Name })
	for _, stage := range r.Pipeline[:max(at, 0)] {
		planner, ok := stage.(Planner)
		if !ok || !stage.Info().Hosts {
			continue
		}
		in.Upstream = state.NewSet(files...)
		forecast, err := planner.Plan(ctx, in, ahead)
		if err != nil || slices.ContainsFunc(forecast.Pending, func(p Pending) bool { return len(p.Acts) > 0 }) {
			break
		}
		files, reads = append(files, r.found(in, stage.Info().Name, forecast.Outputs)), append(reads, stage.Info().Reads)
	}
	for i, f := range files {
		if err := r.write(f, reads[i]); err != nil {
			return err
		}
	}
	r.Report.Emit(report.Event{
		Time: time.Now().UTC(), Kind: report.Notice, Stage: r.info.Name,
		Message: fmt.Sprintf("made the state of release %s (version %s) again from what is on the hosts", in.Release, short.Of(in.Version)),
	})
	return nil
}

// latest is the newest release in the ledgers, and a host that knows it.
func latest(ctx context.Context, in Input) (ledger.Release, string, error) {
	_, books, err := EachHost(ctx, in, in.Targets, func(ctx context.Context, w *Work) (ledger.Ledger, error) {
		return ledger.Read(ctx, w.Host.Files(), w.Names.Ledger())
	})
	var newest ledger.Release
	var at string
	for _, host := range plan.HostNames(in.Targets) {
		for _, r := range books[host].Releases {
			if r.ID > newest.ID {
				newest, at = r, host
			}
		}
	}
	return newest, at, err
}

// found is the file of a stage that had nothing to do.
func (r *run) found(in Input, stage string, outputs any) *state.File {
	now := time.Now().UTC()
	f := &state.File{
		Release: in.Release, Service: r.Config.Service, Destination: r.Config.Destination, Version: in.Version,
		Stage: stage, Status: state.Unchanged, Tool: r.Tool, Actor: r.Actor, Config: r.Config.Digest(),
		Started: r.started, Finished: now,
	}
	f.Outputs, _ = json.Marshal(outputs) // A type of package state: cannot fail.
	if stage == LastHostless {
		return f
	}
	for _, t := range in.Targets {
		f.Targets = append(f.Targets, state.Target{
			Host: t.Host, Role: t.Role.Name, Status: state.Unchanged, Started: r.started, Finished: now,
		})
	}
	return f
}

// write puts a found file into the folder, with the chain to those that its stage
// reads.
func (r *run) write(f *state.File, reads []string) error {
	upstream, err := r.Dir.ReadSet(reads, state.Expect{Service: f.Service, Destination: f.Destination, Release: f.Release})
	if err != nil {
		return err
	}
	f.Inputs = upstream.Inputs()
	_, err = r.Dir.Write(f)
	return err
}
