package hosttest

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
)

func (s suite) environment() {
	spec := s.spec()
	spec.Env = map[string]string{
		"PLAIN": "x", "EMPTY": "", "LINES": "a\nb\n", "QUOTES": `'"\$x` + "`", "WIDE": "grüße 日本", "EQUALS": "a=b=c", "SPACES": "  a  ",
	}
	id := s.run(spec)
	for name, want := range spec.Env {
		status, out, err := s.e.Exec(s.Context(), id, []string{"sh", "-c", `printf '%s.' "$` + name + `"`})
		must(s, err)
		if status != 0 || string(out) != want+"." {
			s.Errorf("%s: got %q (status %d), want %q", name, out, status, want+".")
		}
	}
}

func (s suite) ends() {
	spec := s.spec()
	spec.Cmd = []string{"sh", "-c", "echo one; echo two; echo three >&2; exit 3"}
	id := s.run(spec)
	var last engine.Container
	err := s.e.WaitFor(s.Context(), id, func(c engine.Container) (bool, error) {
		last = c
		return c.State == "exited", nil
	})
	must(s, err)
	if last.ExitCode != 3 {
		s.Errorf("got status %d, want 3", last.ExitCode)
	}
	lines, err := s.e.Logs(s.Context(), id, 10)
	must(s, err)
	slices.Sort(lines) // The order of two streams is not promised.
	if want := []string{"one", "three", "two"}; !slices.Equal(lines, want) {
		s.Errorf("got lines %q, want %q", lines, want)
	}
	if lines, err = s.e.Logs(s.Context(), id, 1); err != nil || len(lines) != 1 {
		s.Errorf("got %q, %v, want one line", lines, err)
	}
	list, err := s.e.Containers(s.Context(), engine.Filter{IDs: []string{id}, All: true})
	must(s, err)
	if len(list) != 1 || list[0].ExitCode != 3 {
		s.Errorf("got list %+v, want status 3 in it", list)
	}
}

func (s suite) follow() {
	spec := s.spec()
	spec.Cmd = []string{"sh", "-c", "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three"}
	id := s.run(spec)
	for range 2 { // While it runs, and once it has ended.
		var lines []string
		must(s, s.e.Follow(s.Context(), id, time.Time{}, func(line string) { lines = append(lines, line) }))
		if want := []string{"one", "two", "three"}; !slices.Equal(lines, want) {
			s.Errorf("got lines %q, want %q", lines, want)
		}
	}
	ended := s.inspect(id).Finished
	must(s, s.e.Output(id).Read(s.Context(), engine.Lines{Last: 1}, func(l engine.Line) {
		if !l.Time.Before(ended) { // A busy engine takes the last line after the end.
			ended = l.Time.Add(time.Nanosecond)
		}
	}))
	must(s, s.e.Start(s.Context(), id)) // Once more.
	var again []string
	must(s, s.e.Follow(s.Context(), id, ended, func(line string) { again = append(again, line) }))
	if len(again) != 3 {
		s.Errorf("since the second start: got %q, want what came then", again)
	}
	for want, which := range map[string]engine.Lines{
		"three": {Last: 1}, "one two three": {Since: ended}, "two three": {Since: ended, Last: 2}, "three ": {Since: ended, Last: 1, Follow: true},
	} {
		var lines []string
		must(s, s.e.Output(id).Read(s.Context(), which, func(l engine.Line) { lines = append(lines, l.Text) }))
		if got := strings.Join(lines, " "); got != strings.TrimSpace(want) {
			s.Errorf("of %+v: got %q, want %q", which, got, want)
		}
	}
	if err := s.e.Follow(s.Context(), "none-such", time.Time{}, func(string) {}); !errors.Is(err, engine.ErrNotFound) {
		s.Errorf("of no container: got %v, want ErrNotFound", err)
	}
	ctx, cancel := context.WithTimeout(s.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.e.Follow(ctx, s.run(s.spec()), time.Time{}, func(string) {}); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("past its end: got %v, want the deadline", err)
	}
}

