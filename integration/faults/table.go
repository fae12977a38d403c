package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/fault"
)

// row is what the test measured of one stage with one switch.
type row struct {
	Traffic   string         `json:"traffic"`
	Stage     string         `json:"stage"`
	Tried     map[string]int `json:"tried"`
	Converged int            `json:"converged"`
	Sent      int64          `json:"sent"`
	Lost      int64          `json:"lost"`
}

func (r row) points() int {
	n := 0
	for _, tried := range r.Tried {
		n += tried
	}
	return n
}

// add counts what another row counted, too.
func (r *row) add(other row) {
	for kind, tried := range other.Tried {
		r.Tried[kind] += tried
	}
	r.Converged, r.Sent, r.Lost = r.Converged+other.Converged, r.Sent+other.Sent, r.Lost+other.Lost
}

// united has one row for each stage and switch: parts of it may have been
// measured side by side.
func united(rows []row) []row {
	var all []row
	for _, r := range rows {
		at := slices.IndexFunc(all, func(a row) bool { return a.Stage == r.Stage && a.Traffic == r.Traffic })
		if at >= 0 {
			all[at].add(r)
		} else {
			all = append(all, r)
		}
	}
	return all
}

const head = `# Faults

Made by ` + "`make faults`" + `; not written by hand.

A fault injector stands where every remote operation of kstep passes (engine requests, SFTP, commands, connections) and breaks a run at one of them. After each fault the same command is run again, then the rest of the chain; after a rollback, a redeploy, a restart or an abort, two more deploys. An attempt has *converged* when the hosts are then as an undisturbed run leaves them (containers with their labels and mounts, routes, cords, env files, assets, images, ledger, the lease free), the exit code was correct and agreed with the state file, no user's request failed from before the fault to the end, and no secret was in any output or state file.

| kind | what happens |
|---|---|
| cut-before | the connection breaks before the request is sent |
| cut-after | the host did what was requested, and the answer is lost |
| gone | the host does not answer any more for the rest of the run |
| disk-full | a write finds no space |
| terminate | SIGTERM |
| kill | as SIGKILL: nothing more is sent or written, connections break |
| freeze | the process stands still until its lease has expired and another release has deployed; then it must change nothing |
| unobserved | between two operations a person or the engine changes the host: the engine restarts, a container is removed, started or stopped by hand. kstep must not stop or unroute what serves, must not report success while something else serves, and a rerun or the next deploy converges |
| stale-view | the answer to an observation is held back until another release has deployed; then it must change nothing, and must not report that its version serves |

`

const onFakes = `## On hosts that are not there

The hosts are the fake ones of the unit tests: real SSH, SFTP and HTTP, and an engine and a proxy that imitate Docker and Traefik. Two hosts with two containers of the web role each, and one of another role on one of them. A command that has done all and reported success is not run again where that would begin another release. An abort runs after boot, and after the cutover of one of the hosts. A half written, hidden file that a killed run left behind is not counted as a difference: nothing reads it, and a later prune sweeps it away.

`

const onFakesBehind = `
The two kinds of changes that kstep does not see are counted by themselves. Requests that a person's own act cost, such as the removal of a container in service, are not counted.

`

const onRig = `
## On real hosts

The integration tests' three hosts, with sshd, Docker and Traefik, under the request loop: kept-alive connections, new ones, and slow requests, to both web hosts and the load balancer. The stages that touch containers and traffic, killed by SIGKILL, or cut off after a request was sent.

`

// page is the whole document.
func page(fakes, behind, rig suite) string {
	var text strings.Builder
	text.WriteString(head)
	text.WriteString(onFakes)
	text.WriteString(coverage(fakes.step, "Every operation of every stage on every host was tried with every kind; of `deploy`, `rollback`, `redeploy` and `app restart`, which run all stages in one process, one in five; so of the first deploy on hosts that have nothing.",
		"This is a sample: one in %d of the operations (and kinds) of every stage, and fewer of those of commands that run all stages."))
	table(&text, fakes.rows, broken())
	text.WriteString(onFakesBehind)
	behind.write(&text)
	text.WriteString(onRig)
	text.WriteString(coverage(rig.step, "Every operation of the stage was tried with both kinds.",
		"This is a sample: one in %d of the operations of every stage, with both kinds."))
	table(&text, rig.rows, []fault.Kind{fault.Kill, fault.CutAfter})
	return text.String()
}

// write adds the part on changes behind kstep's back.
func (s suite) write(text *strings.Builder) {
	if len(s.rows) == 0 {
		text.WriteString("They have not been measured at full length: the unit tests try a fixed sample of them.\n")
		return
	}
	text.WriteString(coverage(s.step, "Every operation of every stage on every host was tried with both kinds; of commands that run all stages, one in five.",
		"This is a sample: one in %d of the operations of every stage, and fewer of those of commands that run all stages."))
	table(text, s.rows, behindItsBack())
}

// coverage says how much was tried, so that a short run does not look like a
// whole one.
func coverage(step int, whole, sample string) string {
	if step == 1 {
		return whole + "\n\n"
	}
	return fmt.Sprintf(sample, step) + " `make faults` tries all.\n\n"
}

func table(text *strings.Builder, rows []row, kinds []fault.Kind) {
	order := []string{"assets", "env-push", "boot", "barrier-wait", "cutover", "prune", "deploy", "first deploy",
		"rollback", "redeploy", "app restart", "abort after boot", "abort in cutover"}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Stage), slices.Index(order, b.Stage)), -cmp.Compare(a.Traffic, b.Traffic))
	})
	columns := []string{"stage", "switch"}
	for _, kind := range kinds {
		columns = append(columns, string(kind))
	}
	columns = append(columns, "points", "converged", "requests", "lost")
	line(text, columns)
	line(text, slices.Repeat([]string{"---"}, len(columns)))
	sum := row{Tried: map[string]int{}}
	for _, r := range rows {
		line(text, r.cells(r.Stage, r.Traffic, kinds))
		sum.add(r)
	}
	line(text, sum.cells("all", "", kinds))
}

func (r row) cells(stage, traffic string, kinds []fault.Kind) []string {
	cells := []string{stage, traffic}
	for _, kind := range kinds {
		cells = append(cells, fmt.Sprint(r.Tried[string(kind)]))
	}
	return append(cells, fmt.Sprint(r.points()), fmt.Sprint(r.Converged), fmt.Sprint(r.Sent), fmt.Sprint(r.Lost))
}

func line(to *strings.Builder, cells []string) {
	fmt.Fprintf(to, "| %s |\n", strings.Join(cells, " | "))
}
