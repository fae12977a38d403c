package stages

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/drain"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

// longDrain is how long a drain is silent.
const longDrain = 2 * time.Second

// Drain waits until the proxy has no connection to containers that it sends no
// new requests any more, at most for `cutover.drain`, and reports connections
// that are still open then. front is the host's proxy, or the zero Container
// where none runs. The containers are to be stopped next.
func Drain(ctx context.Context, in Input, w *Work, front engine.Container, old []engine.Container) (*state.Drain, error) {
	limit := in.Config.Cutover.Drain.D()
	if len(old) == 0 || limit == 0 {
		return nil, nil
	}
	told := time.AfterFunc(longDrain, func() {
		w.Say("waiting for requests in flight on %s, at most %s", engine.NamesOf(old), limit)
	})
	defer told.Stop()
	result, err := drain.Wait(ctx, w.Host, front, old, drain.Bounds{Limit: limit, Keeps: w.keepsIdle(in)})
	if err != nil {
		return nil, err
	}
	out := &state.Drain{WaitedMs: result.Waited.Milliseconds(), Cut: result.Total()}
	switch {
	case result.Unseen != nil:
		out.Unobserved = true
		w.notice("waited %s before stopping %s on %s, because its connections cannot be observed: %s", limit, engine.NamesOf(old), w.Target.Host, result.Unseen)
	case out.Cut > 0:
		connections := "connections"
		if out.Cut == 1 {
			connections = "connection"
		}
		w.notice("%d %s to %s on %s still open after %s: closed", out.Cut, connections, strings.Join(result.Busy(old), ", "), w.Target.Host, limit)
	}
	return out, nil
}

// notice reports something about the target that the end repeats.
func (w *Work) notice(format string, args ...any) {
	w.in.Report.Emit(report.Event{
		Time: time.Now().UTC(), Kind: report.Notice, Host: w.Target.Host, Role: w.Target.Role.Name,
		Message: fmt.Sprintf(format, args...),
	})
}

// keepsIdle finds the containers whose connections from the proxy stay open
// without a request: Traefik closes idle ones of HTTP/1 and of HTTP/2 with TLS,
// and has no such time for HTTP/2 without TLS. The label says how a container
// was made; the configuration may have changed since.
func (w *Work) keepsIdle(in Input) func(engine.Container) bool {
	if in.Config.EffectiveHealthcheck(w.Target.Role).Scheme != "h2c" {
		return nil
	}
	return func(c engine.Container) bool { return c.Labels[engine.LabelScheme] == "h2c" }
}
