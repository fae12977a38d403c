package state

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/atomicfile"
	"github.com/kstep/kstep/internal/exit"
)

// maxSupersedes bounds the list of superseded digests: no run reruns a stage of
// one release more often and still holds a file made from the first run.
const maxSupersedes = 64

// Write writes a stage's file and returns its digest: complete or not at all,
// and only after the same checks that a reader does. It fills in what is
// constant, sorts the targets, and refuses to replace a file of another
// service, destination or newer release, unless Adopt is set.
func (d *Dir) Write(f *File) (string, error) {
	out := *f
	out.APIVersion, out.Kind = APIVersion, Kind
	out.Started, out.Finished = out.Started.UTC(), out.Finished.UTC()
	out.Supersedes = nil
	out.Targets = slices.Clone(out.Targets)
	sortTargets(out.Targets)
	d.redact(&out)

	name := FileName(out.Stage, out.Shard)
	old, err := d.existing(name, Expect{Service: out.Service, Destination: out.Destination, Release: out.Release})
	if err != nil {
		return "", err
	}
	if old != nil && old.file.Status.Done() && out.Status.Done() && intact(old.data) && sameOutputs(old.file, &out) {
		out.Supersedes = append([]string{old.digest}, old.file.Supersedes...)
		out.Supersedes = out.Supersedes[:min(len(out.Supersedes), maxSupersedes)]
	}

	key, err := d.opt.key()
	if err != nil {
		return "", err
	}
	data, err := encode(&out, key)
	if err != nil {
		return "", exit.With(exit.Internal, err)
	}
	if err := d.sound(name, data); err != nil {
		return "", err
	}
	if err := os.MkdirAll(d.path, 0o755); err != nil {
		return "", exit.With(exit.BadState, fmt.Errorf("make state folder: %w", err), folderHint)
	}
	err = atomicfile.Write(d.file(name), data)
	if err != nil {
		return "", exit.With(exit.BadState, fmt.Errorf("write state: %w", err),
			"make room and rights in "+d.path+", then run `kstep "+out.Stage+"` again")
	}
	return digest(data), nil
}

// redact masks the texts of a file, of which the targets are its own.
func (d *Dir) redact(f *File) {
	if d.opt.Redact == nil {
		return
	}
	f.Reason = d.opt.Redact(f.Reason)
	f.Source.Subject = d.opt.Redact(f.Source.Subject)
	for i := range f.Targets {
		t := &f.Targets[i]
		t.Changed = slices.Clone(t.Changed)
		for j := range t.Changed {
			t.Changed[j] = d.opt.Redact(t.Changed[j])
		}
		if t.Error != nil {
			t.Error = &Error{Class: t.Error.Class, Message: d.opt.Redact(t.Error.Message), Detail: d.redactLines(t.Error.Detail)}
		}
	}
}

// redactLines masks secrets also where they span several lines.
func (d *Dir) redactLines(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	return strings.Split(d.opt.Redact(strings.Join(lines, "\n")), "\n")
}

// sound does a reader's checks on what is about to be written. A failure is
// kstep's own, except for a secret.
func (d *Dir) sound(name string, data []byte) error {
	if len(data) > MaxSize {
		return exit.Errorf(exit.Internal, "state %s would have %d bytes, more than %d", name, len(data), MaxSize)
	}
	if d.opt.Scan != nil {
		if err := d.opt.Scan(data); err != nil {
			return fmt.Errorf("write state %s: %w", name, err)
		}
	}
	e := &entry{name: name, path: d.file(name), data: data}
	if err := e.wellFormed(d.opt.Validate); err != nil {
		// Without the reader's hints: this file was never there.
		return exit.With(exit.Internal, errors.New("write state: "+err.Error()))
	}
	return nil
}
