package sshconfig

import (
	"slices"
	"strings"
)

// matchPattern compares a text with a pattern, in which `*` is any text and
// `?` any character. It takes time in proportion to the product of both
// lengths at most.
func matchPattern(s, pattern string) bool {
	star, mark := -1, 0
	i, p := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			i++
			p++
		case star >= 0:
			mark++
			i, p = mark, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchList compares a text with patterns between commas. One that begins with
// `!` and matches decides that the list does not match.
func matchList(s, list string) bool {
	matched := false
	for pattern := range strings.SplitSeq(list, ",") {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if !matchPattern(s, pattern) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}

// Algorithms applies a list of algorithms to the default: `+` appends, `-`
// removes, `^` puts in front, and a list without any of them replaces it. The
// names may be patterns of those in all; others are left out.
func Algorithms(list string, byDefault, all []string) []string {
	names := func(list string) (found []string) {
		for pattern := range strings.SplitSeq(list, ",") {
			for _, name := range all {
				if matchPattern(name, strings.TrimSpace(pattern)) && !slices.Contains(found, name) {
					found = append(found, name)
				}
			}
		}
		return found
	}
	rest := list
	if list != "" {
		rest = list[1:]
	}
	without := func(from, those []string) []string {
		return slices.DeleteFunc(slices.Clone(from), func(name string) bool { return slices.Contains(those, name) })
	}
	switch {
	case strings.HasPrefix(list, "+"):
		return slices.Concat(byDefault, without(names(rest), byDefault))
	case strings.HasPrefix(list, "-"):
		return without(byDefault, names(rest))
	case strings.HasPrefix(list, "^"):
		front := names(rest)
		return slices.Concat(front, without(byDefault, front))
	default:
		return names(list)
	}
}
