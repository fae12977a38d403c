package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/stages"
)

// configureReleases declares `kstep releases`: what the hosts retained.
func configureReleases(p *program, app *kingpin.Application, actions map[string]action) {
	app.Command("releases", "List the versions that served, and where a rollback to them is ready.")
	actions["releases"] = p.look("releases", p.releases)
}

// releasesReport is `kstep releases --output json`.
type releasesReport struct {
	Service     string `json:"service"`
	Destination string `json:"destination,omitempty"`
	// Rollback is the version that a rollback without a version goes to; absent
	// if none is ready everywhere.
	Rollback string          `json:"rollback,omitempty"`
	Releases []releaseStatus `json:"releases"`
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
	// Rotated are the secrets of which retained containers have other values than
	// the hosts have now.
	Rotated []string `json:"rotated,omitempty"`
	// RolledBack is true if a rollback left the version or went past it: only a
	// rollback that names it goes there.
	RolledBack bool `json:"rolledBack,omitempty"`
}

func (p *program) releases(ctx context.Context, s *stages.Session) error {
	_, view, err := history(ctx, s)
	if err != nil {
		return err
	}
	past := view.Past()
	to, _, _ := stages.Previous(past)
	if p.global.output == "json" {
		sum := releasesReport{Rollback: to.Version, Service: s.Config.Service, Destination: s.Config.Destination, Releases: []releaseStatus{}}
		for _, one := range past {
			sum.Releases = append(sum.Releases, releaseStatus{
				Version: one.Version, Release: one.Release, At: one.At, By: one.By,
				Live: slices.Concat([]string{}, one.Live), Ready: slices.Concat([]string{}, one.Ready), Missing: one.Missing,
				Rotated: one.Rotated, RolledBack: one.RolledBack,
			})
		}
		return p.encode(sum)
	}
	t := p.table("VERSION", "SERVED (UTC)", "BY", "LIVE", "ROLLBACK")
	for _, one := range past {
		t.row(one.Version, dated(one.At), one.By, share(one.Live, len(one.Targets)), readiness(one, to.Version))
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

// readiness says whether a rollback to the version is ready; next is the version
// that a rollback without a version goes to.
func readiness(p stages.Past, next string) string {
	all := len(p.Targets)
	text := fmt.Sprintf("%s: %s", share(p.Ready, all), p.Why())
	switch {
	case len(p.Live) == all:
		return "-"
	case p.Everywhere() && p.Stale() != "":
		text = "ready, but " + p.Stale()
	case p.Everywhere():
		text = "ready"
	case len(p.Ready) == 0:
		text = "no: " + p.Why()
	}
	switch {
	case p.Version == next:
		text += "; kstep rollback goes here"
	case p.RolledBack:
		text += "; was rolled back"
	}
	return text
}

// wayBack says after a deploy what a rollback would do.
func wayBack(ctx context.Context, s *stages.Session) string {
	_, view, err := history(ctx, s)
	if err != nil {
		return "kstep releases shows whether a rollback is ready: the hosts could not be observed now"
	}
	to, passed, ok := stages.Previous(view.Past())
	var parts []string
	if ok {
		parts = append(parts, fmt.Sprintf("a rollback to %s is ready on %s", short.Of(to.Version), targetsReady(to)))
		if to.Stale() != "" {
			parts[0] += ", but " + to.Stale()
		}
	}
	if len(passed) > 0 {
		parts = append(parts, fmt.Sprintf("%s, which served later, is ready on %s (%s)", short.Of(passed[0].Version), targetsReady(passed[0]), passed[0].Why()))
		if !ok {
			parts[0] = fmt.Sprintf("no rollback is ready: %s is ready on %s (%s)", short.Of(passed[0].Version), targetsReady(passed[0]), passed[0].Why())
		}
	}
	if len(parts) == 0 {
		return "there is no earlier version to roll back to"
	}
	return strings.Join(parts, "; ")
}

// targetsReady counts roles on hosts.
func targetsReady(p stages.Past) string {
	return fmt.Sprintf("%d of %s", len(p.Ready), counted(len(p.Targets), "target"))
}
