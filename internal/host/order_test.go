package host_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestInOrder_LooksAfterTheOperationInOneRoundTrip(t *testing.T) {
	t.Parallel()
	for name, transport := range map[string]string{"by the shell": host.FilesShell, "over SFTP": host.FilesSFTP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := hosttest.NewFake(t, "vm1")
			line := hosttest.NewLine(50 * time.Millisecond)
			fake.Behind(line)
			opts := hosttest.Options(t, fake)
			opts.FilesTransport = transport
			h, err := get(t, opts, "vm1")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.Files().List(t.Context(), "."); err != nil {
				t.Fatal(err)
			}
			before := line.Trips()
			var found []host.Entry
			err = host.InOrder(t.Context(), func(ctx context.Context) error {
				return h.Files().Write(ctx, "file", []byte("x"), 0o644)
			}, func(ctx context.Context) (err error) {
				found, err = h.Files().List(ctx, ".")
				return err
			})
			if err != nil || len(found) != 1 || found[0].Name != "file" {
				t.Errorf("got %v, %v, want the file that was written", found, err)
			}
			if took := line.Trips() - before; transport == "" && took > 2 {
				t.Errorf("took %d round trips, want one", took)
			}
		})
	}
}

func TestInOrder_LooksAgainWhereTheFirstAttemptBroke(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	broke := false
	r := &recorder{fail: func(_ int, op host.Op, next func() error) error {
		if op.Name == "write" && !broke {
			broke = true
			return errors.Join(host.ErrConnectionLost, next())
		}
		return next()
	}}
	opts := hosttest.Options(t, fake)
	opts.Intercept = r.around
	h, err := get(t, opts, "vm1")
	if err != nil {
		t.Fatal(err)
	}
	var found []host.Entry
	err = host.InOrder(t.Context(), func(ctx context.Context) error {
		return h.Files().Write(ctx, "file", []byte("x"), 0o644)
	}, func(ctx context.Context) (err error) {
		found, err = h.Files().List(ctx, ".")
		return err
	})
	if err != nil || len(found) != 1 {
		t.Errorf("got %v, %v, want the file that was written", found, err)
	}
	lists := 0
	for _, name := range r.names() {
		if name == "sftp list" {
			lists++
		}
	}
	if lists < 2 {
		t.Errorf("looked %d times, want the look of the first attempt to be made again", lists)
	}
}

// ending is a context that has an idea of its own of its end: after some looks.
type ending struct {
	context.Context //nolint:containedctx // It is one.

	looks int
}

var errEnded = errors.New("over")

func (e *ending) Err() error {
	if e.looks--; e.looks < 0 {
		return errEnded
	}
	return nil
}

// TestWrite_AsksItsContextRightBeforeItCounts: a process that stood still, of which
// no timer reports, must not replace a file any more.
func TestWrite_AsksItsContextRightBeforeItCounts(t *testing.T) {
	t.Parallel()
	for name, transport := range map[string]string{"by the shell": host.FilesShell, "over SFTP": host.FilesSFTP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := hosttest.Options(t, hosttest.NewFake(t, "vm1"))
			opts.FilesTransport = transport
			h, err := get(t, opts, "vm1")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.Files().List(t.Context(), "."); err != nil {
				t.Fatal(err)
			}
			if err := h.Files().Write(&ending{t.Context(), 1}, "file", []byte("x"), 0o644); !errors.Is(err, errEnded) {
				t.Errorf("got %v, want %v", err, errEnded)
			}
			if entries, err := h.Files().List(t.Context(), "."); err != nil || len(entries) > 0 {
				t.Errorf("got %v, %v, want no file", entries, err)
			}
		})
	}
}
