package sysinfo

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what is taken from a host.
const (
	maxMount   = 200
	maxProgram = 40
	maxNumber  = int64(1) << 62
)

var (
	// A line of `df -P`: name, size, used, free, a percentage or a dash, mount point.
	dfLine = regexp.MustCompile(`^\S.*\s([0-9]{1,18})\s+[0-9]{1,18}\s+([0-9]{1,18})\s+(?:[0-9]{1,3}%|-)\s+(/.*)$`)
	// A line of /proc/meminfo.
	memoryLine = regexp.MustCompile(`^MemAvailable:\s+([0-9]{1,15}) kB$`)
	// A line of /proc/net/tcp or tcp6 for a socket that listens: proc_net(5).
	listenLine = regexp.MustCompile(`^\s*[0-9]+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) (?:0{8}|0{32}):0000 0A `)
	// A line of `ss -Hltnp`: the local address, the remote one, the first program.
	programLine = regexp.MustCompile(`^LISTEN\s+[0-9]+\s+[0-9]+\s+\S+:([0-9]{1,5})\s+\S+\s+users:\(\("([a-zA-Z0-9_.:@/ -]+)",pid=[0-9]+`)
	clockLine   = regexp.MustCompile(`^[0-9]{9,11}$`)
)

// parse reads the output of the script. Info.Ahead is the host's time since 1970.
func parse(out string, folders []string) Info {
	info := Info{Memory: -1}
	spaces, inodes := map[string]Disk{}, map[string]Disk{}
	programs := map[int]string{}
	for line := range strings.Lines(out) {
		section, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch {
		case section == "clock" && clockLine.MatchString(rest):
			info.Ahead, info.ClockKnown = time.Duration(number(rest))*time.Second, true
			info.ClockKnown = number(rest) < int64(1<<63-1)/int64(time.Second)
		case section == "memory":
			if m := memoryLine.FindStringSubmatch(rest); m != nil {
				info.Memory = number(m[1]) << 10
			}
		case section == "listeners":
			info.ListenersKnown = true
		case section == "listen":
			info.listen(rest)
		case section == "program":
			if m := programLine.FindStringSubmatch(rest); m != nil {
				programs[int(number(m[1]))] = m[2][:min(len(m[2]), maxProgram)]
			}
		case strings.HasPrefix(section, "space"):
			spaces[strings.TrimPrefix(section, "space")], _ = disk(rest)
		case strings.HasPrefix(section, "inodes"):
			inodes[strings.TrimPrefix(section, "inodes")], _ = disk(rest)
		}
	}
	for i, l := range info.Listeners {
		info.Listeners[i].Program = programs[l.Port]
	}
	for i, folder := range folders {
		n := fmt.Sprint(i)
		info.disk(folder, spaces[n], inodes[n])
	}
	return info
}

// disk is a line of `df -P`, in the unit of its columns.
func disk(line string) (Disk, bool) {
	m := dfLine.FindStringSubmatch(line)
	if m == nil || !utf8.ValidString(m[3]) {
		return Disk{}, false
	}
	return Disk{Mount: m[3][:min(len(m[3]), maxMount)], Size: number(m[1]), Free: number(m[2])}, true
}

// disk adds the file system of a folder. space is in KiB.
func (i *Info) disk(folder string, space, inodes Disk) {
	if space.Mount == "" || space.Size <= 0 || space.Size > maxNumber>>10 || space.Free > space.Size {
		i.Unknown = append(i.Unknown, folder)
		return
	}
	d := Disk{Mount: space.Mount, Size: space.Size << 10, Free: space.Free << 10, Inodes: -1, FreeInodes: -1}
	if inodes.Mount == space.Mount && inodes.Size > 0 && inodes.Free <= inodes.Size { // btrfs reports 0.
		d.Inodes, d.FreeInodes = inodes.Size, inodes.Free
	}
	if !slices.ContainsFunc(i.Disks, func(o Disk) bool { return o.Mount == d.Mount }) {
		i.Disks = append(i.Disks, d)
	}
}

// listen adds a line of the kernel's table.
func (i *Info) listen(line string) {
	m := listenLine.FindStringSubmatch(line)
	if m == nil {
		return
	}
	port, err := strconv.ParseUint(m[2], 16, 16)
	address, ok := address(m[1])
	one := Listener{Address: address, Port: int(port)}
	if err == nil && ok && !slices.Contains(i.Listeners, one) {
		i.Listeners = append(i.Listeners, one)
	}
}

// address reads one of the kernel's, which are words in the order of bytes of the host.
// kstep takes it for little-endian; an unspecified address is the same in both.
func address(text string) (netip.Addr, bool) {
	raw, err := hex.DecodeString(text)
	if err != nil {
		return netip.Addr{}, false
	}
	for at := 0; at < len(raw); at += 4 {
		binary.BigEndian.PutUint32(raw[at:], binary.LittleEndian.Uint32(raw[at:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return addr.Unmap(), ok
}

// number reads digits of which the length was checked.
func number(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return -1
	}
	return n
}
