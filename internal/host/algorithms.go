package host

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/sshconfig"
)

// cryptography are the algorithms of a connection: those that ssh_config names,
// else all of the library that it does not call insecure. Its own defaults have
// some with SHA-1.
func (t target) cryptography() (ssh.Config, error) {
	var config ssh.Config
	good, weak := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	for _, of := range []struct {
		keyword    string
		to         *[]string
		good, weak []string
	}{
		{"kexalgorithms", &config.KeyExchanges, good.KeyExchanges, weak.KeyExchanges},
		{"ciphers", &config.Ciphers, good.Ciphers, weak.Ciphers},
		{"macs", &config.MACs, good.MACs, weak.MACs},
	} {
		list, err := t.algorithms(of.keyword, of.good, of.weak)
		if err != nil {
			return config, err
		}
		*of.to = list
	}
	return config, nil
}

// algorithms is the list of one keyword, without one all that are good. An
// algorithm that is weak has to be named.
func (t target) algorithms(keyword string, good, weak []string) ([]string, error) {
	v, ok := t.settings.Value(keyword)
	if !ok {
		return good, nil
	}
	list := sshconfig.Algorithms(v.Args[0], good, slices.Concat(good, weak))
	if len(list) == 0 {
		return nil, exit.With(exit.Config, fmt.Errorf("ssh.config: %s: %s: kstep has none of %s", v.Where(), v.Keyword, v.Args[0]),
			"it has "+strings.Join(good, ", "))
	}
	return list, nil
}

// hostKeyAlgorithms leaves of the choices for the handshakes what ssh_config
// allows, without it what is not weak. A choice that names none is all of it.
func (t target) hostKeyAlgorithms(choices [][]string) ([][]string, error) {
	allowed, err := t.algorithms("hostkeyalgorithms", ssh.SupportedAlgorithms().HostKeys, ssh.InsecureAlgorithms().HostKeys)
	if err != nil {
		return nil, err
	}
	var left [][]string
	for _, choice := range choices {
		if len(choice) == 0 {
			left = append(left, allowed)
			continue
		}
		fits := slices.DeleteFunc(slices.Clone(allowed), func(name string) bool { return !slices.Contains(choice, name) })
		if len(fits) > 0 {
			left = append(left, fits)
		}
	}
	v, given := t.settings.Value("hostkeyalgorithms")
	if len(left) == 0 && !given {
		return nil, hostKeyError(fmt.Errorf("host key of %s: known_hosts lists only types that are not safe any more: %s",
			t.name, strings.Join(slices.Concat(choices...), ", ")), "list a newer key of the host, such as its ssh-ed25519; or allow the type in ssh_config: HostKeyAlgorithms")
	}
	if len(left) == 0 {
		return nil, exit.With(exit.Config, fmt.Errorf("ssh.config: %s: HostKeyAlgorithms %s allows none of the types that are known of %s: %s",
			v.Where(), v.Args[0], t.name, strings.Join(slices.Concat(choices...), ", ")))
	}
	return left, nil
}

// accepted leaves of a key's signatures what ssh_config allows, without it what
// is not weak. ok says that any is left.
func (t target) accepted(signer ssh.Signer) (fits ssh.Signer, ok bool) {
	good, weak := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	safe, all := withCertificates(good), slices.Concat(withCertificates(good), withCertificates(weak))
	allowed := safe
	if v, given := t.settings.Value("pubkeyacceptedalgorithms"); given {
		allowed = sshconfig.Algorithms(v.Args[0], safe, all)
	}
	kind := signer.PublicKey().Type()
	plain := kind
	if certificate := certificateOf(signer.PublicKey()); certificate != nil {
		plain = certificate.Key.Type()
	}
	if plain != ssh.KeyAlgoRSA {
		known := slices.Contains(all, kind) // One that the library has no name for is the agent's matter.
		_, given := t.settings.Value("pubkeyacceptedalgorithms")
		return signer, slices.Contains(allowed, kind) || !known && !given
	}
	var signatures []string // The longer hash first.
	for _, pair := range [][2]string{
		{ssh.KeyAlgoRSASHA512, ssh.CertAlgoRSASHA512v01},
		{ssh.KeyAlgoRSASHA256, ssh.CertAlgoRSASHA256v01},
		{ssh.KeyAlgoRSA, ssh.CertAlgoRSAv01},
	} {
		if kind == plain && slices.Contains(allowed, pair[0]) || kind != plain && slices.Contains(allowed, pair[1]) {
			signatures = append(signatures, pair[0])
		}
	}
	with, can := signer.(ssh.AlgorithmSigner)
	if !can || len(signatures) == 0 {
		return signer, can && len(signatures) > 0
	}
	limited, err := ssh.NewSignerWithAlgorithms(with, signatures)
	return limited, err == nil
}

// withCertificates are the algorithms to log in with. The library lists those of
// certificates only for hosts.
func withCertificates(of ssh.Algorithms) []string {
	list := slices.Clone(of.PublicKeyAuths)
	for _, name := range of.HostKeys {
		if strings.Contains(name, "-cert-") && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// signedByWeak is the algorithm of an authority's signature that ssh_config, or
// without it the library, does not allow. Empty for a good one, and for a key
// that is not a certificate.
func (t target) signedByWeak(key ssh.PublicKey) string {
	certificate, ok := key.(*ssh.Certificate)
	if !ok || certificate.Signature == nil {
		return ""
	}
	good, weak := ssh.SupportedAlgorithms().PublicKeyAuths, ssh.InsecureAlgorithms().PublicKeyAuths
	allowed := good
	if v, given := t.settings.Value("casignaturealgorithms"); given {
		allowed = sshconfig.Algorithms(v.Args[0], good, slices.Concat(good, weak))
	}
	if slices.Contains(allowed, certificate.Signature.Format) {
		return ""
	}
	return certificate.Signature.Format
}

// tooWeak explains a handshake in which the host has only algorithms that kstep
// does not use unless they are named.
func (t target) tooWeak(failed *ssh.AlgorithmNegotiationError) error {
	keyword, weak := "Ciphers", ssh.InsecureAlgorithms().Ciphers
	switch {
	case strings.Contains(failed.What, "key exchange"):
		keyword, weak = "KexAlgorithms", ssh.InsecureAlgorithms().KeyExchanges
	case strings.Contains(failed.What, "MAC"):
		keyword, weak = "MACs", ssh.InsecureAlgorithms().MACs
	}
	err := fmt.Errorf("connect to %s: the host has no %s that kstep uses: it offers %s", t.name, failed.What, strings.Join(failed.RequestedAlgorithms, ", "))
	hints := []string{"update the SSH server there"}
	for _, name := range failed.RequestedAlgorithms {
		if slices.Contains(weak, name) {
			hints = append(hints, fmt.Sprintf("or allow an old one for this host in ssh_config: %s +%s", keyword, name))
			break
		}
	}
	return exit.With(exit.Unreachable, err, hints...)
}
