package ready

import (
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
)

func TestUnsettled_CountsFromTheStartByTheHostsClock(t *testing.T) {
	const settle = 7 * time.Second
	started := time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		now  time.Time
		want time.Duration
	}{
		"just started":          {started, settle},
		"started before":        {started.Add(settle / 4), settle - settle/4},
		"up for hours":          {started.Add(time.Hour), 0},
		"a clock set back":      {started.Add(-time.Hour), settle},
		"an engine without one": {time.Time{}, settle},
	} {
		if got := unsettled(settle, c.now, started); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestUnhealthy_TellsAMissingShellFromASickApplication(t *testing.T) {
	const shell = `OCI runtime exec failed: exec failed: unable to start container process: exec: "/bin/sh": stat /bin/sh: no such file or directory: unknown`
	for name, c := range map[string]struct {
		log        []string
		want, hint string
	}{
		"no shell": {[]string{shell}, `the image lacks what its health check runs: exec: "/bin/sh": stat /bin/sh: no such file or directory`, "needs a shell"},
		"sick":     {[]string{"before", "HTTP 503"}, "health check says unhealthy: HTTP 503", ""},
		"silent":   {nil, "health check says unhealthy", ""},
	} {
		err := unhealthy(c.log)
		if hints := strings.Join(exit.Hints(err), "\n"); err.Error() != c.want || !strings.Contains(hints, c.hint) {
			t.Errorf("%s: got %q with hints %q, want %q", name, err, hints, c.want)
		}
	}
}
