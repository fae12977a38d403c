// Package fault breaks a run of kstep at one of its remote operations. It
// stands where all of them pass, counts, and at a chosen one does what
// networks, disks, runners and people do. The proof that stages converge is
// made with it; no released program contains it.
package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

// Kind is what happens at the chosen operation.
type Kind string

// The kinds of faults.
const (
	CutBefore Kind = "cut-before" // The connection breaks before the request is sent.
	CutAfter  Kind = "cut-after"  // The host did it; the answer is lost with the connection.
	Gone      Kind = "gone"       // The operation's host is not there any more, for the rest of the run.
	DiskFull  Kind = "disk-full"  // A write finds no space. Only writes count.
	Terminate Kind = "terminate"  // SIGTERM.
	Kill      Kind = "kill"       // SIGKILL: nothing follows.
	Freeze    Kind = "freeze"     // The process stands still, then goes on with the operation.
	// Unobserved changes the host before the operation, behind the process's
	// back, and StaleView delays the answer of an observation until another
	// release has changed what was observed: Sieve, OSDI 2022.
	Unobserved Kind = "unobserved"
	StaleView  Kind = "stale-view"
)

// Kinds are all kinds, in the order of the docs.
func Kinds() []Kind {
	return []Kind{CutBefore, CutAfter, Gone, DiskFull, Terminate, Kill, Freeze, Unobserved, StaleView}
}

// Fault says what happens when.
type Fault struct {
	Kind Kind
	// At is the operation it happens at, counted from 1 in this process.
	At int
	// Host, unless it is empty, is the only one whose operations count.
	Host string
}

func (f Fault) String() string {
	text := fmt.Sprintf("%s:%d", f.Kind, f.At)
	if f.Host != "" {
		text += "@" + f.Host
	}
	return text
}

// Counts reports whether the fault can happen at the operation.
func (f Fault) Counts(op host.Op) bool {
	switch {
	case f.Host != "" && op.Host != f.Host:
		return false
	case f.Kind == DiskFull:
		return writes(op)
	case f.Kind == StaleView:
		return observes(op)
	case f.Kind == Unobserved:
		return op.Kind != host.KindConnect
	default:
		return true
	}
}

// Parse reads what String writes, such as `kill:17` or `cut-after:3@vm1`.
func Parse(text string) (Fault, error) {
	kind, place, _ := strings.Cut(text, ":")
	number, hostName, _ := strings.Cut(place, "@")
	at, err := strconv.Atoi(number)
	if err != nil || at < 1 || !slices.Contains(Kinds(), Kind(kind)) {
		return Fault{}, fmt.Errorf("%q is not a fault: write KIND:NUMBER or KIND:NUMBER@HOST, with a kind of %v", text, Kinds())
	}
	return Fault{Kind: Kind(kind), At: at, Host: hostName}, nil
}

// Injector makes one fault happen. Its zero value makes none, and counts.
type Injector struct {
	Fault Fault
	// End ends the run's context; Terminate needs it.
	End context.CancelCauseFunc
	// Die ends the process; Kill needs it. Where it returns, because the
	// process has more to do than this run, every operation from then on is
	// refused.
	Die func()
	// Thaw is closed when a frozen process may go on; Freeze and StaleView need it.
	Thaw <-chan struct{}
	// Change changes the operation's host; Unobserved needs it.
	Change func(host.Op)
	// OnFault, unless it is nil, is called just before the fault happens.
	OnFault func(host.Op)

	mu    sync.Mutex
	count int
	fired *host.Op
}

var (
	errKilled = errors.New("the process was killed")
	errGone   = fmt.Errorf("%w: the host is gone", host.ErrConnectionLost)
)

// Around is a host.Intercept.
func (i *Injector) Around(ctx context.Context, op host.Op, next func(context.Context) error) error {
	now, after := i.turn(op)
	kind := i.Fault.Kind
	if now && kind != StaleView {
		i.tell(op)
	}
	switch {
	case after && kind == Kill:
		return errKilled
	case (now || after) && kind == Gone && op.Host == i.Where().Host:
		return errGone
	case (now || after) && kind == Freeze, after && kind == StaleView:
		<-i.Thaw // Not ctx: what stands still notices nothing.
		return next(ctx)
	case now && kind == StaleView:
		err := next(ctx)
		i.tell(op)
		<-i.Thaw
		return err
	case now && kind == Unobserved:
		i.Change(op)
		return next(ctx)
	case now:
		return i.fire(ctx, next)
	default:
		return next(ctx)
	}
}

func (i *Injector) tell(op host.Op) {
	if i.OnFault != nil {
		i.OnFault(op)
	}
}

// observes reports whether an operation only reads.
func observes(op host.Op) bool {
	switch op.Kind {
	case host.KindSFTP:
		return slices.Contains([]string{"read", "list", "stat", "owners"}, op.Name)
	case host.KindEngine:
		return strings.HasPrefix(op.Name, "GET ")
	default:
		return false
	}
}

// turn counts the operation, and reports whether the fault happens at it, or
// has happened before.
func (i *Injector) turn(op host.Op) (now, after bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fired != nil {
		return false, true
	}
	if !i.Fault.Counts(op) {
		return false, false
	}
	i.count++
	if i.count != i.Fault.At {
		return false, false
	}
	i.fired = &op
	return true, false
}

func (i *Injector) fire(ctx context.Context, next func(context.Context) error) error {
	switch i.Fault.Kind {
	case CutBefore:
		return host.ErrConnectionLost
	case CutAfter:
		err := next(ctx)
		return errors.Join(host.ErrConnectionLost, hidden{err})
	case DiskFull:
		return host.ErrDiskFull
	case Terminate:
		i.End(exit.Errorf(exit.Terminated, "interrupted"))
		return next(ctx)
	case Kill:
		i.Die()
		return errKilled
	default:
		return next(ctx)
	}
}

// hidden is an answer that was lost: its text is there for debugging, and
// callers cannot test for it.
type hidden struct{ err error }

func (h hidden) Error() string { return fmt.Sprintf("the answer was lost: %v", h.err) }

// writes reports whether an operation needs space on the host's disk.
func writes(op host.Op) bool {
	switch op.Kind {
	case host.KindSFTP:
		return slices.Contains([]string{"write", "create", "append", "mkdir"}, op.Name)
	case host.KindRun:
		return true
	case host.KindEngine:
		return slices.Contains([]string{"POST /images/create", "POST /containers/create", "POST /containers/{}/start"}, op.Name)
	default:
		return false
	}
}

// Fired reports whether the fault has happened.
func (i *Injector) Fired() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fired != nil
}

// Where is the operation that the fault happened at.
func (i *Injector) Where() host.Op {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fired == nil {
		return host.Op{}
	}
	return *i.fired
}
