package barrier

import (
	"context"

	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/state"
)

// Close settles against a release that is given up, whatever was settled
// before: jobs that still wait stop, and none that comes late starts a container
// that waited for the barrier. It reports whether that changed anything, and
// whether the barrier was open. A rerun of boot begins the next attempt.
func Close(ctx context.Context, files host.Files, dir string, v state.Verdict) (changed, wasOpen bool, err error) {
	v.Open, v.Aborted = false, true
	for {
		now, err := Current(ctx, files, dir)
		if err != nil || now.Closed() && now.Verdict.Aborted {
			return false, wasOpen, err
		}
		if now.Verdict != nil {
			wasOpen = wasOpen || now.Verdict.Open
			if now, err = now.Again(ctx); err != nil {
				return false, wasOpen, err
			}
		}
		made, err := now.Settle(ctx, v)
		if err != nil || !made.Open {
			return err == nil, wasOpen, err
		}
	}
}
