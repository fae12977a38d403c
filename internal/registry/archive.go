package registry

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The formats of an image archive.
const (
	FormatDocker = "docker" // What `docker save` writes.
	FormatOCI    = "oci"    // An OCI layout in a tar, the only one for several platforms.
)

// Archive is an image archive on disk, opened for reading. Its parts are read
// in place, several at once if need be; nothing is unpacked.
type Archive struct {
	file    *os.File
	entries map[string]entry
	format  string
	images  []archiveImage
	index   *ociIndex // Only with FormatOCI and several platforms.
}

type entry struct {
	offset, size int64
	link         string // Where a link points; then it has no content of its own.
}

// archiveImage is one platform's image in an archive.
type archiveImage struct {
	config []byte
	file   v1.ConfigFile
	layers []string     // Entry names, in order.
	oci    *v1.Manifest // Only with FormatOCI.
	raw    []byte       // The manifest's bytes, only with FormatOCI.
}

// OpenArchive opens an image archive and reads what it holds, layers aside.
func OpenArchive(file string) (*Archive, error) {
	// Before it is opened, which waits for a writer where it is a named pipe.
	info, err := os.Lstat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("image archive %s is not a regular file (%s)", file, info.Mode().Type())
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	a := &Archive{file: f}
	if err := a.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("read image archive %s: %w", file, err), f.Close())
	}
	return a, nil
}

// Format is FormatDocker or FormatOCI.
func (a *Archive) Format() string { return a.format }

// Close ends all reading.
func (a *Archive) Close() error { return a.file.Close() }

func (a *Archive) load() error {
	if err := a.scan(); err != nil {
		return err
	}
	// An engine with the containerd store writes both; its manifest.json
	// names the one platform that was built.
	if _, ok := a.entries["manifest.json"]; ok {
		a.format = FormatDocker
		return a.loadDocker()
	}
	if _, ok := a.entries["index.json"]; ok {
		a.format = FormatOCI
		return a.loadOCI()
	}
	return errors.New("it holds neither manifest.json nor index.json, so it is no image")
}

// scan notes where each entry's content lies: tar's reader seeks over content
// and never reads ahead, so the file's position is the content's start.
func (a *Archive) scan() error {
	a.entries = map[string]entry{}
	for reader := tar.NewReader(a.file); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean(header.Name)
		switch header.Typeflag {
		case tar.TypeReg:
			offset, err := a.file.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			a.entries[name] = entry{offset: offset, size: header.Size}
		case tar.TypeSymlink: // Engines up to 24 write a repeated layer as a link.
			a.entries[name] = entry{link: path.Join(path.Dir(name), header.Linkname)}
		case tar.TypeLink:
			a.entries[name] = entry{link: path.Clean(header.Linkname)}
		}
	}
}

func (a *Archive) open(name string) (*io.SectionReader, error) {
	name = path.Clean(name)
	for range 10 {
		e, ok := a.entries[name]
		if !ok {
			return nil, fmt.Errorf("%s is missing in the archive", name)
		}
		if e.link == "" {
			return io.NewSectionReader(a.file, e.offset, e.size), nil
		}
		name = e.link
	}
	return nil, fmt.Errorf("%s is a link without end in the archive", name)
}

// maxMetadata bounds what is read into memory of manifests and configs.
const maxMetadata = 16 << 20

func (a *Archive) read(name string) ([]byte, error) {
	section, err := a.open(name)
	if err != nil {
		return nil, err
	}
	if section.Size() > maxMetadata {
		return nil, fmt.Errorf("%s is too big for what it should be", name)
	}
	return io.ReadAll(section)
}

func (a *Archive) readJSON(name string, into any) error {
	data, err := a.read(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (a *Archive) loadDocker() error {
	var manifest []struct {
		Config string
		Layers []string
	}
	if err := a.readJSON("manifest.json", &manifest); err != nil {
		return err
	}
	if len(manifest) != 1 {
		return fmt.Errorf("it holds %d images instead of one", len(manifest))
	}
	config, err := a.read(manifest[0].Config)
	if err != nil {
		return err
	}
	image, err := newArchiveImage(config)
	if err != nil {
		return err
	}
	image.layers = manifest[0].Layers
	a.images = []archiveImage{image}
	return a.check(image)
}

func newArchiveImage(config []byte) (archiveImage, error) {
	image := archiveImage{config: config}
	if err := json.Unmarshal(config, &image.file); err != nil {
		return archiveImage{}, fmt.Errorf("image config: %w", err)
	}
	return image, nil
}

func (a *Archive) check(image archiveImage) error {
	if len(image.layers) != len(image.file.RootFS.DiffIDs) {
		return fmt.Errorf("it holds %d layers, but the image has %d", len(image.layers), len(image.file.RootFS.DiffIDs))
	}
	for _, layer := range image.layers {
		if _, err := a.open(layer); err != nil {
			return err
		}
	}
	return nil
}

func platform(config v1.ConfigFile) string {
	parts := []string{config.OS, config.Architecture}
	if config.Variant != "" {
		parts = append(parts, config.Variant)
	}
	return strings.Join(parts, "/")
}
