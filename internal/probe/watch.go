package probe

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/state"
)

// Watch sends a request every pause until it is stopped, and counts. It proves
// from the user's side of the proxy that a move of traffic lost nothing.
type Watch struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	count  state.Probe
}

// watchPause bounds a probe to some fifty requests a second and host.
const watchPause = 20 * time.Millisecond

// StartWatch begins to probe. Call Stop exactly once.
func StartWatch(ctx context.Context, client *http.Client, r Request) *Watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &Watch{cancel: cancel}
	w.done.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			_, err := Once(ctx, client, r)
			if ctx.Err() != nil {
				return // Cut off by Stop: no answer to count.
			}
			if status, ok := errors.AsType[*StatusError](err); ok && status.Status < 500 {
				err = nil // The application's own answer: it was reached.
			}
			w.add(err, time.Since(began))
			select {
			case <-ctx.Done():
			case <-time.After(watchPause):
			}
		}
	})
	return w
}

func (w *Watch) add(err error, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count.Requests++
	w.count.SlowestMs = max(w.count.SlowestMs, took.Milliseconds())
	if err != nil {
		w.count.Failed++
		if w.count.FirstFail == "" {
			w.count.FirstFail = err.Error()
		}
	}
}

// Stop ends the probing and returns the count.
func (w *Watch) Stop() state.Probe {
	w.cancel()
	w.done.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}
