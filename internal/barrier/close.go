package barrier

import (
	"context"

	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/state"
)

// Find returns the verdict of the release's newest attempt, or nil.
func Find(ctx context.Context, files host.Files, dir string) (*state.Verdict, error) {
	now, err := Current(ctx, files, dir)
	return now.Verdict, err
}

// Close makes the verdict of a release that was aborted: whatever stands there,
// jobs that still wait stop, and none goes on. It tells whether that changed
// anything. A rerun of boot begins another attempt.
func Close(ctx context.Context, files host.Files, dir string, v state.Verdict) (bool, error) {
	for {
		now, err := Current(ctx, files, dir)
		if err != nil || now.Closed() {
			return false, err
		}
		if now.Verdict != nil { // An open verdict stays as it is; the next one closes.
			if now, err = now.Again(ctx); err != nil {
				return false, err
			}
		}
		made, err := now.Settle(ctx, v)
		if err != nil || !made.Open {
			return true, err
		}
	}
}
