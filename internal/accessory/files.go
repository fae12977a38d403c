package accessory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/envfile"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

// Uploads are the contents of an accessory's files, in the order of the config.
type Uploads [][]byte

// Local reads all files of an accessory from this machine, before any request
// to a host.
func Local(cfg *config.Config, a config.Accessory) (Uploads, error) {
	var all Uploads
	var errs []error
	for i, m := range a.Files {
		data, err := os.ReadFile(cfg.Local(m.Local))
		if err != nil {
			errs = append(errs, exit.With(exit.Config, fmt.Errorf("accessories.%s.files[%d]: %w", a.Name, i, err)))
		}
		all = append(all, data)
	}
	return all, errors.Join(errs...)
}

// uploaded is the default mode of a file: a container's user is rarely its
// owner. Other users of the host cannot read its folder.
const uploaded fs.FileMode = 0o644

// fingerprint shows whether two sets of files are equal, without revealing their
// content.
func (u Uploads) fingerprint(ctx context.Context, p Place) (string, error) {
	key, err := envfile.Find(ctx, p.Host.Files(), p.Names.EnvKey())
	if err != nil || key == nil { // The env file that is there before brings one.
		return "", err
	}
	data, err := json.Marshal(struct {
		Files    []config.Mounted
		Contents [][]byte
	}{p.Accessory.Files, u})
	return envfile.Fingerprint(key, data), err
}

// write uploads the files into a folder of their own, which a container that
// was made before never sees.
func (u Uploads) write(ctx context.Context, p Place, spec engine.Spec) error {
	if len(u) == 0 {
		return nil
	}
	dir := p.filesOf(spec.Mounts)
	if err := p.Host.Files().Mkdir(ctx, dir, 0o700); err != nil {
		return err
	}
	for i, m := range p.Accessory.Files {
		file, mode := spec.Mounts[i].Source, permissions(m, uploaded)
		if now, err := p.Host.Files().Stat(ctx, file); err == nil && now.Size == int64(len(u[i])) && now.Mode.Perm() == mode && m.Owner == "" {
			// Its folder's name says what was in it; a container that may write there
			// may have changed that.
			if have, err := p.Host.Files().Read(ctx, file); err == nil && bytes.Equal(have, u[i]) {
				continue
			}
		}
		if err := p.Host.Files().Write(ctx, file, u[i], mode); err != nil {
			return err
		}
		if err := p.own(ctx, m, file); err != nil {
			return err
		}
		p.Did("wrote %s", m.Remote)
	}
	return nil
}

// filesOf is the folder of uploaded files that mounts lie in, or nothing.
func (p Place) filesOf(mounts []engine.Mount) string {
	prefix := p.Names.AccessoryFilesPrefix(p.Accessory.Name)
	for _, m := range mounts {
		if rest, ok := strings.CutPrefix(m.Source, prefix); ok {
			sum, _, _ := strings.Cut(rest, "/")
			return prefix + sum
		}
	}
	return ""
}

// folders makes those folders of the host that are not there. One that is there
// is the accessory's own, with what it made of it.
func (p Place) folders(ctx context.Context) error {
	for _, m := range p.Accessory.Directories {
		folder := p.Names.AccessoryFolder(p.Accessory.Name, m.Local)
		there, err := p.there(ctx, folder)
		if err != nil {
			return err
		}
		if !there {
			if err := p.Host.Files().Mkdir(ctx, folder, permissions(m, 0o755)); err != nil {
				return err
			}
			p.Did("made %s", folder)
		}
		if err := p.own(ctx, m, folder); err != nil {
			return err
		}
	}
	return nil
}

// own gives a file or folder its owner, which SFTP has no safe way to do by.
func (p Place) own(ctx context.Context, m config.Mounted, file string) error {
	if m.Owner == "" {
		return nil
	}
	_, err := p.Host.Run(ctx, []string{"chown", "-h", m.Owner, "--", file}, nil)
	return err
}

func permissions(m config.Mounted, otherwise fs.FileMode) fs.FileMode {
	mode, err := strconv.ParseUint(m.Mode, 8, 32)
	if err != nil {
		return otherwise
	}
	return fs.FileMode(mode)
}

// sweep removes the folders of uploaded files that the container does not use.
func (p Place) sweep(ctx context.Context, spec engine.Spec) error {
	dir := p.Names.AccessoryDir(p.Accessory.Name)
	entries, err := p.Host.Files().List(ctx, dir)
	if err != nil {
		return err
	}
	keep := p.filesOf(spec.Mounts)
	for _, e := range entries {
		folder := path.Join(dir, e.Name)
		if !strings.HasPrefix(folder, p.Names.AccessoryFilesPrefix(p.Accessory.Name)) || folder == keep {
			continue
		}
		if err := p.Host.Files().RemoveTree(ctx, host.Under(dir, e.Name)); err != nil {
			return err
		}
		p.Did("removed files that were uploaded before")
	}
	return nil
}

func (p Place) there(ctx context.Context, file string) (bool, error) {
	_, err := p.Host.Files().Stat(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
