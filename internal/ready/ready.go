// Package ready decides when one container may get traffic: by kstep's own HTTP probe, by
// Docker's health check, by the cord's marker, or, for a role without any check, by
// staying up for a while. The engine's events report an ended container at once.
package ready

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/cord"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/probe"
)

// The ways a container was found ready.
const (
	ByHTTP    = "http"
	ByHealth  = "health"
	ByCord    = "cord"
	ByRunning = "running"
)

// settleProven is how long a container that served before must stay up: it
// starts as it did then.
const settleProven = 250 * time.Millisecond

// Check is a container to wait for.
type Check struct {
	Host      host.Host
	Container string
	Target    plan.Target
	Health    config.Healthcheck
	// Name is the Host header of the HTTP request; empty means the container's
	// address.
	Name string
	// Certificate is the name that the application's certificate must have,
	// with `scheme: https`.
	Certificate string
	Cord        bool
	// Proven is set if the container served before, as it is.
	Proven bool
	// Seen, if it is set, is called with the container as it is when the wait begins.
	Seen func(engine.Container)
	// Notice, if it is set, is called with what the user should know about a
	// container that is ready.
	Notice func(text string)
}

// How says by what the container is judged, given what is observed of it.
func (k Check) How(c engine.Container) string {
	switch {
	case k.Cord:
		return ByCord
	case k.Health.Custom():
		return ByHealth
	case k.Target.Proxied:
		return ByHTTP
	case c.Health != "":
		return ByHealth // The image brings a HEALTHCHECK.
	default:
		return ByRunning
	}
}

// Wait returns how the container was found ready, or why it never will be.
// The deadline is ctx's.
func (k Check) Wait(ctx context.Context) (string, error) {
	first, err := k.Host.Engine().Inspect(ctx, k.Container)
	if err != nil {
		return "", err
	}
	if err := Ended(first, first.Restarts); err != nil {
		return "", err
	}
	if k.Seen != nil {
		k.Seen(first)
	}
	how := k.How(first)
	switch how {
	case ByHTTP:
		err = k.http(ctx, first)
	case ByRunning:
		err = k.running(ctx, first)
	case ByCord:
		err = k.cord(ctx, first)
	default:
		err = k.health(ctx, first)
	}
	return how, err
}

func (k Check) http(ctx context.Context, c engine.Container) error {
	address := plan.Address(c)
	if address == "" {
		return fmt.Errorf("container has no address on network %s", plan.Shared(c))
	}
	request := probe.Request{
		URL:  probe.URL(k.Health.Scheme, address, k.Health.Port, k.Health.Path),
		Host: k.Name, Headers: k.Health.Headers, Success: k.Health.Status,
	}
	var answer probe.Answer
	err := k.whileUp(ctx, c, func(ctx context.Context) (err error) {
		client := probe.ClientOf(k.Host, k.Health, k.Certificate)
		defer client.CloseIdleConnections()
		answer, err = probe.Ready(ctx, client, request, probe.Limits{
			Interval:    k.Health.Interval.D(),
			StartPeriod: k.Health.StartPeriod.D(),
			Retries:     k.Health.Retries,
		})
		return err
	})
	if err != nil {
		return k.explained(err, c)
	}
	if to := k.redirectsToHTTPS(answer); to != "" && k.Notice != nil {
		k.Notice(fmt.Sprintf("GET %s answered %d to %s: ready, but this says little about the application; %s",
			k.Health.Path, answer.Status, to, forwardedHint))
	}
	return nil
}

// running waits until a container has stayed up for its settling time, which
// counts from its start by the host's clock.
func (k Check) running(ctx context.Context, c engine.Container) error {
	info, err := k.Host.Engine().Info(ctx)
	if err != nil {
		return err
	}
	limit := k.settling()
	left := unsettled(limit, info.Now, c.Started)
	return k.whileUp(ctx, c, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			err := context.Cause(ctx)
			if exit.CodeOf(err) != exit.Deadline {
				return err
			}
			return exit.Hint(fmt.Errorf("%w: it has no health check, so it must stay up for %s", err, limit),
				"make healthcheck.settle shorter, or barrier.timeout longer")
		case <-time.After(left):
			return nil
		}
	})
}

// Outlast waits until a container that was found ready has been up for its settling
// time, or has ended since it had restarted this often, whichever comes first. It
// returns ctx's error, or that of the engine; how the container is, is the caller's
// to look at.
func (k Check) Outlast(ctx context.Context, c engine.Container, restarts int) error {
	limit := k.settling()
	if limit == 0 || Ended(c, restarts) != nil {
		return nil
	}
	info, err := k.Host.Engine().Info(ctx)
	if err != nil {
		return err
	}
	left := unsettled(limit, info.Now, c.Started)
	if left == 0 {
		return nil
	}
	_ = k.whileUp(ctx, c, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(left):
			return nil
		}
	})
	return context.Cause(ctx)
}

// settling is how long the container must stay up.
func (k Check) settling() time.Duration {
	if k.Proven {
		return min(k.Health.Settle.D(), settleProven)
	}
	return k.Health.Settle.D()
}

