package kamal

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// Forms of plain scalars in Ruby's YAML reader, which follows YAML 1.1.
var (
	boolForm        = regexp.MustCompile(`(?i)^(yes|true|on|no|false|off)$`)
	octalForm       = regexp.MustCompile(`^[-+]?0[0-7_,]+$`)
	decimalForm     = regexp.MustCompile(`^[-+]?(0|[1-9](?:[0-9]|,[0-9]|_[0-9])*)$`)
	hexForm         = regexp.MustCompile(`^[-+]?0[xX][0-9a-fA-F_,]+$`)
	binaryForm      = regexp.MustCompile(`^[-+]?0b[01_,]+$`)
	floatForm       = regexp.MustCompile(`^[-+]?([0-9][0-9_,]*)?\.[0-9]*([eE][+-][0-9]+)?$`)
	sexagesimalForm = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(:[0-5]?[0-9]){1,2}$`)
)

// rubyText is a plain scalar as Ruby reads it and prints it again: `OFF` is
// false, `010` is 8, `3.10` is 3.1, `10_000` is 10000, `1:30` is 5400.
func rubyText(s string) string {
	bare := strings.NewReplacer("_", "", ",", "").Replace(s)
	switch {
	case boolForm.MatchString(s):
		if l := strings.ToLower(s); l == "yes" || l == "true" || l == "on" {
			return "true"
		}
		return "false"
	case decimalForm.MatchString(s):
		return integer(bare, 10)
	case octalForm.MatchString(s):
		return integer(bare, 8)
	case hexForm.MatchString(s):
		return integer(strings.NewReplacer("0x", "", "0X", "").Replace(bare), 16)
	case binaryForm.MatchString(s):
		return integer(strings.Replace(bare, "0b", "", 1), 2)
	case sexagesimalForm.MatchString(s):
		return sexagesimal(s)
	case floatForm.MatchString(s) && strings.ContainsAny(s, "0123456789"):
		f, err := strconv.ParseFloat(bare, 64)
		if err != nil {
			return s
		}
		return rubyFloat(f)
	}
	return s
}

func integer(s string, base int) string {
	n, ok := new(big.Int).SetString(strings.TrimPrefix(s, "+"), base)
	if !ok {
		return s
	}
	return n.String()
}

// sexagesimal is how Ruby computes `2222:22`: the first part counts as hours
// also where there are two parts only.
func sexagesimal(s string) string {
	total := 0
	for i, part := range strings.Split(strings.ReplaceAll(s, "_", ""), ":") {
		n, err := strconv.Atoi(part)
		if err != nil || n > 1<<40 {
			return s
		}
		for range max(2-i, i-2) {
			n *= 60
		}
		total += n
	}
	return strconv.Itoa(total)
}

func rubyFloat(f float64) string {
	abs := max(f, -f)
	if abs != 0 && (abs >= 1e16 || abs < 1e-4) {
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		return mantissa + "e" + exponent
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// isTrue reads a boolean as Ruby does.
func isTrue(n *node) bool {
	return n != nil && n.kind == scalar && (rubyText(n.text) == "true")
}

func isFalse(n *node) bool {
	return n != nil && n.kind == scalar && rubyText(n.text) == "false"
}

// number is a whole number as Ruby reads it.
func number(n *node) (int, bool) {
	if n == nil || n.kind != scalar {
		return 0, false
	}
	value, err := strconv.Atoi(rubyText(n.text))
	return value, err == nil
}
