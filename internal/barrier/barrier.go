// Package barrier is the verdict on a release: enough primary containers are
// ready, or they never will be. It is a write-once file on one host, so that
// jobs on different runners find the same one, whoever makes it.
package barrier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
)

// Find returns the verdict that was made, or nil.
func Find(ctx context.Context, files host.Files, path string) (*state.Verdict, error) {
	data, err := files.Read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var v state.Verdict
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("read verdict %s: %w", path, err)
	}
	return &v, nil
}

// Settle makes the verdict the release's one, unless another was faster: then
// that one counts and is returned.
func Settle(ctx context.Context, files host.Files, path string, v state.Verdict) (state.Verdict, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return v, err
	}
	err = files.Create(ctx, path, append(data, '\n'), 0o644)
	if !errors.Is(err, fs.ErrExist) {
		if err != nil {
			err = fmt.Errorf("write verdict: %w", err)
		}
		return v, err
	}
	made, err := Find(ctx, files, path)
	if err != nil {
		return v, err
	}
	if made == nil {
		return v, fmt.Errorf("verdict %s was removed while it was read", path)
	}
	return *made, nil
}

// Reopen forgets a verdict that closed, so that a rerun of boot may try again.
// An open one stays: others may have built on it.
func Reopen(ctx context.Context, files host.Files, path string) error {
	v, err := Find(ctx, files, path)
	if err != nil || v == nil || v.Open {
		return err
	}
	return files.Remove(ctx, path)
}

// Count is the running tally of the primary containers.
type Count struct {
	Total, Needed, Ready, Sick int
}

// NewCount counts towards a quorum: a number, a percentage, or `all`.
func NewCount(quorum string, total int) Count {
	return Count{Total: total, Needed: plan.Count(quorum, total)}
}

// Decided tells whether the tally settles the verdict: the quorum is reached,
// or cannot be any more.
func (c Count) Decided() (open, decided bool) {
	if c.Ready >= c.Needed {
		return true, true
	}
	return false, c.Total-c.Sick < c.Needed
}
