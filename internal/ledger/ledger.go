// Package ledger is a host's memory of releases of one service and
// destination: which came by, with what image, and which one is live. Prune
// and rollback read it, and a stage of an older release stops when it finds a
// newer one in it.
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/state"
)

// Ledger is the file, newest release last.
type Ledger struct {
	// Service and Destination own the folder that the ledger is in.
	Service     string `json:"service,omitempty"`
	Destination string `json:"destination,omitempty"`
	// Hosts are all hosts that have or had the service, until it is removed from
	// them. Older versions of kstep did not list them.
	Hosts []string `json:"hosts,omitempty"`
	// Generation rises with every change.
	Generation int       `json:"generation"`
	Releases   []Release `json:"releases"`
	// Restart is the restart policy, by container id, of containers that were
	// stopped and kept and have no label with it: versions of kstep before the
	// label created them.
	Restart map[string]string `json:"restart,omitempty"`
}

// Release is one release's trace on a host.
type Release struct {
	ID      string `json:"release"`
	Version string `json:"version"`
	// Image is the reference by digest, Tag the one by version.
	Image string    `json:"image"`
	Tag   string    `json:"tag"`
	By    string    `json:"by,omitempty"`
	At    time.Time `json:"at"`
	// GoesBack is true for a rollback. Older versions of kstep did not record it:
	// their rollbacks count as deploys.
	GoesBack bool `json:"goesBack,omitempty"`
	// Left are the versions that a rollback left or went past. They are recorded,
	// because older releases may be forgotten.
	Left []string `json:"left,omitempty"`
	// Live are the containers that this release put into service, by role and
	// in the order of their numbers.
	Live map[string][]string `json:"live,omitempty"`
	// Roles are the roles that the release has on this host, by name. Releases
	// of older versions of kstep do not list them.
	Roles map[string]Role `json:"roles,omitempty"`
	// Replaced are the roles that were in service here and are not in the
	// release's configuration any more, by name.
	Replaced map[string]Replaced `json:"replaced,omitempty"`
	// First are the roles that nothing served on this host before the release.
	First []string `json:"first,omitempty"`
	// Tasks are those of the release that ran on this host, by name.
	Tasks map[string]Task `json:"tasks,omitempty"`
}

// Read returns the ledger at path; a missing one is empty.
func Read(ctx context.Context, files host.Files, path string) (Ledger, error) {
	var l Ledger
	data, err := files.Read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	return decode(data, path)
}

func decode(data []byte, path string) (Ledger, error) {
	var l Ledger
	if err := json.Unmarshal(data, &l); err != nil {
		return l, exit.With(exit.BadState, fmt.Errorf("read ledger %s: %w", path, err),
			"it is a record only: move it away and run the stage again")
	}
	return l, nil
}

// Own makes the ledger, and with it the folder, that of a service and
// destination, if it has no owner yet. It reports whether that changed
// anything.
func (l *Ledger) Own(service, destination string) bool {
	if l.Service != "" {
		return false
	}
	l.Service, l.Destination = service, destination
	return true
}

// Owned refuses a folder of another service: `a-b` without a destination and `a`
// at destination `b` have the same.
func (l Ledger) Owned(host, folder, service, destination string) error {
	if l.Service == "" || l.Service == service && l.Destination == destination {
		return nil
	}
	return exit.With(exit.Config,
		fmt.Errorf("%s on %s belongs to %s, not to %s", folder, host, called(l.Service, l.Destination), called(service, destination)),
		"rename one of the two, or give it another run_directory")
}

func called(service, destination string) string {
	if destination == "" {
		return "service " + service
	}
	return "service " + service + " at destination " + destination
}

// Guard refuses a release that is older than the newest one on the host: its
// state files describe a world that is gone.
func (l Ledger) Guard(host, release string) error {
	if len(l.Releases) == 0 {
		return nil
	}
	newest := l.Releases[len(l.Releases)-1]
	if newest.ID <= release {
		return nil
	}
	hints := []string{"if this version is the one you want, begin a new release of it: kstep deploy, or --new-release at the first stage of a pipeline"}
	if ahead := time.Until(state.ReleaseTime(newest.ID)); ahead > 0 {
		hints = append(hints, fmt.Sprintf("that release was made %s in the future: the clock of this runner or of that one is wrong", ahead.Round(time.Second)),
			"if the clock of that one was wrong, remove the release: kstep abort --release "+newest.ID)
	}
	return exit.With(exit.BadState,
		fmt.Errorf("release %s (version %s) has been on %s since release %s was made", newest.ID, newest.Version, host, release),
		hints...)
}

// Live are the containers that the newest release to serve put into service for
// the role. There are none if a newer release has replaced the role.
func (l Ledger) Live(role string) []string {
	for _, r := range slices.Backward(l.Releases) {
		if r.replaces(role) {
			return nil
		}
		if ids := r.Live[role]; len(ids) > 0 {
			return ids
		}
	}
	return nil
}

// Served are the containers that served the role when the version last did.
func (l Ledger) Served(version, role string) []string {
	for _, r := range slices.Backward(l.Releases) {
		if ids := r.Live[role]; r.Version == version && len(ids) > 0 {
			return ids
		}
	}
	return nil
}

// Note adds the release, or changes what is known of it. It reports whether
// that changed anything.
func (l *Ledger) Note(r Release) bool {
	i := slices.IndexFunc(l.Releases, func(have Release) bool { return have.ID == r.ID })
	if i < 0 {
		r.Left = l.leaves(r)
		l.Releases = append(l.Releases, r)
		slices.SortFunc(l.Releases, func(a, b Release) int {
			if a.ID < b.ID {
				return -1
			}
			return 1
		})
		return true
	}
	have := l.Releases[i]
	r.At, r.By, r.Tasks, r.First = have.At, have.By, have.Tasks, have.First
	r.Left = have.Left
	if r.GoesBack = r.GoesBack || have.GoesBack; !have.GoesBack {
		r.Left = l.leaves(r)
	}
	r.Replaced = maps.Clone(have.Replaced)
	maps.DeleteFunc(r.Replaced, func(role string, _ Replaced) bool { return len(r.Live[role]) > 0 }) // It serves again.
	if len(r.Roles) == 0 {
		r.Roles = have.Roles
	}
	merged := maps.Clone(have.Live)
	if merged == nil {
		merged = map[string][]string{}
	}
	maps.Copy(merged, r.Live)
	r.Live = merged
	if r.Version == have.Version && r.Image == have.Image && r.Tag == have.Tag && r.GoesBack == have.GoesBack && maps.EqualFunc(r.Roles, have.Roles, Role.equal) &&
		len(r.Replaced) == len(have.Replaced) &&
		maps.EqualFunc(have.Live, merged, slices.Equal) {
		return false
	}
	l.Releases[i] = r
	return true
}
