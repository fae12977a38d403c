package hosttest

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// unpack puts an archive into a folder that a container has mounted. As an
// engine does, it follows no link out of the container: os.Root stands for the
// engine's chroot.
func (c *container) unpack(w http.ResponseWriter, asked string, archive []byte) {
	asked = filepath.Clean(asked)
	for _, m := range c.HostConfig.Mounts {
		if m.Target != asked {
			continue
		}
		switch {
		case m.ReadOnly:
			refuse(w, 403, "container rootfs is marked read-only")
		case !c.engine.fake.inside(m.Source):
			refuse(w, 500, "hosttest: "+m.Source+" is outside of the fake host")
		default:
			if err := unpackInto(m.Source, bytes.NewReader(archive)); err != nil {
				refuse(w, 500, err.Error())
				return
			}
			w.WriteHeader(200)
		}
		return
	}
	refuse(w, 404, "Could not find the file "+asked+" in container "+c.ID)
}

func unpackInto(folder string, body io.Reader) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	reader := tar.NewReader(body)
	for {
		head, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(head.Name, "/")
		switch head.Typeflag {
		case tar.TypeDir:
			if info, look := root.Lstat(name); look == nil && !info.IsDir() {
				return errors.New("cannot overwrite non-directory " + name + " with directory")
			}
			err = root.MkdirAll(name, 0o755)
		case tar.TypeReg:
			var data []byte
			if data, err = io.ReadAll(reader); err == nil {
				err = errors.Join(root.MkdirAll(filepath.Dir(name), 0o755), root.RemoveAll(name))
			}
			if err == nil {
				err = root.WriteFile(name, data, 0o644)
			}
		default:
			return errors.New("hosttest: " + head.Name + " is neither a file nor a folder")
		}
		if err != nil {
			return err
		}
	}
}
