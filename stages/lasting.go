package stages

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/ready"
	"github.com/kstep/kstep/internal/short"
)

// Lasting inspects containers that are in service, all at once, and returns how
// often each has restarted. The error names those that have died since they had
// restarted as often as before says, which their restart policy may have hidden,
// and those that their health check calls unhealthy. A container that before
// does not name only has to run. The last log lines of what died are reported.
// Where a newer release has replaced the containers meanwhile, that is the error.
func Lasting(ctx context.Context, in Input, w *Work, ids []string, before map[string]int) (map[string]int, error) {
	all := make([]lasted, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() { all[i] = lookAgain(ctx, in, w, id, restartLimit(before, id)) })
	}
	wg.Wait()
	counts := make(map[string]int, len(ids))
	var unread []error
	ended := false
	for _, l := range all {
		counts[l.id] = l.now.Restarts
		unread = append(unread, l.unread)
		ended = ended || l.ended != nil
	}
	if !ended {
		return counts, errors.Join(unread...)
	}
	_, err := w.Guarded(ctx)
	if code := exit.CodeOf(err); code == exit.BadState || code == exit.LeaseHeld {
		return counts, err
	}
	errs := make([]error, len(all))
	for i, l := range all {
		wg.Go(func() { errs[i] = l.report(ctx, w) })
	}
	wg.Wait()
	return counts, errors.Join(append(unread, errs...)...)
}

// Outlast waits until containers without traffic have been up for the role's settling
// time, all at once, or have ended since they had restarted as often as before says.
// A check says that a program runs now; one that cannot work often ends some seconds
// later. Those of an earlier release have served before. What cannot be read is left
// to Lasting.
func Outlast(ctx context.Context, in Input, w *Work, ids []string, before map[string]int) error {
	errs := make([]error, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			c, err := Stated(ctx, in, w, id)
			if err != nil {
				return
			}
			check := Ready(in, w, id)
			check.Proven = c.Labels[engine.LabelRelease] != in.Release
			errs[i] = check.Outlast(ctx, c, restartLimit(before, id))
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// restartLimit is how often a container may have restarted: one that before does not
// name, as often as it did.
func restartLimit(before map[string]int, id string) int {
	if limit, known := before[id]; known {
		return limit
	}
	return math.MaxInt
}

// lasted is a look at a container in service.
type lasted struct {
	id     string
	now    engine.Container
	gone   bool
	ended  error // Why it serves no more.
	unread error // Why nothing is known of it.
}

func lookAgain(ctx context.Context, in Input, w *Work, id string, limit int) lasted {
	l := lasted{id: id}
	c, err := Stated(ctx, in, w, id)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		l.gone, l.ended = true, errors.New("removed")
		return l
	case err != nil:
		l.unread = err
		return l
	}
	l.now, l.ended = c, ready.Ended(c, limit)
	byHealth := Ready(in, w, id).How(c) != ready.ByHTTP || SwitchKind(w, c) == "cord"
	if l.ended == nil && byHealth && c.Health == "unhealthy" {
		l.ended = errors.New("its health check says unhealthy")
	}
	return l
}

// report adds what a container that has ended said last. The error is nil for
// the others.
func (l lasted) report(ctx context.Context, w *Work) error {
	switch {
	case l.ended == nil:
		return nil
	case l.gone:
		return exit.With(exit.Failed, fmt.Errorf("container %s was removed after it was put into service", short.Of(l.id)))
	}
	w.Evidence(ready.Diagnose(ctx, w.Host, l.id)...)
	return exit.Hint(
		exit.With(exit.Failed, fmt.Errorf("%s was ready and has failed since it was put into service: %w", l.now.Name, l.ended)),
		LogsHint(w.Target, l.now))
}

// LogsHint names the command that shows what a container wrote, whether it is in
// service or not.
func LogsHint(t plan.Target, c engine.Container) string {
	return fmt.Sprintf("kstep app logs --roles %s --hosts %s --version %s shows its last words", t.Role.Name, t.Host, c.Labels[engine.LabelVersion])
}

// Of is the work on one of the roles of a host that is worked on as a whole.
func (w *Work) Of(t plan.Target) *Work {
	return &Work{Host: w.Host, Target: t, Names: w.Names, in: w.in, whole: w}
}
