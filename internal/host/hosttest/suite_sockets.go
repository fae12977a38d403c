package hosttest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/engine"
)

// sockets are seen by the user kstep logs in as, in the ways it can look.
func (s suite) sockets() {
	spec := s.spec()
	id := s.run(spec)
	c := s.inspect(id)
	if c.Pid == 0 || len(c.IPs) != 1 || c.IPs[0].String() != c.Addresses[s.network] {
		s.Fatalf("got process %d and addresses %v, want those of a running container", c.Pid, c.IPs)
	}
	dir := fmt.Sprintf("/proc/%d/net/", c.Pid)
	trie, err := s.h.Files().Read(s.Context(), dir+"fib_trie")
	must(s, err)
	if !strings.Contains(string(trie), "|-- "+c.IPs[0].String()+"\n") {
		s.Errorf("got %q, want its address in it", trie)
	}
	conn := s.reach(net.JoinHostPort(c.IPs[0].String(), "3000"))
	defer conn.Close()
	established := regexp.MustCompile(`: [0-9A-F]+:0BB8 [0-9A-F]+:[0-9A-F]{4} 01 `)
	listening := regexp.MustCompile(`: 0+:0BB8 0+:0000 0A `)
	see := func(want int) {
		s.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for {
			tables := s.read(dir+"tcp") + s.read(dir+"tcp6")
			out, err := s.h.Run(s.Context(), []string{"cat", dir + "tcp", dir + "tcp6"}, nil)
			must(s, err)
			if !listening.MatchString(tables) || !listening.Match(out) {
				s.Fatalf("got %q and %q, want a socket that listens", tables, out)
			}
			byRead, byRun := len(established.FindAllString(tables, -1)), len(established.FindAll(out, -1))
			if byRead == want && byRun == want {
				return
			}
			if time.Now().After(deadline) {
				s.Fatalf("got %d and %d connections, want %d", byRead, byRun, want)
			}
		}
	}
	see(1)
	second := s.reach(net.JoinHostPort(c.IPs[0].String(), "3000"))
	see(2)
	must(s, second.Close())
	see(1)
	if sent := regexp.MustCompile(`(?m)^ *eth0: *(?:[0-9]+ +){8}[0-9]+ `); !sent.MatchString(s.read(dir + "dev")) {
		s.Errorf("got %q, want what its interface has sent", s.read(dir+"dev"))
	}
	must(s, s.e.Stop(s.Context(), id, engine.Stop{}))
	if _, err := s.h.Files().Read(s.Context(), dir+"tcp"); !errors.Is(err, fs.ErrNotExist) {
		s.Errorf("of a process that has ended: got %v, want fs.ErrNotExist", err)
	}
	if now := s.inspect(id); now.Pid != 0 {
		s.Errorf("got process %d of a stopped container", now.Pid)
	}
}

// read returns a file's text.
func (s suite) read(file string) string {
	s.Helper()
	data, err := s.h.Files().Read(s.Context(), file)
	must(s, err)
	return string(data)
}

// reach connects to an address as soon as something listens there.
func (s suite) reach(address string) net.Conn {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	defer cancel()
	for {
		conn, err := s.h.Dial(ctx, "tcp", address)
		if err == nil {
			return conn
		}
		if ctx.Err() != nil {
			s.Fatal(err)
		}
	}
}