// streams wants each line when it is written, with its time, from a container
// that runs on.
func (s suite) streams() {
	spec := s.spec()
	spec.Cmd = []string{"sh", "-c", "trap 'echo three' TERM; echo one; echo two; while :; do sleep 0.1; done"}
	id := s.run(spec)
	before := time.Time{}
	out, texts := s.e.Output(id), make(chan string, 10)
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	read := make(chan error, 1)
	follow := func() {
		read <- out.Read(ctx, engine.Lines{Follow: true}, func(l engine.Line) {
			if l.Time.Before(before) || l.Time.IsZero() {
				s.Errorf("got line %+v after one of %s", l, before)
			}
			before = l.Time
			texts <- l.Text
		})
	}
	go follow()
	for _, want := range []string{"one", "two"} {
		s.awaitLine(texts, read, want)
	}
	must(s, s.e.Kill(s.Context(), id, "SIGTERM"))
	s.awaitLine(texts, read, "three")
	cancel()
	if err := <-read; !errors.Is(err, context.Canceled) {
		s.Errorf("left alone: got %v, want context.Canceled", err)
	}
	var again []string
	must(s, out.Read(s.Context(), engine.Lines{}, func(l engine.Line) { again = append(again, l.Text) }))
	if len(again) > 0 {
		s.Errorf("read again: got %q, want nothing that was passed on", again)
	}
}

// awaitLine waits for a line.
func (s suite) awaitLine(texts <-chan string, ended <-chan error, want string) {
	s.Helper()
	select {
	case got := <-texts:
		if got != want {
			s.Fatalf("got line %q, want %q", got, want)
		}
	case err := <-ended:
		s.Fatalf("ended before line %q: %v", want, err)
	case <-s.Context().Done():
		s.Fatalf("line %q did not come", want)
	}
}

func (s suite) exec() {
	id := s.run(s.spec())
	status, out, err := s.e.Exec(s.Context(), id, []string{"sh", "-c", "echo out; echo err >&2; exit 4"})
	must(s, err)
	if status != 4 || !strings.Contains(string(out), "out\n") || !strings.Contains(string(out), "err\n") {
		s.Errorf("got status %d and %q, want 4 and both lines", status, out)
	}
	var stdout, stderr strings.Builder
	status, err = s.e.ExecTo(s.Context(), id, []string{"sh", "-c", "echo out; echo err >&2; exit 4"}, &stdout, &stderr)
	must(s, err)
	if status != 4 || stdout.String() != "out\n" || stderr.String() != "err\n" {
		s.Errorf("got %d, %q and %q, want 4 and the streams apart", status, stdout.String(), stderr.String())
	}
	s.execWithInput(id)
	must(s, s.e.Stop(s.Context(), id, engine.Stop{Timeout: time.Second}))
	if _, _, err := s.e.Exec(s.Context(), id, []string{"sh"}); !errors.Is(err, engine.ErrConflict) {
		s.Errorf("in a stopped container: got %v, want ErrConflict", err)
	}
}

func (s suite) execWithInput(id string) {
	long := strings.Repeat("0123456789\n", 20_000)
	var stdout, stderr strings.Builder
	status, err := s.e.ExecWith(s.Context(), id, []string{"sh", "-c", "cat; echo end >&2; exit 3"}, engine.Streams{
		In: strings.NewReader(long), Out: &stdout, Err: &stderr,
	})
	must(s, err)
	if status != 3 || stdout.String() != long || stderr.String() != "end\n" {
		s.Errorf("with input: got %d, %d bytes and %q, want 3, %d bytes and the end", status, stdout.Len(), stderr.String(), len(long))
	}
	// An answer comes before the input ends, and a program that ends does not
	// wait for more.
	in, typed := io.Pipe()
	defer typed.Close()
	answers := &notify{wrote: make(chan string, 10)}
	ended := make(chan error, 1)
	go func() {
		_, err := s.e.ExecWith(s.Context(), id, []string{"sh", "-c", "read a; echo got $a; read b; exit 0"}, engine.Streams{In: in, Out: answers, Err: answers})
		ended <- err
	}()
	for _, line := range []string{"one\n", "two\n"} {
		_, err := io.WriteString(typed, line)
		must(s, err)
		if line == "one\n" {
			if got := <-answers.wrote; got != "got one\n" {
				s.Errorf("got %q, want the answer to the first line", got)
			}
		}
	}
	must(s, <-ended)
	ctx, cancel := context.WithCancel(s.Context())
	go func() { ended <- execForever(ctx, s.e, id) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		s.Errorf("left alone: got %v, want context.Canceled", err)
	}
}

func execForever(ctx context.Context, e *engine.Client, id string) error {
	in, typed := io.Pipe()
	defer typed.Close()
	_, err := e.ExecWith(ctx, id, []string{"sh", "-c", "cat"}, engine.Streams{In: in, Out: io.Discard, Err: io.Discard})
	return err
}

