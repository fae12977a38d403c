package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// blockYAML writes an example as a person would: maps in blocks, short lists
// in one line. It is enough for examples, and no YAML library is needed.
func blockYAML(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var b strings.Builder
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if isBlock(v[key]) {
				fmt.Fprintf(&b, "%s:\n  %s\n", key, strings.ReplaceAll(strings.TrimSuffix(blockYAML(v[key]), "\n"), "\n", "\n  "))
			} else {
				fmt.Fprintf(&b, "%s: %s\n", key, flowYAML(v[key]))
			}
		}
		return b.String()
	case []any:
		var b strings.Builder
		for _, item := range v {
			text := flowYAML(item)
			if m, ok := item.(map[string]any); ok {
				text = strings.ReplaceAll(strings.TrimSuffix(blockYAML(m), "\n"), "\n", "\n  ")
			}
			fmt.Fprintf(&b, "- %s\n", text)
		}
		return b.String()
	default:
		return flowYAML(v) + "\n"
	}
}

func isBlock(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) > 0
	case []any:
		return slices.ContainsFunc(v, func(item any) bool { _, ok := item.(map[string]any); return ok })
	}
	return false
}

var plainText = regexp.MustCompile(`^[A-Za-z~./_][A-Za-z0-9~./_@:+%'= -]*$`)

func flowYAML(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, key+": "+flowYAML(v[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		var parts []string
		for _, item := range v {
			parts = append(parts, flowYAML(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case string:
		if plainText.MatchString(v) && !strings.Contains(v, ": ") && !strings.HasSuffix(v, ":") || digitsFirst.MatchString(v) {
			return v
		}
		quoted, _ := json.Marshal(v) // A string always marshals.
		return string(quoted)
	case json.RawMessage: // A default that is not text.
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

// digitsFirst are texts such as 300ms, 50% and 192.0.2.1, which no reader takes
// for numbers.
var digitsFirst = regexp.MustCompile(`^([0-9]+([a-z]+|%)|([0-9]+\.){3}[0-9]+)$`)
