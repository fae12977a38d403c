package hosttest

import (
	"net"
	"sync"
	"time"
)

// Line is a long way to hosts: every byte takes half of the round trip, in each
// direction, and many may be under way at once. It also counts the round trips
// that had to wait for each other, by a logical clock: what a host sends is one
// more than what it had received, and what the client sends as much as it had.
// So a wait on the client counts for nothing, and what is sent at once counts
// once.
type Line struct {
	rtt time.Duration

	mu   sync.Mutex
	seen int
}

// NewLine is a line with this round trip. It counts better the longer that is,
// beside what client and hosts take to think.
func NewLine(rtt time.Duration) *Line { return &Line{rtt: rtt} }

// Trips are the dependent round trips since the last Reset.
func (l *Line) Trips() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

// Reset begins to count anew. No connection may be open.
func (l *Line) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = 0
}

// Behind puts the host at the end of a line, for new connections; nil is no line.
func (f *Fake) Behind(l *Line) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.line = l
}

// through is the host's end of a connection over the line.
func (l *Line) through(c net.Conn) net.Conn {
	// TCP's own handshake, and the way of the packet that ends it.
	time.Sleep(l.rtt + l.rtt/2) //nolint:forbidigo // It is the line that takes its time.
	f := &far{Conn: c, line: l, in: newDelay(), out: newDelay(), received: l.Trips() + 1}
	go f.receive()
	go f.send()
	return f
}

// far is a connection over a line, as the host has it.
type far struct {
	net.Conn

	line    *Line
	in, out *delay

	mu       sync.Mutex
	received int
}

func (f *far) receive() {
	for {
		buf := make([]byte, 64<<10)
		n, err := f.Conn.Read(buf)
		f.in.put(packet{data: buf[:n], due: time.Now().Add(f.line.rtt / 2), trips: f.line.Trips(), err: err})
		if err != nil {
			return
		}
	}
}

func (f *far) send() {
	for {
		p := f.out.take()
		if p.err != nil {
			f.Conn.Close()
			return
		}
		f.line.mu.Lock()
		f.line.seen = max(f.line.seen, p.trips)
		f.line.mu.Unlock()
		if _, err := f.Conn.Write(p.data); err != nil {
			return // The other direction notices.
		}
	}
}

func (f *far) Read(p []byte) (int, error) {
	now := f.in.take()
	f.mu.Lock()
	f.received = max(f.received, now.trips)
	f.mu.Unlock()
	n := copy(p, now.data)
	if n < len(now.data) {
		now.data = now.data[n:]
		f.in.back(now)
		return n, nil
	}
	if n > 0 && now.err != nil {
		f.in.back(packet{err: now.err})
		return n, nil
	}
	if now.err != nil {
		f.in.back(now)
	}
	return n, now.err
}

func (f *far) Write(p []byte) (int, error) {
	f.mu.Lock()
	trips := f.received + 1
	f.mu.Unlock()
	f.out.put(packet{data: append([]byte(nil), p...), due: time.Now().Add(f.line.rtt / 2), trips: trips})
	return len(p), nil
}

func (f *far) Close() error {
	f.out.put(packet{due: time.Now().Add(f.line.rtt / 2), err: net.ErrClosed})
	return nil
}

// packet is what is under way.
type packet struct {
	data  []byte
	due   time.Time
	trips int
	err   error // The end.
}

// delay is one direction.
type delay struct {
	mu      sync.Mutex
	some    *sync.Cond
	packets []packet
}

func newDelay() *delay {
	d := &delay{}
	d.some = sync.NewCond(&d.mu)
	return d
}

func (d *delay) put(p packet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.packets = append(d.packets, p)
	d.some.Signal()
}

func (d *delay) back(p packet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.packets = append([]packet{p}, d.packets...)
}

// take waits for a packet, and for its time.
func (d *delay) take() packet {
	d.mu.Lock()
	for len(d.packets) == 0 {
		d.some.Wait()
	}
	p := d.packets[0]
	d.packets = d.packets[1:]
	d.mu.Unlock()
	time.Sleep(time.Until(p.due)) //nolint:forbidigo // It is the line that takes its time.
	return p
}
