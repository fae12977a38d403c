package hosttest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

func (f *Fake) serverConfig(client ssh.PublicKey) *ssh.ServerConfig {
	return &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if f.Mood().RefuseKeys || string(key.Marshal()) != string(client.Marshal()) {
				return nil, errors.New("unknown key")
			}
			return &ssh.Permissions{}, nil
		},
	}
}

func (f *Fake) accept() {
	var served sync.WaitGroup
	defer served.Wait()
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns[c] = true
		line := f.line
		f.mu.Unlock()
		served.Go(func() {
			if line != nil {
				f.serve(line.through(c))
			} else {
				f.serve(c)
			}
			f.mu.Lock()
			delete(f.conns, c)
			f.mu.Unlock()
		})
	}
}

func (f *Fake) serve(c net.Conn) {
	defer c.Close()
	if f.Mood().Deaf {
		io.Copy(io.Discard, c) // Until the other side gives up.
		return
	}
	f.mu.Lock()
	config := *f.server
	config.AddHostKey(f.hostKey)
	f.mu.Unlock()
	conn, channels, requests, err := ssh.NewServerConn(c, &config)
	if err != nil {
		return
	}
	var open sync.WaitGroup
	defer open.Wait()
	// What runs on the connection ends with it.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	open.Go(func() { f.requests(ctx, conn, requests) })
	for asked := range channels {
		open.Go(func() { f.channel(ctx, asked) })
	}
	cancel()
}

// requests answers those of a whole connection: keepalives, and for ports to listen on.
func (f *Fake) requests(ctx context.Context, conn ssh.Conn, requests <-chan *ssh.Request) {
	var open sync.WaitGroup
	defer open.Wait()
	listening := map[uint32]net.Listener{}
	defer func() { // The connection has ended.
		for _, l := range listening {
			l.Close()
		}
	}()
	for r := range requests {
		var at struct {
			Address string
			Port    uint32
		}
		var answer []byte
		done := false
		switch known := ssh.Unmarshal(r.Payload, &at) == nil; {
		case r.Type == "tcpip-forward" && known && !f.Mood().NoListen:
			l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(at.Address, strconv.Itoa(int(at.Port))))
			if err != nil {
				break
			}
			port := uint32(l.Addr().(*net.TCPAddr).Port)
			listening[port], done, answer = l, true, binary.BigEndian.AppendUint32(nil, port)
			open.Go(func() { f.forwardBack(ctx, conn, l, at.Address) })
		case r.Type == "cancel-tcpip-forward" && known && listening[at.Port] != nil:
			listening[at.Port].Close()
			delete(listening, at.Port)
			done = true
		}
		if r.WantReply {
			r.Reply(done, answer) // The client notices.
		}
	}
}

// forwardBack hands what connects to a port of the host to the client.
func (f *Fake) forwardBack(ctx context.Context, conn ssh.Conn, l net.Listener, address string) {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		port := l.Addr().(*net.TCPAddr).Port
		open.Go(func() {
			channel, requests, err := conn.OpenChannel("forwarded-tcpip", ssh.Marshal(struct {
				Address    string
				Port       uint32
				OriginHost string
				OriginPort uint32
			}{address, uint32(port), "127.0.0.1", uint32(from.RemoteAddr().(*net.TCPAddr).Port)}))
			if err != nil {
				from.Close()
				return
			}
			go ssh.DiscardRequests(requests)
			bridge(ctx, channel, from)
		})
	}
}

func (f *Fake) channel(ctx context.Context, asked ssh.NewChannel) {
	switch asked.ChannelType() {
	case "session":
		f.session(ctx, asked)
	case "direct-streamlocal@openssh.com":
		var to struct {
			Path, Reserved0 string
			Reserved1       uint32
		}
		if ssh.Unmarshal(asked.ExtraData(), &to) != nil {
			return
		}
		// OpenSSH gives the same answer for all of these.
		if m := f.Mood(); m.NoForwarding || m.SocketDenied || !f.Engine.up() || to.Path != f.Socket {
			asked.Reject(ssh.ConnectionFailed, "open failed") // The client notices.
			return
		}
		f.forward(asked, f.Engine.dial)
	case "direct-tcpip":
		var to struct {
			Host       string
			Port       uint32
			OriginHost string
			OriginPort uint32
		}
		if ssh.Unmarshal(asked.ExtraData(), &to) != nil {
			return
		}
		if f.Mood().NoTCP {
			asked.Reject(ssh.Prohibited, "open failed") // The client notices.
			return
		}
		f.forward(asked, func() (net.Conn, error) { return f.reach(to.Host, int(to.Port)) })
	default:
		asked.Reject(ssh.UnknownChannelType, "unknown channel type") // The client notices.
	}
}

