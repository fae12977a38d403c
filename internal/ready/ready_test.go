package ready

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

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
