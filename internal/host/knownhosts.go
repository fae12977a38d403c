package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/exit"
)

// hostKeys are those that count for a target: what the options give, or the
// usual files, in place of which ssh_config may name others.
func (d *dialer) hostKeys(t target) (*hostKeys, error) {
	user, global := d.opts.UserKnownHosts, d.opts.GlobalKnownHosts
	if list, given := t.settings.List("userknownhostsfile"); given {
		user = list
	}
	if list, given := t.settings.List("globalknownhostsfile"); given {
		global = list
	}
	revoked, _ := t.settings.List("revokedhostkeys")
	files := slices.Concat(user, global)
	if d.given != nil {
		files = nil
		if len(revoked) == 0 {
			return d.given, nil
		}
	}
	name := strings.Join(files, "\n") + "\x00" + strings.Join(revoked, "\n")
	d.mu.Lock()
	defer d.mu.Unlock()
	if keys := d.usual[name]; keys != nil {
		return keys, nil
	}
	keys, err := d.readHostKeys(files)
	if err != nil {
		return nil, err
	}
	if keys.revoked, err = readRevoked(revoked); err != nil {
		v, _ := t.settings.Value("revokedhostkeys")
		return nil, exit.With(exit.Config, fmt.Errorf("ssh.config: %s: RevokedHostKeys: %w", v.Where(), err))
	}
	d.usual[name] = keys
	return keys, nil
}

// readHostKeys reads files, of which any may be missing. Without files they are
// what the options give.
func (d *dialer) readHostKeys(files []string) (*hostKeys, error) {
	if d.given != nil {
		keys := *d.given
		return &keys, nil
	}
	var all []KnownHosts
	var missing []string
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			missing = append(missing, path)
			continue // Not having one is usual; then the host is unknown.
		}
		all = append(all, KnownHosts{Name: path, Text: string(data)})
	}
	keys, err := newHostKeys(all, d.opts.HostKeys)
	if err == nil {
		keys.looked = missing
	}
	return keys, err
}

// readRevoked reads lists of keys that must not be accepted.
func readRevoked(files []string) (map[string]string, error) {
	revoked := map[string]string{}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err // As with ssh, the list has to be readable.
		}
		if strings.HasPrefix(string(data), "SSHKRL\n") {
			return nil, fmt.Errorf("%s is a binary list (KRL), which is not supported: list the keys as text, one in a line", path)
		}
		for line := range strings.Lines(string(data)) {
			if public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil {
				revoked[string(public.Marshal())] = path
			}
		}
	}
	return revoked, nil
}

// newHostKeys reads the known_hosts texts. The library reads only files, and
// refuses a whole one for one line; so each text becomes a file of the lines
// that can be read, at their places.
func newHostKeys(sources []KnownHosts, pins map[string]string) (*hostKeys, error) {
	keys := &hostKeys{names: map[string]string{}, pins: pins}
	dir, err := os.MkdirTemp("", "kstep-known-hosts-")
	if err != nil {
		return nil, fmt.Errorf("read known_hosts: %w", err)
	}
	defer os.RemoveAll(dir)
	var files []string
	for i, source := range sources {
		text, err := readable(source)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("read known_hosts: %w", err)
		}
		files = append(files, file)
		keys.names[file] = source.Name
		keys.sources = append(keys.sources, source.Name)
	}
	keys.db, err = knownhosts.NewDB(files...)
	if err != nil {
		return nil, exit.With(exit.Config, fmt.Errorf("read known_hosts: %w", err))
	}
	return keys, nil
}

func readable(source KnownHosts) (string, error) {
	lines := strings.Split(strings.ReplaceAll(source.Text, "\r\n", "\n"), "\n")
	for i, line := range lines {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		if _, _, _, _, _, err := ssh.ParseKnownHosts([]byte(trimmed)); err != nil {
			if source.Strict {
				return "", exit.With(exit.Config, fmt.Errorf("%s line %d: %w", source.Name, i+1, err),
					"a line is `host type key`, as ssh-keyscan prints it")
			}
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n"), nil
}
