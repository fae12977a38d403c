package host

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/sshconfig"
)

// Spellings returns a function that gives one text for all host entries that
// lead to the same address and port, by what is written alone: it connects to
// nothing and queries no DNS. The user does not count: two users of a machine
// are on one machine. What ssh_config says of an entry counts, if it can be
// read.
func Spellings(cfg config.SSH, env func(string) string) func(entry string) (string, error) {
	cfg.KeyData, cfg.KnownHosts = nil, nil // How to log in does not matter here.
	opts, err := OptionsFrom(cfg, nil, env)
	if err != nil {
		opts = Options{User: cfg.User, Port: cfg.Port} // The first connection reports it.
	}
	opts.Warn = nil
	machine := sshconfig.ThisMachine(opts.Home, opts.lookup)
	machine.Run = func(context.Context, string) (bool, error) { return false, nil } // No `Match exec`: only what is written.
	d := &dialer{opts: opts, configs: configsOn(opts, machine), warned: map[Warning]bool{}}
	return func(entry string) (string, error) {
		if entry == Local {
			return Local, nil
		}
		t, err := d.resolve(context.Background(), entry, false)
		if err != nil {
			return "", err
		}
		text := fmt.Sprintf("%s, port %d", sameCase(t.host), t.port)
		if len(t.jumps) > 0 { // Two networks may have the same addresses.
			text += ", through " + strings.ToLower(strings.Join(t.jumps, ", "))
		}
		if t.command != "" {
			text += ", by " + t.command
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
