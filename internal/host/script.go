package host

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed" // The script.
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/engine"
)

// An SFTP server needs several requests for one file, one after another. A
// shell that stays open does all of them in one round trip: each request is a
// line with a function of files.sh and its words, each answer what that prints,
// and a line with the request's own mark and the status. Requests need not wait
// for the answers to those before them.
//
// The shell has to do well what it does, and nothing else: whatever fails there
// for another reason than that a file is or is not there is done again over
// SFTP, whose word counts. So is all that the shell cannot do.

//go:embed files.sh
var filesScript string

// ScriptName is the name under which the script runs on the host.
const ScriptName = "kstep-files"

// FilesSFTP does without the shell, and FilesShell takes it also on a host that is near.
const (
	FilesSFTP  = "sftp"
	FilesShell = "shell"
)

// The statuses of files.sh that are an answer.
const (
	statusMissing = 44
	statusExists  = 45
)

// maxLine bounds the data of a request: a shell reads byte by byte.
const maxLine = 48 << 10

// maxAppend is what a shell appends in one write, whatever it is.
const maxAppend = 1000

// answerWithin is how long a host may take to start the shell.
const answerWithin = 10 * time.Second

// errOtherWay is a request that has to be made over SFTP.
var errOtherWay = errors.New("the shell does not do it")

// errShellEnded is a shell that ended before it answered: what it was to do may be
// done.
var errShellEnded = fmt.Errorf("%w: it ended", errOtherWay)

// script is a shell that runs files.sh.
type script struct {
	channel ssh.Channel
	home    string

	mu    sync.Mutex
	asked []*request // Oldest first; the answers come in this order.
	ended bool
	buf   bytes.Buffer // Of the oldest one's answer.
	seen  int          // So much of it has no mark.
}

// request is one line that was sent.
type request struct {
	mark   string
	answer chan answer // Has room.
}

type answer struct {
	data   []byte
	status int
	err    error
}

// startScript starts the shell.
func startScript(ctx context.Context, client *ssh.Client, heard func()) (*script, error) {
	command, err := commandFor([]string{"sh", "-c", filesScript, ScriptName})
	if err != nil {
		return nil, err
	}
	channel, err := await(ctx, func() (ssh.Channel, error) { return program(client, command.line) })
	if err != nil {
		return nil, err
	}
	s := &script{channel: channel}
	go s.listen(command, heard)
	if _, err := io.WriteString(channel, command.script); err != nil {
		s.close()
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerWithin, errOtherWay)
	defer cancel()
	home, err := s.request(ctx, "home")
	if err != nil {
		s.close()
		return nil, err
	}
	s.home = strings.TrimSuffix(string(home), "\n")
	if !path.IsAbs(s.home) {
		s.close()
		return nil, errOtherWay
	}
	return s, nil
}

// program opens a channel and starts a command on it.
func program(client *ssh.Client, line string) (ssh.Channel, error) {
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(requests)
	go io.Copy(io.Discard, channel.Stderr()) //nolint:errcheck // Unread, it would block the program.
	ok, err := channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{line}))
	if err == nil && !ok {
		err = errOtherWay
	}
	if err != nil {
		channel.Close()
	}
	return channel, err
}

func (s *script) close() {
	s.channel.Close()
	s.end(nil)
}

// end answers those who wait: the oldest with err, if there is one.
func (s *script) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for i, r := range s.asked {
		if i > 0 || err == nil {
			err = errShellEnded
		}
		r.answer <- answer{err: err}
	}
	s.asked = nil
}

func (s *script) alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ended
}

// listen takes in what the shell prints.
func (s *script) listen(command shellCommand, heard func()) {
	out := command.output(s)
	buf := make([]byte, 32<<10)
	for {
		n, err := s.channel.Read(buf)
		if n > 0 {
			heard()
			if _, failed := out.Write(buf[:n]); failed != nil {
				s.channel.Close()
				s.end(failed)
				return
			}
		}
		if err != nil {
			s.end(nil)
			return
		}
	}
}

// Write is called with what comes after the noise of start files.
func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Write(p)
	for len(s.asked) > 0 {
		r := s.asked[0]
		sign := []byte("\n" + r.mark + " ")
		have := s.buf.Bytes()
		at := bytes.Index(have[s.seen:], sign)
		if at < 0 {
			s.seen = max(0, len(have)-len(sign))
			if len(have) > MaxRead+len(sign) {
				return 0, ErrTooLarge
			}
			return len(p), nil
		}
		at += s.seen
		status, rest, whole := bytes.Cut(have[at+len(sign):], []byte("\n"))
		if !whole {
			s.seen = at
			return len(p), nil
		}
		number, err := strconv.Atoi(string(status))
		if err != nil {
			return 0, errOtherWay
		}
		a := answer{data: bytes.Clone(have[:at]), status: number}
		if len(a.data) > MaxRead {
			a = answer{err: ErrTooLarge}
		}
		r.answer <- a
		rest = bytes.Clone(rest)
		s.buf.Reset()
		s.buf.Write(rest)
		s.asked, s.seen = s.asked[1:], 0
	}
	return len(p), nil
}

// request sends a request and waits for its answer. errOtherWay is any failure that
// does not concern the file.
func (s *script) request(ctx context.Context, function string, words ...string) ([]byte, error) {
	r, err := s.send(ctx, function, words)
	if err != nil {
		return nil, err
	}
	select {
	case a := <-r.answer:
		switch {
		case a.err != nil:
			return nil, a.err
		case a.status == 0:
			return a.data, nil
		case a.status == statusMissing:
			return nil, fmt.Errorf("%w", fs.ErrNotExist)
		case a.status == statusExists:
			return nil, fmt.Errorf("%w", fs.ErrExist)
		default:
			return nil, errOtherWay
		}
	case <-ctx.Done():
		if errors.Is(context.Cause(ctx), errOtherWay) {
			return nil, errOtherWay
		}
		return nil, engine.Ended(ctx)
	}
}

