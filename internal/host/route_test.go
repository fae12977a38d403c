package host_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestGet_GoesThroughJumpHosts(t *testing.T) {
	t.Parallel()
	gate, inner, vm := hosttest.NewFake(t, "gate"), hosttest.NewFake(t, "inner"), hosttest.NewFake(t, "vm1")
	opts := hosttest.Options(t, gate, inner, vm)
	opts.ProxyJump = "gate,inner"
	h, err := get(t, opts, "vm1")
	if err != nil {
		t.Fatal(err)
	}
	home, err := h.Files().Home(t.Context())
	if err != nil || home != vm.Home {
		t.Errorf("got %q, %v, want %q", home, err, vm.Home)
	}
	gate.ChangeHostKey()
	_, err = get(t, opts, "vm1")
	wantError(t, err, exit.Unreachable, "jump host gate", "HOST KEY OF GATE HAS CHANGED")
}

func TestGet_FollowsProxyJumpOfSSHConfigAndSeesLoops(t *testing.T) {
	t.Parallel()
	gate, vm := hosttest.NewFake(t, "gate"), hosttest.NewFake(t, "vm1")
	opts := hosttest.Options(t, gate, vm)
	extra := filepath.Join(t.TempDir(), "config")
	text := "Host vm1\n  ProxyJump gate\nHost gate\n  ProxyJump none\n"
	if err := os.WriteFile(extra, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	opts.ConfigFiles = append(opts.ConfigFiles, extra)
	if _, err := get(t, opts, "vm1"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(extra, []byte(strings.Replace(text, "none", "vm1", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := get(t, opts, "vm1")
	wantError(t, err, exit.Config, "leads to itself")
}

func TestOptionsFrom_KnownHostsComeFromConfigEnvironmentOrTheUsualFiles(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	usual := filepath.Join(home, ".ssh", "known_hosts")
	if err := os.MkdirAll(filepath.Dir(usual), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(usual, []byte("usual"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		given []string
		env   string
		want  []string
	}{
		"the usual files":        {},
		"the environment":        {env: "line", want: []string{"KSTEP_KNOWN_HOSTS"}},
		"a line and a file":      {given: []string{"vm1 ssh-ed25519 AAAA", "~/.ssh/known_hosts"}, want: []string{"ssh.known_hosts[0]", usual}},
		"config and environment": {given: []string{"vm1 ssh-ed25519 AAAA"}, env: "line", want: []string{"ssh.known_hosts[0]", "KSTEP_KNOWN_HOSTS"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"HOME": home, "KSTEP_KNOWN_HOSTS": test.env}
			opts, err := host.OptionsFrom(config.SSH{KnownHosts: test.given}, nil, func(n string) string { return env[n] })
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range opts.KnownHosts {
				got = append(got, k.Name)
			}
			if !slices.Equal(got, test.want) || slices.Contains(opts.UserKnownHosts, usual) != (test.want == nil) {
				t.Errorf("got %q and %q, want %q", got, opts.UserKnownHosts, test.want)
			}
		})
	}
}

func TestLocal_FilesAndCommandsBehaveLikeARemoteHosts(t *testing.T) {
	t.Parallel()
	opts := host.Options{Home: t.TempDir(), DockerSocket: filepath.Join(t.TempDir(), "missing.sock")}
	h, err := get(t, opts, host.Local)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Files().Create(t.Context(), "a/once", []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Files().Create(t.Context(), "a/once", []byte("2"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want fs.ErrExist", err)
	}
	_, err = h.Run(t.Context(), []string{"kstep-no-such-program"}, nil)
	if failed, ok := errors.AsType[*host.CommandError](err); !ok || failed.Status != 127 {
		t.Errorf("got %v, want status 127", err)
	}
	_, err = h.Engine().Ping(t.Context())
	wantError(t, err, exit.Unreachable, "engine not running on local", "systemctl status docker")
}
