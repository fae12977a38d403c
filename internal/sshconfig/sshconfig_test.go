package sshconfig

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// machine is one that depends on nothing.
func machine(t *testing.T) Machine {
	t.Helper()
	return Machine{
		Home: t.TempDir(), User: "ana", UID: "1000", Name: "laptop.example",
		Env: func(name string) (string, bool) {
			value, ok := map[string]string{"SSH_AUTH_SOCK": "/agent", "DIR": "/dir"}[name]
			return value, ok
		},
		Addresses: func() ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fd00::1")}, nil
		},
		Run: func(_ context.Context, line string) (bool, error) { return line == "yes", nil },
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func resolve(t *testing.T, m Machine, text string, to Destination) (*Settings, error) {
	t.Helper()
	file := write(t, filepath.Join(t.TempDir(), "config"), text)
	return New([]File{{Path: file}}, m).Resolve(t.Context(), to)
}

func TestResolve_FollowsTheCriteriaOfNewVersions(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"localnetwork 10.0.0.0/8":                true,
		"localnetwork 192.0.2.0/24,fd00::/8":     true,
		"localnetwork 192.0.2.0/24":              false,
		"!localnetwork 192.0.2.0/24":             true,
		"tagged prod":                            true,
		"tagged dev":                             false,
		`command ""`:                             true,
		"command ls":                             false,
		"sessiontype exec":                       true,
		"sessiontype shell":                      false,
		"sessiontype=none,exec":                  true,
		"version OpenSSH_*":                      true,
		"version OpenSSH_5.*":                    false,
		"exec yes":                               true,
		"exec=yes":                               true,
		"exec no":                                false,
		"user=deploy host=vm1":                   true,
		"host=vm1 !user=deploy":                  false,
		"originalhost vm1 localuser ana":         true,
		"host = vm1":                             true,
		"localuser bob":                          false,
		`host "vm1" user "deploy,root"`:          true,
		"all":                                    true,
		"final":                                  true,
		"!canonical tagged prod localuser=a*,!b": true, // In the first pass.
	}
	for criteria, want := range tests {
		t.Run(criteria, func(t *testing.T) {
			t.Parallel()
			text := "Tag prod\nMatch final\nMatch " + criteria + "\n  Port 23\n"
			got, err := resolve(t, machine(t), text, Destination{Host: "vm1", DefaultUser: "deploy", DefaultPort: 22})
			if err != nil {
				t.Fatal(err)
			}
			if (got.Port == 23) != want || len(got.Warnings) > 0 {
				t.Errorf("got port %d and warnings %v, want a match: %v", got.Port, got.Warnings, want)
			}
		})
	}
}

func TestResolve_ConditionThatIsUnclearMatchesNotAndIsWarnedOfOnce(t *testing.T) {
	t.Parallel()
	for criteria, part := range map[string]string{
		"weather sunny":            "weather: the condition is unknown",
		"host vm1 !mood good":      "mood: the condition is unknown",
		"host":                     "host has no argument",
		"":                         "a condition is missing",
		"host vm1 user a all":      "all cannot stand beside",
		"localnetwork somewhere":   `"somewhere" is not a network`,
		`exec "yes`:                "a quote has no end",
		"phase of=moon host=vm1":   "phase: the condition is unknown",
		"!nosuch x originalhost *": "nosuch: the condition is unknown",
	} {
		t.Run(criteria, func(t *testing.T) {
			t.Parallel()
			text := "Match final\nMatch " + criteria + "\n  Port 23\nHost vm1\n  User a\n"
			got, err := resolve(t, machine(t), text, Destination{Host: "vm1"})
			if err != nil {
				t.Fatal(err)
			}
			if got.Port != 22 || got.User != "a" {
				t.Errorf("got %s port %d, want the block left out and the rest followed", got.User, got.Port)
			}
			if len(got.Warnings) != 1 || got.Warnings[0].Line != 2 || !strings.Contains(got.Warnings[0].Text, part) {
				t.Errorf("got warnings %v, want one of line 2 with %q", got.Warnings, part)
			}
		})
	}
}

func TestResolve_WrongValueIsAnErrorOnlyWhereItCounts(t *testing.T) {
	t.Parallel()
	for line, part := range map[string]string{
		"Port many":                         `Port: "many" is not a port`,
		"Port 99999":                        `is not a port`,
		"Port 22 23":                        `"23" follows after the value`,
		"User":                              "User: the value is missing",
		`IdentityFile "/a`:                  "a quote has no end",
		"ConnectTimeout soon":               `"soon" is not a time`,
		"StrictHostKeyChecking perhaps":     `"perhaps" is none of`,
		"ConnectionAttempts x":              "is not a whole number",
		"HostName %x":                       "the token %x is not known here",
		"IdentityFile ${NONE}/a":            "the environment has no NONE",
		"ProxyCommand nc %u":                "the token %u is not known here",
		"RefuseConnection use the new host": "RefuseConnection",
		"ProxyJump a,,b":                    "is not a list of hosts",
		"UserKnownHostsFile none /a":        "none stands alone",
		"IdentityFile 100%":                 "write %%",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			text := "Host vm1\n  User a\nHost vm2\n  " + line + "\n"
			if _, err := resolve(t, machine(t), text, Destination{Host: "vm1"}); err != nil {
				t.Errorf("for another host: %v", err)
			}
			_, err := resolve(t, machine(t), text, Destination{Host: "vm2"})
			wrong, ok := errors.AsType[*Error](err)
			if !ok || wrong.Line != 4 || !strings.Contains(err.Error(), part) {
				t.Errorf("got %v, want line 4 and %q", err, part)
			}
		})
	}
}

