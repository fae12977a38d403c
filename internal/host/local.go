package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/kstep/kstep/internal/engine"
)

// local is this machine.
type local struct {
	operator
	home   string
	socket string
	engine *engine.Client
}

var _ Host = (*local)(nil)

func newLocal(opts Options) *local {
	l := &local{
		operator: operator{name: Local, intercept: opts.Intercept},
		home:     opts.Home,
		socket:   opts.DockerSocket,
	}
	l.operator.lost = func(Op, error) { l.engine.CloseIdle() }
	l.engine = engine.New(engine.Options{Dial: l.dialEngine, Host: Local, Around: l.aroundEngine, Observed: opts.Observed, Patience: opts.Patience})
	return l
}

func (l *local) Name() string           { return Local }
func (l *local) Engine() *engine.Client { return l.engine }
func (l *local) Close() error {
	l.engine.CloseIdle()
	return nil
}

func (l *local) aroundEngine(ctx context.Context, name string, safe bool, request func(context.Context) error) error {
	return l.do(ctx, Op{Kind: KindEngine, Name: name}, safe, request)
}

func (l *local) dialEngine(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", l.socket)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, socketDenied(Local, l.socket, "")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, engineDown(Local, l.socket, err.Error())
	default:
		return nil, err
	}
}

func (l *local) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := l.do(ctx, Op{Kind: KindDial, Name: network}, false, func(ctx context.Context) (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

func (l *local) Run(ctx context.Context, argv []string, stdin []byte) ([]byte, error) {
	return collect(ctx, l, argv, stdin)
}

func (l *local) RunTo(ctx context.Context, argv []string, stdin []byte, out io.Writer) error {
	if _, err := Quote(argv); err != nil {
		return fmt.Errorf("run command on %s: %w", Local, err)
	}
	to := &taken{to: out}
	var stderr tailBuffer
	err := l.do(ctx, Op{Kind: KindRun, Name: argv[0]}, false, func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir = l.home
		cmd.Stdin = bytes.NewReader(stdin)
		cmd.Stdout, cmd.Stderr = to, &stderr
		cmd.WaitDelay = time.Second // A grandchild may hold the pipes open.
		return cmd.Run()
	})
	switch {
	case to.err != nil:
		return fmt.Errorf("run %s on %s: %w", argv[0], Local, to.err)
	case err == nil:
		return nil
	}
	if ended := engine.Ended(ctx); ended != nil {
		return fmt.Errorf("run %s on %s: %w", argv[0], Local, ended)
	}
	failed := &CommandError{Host: Local, Program: argv[0], Stderr: stderr.String()}
	ended, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case ok:
		failed.Status = ended.ExitCode()
		if status, ok := ended.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			failed.Signal = strings.TrimPrefix(signalName(status.Signal()), "SIG")
		}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		failed.Status, failed.Stderr = 127, "not found" // As a shell on a remote host would.
	default:
		return fmt.Errorf("run %s on %s: %w", argv[0], Local, err)
	}
	return failed
}

// taken remembers that a writer failed, which ends the program by SIGPIPE.
type taken struct {
	to  io.Writer
	err error
}

func (t *taken) Write(p []byte) (n int, err error) {
	n, err = t.to.Write(p)
	if err != nil {
		t.err = err
	}
	return n, err
}

func signalName(s syscall.Signal) string {
	names := map[syscall.Signal]string{
		syscall.SIGKILL: "KILL", syscall.SIGTERM: "TERM", syscall.SIGINT: "INT",
		syscall.SIGHUP: "HUP", syscall.SIGPIPE: "PIPE", syscall.SIGSEGV: "SEGV", syscall.SIGABRT: "ABRT",
	}
	if name, ok := names[s]; ok {
		return name
	}
	return s.String()
}
