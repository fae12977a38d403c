package host_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// agentWith serves keys at a socket.
func agentWith(t *testing.T, keys ...agent.AddedKey) (socket string) {
	t.Helper()
	ring := agent.NewKeyring()
	for _, key := range keys {
		if err := ring.Add(key); err != nil {
			t.Fatal(err)
		}
	}
	socket = filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(ring, conn)
		}
	}()
	return socket
}

func newKey(t *testing.T) (ed25519.PrivateKey, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return private, signer
}

// certify has an authority sign a key for a user.
func certify(t *testing.T, key ssh.PublicKey, authority ssh.Signer) *ssh.Certificate {
	t.Helper()
	certificate := &ssh.Certificate{Key: key, CertType: ssh.UserCert, ValidPrincipals: []string{"root"}, ValidBefore: ssh.CertTimeInfinity}
	if err := certificate.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	return certificate
}

func public(t *testing.T, key ssh.PublicKey) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(file, ssh.MarshalAuthorizedKey(key), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// loginServer is a host that only judges logins. It returns options that reach
// it as vm1.
func loginServer(t *testing.T, config *ssh.ServerConfig) host.Options {
	t.Helper()
	opts := hosttest.Options(t, hosttest.NewFake(t, "other"))
	_, hostKey := newKey(t)
	config.AddHostKey(hostKey)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer raw.Close()
				_, channels, requests, err := ssh.NewServerConn(raw, config)
				if err != nil {
					return
				}
				go ssh.DiscardRequests(requests)
				for channel := range channels {
					channel.Reject(ssh.Prohibited, "logins only")
				}
			}()
		}
	}()
	hostname, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	opts.Keys, opts.KnownHosts = nil, nil
	opts.HostKeys = map[string]string{"vm1": ssh.FingerprintSHA256(hostKey.PublicKey())}
	opts.ConfigFiles = nil
	return configured(t, opts, "Host vm1\n  HostName "+hostname+"\n  Port "+port+"\n")
}

// accepts is a server that takes these keys.
func accepts(keys ...ssh.PublicKey) *ssh.ServerConfig {
	return &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		for _, one := range keys {
			if string(one.Marshal()) == string(key.Marshal()) {
				return &ssh.Permissions{}, nil
			}
		}
		return nil, errors.New("unknown key")
	}}
}

func TestGet_IdentityAgentNamesTheAgent(t *testing.T) {
	t.Parallel()
	private, signer := newKey(t)
	other, _ := newKey(t)
	socket, elsewhere := agentWith(t, agent.AddedKey{PrivateKey: private}), agentWith(t, agent.AddedKey{PrivateKey: other})
	opts := loginServer(t, accepts(signer.PublicKey()))
	opts.AgentSocket = elsewhere
	_, err := get(t, opts, "vm1")
	wantError(t, err, exit.Unreachable, "the server refused every key")
	if _, err := get(t, configured(t, opts, "Host vm1\n  IdentityAgent "+socket+"\n"), "vm1"); err != nil {
		t.Error(err)
	}
	opts.Env = func(name string) (string, bool) {
		return map[string]string{"MY_AGENT": socket}[name], name == "MY_AGENT"
	}
	if _, err := get(t, configured(t, opts, "IdentityAgent $MY_AGENT\n"), "vm1"); err != nil {
		t.Error(err)
	}
	_, err = get(t, configured(t, opts, "IdentityAgent none\n"), "vm1")
	wantError(t, err, exit.Unreachable, "no SSH key to try")
	_, err = get(t, configured(t, opts, "IdentityAgent /nothing/agent\n"), "vm1")
	wantError(t, err, exit.Unreachable, "no SSH key to try", "/nothing/agent")
}

