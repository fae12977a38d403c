// Package barrier is the verdict on a release: enough primary containers are
// ready, or they never will be. It is a write-once file on one host, so that
// jobs on different runners find the same verdict. It observes no container and
// stops none.
package barrier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
)

// Attempt is one try of a release to open the barrier. Its verdict is made
// once; after one that closed, a rerun of boot begins the next attempt. Nothing
// is ever removed or changed, so a slow job can spoil no newer verdict.
type Attempt struct {
	// Verdict is nil while there is none.
	Verdict *state.Verdict

	files  host.Files
	dir    string
	number int
}

// Current is the release's newest attempt, in the folder that the release has
// for its verdicts.
func Current(ctx context.Context, files host.Files, dir string) (Attempt, error) {
	a := Attempt{files: files, dir: dir, number: 1}
	first := a // Mostly the only one: its verdict is read in parallel with the list.
	var firstErr error
	var asking sync.WaitGroup
	asking.Go(func() { first.Verdict, firstErr = first.Find(ctx) })
	entries, err := files.List(ctx, dir)
	asking.Wait()
	if err != nil {
		return a, fmt.Errorf("read verdict: %w", err)
	}
	for _, e := range entries {
		if text, ok := strings.CutSuffix(e.Name, again); ok {
			n, _ := strconv.Atoi(text) // 0 for what is not kstep's.
			a.number = max(a.number, n)
		}
	}
	made := slices.ContainsFunc(entries, func(e host.Entry) bool { return e.Name == path.Base(a.file()) })
	switch {
	case !made:
	case a.number == first.number && (first.Verdict != nil || firstErr != nil):
		return first, firstErr
	default:
		a.Verdict, err = a.Find(ctx)
	}
	return a, err
}

// again is the ending of the file that begins an attempt after the first.
const again = ".again"

func (a Attempt) file() string { return path.Join(a.dir, fmt.Sprintf("%d.json", a.number)) }

// Find returns the attempt's verdict, or nil while there is none.
func (a Attempt) Find(ctx context.Context) (*state.Verdict, error) {
	data, err := a.files.Read(ctx, a.file())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var v state.Verdict
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, exit.With(exit.BadState, fmt.Errorf("read verdict %s: %w", a.file(), err),
			"remove the file and run kstep barrier-wait again")
	}
	return &v, nil
}

// Settle makes the verdict the attempt's one, unless another was faster: then
// that one counts and is returned.
func (a Attempt) Settle(ctx context.Context, v state.Verdict) (state.Verdict, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return v, err
	}
	if err := a.forget(ctx); err != nil {
		return v, err
	}
	err = a.files.Create(ctx, a.file(), append(data, '\n'), 0o644)
	if !errors.Is(err, fs.ErrExist) {
		if err != nil {
			err = fmt.Errorf("write verdict: %w", err)
		}
		return v, err
	}
	made, err := a.Find(ctx)
	if err != nil {
		return v, err
	}
	if made == nil {
		return v, fmt.Errorf("verdict %s was removed while it was read", a.file())
	}
	return *made, nil
}

// keep is how many older releases' verdicts stay, to look up what happened.
const keep = 10

// forget removes the verdicts of the oldest releases; their ids sort by time.
func (a Attempt) forget(ctx context.Context) error {
	older, err := a.files.List(ctx, path.Dir(a.dir))
	if err != nil {
		return fmt.Errorf("forget old verdicts: %w", err)
	}
	older = slices.DeleteFunc(older, func(e host.Entry) bool { return e.Name >= path.Base(a.dir) })
	for _, e := range older[:max(0, len(older)-keep)] {
		if err := a.files.RemoveTree(ctx, host.Under(path.Dir(a.dir), e.Name)); err != nil {
			return fmt.Errorf("forget old verdicts: %w", err)
		}
	}
	return nil
}

// First reports whether this is the release's first attempt.
func (a Attempt) First() bool { return a.number == 1 }

// Closed reports whether there is a verdict against the release.
func (a Attempt) Closed() bool { return a.Verdict != nil && !a.Verdict.Open }

// Again begins the next attempt after one that closed. Of several jobs that do
// so, all begin the same one.
func (a Attempt) Again(ctx context.Context) (Attempt, error) {
	next := Attempt{files: a.files, dir: a.dir, number: a.number + 1}
	err := a.files.Create(ctx, path.Join(a.dir, strconv.Itoa(next.number)+again), nil, 0o644)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return a, fmt.Errorf("open the barrier again: %w", err)
	}
	return next, nil
}

// Count is the running tally of the primary containers.
type Count struct {
	Total, Needed, Ready, Sick int
}

// NewCount counts towards a quorum: a number, a percentage, or `all`.
func NewCount(quorum string, total int) Count {
	return Count{Total: total, Needed: plan.Count(quorum, total)}
}

// Decided reports whether the tally settles the verdict: the quorum is reached,
// or cannot be any more.
func (c Count) Decided() (open, decided bool) {
	if c.Ready >= c.Needed {
		return true, true
	}
	return false, c.Total-c.Sick < c.Needed
}
