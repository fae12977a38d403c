package host

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/kstep/kstep/internal/exit"
)

// hostKeys verifies hosts. There is no way around it.
type hostKeys struct {
	db      *knownhosts.HostKeyDB
	names   map[string]string // What errors call the file that the library read.
	sources []string
	pins    map[string]string
	looked  []string          // Files that are not there.
	revoked map[string]string // Keys that must not be accepted: the file that says so.
}

// pin is the configured fingerprint of a host, under any of its names.
func (k *hostKeys) pin(t target) (fingerprints []string) {
	for _, name := range []string{t.name, t.alias, t.host, t.address()} {
		if pinned, ok := k.pins[name]; ok {
			return strings.FieldsFunc(pinned, func(r rune) bool { return r == ',' || r == ' ' })
		}
	}
	return nil
}

// keyFamilies are host key algorithms in the order in which they are tried
// where a fingerprint does not contain its type.
func keyFamilies() [][]string {
	return [][]string{
		{ssh.KeyAlgoED25519},
		{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
		{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
	}
}

// algorithms are the choices for the handshakes to try, in order. To request
// those in known_hosts avoids a key of a type that is not listed there, which
// would look like a changed one.
func (k *hostKeys) algorithms(t target) [][]string {
	if k.pin(t) != nil {
		return keyFamilies()
	}
	return [][]string{k.db.HostKeyAlgorithms(t.known())}
}

// check verifies one presented key.
func (k *hostKeys) check(t target, remote net.Addr, key ssh.PublicKey) error {
	if err := k.strongEnough(t, key); err != nil {
		return err
	}
	err := k.db.HostKeyCallback()(t.known(), remote, key)
	if revoked, ok := errors.AsType[*xknownhosts.RevokedError](err); ok {
		return hostKeyError(fmt.Errorf("the host key of %s (%s) is marked @revoked in %s:%d",
			t.name, ssh.FingerprintSHA256(key), k.names[revoked.Revoked.Filename], revoked.Revoked.Line))
	}
	if pins := k.pin(t); pins != nil {
		if slices.Contains(pins, ssh.FingerprintSHA256(key)) {
			return nil
		}
		return k.pinMismatch(t, pins, key)
	}
	if err == nil {
		return nil
	}
	known, ok := errors.AsType[*xknownhosts.KeyError](err)
	if !ok {
		return hostKeyError(fmt.Errorf("verify host key of %s: %w", t.name, err))
	}
	if len(known.Want) == 0 {
		return k.unknown(t, key)
	}
	return k.changed(t, key, known.Want)
}

// strongEnough applies RevokedHostKeys, RequiredRSASize and CASignatureAlgorithms
// of ssh_config.
func (k *hostKeys) strongEnough(t target, key ssh.PublicKey) error {
	if algorithm := t.signedByWeak(key); algorithm != "" {
		return hostKeyError(fmt.Errorf("the certificate of %s is signed with %s, which CASignatureAlgorithms does not allow", t.name, algorithm))
	}
	for _, one := range signersOf(key) {
		if path, revoked := k.revoked[string(one.Marshal())]; revoked {
			return hostKeyError(fmt.Errorf("the host key of %s (%s) is revoked by %s", t.name, ssh.FingerprintSHA256(one), path))
		}
		least, given := t.settings.Number("requiredrsasize")
		public, ok := one.(ssh.CryptoPublicKey)
		if !given || !ok {
			continue
		}
		if weak, is := public.CryptoPublicKey().(*rsa.PublicKey); is && weak.N.BitLen() < least {
			v, _ := t.settings.Value("requiredrsasize")
			return hostKeyError(fmt.Errorf("the host key of %s has %d bits, and %s requires %d (RequiredRSASize)", t.name, weak.N.BitLen(), v.Where(), least))
		}
	}
	return nil
}

// signersOf are the keys that a host key stands for: of a certificate, its own
// and that of its authority.
func signersOf(key ssh.PublicKey) []ssh.PublicKey {
	if certificate, ok := key.(*ssh.Certificate); ok {
		return []ssh.PublicKey{certificate.Key, certificate.SignatureKey}
	}
	return []ssh.PublicKey{key}
}

// errHostKey marks refusals, which no new attempt can heal.
var errHostKey = errors.New("host key not accepted")

type hostKeyRefusal struct{ error }

func (hostKeyRefusal) Is(target error) bool { return target == errHostKey }

func (r hostKeyRefusal) Unwrap() error { return r.error }

func hostKeyError(err error, hints ...string) error {
	return hostKeyRefusal{exit.With(exit.Unreachable, err, hints...)}
}

func (k *hostKeys) unknown(t target, key ssh.PublicKey) error {
	where := "no known_hosts file was found"
	if len(k.looked) > 0 {
		where += ": " + strings.Join(k.looked, ", ")
	}
	if len(k.sources) > 0 {
		where = "not in " + strings.Join(k.sources, ", ")
	}
	return hostKeyError(
		fmt.Errorf("host key of %s is unknown (%s): it presented %s %s", t.name, where, key.Type(), ssh.FingerprintSHA256(key)),
		"compare the fingerprint with the host's own: ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub",
		"then add this line to known_hosts, ssh.known_hosts or KSTEP_KNOWN_HOSTS: "+knownhosts.Line([]string{t.known()}, key),
	)
}

func (k *hostKeys) changed(t target, key ssh.PublicKey, want []xknownhosts.KnownKey) error {
	var places []string
	for _, w := range want {
		places = append(places, fmt.Sprintf("%s:%d has %s %s", k.names[w.Filename], w.Line, w.Key.Type(), ssh.FingerprintSHA256(w.Key)))
	}
	return hostKeyError(
		fmt.Errorf("HOST KEY OF %s HAS CHANGED: it presented %s %s, but %s",
			strings.ToUpper(t.name), key.Type(), ssh.FingerprintSHA256(key), strings.Join(places, " and ")),
		"the connection may be intercepted, or the host was set up anew: find out before you go on",
		"if it was set up anew, replace the line named above by: "+knownhosts.Line([]string{t.known()}, key),
	)
}

func (k *hostKeys) pinMismatch(t target, pins []string, key ssh.PublicKey) error {
	return hostKeyError(
		fmt.Errorf("host key of %s is not the pinned one: it presented %s %s, ssh.host_keys has %s",
			t.name, key.Type(), ssh.FingerprintSHA256(key), strings.Join(pins, ", ")),
		"the connection may be intercepted, or the host was set up anew: find out before you change ssh.host_keys",
	)
}

// typeChanged explains a handshake in which the host has no key of the types
// that known_hosts lists.
func (k *hostKeys) typeChanged(t target, err error) error {
	var types []string
	for _, key := range k.db.HostKeys(t.known()) {
		types = append(types, key.Type())
	}
	return hostKeyError(
		fmt.Errorf("host key of %s: known_hosts lists only %s, which the host does not offer: %w", t.name, strings.Join(types, ", "), err),
		fmt.Sprintf("if the host was set up anew, list its new key: ssh-keyscan -p %d %s", t.port, t.host),
	)
}
