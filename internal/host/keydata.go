package host

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/exit"
)

// parseKeyData accepts a private key in the forms in which it comes out of the
// settings of CI systems: with line breaks that became `\n`, spaces or nothing,
// in quotes, or the whole in base64.
func parseKeyData(key KeyData) (ssh.Signer, error) {
	var err error
	for _, text := range keyForms(key.PEM) {
		var signer ssh.Signer
		if signer, err = ssh.ParsePrivateKey([]byte(text)); err == nil {
			return signer, nil
		}
		if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
			return nil, exit.With(exit.Config, fmt.Errorf("ssh.key_data: secret %s is a key with a passphrase", key.Name),
				"make a key without one for deploys: ssh-keygen -t ed25519 -N ''")
		}
	}
	if isPath(key.PEM) {
		return nil, exit.With(exit.Config, fmt.Errorf("ssh.key_data: secret %s holds the path of a file and not a private key", key.Name),
			"in GitLab, choose the type Variable and not File for it; or name the file in ssh.keys and not in ssh.key_data")
	}
	// The library's message may quote a part of the key: it is not passed on.
	return nil, exit.With(exit.Config, fmt.Errorf("ssh.key_data: secret %s is not a private key in PEM form", key.Name),
		"it starts with -----BEGIN OPENSSH PRIVATE KEY-----, or is that text in base64")
}

// keyForms are the texts that a secret may stand for.
func keyForms(text string) []string {
	text = strings.Trim(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), " \t\n\"'\uFEFF")
	forms := []string{text + "\n"}
	if !strings.Contains(text, "-----BEGIN") {
		plain, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil || !strings.Contains(string(plain), "-----BEGIN") {
			return forms
		}
		text = strings.TrimSpace(strings.ReplaceAll(string(plain), "\r\n", "\n"))
		forms = append(forms, text+"\n")
	}
	text = strings.ReplaceAll(text, `\n`, "\n")
	if parts := pemParts().FindStringSubmatch(text); parts != nil && parts[1] == parts[3] {
		body := strings.Join(strings.Fields(parts[2]), "")
		var lines strings.Builder
		for ; len(body) > 64; body = body[64:] {
			lines.WriteString(body[:64] + "\n")
		}
		forms = append(forms, text+"\n", "-----BEGIN "+parts[1]+"-----\n"+lines.String()+body+"\n-----END "+parts[1]+"-----\n")
	}
	return forms
}

// pemParts finds the frame of a PEM text and what is in it.
func pemParts() *regexp.Regexp {
	return regexp.MustCompile(`(?s)-----BEGIN ([A-Z ]+)-----(.*)-----END ([A-Z ]+)-----`)
}

// isPath says whether a text is one path, as a CI system gives for a variable
// of the type File.
func isPath(text string) bool {
	text = strings.TrimSpace(text)
	if strings.ContainsAny(text, " \t\n") || len(text) > 4096 {
		return false
	}
	for _, prefix := range []string{"/", "./", "../", "~/"} {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}
