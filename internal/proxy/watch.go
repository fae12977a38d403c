package proxy

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
)

// Watched is the folder of the host that the proxy watches for routes, as it was
// when the proxy was made; empty for a container that has none.
func Watched(c engine.Container) string {
	for _, m := range c.Mounts {
		if m.Target == routes && path.IsAbs(m.Source) {
			return path.Clean(m.Source)
		}
	}
	return ""
}

// Folder is where the routes that the proxy watches are read: the folder of the
// names, if it was moved there, since the old path may lead through a folder that
// the SSH user may not enter; else Watched.
func Folder(ctx context.Context, h host.Host, c engine.Container, n plan.Names) string {
	folder := Watched(c)
	if folder != "" && folder != n.RouteDir() && Moved(ctx, h, c, n.RouteDir()) {
		return n.RouteDir()
	}
	return folder
}

// Moved reports whether the folder that the running proxy watches is at another
// path now: a mount follows its folder when that is moved within a file system,
// and the kernel shows the new path (proc_pid_mountinfo(5)).
func Moved(ctx context.Context, h host.Host, c engine.Container, now string) bool {
	if !c.Running() || c.Pid <= 0 {
		return false
	}
	data, err := h.Files().Read(ctx, fmt.Sprintf("/proc/%d/mountinfo", c.Pid))
	if err != nil {
		return false // Unreadable: assume that it has not moved.
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || unescape(fields[4]) != routes {
			continue
		}
		// The path within its file system, which may be mounted below the root.
		within := unescape(fields[3])
		return strings.Count(within, "/") > 2 && (now == within || strings.HasSuffix(now, within))
	}
	return false
}

// unescape reads the four signs that the kernel writes as octal numbers.
func unescape(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// Others are the services and destinations that have containers on the host,
// but for the one of the names.
func Others(ctx context.Context, h host.Host, n plan.Names) ([]string, error) {
	all, err := h.Engine().Containers(ctx, engine.Filter{Labeled: []string{engine.LabelService, engine.LabelRole}, All: true})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range all {
		other := plan.Names{Service: c.Labels[engine.LabelService], Destination: c.Labels[engine.LabelDestination]}
		if other.Service == n.Service && other.Destination == n.Destination {
			continue
		}
		if base := other.Base(); !slices.Contains(names, base) {
			names = append(names, base)
		}
	}
	slices.Sort(names)
	return names, nil
}
