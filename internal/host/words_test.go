package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

// words are the keywords of ssh_config(5) in OpenSSH 10, and those of
// distributions, each with a value that is not the default. Host, Match and
// Include are no settings.
const (
	followed = `
		AddressFamily inet; BindAddress 127.0.0.1; BindInterface lo; CASignatureAlgorithms ssh-ed25519; CertificateFile ~/x-cert.pub
		Ciphers aes128-ctr; ConnectionAttempts 2; ConnectTimeout 7; GlobalKnownHostsFile /x; HostKeyAlgorithms ssh-ed25519
		HostKeyAlias x; HostName 192.0.2.1; IdentitiesOnly yes; IdentityAgent /x; IdentityFile ~/x; IgnoreUnknown x
		KexAlgorithms curve25519-sha256; MACs hmac-sha2-256; Port 222; PreferredAuthentications publickey
		ProxyCommand nc %h %p; ProxyJump x; PubkeyAcceptedAlgorithms ssh-ed25519; PubkeyAuthentication no
		RequiredRSASize 4096; RevokedHostKeys /dev/null; ServerAliveCountMax 2; ServerAliveInterval 9; Tag x
		User x; UserKnownHostsFile /x; RSAMinSize 4096; PubkeyAcceptedKeyTypes ssh-ed25519
		CanonicalizeFallbackLocal no; CanonicalizeMaxDots 2; CanonicalDomains example.com`
	warnedOf = `
		GSSAPIAuthentication yes; HostbasedAuthentication yes; KnownHostsCommand /bin/keys; NoHostAuthenticationForLocalhost yes
		PKCS11Provider /x.so; SecurityKeyProvider /x.so; StrictHostKeyChecking no; VerifyHostKeyDNS yes; ANewKeyword yes`
	refused = `
		CanonicalizeHostname yes, CanonicalDomains example.com; CanonicalizePermittedCNAMEs *.a:*.b, CanonicalizeHostname yes
		ProxyUseFdpass yes, ProxyCommand nc %h %p; RefuseConnection moved; Port x; AddressFamily inet5; ConnectTimeout soon
		ConnectionAttempts many; ProxyJump; ServerAliveInterval x; IdentitiesOnly perhaps; RequiredRSASize x; HostName %z`
	harmless = `
		AddKeysToAgent yes; BatchMode yes; ChannelTimeout x=1; CheckHostIP yes; ClearAllForwardings yes; Compression yes
		ControlMaster auto; ControlPath ~/x; ControlPersist yes; DynamicForward 1080; EnableEscapeCommandline yes
		EnableSSHKeysign yes; EscapeChar none; ExitOnForwardFailure yes; FingerprintHash md5; ForkAfterAuthentication yes
		ForwardAgent yes; ForwardX11 yes; ForwardX11Timeout 1; ForwardX11Trusted yes; GatewayPorts yes
		GSSAPIClientIdentity x; GSSAPIDelegateCredentials yes; GSSAPIKexAlgorithms x; GSSAPIKeyExchange yes
		GSSAPIRenewalForcesRekey yes; GSSAPIServerIdentity x; GSSAPITrustDns yes; HashKnownHosts yes
		HostbasedAcceptedAlgorithms x; IPQoS lowdelay; KbdInteractiveAuthentication yes; KbdInteractiveDevices x
		LocalCommand x; LocalForward 1 x:1; LogLevel DEBUG; LogVerbose x; NumberOfPasswordPrompts 1
		ObscureKeystrokeTiming no; PasswordAuthentication yes; PermitLocalCommand yes; PermitRemoteOpen any; RekeyLimit 1G
		RemoteCommand x; RemoteForward 1 x:1; RequestTTY yes; SendEnv X; SessionType none; SetEnv X=y; StdinNull yes
		StreamLocalBindMask 0177; StreamLocalBindUnlink yes; SyslogFacility USER; TCPKeepAlive no; Tunnel yes
		TunnelDevice any; UpdateHostKeys yes; UseKeychain yes; VersionAddendum x; VisualHostKey yes; WarnWeakCrypto no
		XAuthLocation /x`
)

func TestSSHConfig_EveryWordIsFollowedOrRefusedOrWarnedOfOrHarmless(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for class, table := range map[string]string{"followed": followed, "warned of": warnedOf, "refused": refused, "harmless": harmless} {
		for line := range strings.FieldsFuncSeq(table, func(r rune) bool { return r == ';' || r == '\n' }) {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			word := strings.Fields(line)[0]
			if other := seen[word]; other != "" && other != class && class != "refused" && other != "refused" {
				t.Errorf("%s is both %s and %s", word, class, other)
			}
			seen[word] = class
			t.Run(class+"/"+line, func(t *testing.T) {
				t.Parallel()
				file := filepath.Join(t.TempDir(), "config")
				text := "Host vm1\n" + strings.ReplaceAll(line, ", ", "\n") + "\n"
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				var warnings []Warning
				d, err := newDialer(Options{
					ConfigFiles: []string{file}, KnownHosts: []KnownHosts{{Name: "none"}}, MaxDials: 1, Home: t.TempDir(),
					Warn: func(w Warning) { warnings = append(warnings, w) },
				})
				if err != nil {
					t.Fatal(err)
				}
				to, err := d.resolve(t.Context(), "vm1", false)
				switch {
				case class == "refused":
					if exit.CodeOf(err) != exit.Config || !strings.Contains(err.Error(), file+":2: "+word) || len(exit.Hints(err)) == 0 {
						t.Errorf("got %v %q, want an error of %s:2 with %s and a hint", err, exit.Hints(err), file, word)
					}
				case err != nil:
					t.Error(err)
				case class == "warned of":
					if len(warnings) != 1 || warnings[0].Line != 2 || warnings[0].File != file || !strings.Contains(strings.ToLower(warnings[0].Text), strings.ToLower(word)) {
						t.Errorf("got %v, want a warning of line 2 with %s", warnings, word)
					}
				case len(warnings) > 0:
					t.Errorf("got %v", warnings)
				case class == "followed":
					key := strings.ToLower(word)
					for old, name := range map[string]string{"rsaminsize": "requiredrsasize", "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms"} {
						if key == old {
							key = name
						}
					}
					if _, ok := to.settings.Value(key); !ok {
						t.Errorf("%s has no value", key)
					}
				}
			})
		}
	}
	if len(seen) < 111 {
		t.Errorf("got %d keywords: is one left out?", len(seen))
	}
}
