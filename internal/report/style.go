package report

// style colours text, or leaves it alone.
type style struct{ on bool }

func (s style) paint(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(t string) string   { return s.paint("1", t) }
func (s style) dim(t string) string    { return s.paint("2", t) }
func (s style) red(t string) string    { return s.paint("31", t) }
func (s style) green(t string) string  { return s.paint("32", t) }
func (s style) yellow(t string) string { return s.paint("33", t) }

func (s style) status(status string) string {
	switch status {
	case "ok":
		return s.green(status)
	case "unchanged":
		return s.dim(status)
	case "partial", "interrupted":
		return s.yellow(status)
	}
	return s.red(status)
}

// Marked colours text by its mark: `+`, `~`, `-`, `!` for a failure, `?` for
// less important text; without a mark it is a heading. The text is cleaned.
func Marked(color bool, mark, text string) string {
	s := style{on: color}
	text = Plain(text)
	switch mark {
	case "":
		return s.bold(text)
	case "+":
		return s.green(text)
	case "~":
		return s.yellow(text)
	case "-", "!":
		return s.red(text)
	}
	return s.dim(text)
}

// Tinted colours text by a number, such as that of the host it is about. None
// of its colours stands for success or failure.
func Tinted(color bool, n int, text string) string {
	tints := []string{"36", "35", "34", "96", "95", "94"}
	return style{on: color}.paint(tints[n%len(tints)], Plain(text))
}