func TestGet_PublicKeyFileChoosesTheAgentsKey(t *testing.T) {
	t.Parallel()
	private, signer := newKey(t)
	var keys []agent.AddedKey
	for range 8 {
		other, _ := newKey(t)
		keys = append(keys, agent.AddedKey{PrivateKey: other})
	}
	config := accepts(signer.PublicKey())
	config.MaxAuthTries = 6
	opts := loginServer(t, config)
	opts.AgentSocket = agentWith(t, append(keys, agent.AddedKey{PrivateKey: private})...)
	_, err := get(t, opts, "vm1")
	wantError(t, err, exit.Unreachable, "too many keys: 9 were offered", "ssh.keys", "IdentitiesOnly", "MaxAuthTries")
	file := public(t, signer.PublicKey())
	if _, err := get(t, configured(t, opts, "IdentityFile "+file+"\nIdentitiesOnly yes\n"), "vm1"); err != nil {
		t.Error(err)
	}
	_, absent := newKey(t)
	missing := public(t, absent.PublicKey())
	_, err = get(t, configured(t, opts, "IdentityFile "+missing+"\nIdentitiesOnly yes\n"), "vm1")
	wantError(t, err, exit.Unreachable, "no SSH key to try", missing+" is a public key")
}

func TestGet_CertificatesLogIn(t *testing.T) {
	t.Parallel()
	private, signer := newKey(t)
	_, authority := newKey(t)
	certificate := certify(t, signer.PublicKey(), authority)
	checker := &ssh.CertChecker{IsUserAuthority: func(key ssh.PublicKey) bool {
		return string(key.Marshal()) == string(authority.PublicKey().Marshal())
	}}
	opts := loginServer(t, &ssh.ServerConfig{PublicKeyCallback: checker.Authenticate})
	keyFile := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(keyFile, pemOf(t, private), 0o600); err != nil {
		t.Fatal(err)
	}
	file := public(t, certificate)
	agentKey := agent.AddedKey{PrivateKey: private}
	withCertificate := agent.AddedKey{PrivateKey: private, Certificate: certificate}
	for name, test := range map[string]struct{ lines, socket string }{
		"of a key file":         {"IdentityFile " + keyFile + "\nCertificateFile " + file, ""},
		"of an agent's key":     {"IdentityFile none\nCertificateFile " + file, agentWith(t, agentKey)},
		"in an agent":           {"", agentWith(t, withCertificate)},
		"in an agent, by a key": {"IdentityFile " + public(t, signer.PublicKey()) + "\nIdentitiesOnly yes", agentWith(t, withCertificate)},
	} {
		t.Run(name, func(t *testing.T) {
			opts := opts
			opts.AgentSocket = test.socket
			if _, err := get(t, configured(t, opts, test.lines+"\n"), "vm1"); err != nil {
				t.Error(err)
			}
		})
	}
	_, err := get(t, configured(t, opts, "IdentityFile "+keyFile+"\n"), "vm1")
	wantError(t, err, exit.Unreachable, "refused every key")
	other, _ := newKey(t)
	opts.AgentSocket = agentWith(t, agent.AddedKey{PrivateKey: other})
	_, err = get(t, configured(t, opts, "CertificateFile "+file+"\n"), "vm1")
	wantError(t, err, exit.Unreachable, "CertificateFile "+file+": no key file and no agent has its private key")
	if err := os.WriteFile(keyFile+"-cert.pub", ssh.MarshalAuthorizedKey(certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	opts.Keys = []string{keyFile}
	if _, err := get(t, opts, "vm1"); err != nil {
		t.Errorf("a certificate beside its key: %v", err)
	}
}

func TestGet_SecondFactorAndOtherMethodsAreNamed(t *testing.T) {
	t.Parallel()
	private, signer := newKey(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(signer.PublicKey().Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{
			KeyboardInteractiveCallback: func(ssh.ConnMetadata, ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
				return nil, errors.New("no code")
			},
		}}
	}}
	opts := loginServer(t, config)
	opts.AgentSocket = agentWith(t, agent.AddedKey{PrivateKey: private})
	_, err := get(t, opts, "vm1")
	wantError(t, err, exit.Unreachable, "the server accepts the key, and wants keyboard-interactive as well", "AuthenticationMethods publickey")
	opts = loginServer(t, &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
		return nil, errors.New("no")
	}})
	opts.AgentSocket = agentWith(t, agent.AddedKey{PrivateKey: private})
	_, err = get(t, opts, "vm1")
	wantError(t, err, exit.Unreachable, "the server takes no keys of this user, only password")
	if strings.Contains(err.Error(), "refused every key") {
		t.Errorf("got %v", err)
	}
}

func pemOf(t *testing.T, private ed25519.PrivateKey) []byte {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}
