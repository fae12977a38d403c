package kamal

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Marks enclose the number of a fragment where Ruby stood in a value. They are
// characters of Unicode's private use area, which YAML takes as plain text.
const (
	markOpen  = '\uE000'
	markClose = '\uE001'
)

var mark = regexp.MustCompile("\uE000([0-9]+)\uE001")

// fragment is the Ruby of one `<%= … %>`.
type fragment struct {
	code string
	file string
	line int
	// expr is what it means, if it is one of the plain forms.
	expr expr
	// command is the command line that its value is the output of, if it is one.
	command string
	// env is the variable that it is the value of, if it is one.
	env string
}

// condition is a block of Ruby around lines: if, unless, case, or a loop.
type condition struct {
	code  string
	line  int
	loop  bool
	parts []span // The lines of each branch.
}

type span struct{ from, to int }

func (s span) has(line int) bool { return s.from <= line && line <= s.to }

// template is a file with its Ruby taken out.
type template struct {
	text       string
	fragments  []fragment
	conditions []condition
	notes      []Entry
	reads      []string // Variables that the Ruby reads.
}

type tag struct {
	output bool
	code   string
	line   int
	lines  int // Line breaks within it.
	alone  bool
}

// erb takes the Ruby out of a file. Of each block the first branch is kept, or
// the one that choose names for the block's number. Line numbers stay the same.
// Fragments are numbered from first on.
func erb(data, file string, first int, choose map[int]int) (template, error) {
	if strings.ContainsRune(data, markOpen) || strings.ContainsRune(data, markClose) {
		return template{}, refused("%s: has a character of Unicode's private use area (U+E000 or U+E001)", file)
	}
	r := &erbReader{file: file, first: first, choose: choose, locals: map[string]expr{}}
	return r.read(data)
}

type erbReader struct {
	file   string
	first  int
	choose map[int]int
	locals map[string]expr
	out    strings.Builder
	t      template
	open   []block
	owed   int // Line breaks of tags, to be written at the end of the line.
}

type block struct {
	number int // Of the condition; -1 for one that is no condition.
	branch int
	since  int
}

func (r *erbReader) read(data string) (template, error) {
	line := 1
	for data != "" {
		start := strings.Index(data, "<%")
		if start < 0 {
			r.literal(data, &line)
			break
		}
		if strings.HasPrefix(data[start:], "<%%") {
			r.literal(data[:start]+"<%", &line)
			data = data[start+3:]
			continue
		}
		end := strings.Index(data[start:], "%>")
		if end < 0 {
			return r.t, refused("%s:%d: <%% without %%>", r.file, line+strings.Count(data[:start], "\n"))
		}
		before, code := data[:start], data[start+2:start+end]
		rest := data[start+end+2:]
		r.literal(before, &line)
		t := tag{line: line, lines: strings.Count(code, "\n")}
		t.alone = isBlankTail(before, r.out.Len() == 0) && isBlankHead(rest)
		t.code = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(code, "-"), "-"))
		if t.code, t.output = strings.CutPrefix(t.code, "="); t.output {
			t.code = strings.TrimSpace(strings.TrimPrefix(t.code, "="))
		}
		r.tag(t)
		r.owed += t.lines
		line += t.lines
		data = rest
	}
	r.out.WriteString(strings.Repeat("\n", r.owed))
	for _, b := range r.open {
		if b.number >= 0 {
			r.endBranch(b, line)
		}
	}
	r.t.text = r.out.String()
	return r.t, nil
}

func isBlankTail(s string, atStart bool) bool {
	i := strings.LastIndexByte(s, '\n')
	return strings.TrimSpace(s[i+1:]) == "" && (i >= 0 || atStart)
}

func isBlankHead(s string) bool {
	head, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(head) == ""
}

// active reports whether the lines here are in the branches that are kept.
func (r *erbReader) active() bool {
	for _, b := range r.open {
		if b.number >= 0 && b.branch != r.choose[b.number] {
			return false
		}
	}
	return true
}

func (r *erbReader) literal(s string, line *int) {
	*line += strings.Count(s, "\n")
	active := r.active()
	for part := range strings.SplitAfterSeq(s, "\n") {
		body, broken := strings.CutSuffix(part, "\n")
		if active {
			r.out.WriteString(body)
		}
		if broken {
			r.out.WriteString(strings.Repeat("\n", r.owed+1))
			r.owed = 0
		}
	}
}

