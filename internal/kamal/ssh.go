package kamal

import (
	"slices"
	"strings"
)

func (im *importer) ssh(p pair) {
	for _, q := range p.value.pairs {
		key := "ssh." + q.key
		if q.value.kind == null {
			continue
		}
		switch q.key {
		case "user":
			im.put(words(im.value(key, q.value), q.value, false), "ssh", "user")
		case "port":
			im.number(key, q.value, "ssh", "port")
		case "keys":
			im.put(im.list(key, q.value), "ssh", "keys")
		case "key_data":
			im.keyData(q)
		case "config":
			im.sshConfig(q)
		case "proxy":
			jump := im.value(key, q.value)
			if !strings.Contains(jump, "@") && !strings.Contains(jump, "${") {
				jump = "root@" + jump
				im.changed(Other, key, q.at(), "is written as %s: Kamal logs in to the jump host as root where no user is named", jump)
			}
			im.put(words(jump, q.value, false), "ssh", "proxy_jump")
		case "proxy_command":
			im.proxyCommand(q)
		case "log_level", "keys_only", "forward_agent":
			im.dropped(key, q.at(), "kstep has no such setting: %s", im.show(q.value))
		default:
			im.lost(Other, key, q.at(), "kstep has no such key: %s", im.show(q.value))
		}
	}
}

// keyData are names of secrets. A key that stands in the file itself is not
// copied.
func (im *importer) keyData(q pair) {
	l := listOf(q.value)
	for _, n := range many(q.value) {
		switch name := im.constant(n); {
		case variableName.MatchString(name):
			l.items = append(l.items, words(im.aliased(name), n, false))
		default:
			l.items = append(l.items, words("SSH_PRIVATE_KEY", n, false))
			im.changed(Other, "ssh.key_data", n, "the key stands in the file; kstep takes the name of a secret: set SSH_PRIVATE_KEY")
		}
	}
	if len(l.items) > 0 {
		im.put(l, "ssh", "key_data")
	}
}

func (im *importer) sshConfig(q pair) {
	switch {
	case isFalse(q.value):
		im.put(words("false", q.value, true), "ssh", "config")
	case isTrue(q.value): // The files of the system, as by default.
	default:
		im.put(im.list("ssh.config", q.value), "ssh", "config")
	}
}

// proxyCommand carries `ssh -W %h:%p HOST`, which is a jump host.
func (im *importer) proxyCommand(q pair) {
	fields := strings.Fields(strings.NewReplacer(`'`, "", `"`, "").Replace(im.value("ssh.proxy_command", orEmpty(q.value))))
	if len(fields) == 4 && fields[0] == "ssh" {
		rest := fields[1:]
		if i := slices.Index(rest, "-W"); i >= 0 && i+1 < len(rest) && rest[i+1] == "%h:%p" {
			if host := slices.Delete(slices.Clone(rest), i, i+2)[0]; !strings.HasPrefix(host, "-") {
				im.put(words(host, q.value, false), "ssh", "proxy_jump")
				return
			}
		}
	}
	im.lost(Names, "ssh.proxy_command", q.at(), "kstep reaches hosts through jump hosts only (ssh.proxy_jump): %s", im.show(q.value))
}

func (im *importer) sshkit(p pair) {
	for _, q := range p.value.pairs {
		switch q.key {
		case "max_concurrent_starts":
			im.number("sshkit.max_concurrent_starts", q.value, "ssh", "max_dials")
		case "pool_idle_timeout", "dns_retries":
			im.dropped("sshkit."+q.key, q.at(), "kstep has no such setting: %s", im.show(q.value))
		default:
			im.lost(Other, "sshkit."+q.key, q.at(), "kstep has no such key: %s", im.show(q.value))
		}
	}
}
