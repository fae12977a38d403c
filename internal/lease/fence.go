package lease

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/kstep/kstep/internal/host"
)

// Fence is a host's memory of the highest token whose holder changed anything
// there: a folder of empty files, each named by a token and its release. Making
// one never lowers the highest, even if another process makes one at the same
// time.
type Fence struct {
	Files host.Files
	Dir   string
}

// mark is one token that a host remembers.
type mark struct {
	token   int
	release string
	name    string
}

// marks are the tokens on the host; top is the highest.
func (f Fence) marks(ctx context.Context) (top mark, all []mark, err error) {
	files, err := f.Files.List(ctx, f.Dir)
	if err != nil {
		return top, nil, fmt.Errorf("read fence: %w", err)
	}
	for _, e := range files {
		number, release, ok := strings.Cut(e.Name, "-")
		token, err := strconv.Atoi(number)
		if !ok || err != nil || token < 1 {
			continue
		}
		m := mark{token, release, e.Name}
		all = append(all, m)
		if token > top.token {
			top = m
		}
	}
	return top, all, nil
}

// raise remembers the token, and forgets lower ones.
func (f Fence) raise(ctx context.Context, l Lease, have []mark) error {
	name := fmt.Sprintf("%08d-%s", l.Token, l.Holder.Release)
	err := f.Files.Create(ctx, path.Join(f.Dir, name), nil, 0o644)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("raise fence: %w", err)
	}
	for _, m := range have {
		if m.token < l.Token {
			if err := f.Files.Remove(ctx, host.Under(f.Dir, m.name)); err != nil {
				return fmt.Errorf("raise fence: %w", err)
			}
		}
	}
	return nil
}
