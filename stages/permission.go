package stages

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
)

// usable is why the SSH user cannot work in a run directory that several users
// share: folders that it may not write to, or files that it may not read. It is
// nil where nothing is there yet, and where the host cannot check it.
func usable(ctx context.Context, h host.Host, names plan.Names) (reason, err error) {
	argv := []string{"find", names.Run, "-maxdepth", "3", "-path", names.Run + "/*"}
	for _, own := range []string{names.Folder(), names.ProxyDir()} {
		argv = append(argv, "!", "-path", own, "!", "-path", own+"/*")
	}
	argv = append(argv, "!", "-path", names.EnvKey(), "-prune", "-o",
		"(", "-type", "d", "!", "-exec", "test", "-w", "{}", ";", "-o", "-type", "f", "!", "-exec", "test", "-r", "{}", ";", ")", "-print")
	out, err := h.Run(ctx, argv, nil)
	if _, failed := errors.AsType[*host.CommandError](err); failed {
		err = nil // A folder that is missing, or that it may not look into: that one is printed.
	}
	if err != nil {
		return nil, err
	}
	var closed []string
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); path.IsAbs(line) {
			closed = append(closed, line)
		}
	}
	if len(closed) == 0 {
		return nil, nil
	}
	more := ""
	if len(closed) > 1 {
		more = fmt.Sprintf(" and %d more", len(closed)-1)
	}
	return exit.With(exit.Config, fmt.Errorf("the SSH user has no permission for %s%s on %s", closed[0], more, h.Name()),
		"use the SSH user who deployed before, or give the files to this one, as root: "+
			fmt.Sprintf("find %s ! -path '*/@accessories/*/directories/*' -exec chown -h USER: {} +", names.Run)), nil
}
