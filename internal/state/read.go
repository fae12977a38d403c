package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/short"
)

// Read returns one stage's unfiltered file with its digest, after the same
// checks as ReadSet.
func (d *Dir) Read(stage string, want Expect) (*File, string, error) {
	set, err := d.read([]string{stage}, []string{FileName(stage, "")}, want)
	if err != nil {
		return nil, "", err
	}
	return set.File(stage), set.Inputs()[0].Digest, nil
}

// ReadSet returns the files of several stages, the shards of each united. The
// checks come in this order, each over all files before the next: JSON and
// ours, format, schema, service and release, chain, status, missing. All files
// that fail the same check are reported together.
func (d *Dir) ReadSet(stages []string, want Expect) (Set, error) {
	names, err := d.list()
	if err != nil {
		return Set{}, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return !slices.Contains(stages, stageOf(name)) || Whole(stageOf(name)) && name != FileName(stageOf(name), "")
	})
	return d.read(stages, names, want)
}

// Whole reports whether a stage has one file only: it works on no host. What looks
// like a shard of it is ignored.
func Whole(stage string) bool { return stage == "build" || stage == "push" }

func (d *Dir) read(stages, names []string, want Expect) (Set, error) {
	entries, err := d.load(names)
	if err != nil {
		return Set{}, err
	}
	entries, release := newest(entries, want.Release)
	for _, check := range []func(*entry) error{
		func(e *entry) error { return d.belongs(e, want, release) },
		func(e *entry) error { return d.chained(e) },
	} {
		if err := each(entries, check); err != nil {
			return Set{}, err
		}
	}
	set, err := unite(entries, want.Resume)
	if err != nil {
		return Set{}, err
	}
	var errs []error
	for _, stage := range stages {
		if set.File(stage) == nil {
			errs = append(errs, d.missing(stage))
		}
	}
	return set, errors.Join(errs...)
}

