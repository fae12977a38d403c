package hosttest

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

func (c *container) writeLogs(w http.ResponseWriter, r *http.Request) {
	lines := wantedLines(r, c.logs)
	w.Header().Set("Content-Type", "application/vnd.docker.multiplexed-stream")
	w.WriteHeader(200)
	for _, l := range lines {
		w.Write(l.frame(r)) // The client notices.
	}
}

// frame is a line in the requested format.
func (l logLine) frame(r *http.Request) []byte {
	text := l.text + "\n"
	if r.URL.Query().Has("timestamps") {
		text = l.at.UTC().Format("2006-01-02T15:04:05.000000000Z07:00") + " " + text
	}
	return frame(l.stderr, text)
}

// wantedLines are those that the request selects by number and time.
func wantedLines(r *http.Request, lines []logLine) []logLine {
	from := sinceOf(r)
	lines = slices.DeleteFunc(slices.Clone(lines), func(l logLine) bool { return l.at.Before(from) })
	if n, err := strconv.Atoi(r.URL.Query().Get("tail")); err == nil && n < len(lines) {
		lines = lines[len(lines)-n:]
	}
	return lines
}

// followLogs writes what there is and what comes until the container ends.
func (e *Engine) followLogs(w http.ResponseWriter, r *http.Request, ref string) {
	e.mu.Lock()
	c := e.find(ref)
	e.mu.Unlock()
	if c == nil {
		refuse(w, 404, "No such container: "+ref)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.docker.multiplexed-stream")
	w.WriteHeader(200)
	flush(w)
	e.mu.Lock()
	next := len(c.logs) - len(wantedLines(r, c.logs))
	e.mu.Unlock()
	for {
		e.mu.Lock()
		fresh, changed, ended := slices.Clone(c.logs[next:]), e.changed, c.state != "running" && c.state != "restarting" || e.down
		next = len(c.logs)
		e.mu.Unlock()
		for _, l := range fresh {
			w.Write(l.frame(r)) // The client notices.
		}
		flush(w)
		if ended {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func frame(stderr bool, text string) []byte {
	head := make([]byte, 8)
	head[0] = 1
	if stderr {
		head[0] = 2
	}
	binary.BigEndian.PutUint32(head[4:], uint32(len(text)))
	return append(head, text...)
}

// execution is a program that was run in a container.
type execution struct {
	container *container
	argv      []string
	input     bool // It is connected to the caller's.
	exit      int
	running   bool
}

func (e *Engine) serveExecCreate(w http.ResponseWriter, r *http.Request, c *container) {
	var asked struct {
		Cmd              []string
		AttachStdin, Tty bool
	}
	if !read(w, r, &asked) {
		return
	}
	if c.state != "running" {
		refuse(w, 409, "Container "+c.ID+" is not running")
		return
	}
	if asked.Tty {
		refuse(w, 501, "this engine has no terminals")
		return
	}
	id := newID()
	e.execs[id] = &execution{container: c, argv: asked.Cmd, input: asked.AttachStdin}
	answer(w, 201, map[string]any{"Id": id})
}

func (e *Engine) serveExec(w http.ResponseWriter, r *http.Request, parts []string) {
	e.mu.Lock()
	run := e.execs[parts[0]]
	if run == nil {
		e.mu.Unlock()
		refuse(w, 404, "No such exec instance: "+parts[0])
		return
	}
	if parts[1] == "json" {
		defer e.mu.Unlock()
		answer(w, 200, map[string]any{"ID": parts[0], "ContainerID": run.container.ID, "Running": run.running, "ExitCode": run.exit})
		return
	}
	run.running = true
	cmd := run.container.command(run.argv)
	if run.argv[0] == "nslookup" && len(run.argv) == 2 {
		found, _, address := run.container.lookup(run.argv[1])
		e.mu.Unlock()
		e.resolved(w, run, found != nil, address)
		return
	}
	e.mu.Unlock()
	if run.argv[0] != "sh" && run.argv[0] != "/bin/sh" {
		e.finish(run, 126)
		refuse(w, 400, "OCI runtime exec failed: exec failed: unable to start container process: exec: \""+run.argv[0]+"\": executable file not found in $PATH: unknown")
		return
	}
	if run.input {
		io.Copy(io.Discard, r.Body) // What follows it is the program's.
		e.converse(w, run, cmd)
		return
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run() // The status is looked at.
	e.finish(run, cmd.ProcessState.ExitCode())
	w.Header().Set("Content-Type", "application/vnd.docker.raw-stream")
	w.WriteHeader(200)
	for i, text := range []string{out.String(), errs.String()} {
		if text != "" {
			w.Write(frame(i == 1, text)) // The client notices.
		}
	}
}

// resolved answers for the engine's DNS.
func (e *Engine) resolved(w http.ResponseWriter, run *execution, found bool, address string) {
	status, text := 0, "Name:\t"+run.argv[1]+"\nAddress: "+address+"\n"
	if !found {
		status, text = 1, "** server can't find "+run.argv[1]+": NXDOMAIN\n"
	}
	e.finish(run, status)
	w.Header().Set("Content-Type", "application/vnd.docker.raw-stream")
	w.WriteHeader(200)
	w.Write(frame(false, text)) // The client notices.
}

// converse connects the program with the caller in both directions.
func (e *Engine) converse(w http.ResponseWriter, run *execution, cmd *exec.Cmd) {
	conn, both, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuse(w, 500, err.Error())
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n") // The client notices.
	in, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	go func() {
		io.Copy(in, both) // A program that ends reads no more.
		in.Close()
	}()
	var writing sync.Mutex
	cmd.Stdout, cmd.Stderr = &framed{w: conn, mu: &writing}, &framed{w: conn, mu: &writing, stderr: true}
	cmd.Run() // The status is looked at.
	e.finish(run, cmd.ProcessState.ExitCode())
}

// framed writes one of two streams into a connection that has both.
type framed struct {
	w      io.Writer
	mu     *sync.Mutex
	stderr bool
}

func (f *framed) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.w.Write(frame(f.stderr, string(p)))
	return len(p), err
}

func (e *Engine) finish(run *execution, status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	run.running, run.exit = false, status
}

// archive answers with a part of the image's files.
func (c *container) archive(w http.ResponseWriter, r *http.Request) {
	asked := path.Clean("/" + r.URL.Query().Get("path"))
	files := c.image.tree()
	found := map[string]string{}
	for name, data := range files {
		if name == asked || strings.HasPrefix(name, asked+"/") {
			found[name] = data
		}
	}
	link, isLink := c.image.links[asked]
	if isLink { // Engines evaluate it within the container.
		found, link = map[string]string{}, path.Join("/", link)
	}
	if len(found) == 0 && !isLink {
		refuse(w, 404, "Could not find the file "+asked+" in container "+c.ID)
		return
	}
	data, isFile := files[asked]
	mode := fs.ModeDir | 0o755
	if isFile {
		mode = 0o644
	}
	if isLink {
		mode = fs.ModeSymlink | 0o777
	}
	stat, err := json.Marshal(map[string]any{"name": path.Base(asked), "size": len(data), "mode": mode, "mtime": time.Unix(0, 0), "linkTarget": link})
	if err != nil {
		refuse(w, 500, err.Error())
		return
	}
	w.Header().Set("X-Docker-Container-Path-Stat", base64.StdEncoding.EncodeToString(stat))
	w.Header().Set("Content-Type", "application/x-tar")
	w.WriteHeader(200)
	if r.Method == http.MethodHead {
		return
	}
	writer := tar.NewWriter(w)
	if isLink {
		writer.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: path.Base(asked), Linkname: link, Mode: 0o777}) // The client notices.
	} else if !isFile {
		writer.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: path.Base(asked) + "/", Mode: 0o755}) // The client notices.
	}
	for _, name := range sortedKeys(found) {
		inside := path.Join(path.Base(asked), strings.TrimPrefix(name, asked))
		writer.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: inside, Mode: 0o644, Size: int64(len(found[name]))}) // The client notices.
		writer.Write([]byte(found[name]))                                                                                // The client notices.
	}
	writer.Close() // The client notices.
}
