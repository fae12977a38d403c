package platform

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/windows"
)

// IsWindows reports whether this program is built for Windows.
const IsWindows = true

// Resized is the signal of a terminal whose size has changed. Windows never sends it.
const Resized = syscall.Signal(0x1c)

// NewGroup makes a command the first process of a process group of its own, which a
// Ctrl-C at the terminal does not reach.
func NewGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}

// SignalGroup ends a started command with its children, whatever the signal is: Windows
// has no signals.
func SignalGroup(cmd *exec.Cmd, _ syscall.Signal) error {
	if exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(cmd.Process.Pid)).Run() == nil {
		return nil
	}
	return cmd.Process.Kill()
}

// lockAt is the only byte that TryLock locks. It lies behind the end of the file, because
// other processes cannot read a locked byte.
const lockAt = 1 << 30

// TryLock locks a file until it is closed, or until this process ends. It does not
// wait: if another process has the lock, it returns ErrLocked.
func TryLock(file *os.File) error {
	err := windows.LockFileEx(windows.Handle(file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{OffsetHigh: lockAt})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return err
}

// OpenPlain opens a file for reading. It returns ELOOP for a symbolic link.
func OpenPlain(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
	}
	return os.Open(path)
}

// OwnerOf returns no owner: Windows has no user and group IDs.
func OwnerOf(fs.FileInfo) (user, group uint32, ok bool) { return 0, 0, false }

// FreeBytes returns the space on the disk of a folder that this user may fill.
func FreeBytes(dir string) (uint64, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	err = windows.GetDiskFreeSpaceEx(path, &free, nil, nil)
	return free, err
}
