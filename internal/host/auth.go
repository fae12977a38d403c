package host

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/kstep/kstep/internal/exit"
)

// keyring collects the keys to log in with. The agent is asked once.
type keyring struct {
	opts Options

	once      sync.Once
	agentConn net.Conn
	agentKeys []ssh.Signer
	agentErr  error
}

// offer is the keys for one login, and what to tell when none is accepted.
type offer struct {
	signers []ssh.Signer
	tried   []string
	skipped []string
}

func (o *offer) add(name string, s ssh.Signer) {
	same := func(have ssh.Signer) bool {
		return string(have.PublicKey().Marshal()) == string(s.PublicKey().Marshal())
	}
	if slices.ContainsFunc(o.signers, same) {
		return
	}
	o.signers = append(o.signers, s)
	o.tried = append(o.tried, name)
}

// forTarget lists the keys in the order they are tried. Those that were named
// for this purpose come first: servers give up after some six keys, and an
// agent may hold more.
func (k *keyring) forTarget(t target) (*offer, error) {
	o := &offer{}
	for _, key := range k.opts.KeyData {
		signer, err := parseKeyData(key)
		if err != nil {
			return nil, err
		}
		o.add("secret "+key.Name, signer)
	}
	for _, file := range k.opts.Keys {
		if err := o.addFile(file); err != nil {
			return nil, exit.With(exit.Config, fmt.Errorf("ssh.keys: %w", err))
		}
	}
	optional := slices.Concat(t.identities, k.opts.DefaultKeys)
	if len(t.identities) > 0 {
		optional = t.identities
	}
	for _, file := range t.identities {
		if err := o.addFile(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			o.skipped = append(o.skipped, err.Error())
		}
	}
	k.addAgent(o, t.identitiesOnly, slices.Concat(k.opts.Keys, optional))
	for _, file := range optional {
		if err := o.addFile(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			o.skipped = append(o.skipped, err.Error())
		}
	}
	slices.Sort(o.skipped)
	o.skipped = slices.Compact(o.skipped)
	return o, nil
}

func (o *offer) addFile(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	signer, err := ssh.ParsePrivateKey(data)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		o.skipped = append(o.skipped, path+" has a passphrase: add it to the agent with ssh-add")
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s is not a private key that can be read: %w", path, err)
	}
	// A certificate beside the key logs in with it, as ssh does.
	if certificate, err := readCertificate(path, signer); err == nil {
		o.add(path+"-cert.pub", certificate)
	}
	o.add(path, signer)
	return nil
}

func readCertificate(path string, signer ssh.Signer) (ssh.Signer, error) {
	data, err := os.ReadFile(path + "-cert.pub")
	if err != nil {
		return nil, err
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil, err
	}
	certificate, ok := public.(*ssh.Certificate)
	if !ok {
		return nil, fmt.Errorf("%s-cert.pub is no certificate", path)
	}
	return ssh.NewCertSigner(certificate, signer)
}

func (k *keyring) addAgent(o *offer, identitiesOnly bool, files []string) {
	k.once.Do(k.askAgent)
	if k.agentErr != nil {
		o.skipped = append(o.skipped, "agent: "+k.agentErr.Error())
		return
	}
	named := map[string]string{} // By public key.
	for _, file := range files {
		if data, err := os.ReadFile(file + ".pub"); err == nil {
			if public, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
				named[string(public.Marshal())] = file
			}
		}
	}
	rest := make([]ssh.Signer, 0, len(k.agentKeys))
	for _, signer := range k.agentKeys {
		if file, ok := named[string(signer.PublicKey().Marshal())]; ok {
			o.add("agent: "+file, signer)
			o.skipped = slices.DeleteFunc(o.skipped, func(s string) bool { return strings.HasPrefix(s, file+" ") })
		} else {
			rest = append(rest, signer)
		}
	}
	if identitiesOnly {
		return
	}
	for _, signer := range rest {
		o.add("agent: "+ssh.FingerprintSHA256(signer.PublicKey()), signer)
	}
}

func (k *keyring) askAgent() {
	if k.opts.AgentSocket == "" {
		return
	}
	conn, err := net.Dial("unix", k.opts.AgentSocket)
	if err != nil {
		k.agentErr = err
		return
	}
	k.agentConn = conn
	k.agentKeys, k.agentErr = agent.NewClient(conn).Signers()
}

func (k *keyring) close() {
	k.once.Do(func() {}) // Whoever asks after this gets none.
	if k.agentConn != nil {
		k.agentConn.Close()
	}
}

// parseKeyData accepts a key whose line breaks became `\n` or were lost to
// spaces on the way through a CI's settings, which happens to most.
func parseKeyData(key KeyData) (ssh.Signer, error) {
	text := strings.ReplaceAll(key.PEM, "\r\n", "\n")
	if !strings.Contains(strings.TrimSpace(text), "\n") {
		text = strings.ReplaceAll(text, `\n`, "\n")
	}
	signer, err := ssh.ParsePrivateKey([]byte(strings.TrimSpace(text) + "\n"))
	if err == nil {
		return signer, nil
	}
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		return nil, exit.With(exit.Config, fmt.Errorf("ssh.key_data: secret %s is a key with a passphrase", key.Name),
			"make a key without one for deploys: ssh-keygen -t ed25519 -N ''")
	}
	// The library's message may quote a part of the key: it is not passed on.
	return nil, exit.With(exit.Config, fmt.Errorf("ssh.key_data: secret %s is not a private key in PEM form", key.Name),
		"it starts with -----BEGIN OPENSSH PRIVATE KEY----- and keeps its line breaks (or \\n for each)")
}

// refused tells which keys the server did not want.
func (o *offer) refused(t target) error {
	login := t.name
	if !strings.HasPrefix(login, t.user+"@") {
		login += " as " + t.user
	}
	if len(o.signers) == 0 {
		hints := []string{"set ssh.keys, or ssh.key_data with a secret's name, or start an agent (SSH_AUTH_SOCK)"}
		return exit.With(exit.Unreachable, fmt.Errorf("log in to %s: no SSH key to try", login), append(hints, o.skipped...)...)
	}
	hints := []string{fmt.Sprintf("add the public key to ~%s/.ssh/authorized_keys on %s, or set ssh.user or ssh.keys", t.user, filepath.Base(t.host))}
	return exit.With(exit.Unreachable,
		fmt.Errorf("log in to %s: the server refused every key (tried %s)", login, strings.Join(o.tried, ", ")),
		append(hints, o.skipped...)...)
}
