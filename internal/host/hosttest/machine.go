package hosttest

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pkg/sftp"
)

// bootFile is where a kernel shows its boot ID.
const bootFile = "/proc/sys/kernel/random/boot_id"

// machine is what distinguishes the fake from all others.
type machine struct {
	engine, name string
	boot         string // A file outside of the fake's root.

	account  *account // Nil is the one that the test runs as.
	noStatus bool
	owners   map[string]account
}

// account is a user with its groups; of a file it is the owner and its group.
type account struct {
	user   uint32
	groups []uint32
}

func newMachine(t testing.TB, name string) machine {
	t.Helper()
	m := machine{engine: rand.Text(), name: name, boot: filepath.Join(t.TempDir(), "boot_id")}
	must(t, os.WriteFile(m.boot, []byte(rand.Text()+"\n"), 0o600))
	return m
}

// CloneOf makes the machine one that was cloned from another: with its engine's
// ID and its host name, but a kernel of its own.
func (f *Fake) CloneOf(other *Fake) {
	engine, name := other.identity()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.self.engine, f.self.name = engine, name
}

// HideBoot makes the SFTP server refuse to read the kernel's boot ID.
func (f *Fake) HideBoot() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.self.boot = ""
}

func (f *Fake) identity() (engine, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.self.engine, f.self.name
}

func (f *Fake) bootFile() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.self.boot == "" {
		return "", sftp.ErrSSHFxPermissionDenied
	}
	return f.self.boot, nil
}

// DropLabel takes a label off all containers, which an older kstep made without.
func (e *Engine) DropLabel(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.containers {
		delete(c.Config.Labels, name)
	}
}

// LogInTo makes new connections those of another user, with this home folder.
func (f *Fake) LogInTo(home string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Home = home
}

func (f *Fake) home() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Home
}

// mountInfo is where a kernel lists the mounts of a process.
var mountInfo = regexp.MustCompile(`^/proc/[0-9]+/mountinfo$`)

// mountInfo are the mounts of all running containers: a file outside of the
// fake's root. A mount follows a folder that was moved and left a link.
func (e *Engine) mountInfo() (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var lines strings.Builder
	for _, c := range e.containers {
		for _, m := range c.HostConfig.Mounts {
			if now, err := filepath.EvalSymlinks(m.Source); err == nil && c.state == "running" {
				fmt.Fprintf(&lines, "1 1 8:1 %s %s rw - ext4 /dev/sda1 rw\n", now, m.Target)
			}
		}
	}
	file := filepath.Join(filepath.Dir(e.fake.self.boot), "mountinfo")
	return file, os.WriteFile(file, []byte(lines.String()), 0o600)
}

// statusFile is where a process finds its user and its groups.
const statusFile = "/proc/self/status"

// ActAs makes the SSH user one with these IDs. What the files permit does not
// change.
func (f *Fake) ActAs(user uint32, groups ...uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.self.account = &account{user, groups}
}

// GiveTo makes a file or folder appear as another user's.
func (f *Fake) GiveTo(path string, user, group uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.self.owners == nil {
		f.self.owners = map[string]account{}
	}
	f.self.owners[path] = account{user, []uint32{group}}
}

// HideStatus makes the SFTP server refuse to read its own process's status.
func (f *Fake) HideStatus() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.self.noStatus = true
}

func (f *Fake) statusFile() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.self.noStatus {
		return "", sftp.ErrSSHFxNoSuchFile
	}
	if f.self.account == nil {
		return statusFile, nil
	}
	a := *f.self.account
	var text strings.Builder
	fmt.Fprintf(&text, "Name:\tsftp-server\nUid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d\nGid:\t%[2]d\t%[2]d\t%[2]d\t%[2]d\nGroups:\t", a.user, a.groups[0])
	for _, group := range a.groups {
		fmt.Fprintf(&text, "%d ", group)
	}
	file := filepath.Join(filepath.Dir(f.self.boot), "status")
	return file, os.WriteFile(file, []byte(text.String()+"\n"), 0o600)
}

// owned is what is known of a file, with the owner that GiveTo named.
func (f *Fake) owned(path string, info os.FileInfo) os.FileInfo {
	f.mu.Lock()
	defer f.mu.Unlock()
	if owner, ok := f.self.owners[path]; ok {
		return ownedInfo{info, owner}
	}
	return info
}

type ownedInfo struct {
	os.FileInfo

	owner account
}

var _ sftp.FileInfoUidGid = ownedInfo{}

func (o ownedInfo) Uid() uint32 { return o.owner.user }      //nolint:staticcheck,revive // The library's name.
func (o ownedInfo) Gid() uint32 { return o.owner.groups[0] } //nolint:staticcheck // The library's name.
