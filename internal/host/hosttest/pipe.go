package hosttest

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// pipeListener is a server's listener without a socket.
type pipeListener struct {
	incoming chan net.Conn
	done     chan struct{}
	once     sync.Once

	mu   sync.Mutex
	open []net.Conn
}

var _ net.Listener = (*pipeListener)(nil)

func newPipeListener() *pipeListener {
	return &pipeListener{incoming: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "fake"} }

func (l *pipeListener) dial() (net.Conn, error) {
	client, server := duplex()
	return l.connect(client, server)
}

// connect hands the server its end of a connection.
func (l *pipeListener) connect(client, server net.Conn) (net.Conn, error) {
	select {
	case l.incoming <- server:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open = append(l.open, server)
		return client, nil
	case <-l.done:
		client.Close()
		return nil, syscall.ECONNREFUSED
	}
}

// sever breaks all connections.
func (l *pipeListener) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		c.Close()
	}
	l.open = nil
}

// duplex is net.Pipe with directions that end one by one, as sockets have.
func duplex() (a, b *halves) {
	fromA, toB := net.Pipe()
	fromB, toA := net.Pipe()
	return &halves{Conn: fromA, in: toA}, &halves{Conn: fromB, in: toB}
}

// halves writes to its Conn and reads from another one.
type halves struct {
	net.Conn
	in net.Conn
}

func (h *halves) Read(p []byte) (int, error) { return h.in.Read(p) }

func (h *halves) CloseWrite() error { return h.Conn.Close() }

func (h *halves) Close() error { return errors.Join(h.in.Close(), h.Conn.Close()) }

func (h *halves) SetDeadline(t time.Time) error {
	return errors.Join(h.SetReadDeadline(t), h.SetWriteDeadline(t))
}

func (h *halves) SetReadDeadline(t time.Time) error { return h.in.SetReadDeadline(t) }

// portConn lets the server see which port was dialled, as its local address.
type portConn struct {
	*serverEnd
	port int
}

func (c *portConn) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: c.port} }
