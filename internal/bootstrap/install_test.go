package bootstrap

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/hook/hooktest"
)

// machine is the programs of a host, which note how they were called.
type machine struct {
	t   *testing.T
	bin string
}

// newMachine has what each distribution starts a service with, and programs by
// name with what they do beside noting it. `$bin` is where all of them are.
func newMachine(t *testing.T, programs map[string]string) machine {
	t.Helper()
	m := machine{t, t.TempDir()}
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(cat, filepath.Join(m.bin, "cat")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"systemctl", "rc-update", "rc-service"} {
		m.program(name, "")
	}
	for name, does := range programs {
		m.program(name, does)
	}
	return m
}

func (m machine) program(name, does string) {
	m.t.Helper()
	hooktest.Program(m.t, filepath.Join(m.bin, name), "#!/bin/sh\nbin="+m.bin+"\necho \"${0##*/} $*\" >>$bin/calls\n"+does+"\n")
}

// run feeds the script to a shell, as a user who called sudo if one is named.
func (m machine) run(sudoUser string) (calls, stderr string, err error) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), "/bin/sh", "-s")
	cmd.Stdin = bytes.NewReader(Script)
	cmd.Env = []string{"PATH=" + m.bin}
	if sudoUser != "" {
		cmd.Env = append(cmd.Env, "SUDO_USER="+sudoUser)
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	err = cmd.Run()
	log, readErr := os.ReadFile(filepath.Join(m.bin, "calls"))
	if readErr != nil && !os.IsNotExist(readErr) {
		m.t.Fatal(readErr)
	}
	return string(log), errs.String(), err
}

// brings is what a package manager does that has the engine.
const brings = `: >$bin/dockerd && PATH=/usr/bin:/bin chmod +x $bin/dockerd`

func TestScript_InstallsAndStartsTheEngineOfEachDistribution(t *testing.T) {
	for name, tt := range map[string]struct {
		programs map[string]string
		want     []string
	}{
		"Debian":   {map[string]string{"apt-get": `case "$*" in *install*) ` + brings + ` ;; esac`}, []string{"apt-get -q -o DPkg::Lock::Timeout=300 update\n", "docker.io"}},
		"Fedora":   {map[string]string{"dnf": brings, "yum": "exit 9"}, []string{"dnf -q -y install moby-engine\n"}},
		"Amazon":   {map[string]string{"dnf": `case "$*" in *moby-engine) exit 1 ;; esac; ` + brings}, []string{"dnf -q -y install docker\n"}},
		"CentOS 7": {map[string]string{"yum": brings}, []string{"yum -q -y install docker\n"}},
		"openSUSE": {map[string]string{"zypper": brings}, []string{"zypper -q --non-interactive install docker\n"}},
		"Alpine":   {map[string]string{"apk": brings}, []string{"apk add -q -U docker\n"}},
		"Arch":     {map[string]string{"pacman": brings}, []string{"pacman -S --noconfirm --needed docker\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, tt.programs)
			calls, stderr, err := m.run("")
			if err != nil {
				t.Fatalf("%v: %s", err, stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(calls, want) {
					t.Errorf("got\n%swant %s", calls, want)
				}
			}
			started := func(calls string) bool {
				return strings.Contains(calls, "systemctl enable --now docker.service") || strings.Contains(calls, "rc-service docker start")
			}
			if !started(calls) {
				t.Errorf("nothing started the engine:\n%s", calls)
			}
			again, stderr, err := m.run("")
			again = strings.TrimPrefix(again, calls)
			if err != nil || strings.Contains(again, tt.want[len(tt.want)-1]) || !started(again) {
				t.Errorf("run again: %v, %s%s; want it started only", err, again, stderr)
			}
		})
	}
}

func TestScript_LetsTheUserWhoCalledSudoUseTheEngine(t *testing.T) {
	for want, programs := range map[string]map[string]string{
		"usermod -aG docker deploy\n": {"apt-get": brings, "usermod": ""},
		"addgroup deploy docker\n":    {"apk": brings, "addgroup": ""},
	} {
		calls, stderr, err := newMachine(t, programs).run("deploy")
		if err != nil || !strings.HasSuffix(calls, want) {
			t.Errorf("got\n%s%s (%v), want %s at the end", calls, stderr, err, want)
		}
		if calls, _, _ := newMachine(t, programs).run("root"); strings.Contains(calls, want) {
			t.Errorf("root needs no group, got\n%s", calls)
		}
	}
}

func TestScript_TellsWhereItCannotInstallAnEngine(t *testing.T) {
	for want, programs := range map[string]map[string]string{
		"no package manager that this script knows; name a script of yours under bootstrap.script\n":                       {},
		"the distribution's package brought no dockerd; name a script under bootstrap.script that installs Docker's own\n": {"dnf": `case "$*" in *moby-engine) exit 1 ;; esac`},
	} {
		calls, stderr, err := newMachine(t, programs).run("deploy")
		if err == nil || stderr != want {
			t.Errorf("got error %v, %q, want %q", err, stderr, want)
		}
		if strings.Contains(calls, "docker start") || strings.Contains(calls, "usermod") {
			t.Errorf("it went on:\n%s", calls)
		}
	}
}
