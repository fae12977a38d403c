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
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/short"
)

// Lasting inspects containers that are in service, all at once, and returns how
// often each has restarted. The error names those that have died since they had
// restarted as often as before says, which their restart policy may have hidden,
// and those that their health check calls unhealthy. A container that before
// does not name only has to run. The last log lines of what died are reported.
func Lasting(ctx context.Context, in Input, w *Work, ids []string, before map[string]int) (map[string]int, error) {
	restarts, errs := make([]int, len(ids)), make([]error, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		limit, known := before[id]
		if !known {
			limit = math.MaxInt
		}
		wg.Go(func() { restarts[i], errs[i] = lasts(ctx, in, w, id, limit) })
	}
	wg.Wait()
	counts := make(map[string]int, len(ids))
	for i, id := range ids {
		counts[id] = restarts[i]
	}
	return counts, errors.Join(errs...)
}

func lasts(ctx context.Context, in Input, w *Work, id string, limit int) (restarts int, err error) {
	c, err := w.Host.Engine().Inspect(ctx, id)
	if errors.Is(err, engine.ErrNotFound) {
		return 0, exit.With(exit.Failed, fmt.Errorf("container %s was removed after it was put into service", short.Of(id)))
	}
	if err != nil {
		return 0, err
	}
	died := ready.Ended(c, limit)
	byHealth := Ready(in, w, id).How(c) != ready.ByHTTP || SwitchKind(w, c) == "cord"
	if died == nil && byHealth && c.Health == "unhealthy" {
		died = errors.New("its health check says unhealthy")
	}
	if died == nil {
		return c.Restarts, nil
	}
	in.Report.Emit(report.Event{
		Kind: report.Notice, Host: w.Target.Host, Role: w.Target.Role.Name,
		Message: fmt.Sprintf("%s does not work any more on %s:", c.Name, w.Target.Host),
		Detail:  ready.Diagnose(ctx, w.Host, id),
	})
	return c.Restarts, exit.Hint(
		exit.With(exit.Failed, fmt.Errorf("%s was ready and has failed since it was put into service: %w", c.Name, died)),
		LogsHint(w.Target, c))
}

// LogsHint names the command that shows what a container wrote, whether it is in
// service or not.
func LogsHint(t plan.Target, c engine.Container) string {
	return fmt.Sprintf("kstep app logs --roles %s --hosts %s --version %s shows its last words", t.Role.Name, t.Host, c.Labels[engine.LabelVersion])
}

// Of is the work on one of the roles of a host that is worked on as a whole.
func (w *Work) Of(t plan.Target) *Work {
	return &Work{Host: w.Host, Target: t, Names: w.Names, in: w.in}
}
