package host

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/kstep/kstep/internal/config"
)

// Spellings returns a function that gives one text for all host entries that
// lead to the same address and port, by what is written alone: it connects to
// nothing and asks no DNS. The user does not count: two users of a machine are
// on one machine. What ssh_config says of an entry counts, if it can be read.
func Spellings(cfg config.SSH, env func(string) string) func(entry string) (string, error) {
	cfg.KeyData, cfg.KnownHosts = nil, nil // How to log in does not matter here.
	opts, err := OptionsFrom(cfg, nil, env)
	configs := sshConfigs(nil)
	if err == nil {
		if read, readErr := readConfigs(opts); readErr == nil { // Else the first connection reports it.
			configs = read
		}
	}
	return func(entry string) (string, error) {
		if entry == Local {
			return Local, nil
		}
		t, err := configs.resolve(entry, opts, false)
		if err != nil {
			return "", err
		}
		text := fmt.Sprintf("%s, port %d", sameCase(t.host), t.port)
		if len(t.jumps) > 0 { // Two networks may have the same addresses.
			text += ", through " + strings.ToLower(strings.Join(t.jumps, ", "))
		}
		return text, nil
	}
}

// sameCase gives one text for all ways to write a host name or an address.
func sameCase(name string) string {
	if address, err := netip.ParseAddr(name); err == nil {
		return address.Unmap().String()
	}
	return strings.TrimSuffix(strings.ToLower(name), ".")
}
