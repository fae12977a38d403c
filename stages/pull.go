package stages

import (
	"context"

	"github.com/kstep/kstep/internal/registry"
	"github.com/kstep/kstep/internal/report"
)

// PullOn returns the pull of images to the host of w, each with the login of its
// registry, with progress in the report.
func (in Input) PullOn(w *Work) func(ctx context.Context, image string) error {
	images := in.images
	if images == nil {
		images = registry.NewPuller(in.Config, in.Secrets)
	}
	return func(ctx context.Context, image string) error {
		return images.Pull(ctx, w.Host.Engine(), image, func(done, total int64, _ string) {
			in.Report.Emit(report.Event{Kind: report.Progress, Host: w.Target.Host, Message: "pull image", Done: done, Total: total})
		})
	}
}

// PullOn is that of the session's inputs.
func (s *Session) PullOn(w *Work) func(ctx context.Context, image string) error {
	return s.Input(nil, nil).PullOn(w)
}

// puller is the one of all stages and commands of this process: it queries a
// secret, or a helper of docker's keychain, once.
func (s *Session) puller() *registry.Puller {
	s.imagesOnce.Do(func() { s.images = registry.NewPuller(s.Config, s.Secrets) })
	return s.images
}
