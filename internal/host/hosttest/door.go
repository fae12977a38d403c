package hosttest

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"github.com/kstep/kstep/internal/engine"
)

// Dial reaches a port that the host publishes, as its users do: not through
// SSH, so it works whatever became of that.
func (f *Fake) Dial(port int) (net.Conn, error) {
	c, err := f.Engine.dialFromHost("127.0.0.1", port)
	if c == nil && err == nil {
		err = fmt.Errorf("connect to %s port %d: %w", f.Name, port, syscall.ECONNREFUSED)
	}
	return c, err
}

// Look is a client of the host's engine for tests that check its state. It does
// not go through SSH, and its requests are not counted.
func (f *Fake) Look() *engine.Client {
	return engine.New(engine.Options{
		Host: f.Name, Dial: func(context.Context) (net.Conn, error) { return f.Engine.dial() },
	})
}

// Write makes a container write a line.
func (e *Engine) Write(ref, line string) {
	e.mu.Lock()
	c := e.find(ref)
	e.mu.Unlock()
	c.log(false, line)
}

// Crash ends a container as if its program had, with this status; its restart
// policy applies. It returns when it has ended.
func (e *Engine) Crash(ref string, status int) {
	e.mu.Lock()
	c := e.find(ref)
	e.mu.Unlock()
	if c != nil {
		c.exit(status)
	}
}