func TestResolve_WarnsOfUnknownKeywordsAndNotOfThoseOfVendors(t *testing.T) {
	t.Parallel()
	text := "UseKeychain yes\nForwardAgent yes\nIgnoreUnknown Mine*\nMineToo 1\nProxyComand nc %h %p\nHost other\n  Typo 1\n"
	got, err := resolve(t, machine(t), text, Destination{Host: "vm1"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Warnings) != 1 || got.Warnings[0].Line != 5 || !strings.Contains(got.Warnings[0].Text, "proxycomand") {
		t.Errorf("got %v, want one warning of line 5", got.Warnings)
	}
}

func TestResolve_ExpandsTokensAndVariablesWhereTheyAreAllowed(t *testing.T) {
	t.Parallel()
	m := machine(t)
	text := `Host vm1
  HostName %h.example
  HostKeyAlias key-of-vm1
  User u-%u
  Port 23
  IdentityFile ~/%h-%p-%r-%n-%u-%d-%L-%l-%i-%k-%%
  IdentityAgent ${DIR}/a
  UserKnownHostsFile ~/kh ${DIR}/%C
  ProxyCommand run --to [%h]:%p --as %r --for %n --key %k %%
`
	got, err := resolve(t, m, text, Destination{Host: "vm1"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"identityfile":  {m.Home + "/vm1.example-23-u-ana-vm1-ana-" + m.Home + "-laptop-laptop.example-1000-key-of-vm1-%"},
		"identityagent": {"/dir/a"},
		"proxycommand":  {"run --to [vm1.example]:23 --as u-ana --for vm1 --key key-of-vm1 %"},
	}
	for keyword, expected := range want {
		list, _ := got.List(keyword)
		if !slices.Equal(list, expected) {
			t.Errorf("%s: got %q, want %q", keyword, list, expected)
		}
	}
	known, _ := got.List("userknownhostsfile")
	if len(known) != 2 || known[0] != m.Home+"/kh" || len(known[1]) != len("/dir/")+40 { // A hash of 40 digits.
		t.Errorf("userknownhostsfile: got %q", known)
	}
}

func TestResolve_FindsTheAgent(t *testing.T) {
	t.Parallel()
	for written, want := range map[string]string{"SSH_AUTH_SOCK": "/agent", "$SSH_AUTH_SOCK": "/agent", "none": "none", "$UNSET": "", "/a b": "/a b"} {
		got, err := resolve(t, machine(t), "IdentityAgent \""+written+"\"\n", Destination{Host: "vm1"})
		if err != nil {
			t.Fatal(err)
		}
		if text := got.Text("identityagent"); text != want {
			t.Errorf("%s: got %q, want %q", written, text, want)
		}
	}
}

func TestResolve_IncludesFilesByPatternAndFolder(t *testing.T) {
	t.Parallel()
	m := machine(t)
	write(t, filepath.Join(m.Home, ".ssh", "conf.d", "10-a"), "\uFEFFHost vm1\r\n  User a\r\nHost vm2\r\n")
	write(t, filepath.Join(m.Home, ".ssh", "conf.d", "20-b"), "Port 24\n")
	write(t, filepath.Join(m.Home, ".ssh", "conf.d", ".hidden"), "HostKeyAlias hidden\n")
	main := write(t, filepath.Join(m.Home, ".ssh", "config"), "Include conf.d/* nothing-here\nInclude ~/.ssh/conf.d\nHost vm1\n  Port 23\n")
	c := New([]File{{Path: main, Private: true}}, m)
	got, err := c.Resolve(t.Context(), Destination{Host: "vm1"})
	if err != nil {
		t.Fatal(err)
	}
	if got.User != "a" || got.Port != 24 || got.Text("hostkeyalias") != "" {
		t.Errorf("got %s, port %d, alias %q", got.User, got.Port, got.Text("hostkeyalias"))
	}
	write(t, filepath.Join(m.Home, ".ssh", "loop"), "Include loop\n")
	_, err = resolve(t, m, "Include loop\n", Destination{Host: "vm1"})
	if err == nil || !strings.Contains(err.Error(), "16 deep") {
		t.Errorf("got %v, want the loop to be seen", err)
	}
}
