package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// configureReleases declares `kstep releases`: what the hosts retained.
func configureReleases(p *program, app *kingpin.Application, actions map[string]action) {
	app.Command("releases", "List the versions that served, and where a rollback to them is ready.")
	actions["releases"] = p.look("releases", p.releases)
}

// releasesReport is `kstep releases --output json`.
type releasesReport struct {
	Service     string          `json:"service"`
	Destination string          `json:"destination,omitempty"`
	Releases    []releaseStatus `json:"releases"`
}

type releaseStatus struct {
	Version string    `json:"version"`
	Release string    `json:"release"`
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"`
	// Live are the targets it serves on, Ready those that could start it again
	// as it was, Missing the others, each with the reason.
	Live    []string          `json:"live"`
	Ready   []string          `json:"ready"`
	Missing map[string]string `json:"missing,omitempty"`
}

func (p *program) releases(ctx context.Context, s *stages.Session) error {
	_, past, err := history(ctx, s)
	if err != nil {
		return err
	}
	if p.global.output == "json" {
		sum := releasesReport{Service: s.Config.Service, Destination: s.Config.Destination, Releases: []releaseStatus{}}
		for _, one := range past {
			sum.Releases = append(sum.Releases, releaseStatus{
				Version: one.Version, Release: one.Release, At: one.At, By: one.By,
				Live: slices.Concat([]string{}, one.Live), Ready: slices.Concat([]string{}, one.Ready), Missing: one.Missing,
			})
		}
		return p.encode(sum)
	}
	t := p.table("VERSION", "SERVED (UTC)", "BY", "LIVE", "ROLLBACK")
	for _, one := range past {
		t.row(one.Version, dated(one.At), one.By, share(one.Live, len(one.Targets)), readiness(one, len(one.Targets)))
	}
	return t.end()
}

// share is how many of all targets there are: `2 of 3`.
func share(targets []string, all int) string {
	if len(targets) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", len(targets), all)
}

func readiness(p stages.Past, all int) string {
	switch {
	case len(p.Live) == all:
		return "-"
	case p.Everywhere():
		return "ready"
	case len(p.Ready) == 0:
		return "no: " + p.Why()
	}
	return fmt.Sprintf("%s: %s", share(p.Ready, all), p.Why())
}

// wayBack tells after a deploy whether a rollback is ready, by what prune left.
func wayBack(s *stages.Session) string {
	at := slices.IndexFunc(s.Done, func(f *state.File) bool { return f.Stage == stages.LastStage })
	var pruned state.PruneOutputs
	if at < 0 || json.Unmarshal(s.Done[at].Outputs, &pruned) != nil {
		return "no rollback is ready"
	}
	ready := map[string]int{}
	for _, host := range pruned.Hosts {
		if host.Previous != "" {
			ready[host.Previous]++
		}
	}
	var parts []string
	for version, hosts := range ready {
		parts = append(parts, fmt.Sprintf("a rollback to %s is ready on %d of %d hosts", version, hosts, len(pruned.Hosts)))
	}
	if len(parts) == 0 {
		return "there is no earlier version to roll back to"
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
