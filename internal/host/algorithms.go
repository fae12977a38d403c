package host

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/sshconfig"
)

// cryptography are the algorithms of a connection, as far as ssh_config names
// any; else they are the library's own.
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

// algorithms is the list of one keyword, nil without one. An algorithm that is
// weak has to be named.
func (t target) algorithms(keyword string, good, weak []string) ([]string, error) {
	v, ok := t.settings.Value(keyword)
	if !ok {
		return nil, nil
	}
	list := sshconfig.Algorithms(v.Args[0], good, slices.Concat(good, weak))
	if len(list) == 0 {
		return nil, exit.With(exit.Config, fmt.Errorf("ssh.config: %s: %s: kstep has none of %s", v.Where(), v.Keyword, v.Args[0]),
			"it has "+strings.Join(good, ", "))
	}
	return list, nil
}

// hostKeyAlgorithms leaves of the choices for the handshakes what ssh_config
// allows. A choice that names none is all that the library has.
func (t target) hostKeyAlgorithms(choices [][]string) ([][]string, error) {
	allowed, err := t.algorithms("hostkeyalgorithms", ssh.SupportedAlgorithms().HostKeys, ssh.InsecureAlgorithms().HostKeys)
	if err != nil || allowed == nil {
		return choices, err
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
	if len(left) == 0 {
		v, _ := t.settings.Value("hostkeyalgorithms")
		return nil, exit.With(exit.Config, fmt.Errorf("ssh.config: %s: HostKeyAlgorithms %s allows none of the types that are known of %s: %s",
			v.Where(), v.Args[0], t.name, strings.Join(slices.Concat(choices...), ", ")))
	}
	return left, nil
}

// accepted leaves of a key's signatures what ssh_config allows. ok says that
// any is left.
func (t target) accepted(signer ssh.Signer) (fits ssh.Signer, ok bool) {
	v, given := t.settings.Value("pubkeyacceptedalgorithms")
	if !given {
		return signer, true
	}
	good, weak := ssh.SupportedAlgorithms().PublicKeyAuths, ssh.InsecureAlgorithms().PublicKeyAuths
	allowed := sshconfig.Algorithms(v.Args[0], good, slices.Concat(good, weak))
	kind := signer.PublicKey().Type()
	plain := kind
	if certificate := certificateOf(signer.PublicKey()); certificate != nil {
		plain = certificate.Key.Type()
	}
	if plain != ssh.KeyAlgoRSA {
		return signer, slices.Contains(allowed, kind)
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
