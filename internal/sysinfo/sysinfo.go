// Package sysinfo reads what a host has: space, memory, its clock, and the ports on
// which it listens. One script reads all of it, in one command, as the SSH user and
// without any change. Nothing in its output is trusted: a value that is not exactly as
// expected counts as not known. The package judges nothing.
package sysinfo

import (
	"context"
	_ "embed" // The script.
	"errors"
	"net/netip"
	"path"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
)

// patience is how long the script may take: df waits for a network file system that does
// not answer.
const patience = 30 * time.Second

// script prints lines, each with the name of its section in front.
//
//go:embed sysinfo.sh
var script []byte

// Info is what a host has.
type Info struct {
	// Disks are the file systems of the folders, each once, in their order.
	Disks []Disk
	// Unknown are the folders of which the file system is not known.
	Unknown []string
	// Memory is how much a program can get without swapping, in bytes: MemAvailable of
	// proc_meminfo(5). -1 is not known.
	Memory int64
	// Ahead is how far the host's clock is ahead of this machine's, negative where it is
	// behind, and Within how exact that is: half of the time that the command took, and
	// of a second. ClockKnown is false where the host reported no time.
	Ahead, Within time.Duration
	ClockKnown    bool
	// Listeners are the sockets of TCP that listen. ListenersKnown is false where /proc
	// did not show them.
	Listeners      []Listener
	ListenersKnown bool
}

// Disk is a file system.
type Disk struct {
	Mount string // Where it is mounted, as the host reports it.
	// Size and Free are in bytes. Free is what the SSH user can still write.
	Size, Free int64
	// Inodes are all, and FreeInodes those left. Both are -1 where the file system has no
	// fixed number of them, or where it is not known.
	Inodes, FreeInodes int64
}

// Listener is a socket that listens.
type Listener struct {
	Address netip.Addr // Unspecified: every address.
	Port    int
	Program string // Its name, as far as the SSH user may see it; mostly empty.
}

// Read reads what a host has. folders are absolute; of one that is missing the folder
// above it counts. An error means that the script did not run or did not end. Info has no
// value then that counts as known.
func Read(ctx context.Context, h host.Host, folders []string) (Info, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	argv := []string{"sh", "-s", "--", "/proc/meminfo", "/proc/net/tcp", "/proc/net/tcp6"}
	var asked []string
	for _, folder := range folders {
		if path.IsAbs(folder) { // The engine names one of them.
			asked = append(asked, path.Clean(folder))
		}
	}
	began := time.Now()
	out, err := h.Run(limited, append(argv, asked...), script)
	took := time.Since(began)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = errors.New("the host did not report its resources within " + patience.String())
		} else if ended := engine.Ended(ctx); ended != nil {
			err = ended
		}
		return Info{Memory: -1, Unknown: asked}, err
	}
	info := parse(string(out), asked)
	info.clock(began, took)
	return info, nil
}

// clock compares the time of the host with the middle of the command. Info.Ahead has the
// host's time since 1970 until then.
func (i *Info) clock(began time.Time, took time.Duration) {
	if !i.ClockKnown {
		return
	}
	const second = time.Second / 2 // date cuts the rest of the second off.
	middle := began.Add(took / 2)
	i.Ahead = time.Unix(0, int64(i.Ahead)).Add(second).Sub(middle)
	i.Within = took/2 + second
}
