package host_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestGet_WeakAlgorithmsAreUsedOnlyWhereTheyAreNamed(t *testing.T) {
	t.Parallel()
	counter := []string{ssh.CipherAES128CTR} // The others need no MAC.
	for name, c := range map[string]struct {
		offers ssh.Config
		allow  string
		parts  []string
	}{
		"a key exchange with SHA-1": {
			ssh.Config{KeyExchanges: []string{ssh.InsecureKeyExchangeDH14SHA1}},
			"KexAlgorithms +diffie-hellman-group14-sha1", []string{"no key exchange", "KexAlgorithms +diffie-hellman-group14-sha1"},
		},
		"a key exchange of 1024 bits": {
			ssh.Config{KeyExchanges: []string{ssh.InsecureKeyExchangeDH1SHA1}},
			"KexAlgorithms diffie-hellman-group1-sha1", []string{"no key exchange"},
		},
		"a short MAC": {
			ssh.Config{Ciphers: counter, MACs: []string{ssh.InsecureHMACSHA196}},
			"MACs ^hmac-sha1-96", []string{"MAC", "MACs +hmac-sha1-96"},
		},
		"a cipher in CBC mode": {
			ssh.Config{Ciphers: []string{ssh.InsecureCipherAES128CBC}},
			"Ciphers aes128-cbc,aes128-ctr", []string{"cipher", "Ciphers +aes128-cbc"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := hosttest.NewFake(t, "vm1")
			fake.Offer(c.offers)
			_, err := get(t, hosttest.Options(t, fake), "vm1")
			wantError(t, err, exit.Unreachable, append(c.parts, "connect to vm1: the host has no ")...)
			if _, err := get(t, configured(t, hosttest.Options(t, fake), "Host vm1\n"+c.allow+"\n"), "vm1"); err != nil {
				t.Errorf("with %s: %v", c.allow, err)
			}
		})
	}
}

func TestGet_ARevokedKeyIsRefusedAlsoWhereItIsPinned(t *testing.T) {
	t.Parallel()
	for name, who := range map[string]string{"of the host": "", "of all hosts": "*", "of other hosts": "*.example.com"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := hosttest.NewFake(t, "vm1")
			host, key, _ := strings.Cut(fake.KnownHosts(), " ")
			if who == "" {
				who = host
			}
			opts := hosttest.Options(t, fake)
			opts.HostKeys = map[string]string{"vm1": fake.Fingerprint()}
			if _, err := get(t, opts, "vm1"); err != nil {
				t.Fatal(err)
			}
			opts.KnownHosts[0].Text += "\n@revoked " + who + " " + key + "\n"
			_, err := get(t, opts, "vm1")
			wantError(t, err, exit.Unreachable, "the host key of vm1", "is marked @revoked in ")

			file := filepath.Join(t.TempDir(), "known_hosts")
			if err := os.WriteFile(file, []byte("@revoked "+who+" "+key+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			opts.KnownHosts, opts.UserKnownHosts = nil, []string{file}
			_, err = get(t, opts, "vm1")
			wantError(t, err, exit.Unreachable, "is marked @revoked in "+file+":1")
		})
	}
}
