package host

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/engine"
)

// Kind is what carries an operation.
type Kind string

// The kinds of operations.
const (
	KindConnect Kind = "connect" // An SSH connection.
	KindEngine  Kind = "engine"  // One request to the engine.
	KindSFTP    Kind = "sftp"    // One method of Files.
	KindRun     Kind = "run"     // One command.
	KindDial    Kind = "dial"    // One connection to an address seen from the host.
	KindListen  Kind = "listen"  // One port on the host's loopback.
)

// Op is one remote operation, as an Intercept sees it.
type Op struct {
	Host string
	Kind Kind
	// Name is what is done, without what differs from call to call, such as
	// `GET /containers/json` or `write`; for a command, the program.
	Name string
	// Path is the file or folder that a method of Files is about.
	Path string
}

// Intercept stands around every attempt of every remote operation of a pool.
// It calls next, once or not at all (again only for what changed nothing or may
// be repeated), and returns its error or another one:
// so it can count, delay, forbid, or lose an answer. ErrConnectionLost makes
// the host drop its connection as if it had broken.
type Intercept func(ctx context.Context, op Op, next func(context.Context) error) error

// ErrConnectionLost is a connection that broke during an operation. Whether the
// host did the operation is not known.
var ErrConnectionLost = errors.New("connection lost")

// attempts is how often an operation that may be repeated is tried when the
// connection breaks under it.
const attempts = 3

// do passes one operation through the interceptor. One that is safe to repeat
// is repeated over a new connection when the old one broke; another one never
// is: it may have been done.
func (o *operator) do(ctx context.Context, op Op, safe bool, call func(context.Context) error) error {
	op.Host = o.name
	for attempt := 1; ; attempt++ {
		if err := engine.Ended(ctx); err != nil {
			return err
		}
		var err error
		if o.intercept != nil {
			err = o.intercept(ctx, op, call)
		} else {
			err = call(ctx)
		}
		if err == nil || !broken(err) {
			return err
		}
		if ended := engine.Ended(ctx); ended != nil {
			return ended
		}
		o.lost(op, err)
		if !safe || attempt == attempts {
			return err
		}
	}
}

// operator is what local and remote hosts have in common.
type operator struct {
	name      string
	intercept Intercept
	lost      func(op Op, err error) // Drops what is broken.
}

// broken reports whether err is the connection's, and no answer of the host.
func broken(err error) bool {
	if _, refused := errors.AsType[*ssh.OpenChannelError](err); refused {
		return false
	}
	if _, status := errors.AsType[*CommandError](err); status {
		return false
	}
	for _, sign := range []error{
		ErrConnectionLost, engine.ErrSilent, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed,
		syscall.ECONNRESET, syscall.EPIPE, sftp.ErrSSHFxConnectionLost, sftp.ErrSSHFxNoConnection,
	} {
		if errors.Is(err, sign) {
			return true
		}
	}
	// What libraries call a connection that ended without an answer, where they
	// have no type for it.
	return slices.ContainsFunc([]string{
		"unexpected packet in response to channel open", // x/crypto/ssh, while a channel is opened.
		"server closed idle connection",                 // net/http, also on a new connection.
	}, func(words string) bool { return strings.Contains(err.Error(), words) })
}

// await runs a call that knows no context, and leaves it behind when ctx ends.
func await[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1) // The one left behind must not block.
	go func() {
		value, err := call()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, engine.Ended(ctx)
	}
}
