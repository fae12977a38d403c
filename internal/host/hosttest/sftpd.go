package hosttest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/sftp"
)

// sftpFiles serves the files below the fake's root, with OpenSSH's manners:
// almost every failure is the same failure.
type sftpFiles struct{ f *Fake }

var (
	_ sftp.FileReader           = (*sftpFiles)(nil)
	_ sftp.FileWriter           = (*sftpFiles)(nil)
	_ sftp.PosixRenameFileCmder = (*sftpFiles)(nil)
	_ sftp.StatVFSFileCmder     = (*sftpFiles)(nil)
	_ sftp.LstatFileLister      = (*sftpFiles)(nil)
)

func status(err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR): // As errno_to_portable of OpenSSH.
		return sftp.ErrSSHFxNoSuchFile
	case errors.Is(err, fs.ErrPermission):
		return sftp.ErrSSHFxPermissionDenied
	default:
		return sftp.ErrSSHFxFailure
	}
}

func (s *sftpFiles) path(name string) (string, error) {
	if name == s.f.Socket && !s.f.inside(name) { // Shared by several fakes.
		if !s.f.Engine.up() {
			return "", sftp.ErrSSHFxNoSuchFile
		}
		return s.f.Home, nil
	}
	if name == bootFile {
		return s.f.bootFile()
	}
	if name == statusFile {
		return s.f.statusFile()
	}
	if mountInfo.MatchString(name) {
		return s.f.Engine.mountInfo()
	}
	if inProc, ok := strings.CutPrefix(name, "/proc/"); ok {
		name = filepath.Join(s.f.proc(), inProc)
	}
	if !s.f.inside(name) {
		return "", sftp.ErrSSHFxPermissionDenied
	}
	return name, nil
}

func (s *sftpFiles) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	p, err := s.path(r.Filepath)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(p)
	return file, status(err)
}

func (s *sftpFiles) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	p, err := s.path(r.Filepath)
	if err != nil {
		return nil, err
	}
	flags := os.O_WRONLY
	asked := r.Pflags()
	for flag, set := range map[int]bool{
		os.O_CREATE: asked.Creat, os.O_EXCL: asked.Excl, os.O_TRUNC: asked.Trunc, os.O_APPEND: asked.Append,
	} {
		if set {
			flags |= flag
		}
	}
	file, err := os.OpenFile(p, flags, 0o644)
	if err != nil {
		return nil, status(err)
	}
	return &sftpWriter{file, s.f, asked.Append}, nil
}

// sftpWriter fails when the disk is full.
type sftpWriter struct {
	*os.File
	f       *Fake
	appends bool // The file's end is where it writes, whatever the offset.
}

func (w *sftpWriter) WriteAt(p []byte, off int64) (int, error) {
	if w.f.Mood().DiskFull {
		return 0, sftp.ErrSSHFxFailure
	}
	var n int
	var err error
	if w.appends {
		n, err = w.File.Write(p)
	} else {
		n, err = w.File.WriteAt(p, off)
	}
	return n, status(err)
}

func (s *sftpFiles) Filecmd(r *sftp.Request) error {
	p, err := s.path(r.Filepath)
	if err != nil {
		return err
	}
	switch r.Method {
	case "Setstat":
		if r.AttrFlags().Permissions {
			return status(os.Chmod(p, r.Attributes().FileMode().Perm()))
		}
		return nil
	case "Mkdir":
		return status(os.Mkdir(p, 0o755))
	case "Rmdir":
		return status(syscall.Rmdir(p))
	case "Remove":
		return status(syscall.Unlink(p))
	case "Rename": // Not onto an existing file.
		if _, err := os.Lstat(r.Target); err == nil {
			return sftp.ErrSSHFxFailure
		}
		return s.PosixRename(r)
	case "Link":
		to, err := s.path(r.Target)
		if err != nil {
			return err
		}
		return status(os.Link(p, to))
	default:
		return sftp.ErrSSHFxOpUnsupported
	}
}

func (s *sftpFiles) PosixRename(r *sftp.Request) error {
	from, err := s.path(r.Filepath)
	if err != nil {
		return err
	}
	to, err := s.path(r.Target)
	if err != nil {
		return err
	}
	return status(os.Rename(from, to))
}

func (s *sftpFiles) StatVFS(*sftp.Request) (*sftp.StatVFS, error) {
	free := uint64(1 << 20)
	if s.f.Mood().DiskFull {
		free = 0
	}
	return &sftp.StatVFS{
		Bsize: 4096, Frsize: 4096, Blocks: 1 << 21, Bfree: free, Bavail: free,
		Files: 1 << 20, Ffree: 1 << 19, Favail: 1 << 19, Namemax: 255,
	}, nil
}

func (s *sftpFiles) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	p, err := s.path(r.Filepath)
	if err != nil {
		return nil, err
	}
	switch r.Method {
	case "List":
		if filepath.Base(p) == EndlessFolder {
			return endlessList{}, nil
		}
		found, err := os.ReadDir(p)
		if err != nil {
			return nil, status(err)
		}
		var infos infoList
		for _, one := range found {
			if info, err := one.Info(); err == nil { // Else it went away meanwhile.
				infos = append(infos, info)
			}
		}
		return infos, nil
	case "Stat":
		info, err := os.Stat(p)
		if err != nil {
			return nil, status(err)
		}
		return infoList{info}, nil
	default:
		return nil, sftp.ErrSSHFxOpUnsupported
	}
}

func (s *sftpFiles) Lstat(r *sftp.Request) (sftp.ListerAt, error) {
	p, err := s.path(r.Filepath)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(p)
	if err != nil {
		return nil, status(err)
	}
	return infoList{s.f.owned(p, info)}, nil
}

// EndlessFolder is the name of folders whose list has no end.
const EndlessFolder = "endless"

type endlessList struct{}

func (endlessList) ListAt(to []os.FileInfo, _ int64) (int, error) {
	for i := range to {
		to[i] = endlessFile{}
	}
	return len(to), nil
}

// endlessFile has the longest name that there is.
type endlessFile struct{}

func (endlessFile) Name() string       { return strings.Repeat("n", 255) }
func (endlessFile) Size() int64        { return 1 }
func (endlessFile) Mode() os.FileMode  { return 0o644 }
func (endlessFile) ModTime() time.Time { return time.Unix(0, 0) }
func (endlessFile) IsDir() bool        { return false }
func (endlessFile) Sys() any           { return nil }

type infoList []os.FileInfo

func (l infoList) ListAt(to []os.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(to, l[offset:])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}
