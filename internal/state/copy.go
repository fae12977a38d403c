package state

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/kstep/kstep/internal/atomicfile"
	"github.com/kstep/kstep/internal/exit"
)

// Raw returns a file of the folder as it is, for a copy elsewhere; the error
// satisfies fs.ErrNotExist if there is none.
func (d *Dir) Raw(name string) ([]byte, error) { return d.bytes(name) }

// Decode reads a copied file that is complete and unchanged since kstep wrote
// it. Whose it is, and whether it may be built upon, is for others to say.
func Decode(name string, data []byte) (*File, error) {
	e := &entry{name: name, path: name, data: data}
	p, err := e.ours()
	if err != nil {
		return nil, err
	}
	if err := e.readable(p); err != nil {
		return nil, err
	}
	if err := e.wellFormed(nil); err != nil {
		return nil, err
	}
	if !intact(data) {
		return nil, bad(name, "was changed after kstep wrote it: its sum does not match")
	}
	return e.file, nil
}

// Alike reports whether two files of one stage mean the same to the stages
// behind it.
func Alike(a, b *File) bool {
	if a.Status.Done() != b.Status.Done() || !sameOutputs(a, b) {
		return false
	}
	return a.Status.Done() || (a.Status == b.Status && a.ExitCode == b.ExitCode)
}

// Is reports whether data is the file that was read, byte by byte.
func (in Input) Is(data []byte) bool { return digest(data) == in.Digest }

// Satisfies reports whether data is the input that was read, or a later run of
// it that meant the same.
func (in Input) Satisfies(data []byte) bool {
	return in.Is(data) || supersedes(data, in.Digest)
}

// Succeed returns data, a file of the folder, as the successor of an older copy that means the same:
// what was made from either is then made from it.
func (d *Dir) Succeed(older, data []byte) ([]byte, error) {
	was, is := &entry{data: older}, &entry{data: data}
	if err := errors.Join(was.decode(), is.decode()); err != nil {
		return nil, err
	}
	f := is.file
	f.Supersedes = append([]string{digest(data)}, f.Supersedes...)
	for _, one := range append([]string{digest(older)}, was.file.Supersedes...) {
		if !slices.Contains(f.Supersedes, one) {
			f.Supersedes = append(f.Supersedes, one)
		}
	}
	f.Supersedes = f.Supersedes[:min(len(f.Supersedes), maxSupersedes)]
	key, err := d.opt.key()
	if err != nil {
		return nil, err
	}
	return encode(f, key)
}

// Import takes a copy of a state file into the folder, after the checks that a
// reader does of a single file.
func (d *Dir) Import(name string, data []byte, want Expect) error {
	if len(data) > MaxSize {
		return bad(name, fmt.Sprintf("has %d bytes; a state file never has more than %d", len(data), MaxSize))
	}
	f, err := Decode(name, data)
	if err != nil {
		return err
	}
	if d.opt.Validate != nil {
		if err := d.opt.Validate(data); err != nil {
			return bad(name, "breaks the schema of "+APIVersion+": "+err.Error())
		}
	}
	if err := foreignTo(name, f, want); err != nil {
		return err
	}
	if want.Release != "" && f.Release != want.Release {
		return bad(name, fmt.Sprintf("belongs to release %s, not to %s", describe(f.Release), describe(want.Release)))
	}
	if _, err := d.existing(name, want); err != nil {
		return err
	}
	if err := os.MkdirAll(d.path, 0o755); err != nil {
		return exit.With(exit.BadState, fmt.Errorf("make state folder: %w", err), folderHint)
	}
	err = atomicfile.Write(d.file(name), data)
	if err != nil {
		return exit.With(exit.BadState, fmt.Errorf("write state: %w", err), "make room and rights in "+d.path)
	}
	return nil
}

// Newest is the newest release of the service with a readable file here, and
// one of its files; nil if there is none.
func (d *Dir) Newest(want Expect) *File {
	var newest *File
	for _, e := range d.Inspect() {
		if e.File == nil || foreignTo(e.Name, e.File, want) != nil {
			continue
		}
		if newest == nil || e.File.Release >= newest.Release {
			newest = e.File
		}
	}
	return newest
}
