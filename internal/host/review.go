package host

import (
	"fmt"
	"strings"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/sshconfig"
)

// Warning is something in an ssh_config file that kstep does not follow.
type Warning struct {
	File string
	Line int
	Text string
}

// review warns of what ssh_config says for a target and kstep does not follow,
// each line once, and refuses what cannot be left out.
func (d *dialer) review(t target) error {
	if v, ok := t.settings.Value("proxyusefdpass"); ok && v.Args[0] == "yes" && t.command != "" {
		return exit.With(exit.Config, fmt.Errorf("ssh.config: %s: ProxyUseFdpass is not supported", v.Where()),
			"use a ProxyCommand that passes the data on by itself, such as nc %h %p")
	}
	for _, w := range t.settings.Warnings {
		d.warn(Warning(w))
	}
	for _, keyword := range notFollowed() {
		v, ok := t.settings.Value(keyword.name)
		if !ok || !keyword.applies(v) {
			continue
		}
		d.warn(Warning{File: v.File, Line: v.Line, Text: fmt.Sprintf("%s %s is not followed: %s", v.Keyword, v.Args[0], keyword.why)})
	}
	return nil
}

func (d *dialer) warn(w Warning) {
	if d.opts.Warn == nil {
		return
	}
	d.mu.Lock()
	seen := d.warned[w]
	d.warned[w] = true
	d.mu.Unlock()
	if !seen {
		d.opts.Warn(w)
	}
}

// unfollowed is a keyword that changes how a host is reached and has no effect.
type unfollowed struct {
	name    string
	applies func(sshconfig.Value) bool
	why     string
}

func notFollowed() []unfollowed {
	is := func(words ...string) func(sshconfig.Value) bool {
		return func(v sshconfig.Value) bool {
			return strings.Contains(","+strings.Join(words, ",")+",", ","+v.Args[0]+",")
		}
	}
	isNot := func(words ...string) func(sshconfig.Value) bool {
		return func(v sshconfig.Value) bool { return !is(words...)(v) }
	}
	// Distributions set some for all hosts; then it is not the user's wish.
	own := func(of func(sshconfig.Value) bool) func(sshconfig.Value) bool {
		return func(v sshconfig.Value) bool { return !v.System && of(v) }
	}
	keys := "kstep logs in with keys: from files, an agent, or ssh.key_data"
	checked := "kstep always checks the host key, against known_hosts or ssh.host_keys"
	return []unfollowed{
		{"stricthostkeychecking", is("no", "off", "accept-new"), checked},
		{"nohostauthenticationforlocalhost", is("yes"), checked},
		{"verifyhostkeydns", is("yes"), checked},
		{"knownhostscommand", isNot("none"), checked},
		{"pkcs11provider", isNot("none"), "add the token's keys to an agent: ssh-add -s PROVIDER"},
		{"securitykeyprovider", isNot("internal", "none"), "add the key to an agent with ssh-add"},
		{"gssapiauthentication", own(is("yes")), keys},
		{"hostbasedauthentication", own(is("yes")), keys},
	}
}
