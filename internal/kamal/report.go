package kamal

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Kind is one of the three lists of a report.
type Kind string

// The lists, in the order of a report.
const (
	NotImportable Kind = "not-importable"
	Changed       Kind = "changed"
	Dropped       Kind = "dropped"
)

// Danger orders the entries of a list: what can break a service comes first.
type Danger int

// The dangers, the greatest first.
const (
	Missing Danger = iota // A file that is not there: a container does not start, or starts wrong.
	Names                 // Host names and HTTPS: requests do not arrive.
	Data                  // Folders and files: a container starts without its data.
	Networks
	Other
)

// Entry is a fact of the report.
type Entry struct {
	Kind Kind `json:"kind"`
	// Key is Kamal's key, such as `proxy.ssl`; `erb` for Ruby outside of values,
	// `hooks.<name>` for a hook, `secrets.<name>` for a secret.
	Key  string `json:"key"`
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`

	danger Danger
}

// Report is what differs between Kamal's configuration and kstep's.
type Report struct {
	// Files are those that the import makes.
	Files []string
	// Entries are sorted by list, danger, file and line.
	Entries []Entry
}

// Of are the entries of one list.
func (r Report) Of(k Kind) []Entry {
	var all []Entry
	for _, e := range r.Entries {
		if e.Kind == k {
			all = append(all, e)
		}
	}
	return all
}

type section struct {
	kind  Kind
	title string
}

func sections() []section {
	return []section{
		{NotImportable, "Not importable"},
		{Changed, "Changed, or to do by hand"},
		{Dropped, "Dropped"},
	}
}

// WriteText writes the report for a terminal.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, s := range sections() {
		entries := r.Of(s.kind)
		fmt.Fprintf(&b, "%s: %s\n", s.title, count(len(entries)))
		for _, e := range entries {
			fmt.Fprintf(&b, "  %s: %s: %s\n", e.at(), e.Key, strings.ReplaceAll(e.Text, "\n", "\n      "))
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteMarkdown writes the report for a pull request.
func (r Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Import from Kamal\n\n")
	for _, f := range r.Files {
		fmt.Fprintf(&b, "- `%s`\n", f)
	}
	for _, s := range sections() {
		entries := r.Of(s.kind)
		fmt.Fprintf(&b, "\n## %s\n\n", s.title)
		if len(entries) == 0 {
			b.WriteString("Nothing.\n")
			continue
		}
		b.WriteString("| Where | Key | What |\n|---|---|---|\n")
		for _, e := range entries {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(e.at()), cell("`"+e.Key+"`"), cell(e.Text))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the report as an object with one list for each kind.
func (r Report) WriteJSON(w io.Writer) error {
	all := func(k Kind) []Entry {
		if entries := r.Of(k); entries != nil {
			return entries
		}
		return []Entry{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		Files         []string `json:"files"`
		NotImportable []Entry  `json:"not_importable"`
		Changed       []Entry  `json:"changed"`
		Dropped       []Entry  `json:"dropped"`
	}{r.Files, all(NotImportable), all(Changed), all(Dropped)})
}

func (e Entry) at() string {
	if e.Line == 0 {
		return e.File
	}
	return fmt.Sprintf("%s:%d", e.File, e.Line)
}

func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", "<br>", "<", "&lt;").Replace(s)
}

func count(n int) string {
	switch n {
	case 0:
		return "nothing"
	case 1:
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

// collector keeps each entry once.
type collector struct{ entries []Entry }

func (c *collector) add(entries ...Entry) {
	for _, e := range entries {
		if !slices.Contains(c.entries, e) {
			c.entries = append(c.entries, e)
		}
	}
}

func (c *collector) sorted() []Entry {
	rank := map[Kind]int{NotImportable: 0, Changed: 1, Dropped: 2}
	slices.SortStableFunc(c.entries, func(a, b Entry) int {
		return cmp.Or(rank[a.Kind]-rank[b.Kind], int(a.danger-b.danger), strings.Compare(a.File, b.File), a.Line-b.Line)
	})
	return c.entries
}
