// Package mirror keeps copies of a service's state files on one host, so that
// a runner without artifacts, or a person's machine, can go on with a release
// (`--state-from hosts`). The state folder is the original: the mirror judges
// no file, decides nothing, and losing it costs no more than a rerun.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/state"
)

// Store is the mirror's folder on its host. It holds a folder for each release.
type Store struct {
	Files host.Files
	Dir   string
}

// Put copies a stage's file out of the state folder, if what is mirrored means
// something else: a rerun that changed nothing writes nothing, and reads from
// the host once. The files that it was made from are copied first, as far as
// the mirror has others, so that the chain of digests holds in the mirror too.
func (s Store) Put(ctx context.Context, from *state.Dir, f *state.File) error {
	name := state.FileName(f.Stage, f.Shard)
	there, err := s.read(ctx, f.Release, name)
	if err != nil {
		return err
	}
	if old, err := state.Decode(name, there); err == nil && state.Alike(old, f) {
		return nil
	}
	return s.copy(ctx, from, f.Release, name, there)
}

// copy writes a file over the mirrored one, which is empty if there is none.
func (s Store) copy(ctx context.Context, from *state.Dir, release, name string, there []byte) error {
	data, err := from.Raw(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // A job need not have every artifact.
	}
	if err != nil {
		return err
	}
	f, err := state.Decode(name, data)
	if err != nil || f.Release != release {
		return err
	}
	for _, in := range f.Inputs {
		input := state.FileName(in.Stage, in.Shard)
		mirrored, err := s.read(ctx, release, input)
		if err != nil {
			return err
		}
		if mirrored != nil && in.Satisfies(mirrored) {
			continue
		}
		if err := s.copy(ctx, from, release, input, mirrored); err != nil {
			return err
		}
	}
	if old, err := state.Decode(name, there); err == nil && state.Alike(old, f) {
		if data, err = from.Succeed(there, data); err != nil {
			return err
		}
	}
	return s.Files.Write(ctx, s.file(release, name), data, 0o644)
}

// Releases are those with a folder in the mirror, newest first.
func (s Store) Releases(ctx context.Context) ([]string, error) {
	entries, err := s.Files.List(ctx, s.Dir)
	if err != nil {
		return nil, fmt.Errorf("list mirrored state: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir && !state.ReleaseTime(e.Name).IsZero() {
			ids = append(ids, e.Name)
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids, nil
}

// Fetch copies the mirrored files of a release into the state folder, where
// that has none, an older release's, or an earlier one. It returns the names
// of those it copied.
func (s Store) Fetch(ctx context.Context, into *state.Dir, want state.Expect) ([]string, error) {
	entries, err := s.Files.List(ctx, path.Join(s.Dir, want.Release))
	if err != nil {
		return nil, fmt.Errorf("list mirrored state: %w", err)
	}
	var fetched []string
	for _, e := range entries {
		if e.IsDir || e.Size > state.MaxSize {
			continue
		}
		data, err := s.read(ctx, want.Release, e.Name)
		if err != nil {
			return fetched, err
		}
		if !later(into, e.Name, data) {
			continue
		}
		if err := into.Import(e.Name, data, want); err != nil {
			return fetched, exit.Hint(fmt.Errorf("mirrored state: %w", err),
				"the mirror is a copy only: remove "+s.file(want.Release, e.Name)+" from the host and run the stage that made it again")
		}
		fetched = append(fetched, e.Name)
	}
	return fetched, nil
}

// later reports whether the mirrored file replaces the one in the folder.
// Import refuses files that cannot be compared.
func later(into *state.Dir, name string, mirrored []byte) bool {
	data, err := into.Raw(name)
	if err != nil {
		return true
	}
	have, haveErr := state.Decode(name, data)
	there, thereErr := state.Decode(name, mirrored)
	return haveErr != nil || thereErr != nil || there.Release != have.Release || have.Finished.Before(there.Finished)
}

// hostReleases bounds how many releases Hosts reads.
const hostReleases = 10

// Hosts are the hosts that the mirrored releases had: those of the targets in
// boot's and cutover's files. What cannot be read is left out.
func (s Store) Hosts(ctx context.Context) ([]string, error) {
	releases, err := s.Releases(ctx)
	if err != nil {
		return nil, err
	}
	var hosts []string
	for _, release := range releases[:min(len(releases), hostReleases)] {
		files, err := s.readable(ctx, release, "boot", "cutover")
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			for _, t := range f.Targets {
				hosts = append(hosts, t.Host)
			}
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts), nil
}

// Last is the file of the release's stage that ended last, or nil where none is
// mirrored.
func (s Store) Last(ctx context.Context, release string) (last *state.File, err error) {
	files, err := s.readable(ctx, release, "")
	for _, f := range files {
		if last == nil || f.Finished.After(last.Finished) {
			last = f
		}
	}
	return last, err
}

// readable are the mirrored files of a release whose names begin with one of the
// prefixes, as far as they can be read.
func (s Store) readable(ctx context.Context, release string, prefixes ...string) (files []*state.File, err error) {
	entries, err := s.Files.List(ctx, path.Join(s.Dir, release))
	if err != nil {
		return nil, fmt.Errorf("list mirrored state: %w", err)
	}
	for _, e := range entries {
		wanted := slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(e.Name, prefix) })
		if e.IsDir || e.Size > state.MaxSize || !wanted {
			continue
		}
		data, err := s.read(ctx, release, e.Name)
		if err != nil {
			return nil, err
		}
		if f, err := state.Decode(e.Name, data); err == nil {
			files = append(files, f)
		}
	}
	return files, nil
}

