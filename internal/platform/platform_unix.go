//go:build !windows

package platform

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// IsWindows reports whether this program is built for Windows.
const IsWindows = false

// Resized is the signal of a terminal whose size has changed.
const Resized = syscall.SIGWINCH

// NewGroup makes a command the first process of a process group of its own.
func NewGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// SignalGroup sends a signal to all processes of the group of a started command.
func SignalGroup(cmd *exec.Cmd, signal syscall.Signal) error {
	return syscall.Kill(-cmd.Process.Pid, signal)
}

// TryLock locks a file until it is closed, or until this process ends. It does not
// wait: if another process has the lock, it returns ErrLocked.
func TryLock(file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrLocked
		}
		return err
	}
}

// OpenPlain opens a file for reading. It returns ELOOP for a symbolic link, and does not
// wait for the writer of a named pipe.
func OpenPlain(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// OwnerOf returns the IDs of the user and the group that own a file. ok is false if the
// system does not report them.
func OwnerOf(info fs.FileInfo) (user, group uint32, ok bool) {
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return sys.Uid, sys.Gid, true
}

// FreeBytes returns the space on the disk of a folder that this user may fill.
func FreeBytes(dir string) (uint64, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return 0, err
	}
	return disk.Bavail * uint64(disk.Bsize), nil // The types differ between systems.
}
