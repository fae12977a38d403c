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

const head = `# Faults

Made by ` + "`make faults`" + `; not written by hand.

A fault injector stands where every remote operation of kstep passes (engine requests, SFTP, commands, connections) and breaks a run at one of them. After each fault the same command is run again, then the rest of the chain. An attempt has *converged* when the hosts are then as an undisturbed deploy leaves them (containers with their labels and mounts, routes, cords, env files, assets, images, ledger, the lease free), the exit code told the truth and agreed with the state file, no user's request failed from before the fault to the end, and no secret was in any output or state file.

The hosts are the fake ones of the unit tests: real SSH, SFTP and HTTP, and an engine and a proxy that imitate Docker and Traefik. Two hosts, of which one has two roles. A half written, hidden file that a killed run left behind is not counted as a difference: nobody reads it, and a later prune sweeps it away.

| kind | what happens |
|---|---|
| cut-before | the connection breaks before the request is sent |
| cut-after | the host did what was asked, and the answer is lost |
| gone | the host does not answer any more for the rest of the run |
| disk-full | a write finds no space |
| terminate | SIGTERM |
| kill | as SIGKILL: nothing more is sent or written, connections break |
| freeze | the process stands still until its lease has expired and another release has deployed; then it must change nothing |

`

// page is the whole document.
func page(rows []row, step int) string {
	order := []string{"assets", "env-push", "boot", "barrier-wait", "cutover", "prune", "deploy"}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Stage), slices.Index(order, b.Stage)), -cmp.Compare(a.Traffic, b.Traffic))
	})
	var text strings.Builder
	text.WriteString(head)
	text.WriteString(coverage(step))
	columns := []string{"stage", "switch"}
	for _, kind := range fault.Kinds() {
		columns = append(columns, string(kind))
	}
	columns = append(columns, "points", "converged", "requests", "lost")
	line(&text, columns)
	line(&text, slices.Repeat([]string{"---"}, len(columns)))
	var points, converged int
	var sent, lost int64
	for _, r := range rows {
		cells := []string{r.Stage, r.Traffic}
		for _, kind := range fault.Kinds() {
			cells = append(cells, fmt.Sprint(r.Tried[string(kind)]))
		}
		line(&text, append(cells, fmt.Sprint(r.points()), fmt.Sprint(r.Converged), fmt.Sprint(r.Sent), fmt.Sprint(r.Lost)))
		points, converged, sent, lost = points+r.points(), converged+r.Converged, sent+r.Sent, lost+r.Lost
	}
	total := append([]string{"all", ""}, slices.Repeat([]string{""}, len(fault.Kinds()))...)
	line(&text, append(total, fmt.Sprint(points), fmt.Sprint(converged), fmt.Sprint(sent), fmt.Sprint(lost)))
	return text.String()
}

// coverage says how much was tried, so that a short run does not look like a
// whole one.
func coverage(step int) string {
	if step == 1 {
		return "Every operation of every stage on every host was tried with every kind; of `deploy`, which runs all stages in one process, one in five.\n\n"
	}
	return fmt.Sprintf("This is a sample: one in %d of the operations (and kinds) of every stage, one in %d of those of `deploy`. `make faults` without `STEP` tries all.\n\n", step, 5*step)
}

func line(to *strings.Builder, cells []string) {
	fmt.Fprintf(to, "| %s |\n", strings.Join(cells, " | "))
}
