// Package silence ends HTTP answers whose bodies send nothing any more. A connection
// whose peer is alive, but hangs, breaks by itself never.
package silence

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// RoundTrip sends a request and returns its answer, of which a read fails with silent
// once nothing has come for the time within. What is read slowly by the caller counts
// as nothing. The beginning of the answer is waited for until the time begin has passed;
// zero is no limit, and so is a request with a body, which may take any time to send.
func RoundTrip(base http.RoundTripper, req *http.Request, begin, within time.Duration, silent error) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	b := &body{within: within, ctx: ctx, cancel: cancel, silent: silent}
	b.timer = time.AfterFunc(cmp.Or(begin, within), func() { cancel(silent) })
	if begin == 0 || req.Body != nil && req.Body != http.NoBody {
		b.timer.Stop()
	}
	resp, err := base.RoundTrip(req.WithContext(ctx))
	b.timer.Stop()
	if err != nil {
		err = b.because(err)
		cancel(nil)
		return nil, err
	}
	b.ReadCloser = resp.Body
	resp.Body = b
	return resp, nil
}

// body is the body of an answer.
type body struct {
	io.ReadCloser
	timer  *time.Timer
	within time.Duration
	ctx    context.Context
	cancel context.CancelCauseFunc
	silent error
}

func (b *body) Read(p []byte) (int, error) {
	b.timer.Reset(b.within)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.because(err)
	}
	return n, err
}

// because gives a failure that the silence caused its reason.
func (b *body) because(err error) error {
	if errors.Is(context.Cause(b.ctx), b.silent) {
		return b.silent
	}
	return err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
