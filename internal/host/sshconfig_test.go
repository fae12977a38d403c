package host_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestGet_BlocksForOthersDoNotMatter(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	opts := configured(t, hosttest.Options(t, fake), `Match user git
  ProxyCommand /nothing
Match host vm1 user git
  Port 1
Match weather sunny
  Port 1
Match originalhost vm2 !localuser nobody
  Port one
Match final host elsewhere
  User nobody
`)
	warnings := warned(&opts)
	pool := hosttest.NewPool(t, opts)
	for range 2 {
		if _, err := pool.Get(t.Context(), "vm1"); err != nil {
			t.Fatal(err)
		}
		pool.Renew("vm1")
	}
	if got := warnings(); len(got) != 1 || got[0].Line != 5 || !strings.Contains(got[0].Text, "weather") {
		t.Errorf("got warnings %v, want one of line 5", got)
	}
}

// warned collects the warnings of a pool.
func warned(opts *host.Options) func() []host.Warning {
	var mu sync.Mutex
	var got []host.Warning
	opts.Warn = func(w host.Warning) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, w)
	}
	return func() []host.Warning {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

func TestGet_WarnsOfWhatItDoesNotFollow(t *testing.T) {
	t.Parallel()
	for line, part := range map[string]string{
		"StrictHostKeyChecking no":             "always checks the host key",
		"StrictHostKeyChecking accept-new":     "always checks the host key",
		"NoHostAuthenticationForLocalhost yes": "always checks the host key",
		"KnownHostsCommand /bin/keys":          "known_hosts",
		"PKCS11Provider /lib/opensc.so":        "ssh-add -s",
		"SecurityKeyProvider /lib/sk.so":       "ssh-add",
		"GSSAPIAuthentication yes":             "logs in with keys",
		"HostbasedAuthentication yes":          "logs in with keys",
		"VerifyHostKeyDNS yes":                 "known_hosts",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			fake := hosttest.NewFake(t, "vm1")
			opts := configured(t, hosttest.Options(t, fake), "Host vm2\n  "+line+"\nHost vm1\n  "+line+"\n")
			warnings := warned(&opts)
			if _, err := get(t, opts, "vm1"); err != nil {
				t.Fatal(err)
			}
			got := warnings()
			if len(got) != 1 || got[0].Line != 4 || !strings.Contains(got[0].Text, part) || !strings.HasPrefix(got[0].Text, strings.Fields(line)[0]) {
				t.Errorf("got %v, want one of line 4 with %q", got, part)
			}
		})
	}
	quiet := "StrictHostKeyChecking yes\nGSSAPIAuthentication no\nSecurityKeyProvider internal\nKnownHostsCommand none\nHashKnownHosts yes\nSendEnv LANG LC_*\nControlPath ~/x\n"
	opts := configured(t, hosttest.Options(t, hosttest.NewFake(t, "vm1")), quiet)
	warnings := warned(&opts)
	if _, err := get(t, opts, "vm1"); err != nil || len(warnings()) > 0 {
		t.Errorf("got %v and %v, want no warning", err, warnings())
	}
}

func TestGet_RefusesWhatCannotBeLeftOut(t *testing.T) {
	t.Parallel()
	for lines, parts := range map[string][]string{
		"ProxyUseFdpass yes\nProxyCommand nc %h %p":            {":2: ProxyUseFdpass is not supported"},
		"CanonicalizeHostname yes\nCanonicalDomains a.example": {":2: CanonicalizeHostname is not supported", "full name"},
		"Port ssh22":                   {`:2: Port: "ssh22" is not a port`},
		"Ciphers umac,none":            {":2: Ciphers: kstep has none of", "aes128-gcm@openssh.com"},
		"HostKeyAlgorithms rsa-sha2-*": {":2: HostKeyAlgorithms", "ssh-ed25519"},
		"RefuseConnection moved away":  {":2: RefuseConnection"},
		"RevokedHostKeys /nothing":     {":2: RevokedHostKeys", "/nothing"},
	} {
		t.Run(lines, func(t *testing.T) {
			t.Parallel()
			fake := hosttest.NewFake(t, "vm1")
			text := "Host vm1\n" + lines + "\n"
			if strings.HasPrefix(lines, "Canon") {
				text += "HostName vm1\n"
			}
			_, err := get(t, configured(t, hosttest.Options(t, fake), text), "vm1")
			wantError(t, err, exit.Config, append(parts, "ssh.config: ")...)
		})
	}
	for _, entry := range []string{"vm1;reboot", "-oProxyCommand=x", "a`b`@vm1", "$(id)", "vm 1"} {
		_, err := get(t, hosttest.Options(t, hosttest.NewFake(t, "vm1")), entry)
		wantError(t, err, exit.Config, "characters that no")
	}
}

