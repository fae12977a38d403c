package hosttest

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (e *Engine) serveContainers(w http.ResponseWriter, r *http.Request, parts []string) {
	e.mu.Lock()
	locked := true
	defer func() {
		if locked {
			e.mu.Unlock()
		}
	}()
	if len(parts) == 1 && parts[0] == "json" {
		e.list(w, r)
		return
	}
	if len(parts) == 1 && parts[0] == "create" {
		e.serveCreate(w, r)
		return
	}
	c := e.find(parts[0])
	if c == nil {
		refuse(w, 404, "No such container: "+parts[0])
		return
	}
	if r.Method == http.MethodDelete {
		e.remove(w, r, c)
		return
	}
	query := r.URL.Query()
	switch parts[1] {
	case "json":
		answer(w, 200, c.inspect())
	case "start":
		if c.state == "running" {
			w.WriteHeader(304)
			return
		}
		if err := c.start(); err != nil {
			c.state, c.exitCode, c.err = "created", 128, err.Error()
			refuse(w, 500, err.Error())
			return
		}
		w.WriteHeader(204)
	case "stop":
		if c.state != "running" && c.state != "restarting" {
			w.WriteHeader(304)
			return
		}
		grace := 10 * time.Second
		if c.Config.StopTimeout != nil {
			grace = time.Duration(*c.Config.StopTimeout) * time.Second
		}
		if t, err := strconv.Atoi(query.Get("t")); err == nil {
			grace = time.Duration(t) * time.Second
		}
		locked = false
		e.mu.Unlock()
		c.stop(grace)
		w.WriteHeader(204)
	case "kill":
		if c.state != "running" {
			refuse(w, 409, "Cannot kill container: "+parts[0]+": Container "+c.ID+" is not running")
			return
		}
		locked = false
		e.mu.Unlock()
		c.signal(query.Get("signal"))
		w.WriteHeader(204)
	case "rename":
		name := query.Get("name")
		if other := e.find(name); other != nil && other.Name == name {
			refuse(w, 409, fmt.Sprintf("Conflict. The container name %q is already in use by container %q.", "/"+name, other.ID))
			return
		}
		c.Name = name
		e.emit(c, "rename", nil)
		w.WriteHeader(204)
	case "logs":
		c.writeLogs(w, query.Get("tail"))
	case "exec":
		e.serveExecCreate(w, r, c)
	case "archive":
		c.archive(w, r)
	default:
		refuse(w, 404, "page not found")
	}
}

func (e *Engine) serveCreate(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		containerConfig
		HostConfig       hostConfig
		NetworkingConfig struct {
			EndpointsConfig map[string]struct{ Aliases []string }
		}
	}
	if !read(w, r, &asked) {
		return
	}
	networks := map[string][]string{}
	for name, endpoint := range asked.NetworkingConfig.EndpointsConfig {
		networks[name] = endpoint.Aliases
	}
	if len(networks) == 0 && asked.HostConfig.NetworkMode != "none" {
		networks["bridge"] = nil
	}
	c, status, err := e.create(r.URL.Query().Get("name"), asked.containerConfig, asked.HostConfig, networks)
	if err != nil {
		refuse(w, status, err.Error())
		return
	}
	answer(w, 201, map[string]any{"Id": c.ID, "Warnings": []string{}})
}

func (e *Engine) remove(w http.ResponseWriter, r *http.Request, c *container) {
	if c.state == "running" && r.URL.Query().Get("force") != "1" {
		refuse(w, 409, "You cannot remove a running container "+c.ID+". Stop the container before attempting removal or force remove")
		return
	}
	if c.state == "running" || c.state == "restarting" {
		c.stopping = true
		c.release()
		if c.state == "running" {
			c.state = "exited"
			e.emit(c, "die", map[string]string{"exitCode": "137"})
			close(c.ended)
		}
	}
	c.state = "removing"
	e.containers = slices.DeleteFunc(e.containers, func(o *container) bool { return o == c })
	e.emit(c, "destroy", nil)
	w.WriteHeader(204)
}

// signal acts as an application would: the usual ones ask it to end.
func (c *container) signal(name string) {
	e := c.engine
	e.mu.Lock()
	e.emit(c, "kill", map[string]string{"signal": name})
	ignore := c.behaviour.IgnoreStop
	if name != "" && name != "KILL" && name != "SIGKILL" {
		e.mu.Unlock()
		if !ignore {
			go c.exit(0)
		}
		return
	}
	e.mu.Unlock()
	c.exit(137)
}

func (e *Engine) list(w http.ResponseWriter, r *http.Request) {
	filters := filtersOf(r)
	all := r.URL.Query().Get("all") == "1" || len(filters["status"]) > 0
	var found []*container
	for _, c := range e.containers {
		if !all && c.state != "running" && c.state != "restarting" ||
			!matchesLabels(c.Config.Labels, filters["label"]) ||
			!anyOf(filters["status"], func(s string) bool { return c.state == s }) ||
			!anyOf(filters["id"], func(s string) bool { return strings.HasPrefix(c.ID, s) }) ||
			!anyOf(filters["name"], func(s string) bool {
				ok, err := regexp.MatchString(s, "/"+c.Name)
				return err == nil && ok
			}) {
			continue
		}
		found = append(found, c)
	}
	answerList(w, found, func(c *container) any {
		return map[string]any{
			"Id": c.ID, "Names": []string{"/" + c.Name}, "Image": c.Config.Image, "ImageID": c.image.ID,
			"Created": c.created.Unix(), "State": c.state, "Status": c.statusText(), "Labels": c.Config.Labels,
			"NetworkSettings": map[string]any{"Networks": c.endpoints()}, "Mounts": c.mountPoints(),
		}
	})
}

