package stages

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kstep/kstep/internal/host"
)

// counting are files of which each read finds how many there were.
type counting struct {
	host.Files

	reads int
}

func (c *counting) Read(context.Context, string) ([]byte, error) {
	c.reads++
	return []byte{byte(c.reads)}, nil
}

func (c *counting) List(context.Context, string) ([]host.Entry, error) { return nil, nil }

func (c *counting) Write(context.Context, string, []byte, fs.FileMode) error { return nil }

func TestAhead_AnAnswerCountsOnceWhileItIsFreshAndNothingWasWritten(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		meanwhile func(context.Context, *aheadFiles)
		want      byte
	}{
		"at once":               {func(context.Context, *aheadFiles) {}, 1},
		"too late":              {func(context.Context, *aheadFiles) { time.Sleep(aheadFresh + 1) }, 2},
		"after another reader":  {func(ctx context.Context, f *aheadFiles) { _, _ = f.Read(ctx, "/a/b") }, 2},
		"after a write":         {func(ctx context.Context, f *aheadFiles) { _ = f.Write(ctx, "/a/b", nil, 0o600) }, 2},
		"after a write besides": {func(ctx context.Context, f *aheadFiles) { _ = f.Write(ctx, "/a/c", nil, 0o600) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &aheadFiles{Files: &counting{}, reads: map[string]*early[[]byte]{}, lists: map[string]*early[[]host.Entry]{}}
				f.begin(t.Context(), wanted{file: "/a/b"})
				f.begin(t.Context(), wanted{file: "/a/b"})
				synctest.Wait()
				test.meanwhile(t.Context(), f)
				got, err := f.Read(t.Context(), "/a/b")
				if err != nil || got[0] != test.want {
					t.Errorf("got read number %v, %v, want %d", got, err, test.want)
				}
			})
		})
	}
}

// failing are files that cannot be read at first.
type failing struct{ counting }

func (f *failing) Read(ctx context.Context, file string) ([]byte, error) {
	if data, _ := f.counting.Read(ctx, file); f.reads > 1 {
		return data, nil
	}
	return nil, errors.New("broken")
}

func TestAhead_AFailureIsForWhoeverReads(t *testing.T) {
	t.Parallel()
	f := &aheadFiles{Files: &failing{}, reads: map[string]*early[[]byte]{}, lists: map[string]*early[[]host.Entry]{}}
	f.begin(t.Context(), wanted{file: "/a"})
	if got, err := f.Read(t.Context(), "/a"); err != nil || got[0] != 2 {
		t.Errorf("got %v, %v, want the second read", got, err)
	}
}
