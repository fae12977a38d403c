package stages

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
)

// binfmt is where a Linux kernel lists the emulators that it starts by itself.
const binfmt = "/proc/sys/fs/binfmt_misc"

// RunsOneOf refuses an image whose platforms are all of another processor or system
// than the host's. A host with an emulator for one of them can run it.
func (w *Work) RunsOneOf(ctx context.Context, platforms []string) error {
	info, err := w.Host.Engine().Info(ctx)
	if err != nil {
		return err
	}
	return w.runsOneOf(ctx, info, platforms)
}

func (w *Work) runsOneOf(ctx context.Context, info engine.Info, platforms []string) error {
	for _, platform := range platforms {
		if info.RunsImage(platform) || w.emulates(ctx, platform) {
			return nil
		}
	}
	slices.Sort(platforms)
	own := info.Platform()
	return exit.With(exit.Failed,
		fmt.Errorf("image is %s, host %s is %s (%s)", strings.Join(platforms, ", "), w.Target.Host, own, info.Architecture),
		fmt.Sprintf("build it for that host: builder.platforms: [%s], then deploy a new version; with qemu's handlers in %s the host may emulate it", own, binfmt))
}

func (w *Work) emulates(ctx context.Context, platform string) bool {
	name := engine.EmulatorName(platform)
	if name == "" || !strings.HasPrefix(platform, "linux/") {
		return false
	}
	registered, err := w.Host.Files().Read(ctx, path.Join(binfmt, name))
	return err == nil && strings.HasPrefix(string(registered), "enabled")
}
