package stages

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
)

// trusted refuses a run directory, or what kstep keeps in it, that another user
// of the host could have prepared or can change: kstep follows its paths and
// believes its files.
func trusted(ctx context.Context, h host.Host, names plan.Names) error {
	owners, err := h.Files().Owners(ctx, append(names.Fixed(), above(names.Run)...))
	if err != nil {
		return err
	}
	return distrust(h.Name(), names, owners)
}

// above are the folders that a path lies in, without the root.
func above(file string) []string {
	var folders []string
	for dir := path.Dir(file); dir != "/" && dir != "."; dir = path.Dir(dir) {
		folders = append(folders, dir)
	}
	return folders
}

const (
	forGroup  fs.FileMode = 0o020
	forOthers fs.FileMode = 0o002
)

// distrust is the first reason not to use the run directory, or nil. A run
// directory of the user or root that a group of the user may write is shared by
// that group: what lies in it may belong to any member.
func distrust(hostName string, names plan.Names, owners host.Owners) error {
	refuse := func(file, what string, hints ...string) error {
		return exit.With(exit.Config, fmt.Errorf("%s on %s %s", file, hostName, what), hints...)
	}
	foreign := func(o host.Owned) bool { return o.User != owners.User && o.User != 0 }
	own := func(o host.Owned) bool { return o.Group == 0 || slices.Contains(owners.Groups, o.Group) }
	for _, dir := range above(names.Run) {
		at, there := owners.Found[dir]
		isLink := at.Mode&fs.ModeSymlink != 0
		switch {
		case !there:
		case isLink && foreign(at):
			return refuse(dir, fmt.Sprintf("is a symbolic link of another user (ID %d): that user decides where the run directory is", at.User),
				"set run_directory to a path without this link")
		case foreign(at):
			return refuse(dir, fmt.Sprintf("belongs to another user (ID %d), not to the SSH user (ID %d) or root: that user can replace the run directory %s", at.User, owners.User, names.Run),
				"set run_directory to a folder below your own or root's, or make it root's: chown root "+dir)
		case !isLink && at.Mode&forGroup != 0 && at.Mode&fs.ModeSticky == 0 && !own(at):
			return refuse(dir, fmt.Sprintf("is writable for a group that the SSH user is not in (mode %04o, group ID %d): its members can replace the run directory %s", at.Mode.Perm(), at.Group, names.Run),
				"take the permission away: chmod g-w "+dir, "or set run_directory to another folder")
		case !isLink && at.Mode&forOthers != 0 && at.Mode&fs.ModeSticky == 0:
			return refuse(dir, fmt.Sprintf("is writable for all users (mode %04o): they can replace the run directory %s", at.Mode.Perm(), names.Run),
				"take the permission away: chmod o-w "+dir, "or set run_directory to another folder")
		}
	}
	shared := false
	for _, file := range names.Fixed() {
		at, there := owners.Found[file]
		if !there {
			continue
		}
		isFile := file == names.EnvKey() || file == names.Ledger() || file == names.Audit()
		if file == names.Run {
			shared = at.Mode&forGroup != 0 && own(at)
		}
		look := fmt.Sprintf("find out who made it, and what is in it, before you change it: ls -ld %s", file)
		switch {
		case at.Mode&fs.ModeSymlink != 0:
			hint := "remove the link, or move what it leads to here"
			if file == names.Run {
				hint = "set run_directory to the folder that the link leads to"
			}
			return refuse(file, "is a symbolic link, which kstep does not follow", look, hint)
		case isFile && !at.Mode.IsRegular() && file != names.Audit(): // A log that cannot be written ends nothing.
			return refuse(file, "is not a file", look)
		case !isFile && !at.Mode.IsDir():
			return refuse(file, "is not a folder", look)
		case foreign(at) && !(shared && file != names.Run):
			return refuse(file, fmt.Sprintf("belongs to another user (ID %d), not to the SSH user (ID %d) or root", at.User, owners.User), look,
				fmt.Sprintf("if all of it is kstep's, as root: chown -h %d %s", owners.User, file))
		case at.Mode&forOthers != 0:
			return refuse(file, fmt.Sprintf("is writable for all users (mode %04o)", at.Mode.Perm()), look, "then take the permission away: chmod o-w "+file)
		case at.Mode&forGroup != 0 && !own(at):
			return refuse(file, fmt.Sprintf("is writable for a group that the SSH user is not in (mode %04o, group ID %d)", at.Mode.Perm(), at.Group), look,
				"take the permission away: chmod g-w "+file+"; or make the SSH user a member of the group")
		case file == names.EnvKey() && !(at.Mode.Perm()&0o077 == 0 || shared && at.Mode.Perm()&^0o600 == 0o040):
			return refuse(file, fmt.Sprintf("is readable for other users (mode %04o): it is the key of the fingerprints of secrets", at.Mode.Perm()),
				"take the permission away: chmod 600 "+file)
		}
	}
	return nil
}