func TestGet_KnownHostsOfSSHConfigStandInPlaceOfTheUsualFiles(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	dir := t.TempDir()
	right, wrong, revoked := filepath.Join(dir, "right"), filepath.Join(dir, "wrong"), filepath.Join(dir, "revoked")
	_, key, _ := strings.Cut(fake.KnownHosts(), " ")
	for path, text := range map[string]string{right: fake.KnownHosts() + "\n", wrong: "# none\n", revoked: key + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := hosttest.Options(t, fake)
	base.KnownHosts, base.UserKnownHosts = nil, []string{wrong}
	_, err := get(t, base, "vm1")
	wantError(t, err, exit.Unreachable, "host key of vm1 is unknown (not in "+wrong)

	opts := configured(t, base, fmt.Sprintf("Host vm1\n  UserKnownHostsFile %s %s\n", filepath.Join(dir, "missing"), right))
	if _, err := get(t, opts, "vm1"); err != nil {
		t.Error(err)
	}
	opts = configured(t, base, "Host vm1\n  UserKnownHostsFile none\n  GlobalKnownHostsFile "+right+"\n")
	if _, err := get(t, opts, "vm1"); err != nil {
		t.Error(err)
	}
	opts = configured(t, opts, "Host vm1\n  RevokedHostKeys "+revoked+"\n")
	_, err = get(t, opts, "vm1")
	wantError(t, err, exit.Unreachable, "is revoked by "+revoked)
	opts = configured(t, hosttest.Options(t, fake), "Host vm1\n  UserKnownHostsFile /dev/null\n  StrictHostKeyChecking no\n")
	if _, err := get(t, opts, "vm1"); err != nil {
		t.Errorf("ssh.known_hosts counts, whatever ssh_config says: %v", err)
	}
}

func TestGet_FollowsAlgorithmsTimesAndAddresses(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string]string{
		"algorithms":   "Ciphers aes256-ctr\nMACs -*-etm@openssh.com\nKexAlgorithms ^curve25519-sha256\nHostKeyAlgorithms +ssh-rsa\nPubkeyAcceptedAlgorithms ssh-ed25519",
		"old names":    "PubkeyAcceptedKeyTypes +ssh-rsa",
		"an address":   "BindAddress 127.0.0.1\nAddressFamily inet",
		"an interface": "BindInterface lo",
		"times":        "ConnectTimeout 30\nConnectionAttempts 2\nServerAliveInterval 5\nServerAliveCountMax 2",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := hosttest.NewFake(t, "vm1")
			h, err := get(t, configured(t, hosttest.Options(t, fake), "Host vm1\n"+lines+"\n"), "vm1")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.Files().Home(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for lines, part := range map[string]string{
		"AddressFamily inet6":                         "connect to vm1",
		"BindInterface nosuch0":                       "BindInterface nosuch0",
		"PubkeyAcceptedAlgorithms rsa-sha2-*":         "leaves out",
		"PubkeyAuthentication no":                     "PubkeyAuthentication no in",
		"PreferredAuthentications password":           "PreferredAuthentications password in",
		"ConnectionAttempts 1\nBindAddress 192.0.2.1": "connect to vm1:",
	} {
		fake := hosttest.NewFake(t, "vm1")
		_, err := get(t, configured(t, hosttest.Options(t, fake), "Host vm1\n"+lines+"\n"), "vm1")
		wantError(t, err, exit.Unreachable, part)
	}
}
