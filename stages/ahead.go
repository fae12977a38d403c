package stages

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
)

// A stage's first reads on each host are known before it begins. They all start
// at once, beside the look at the fence, and under the lease, as the stage's
// own reads. Each answer is used once, while it is fresh, and not where this
// process has written since.

// aheadFresh is how old an answer may be: as old as a look at a fence.
const aheadFresh = 2 * time.Second

// aheads are the hosts of one stage's run; nil looks ahead nowhere.
type aheads struct {
	stage string

	mu    sync.Mutex
	hosts map[string]*aheadHost
}

// of is the host with its early reads, which the first target starts.
func (a *aheads) of(ctx context.Context, h host.Host, names plan.Names, t plan.Target) host.Host {
	if a == nil {
		return h
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.hosts == nil {
		a.hosts = map[string]*aheadHost{}
	}
	one := a.hosts[h.Name()]
	if one == nil {
		one = &aheadHost{Host: h, files: &aheadFiles{Files: h.Files(), reads: map[string]*early[[]byte]{}, lists: map[string]*early[[]host.Entry]{}}}
		a.hosts[h.Name()] = one
	}
	for _, what := range a.wanted(names, t) {
		one.files.begin(ctx, what)
	}
	return one
}

// wanted are the files and folders that the stage reads first.
func (a *aheads) wanted(names plan.Names, t plan.Target) []wanted {
	all := []wanted{{file: names.Ledger()}}
	switch a.stage {
	case "env-push":
		all = append(all, wanted{file: names.EnvKey()}, wanted{folder: names.EnvDir()})
		if t.Role.Name != "" {
			all = append(all, wanted{file: names.EnvFile(t.EnvRole())})
		}
	case "prune":
		all = append(all, wanted{folder: names.Assets()}, wanted{folder: names.Cords()})
	}
	return all
}

// wanted is a file to read or a folder to list.
type wanted struct{ file, folder string }

type aheadHost struct {
	host.Host

	files *aheadFiles
}

func (h *aheadHost) Files() host.Files { return h.files }

// aheadFiles are a host's files, some of which are read early.
type aheadFiles struct {
	host.Files

	mu    sync.Mutex
	begun map[wanted]bool
	reads map[string]*early[[]byte]
	lists map[string]*early[[]host.Entry]
}

var _ host.Files = (*aheadFiles)(nil)

// early is the answer of an early read.
type early[T any] struct {
	asked time.Time
	done  chan struct{}
	value T
	err   error
}

func (f *aheadFiles) begin(ctx context.Context, what wanted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begun == nil {
		f.begun = map[wanted]bool{}
	}
	if f.begun[what] {
		return
	}
	f.begun[what] = true
	if what.file != "" {
		f.reads[what.file] = ask(func() ([]byte, error) { return f.Files.Read(ctx, what.file) })
	} else {
		f.lists[what.folder] = ask(func() ([]host.Entry, error) { return f.Files.List(ctx, what.folder) })
	}
}

func ask[T any](call func() (T, error)) *early[T] {
	e := &early[T]{asked: time.Now(), done: make(chan struct{})}
	go func() {
		defer close(e.done)
		e.value, e.err = call()
	}()
	return e
}

// take is the answer, if there is one that counts. It drops any failure but a
// missing file: the caller reads again and finds it.
func take[T any](ctx context.Context, f *aheadFiles, from map[string]*early[T], name string) (value T, err error, ok bool) { //nolint:revive // The error is a part of the answer.
	f.mu.Lock()
	e := from[name]
	delete(from, name)
	f.mu.Unlock()
	if e == nil {
		return value, nil, false
	}
	select {
	case <-e.done:
	case <-ctx.Done():
		return value, nil, false
	}
	if e.err != nil && !errors.Is(e.err, fs.ErrNotExist) || time.Since(e.asked) > aheadFresh {
		return value, nil, false
	}
	return e.value, e.err, true
}

func (f *aheadFiles) Read(ctx context.Context, file string) ([]byte, error) {
	if data, err, ok := take(ctx, f, f.reads, file); ok {
		return data, err
	}
	return f.Files.Read(ctx, file)
}

func (f *aheadFiles) List(ctx context.Context, folder string) ([]host.Entry, error) {
	if entries, err, ok := take(ctx, f, f.lists, folder); ok {
		return entries, err
	}
	return f.Files.List(ctx, folder)
}

// changes drops the early answers for the file: they may be out of date.
func (f *aheadFiles) changes(file string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.reads, file)
	for folder := file; ; folder = path.Dir(folder) {
		delete(f.lists, folder)
		if folder == path.Dir(folder) {
			return
		}
	}
}

func (f *aheadFiles) Write(ctx context.Context, file string, data []byte, perm fs.FileMode) error {
	f.changes(file)
	return f.Files.Write(ctx, file, data, perm)
}

func (f *aheadFiles) WriteVia(ctx context.Context, dir, file string, data []byte, perm fs.FileMode) error {
	f.changes(file)
	return f.Files.WriteVia(ctx, dir, file, data, perm)
}

func (f *aheadFiles) Create(ctx context.Context, file string, data []byte, perm fs.FileMode) error {
	f.changes(file)
	return f.Files.Create(ctx, file, data, perm)
}

func (f *aheadFiles) Append(ctx context.Context, file string, data []byte, perm fs.FileMode) (int64, error) {
	f.changes(file)
	return f.Files.Append(ctx, file, data, perm)
}

func (f *aheadFiles) Mkdir(ctx context.Context, folder string, perm fs.FileMode) error {
	f.changes(folder)
	return f.Files.Mkdir(ctx, folder, perm)
}

func (f *aheadFiles) Remove(ctx context.Context, file host.Below) error {
	f.changes(file.String())
	return f.Files.Remove(ctx, file)
}

// RemoveTree may remove any of what was read early.
func (f *aheadFiles) RemoveTree(ctx context.Context, folder host.Below) error {
	f.mu.Lock()
	clear(f.reads)
	clear(f.lists)
	f.mu.Unlock()
	return f.Files.RemoveTree(ctx, folder)
}
