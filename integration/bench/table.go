package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is all that is printed at the end, as Markdown for docs/benchmarks.md.
type report struct {
	cases  []measured
	rounds int
	start  time.Duration
	at     time.Time
}

func write(w io.Writer, r report) {
	fmt.Fprintf(w, "%s, %d CPUs, %d rounds, medians (smallest to largest). `kstep version`: %s.\n\n",
		r.at.Format(time.DateOnly), runtime.NumCPU(), r.rounds, ms(r.start))
	rows := [][]string{{"case", "floor", "host part", "ratio", "whole deploy", "ratio", "requests", "failed", "slowest"}}
	for _, c := range r.cases {
		floor := spread(c.floors, func(f floor) time.Duration { return f.total })
		host := spread(c.runs, func(d deploy) time.Duration { return d.host })
		whole := spread(c.runs, func(d deploy) time.Duration { return d.whole })
		requests, slowest := 0, time.Duration(0)
		for _, d := range c.runs {
			requests, slowest = requests+d.requests, max(slowest, d.slowest)
		}
		rows = append(rows, []string{
			c.name(), floor.String(), host.String(), c.ratio(func(d deploy) time.Duration { return d.host }),
			whole.String(), c.ratio(func(d deploy) time.Duration { return d.whole }),
			fmt.Sprint(requests), fmt.Sprint(c.lost()), ms(slowest),
		})
	}
	table(w, rows)

	rows = [][]string{append([]string{"stages (ms)"}, allStages()...)}
	for _, c := range r.cases {
		row := []string{c.name()}
		for _, stage := range allStages() {
			row = append(row, number(spread(c.runs, func(d deploy) time.Duration { return d.stages[stage] }).median))
		}
		rows = append(rows, row)
	}
	table(w, rows)

	rows = [][]string{append([]string{"rollback (ms)", "whole"}, backStages()...)}
	for _, c := range r.cases {
		row := []string{c.name(), spread(c.runs, func(d deploy) time.Duration { return d.back }).String()}
		for _, stage := range backStages() {
			row = append(row, number(spread(c.runs, func(d deploy) time.Duration { return d.backStages[stage] }).median))
		}
		rows = append(rows, row)
	}
	table(w, rows)

	rows = [][]string{append([]string{"floor (ms)"}, floorSteps()...)}
	for _, c := range r.cases {
		row := []string{c.name()}
		for _, step := range floorSteps() {
			row = append(row, number(spread(c.floors, func(f floor) time.Duration { return f.steps[step] }).median))
		}
		rows = append(rows, row)
	}
	table(w, rows)
}

// times are the median of some runs, and how far they lie apart.
type times struct{ median, least, most time.Duration }

func spread[T any](runs []T, of func(T) time.Duration) times {
	var all []time.Duration
	for _, r := range runs {
		all = append(all, of(r))
	}
	if len(all) == 0 {
		return times{}
	}
	return times{median(all), slices.Min(all), slices.Max(all)}
}

func median[T time.Duration | float64](all []T) T {
	sorted := slices.Sorted(slices.Values(all))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

func (t times) String() string {
	return fmt.Sprintf("%s (%s–%s)", ms(t.median), number(t.least), number(t.most))
}

// ratio is the median of each run's ratio to the floor beside it: on a noisy
// machine neighbours in time are the only fair comparison.
func (m measured) ratio(of func(deploy) time.Duration) string {
	var all []float64
	for i, d := range m.runs {
		all = append(all, float64(of(d))/float64(m.floors[i].total))
	}
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", median(all))
}

func ms(d time.Duration) string     { return number(d) + " ms" }
func number(d time.Duration) string { return fmt.Sprint(d.Round(time.Millisecond).Milliseconds()) }

// table writes rows as Markdown with columns that line up; the first row is
// the head, and all but the first column are flushed right.
func table(w io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	line := func(row []string) {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if i == 0 {
				cell += pad
			} else {
				cell = pad + cell
			}
			fmt.Fprintf(w, "| %s ", cell)
		}
		fmt.Fprintln(w, "|")
	}
	line(rows[0])
	for i, width := range widths {
		if i == 0 {
			fmt.Fprintf(w, "|%s", strings.Repeat("-", width+2))
		} else {
			fmt.Fprintf(w, "|%s:", strings.Repeat("-", width+1))
		}
	}
	fmt.Fprintln(w, "|")
	for _, row := range rows[1:] {
		line(row)
	}
	fmt.Fprintln(w)
}