// reach dials as the host would: containers by address only, for the host does
// not know their names, its own published ports, and other fakes.
func (f *Fake) reach(name string, port int) (net.Conn, error) {
	if c, err := f.Engine.dialFromHost(name, port); c != nil || err != nil {
		return c, err
	}
	f.mu.Lock()
	peers := f.peers
	f.mu.Unlock()
	address := net.JoinHostPort(name, strconv.Itoa(port))
	for _, peer := range peers {
		if peer.Address() == address {
			return net.Dial("tcp", address)
		}
	}
	return nil, fmt.Errorf("connect to %s: no route to host", name)
}

func (f *Fake) forward(asked ssh.NewChannel, dial func() (net.Conn, error)) {
	to, err := dial()
	if err != nil {
		asked.Reject(ssh.ConnectionFailed, err.Error()) // The client notices.
		return
	}
	channel, requests, err := asked.Accept()
	if err != nil {
		to.Close()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		ssh.DiscardRequests(requests) // Ends when the client closes the channel.
		cancel()
	}()
	bridge(ctx, answers{channel, f.Mood}, to)
}

// answers is a channel to the client as the host's mood has it.
type answers struct {
	ssh.Channel
	mood func() Mood
}

func (a answers) Write(p []byte) (int, error) {
	m := a.mood()
	if m.Stuck {
		return len(p), nil
	}
	time.Sleep(m.Slow) //nolint:forbidigo // It is the host that takes its time.
	return a.Channel.Write(p)
}

// bridge copies both ways until both have ended, or ctx has. A client may end
// its own direction alone.
func bridge(ctx context.Context, channel io.ReadWriteCloser, to net.Conn) {
	defer context.AfterFunc(ctx, func() { to.Close() })()
	defer to.Close()
	var both sync.WaitGroup
	both.Go(func() {
		io.Copy(to, channel) // Its end is what matters.
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			half.CloseWrite() // The client notices.
		} else {
			to.Close()
		}
	})
	both.Go(func() {
		io.Copy(channel, to) // Its end is what matters.
		channel.Close()
	})
	both.Wait()
}

func (f *Fake) session(ctx context.Context, asked ssh.NewChannel) {
	channel, requests, err := asked.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	for r := range requests {
		var text struct{ Value string }
		switch r.Type {
		case "exec":
			ok := ssh.Unmarshal(r.Payload, &text) == nil
			r.Reply(ok, nil) // The client notices.
			running.Go(func() {
				status := f.command(ctx, text.Value, channel)
				channel.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, uint32(status))) // The client notices.
				channel.Close()
			})
		case "subsystem":
			ok := ssh.Unmarshal(r.Payload, &text) == nil && text.Value == "sftp" && !f.Mood().NoSFTP
			r.Reply(ok, nil) // The client notices.
			if ok {
				if noise := f.noise(ctx); len(noise) > 0 {
					channel.Write(noise) // The client notices. sshd starts the SFTP server by the shell.
				}
				files := &sftpFiles{f}
				server := sftp.NewRequestServer(answers{channel, f.Mood}, sftp.Handlers{
					FileGet: files, FilePut: files, FileCmd: files, FileList: files,
				}, sftp.WithStartDirectory(f.home()))
				running.Go(func() {
					server.Serve() // Ends with the channel.
					channel.Close()
				})
			}
		case "signal":
			cancel()
		default:
			r.Reply(false, nil) // The client notices.
		}
	}
	cancel()
}

// command runs what the client sent. Programs are this machine's own, so paths
// outside the fake's root are refused; docker and sudo are imitated.
func (f *Fake) command(ctx context.Context, line string, channel ssh.Channel) int {
	complain := func(status int, text string) int {
		fmt.Fprintln(channel.Stderr(), text)
		return status
	}
	mark, rest, _ := strings.Cut(line, "; ")
	script, err := readScript(rest, channel)
	if err != nil {
		return complain(126, err.Error())
	}
	words := strings.TrimPrefix(script, "exec ")
	if script == "" {
		words = strings.TrimSuffix(strings.TrimPrefix(rest, "sh -c 'exec "), "'")
	}
	plain, sudo := strings.CutPrefix(words, "sudo -n ")
	mood := f.Mood()
	if sudo && mood.SudoDenied {
		return complain(1, "sudo: a password is required")
	}
	if strings.HasPrefix(plain, "docker ") && strings.HasSuffix(plain, " system dial-stdio") {
		fmt.Fprintln(channel, strings.TrimPrefix(mark, "echo "))
		return f.dialStdio(ctx, mood, sudo, channel, complain)
	}
	if sudo && plain == "docker --version" {
		plain = "echo Docker version 20.10.24, build 297e128"
	}
	if mood.NoCommands {
		return complain(1, "This service allows sftp connections only.")
	}
	plain = strings.ReplaceAll(plain, "/proc/", f.proc()+"/")
	for word := range strings.FieldsSeq(plain) {
		word = strings.Trim(word, `'"`)
		if filepath.IsAbs(word) && !f.inside(word) && !isProgram(word) {
			return complain(126, "hosttest: "+word+" is outside of the fake host")
		}
	}
	input := io.Reader(channel)
	if strings.HasPrefix(plain, "sh -s") {
		input = io.MultiReader(strings.NewReader(f.programs()), channel)
	}
	if isFileScript(plain) {
		channel = answers{channel, f.Mood}
		if mood.LoginShell == "" {
			io.WriteString(channel, strings.TrimPrefix(mark, "echo ")+"\n") // The client notices.
			return f.fileShell(channel)
		}
		input = f.fileRequests(channel)
	}
	if mood.LoginShell == "" {
		// What a login shell and `sh` would make of the line, in one process
		// instead of four: nearly every test comes by here.
		io.WriteString(channel, strings.TrimPrefix(mark, "echo ")+"\n") // The client notices.
		return f.shell(ctx, "/bin/sh", "exec "+plain, input, channel)
	}
	if script != "" { // It is read again, by the shell.
		again := "exec " + plain
		rest = strings.Replace(rest, fmt.Sprintf("count=%d ", len(script)), fmt.Sprintf("count=%d ", len(again)), 1)
		input = io.MultiReader(strings.NewReader(again), input)
	} else {
		rest = "sh -c 'exec " + plain + "'"
	}
	return f.shell(ctx, mood.LoginShell, mark+"; "+rest, input, channel)
}