func (s *script) send(ctx context.Context, function string, words []string) (*request, error) {
	r := &request{mark: rand.Text(), answer: make(chan answer, 1)}
	var line strings.Builder
	line.WriteString(r.mark + " k_" + function)
	for _, word := range words {
		line.WriteString(" " + strings.ReplaceAll(quoteWord(word), "\n", `'"$k_n"'`))
	}
	line.WriteString("\n")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, errOtherWay
	}
	// As late as can be: from here on nothing holds the request back.
	if err := engine.Ended(ctx); err != nil {
		return nil, err
	}
	s.asked = append(s.asked, r)
	if _, err := io.WriteString(s.channel, line.String()); err != nil {
		s.asked = s.asked[:len(s.asked)-1]
		return nil, errOtherWay
	}
	sent(ctx)
	return r, nil
}

// scriptPath is a path as files.sh takes it: one that begins with a dot or a
// slash, as no other word does.
func scriptPath(file string) string {
	file = path.Clean(file)
	if !path.IsAbs(file) {
		file = "./" + file
	}
	return file
}

// scriptData is data as a format of the shell's printf: nothing of it stands on a
// command line of a program.
func scriptData(data []byte) string {
	var b strings.Builder
	for i, c := range data {
		switch {
		case c == '%':
			b.WriteString("%%")
		case c < ' ', c > '~', c == '\\', c == '\'', i == 0 && strings.IndexByte("/.-", c) >= 0:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func scriptMode(perm fs.FileMode) string { return fmt.Sprintf("%04o", perm.Perm()) }

// scriptMask is the mask with which a new file has exactly this mode from the
// start.
func scriptMask(perm fs.FileMode) (string, error) {
	if perm.Perm()&0o111 != 0 || perm.Perm()&0o200 == 0 {
		return "", errOtherWay // No mask does that, or the file could not be opened again.
	}
	return fmt.Sprintf("%03o", 0o777&^perm.Perm()), nil
}

// put is write and create.
func (s *script) put(ctx context.Context, function, dir, file string, data []byte, perm fs.FileMode) error {
	if len(data) > maxLine {
		return errOtherWay
	}
	mask, err := scriptMask(perm)
	if err != nil {
		return err
	}
	_, err = s.request(ctx, function, mask, strconv.Itoa(len(data)), scriptMode(parentPerm(perm)), scriptData(data),
		scriptPath(dir), scriptPath(temporaryName(dir, file)), scriptPath(file))
	return err
}

func (s *script) append(ctx context.Context, file string, data []byte, perm fs.FileMode) (int64, error) {
	if len(data) > maxAppend {
		return 0, errOtherWay
	}
	mask, err := scriptMask(perm)
	if err != nil {
		return 0, err
	}
	out, err := s.request(ctx, "append", mask, scriptData(data), scriptPath(file))
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return 0, errOtherWay
	}
	return size, nil
}

func (s *script) list(ctx context.Context, folder string) ([]Entry, error) {
	out, err := s.request(ctx, "list", scriptPath(folder))
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, errOtherWay // Too many for one command line, or there is no `stat`.
	}
	var entries []Entry
	for i, record := range strings.Split(strings.TrimSuffix(string(out), "/\n"), "/\n") {
		about, name, found := strings.Cut(record, " ./")
		e, err := scriptEntry(about)
		if !found || err != nil {
			return nil, errOtherWay
		}
		if i > 0 { // The first is the folder.
			e.Name = name
			entries = append(entries, e)
		}
	}
	return entries, nil
}

func (s *script) stat(ctx context.Context, file string) (Entry, error) {
	out, err := s.request(ctx, "stat", scriptPath(file))
	if err != nil {
		return Entry{}, err
	}
	e, err := scriptEntry(strings.TrimSuffix(string(out), "\n"))
	e.Name = path.Base(file)
	return e, err
}

// scriptEntry reads mode, size and time as `stat` prints them.
func scriptEntry(text string) (Entry, error) {
	fields := strings.Split(text, " ")
	if len(fields) != 3 {
		return Entry{}, errOtherWay
	}
	mode, modeErr := strconv.ParseUint(fields[0], 16, 32)
	size, sizeErr := strconv.ParseInt(fields[1], 10, 64)
	seconds, timeErr := strconv.ParseInt(fields[2], 10, 64)
	if modeErr != nil || sizeErr != nil || timeErr != nil {
		return Entry{}, errOtherWay
	}
	m := unixMode(uint32(mode))
	return Entry{Size: size, Mode: m, Modified: time.Unix(seconds, 0), IsDir: m.IsDir()}, nil
}

// unixMode is a mode of the kernel's, inode(7).
func unixMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	switch mode & 0o170000 {
	case 0o040000:
		m |= fs.ModeDir
	case 0o120000:
		m |= fs.ModeSymlink
	case 0o060000:
		m |= fs.ModeDevice
	case 0o020000:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case 0o010000:
		m |= fs.ModeNamedPipe
	case 0o140000:
		m |= fs.ModeSocket
	}
	for bit, sign := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= sign
		}
	}
	return m
}

// remove takes the parts of a path from its root on.
func (s *script) remove(ctx context.Context, parts []string) error {
	words := make([]string, len(parts))
	for i, part := range parts {
		words[i] = scriptPath(part)
	}
	_, err := s.request(ctx, "remove", words...)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
