package engine

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// RestartNo is the policy of a container that the engine never starts.
const RestartNo = "no"

// restartForm is how policies are written in kstep.yml and in labels.
var restartForm = regexp.MustCompile(`^(no|always|unless-stopped|on-failure(:[1-9][0-9]{0,5})?)$`)

// IsRestartPolicy reports whether the text is a restart policy, such as
// `always` or `on-failure:3`.
func IsRestartPolicy(text string) bool { return restartForm.MatchString(text) }

// RestartPolicy is the policy that the spec's container is created with.
func (s Spec) RestartPolicy() string {
	return restartText(restartPolicy(cmp.Or(s.Options.Restart, s.Restart)))
}

// SetRestart changes a container's restart policy. It does not start or stop
// it. An engine updates the cgroup of a container that runs with it, so kstep
// changes the policy of containers that do not run where it can choose. One that
// ends at this moment is waited for: until the engine has noticed, it refuses.
func (c *Client) SetRestart(ctx context.Context, id, policy string) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	wanted := restartPolicy(policy)
	var err error
	for try := 1; ; try++ {
		_, err = c.api.ContainerUpdate(ctx, id, client.ContainerUpdateOptions{RestartPolicy: &wanted})
		if err == nil || try == endTries || !strings.Contains(strings.ToLower(err.Error()), "cannot update a stopped container") {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(endPause):
		}
	}
	return c.fail(fmt.Sprintf("set restart policy %s of container %s", policy, id), err)
}

// The runtime knows of an end before the engine has handled the event, which takes
// it some milliseconds, and seconds on a machine that is busy.
const (
	endTries = 20
	endPause = 250 * time.Millisecond
)

func restartPolicy(text string) container.RestartPolicy {
	name, retries, _ := strings.Cut(text, ":")
	n, _ := strconv.Atoi(retries) // None means no limit.
	return container.RestartPolicy{Name: container.RestartPolicyMode(name), MaximumRetryCount: n}
}

func restartText(p container.RestartPolicy) string {
	switch {
	case p.IsNone():
		return RestartNo
	case p.IsOnFailure() && p.MaximumRetryCount > 0:
		return fmt.Sprintf("%s:%d", p.Name, p.MaximumRetryCount)
	default:
		return string(p.Name)
	}
}
