package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
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
	l.engine = engine.New(engine.Options{Dial: l.dialEngine, Host: Local, Around: l.aroundEngine})
	return l
}

func (l *local) Name() string           { return Local }
func (l *local) Engine() *engine.Client { return l.engine }
func (l *local) Files() Files           { return localFiles{l} }

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
	if _, err := Quote(argv); err != nil {
		return nil, fmt.Errorf("run command on %s: %w", Local, err)
	}
	var stdout bytes.Buffer
	var stderr tailBuffer
	err := l.do(ctx, Op{Kind: KindRun, Name: argv[0]}, false, func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir = l.home
		cmd.Stdin = bytes.NewReader(stdin)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		cmd.WaitDelay = time.Second // A grandchild may hold the pipes open.
		return cmd.Run()
	})
	if err == nil {
		return stdout.Bytes(), nil
	}
	if ended := engine.Ended(ctx); ended != nil {
		return stdout.Bytes(), fmt.Errorf("run %s on %s: %w", argv[0], Local, ended)
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
		return stdout.Bytes(), fmt.Errorf("run %s on %s: %w", argv[0], Local, err)
	}
	return stdout.Bytes(), failed
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

// localFiles are this machine's files.
type localFiles struct{ l *local }

var _ Files = localFiles{}

func (f localFiles) do(ctx context.Context, name, path string, safe bool, call func(path string) error) error {
	abs := path
	if !filepath.IsAbs(abs) {
		abs = filepath.Join(f.l.home, path)
	}
	err := f.l.do(ctx, Op{Kind: KindSFTP, Name: name}, safe, func(context.Context) error { return call(abs) })
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return fileError(Local, name, path, err)
}

func (f localFiles) Home(ctx context.Context) (string, error) { return f.l.home, engine.Ended(ctx) }

func (f localFiles) Read(ctx context.Context, path string) (data []byte, err error) {
	err = f.do(ctx, "read", path, true, func(abs string) error {
		data, err = os.ReadFile(abs)
		return err
	})
	return data, err
}

func (f localFiles) Write(ctx context.Context, path string, data []byte, perm fs.FileMode) error {
	return f.do(ctx, "write", path, true, func(abs string) error {
		tmp, err := f.temporary(abs, data, perm)
		if err != nil {
			return err
		}
		if err := os.Rename(tmp, abs); err != nil {
			return errors.Join(err, os.Remove(tmp))
		}
		return nil
	})
}

func (f localFiles) Create(ctx context.Context, path string, data []byte, perm fs.FileMode) error {
	return f.do(ctx, "create", path, false, func(abs string) error {
		tmp, err := f.temporary(abs, data, perm)
		if err != nil {
			return err
		}
		defer os.Remove(tmp)
		return os.Link(tmp, abs)
	})
}

// temporary writes a complete file beside its final name.
func (f localFiles) temporary(abs string, data []byte, perm fs.FileMode) (_ string, err error) {
	if err := mkdirLocal(filepath.Dir(abs), parentPerm(perm)); err != nil {
		return "", err
	}
	tmp := temporaryName(abs)
	file, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	steps := []func() error{
		func() error { return file.Chmod(perm.Perm()) },
		func() error { _, err := file.Write(data); return err },
		file.Sync,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return "", errors.Join(err, file.Close())
		}
	}
	return tmp, file.Close()
}

func (f localFiles) Remove(ctx context.Context, path string) error {
	return f.do(ctx, "remove", path, true, os.RemoveAll)
}

func (f localFiles) List(ctx context.Context, path string) (entries []Entry, err error) {
	err = f.do(ctx, "list", path, true, func(abs string) error {
		entries = nil
		found, err := os.ReadDir(abs)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, one := range found {
			info, err := one.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // Went away meanwhile.
			}
			if err != nil {
				return err
			}
			entries = append(entries, entry(info))
		}
		entries = visible(entries)
		return nil
	})
	return entries, err
}

func (f localFiles) Stat(ctx context.Context, path string) (found Entry, err error) {
	err = f.do(ctx, "stat", path, true, func(abs string) error {
		info, err := os.Stat(abs)
		if err == nil {
			found = entry(info)
		}
		return err
	})
	return found, err
}

func (f localFiles) Mkdir(ctx context.Context, path string, perm fs.FileMode) error {
	return f.do(ctx, "mkdir", path, true, func(abs string) error { return mkdirLocal(abs, perm) })
}

// mkdirLocal gives new folders exactly the mode, whatever the umask is.
func mkdirLocal(abs string, perm fs.FileMode) error {
	info, err := os.Stat(abs)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%w: it is a file", fs.ErrExist)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := mkdirLocal(filepath.Dir(abs), perm); err != nil {
		return err
	}
	if err := os.Mkdir(abs, perm.Perm()); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil // Somebody else was first.
		}
		return err
	}
	return os.Chmod(abs, perm.Perm())
}

func entry(info fs.FileInfo) Entry {
	return Entry{Name: info.Name(), Size: info.Size(), Mode: info.Mode(), Modified: info.ModTime(), IsDir: info.IsDir()}
}

// visible sorts, and drops what interrupted writes left.
func visible(entries []Entry) []Entry {
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return isTemporary(e.Name) })
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}

// fileError says what was done with which file, and what can be done about it.
func fileError(host, name, path string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*exit.Error](err); ok {
		return fmt.Errorf("%s %s: %w", name, path, err)
	}
	wrapped := fmt.Errorf("%s %s on %s: %w", name, path, host, err)
	switch {
	case errors.Is(err, ErrDiskFull):
		return exit.With(exit.Failed, wrapped, fmt.Sprintf("free space on %s: df -h, docker system df", host))
	case broken(err):
		return exit.With(exit.Unreachable, wrapped)
	default:
		return wrapped
	}
}
