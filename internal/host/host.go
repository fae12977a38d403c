// Package host is a server as kstep sees it: an engine, files, commands and a
// way to reach what listens there, all over one SSH connection (or directly,
// for `local`). It is the only package that knows SSH and SFTP, and it decides
// nothing about deploys.
package host

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"time"

	"github.com/kstep/kstep/internal/engine"
)

// ErrDiskFull is a write for which the host has no space. It is the engine's,
// so that callers need one test for both.
var ErrDiskFull = engine.ErrDiskFull

// MaxRead bounds what Read takes into memory of one file, in bytes: a host must
// not be able to fill this machine's. State files have 16 MiB, all others less.
const MaxRead = 32 << 20

// ErrTooLarge is a file of more than MaxRead bytes.
var ErrTooLarge = fmt.Errorf("the file has more than %d MiB, which is more than any file of kstep's has", MaxRead>>20)

// MaxOutput bounds what Run takes into memory of a program's output, in bytes.
const MaxOutput = engine.MaxOutput

// ErrLongOutput is a program that prints more than MaxOutput bytes. It was
// stopped.
var ErrLongOutput = engine.ErrLongOutput

// maxList bounds what List takes of a folder, in bytes: more than a million
// names.
const maxList = 128 << 20

// ErrLargeFolder is a folder of more than maxList bytes of names.
var ErrLargeFolder = fmt.Errorf("the list of its files has more than %d MiB", maxList>>20)

// limited reads all of a file.
func limited(file io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(file, MaxRead+1))
	if err == nil && len(data) > MaxRead {
		return nil, ErrTooLarge
	}
	return data, err
}

// Local is the name of the machine kstep runs on, reached without SSH.
const Local = "local"

// Host is one server. All methods may be called from several goroutines at
// once. Every operation checks its context first and ends when it does.
type Host interface {
	// Name is the host as the config writes it.
	Name() string
	// Engine is the host's Docker engine.
	Engine() *engine.Client
	// Files are the host's files.
	Files() Files
	// Run executes one program, without a shell: argv is quoted in one place.
	// A non-zero exit status is a *CommandError; so is a missing one. A program
	// that prints more than MaxOutput bytes is stopped: ErrLongOutput.
	Run(ctx context.Context, argv []string, stdin []byte) (stdout []byte, err error)
	// RunTo is Run with the output written to out as it comes, without a limit. The
	// program is stopped when out fails, with out's error.
	RunTo(ctx context.Context, argv []string, stdin []byte, out io.Writer) error
	// Dial reaches an address as seen from the host, such as a container's.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// Listen accepts connections that programs on the host make to a port of its
	// loopback, which the host chooses: the listener's address is the host's.
	// ErrForwardingForbidden where its SSH server refuses.
	Listen(ctx context.Context) (net.Listener, error)
	// Close ends the connection. It is safe to call twice.
	Close() error
}

// Files are a host's files. Relative paths are below the SSH user's home.
// Errors satisfy errors.Is with fs.ErrNotExist, fs.ErrExist and
// fs.ErrPermission, and with ErrDiskFull, where that is the cause.
type Files interface {
	// Home is the absolute home folder.
	Home(ctx context.Context) (string, error)
	// Read returns a whole file, of at most MaxRead bytes.
	Read(ctx context.Context, path string) ([]byte, error)
	// Write replaces a file so that a reader sees all of the old or all of
	// the new content: temporary name in the same folder, exclusive create,
	// chmod while empty, write, fsync, length check, POSIX rename. Missing
	// parent folders are made with mode 0755 (0700 if perm has no bits for
	// others).
	Write(ctx context.Context, path string, data []byte, perm fs.FileMode) error
	// WriteVia is Write with the temporary name in another folder of the same file
	// system: a program that watches the file's own folder sees one change.
	WriteVia(ctx context.Context, dir, path string, data []byte, perm fs.FileMode) error
	// Create writes a file that must not exist yet, complete or not at all;
	// else fs.ErrExist. Of several at once exactly one wins.
	Create(ctx context.Context, path string, data []byte, perm fs.FileMode) error
	// Append adds to the end of a file, which it makes if there is none (its
	// folder must be there), and returns how long the file is then. Several at
	// once each add their data as a whole; data is a few kilobytes at most.
	Append(ctx context.Context, path string, data []byte, perm fs.FileMode) (size int64, err error)
	// Remove removes one file, or a link itself. It refuses a folder, so it
	// never removes anything else. A missing file is not an error. No part of
	// the path from its root on may be a link.
	Remove(ctx context.Context, file Below) error
	// RemoveTree removes a folder with all it holds, or a file. Otherwise it is
	// as Remove. It must not be called for a folder that a running container
	// can write.
	RemoveTree(ctx context.Context, folder Below) error
	// List returns a folder's entries sorted by name; a missing folder has
	// none, and one that is too large is ErrLargeFolder. What an interrupted Write left behind is not listed.
	List(ctx context.Context, path string) ([]Entry, error)
	// Stat returns one entry.
	Stat(ctx context.Context, path string) (Entry, error)
	// Owners returns who owns the paths, of links themselves, and as which user
	// kstep is there. What is missing, or lies where that user may not look, is
	// not in it.
	Owners(ctx context.Context, paths []string) (Owners, error)
	// Mkdir makes a folder and its parents; an existing one is fine.
	Mkdir(ctx context.Context, path string, perm fs.FileMode) error
}

// Entry is a file or folder.
type Entry struct {
	Name     string
	Size     int64
	Mode     fs.FileMode
	Modified time.Time
	IsDir    bool
}
