// Package secret keeps secret values out of everything that is written: a
// value type that prints as [REDACTED], the sources it comes from, a streaming
// redactor, and a scanner for finished files. It does not encrypt or store
// anything.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what stands for a secret in all output.
const Redacted = "[REDACTED]"

// Value is a secret. It prints, marshals and logs as [REDACTED]; Reveal is
// the only way to its content.
type Value struct{ s string }

// NewValue wraps a secret. Values that come from a Store are masked in its
// output as well; this one is masked only after Store.Add.
func NewValue(s string) Value { return Value{s: s} }

// Reveal is the secret itself. What it returns goes to the program that needs
// it and nowhere else: not into argv, logs, errors or state.
func (v Value) Reveal() string { return v.s }

// IsEmpty reports whether there is nothing to reveal.
func (v Value) IsEmpty() bool { return v.s == "" }

// String is [REDACTED].
func (v Value) String() string { return Redacted }

// GoString is [REDACTED].
func (v Value) GoString() string { return Redacted }

// Format writes [REDACTED] for every verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// MarshalJSON is "[REDACTED]".
func (v Value) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalText is [REDACTED], for YAML, XML and others.
func (v Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// LogValue is [REDACTED], for log/slog.
func (v Value) LogValue() slog.Value { return slog.StringValue(Redacted) }
