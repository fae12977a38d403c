package hook

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/short"
)

// Details are the data that a hook receives.
type Details struct {
	// RecordedAt is when it happens; the zero time means now.
	RecordedAt time.Time
	// Performer is the person or CI job, see actor.Performer.
	Performer   string
	Version     string
	Service     string
	Destination string
	// Hosts and Roles are those of this run, after filters, or of the group
	// when hosts are worked on one after the other.
	Hosts, Roles []string
	// Command is the kstep command, Subcommand its second word.
	Command, Subcommand string
	// Stage is the stage around which the hook runs, or empty.
	Stage   string
	Release string
	// Runtime is how long the command or release took; zero before its end.
	Runtime time.Duration
	// StateDir is the state folder.
	StateDir string
	// Status and ExitCode say how it ended; Status is empty before.
	Status   string
	ExitCode int
}

// Variable is one environment variable that every hook gets.
type Variable struct {
	Name string
	// Text is its line in docs/hooks.md.
	Text  string
	value func(Details) string
}

// Variables are all of them. Each is always set, if only to nothing, so that
// a variable of kstep's own environment never passes for one.
func Variables() []Variable {
	return []Variable{
		{"KSTEP_RECORDED_AT", "when, in UTC: `2026-11-20T10:00:00Z`", func(d Details) string {
			return d.RecordedAt.UTC().Format(time.RFC3339)
		}},
		{"KSTEP_PERFORMER", "who: the CI's user, else git's e-mail address, else the login name", func(d Details) string { return d.Performer }},
		{"KSTEP_VERSION", "the version that is deployed", func(d Details) string { return d.Version }},
		{"KSTEP_SERVICE_VERSION", "`<service>@<version>`; a commit is cut to 7 digits, any other version is whole", func(d Details) string {
			return ServiceVersion(d.Service, d.Version)
		}},
		{"KSTEP_SERVICE", "the service", func(d Details) string { return d.Service }},
		{"KSTEP_DESTINATION", "the destination given with `-d`, or empty", func(d Details) string { return d.Destination }},
		{"KSTEP_HOSTS", "the hosts, separated by commas", func(d Details) string { return strings.Join(d.Hosts, ",") }},
		{"KSTEP_ROLES", "the roles, separated by commas", func(d Details) string { return strings.Join(d.Roles, ",") }},
		{"KSTEP_COMMAND", "the command, such as `deploy`", func(d Details) string { return d.Command }},
		{"KSTEP_SUBCOMMAND", "its second word, such as `reboot` of `proxy reboot`, or empty", func(d Details) string { return d.Subcommand }},
		{"KSTEP_STAGE", "the stage the hook belongs to, or empty", func(d Details) string { return d.Stage }},
		{"KSTEP_RELEASE", "the id of the release", func(d Details) string { return d.Release }},
		{"KSTEP_RUNTIME", "how long it took, in whole seconds; empty before the end", func(d Details) string {
			if d.Runtime <= 0 {
				return ""
			}
			return strconv.Itoa(int(math.Round(d.Runtime.Seconds())))
		}},
		{"KSTEP_STATE_DIR", "the state folder, as an absolute path", func(d Details) string { return d.StateDir }},
		{"KSTEP_STATUS", "how it ended: `ok`, `unchanged`, `partial`, `failed` or `interrupted`, after `plan` also `pending`; empty before the end", func(d Details) string { return d.Status }},
		{"KSTEP_EXIT_CODE", "the exit code kstep is about to end with; empty before the end", func(d Details) string {
			if d.Status == "" {
				return ""
			}
			return strconv.Itoa(d.ExitCode)
		}},
	}
}

// ServiceVersion names a version of a service for people: `shop@abc1234`.
func ServiceVersion(service, version string) string { return service + "@" + short.Of(version) }

// environ is base with the hook's variables over it.
func environ(base []string, d Details) []string {
	out := make([]string, 0, len(base)+16)
	own := map[string]bool{}
	for _, v := range Variables() {
		own[v.Name] = true
	}
	for _, entry := range base {
		if name, _, _ := strings.Cut(entry, "="); !own[name] {
			out = append(out, entry)
		}
	}
	for _, v := range Variables() {
		// A zero byte would end the environment and fail the start.
		out = append(out, v.Name+"="+strings.ReplaceAll(v.value(d), "\x00", ""))
	}
	return out
}

// Hook is a moment at which a script may run.
type Hook struct {
	Name string
	// Text is its line in docs/hooks.md.
	Text string
}

// Hooks are all hooks there are, in the order of a deploy. stages are the
// names of the stages; each has a hook before and after it.
func Hooks(stages ...string) []Hook {
	hooks := []Hook{
		{"pre-command", "before every command that has hooks"},
		{"pre-connect", "once, before the first connection to a host"},
		{"pre-build", "before the image is built"},
		{"post-push", "after the image is in the registry"},
		{"pre-deploy", "once for each release, before the first stage that touches hosts, however many jobs that stage has: the place to check whether CI is green"},
		{"post-deploy", "once for each release, after its last stage succeeded on all hosts; `KSTEP_RUNTIME` is that of the whole release, from its first job on"},
	}
	hooks = append(hooks,
		Hook{"docker-setup", "at the end of `server bootstrap`, when every host has an engine and before there is any container"},
		Hook{"pre-traefik-reboot", "before the proxy reboots, for each group of hosts: the place to take them out of a load balancer"},
		Hook{"post-traefik-reboot", "after the proxy rebooted, for each group of hosts"})
	for _, stage := range stages {
		for _, h := range []Hook{{"pre-" + stage, "before the stage"}, {"post-" + stage, "after the stage succeeded"}} {
			if !known(hooks, h.Name) {
				hooks = append(hooks, h)
			}
		}
	}
	return append(hooks,
		Hook{"post-command", "after every command that has hooks, whatever its result"},
		Hook{"on-failure", "after a command failed; `KSTEP_EXIT_CODE` is its exit code"})
}

// Names are the names of Hooks.
func Names(stages ...string) []string {
	var names []string
	for _, h := range Hooks(stages...) {
		names = append(names, h.Name)
	}
	return names
}

func known(hooks []Hook, name string) bool {
	for _, h := range hooks {
		if h.Name == name {
			return true
		}
	}
	return false
}

// table is the variables as docs/hooks.md has them.
func table() string {
	var b strings.Builder
	b.WriteString("| Variable | What it holds |\n|---|---|\n")
	for _, v := range Variables() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", v.Name, v.Text)
	}
	return b.String()
}

// hookTable is the hooks as docs/hooks.md has them.
func hookTable() string {
	var b strings.Builder
	b.WriteString("| Hook | When it runs |\n|---|---|\n")
	for _, h := range Hooks("<stage>") {
		text := strings.ReplaceAll(h.Text, "the stage", "that stage")
		fmt.Fprintf(&b, "| `%s` | %s |\n", h.Name, cmp.Or(text, "-"))
	}
	return b.String()
}