// load reads files and does the checks that need no other file. A file that
// is not there is left out.
func (d *Dir) load(names []string) ([]*entry, error) {
	var entries []*entry
	probes := map[*entry]probe{}
	var errs []error
	for _, name := range names {
		data, err := d.bytes(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		e := &entry{name: name, path: d.file(name), data: data, digest: digest(data)}
		entries = append(entries, e)
		if probes[e], err = e.ours(); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if err := each(entries, func(e *entry) error { return e.readable(probes[e]) }); err != nil {
		return nil, err
	}
	return entries, each(entries, func(e *entry) error { return e.wellFormed(d.opt.Validate) })
}

func each(entries []*entry, check func(*entry) error) error {
	var errs []error
	for _, e := range entries {
		errs = append(errs, check(e))
	}
	return errors.Join(errs...)
}

// newest leaves of each stage only the files of its newest release: shards of
// an older one may lie beside them, left by a laptop's earlier run. The release
// is the wanted one, or else the newest of all.
func newest(entries []*entry, want string) (kept []*entry, release string) {
	top := map[string]string{}
	release = want
	for _, e := range entries {
		top[e.file.Stage] = max(top[e.file.Stage], e.file.Release)
		if want == "" {
			release = max(release, e.file.Release)
		}
	}
	for _, e := range entries {
		if e.file.Release == top[e.file.Stage] {
			kept = append(kept, e)
		}
	}
	return kept, release
}

// belongs is the fourth check: this service, destination and release.
func (d *Dir) belongs(e *entry, want Expect, release string) error {
	if d.opt.Adopt {
		return nil
	}
	f := e.file
	if err := foreignTo(e.path, f, want); err != nil {
		return err
	}
	if f.Release != release {
		age := "older"
		if f.Release > release {
			age = "newer"
		}
		return bad(e.path, fmt.Sprintf("belongs to the %s release %s, not to %s", age, describe(f.Release), describe(release)),
			"run `kstep "+f.Stage+"` for this release, or use --adopt to take the file as it is")
	}
	return nil
}

func foreignTo(path string, f *File, want Expect) error {
	if want.Service == "" || (f.Service == want.Service && f.Destination == want.Destination) {
		return nil
	}
	hint := "use a state folder of its own (--state-dir)"
	if f.Service != want.Service { // It may have been renamed; one destination is never another.
		hint += ", or --adopt to take the file as it is"
	}
	return bad(path, fmt.Sprintf("belongs to %s, not to %s",
		who(f.Service, f.Destination), who(want.Service, want.Destination)), hint)
}

func who(service, destination string) string {
	if destination == "" {
		return service
	}
	return service + " at " + destination
}

func describe(release string) string {
	return release + " of " + ReleaseTime(release).Format("2006-01-02 15:04:05") + " UTC"
}

// chained is the fifth check: this file is as kstep wrote it, and so are the
// files it was made from, as far as they are here.
func (d *Dir) chained(e *entry) error {
	if !intact(e.data) {
		return bad(e.path, "was changed after kstep wrote it: its sum does not match",
			"restore it from the job that made it, or run `kstep "+e.file.Stage+"` again after removing it")
	}
	err := d.opt.vouch(e.path, e.data,
		"run `kstep "+e.file.Stage+"` again in a job that has the key (what is already so stays so)")
	if err != nil {
		return err
	}
	var errs []error
	for _, in := range e.file.Inputs {
		name := FileName(in.Stage, in.Shard)
		data, err := d.bytes(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // A job gets only the artifacts it needs.
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if have := digest(data); have != in.Digest && !supersedes(data, in.Digest) {
			errs = append(errs, bad(e.path, fmt.Sprintf("was made from another %s (%s) than the one here (%s)",
				d.file(name), short.Of(in.Digest), short.Of(have)),
				"run `kstep "+e.file.Stage+"` again (what is already so stays so), or restore the "+name+" it was made from"))
		}
	}
	return errors.Join(errs...)
}

func supersedes(data []byte, old string) bool {
	e := &entry{data: data}
	if !intact(data) || e.decode() != nil {
		return false
	}
	return slices.Contains(e.file.Supersedes, old)
}

// missing is the last check's error.
func (d *Dir) missing(stage string) error {
	hints := []string{"run `kstep " + stage + "` first, or fetch its state file into " + d.path}
	if found, _ := filepath.Glob(filepath.Join(d.path, "*", FileName(stage, ""))); len(found) > 0 {
		hints = []string{"found " + found[0] + ": unpack artifacts into " + d.path +
			" itself (actions/download-artifact: merge-multiple: true)"}
	}
	return exit.With(exit.MissingState,
		fmt.Errorf("state of %s is missing: %s", stage, d.File(stage, "")), hints...)
}

// Own returns a stage's own earlier file of the same release, or nil. A file
// that Write would refuse to replace is an error already here, before the
// stage touches anything.
func (d *Dir) Own(stage, shard string, want Expect) (*File, error) {
	e, err := d.existing(FileName(stage, shard), want)
	if err != nil || e == nil {
		return nil, err
	}
	if want.Release != "" && e.file.Release != want.Release || d.opt.vouch(e.path, e.data) != nil {
		return nil, nil // It is replaced.
	}
	return e.file, nil
}

// existing is the file that a write would replace; nil if there is none, or
// only one that may be replaced without a look.
func (d *Dir) existing(name string, want Expect) (*entry, error) {
	entries, err := d.load([]string{name})
	if d.opt.Adopt && err != nil {
		return nil, nil
	}
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	e := entries[0]
	if d.opt.Adopt {
		return e, nil
	}
	if !intact(e.data) {
		return nil, d.chained(e)
	}
	if err := foreignTo(e.path, e.file, want); err != nil {
		return nil, err
	}
	if want.Release != "" && e.file.Release > want.Release {
		return nil, bad(e.path, fmt.Sprintf("belongs to the newer release %s, this is %s", describe(e.file.Release), describe(want.Release)),
			"a newer pipeline used this folder: go on with its files, or begin a new release, with kstep deploy or with --new-release at the first stage",
			"--adopt replaces the file")
	}
	return e, nil
}

// Forget removes the files of a release.
func (d *Dir) Forget(release string) error {
	for _, e := range d.Inspect() {
		if e.File != nil && e.File.Release == release {
			if err := os.Remove(d.file(e.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// Releases are the ids of all releases with a file here, oldest first. Files that
// cannot be read are left out: the checks name them when they are requested.
func (d *Dir) Releases() []string {
	var ids []string
	for _, e := range d.Inspect() {
		if e.File != nil && !slices.Contains(ids, e.File.Release) {
			ids = append(ids, e.File.Release)
		}
	}
	slices.Sort(ids)
	return ids
}