func (r *erbReader) tag(t tag) {
	for _, m := range envName.FindAllStringSubmatch(t.code, -1) {
		r.t.reads = append(r.t.reads, m[1])
	}
	switch {
	case strings.HasPrefix(t.code, "#") || t.code == "":
	case !r.active() && t.output:
	case t.output && t.alone:
		r.note(Changed, Names, t.line, "Ruby that writes whole lines is not executed; write the lines by hand: %s", t.code)
	case t.output:
		f := readRuby(t.code, r.locals)
		f.file, f.line = r.file, t.line
		fmt.Fprintf(&r.out, "%c%d%c", markOpen, r.first+len(r.t.fragments), markClose)
		r.t.fragments = append(r.t.fragments, f)
	default:
		r.control(t)
	}
}

var (
	opensIf     = regexp.MustCompile(`^(if|unless|case)\b`)
	opensBranch = regexp.MustCompile(`^(elsif|else|when|in|rescue|ensure)\b`)
	opensLoop   = regexp.MustCompile(`(\bdo\s*(\|[^|]*\|)?|\{\s*\|[^|]*\|)$|^(for|while|until|begin|def)\b`)
	closes      = regexp.MustCompile(`^(end\b|\})`)
	assigns     = regexp.MustCompile(`^([a-z_][A-Za-z0-9_]*)\s*(?:\|\|)?=\s*([^=~>].*)$`)
	closedInOne = regexp.MustCompile(`(?s)\b(if|unless|case|do|begin|def|for|while)\b.*\bend\b`)
)

func (r *erbReader) control(t tag) {
	switch {
	case closedInOne.MatchString(t.code):
		r.statements(t)
	case opensIf.MatchString(t.code) || opensLoop.MatchString(t.code):
		r.openBlock(t)
	case opensBranch.MatchString(t.code) && len(r.open) > 0:
		b := &r.open[len(r.open)-1]
		if b.number >= 0 {
			r.endBranch(*b, t.line-1)
		}
		b.branch++
		b.since = t.line
	case closes.MatchString(t.code):
		if len(r.open) == 0 {
			return
		}
		b := r.open[len(r.open)-1]
		r.open = r.open[:len(r.open)-1]
		if b.number >= 0 {
			r.endBranch(b, t.line)
		}
	default:
		r.statements(t)
	}
}

func (r *erbReader) openBlock(t tag) {
	number := len(r.t.conditions)
	b := block{number: number, since: t.line}
	if strings.HasPrefix(t.code, "case") {
		b.branch = -1
	}
	r.open = append(r.open, b)
	r.t.conditions = append(r.t.conditions, condition{code: t.code, line: t.line, loop: !opensIf.MatchString(t.code)})
}

func (r *erbReader) endBranch(b block, to int) {
	if b.branch < 0 {
		return
	}
	c := &r.t.conditions[b.number]
	c.parts = append(c.parts, span{b.since, to})
}

// statements are assignments, of which the plain ones are remembered, and other
// Ruby, which has no effect here.
func (r *erbReader) statements(t tag) {
	if !r.active() {
		return
	}
	line := t.line
	for statement := range strings.SplitSeq(strings.ReplaceAll(t.code, ";", "\n;"), "\n") {
		if rest, same := strings.CutPrefix(statement, ";"); same {
			line--
			statement = rest
		}
		statement = strings.TrimSpace(statement)
		switch m := assigns.FindStringSubmatch(statement); {
		case strings.HasPrefix(statement, "Dotenv."):
			r.note(Changed, Other, line, "kstep fills in variables of its environment, not of .env; export them before it runs: %s", statement)
		case statement == "" || strings.HasPrefix(statement, "#") || strings.HasPrefix(statement, "require "):
		case m != nil:
			f := readRuby(m[2], r.locals)
			if f.expr != nil {
				r.locals[m[1]] = f.expr
				r.note(Changed, Other, line, "the variable %s is filled in where it is used, as %s: %s", m[1], f.expr.text(), statement)
				break
			}
			delete(r.locals, m[1])
			r.note(Changed, Other, line, "Ruby is not executed; what depends on %s has to be set by hand: %s", m[1], statement)
		default:
			r.note(Changed, Other, line, "Ruby is not executed: %s", statement)
		}
		line++
	}
}

func (r *erbReader) note(k Kind, d Danger, line int, format string, args ...any) {
	r.t.notes = append(r.t.notes, Entry{Kind: k, Key: "erb", File: r.file, Line: line, Text: fmt.Sprintf(format, args...), danger: d})
}

// fragmentsIn are the numbers of the fragments in a text.
func fragmentsIn(s string) []int {
	var all []int
	for _, m := range mark.FindAllStringSubmatch(s, -1) {
		if n, err := strconv.Atoi(m[1]); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// wholeFragment is the number of the fragment that is all of a text.
func wholeFragment(s string) (int, bool) {
	m := mark.FindStringSubmatch(s)
	if m == nil || m[0] != s {
		return 0, false
	}
	n, err := strconv.Atoi(m[1])
	return n, err == nil
}
