package assets

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// binfmt is where a Linux kernel lists the emulators that it starts by itself.
const binfmt = "/proc/sys/fs/binfmt_misc"

// suits refuses an image for another processor or system than the host's, before
// anything of it is pulled. A host with an emulator for it can run it.
func suits(ctx context.Context, w *stages.Work, push state.PushOutputs) error {
	platforms := []string{push.Platform}
	for _, v := range push.Variants {
		platforms = append(platforms, v.Platform)
	}
	info, err := w.Host.Engine().Info(ctx)
	if err != nil {
		return err
	}
	for _, platform := range platforms {
		if info.RunsImage(platform) || emulates(ctx, w, platform) {
			return nil
		}
	}
	slices.Sort(platforms)
	own := info.Platform()
	return exit.With(exit.Failed,
		fmt.Errorf("image is %s, host %s is %s (%s)", strings.Join(platforms, ", "), w.Target.Host, own, info.Architecture),
		fmt.Sprintf("build it for that host: builder.platforms: [%s], then deploy a new version; with qemu's handlers in %s the host may emulate it", own, binfmt))
}

func emulates(ctx context.Context, w *stages.Work, platform string) bool {
	name := engine.EmulatorName(platform)
	if name == "" || !strings.HasPrefix(platform, "linux/") {
		return false
	}
	registered, err := w.Host.Files().Read(ctx, path.Join(binfmt, name))
	return err == nil && strings.HasPrefix(string(registered), "enabled")
}
