package prune

import (
	"context"
	"fmt"
	"path"
	"strings"

	hosts "github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/stages"
)

// abandoned is how many minutes old a half written file must be before nobody
// can be writing it any more: another shard of this release may.
const abandoned = "+10"

// sweep removes files that a run was killed over. They are hidden from all who
// list folders, so one command looks for them.
func sweep(ctx context.Context, in stages.Input, w *stages.Work) error {
	dirs := []string{w.Names.Folder()}
	for _, t := range in.All {
		if t.Proxied && t.Host == w.Target.Host {
			dirs = append(dirs, w.Names.ProxyDir())
			break
		}
	}
	argv := append([]string{"find"}, dirs...)
	argv = append(argv, "-name", hosts.TemporaryPattern, "-type", "f", "-mmin", abandoned, "-print", "-exec", "rm", "-f", "--", "{}", ";")
	found, err := w.Host.Run(ctx, argv, nil)
	if err != nil {
		return fmt.Errorf("sweep half written files: %w", err)
	}
	for file := range strings.Lines(string(found)) {
		w.Did("removed half written %s", path.Base(strings.TrimSpace(file)))
	}
	return nil
}
