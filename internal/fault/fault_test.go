package fault

import (
	"context"
	"errors"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

func TestParse_ReadsWhatStringWrites(t *testing.T) {
	for _, want := range []Fault{{Kill, 17, ""}, {CutAfter, 3, "vm1"}} {
		got, err := Parse(want.String())
		if err != nil || got != want {
			t.Errorf("Parse(%q): got %v, %v", want.String(), got, err)
		}
	}
	for _, text := range []string{"", "kill", "kill:0", "kill:x", "melt:1", "kill:-1@vm1"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("Parse(%q): got no error", text)
		}
	}
}

// call passes one operation on a host through the injector, and reports whether
// the host did it.
func call(ctx context.Context, t *testing.T, i *Injector, hostName, name string) (done bool, err error) {
	t.Helper()
	err = i.Around(ctx, host.Op{Host: hostName, Kind: host.KindSFTP, Name: name}, func(context.Context) error {
		done = true
		return nil
	})
	return done, err
}

func TestAround_BreaksTheChosenOperation(t *testing.T) {
	for name, c := range map[string]struct {
		kind            Kind
		done            bool // The host did it.
		err             error
		next, elsewhere error // Of the next operation on this host, and on another.
	}{
		"cut before": {CutBefore, false, host.ErrConnectionLost, nil, nil},
		"cut after":  {CutAfter, true, host.ErrConnectionLost, nil, nil},
		"gone":       {Gone, false, host.ErrConnectionLost, host.ErrConnectionLost, nil},
		"disk full":  {DiskFull, false, host.ErrDiskFull, nil, nil},
		"kill":       {Kill, false, errKilled, errKilled, errKilled},
	} {
		t.Run(name, func(t *testing.T) {
			i := &Injector{Fault: Fault{Kind: c.kind, At: 2, Host: "vm1"}, Die: func() {}}
			for _, hostName := range []string{"vm1", "vm2"} {
				if done, err := call(t.Context(), t, i, hostName, "write"); !done || err != nil {
					t.Fatalf("on %s before its turn: done %t, %v", hostName, done, err)
				}
			}
			done, err := call(t.Context(), t, i, "vm1", "write")
			if done != c.done || !errors.Is(err, c.err) {
				t.Errorf("done %t, %v; want %t, %v", done, err, c.done, c.err)
			}
			if _, err := call(t.Context(), t, i, "vm1", "write"); !errors.Is(err, c.next) {
				t.Errorf("the next one: %v, want %v", err, c.next)
			}
			if _, err := call(t.Context(), t, i, "vm2", "write"); !errors.Is(err, c.elsewhere) {
				t.Errorf("on another host: %v, want %v", err, c.elsewhere)
			}
			if !i.Fired() || i.Where().Host != "vm1" {
				t.Errorf("fired %t at %v, want at one on vm1", i.Fired(), i.Where())
			}
		})
	}
}

func TestAround_CountsOnlyWritesForAFullDisk(t *testing.T) {
	i := &Injector{Fault: Fault{Kind: DiskFull, At: 1}}
	if _, err := call(t.Context(), t, i, "vm1", "read"); err != nil {
		t.Errorf("a read fails on a full disk: %v", err)
	}
	if _, err := call(t.Context(), t, i, "vm1", "create"); !errors.Is(err, host.ErrDiskFull) {
		t.Errorf("a write: %v, want a full disk", err)
	}
}

func TestAround_TerminatesAsTheSignalDoes(t *testing.T) {
	ctx, end := context.WithCancelCause(t.Context())
	i := &Injector{Fault: Fault{Kind: Terminate, At: 1}, End: end}
	if _, err := call(ctx, t, i, "vm1", "read"); err != nil {
		t.Fatal(err)
	}
	if code := exit.CodeOf(context.Cause(ctx)); code != exit.Terminated {
		t.Errorf("exit code %d, want %d", code, exit.Terminated)
	}
}

func TestAround_FreezesEverythingUntilItThaws(t *testing.T) {
	thaw := make(chan struct{})
	i := &Injector{Fault: Fault{Kind: Freeze, At: 1}, Thaw: thaw}
	results := make(chan bool, 2)
	for range 2 {
		go func() {
			done, _ := call(t.Context(), t, i, "vm1", "read")
			results <- done
		}()
	}
	select {
	case <-results:
		t.Error("an operation went on in the frost")
	default:
	}
	close(thaw)
	for range 2 {
		if !<-results {
			t.Error("an operation was not done after the frost")
		}
	}
}
