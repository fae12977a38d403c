// Package audit is a host's log of what kstep did there: which command, for
// which release, on whose behalf, and how it ended. It is for people. No stage
// reads it, and losing it loses nothing else.
package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"time"

	"github.com/kstep/kstep/internal/host"
)

// Limit is how many bytes a log may have before its older half is dropped:
// some thousand entries.
const Limit = 1 << 20

// Entry is one line of the log.
type Entry struct {
	At time.Time `json:"at"`
	// Host is where the line was found. It is not written there.
	Host string `json:"host,omitempty"`
	// Command is what was done, such as `cutover` or `proxy reboot`.
	Command string   `json:"command"`
	Roles   []string `json:"roles,omitempty"`
	Release string   `json:"release,omitempty"`
	Version string   `json:"version,omitempty"`
	// By is the person or job; Run is where its log is, if it has one.
	By  string `json:"by,omitempty"`
	Run string `json:"run,omitempty"`
	// Status is the host's, in the words of the state files.
	Status  string   `json:"status"`
	Changed []string `json:"changed,omitempty"`
	// Error is why it failed on this host.
	Error string `json:"error,omitempty"`
}

// Log is a host's log.
type Log struct {
	Files host.Files
	Path  string
}

// Append adds an entry. redact takes secrets out of its text. The folder is made
// where it is missing.
func (l Log) Append(ctx context.Context, e Entry, redact func(string) string) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	line = append([]byte(redact(string(line))), '\n')
	size, err := l.Files.Append(ctx, l.Path, line, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		return l.Files.Write(ctx, l.Path, line, 0o644)
	}
	if err != nil || size <= Limit {
		return err
	}
	return l.shorten(ctx)
}

// shorten keeps the newer half, in whole lines. An entry that another job adds
// meanwhile may be lost.
func (l Log) shorten(ctx context.Context) error {
	data, err := l.Files.Read(ctx, l.Path)
	if err != nil {
		return err
	}
	_, newer, _ := bytes.Cut(data[len(data)/2:], []byte("\n"))
	return l.Files.Write(ctx, l.Path, newer, 0o644)
}

// Read returns the entries, oldest first; a missing log has none. A line that is
// no entry, such as one that was cut off, is passed over.
func (l Log) Read(ctx context.Context) ([]Entry, error) {
	data, err := l.Files.Read(ctx, l.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for line := range bytes.Lines(data) {
		var e Entry
		if json.Unmarshal(line, &e) == nil && e.Command != "" {
			entries = append(entries, e)
		}
	}
	return entries, nil
}
