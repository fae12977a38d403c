package cutover

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/probe"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/internal/route"
	"github.com/kstep/kstep/stages"
)

// arrivePause is between two requests for the same name.
const arrivePause = 50 * time.Millisecond

// arrives sends requests through the proxy, for each name of the role and at
// least one for each of the new containers: the proxy sends them traffic in turn.
// An answer of the application's own, even an error below 500, has arrived, if
// the route of the new containers gave it; else it tries again until ctx ends.
func (m *move) arrives(ctx context.Context, front engine.Container, mark string) error {
	client := proxy.Client(m.w.Host, m.in.Config.Proxy, front, m.in.Config.EffectiveHealthcheck(m.w.Target.Role).Timeout.D())
	defer client.CloseIdleConnections()
	all := m.samples
	errs := make([]error, max(len(all), len(m.fresh)))
	slots := make(chan struct{}, 4)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = m.answered(ctx, client, front, all[i%len(all)], mark)
		})
	}
	wg.Wait()
	for _, err := range errs { // One is enough: a host's names have one cause.
		if err != nil {
			return err
		}
	}
	return nil
}

// answered sends requests until the route answers.
func (m *move) answered(ctx context.Context, client *http.Client, front engine.Container, s stages.Sample, mark string) error {
	for another := false; ; another = true { // Another route answered the last time.
		answer, err := probe.Once(ctx, client, s.Request(m.in, m.w, front))
		header := answer.Header.Get(route.Header)
		status, isStatus := errors.AsType[*probe.StatusError](err)
		switch {
		case header == mark && (err == nil || isStatus && status.Status < 500):
			return nil
		case err != nil && !isStatus && another && ctx.Err() != nil:
			return m.elsewhere(ctx, front, s)
		case header == mark || err != nil && !isStatus:
			return fmt.Errorf("request the new container through the proxy: %w", err)
		}
		select {
		case <-ctx.Done():
			return m.elsewhere(ctx, front, s)
		case <-time.After(arrivePause):
		}
	}
}

// elsewhere says that another router than the role's answers.
func (m *move) elsewhere(ctx context.Context, front engine.Container, s stages.Sample) error {
	err := fmt.Errorf("%w: the new container does not get the requests for %s: another route in the proxy answers them", context.Cause(ctx), s)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	rivals, asked := proxy.NewWord(m.w.Host, front).Rivals(ctx, m.w.Names.Route(m.w.Target.Role.Name), s.Host)
	if asked == nil && len(rivals) > 0 {
		err = fmt.Errorf("%w: %s", err, strings.Join(rivals, ", "))
	}
	return exit.Hint(err, "change or remove that route, or set other proxy.hosts or proxy.path_prefix")
}
