package host

import (
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// agentKeys are the keys of one agent.
type agentKeys struct {
	once sync.Once
	conn net.Conn
	keys []ssh.Signer
	err  error
}

// agent returns the agent behind a socket; its keys are listed once. Without an
// agent there are no keys.
func (k *keyring) agent(socket string) *agentKeys {
	k.mu.Lock()
	if k.agents == nil {
		k.agents = map[string]*agentKeys{}
	}
	a := k.agents[socket]
	if a == nil {
		a = &agentKeys{}
		k.agents[socket] = a
	}
	closed := k.closed
	k.mu.Unlock()
	a.once.Do(func() {
		if socket == "" || closed {
			return
		}
		if a.conn, a.err = net.Dial("unix", socket); a.err == nil {
			a.keys, a.err = agent.NewClient(a.conn).Signers()
		}
	})
	return a
}

// addTo adds the agent's keys: first those that are named by files. With only,
// no others.
func (a *agentKeys) addTo(o *offer, only bool, files []string) {
	if a.err != nil {
		o.skipped = append(o.skipped, "agent: "+a.err.Error())
		return
	}
	named := o.named(files)
	rest := make([]ssh.Signer, 0, len(a.keys))
	for _, signer := range a.keys {
		at := slices.IndexFunc(named, func(n namedKey) bool { return sameKey(n.key, signer.PublicKey()) })
		if at < 0 {
			rest = append(rest, signer)
			continue
		}
		file := named[at].file
		if certificate, err := readCertificate(file+"-cert.pub", signer); err == nil {
			o.add("agent: "+file+"-cert.pub", certificate)
		}
		o.add("agent: "+file, signer)
		delete(o.public, string(named[at].key.Marshal()))
		o.skipped = slices.DeleteFunc(o.skipped, func(s string) bool { return strings.HasPrefix(s, file+" ") })
	}
	if only {
		return
	}
	for _, signer := range rest {
		o.add("agent: "+ssh.FingerprintSHA256(signer.PublicKey()), signer)
	}
}

// namedKey is a public key that was read from a file.
type namedKey struct {
	key  ssh.PublicKey
	file string
}

// named are the public keys of files: of the file itself, of the `.pub` beside
// it, or in a private key with a passphrase.
func (o *offer) named(files []string) []namedKey {
	var found []namedKey
	for _, file := range files {
		for _, path := range []string{file, file + ".pub"} {
			data, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			if public, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
				found = append(found, namedKey{public, file})
				continue
			}
			_, err = ssh.ParseRawPrivateKey(data)
			if locked, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok && locked.PublicKey != nil {
				found = append(found, namedKey{locked.PublicKey, file})
			}
		}
	}
	return found
}

func (k *keyring) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	for _, a := range k.agents {
		a.once.Do(func() {}) // Later calls get no keys.
		if a.conn != nil {
			a.conn.Close()
		}
	}
}