// Keep removes the folders of releases for which keep says no, and returns
// them.
func (s Store) Keep(ctx context.Context, keep func(release string) bool) ([]string, error) {
	all, err := s.Releases(ctx)
	if err != nil {
		return nil, err
	}
	var gone []string
	for _, release := range all {
		if keep(release) {
			continue
		}
		if err := s.Files.RemoveTree(ctx, host.Under(s.Dir, release)); err != nil {
			return gone, fmt.Errorf("remove mirrored state: %w", err)
		}
		gone = append(gone, release)
	}
	return gone, nil
}

func (s Store) file(release, name string) string { return path.Join(s.Dir, release, name) }

// read returns a mirrored file, or nothing if there is none.
func (s Store) read(ctx context.Context, release, name string) ([]byte, error) {
	data, err := s.Files.Read(ctx, s.file(release, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read mirrored state: %w", err)
	}
	return data, nil
}

// Other are the names of the files in the folder that were read for a release, and of
// which the copies mean something else. One that cannot be read says nothing. A file
// that has changed since it was read counts as another one.
func (s Store) Other(ctx context.Context, folder *state.Dir, release string, read []state.Input) ([]string, error) {
	names, errs := make([]string, len(read)), make([]error, len(read))
	var wg sync.WaitGroup
	for i, in := range read {
		wg.Go(func() {
			name := state.FileName(in.Stage, in.Shard)
			copied, err := s.read(ctx, release, name)
			if err != nil || copied == nil || in.Satisfies(copied) {
				errs[i] = err
				return
			}
			if !alike(folder, name, in, copied) {
				names[i] = name
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(names, func(name string) bool { return name == "" }), errors.Join(errs...)
}

// alike reports whether a file that was read means the same as its copy. The bytes
// that are compared are those that were read, not those of a file that has taken its
// place since.
func alike(folder *state.Dir, name string, read state.Input, copied []byte) bool {
	data, err := folder.Raw(name)
	if err != nil || !read.Is(data) {
		return false
	}
	have, haveErr := state.Decode(name, data)
	there, thereErr := state.Decode(name, copied)
	return haveErr != nil || thereErr != nil || state.Alike(have, there)
}
