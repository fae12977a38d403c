package stages

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/short"
)

// lastLive is what put a role into service on a host, as the ledger there says.
type lastLive struct {
	release, version string
	ids              []string
}

func lastLiveOf(book ledger.Ledger, role string) lastLive {
	for _, r := range slices.Backward(book.Releases) {
		if ids := r.Live[role]; len(ids) > 0 {
			return lastLive{r.ID, r.Version, ids}
		}
	}
	return lastLive{}
}

func (s lastLive) equal(other lastLive) bool {
	return s.release == other.release && slices.Equal(s.ids, other.ids)
}

// Chosen records what serves in a view by which a command chose its version. The
// first stage that holds the lease compares it with the ledgers, and refuses to go
// on when another release has gone live since.
func (s *Session) Chosen(from View) {
	s.chosenFrom = map[string]lastLive{}
	for _, t := range from.Targets {
		s.chosenFrom[t.Key()] = lastLiveOf(from.Found[t.Key()].Book, t.Role.Name)
	}
}

// errChoice is why a release ends that was chosen from what does not serve any more.
var errChoice = errors.New("has gone live since the version was chosen")

// stillChosen compares what serves with what the version was chosen from.
func (r *run) stillChosen(ctx context.Context) error {
	if r.chosenFrom == nil {
		return nil
	}
	in := r.in
	in.Report = report.Multi{}
	targets := slices.DeleteFunc(slices.Clone(in.All), func(t plan.Target) bool {
		_, known := r.chosenFrom[t.Key()]
		return !known
	})
	_, _, err := Each(ctx, in, targets, func(ctx context.Context, w *Work) (struct{}, error) {
		book, err := ledger.Read(ctx, w.Host.Files(), w.Names.Ledger())
		if err != nil {
			return struct{}{}, err
		}
		if now := lastLiveOf(book, w.Target.Role.Name); !now.equal(r.chosenFrom[w.Target.Key()]) {
			return struct{}{}, exit.With(exit.BadState,
				fmt.Errorf("version %s (release %s) %w: %s", short.Of(now.version), now.release, errChoice, short.Of(r.Version)),
				"nothing was changed; run the same command again: it chooses by what serves then")
		}
		return struct{}{}, nil
	})
	if err == nil {
		r.chosenFrom = nil // From here on the lease keeps others out.
	}
	return err
}

// forgetChoice removes the state of a release that was refused because of its
// choice, and has been on no host: the next one must not go on with it.
func (r *run) forgetChoice(err error) (forgotten bool, failed error) {
	if !errors.Is(err, errChoice) || r.OnHosts(r.Release) != nil {
		return false, nil
	}
	return true, r.Dir.Forget(r.Release)
}