// notify passes on what is written, at once.
type notify struct{ wrote chan string }

func (n *notify) Write(p []byte) (int, error) {
	n.wrote <- string(p)
	return len(p), nil
}

// health uses a check that follows a file in a mounted folder, as the cord
// does.
func (s suite) health() {
	dir := suiteDir(s.T, s.h)
	spec := s.spec()
	spec.Mounts = []engine.Mount{{Source: dir, Target: "/tied", ReadOnly: true}}
	spec.Health = &engine.Health{
		Shell:    "if [ ! -e '/tied/cord' ]; then echo 'app fine, cord untied'; exit 1; fi",
		Interval: 500 * time.Millisecond, Timeout: 2 * time.Second, Retries: 1,
	}
	id := s.run(spec)
	wait := func(what string, done func(engine.Container) bool) {
		s.Helper()
		ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
		defer cancel()
		if err := s.e.WaitFor(ctx, id, func(c engine.Container) (bool, error) { return done(c), nil }); err != nil {
			s.Fatalf("wait for %s: %v", what, err)
		}
	}
	wait("untied", func(c engine.Container) bool {
		return c.Health == "unhealthy" && len(c.HealthLog) > 0 && c.HealthLog[len(c.HealthLog)-1] == "app fine, cord untied"
	})
	cord := path.Join(dir, "cord")
	must(s, s.h.Files().Write(s.Context(), cord, nil, 0o644))
	wait("tied", func(c engine.Container) bool { return c.Health == "healthy" })
	list, err := s.e.Containers(s.Context(), engine.Filter{IDs: []string{id}})
	must(s, err)
	if len(list) != 1 || list[0].Health != "healthy" {
		s.Errorf("got list %+v, want it healthy there too", list)
	}
	must(s, s.h.Files().Remove(s.Context(), host.Under(dir, "cord")))
	wait("cut", func(c engine.Container) bool { return c.Health == "unhealthy" })
}

func (s suite) events() {
	spec := s.spec()
	id := s.create(spec)
	since := s.inspect(id).Created
	must(s, s.e.Start(s.Context(), id))
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	stream, err := s.e.Events(ctx, engine.Filter{Labels: map[string]string{"kstep.suite": s.Name()}}, since)
	must(s, err)
	stopped := false
	for event, err := range stream {
		must(s, err)
		if event.Container != id || event.Name != spec.Name {
			s.Errorf("got %+v, want only those of %s", event, spec.Name)
		}
		if event.Action == "start" && !stopped {
			stopped = true
			must(s, s.e.Stop(ctx, id, engine.Stop{Timeout: time.Second}))
		}
		if event.Action == "die" {
			break
		}
	}
	if !stopped {
		s.Error("missed the start that was before the subscription")
	}
}

func (s suite) stops() {
	spec := s.spec()
	// `wait` is interruptible, and the trap ends the shell.
	spec.Cmd = []string{"sh", "-c", "trap 'exit 5' TERM; trap 'exit 6' INT; echo up; while :; do sleep 1 & wait; done"}
	spec.Stop = engine.Stop{Signal: "SIGINT", Timeout: 10 * time.Second}
	id := s.run(spec)
	s.waitForLine(id, "up")
	began := time.Now()
	must(s, s.e.Stop(s.Context(), id, spec.Stop))
	if c := s.inspect(id); c.State != "exited" || c.ExitCode != 6 || time.Since(began) > 8*time.Second {
		s.Errorf("after %v: got %s with status %d, want the trap's 6", time.Since(began), c.State, c.ExitCode)
	}
	must(s, s.e.Start(s.Context(), id))
	must(s, s.e.Kill(s.Context(), id, ""))
	must(s, s.e.WaitFor(s.Context(), id, func(c engine.Container) (bool, error) { return !c.Running(), nil }))
	if c := s.inspect(id); c.ExitCode != 137 {
		s.Errorf("killed: got status %d, want 137", c.ExitCode)
	}
	if err := s.e.Kill(s.Context(), id, ""); !errors.Is(err, engine.ErrConflict) {
		s.Errorf("killed again: got %v, want ErrConflict", err)
	}
}

// waitForLine waits until a shell has set its traps.
func (s suite) waitForLine(id, line string) {
	s.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		lines, err := s.e.Logs(s.Context(), id, 5)
		must(s, err)
		if slices.Contains(lines, line) {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("got lines %q, want %q", lines, line)
		}
	}
}
