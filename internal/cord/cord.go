// Package cord is the string that ties a container to its traffic (S8): a file
// in a folder of its own on the host, mounted read-only into the container,
// whose Docker health check is *app check AND cord present*. Tie it and the
// container turns healthy; cut it and it turns unhealthy, while it still
// answers every request in flight.
package cord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
)

// Untied is what the health check prints when the app is fine and only the
// cord is missing: ready, but without traffic.
const Untied = "kstep: app fine, cord untied"

const file = "cord"

// Tie makes the container's health check pass.
func Tie(ctx context.Context, files host.Files, dir string) error {
	if err := files.Write(ctx, path.Join(dir, file), nil, 0o644); err != nil {
		return fmt.Errorf("tie cord: %w", err)
	}
	return nil
}

// Cut makes the container's health check fail. A cord that is cut already is
// fine.
func Cut(ctx context.Context, files host.Files, dir string) error {
	if err := files.Remove(ctx, host.Under(dir, file)); err != nil {
		return fmt.Errorf("cut cord: %w", err)
	}
	return nil
}

// Tied reports whether the cord in the folder is tied.
func Tied(ctx context.Context, files host.Files, dir string) (bool, error) {
	_, err := files.Stat(ctx, path.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at cord: %w", err)
	}
	return true, nil
}

// Ready reports whether the last health check found the app healthy, with the
// cord tied or not.
func Ready(c engine.Container) bool {
	if c.Health == "healthy" {
		return true
	}
	return len(c.HealthLog) > 0 && strings.Contains(c.HealthLog[len(c.HealthLog)-1], Untied)
}

// Dir finds the host folder of a container's cord among its mounts, by what the
// folders of its role begin with; or "".
func Dir(c engine.Container, prefix string) string {
	for _, m := range c.Mounts {
		if strings.HasPrefix(m.Source, prefix) {
			return m.Source
		}
	}
	return ""
}

// Health is the composed check. A cut cord must act at the first probe, a
// hiccup of the app must not: so Docker's retries are 1, and the app's check
// is retried inside the probe instead.
func Health(hc config.Healthcheck) *engine.Health {
	cordFile := path.Join(hc.Cord, file)
	script := strings.Join([]string{
		"app() { " + appCheck(hc) + "; }",
		// What a failing check prints is kept: it is the reason that people need.
		fmt.Sprintf(`if [ ! -e '%s' ]; then said=$(app 2>&1) && echo '%s' || printf '%%s\n' "$said"; exit 1; fi`, cordFile, Untied),
		"for try in 1 2 3; do app && exit 0; sleep 0.3 2>/dev/null || sleep 1; done",
		"exit 1",
	}, "\n")
	return &engine.Health{
		Shell:    script,
		Interval: hc.Interval.D(),
		Timeout:  3*hc.Timeout.D() + 3*hc.Interval.D(),
		Retries:  1,
	}
}

// Needs are the programs that the composed check runs in the image: of each
// group, one is enough. An absolute path is that file; a name is searched for in
// the image's PATH.
func Needs(hc config.Healthcheck) [][]string {
	needs := [][]string{{"/bin/sh"}}
	switch {
	case len(hc.Cmd.Exec) > 0:
		needs = append(needs, hc.Cmd.Exec[:1])
	case hc.Cmd.Shell == "":
		needs = append(needs, []string{"curl", "wget"})
	}
	return needs
}

func appCheck(hc config.Healthcheck) string {
	if len(hc.Cmd.Exec) > 0 {
		quoted := make([]string, len(hc.Cmd.Exec))
		for i, arg := range hc.Cmd.Exec {
			quoted[i] = quote(arg)
		}
		return strings.Join(quoted, " ")
	}
	if hc.Cmd.Shell != "" {
		return "( " + hc.Cmd.Shell + " )"
	}
	url := fmt.Sprintf("'%s://127.0.0.1:%d%s'", cmp.Or(hc.Scheme, "http"), hc.Port, strings.ReplaceAll(hc.Path, "'", "%27"))
	curl, wget := "curl -fsS -o /dev/null ", "wget -q -O /dev/null "
	if hc.Scheme == "https" { // The config allows it without verification only.
		curl, wget = curl+"-k ", wget+"--no-check-certificate "
	}
	header := func(name, value string) {
		text := quote(name + ": " + value)
		curl, wget = curl+"-H "+text+" ", wget+"--header "+text+" "
	}
	if hc.Host != "" {
		header("Host", hc.Host)
	}
	for _, name := range slices.Sorted(maps.Keys(hc.Headers)) {
		header(name, hc.Headers[name])
	}
	return "if command -v curl >/dev/null 2>&1; then " + curl + url + "; else " + wget + url + "; fi"
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
