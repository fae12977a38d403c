package main

import (
	"github.com/kstep/kstep/stages"
	"github.com/kstep/kstep/stages/assets"
	"github.com/kstep/kstep/stages/barrierwait"
	"github.com/kstep/kstep/stages/boot"
	"github.com/kstep/kstep/stages/build"
	"github.com/kstep/kstep/stages/cutover"
	"github.com/kstep/kstep/stages/envpush"
	"github.com/kstep/kstep/stages/prune"
	"github.com/kstep/kstep/stages/push"
)

// pipeline is every stage in order. `kstep deploy` runs them all in one
// process; a CI system runs each as a job.
func pipeline() []stages.Stage {
	return []stages.Stage{
		build.Stage{},       // The image, from git and the Dockerfile.
		push.Stage{},        // The image, to the registry, pinned by digest.
		assets.Stage{},      // The image on the hosts; old and new assets side by side.
		envpush.Stage{},     // The environments on the hosts: the only stage with secrets.
		boot.Stage{},        // New containers, started without traffic.
		barrierwait.Stage{}, // Ready, or stopped again.
		cutover.Stage{},     // Traffic to the new, away from the old.
		prune.Stage{},       // What is past retention.
	}
}

// chainFor are the stages of one deploy: with an image that is there already,
// nothing is built.
func chainFor(options stages.Options) []stages.Stage {
	if options.Image != "" || options.Retained != nil {
		return pipeline()[1:]
	}
	return pipeline()
}
