package hosttest

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func (e *Engine) serveContainers(w http.ResponseWriter, r *http.Request, parts []string) {
	if len(parts) == 2 && (parts[1] == "stop" || parts[1] == "kill") {
		e.serveEnd(w, r, parts) // Waits, and so must not hold the engine.
		return
	}
	if len(parts) == 2 && parts[1] == "logs" && r.URL.Query().Get("follow") == "1" {
		e.followLogs(w, r, parts[0])
		return
	}
	var archive []byte // Read before: where it comes from may need the engine.
	if len(parts) == 2 && parts[1] == "archive" && r.Method == http.MethodPut {
		var err error
		if archive, err = io.ReadAll(r.Body); err != nil {
			refuse(w, 500, err.Error())
			return
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case len(parts) == 1 && parts[0] == "json":
		e.list(w, r)
		return
	case len(parts) == 1 && parts[0] == "create":
		e.serveCreate(w, r)
		return
	}
	c := e.find(parts[0])
	switch {
	case c == nil:
		refuse(w, 404, "No such container: "+parts[0])
	case r.Method == http.MethodDelete:
		e.remove(w, r, c)
	case parts[1] == "json":
		answer(w, 200, c.inspect())
	case parts[1] == "start":
		c.serveStart(w)
	case parts[1] == "update":
		c.serveUpdate(w, r)
	case parts[1] == "rename":
		c.serveRename(w, r.URL.Query().Get("name"))
	case parts[1] == "logs":
		c.writeLogs(w, r)
	case parts[1] == "exec":
		e.serveExecCreate(w, r, c)
	case parts[1] == "archive" && r.Method == http.MethodPut:
		c.unpack(w, r.URL.Query().Get("path"), archive)
	case parts[1] == "archive":
		c.archive(w, r)
	default:
		refuse(w, 404, "page not found")
	}
}

func (c *container) serveStart(w http.ResponseWriter) {
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
}

func (c *container) serveRename(w http.ResponseWriter, name string) {
	if other := c.engine.find(name); other != nil && other.Name == name {
		refuse(w, 409, fmt.Sprintf("Conflict. The container name %q is already in use by container %q.", "/"+name, other.ID))
		return
	}
	c.Name = name
	c.engine.emit(c, "rename", nil)
	w.WriteHeader(204)
}

func (e *Engine) serveEnd(w http.ResponseWriter, r *http.Request, parts []string) {
	e.mu.Lock()
	c := e.find(parts[0])
	if c == nil {
		e.mu.Unlock()
		refuse(w, 404, "No such container: "+parts[0])
		return
	}
	state, grace := c.state, 10*time.Second
	if c.Config.StopTimeout != nil {
		grace = time.Duration(*c.Config.StopTimeout) * time.Second
	}
	e.mu.Unlock()
	if t, err := strconv.Atoi(r.URL.Query().Get("t")); err == nil {
		grace = time.Duration(t) * time.Second
	}
	switch {
	case parts[1] == "kill" && state != "running":
		refuse(w, 409, "Cannot kill container: "+parts[0]+": Container "+c.ID+" is not running")
	case parts[1] == "kill":
		c.signal(r.URL.Query().Get("signal"))
		w.WriteHeader(204)
	case state != "running" && state != "restarting":
		w.WriteHeader(304)
	default:
		c.stop(grace)
		w.WriteHeader(204)
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
	networks := map[string]*endpoint{}
	for name, one := range asked.NetworkingConfig.EndpointsConfig {
		networks[name] = &endpoint{aliases: one.Aliases}
	}
	if len(networks) > 1 && minor(e.api) < 44 {
		refuse(w, 400, "Container cannot be connected to network endpoints: "+strings.Join(sortedKeys(networks), ", "))
		return
	}
	if len(networks) == 0 && asked.HostConfig.NetworkMode != "none" {
		networks["bridge"] = &endpoint{}
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

// signal acts as an application would: the usual signals end it.
func (c *container) signal(name string) {
	e := c.engine
	e.mu.Lock()
	e.emit(c, "kill", map[string]string{"signal": name})
	ignore, process := c.behaviour.IgnoreStop, c.process
	if name != "" && name != "KILL" && name != "SIGKILL" {
		e.mu.Unlock()
		switch {
		case ignore:
		case process != nil:
			syscall.Kill(process.Process.Pid, signalNamed(name)) // It may have ended.
		default:
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
			"NetworkSettings": map[string]any{"Networks": c.endpoints()}, "Mounts": c.mountPoints(), "Ports": c.openPorts(),
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
	for name, one := range c.networks {
		found[name] = map[string]any{"IPAddress": one.address, "Aliases": append([]string{c.ID[:12]}, one.aliases...)}
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
		state["Pid"] = c.pid
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
