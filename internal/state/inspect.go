package state

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/short"
)

// Entry is one state file as `kstep state` sees it.
type Entry struct {
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty"`
	// File is nil if it could not be decoded.
	File *File `json:"file,omitempty"`
	// Err is what the checks say of it; status is not among them.
	Err error `json:"-"`
}

// Inspect reads every state file of the folder and does all checks that need
// no expectation, the chain included. Files come in the order they were made.
func (d *Dir) Inspect() []Entry {
	names, err := d.list()
	if err != nil {
		return []Entry{{Name: d.path, Err: err}}
	}
	var entries []Entry
	for _, name := range names {
		found := Entry{Name: name}
		loaded, err := d.load([]string{name})
		if err != nil {
			found.Err = err
		} else if len(loaded) == 1 {
			found.File, found.Digest = loaded[0].file, loaded[0].digest
			found.Err = d.chained(loaded[0])
		}
		entries = append(entries, found)
	}
	slices.SortStableFunc(entries, func(a, b Entry) int {
		switch {
		case a.File == nil || b.File == nil:
			return cmp.Compare(btoi(a.File == nil), btoi(b.File == nil))
		}
		return cmp.Or(cmp.Compare(a.File.Release, b.File.Release),
			a.File.Started.Compare(b.File.Started), cmp.Compare(a.Name, b.Name))
	})
	return entries
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Verify checks every file in the folder and the chain between them, for
// `kstep state verify`. It prints one line a file and returns what is wrong.
func (d *Dir) Verify(w io.Writer, want Expect) error {
	entries := d.Inspect()
	if len(entries) == 0 {
		return exit.With(exit.MissingState, fmt.Errorf("no state files in %s", d.path),
			"run `kstep build`, or choose another folder with --state-dir")
	}
	newest := ""
	for _, e := range entries {
		if e.File != nil {
			newest = max(newest, e.File.Release)
		}
	}
	var errs []error
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range entries {
		err := e.Err
		if err == nil && !d.opt.Adopt {
			err = foreignTo(d.file(e.Name), e.File, want)
		}
		verdict := "ok"
		switch {
		case err != nil:
			verdict = "BAD"
			errs = append(errs, err)
		case e.File.Release != newest:
			verdict = "ok, of an older release"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", e.Name, short.Of(e.Digest), verdict)
	}
	return errors.Join(table.Flush(), errors.Join(errs...))
}

// Show prints the files for people: one line each, and one for every target
// that is not done.
func Show(w io.Writer, entries []Entry) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "STAGE\tSTATUS\tVERSION\tRELEASE\tFINISHED (UTC)\tTOOK\tTARGETS")
	for _, e := range entries {
		if e.File == nil {
			fmt.Fprintf(table, "%s\tunreadable\t\t\t\t\t\n", e.Name)
			continue
		}
		f := e.File
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", strings.TrimSuffix(e.Name, ".json"), f.Status,
			f.Version, f.Release, f.Finished.Format("2006-01-02 15:04:05"),
			f.Finished.Sub(f.Started).Round(time.Millisecond), countTargets(f.Targets))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, e := range entries {
		if e.File == nil {
			continue
		}
		for _, t := range e.File.Targets {
			if !t.Status.Done() {
				message := string(t.Status)
				if t.Error != nil {
					message += ": " + t.Error.Message
				}
				fmt.Fprintf(w, "%s: %s: %s\n", e.File.Stage, Key(t.Role, t.Host), message)
			}
		}
	}
	return nil
}

func countTargets(targets []Target) string {
	if len(targets) == 0 {
		return "-"
	}
	done := 0
	for _, t := range targets {
		if t.Status.Done() {
			done++
		}
	}
	if done == len(targets) {
		return fmt.Sprint(done)
	}
	return fmt.Sprintf("%d of %d", done, len(targets))
}

// ShowJSON prints the files for machines, as one object.
func ShowJSON(w io.Writer, entries []Entry) error {
	type item struct {
		Entry
		Error string `json:"error,omitempty"`
	}
	items := make([]item, 0, len(entries))
	for _, e := range entries {
		it := item{Entry: e}
		if e.Err != nil {
			it.Error = e.Err.Error()
		}
		items = append(items, it)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(map[string]any{"files": items})
}