// readScript takes the script from the input of a line that has one.
func readScript(line string, input io.Reader) (string, error) {
	var size int
	if _, err := fmt.Sscanf(line, `sh -c 'eval "$(dd bs=1 count=%d `, &size); err != nil {
		return "", nil //nolint:nilerr // It is another line.
	}
	script := make([]byte, size)
	_, err := io.ReadFull(input, script)
	return string(script), err
}

// shell hands a line to a shell, as sshd does to the user's.
func (f *Fake) shell(ctx context.Context, shell, line string, input io.Reader, channel ssh.Channel) int {
	cmd := exec.CommandContext(ctx, shell, "-c", line)
	cmd.Dir = f.home()
	cmd.Env = []string{
		"HOME=" + f.home(), "PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "SHELL=" + shell,
		"SSH_CLIENT=127.0.0.1 1 22", // By which bash reads ~/.bashrc.
	}
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	// Its children, too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return runCommand(cmd, input)
}

// dialStdio imitates `docker system dial-stdio`.
func (f *Fake) dialStdio(ctx context.Context, mood Mood, sudo bool, channel ssh.Channel, complain func(int, string) int) int {
	switch {
	case mood.NoDockerClient:
		return complain(127, "bash: line 1: docker: command not found")
	case mood.SocketDenied && !sudo:
		return complain(1, "permission denied while trying to connect to the Docker daemon socket at unix://"+f.Socket)
	case !f.Engine.up():
		return complain(1, "Cannot connect to the Docker daemon at unix://"+f.Socket+". Is the docker daemon running?")
	}
	to, err := f.Engine.dial()
	if err != nil {
		return complain(1, err.Error())
	}
	bridge(ctx, channel, to)
	return 0
}

// proc is the folder that stands for /proc. With hidepid=2 the processes of
// other users are not in it.
func (f *Fake) proc() string {
	if f.Mood().HiddenProc {
		return filepath.Join(f.Root, "hidden")
	}
	return filepath.Join(f.Root, "proc")
}

// runCommand feeds the input by hand: waiting for the command would otherwise
// wait for the client to close it.
func runCommand(cmd *exec.Cmd, input io.Reader) int {
	cmd.Stdin = nil
	in, err := cmd.StdinPipe()
	if err != nil {
		return 126
	}
	if err := cmd.Start(); err != nil {
		return 126
	}
	go func() {
		io.Copy(in, input) // Ends with the channel.
		in.Close()
	}()
	err = cmd.Wait()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return ended.ExitCode() & 0xff
	}
	if err != nil {
		return 126
	}
	return 0
}

// noise is what the start files of a configured login shell print.
func (f *Fake) noise(ctx context.Context) []byte {
	if f.Mood().LoginShell == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, f.Mood().LoginShell, "-c", "true")
	cmd.Dir = f.Home
	cmd.Env = []string{"HOME=" + f.Home, "PATH=/usr/local/bin:/usr/bin:/bin", "SSH_CLIENT=127.0.0.1 1 22"}
	out, _ := cmd.Output() // A shell that is not there prints nothing.
	return out
}

func isProgram(path string) bool {
	return strings.HasPrefix(path, "/bin/") || strings.HasPrefix(path, "/usr/bin/") || path == "/dev/null"
}

// inside reports whether a path belongs to the fake.
func (f *Fake) inside(path string) bool {
	path = filepath.Clean(path)
	return path == f.Root || strings.HasPrefix(path, f.Root+"/")
}