func anyOf(terms []string, matches func(string) bool) bool {
	return len(terms) == 0 || slices.ContainsFunc(terms, matches)
}

func (c *container) statusText() string {
	switch c.state {
	case "running":
		switch c.health {
		case "":
			return "Up 1 second"
		case "starting":
			return "Up 1 second (health: starting)"
		default:
			return "Up 1 second (" + c.health + ")"
		}
	case "exited":
		return fmt.Sprintf("Exited (%d) 1 second ago", c.exitCode)
	case "restarting":
		return fmt.Sprintf("Restarting (%d) 1 second ago", c.exitCode)
	default:
		return "Created"
	}
}

func (c *container) endpoints() map[string]any {
	found := map[string]any{}
	for name, aliases := range c.networks {
		found[name] = map[string]any{"IPAddress": c.address, "Aliases": append([]string{c.ID[:12]}, aliases...)}
	}
	return found
}

func (c *container) mountPoints() []map[string]any {
	points := []map[string]any{}
	for _, m := range c.HostConfig.Mounts {
		point := map[string]any{"Type": m.Type, "Source": m.Source, "Destination": m.Target, "RW": !m.ReadOnly}
		if m.Type == "volume" {
			point["Name"], point["Source"] = m.Source, "/var/lib/docker/volumes/"+m.Source+"/_data"
		}
		points = append(points, point)
	}
	return points
}

func (c *container) inspect() any {
	state := map[string]any{
		"Status": c.state, "Running": c.state == "running", "Restarting": c.state == "restarting",
		"ExitCode": c.exitCode, "Error": c.err, "OOMKilled": false, "Pid": 0,
		"StartedAt": instant(c.started), "FinishedAt": instant(c.finished),
	}
	if c.state == "running" {
		state["Pid"] = 4242
	}
	if c.Config.Healthcheck != nil && c.health != "" {
		state["Health"] = map[string]any{"Status": c.health, "FailingStreak": c.streak, "Log": c.healthLog}
	}
	return map[string]any{
		"Id": c.ID, "Name": "/" + c.Name, "Created": instant(c.created), "Image": c.image.ID, "RestartCount": c.restarts,
		"State": state, "Config": c.Config, "HostConfig": c.HostConfig, "Mounts": c.mountPoints(),
		"NetworkSettings": map[string]any{"Networks": c.endpoints()},
	}
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func (c *container) writeLogs(w http.ResponseWriter, tail string) {
	lines := c.logs
	if n, err := strconv.Atoi(tail); err == nil && n < len(lines) {
		lines = lines[len(lines)-n:]
	}
	w.Header().Set("Content-Type", "application/vnd.docker.multiplexed-stream")
	w.WriteHeader(200)
	for _, l := range lines {
		w.Write(frame(l.stderr, l.text+"\n")) //nolint:errcheck // The client notices.
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
	exit      int
	running   bool
}

func (e *Engine) serveExecCreate(w http.ResponseWriter, r *http.Request, c *container) {
	var asked struct{ Cmd []string }
	if !read(w, r, &asked) {
		return
	}
	if c.state != "running" {
		refuse(w, 409, "Container "+c.ID+" is not running")
		return
	}
	id := newID()
	e.execs[id] = &execution{container: c, argv: asked.Cmd}
	answer(w, 201, map[string]any{"Id": id})
}

func (e *Engine) serveExec(w http.ResponseWriter, _ *http.Request, parts []string) {
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
	e.mu.Unlock()
	if run.argv[0] != "sh" && run.argv[0] != "/bin/sh" {
		e.finish(run, 126)
		refuse(w, 400, "OCI runtime exec failed: exec failed: unable to start container process: exec: \""+run.argv[0]+"\": executable file not found in $PATH: unknown")
		return
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run() //nolint:errcheck // The status is looked at.
	e.finish(run, cmd.ProcessState.ExitCode())
	w.Header().Set("Content-Type", "application/vnd.docker.raw-stream")
	w.WriteHeader(200)
	for i, text := range []string{out.String(), errs.String()} {
		if text != "" {
			w.Write(frame(i == 1, text)) //nolint:errcheck // The client notices.
		}
	}
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
	if len(found) == 0 {
		refuse(w, 404, "Could not find the file "+asked+" in container "+c.ID)
		return
	}
	data, isFile := files[asked]
	mode := fs.ModeDir | 0o755
	if isFile {
		mode = 0o644
	}
	stat, err := json.Marshal(map[string]any{"name": path.Base(asked), "size": len(data), "mode": mode, "mtime": time.Unix(0, 0)})
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
	if !isFile {
		writer.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: path.Base(asked) + "/", Mode: 0o755}) //nolint:errcheck // The client notices.
	}
	for _, name := range sortedKeys(found) {
		inside := path.Join(path.Base(asked), strings.TrimPrefix(name, asked))
		writer.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: inside, Mode: 0o644, Size: int64(len(found[name]))}) //nolint:errcheck // The client notices.
		writer.Write([]byte(found[name]))                                                                                //nolint:errcheck // The client notices.
	}
	writer.Close() //nolint:errcheck // The client notices.
}
