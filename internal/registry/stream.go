package registry

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
)

// Stream writes the image for a platform, such as `linux/arm64`, as `docker save` does under
// a name, but with compressed layers: for an engine that loads it. The first
// layers, so many of them, are left out: the engine must have them from other images.
func (p *Packed) Stream(ctx context.Context, to io.Writer, platform, name string, without int) error {
	image, err := p.forPlatform(platform)
	if err != nil {
		return err
	}
	out := tar.NewWriter(to)
	layers := make([]string, len(image.layers))
	for i, diffID := range image.file.RootFS.DiffIDs {
		layers[i] = diffID.Hex + ".tar"
		if i < without || slices.Contains(layers[without:i], layers[i]) {
			continue
		}
		one, err := p.layer(ctx, image.layers[i], diffID)
		if err == nil {
			err = addLayer(ctx, out, layers[i], one)
		}
		if err != nil {
			return err
		}
	}
	config := sha256Digest(image.config)[len("sha256:"):] + ".json"
	manifest, err := json.Marshal([]map[string]any{{"Config": config, "RepoTags": []string{name}, "Layers": layers}})
	if err != nil {
		return err
	}
	return errors.Join(addFile(out, config, image.config), addFile(out, "manifest.json", manifest), out.Close())
}

func addLayer(ctx context.Context, to *tar.Writer, name string, l layer) error {
	content, err := l.open()
	if err != nil {
		return err
	}
	defer content.Close()
	if err := to.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: l.desc.Size}); err != nil {
		return err
	}
	_, err = io.Copy(to, reader{ctx, content})
	return err
}

func addFile(to *tar.Writer, name string, data []byte) error {
	if err := to.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := to.Write(data)
	return err
}
