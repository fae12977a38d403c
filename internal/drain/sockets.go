package drain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
)

// anywhere is every address but loopback.
const anywhere = "[0-9A-F]{6}" + notLoop + "|0{16}FFFF0000[0-9A-F]{6}" + notLoop + "|[0-9A-F]*[1-9A-F][0-9A-F]{16,31}"

// notLoop is the first byte of an IPv4 address other than 127.
const notLoop = "([0-689A-F][0-9A-F]|7[0-9A-E])"

// peers is a pattern for addresses as /proc/net/tcp and tcp6 have them: 32-bit
// words in the byte order of the machine. Both orders are in it.
func peers(ips []netip.Addr) string {
	if len(ips) == 0 {
		return anywhere
	}
	var forms []string
	for _, ip := range ips {
		ip = ip.Unmap()
		b := ip.As16()
		if ip.Is4() {
			forms = append(forms, hexWords(b[12:], true), hexWords(b[12:], false))
		}
		forms = append(forms, hexWords(b[:], true), hexWords(b[:], false))
	}
	return strings.Join(forms, "|")
}

func hexWords(b []byte, little bool) string {
	var out strings.Builder
	for word := range slices.Chunk(b, 4) {
		word = slices.Clone(word)
		if little {
			slices.Reverse(word)
		}
		fmt.Fprintf(&out, "%X", [4]byte(word))
	}
	return out.String()
}

// ownAddress is a file below /proc/PID/net and a pattern for the line of it that
// a process with this address has. A process with the same number in another
// container does not: kstep may itself run in one.
func ownAddress(ip netip.Addr) (file, pattern string) {
	if ip = ip.Unmap(); ip.Is4() {
		return "fib_trie", `[|]-- ` + strings.ReplaceAll(ip.String(), ".", "[.]") + "$"
	}
	return "if_inet6", fmt.Sprintf("^%x ", ip.As16())
}

// listening is a socket that listens, and its port.
var listening = regexp.MustCompile(`: [0-9A-F]+:([0-9A-F]{4}) 0+:0000 0A `)

// count is the number of connections from the proxy in the sockets' tables:
// established (01), being established (03), or closed by the application with
// data still to send (04), on a port where the application listens. Others go
// the other way, such as the application's own requests through the proxy.
func count(tables, peers string) int {
	var ports []string
	for _, found := range listening.FindAllStringSubmatch(tables, -1) {
		ports = append(ports, found[1])
	}
	if len(ports) == 0 { // It has closed its listener.
		ports = []string{"[0-9A-F]{4}"}
	}
	inbound := regexp.MustCompile(`: [0-9A-F]+:(` + strings.Join(ports, "|") + `) (` + peers + `):[0-9A-F]{4} 0[134] `)
	return len(inbound.FindAllStringIndex(tables, -1))
}

// pollPause is the pause between two looks from afar, each of which is some
// round trips.
const pollPause = 250 * time.Millisecond

// poll looks over SFTP where no command can be run.
func (w *waiting) poll(ctx context.Context) ([]string, error) {
	if err := rest(ctx, min(settle, w.left())); err != nil {
		return nil, err
	}
	quiet := make([]quiet, len(w.containers))
	for first := true; ; first = false {
		words := make([]string, len(w.containers))
		errs := make([]error, len(w.containers))
		var wg sync.WaitGroup
		for i, c := range w.containers {
			wg.Go(func() { words[i], errs[i] = w.look(ctx, c, first, &quiet[i]) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
		busy := func(word string) bool { return word != "0" && word != gone && word != idle }
		if slices.Contains(words, hidden) || !slices.ContainsFunc(words, busy) || w.left() == 0 {
			return words, nil
		}
		if err := rest(ctx, min(pollPause, w.left())); err != nil {
			return nil, err
		}
	}
}

// quiet is since when a container has sent nothing.
type quiet struct {
	sent  string
	since time.Time
}

// look takes what the container has sent until now, and returns for how long it
// has not changed.
func (q *quiet) look(sent string) time.Duration {
	if sent == "" || sent != q.sent {
		q.sent, q.since = sent, time.Now()
	}
	return time.Since(q.since)
}

// sent is what a network has sent, by all interfaces but its own loopback, from
// the text of /proc/PID/net/dev; empty where there is none.
func sent(dev string) string {
	var all strings.Builder
	for line := range strings.Lines(dev) {
		name, numbers, ok := strings.Cut(line, ":")
		if fields := strings.Fields(numbers); ok && strings.TrimSpace(name) != "lo" && len(fields) > 8 {
			all.WriteString(" " + fields[8])
		}
	}
	return all.String()
}

// look counts the connections of one container.
func (w *waiting) look(ctx context.Context, c engine.Container, first bool, q *quiet) (string, error) {
	files := []string{"tcp", "tcp6", "dev"}
	own, pattern := ownAddress(c.IPs[0])
	if first {
		files = append(files, own)
	}
	texts := make([]string, len(files))
	errs := make([]error, len(files))
	var wg sync.WaitGroup
	for i, file := range files {
		wg.Go(func() {
			var data []byte
			data, errs[i] = w.host.Files().Read(ctx, proc(c)+"/net/"+file)
			texts[i] = string(data)
		})
	}
	wg.Wait()
	if errors.Is(errs[1], fs.ErrNotExist) { // A kernel without IPv6.
		errs[1] = nil
	}
	errs[2] = nil // Without it, no connection counts as idle.
	switch err := errors.Join(errs...); {
	case errors.Is(err, fs.ErrNotExist):
		return gone, nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case exit.CodeOf(err) == exit.Unreachable:
		return "", err
	case err != nil: // Such as no permission, or a process that ends.
		return hidden, nil
	case first && !regexp.MustCompile("(?m)"+pattern).MatchString(texts[3]):
		return hidden, nil
	}
	n := count(texts[0]+texts[1], w.peers)
	if n > 0 && w.keepsIdle(c) && q.look(sent(texts[2])) >= w.silence {
		return idle, nil
	}
	return strconv.Itoa(n), nil
}
