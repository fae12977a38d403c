package hosttest

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
	"time"
)

// probePause stands for any interval: the fake's time is short.
const probePause = 15 * time.Millisecond

// startHealth begins the health checks; the engine is locked.
func (c *container) startHealth() {
	h := c.Config.Healthcheck
	c.healthLog, c.streak, c.health = nil, 0, ""
	if h == nil || len(h.Test) == 0 || h.Test[0] == "NONE" {
		return
	}
	c.health = "starting"
	e, life := c.engine, c.life
	e.wait.Go(func() {
		ticker := time.NewTicker(probePause)
		defer ticker.Stop()
		for {
			select {
			case <-life.Done():
				return
			case <-ticker.C:
				c.probe()
			}
		}
	})
}

// probe does what Docker does with a check: retries in a row make a container
// unhealthy, one success healthy.
func (c *container) probe() {
	e := c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.state != "running" {
		return
	}
	began := time.Now()
	e.emit(c, "exec_create: "+c.Config.Healthcheck.Test[0], nil)
	status, output := c.check()
	c.healthLog = append(c.healthLog, probeResult{Start: began, End: time.Now(), ExitCode: status, Output: output})
	if len(c.healthLog) > 5 {
		c.healthLog = c.healthLog[1:]
	}
	before := c.health
	if status == 0 {
		c.streak, c.health = 0, "healthy"
	} else {
		c.streak++
		if c.streak >= max(c.Config.Healthcheck.Retries, 1) && time.Since(c.started) > c.Config.Healthcheck.StartPeriod {
			c.health = "unhealthy"
		}
	}
	e.emit(c, "exec_die", map[string]string{"exitCode": fmt.Sprint(status)})
	if before != c.health {
		e.emit(c, "health_status: "+c.health, nil)
	}
}

// untiedWord is what a check with a cord prints for an app that only lacks it.
var untiedWord = regexp.MustCompile(`echo '([^']*untied[^']*)'`)

// check stands for running the test: the app's own behaviour, and the cord if
// the test looks for a file in one of the container's mounts.
func (c *container) check() (int, string) {
	script := strings.Join(c.Config.Healthcheck.Test, " ")
	app := c.listening && !c.behaviour.Sick
	for _, m := range c.HostConfig.Mounts {
		cord := path.Join(m.Target, "cord")
		if m.Type != "bind" || !strings.Contains(script, cord) {
			continue
		}
		if _, err := os.Stat(c.hostPath(cord)); err == nil {
			break
		}
		if word := untiedWord.FindStringSubmatch(script); app && word != nil {
			return 1, word[1] + "\n"
		}
		return 1, ""
	}
	if !app {
		return 1, "the app does not answer\n"
	}
	return 0, ""
}
