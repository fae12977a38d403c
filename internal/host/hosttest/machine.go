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

// bootFile is where a kernel tells its boot ID.
const bootFile = "/proc/sys/kernel/random/boot_id"

// machine is what tells the fake from all others.
type machine struct {
	engine, name string
	boot         string // A file outside of the fake's root.
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

// mountInfo is where a kernel tells the mounts of a process.
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
