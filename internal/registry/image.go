package registry

import (
	"crypto/sha256"
	"encoding/hex"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kstep/kstep/internal/state"
)

// Image describes what the archive holds, by the names that do not depend on
// how layers are compressed.
func (a *Archive) Image() state.Image {
	var images []state.Variant
	for _, image := range a.images {
		images = append(images, variant(sha256Digest(image.config), image.file))
	}
	return joinVariants(images)
}

func variant(configDigest string, config v1.ConfigFile) state.Variant {
	v := state.Variant{ConfigDigest: configDigest, Platform: platform(config), DiffIDs: []string{}}
	for _, id := range config.RootFS.DiffIDs {
		v.DiffIDs = append(v.DiffIDs, id.String())
	}
	return v
}

// joinVariants makes the first platform the image and the others its variants.
func joinVariants(images []state.Variant) state.Image {
	first := images[0]
	return state.Image{
		ConfigDigest: first.ConfigDigest,
		DiffIDs:      first.DiffIDs,
		Platform:     first.Platform,
		Variants:     images[1:],
	}
}

func sha256Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
