package stages

import (
	"io/fs"
	"maps"
	"path"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
)

func TestDistrust_ReportsWhoElseCanChangeTheRunDirectory(t *testing.T) {
	t.Parallel()
	const dir, link = fs.ModeDir, fs.ModeSymlink | 0o777
	names := plan.Names{Service: "shop", Run: "/srv/apps/kstep"}
	good := func(user, group uint32) map[string]host.Owned {
		found := map[string]host.Owned{"/srv": {Mode: dir | 0o755}, "/srv/apps": {Mode: dir | 0o755}}
		for _, file := range names.Fixed() {
			found[file] = host.Owned{User: user, Group: group, Mode: dir | 0o755}
		}
		for _, file := range []string{names.EnvKey(), names.Ledger(), names.Audit()} {
			found[file] = host.Owned{User: user, Group: group, Mode: 0o600}
		}
		return found
	}
	const deploy, mallory, team, strangers = 1000, 1001, 500, 501
	for name, c := range map[string]struct {
		found map[string]host.Owned
		want  string // Empty where it is fine.
	}{
		"all of the user":                  {found: map[string]host.Owned{}},
		"all of root":                      {found: map[string]host.Owned{names.Run: {Mode: dir | 0o700}, names.EnvKey(): {Mode: 0o600}}},
		"nothing yet below /tmp":           {found: map[string]host.Owned{"/srv/apps": {Mode: dir | fs.ModeSticky | 0o777}}},
		"a closed key":                     {found: map[string]host.Owned{names.EnvKey(): {User: deploy, Mode: 0o400}}},
		"writable for the user's group":    {found: map[string]host.Owned{names.Folder(): {User: deploy, Group: team, Mode: dir | 0o775}}},
		"writable for the group of root":   {found: map[string]host.Owned{names.Lease(): {Mode: dir | 0o775}}},
		"a link of root above":             {found: map[string]host.Owned{"/srv": {Mode: link}}},
		"root's shared run directory":      {found: map[string]host.Owned{names.Run: {Group: team, Mode: dir | fs.ModeSetgid | 0o775}, names.ProxyDir(): {User: mallory, Group: team, Mode: dir | 0o775}}},
		"a shared key":                     {found: map[string]host.Owned{names.Run: {Group: team, Mode: dir | 0o770}, names.EnvKey(): {User: mallory, Group: team, Mode: 0o640}}},
		"a folder above is open":           {map[string]host.Owned{"/srv": {Mode: dir | 0o777}}, "/srv on web1 is writable for all users (mode 0777): they can replace the run directory"},
		"another user's folder above":      {map[string]host.Owned{"/srv/apps": {User: mallory, Mode: dir | 0o755}}, "/srv/apps on web1 belongs to another user (ID 1001), not to the SSH user (ID 1000) or root: that user can replace"},
		"the same, sticky and open":        {map[string]host.Owned{"/srv": {User: mallory, Mode: dir | fs.ModeSticky | 0o777}}, "/srv on web1 belongs to another user"},
		"a strange group's folder above":   {map[string]host.Owned{"/srv/apps": {Group: strangers, Mode: dir | 0o775}}, "/srv/apps on web1 is writable for a group that the SSH user is not in (mode 0775, group ID 501)"},
		"a common group's folder above":    {found: map[string]host.Owned{"/srv/apps": {Group: team, Mode: dir | 0o775}}},
		"the user's own folder above":      {found: map[string]host.Owned{"/srv/apps": {User: deploy, Mode: dir | 0o755}}},
		"a link of another user above":     {map[string]host.Owned{"/srv/apps": {User: mallory, Mode: link}}, "/srv/apps on web1 is a symbolic link of another user (ID 1001)"},
		"another user's run directory":     {map[string]host.Owned{names.Run: {User: mallory, Mode: dir | 0o755}}, "/srv/apps/kstep on web1 belongs to another user (ID 1001), not to the SSH user (ID 1000) or root"},
		"the same, open to a common group": {map[string]host.Owned{names.Run: {User: mallory, Group: team, Mode: dir | 0o775}}, "belongs to another user"},
		"a run directory open to all":      {map[string]host.Owned{names.Run: {User: deploy, Mode: dir | 0o777}}, "kstep on web1 is writable for all users"},
		"open to all, sticky":              {map[string]host.Owned{names.Run: {Mode: dir | fs.ModeSticky | 0o777}}, "kstep on web1 is writable for all users"},
		"a run directory that is a link":   {map[string]host.Owned{names.Run: {Mode: link}}, "kstep on web1 is a symbolic link"},
		"a run directory that is a file":   {map[string]host.Owned{names.Run: {Mode: 0o644}}, "kstep on web1 is not a folder"},
		"a strange group":                  {map[string]host.Owned{names.Run: {Group: strangers, Mode: dir | 0o775}}, "is writable for a group that the SSH user is not in (mode 0775, group ID 501)"},
		"a link to another folder":         {map[string]host.Owned{names.Cords(): {User: deploy, Mode: link}}, "/shop/cords on web1 is a symbolic link"},
		"a link in place of the log":       {map[string]host.Owned{names.Audit(): {User: deploy, Mode: link}}, "/shop/audit.jsonl on web1 is a symbolic link"},
		"a link in place of env files":     {map[string]host.Owned{names.EnvDir(): {Mode: link}}, "/shop/env on web1 is a symbolic link"},
		"a link in place of the fence":     {map[string]host.Owned{names.Fence(): {Mode: link}}, "/shop/lease/fence on web1 is a symbolic link"},
		"another user's routes":            {map[string]host.Owned{names.RouteDir(): {User: mallory, Mode: dir | 0o755}}, "/proxy/routes on web1 belongs to another user"},
		"another user's accessories":       {map[string]host.Owned{names.Accessories(): {User: mallory, Mode: dir | 0o755}}, "/@accessories/shop on web1 belongs to another user"},
		"an open state folder":             {map[string]host.Owned{names.StateDir(): {User: deploy, Mode: dir | 0o757}}, "/shop/state on web1 is writable for all users (mode 0757)"},
		"a named pipe as ledger":           {map[string]host.Owned{names.Ledger(): {User: deploy, Mode: fs.ModeNamedPipe | 0o600}}, "/shop/ledger.json on web1 is not a file"},
		"another user's key":               {map[string]host.Owned{names.EnvKey(): {User: mallory, Mode: 0o600}}, "/fingerprint.key on web1 belongs to another user"},
		"an open key":                      {map[string]host.Owned{names.EnvKey(): {User: deploy, Mode: 0o666}}, "/fingerprint.key on web1 is writable for all users"},
		"a key that others read":           {map[string]host.Owned{names.EnvKey(): {User: deploy, Mode: 0o644}}, "/fingerprint.key on web1 is readable for other users (mode 0644)"},
		"a key that the group reads":       {map[string]host.Owned{names.EnvKey(): {User: deploy, Group: team, Mode: 0o640}}, "/fingerprint.key on web1 is readable for other users"},
		"a folder as key":                  {map[string]host.Owned{names.EnvKey(): {User: deploy, Mode: dir | 0o700}}, "/fingerprint.key on web1 is not a file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := good(deploy, team)
			maps.Copy(found, c.found)
			err := distrust("web1", names, host.Owners{User: deploy, Groups: []uint32{deploy, team}, Found: found})
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			case err != nil && (exit.CodeOf(err) != exit.Config || len(exit.Hints(err)) == 0):
				t.Errorf("got exit code %d and hints %q", exit.CodeOf(err), exit.Hints(err))
			}
		})
	}
	if err := distrust("web1", names, host.Owners{User: deploy, Found: map[string]host.Owned{"/srv": {Mode: dir | 0o755}}}); err != nil {
		t.Errorf("a host that has nothing: %v", err)
	}
	for _, file := range names.Fixed() {
		if file != names.Run && path.Dir(file) == "/" || !strings.HasPrefix(file, names.Run) {
			t.Errorf("%s is not below the run directory", file)
		}
	}
}
