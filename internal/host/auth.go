package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/exit"
)

// keyring collects the keys to log in with. Each agent is queried once.
type keyring struct {
	opts Options

	mu     sync.Mutex
	closed bool
	agents map[string]*agentKeys // By socket.
}

// offer is the keys for one login, and what to report when none is accepted.
type offer struct {
	signers []ssh.Signer
	tried   []string
	skipped []string
	// public are the public keys of files whose private key was not read, by
	// what they contain: an agent may have it.
	public map[string]string
}

func (o *offer) add(name string, s ssh.Signer) { o.insert(len(o.signers), name, s) }

func (o *offer) insert(at int, name string, s ssh.Signer) {
	same := func(have ssh.Signer) bool {
		return string(have.PublicKey().Marshal()) == string(s.PublicKey().Marshal())
	}
	if slices.ContainsFunc(o.signers, same) {
		return
	}
	o.signers = slices.Insert(o.signers, at, s)
	o.tried = slices.Insert(o.tried, at, name)
}

// forTarget lists the keys in the order they are tried. Those that were named
// for this purpose come first: servers give up after some six keys, and an
// agent may hold more.
func (k *keyring) forTarget(t target) (*offer, error) {
	o := &offer{public: map[string]string{}}
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
	optional := k.opts.DefaultKeys
	if _, given := t.settings.Value("identityfile"); given {
		optional = t.identities
		o.addOptional(t.identities)
	}
	agent := k.agent(t.agent)
	agent.addTo(o, t.identitiesOnly, slices.Concat(k.opts.Keys, optional))
	o.addOptional(optional)
	o.addCertificates(t.certificates, agent)
	o.limit(t)
	for _, file := range o.public {
		o.skipped = append(o.skipped, file+" is a public key, and no agent has its private key")
	}
	slices.Sort(o.skipped)
	o.skipped = slices.Compact(o.skipped)
	return o, nil
}

// addOptional adds files that may be missing.
func (o *offer) addOptional(files []string) {
	for _, file := range files {
		if err := o.addFile(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			o.skipped = append(o.skipped, err.Error())
		}
	}
}

func (o *offer) addFile(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if public, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
		if !o.has(public) {
			o.public[string(public.Marshal())] = path
		}
		return nil
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
	if certificate, err := readCertificate(path+"-cert.pub", signer); err == nil {
		o.add(path+"-cert.pub", certificate)
	}
	o.add(path, signer)
	return nil
}

// has says whether a key is offered, by itself or with a certificate.
func (o *offer) has(key ssh.PublicKey) bool {
	return slices.ContainsFunc(o.signers, func(s ssh.Signer) bool { return sameKey(s.PublicKey(), key) })
}

// sameKey compares keys, of a certificate the key that it is about.
func sameKey(a, b ssh.PublicKey) bool {
	plain := func(key ssh.PublicKey) string {
		if certificate := certificateOf(key); certificate != nil {
			key = certificate.Key
		}
		return string(key.Marshal())
	}
	return plain(a) == plain(b)
}

// certificateOf is the certificate that a key is, or nil. The agent's keys have
// a type of their own.
func certificateOf(key ssh.PublicKey) *ssh.Certificate {
	if parsed, err := ssh.ParsePublicKey(key.Marshal()); err == nil {
		key = parsed
	}
	certificate, _ := key.(*ssh.Certificate)
	return certificate
}

// addCertificates puts certificates in front, each with the key that it is
// about.
func (o *offer) addCertificates(files []string, agent *agentKeys) {
	at := 0
	for _, file := range files {
		keys := slices.DeleteFunc(slices.Concat(o.signers, agent.keys), func(s ssh.Signer) bool {
			return certificateOf(s.PublicKey()) != nil
		})
		why := errors.New("no key file and no agent has its private key")
		for _, key := range keys {
			certificate, err := readCertificate(file, key)
			if err == nil {
				o.insert(at, file, certificate)
				at, why = at+1, nil
				break
			}
			if !errors.Is(err, errOtherKey) {
				why = err
				break
			}
		}
		if why != nil {
			o.skipped = append(o.skipped, fmt.Sprintf("CertificateFile %s: %v", file, why))
		}
	}
}

// errOtherKey is a certificate about another key.
var errOtherKey = errors.New("the certificate is about another key")

func readCertificate(path string, signer ssh.Signer) (ssh.Signer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil, err
	}
	certificate, ok := public.(*ssh.Certificate)
	if !ok {
		return nil, fmt.Errorf("%s is no certificate", path)
	}
	if !sameKey(certificate, signer.PublicKey()) {
		return nil, errOtherKey
	}
	return ssh.NewCertSigner(certificate, signer)
}

// limit leaves out what ssh_config does not allow.
func (o *offer) limit(t target) {
	why := func(keyword string, refuses func(string) bool) string {
		if v, ok := t.settings.Value(keyword); ok && refuses(v.Args[0]) {
			return fmt.Sprintf("no key is tried: %s %s in %s", v.Keyword, v.Args[0], v.Where())
		}
		return ""
	}
	for _, reason := range []string{
		why("pubkeyauthentication", func(s string) bool { return s == "no" }),
		why("preferredauthentications", func(s string) bool { return !slices.Contains(strings.Split(s, ","), "publickey") }),
	} {
		if reason != "" {
			o.signers, o.tried = nil, nil
			o.skipped = append(o.skipped, reason)
		}
	}
	var signers []ssh.Signer
	var tried []string
	for i, signer := range o.signers {
		limited, ok := t.accepted(signer)
		if !ok {
			why := " signs only in a way that is not safe any more (SHA-1, DSA): use an ssh-ed25519 key"
			if v, given := t.settings.Value("pubkeyacceptedalgorithms"); given {
				why = " is of a type that PubkeyAcceptedAlgorithms leaves out, in " + v.Where()
			}
			o.skipped = append(o.skipped, o.tried[i]+why)
			continue
		}
		signers, tried = append(signers, limited), append(tried, o.tried[i])
	}
	o.signers, o.tried = signers, tried
}
