package host

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/exit"
)

// login is how a server answered the keys.
type login struct {
	accepted bool     // It took one, and wanted more.
	methods  []string // What it would have taken last.
}

// watch notes each answer. The library goes on by itself.
func (l *login) watch(ctx *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	l.methods = ctx.AllowedMethods
	l.accepted = l.accepted || slices.Contains(ctx.PartialSuccessMethods, "publickey")
	return nil, nil //nolint:nilnil // That is how the library is told to go on.
}

// refusedLogin reports whether the server refused the login. The library has no
// type for it.
func refusedLogin(err error) bool {
	text := err.Error()
	return strings.Contains(text, "unable to authenticate") || tooManyKeys(err)
}

// tooManyKeys says whether the server ended the connection while keys were left
// to try.
func tooManyKeys(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "authentication failures") || strings.Contains(text, "too many authentication")
}

// refused explains why the login failed.
func (o *offer) refused(t target, how login, err error) error {
	who := t.name
	if !strings.HasPrefix(who, t.user+"@") {
		who += " as " + t.user
	}
	fail := func(what, hint string) error {
		return exit.With(exit.Unreachable, fmt.Errorf("log in to %s: %s", who, what), append([]string{hint}, o.skipped...)...)
	}
	tried := fmt.Sprintf("tried %s", strings.Join(o.tried, ", "))
	switch {
	case len(o.signers) == 0:
		return fail("no SSH key to try", "set ssh.keys, or ssh.key_data with a secret's name, or start an agent (SSH_AUTH_SOCK)")
	case how.accepted:
		more := strings.Join(how.methods, " or ")
		if more == "" {
			more = "a second factor"
		}
		return fail(fmt.Sprintf("the server accepts the key, and wants %s as well, which kstep cannot give (%s)", more, tried),
			fmt.Sprintf("let the key be enough for this user, in sshd_config: Match User %s, then AuthenticationMethods publickey", t.user))
	case tooManyKeys(err):
		return fail(fmt.Sprintf("the server ended the connection after too many keys: %d were offered (%s)", len(o.signers), tried),
			"name the right key: ssh.keys in kstep.yml, or IdentityFile and IdentitiesOnly yes in ssh_config; the server's limit is MaxAuthTries")
	case len(how.methods) > 0 && !slices.Contains(how.methods, "publickey"):
		return fail(fmt.Sprintf("the server takes no keys of this user, only %s", strings.Join(how.methods, ", ")),
			fmt.Sprintf("allow it in sshd_config: PubkeyAuthentication yes, and %s among those who may log in", t.user))
	}
	return fail(fmt.Sprintf("the server refused every key (%s)", tried),
		fmt.Sprintf("add the public key to ~%s/.ssh/authorized_keys on %s, or set ssh.user or ssh.keys", t.user, t.host))
}