// cordPatience is how many checks may pass between the first answer over HTTP
// and the first check in the container that succeeds.
const cordPatience = 5

// cord waits until the check in the container says that only the cord is
// missing: this check decides over the traffic later. Without a command of the
// user's, kstep first makes the same check over HTTP, because those answers say
// more.
func (k Check) cord(ctx context.Context, c engine.Container) error {
	if !k.Health.Custom() {
		if err := k.http(ctx, c); err != nil {
			return err
		}
		limit := cordPatience * (k.Health.Interval.D() + k.Health.Timeout.D())
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit,
			fmt.Errorf("the application answers over HTTP, but its health check in the container did not succeed within %s", limit))
		defer cancel()
	}
	said := ""
	err := k.Host.Engine().WaitFor(ctx, c.ID, func(now engine.Container) (bool, error) {
		if err := Ended(now, c.Restarts); err != nil {
			return false, err
		}
		if len(now.HealthLog) > 0 {
			said = now.HealthLog[len(now.HealthLog)-1]
		}
		return cord.Ready(now), nil
	})
	if err != nil && ctx.Err() != nil && said != "" {
		err = fmt.Errorf("%w: the health check says: %s", context.Cause(ctx), said)
	}
	return err
}

func (k Check) health(ctx context.Context, c engine.Container) error {
	return k.Host.Engine().WaitFor(ctx, c.ID, func(now engine.Container) (bool, error) {
		if err := Ended(now, c.Restarts); err != nil {
			return false, err
		}
		if now.Health == "unhealthy" {
			return false, unhealthy(now.HealthLog)
		}
		return now.Health == "healthy", nil
	})
}

// unsettled is how long a container must stay up yet; all of it where the clock
// is not known.
func unsettled(limit time.Duration, now, started time.Time) time.Duration {
	return max(0, limit-max(0, now.Sub(started)))
}

// whileUp runs wait, and ends it as soon as the engine reports that the
// container ended.
func (k Check) whileUp(ctx context.Context, c engine.Container, wait func(context.Context) error) error {
	up, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan error, 1)
	go func() {
		err := k.Host.Engine().WaitFor(up, c.ID, func(now engine.Container) (bool, error) {
			return false, Ended(now, c.Restarts)
		})
		if up.Err() != nil {
			err = nil // The waiting was over before the container was.
		}
		cancel()
		watched <- err
	}()
	err := wait(up)
	cancel()
	if died := <-watched; died != nil && err != nil {
		return died
	}
	return err
}

// Ended returns why a container is not up, or has been down since it had
// restarted this often: its restart policy may have started it again. Nil means
// that it has been up all the time.
func Ended(c engine.Container, restarts int) error {
	if c.Running() && c.Restarts <= restarts {
		return nil
	}
	if c.Running() && c.ExitCode == 0 && !c.OOMKilled {
		// The engine forgets the status when it starts a container again.
		return fmt.Errorf("container ended and was started again (restarts: %d)", c.Restarts)
	}
	why := fmt.Sprintf("container ended with exit status %d", c.ExitCode)
	if c.OOMKilled {
		why += ", killed for using too much memory"
	}
	if c.Error != "" {
		why += ": " + c.Error
	}
	return errors.New(why)
}

// unhealthy returns what the last health check said.
func unhealthy(log []string) error {
	if len(log) == 0 {
		return errors.New("health check says unhealthy")
	}
	last := log[len(log)-1]
	if missing := noProgram.FindString(last); missing != "" {
		return exit.Hint(fmt.Errorf("the image lacks what its health check runs: %s", missing),
			"healthcheck.cmd as text needs a shell in the image; as a list it runs the program itself; without it kstep requests healthcheck.path over HTTP and needs neither")
	}
	return fmt.Errorf("health check says unhealthy: %s", last)
}

// noProgram is what engines say of a program that is not in the image.
var noProgram = regexp.MustCompile(`exec: ".*(no such file or directory|executable file not found)`)

// logLines is how much of a failed container's log is shown.
const logLines = 50

// Diagnose collects what a person needs to see of a container that did not
// become ready. It is best effort: what cannot be had is said in its place.
func Diagnose(ctx context.Context, h host.Host, id string) []string {
	var lines []string
	c, err := h.Engine().Inspect(ctx, id)
	if err != nil {
		return []string{"state: " + err.Error()}
	}
	lines = append(lines, fmt.Sprintf("container %s: %s, exit status %d, restarts %d, out of memory: %t",
		c.Name, c.State, c.ExitCode, c.Restarts, c.OOMKilled))
	for _, check := range slices.Compact(slices.Clone(c.HealthLog)) {
		if strings.TrimSpace(check) != "" {
			lines = append(lines, "health check: "+check)
		}
	}
	logs, err := h.Engine().Logs(ctx, id, logLines)
	if err != nil {
		return append(lines, "log: "+err.Error())
	}
	if len(logs) == 0 {
		return append(lines, "log: empty")
	}
	for _, line := range logs {
		lines = append(lines, "log: "+line)
	}
	return lines
}
