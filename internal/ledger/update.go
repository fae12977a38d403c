package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kstep/kstep/internal/host"
)

// keep is how many generations stay beside the ledger. A writer that is slower
// than that many others begins again.
const keep = 8

// Update changes the ledger at path, and loses no change that another process
// makes at the same time: two shards of a release may work on one host. Each
// generation is a file of its own beside the ledger, made exclusively; the
// ledger is a copy of the newest one, so that it can be read at once.
//
// change reports whether it changed anything. It is called again, with a newer
// ledger, when another process was faster.
func Update(ctx context.Context, files host.Files, file string, change func(*Ledger) bool) (Ledger, error) {
	l, err := Read(ctx, files, file)
	if err != nil {
		return l, err
	}
	return UpdateFrom(ctx, files, file, l, change)
}

// UpdateFrom is Update for who has read the ledger a moment ago. Where it has
// changed since, the next generation is taken, and everything is read again.
func UpdateFrom(ctx context.Context, files host.Files, file string, known Ledger, change func(*Ledger) bool) (Ledger, error) {
	data, err := encode(known)
	if err != nil {
		return known, err
	}
	l, err := decode(data, file) // A change must not reach the copy that was read before.
	if err != nil || !change(&l) {
		return l, err
	}
	for pending := true; ; {
		if pending {
			l.Generation++
			won, err := create(ctx, files, file, l)
			if err != nil {
				return l, err
			}
			if !won {
				if l, err = newest(ctx, files, file); err != nil {
					return l, err
				}
				pending = change(&l)
				continue
			}
		}
		last, err := publish(ctx, files, file, l)
		if err != nil || last <= l.Generation {
			return l, err
		}
		// Another process was faster. It may have begun with ours, or without.
		if l, err = newest(ctx, files, file); err != nil {
			return l, err
		}
		pending = change(&l)
	}
}

// create makes the ledger's generation, and reports whether it was still free.
func create(ctx context.Context, files host.Files, file string, l Ledger) (won bool, err error) {
	data, err := encode(l)
	if err != nil {
		return false, err
	}
	err = files.Create(ctx, generation(file, l.Generation), data, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write ledger: %w", err)
	}
	return true, nil
}

// newest reads the newest generation.
func newest(ctx context.Context, files host.Files, file string) (Ledger, error) {
	for {
		all, err := generations(ctx, files, file)
		if err != nil || len(all) == 0 {
			return Ledger{}, err
		}
		last := slices.Max(all)
		data, err := files.Read(ctx, generation(file, last))
		if errors.Is(err, fs.ErrNotExist) {
			continue // Forgotten: there are many newer ones.
		}
		if err != nil {
			return Ledger{}, err
		}
		l, err := decode(data, generation(file, last))
		l.Generation = last
		return l, err
	}
}

// publish makes the ledger a copy of a generation, forgets old ones, and
// returns the newest there is.
func publish(ctx context.Context, files host.Files, file string, l Ledger) (last int, err error) {
	data, err := encode(l)
	if err != nil {
		return 0, err
	}
	var all []int
	err = host.InOrder(ctx, func(ctx context.Context) error {
		if err := files.Write(ctx, file, data, 0o644); err != nil {
			return fmt.Errorf("write ledger: %w", err)
		}
		return nil
	}, func(ctx context.Context) (err error) {
		all, err = generations(ctx, files, file)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, n := range all {
		last = max(last, n)
		if n > l.Generation-keep {
			continue
		}
		if err := files.Remove(ctx, host.Inside(path.Dir(file), generation(file, n))); err != nil {
			return 0, fmt.Errorf("forget old ledger: %w", err)
		}
	}
	return last, nil
}

func generations(ctx context.Context, files host.Files, file string) ([]int, error) {
	entries, err := files.List(ctx, folder(file))
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	var all []int
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimSuffix(e.Name, ".json")); err == nil {
			all = append(all, n)
		}
	}
	return all, nil
}

func encode(l Ledger) ([]byte, error) {
	data, err := json.MarshalIndent(l, "", "  ")
	return append(data, '\n'), err
}

// folder holds the generations of the ledger.
func folder(file string) string { return strings.TrimSuffix(file, ".json") }

func generation(file string, n int) string {
	return path.Join(folder(file), fmt.Sprintf("%08d.json", n))
}
