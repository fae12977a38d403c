package host_test

import (
	"encoding/base64"
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

func TestGet_RefusedKeyNamesTheKeysThatWereTried(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	fake.Set(hosttest.Mood{RefuseKeys: true})
	opts := hosttest.Options(t, fake)
	opts.ConnectRetries = 3
	_, err := get(t, opts, "vm1")
	wantError(t, err, exit.Unreachable, "log in to vm1 as root", fake.KeyFile(), "authorized_keys")
}

func TestGet_KeyWithPassphraseIsSkippedWithAHint(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	opts := hosttest.Options(t, fake)
	raw, err := os.ReadFile(fake.KeyFile())
	if err != nil {
		t.Fatal(err)
	}
	private, err := ssh.ParseRawPrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	locked := lock(t, private)
	opts.Keys, opts.ConfigFiles = []string{locked}, nil
	_, err = get(t, opts, "root@"+fake.Address())
	wantError(t, err, exit.Unreachable, "no SSH key to try", locked+" has a passphrase", "ssh-add")
}

func TestGet_KeyDataSurvivesACIsSettings(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	raw, err := os.ReadFile(fake.KeyFile())
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"as it is":                    string(raw),
		"without the last line break": strings.TrimSpace(string(raw)),
		"with carriage returns":       strings.ReplaceAll(string(raw), "\n", "\r\n"),
		"with escaped breaks":         strings.ReplaceAll(string(raw), "\n", `\n`),
		"with spaces for breaks":      strings.ReplaceAll(string(raw), "\n", " "),
		"in one line":                 strings.ReplaceAll(string(raw), "\n", ""),
		"in quotes":                   `"` + strings.TrimSpace(string(raw)) + `"`,
		"in base64":                   base64.StdEncoding.EncodeToString(raw),
		"in base64 with breaks":       base64.StdEncoding.EncodeToString(raw)[:76] + "\n" + base64.StdEncoding.EncodeToString(raw)[76:],
		"with too many spaces":        "  " + strings.ReplaceAll(string(raw), "\n", "\n  "),
	}
	for name, pem := range tests {
		t.Run(name, func(t *testing.T) {
			opts := hosttest.Options(t, fake)
			opts.Keys, opts.ConfigFiles = nil, nil
			opts.KeyData = []host.KeyData{{Name: "SSH_KEY", PEM: pem}}
			if _, err := get(t, opts, fake.Address()); err != nil {
				t.Fatal(err)
			}
		})
	}
	opts := hosttest.Options(t, fake)
	opts.KeyData = []host.KeyData{{Name: "SSH_KEY", PEM: "-----BEGIN nonsense"}}
	_, err = get(t, opts, "vm1")
	wantError(t, err, exit.Config, "secret SSH_KEY is not a private key")
	if strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v, which quotes the key", err)
	}
	for _, path := range []string{"/builds/shop.tmp/SSH_KEY", "./id_ed25519", "~/.ssh/id_rsa\n"} {
		opts.KeyData = []host.KeyData{{Name: "SSH_KEY", PEM: path}}
		_, err = get(t, opts, "vm1")
		wantError(t, err, exit.Config, "secret SSH_KEY holds the path of a file", "Variable and not File")
	}
}

func TestGet_KeyOfTheAgentLogsIn(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	raw, err := os.ReadFile(fake.KeyFile())
	if err != nil {
		t.Fatal(err)
	}
	private, err := ssh.ParseRawPrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent")
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
			go agent.ServeAgent(ring, conn) // Ends with the connection.
		}
	}()
	opts := hosttest.Options(t, fake)
	opts.AgentSocket, opts.Keys, opts.ConfigFiles = socket, []string{lock(t, private)}, nil
	if _, err := get(t, opts, "root@"+fake.Address()); err != nil {
		t.Fatal(err)
	}
	fake.Set(hosttest.Mood{RefuseKeys: true})
	_, err = get(t, opts, "root@"+fake.Address())
	wantError(t, err, exit.Unreachable, "tried agent: "+opts.Keys[0])
}
