package hosttest

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// sockets are a running container's TCP sockets, as files below /proc/PID/net
// of the fake host. Only what listens and what is established is in them.
type sockets struct {
	dir    string // Of the process, in the fake's root.
	mu     sync.Mutex
	listen []int
	open   map[*tracked]bool
	closed bool
	// counts has the interface count what the server sends, which takes a write
	// of a file each time.
	counts bool
	sent   int
}

// newSockets makes the files of a process.
func newSockets(f *Fake, pid int, addresses []string) (*sockets, error) {
	s := &sockets{
		dir: filepath.Join(f.Root, "proc", fmt.Sprint(pid)), open: map[*tracked]bool{},
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "net"), 0o755); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"fib_trie": trie(addresses), "tcp6": head(), "tcp": head()} {
		if err := os.WriteFile(filepath.Join(s.dir, "net", name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	s.count()
	return s, nil
}

// trie is the text of fib_trie, with a container's addresses.
func trie(addresses []string) string {
	var text strings.Builder
	text.WriteString("Local:\n  +-- 0.0.0.0/0 3 0 5\n")
	for _, ip := range append([]string{"127.0.0.1"}, addresses...) {
		text.WriteString("        |-- " + ip + "\n           /32 host LOCAL\n")
	}
	return text.String()
}

// setAddresses shows the addresses of a container that has joined a network, or
// left one.
func (s *sockets) setAddresses(addresses []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	file := filepath.Join(s.dir, "net", "fib_trie")
	if os.WriteFile(file+".new", []byte(trie(addresses)), 0o600) == nil {
		os.Rename(file+".new", file) // A reader that finds the old one looks again.
	}
}

// cut ends the connections to an address that the container has no more.
func (s *sockets) cut(address string) {
	s.mu.Lock()
	var open []*tracked
	for c := range s.open {
		if c.own == address {
			open = append(open, c)
		}
	}
	s.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
}

// count writes what the network's interfaces have sent; s is locked, or not
// shared yet.
func (s *sockets) count() {
	if s.closed {
		return
	}
	var text strings.Builder
	text.WriteString("Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n")
	for name, sent := range map[string]int{"lo": 0, "eth0": s.sent} {
		fmt.Fprintf(&text, "%6s:       0       0    0    0    0     0          0         0 %8d       0    0    0    0     0       0          0\n", name, sent)
	}
	file := filepath.Join(s.dir, "net", "dev")
	if os.WriteFile(file+".new", []byte(text.String()), 0o600) == nil {
		os.Rename(file+".new", file) // A reader that finds the old one looks again.
	}
}

func head() string {
	return fmt.Sprintf("%-149s\n", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode")
}

// write replaces the table; s is locked. A reader sees the old or the new one.
func (s *sockets) write() {
	if s.closed {
		return
	}
	var text strings.Builder
	text.WriteString(head())
	n := 0
	line := func(local, remote, state string) {
		fmt.Fprintf(&text, "%-149s\n", fmt.Sprintf("%4d: %s %s %s 00000000:00000000 00:00000000 00000000     0        0 %d 1 0000000000000000 100 0 0 10 0", n, local, remote, state, 1000+n))
		n++
	}
	for _, port := range s.listen {
		line(socket("0.0.0.0", port), socket("0.0.0.0", 0), "0A")
	}
	for c := range s.open {
		line(socket(c.own, c.port), socket(c.remote, c.remotePort), "01")
	}
	table := filepath.Join(s.dir, "net", "tcp")
	if os.WriteFile(table+".new", []byte(text.String()), 0o600) == nil {
		os.Rename(table+".new", table) // A reader that finds the old one looks again.
	}
}

// socket is an address as the kernel prints it: the words in the order of bytes
// of the machine.
func socket(ip string, port int) string {
	b := netip.MustParseAddr(ip).As4()
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(b[:]), port)
}

// end takes the process away, and its folder.
func (s *sockets) end() {
	if s == nil { // It never ran.
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		os.RemoveAll(s.dir) // It is the test's folder.
	}
}

// listens adds a port to those that were dialled: a fake listens on every one.
func (s *sockets) listens(port int) {
	if !slices.Contains(s.listen, port) {
		s.listen = append(s.listen, port)
	}
}

// tracked is a connection that is established until one side closes it.
type tracked struct {
	*halves
	sockets          *sockets
	port, remotePort int
	own, remote      string
}

// track shows a connection in the table, from both of its ends.
func (s *sockets) track(from, to string, port int, client, server *halves) (net.Conn, net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := &tracked{halves: client, sockets: s, port: port, own: to, remote: from, remotePort: 32768 + len(s.open)}
	s.listens(port)
	s.open[end] = true
	s.write()
	return end, &portConn{&serverEnd{server, end}, port}
}

func (c *tracked) gone() {
	c.sockets.mu.Lock()
	defer c.sockets.mu.Unlock()
	if c.sockets.open[c] {
		delete(c.sockets.open, c)
		c.sockets.write()
	}
}

func (c *tracked) Close() error {
	defer c.gone()
	return c.halves.Close()
}

// serverEnd is the container's end of a connection.
type serverEnd struct {
	*halves
	client *tracked
}

// RemoteAddr is where the client is, as the container sees it.
func (c *serverEnd) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP(c.client.remote), Port: c.client.remotePort}
}

func (c *serverEnd) Close() error {
	defer c.client.gone()
	return c.halves.Close()
}

func (c *serverEnd) Write(data []byte) (int, error) {
	n, err := c.halves.Write(data)
	if s := c.client.sockets; s.counts {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sent += n
		s.count()
	}
	return n, err
}
