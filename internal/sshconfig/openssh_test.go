package sshconfig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// openSSH returns what `ssh -G` prints for a destination: values by keyword.
func openSSH(t *testing.T, home, file string, to Destination) (map[string][]string, error) {
	t.Helper()
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal("this test compares with OpenSSH's client: apt-get install openssh-client")
	}
	args := []string{"-G", "-F", file}
	if to.User != "" {
		args = append(args, "-l", to.User)
	}
	if to.Port != 0 {
		args = append(args, "-p", fmt.Sprint(to.Port))
	}
	cmd := exec.CommandContext(t.Context(), ssh, append(args, "--", to.Host)...)
	cmd.Env = append(os.Environ(), "SHELL=/bin/sh", "KSTEP_TEST_DIR="+home)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.String())
	}
	printed := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		keyword, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		printed[keyword] = append(printed[keyword], value)
	}
	return printed, nil
}

// compare holds the evaluation of a file against OpenSSH's. The file's relative
// paths do not matter: ssh takes the home folder from the user database.
func compare(t *testing.T, text string, to Destination) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := openSSH(t, dir, file, to)
	if err != nil {
		t.Fatalf("ssh: %v\n%s", err, text)
	}
	machine := thisMachine(t, dir)
	got, err := New([]File{{Path: file}}, machine).Resolve(t.Context(), to)
	if err != nil {
		t.Fatalf("%v, but ssh accepts\n%s", err, text)
	}
	for keyword, value := range printed(got) {
		expected, ok := want[keyword]
		if !ok {
			expected = []string{""}
		}
		if !slices.Equal(value, expected) {
			t.Errorf("%+v: %s: got %q, ssh has %q\n%s", to, keyword, value, expected, text)
		}
	}
}

// thisMachine is the machine as the ssh program sees it.
func thisMachine(t *testing.T, dir string) Machine {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	return ThisMachine(home, func(name string) (string, bool) {
		switch name {
		case "SHELL":
			return "/bin/sh", true
		case "KSTEP_TEST_DIR":
			return dir, true
		}
		return os.LookupEnv(name)
	})
}

// printed writes settings as `ssh -G` does.
func printed(s *Settings) map[string][]string {
	text := func(keyword, byDefault string) []string {
		if v, ok := s.Value(keyword); ok {
			return []string{v.Args[0]}
		}
		return []string{byDefault}
	}
	seconds := func(keyword, byDefault string) []string {
		if v, ok := s.Value(keyword); ok && v.Args[0] != "none" {
			return []string{fmt.Sprintf("%.0f", s.Duration(keyword).Seconds())}
		}
		return []string{byDefault}
	}
	out := map[string][]string{
		"hostname": {s.Host}, "user": {s.User}, "port": {fmt.Sprint(s.Port)},
		"hostkeyalias":          text("hostkeyalias", ""),
		"identitiesonly":        text("identitiesonly", "no"),
		"addressfamily":         text("addressfamily", "any"),
		"bindaddress":           text("bindaddress", ""),
		"connectionattempts":    text("connectionattempts", "1"),
		"serveralivecountmax":   text("serveralivecountmax", "3"),
		"connecttimeout":        seconds("connecttimeout", "none"),
		"serveraliveinterval":   seconds("serveraliveinterval", "0"),
		"proxycommand":          text("proxycommand", ""),
		"identityagent":         {s.Text("identityagent")},
		"stricthostkeychecking": text("stricthostkeychecking", "ask"),
	}
	for written, shown := range map[string]string{"yes": "true", "no": "false", "off": "false"} {
		if out["stricthostkeychecking"][0] == written {
			out["stricthostkeychecking"][0] = shown
		}
	}
	if out["proxycommand"][0] == "none" {
		out["proxycommand"] = []string{""} // Not printed.
	}
	if v, ok := s.Value("proxyjump"); ok {
		delete(out, "proxycommand") // Old versions do not print it then.
		if v.Args[0] != "none" {
			out["proxyjump"] = []string{strings.Join(v.Args, ",")}
		}
	}
	for _, keyword := range []string{"identityfile", "certificatefile"} {
		if v, ok := s.Value(keyword); ok {
			out[keyword] = v.Args
		}
	}
	if list, ok := s.List("userknownhostsfile"); ok {
		out["userknownhostsfile"] = []string{strings.Join(list, " ")}
	}
	return out
}

func TestResolve_AgreesWithOpenSSH(t *testing.T) {
	t.Parallel()
	vm1 := Destination{Host: "vm1"}
	tests := map[string]struct {
		text string
		to   Destination
	}{
		"an empty file":                       {"", vm1},
		"the first value counts":              {"Host vm1\n User a\nHost vm*\n User b\n Port 23\n", vm1},
		"negation":                            {"Host vm* !vm1\n User a\nHost !vm2\n User b\nHost *\n User c\n", vm1},
		"one character":                       {"Host vm?\n User a\n", vm1},
		"upper case is not lower case":        {"Host VM1\n User a\nHost Vm1\n Port 23\n", Destination{Host: "Vm1"}},
		"equals signs":                        {"Host=vm1\nUser = a\nPort =23\nHostName\t=  x.example\n", vm1},
		"quotes":                              {"Host \"vm1\"\n User \"a b\"\n IdentityFile \"~/my keys/a\"\n IdentityFile '/it/s'\n", vm1},
		"a backslash":                         {"Host vm1\n IdentityFile /a\\ b\n IdentityFile \"/a\\\"b\"\n", vm1},
		"comments":                            {"# one\nHost vm1 # two\n User a # three\n Port 23 #four\n  # five\n", vm1},
		"carriage returns":                    {"Host vm1\r\n User a\r\n Port 23\r\n", vm1},
		"tabs and form feeds":                 {"\tHost\tvm1\t\n\tUser\ta \f\n", vm1},
		"the keyword's case":                  {"HOST vm1\n user a\n PORT 23\n", vm1},
		"%h in HostName":                      {"Host vm1\n HostName %h.Example.COM\n", vm1},
		"%% in HostName":                      {"Host vm1\n HostName a%%b\n", vm1},
		"user and port of the command line":   {"Host vm1\n User a\n Port 23\nMatch user c\n IdentityFile /c\n", Destination{Host: "vm1", User: "c", Port: 24}},
		"Match user sees what is set":         {"User a\nMatch user a\n Port 23\nMatch user root\n Port 24\n", vm1},
		"Match host sees HostName":            {"Host vm1\n HostName a.example\nMatch host a.example\n User a\nMatch host vm1\n User b\n", vm1},
		"Match originalhost":                  {"Host vm1\n HostName a.example\nMatch originalhost vm1\n User a\n", vm1},
		"Match host ignores case":             {"Match host VM1\n User a\n", vm1},
		"Match user does not":                 {"Match user ROOT\n Port 23\n", Destination{Host: "vm1", User: "root"}},
		"Match negated":                       {"Match !host vm1\n User a\nMatch host * !user nobody\n User b\n", vm1},
		"Match lists":                         {"Match host vm2,vm*,!vm1\n User a\nMatch host vm2,vm1\n User b\n", vm1},
		"Match localuser":                     {"Match localuser nobody-here\n User a\nMatch localuser *\n User b\n", vm1},
		"Match all":                           {"Host vm2\n User a\nMatch all\n User b\n", vm1},
		"Match final":                         {"Match final\n User a\nHost vm1\n User b\nMatch final\n Port 23\n", vm1},
		"Match final all":                     {"Match final all\n User a\nHost vm1\n HostName x.example\n", vm1},
		"Match !final":                        {"Match !final\n User a\n", vm1},
		"Host in the final pass":              {"Host vm1\n HostName a.example\nHost a.example\n User a\nMatch final\n Port 23\n", vm1},
		"Match canonical asks for nothing":    {"Match canonical\n User a\n", vm1},
		"canonical by an address":             {"CanonicalizeHostname yes\nCanonicalDomains example\nMatch canonical\n User a\n", Destination{Host: "192.0.2.1"}},
		"Match exec":                          {"Match exec true\n User a\nMatch exec false\n Port 23\nMatch !exec false\n Port 24\n", vm1},
		"Match exec with tokens":              {"Match exec \"test %h = vm1\"\n User a\nMatch exec \"test %n%p%r = vm122a\"\n Port 23\n", vm1},
		"Match exec that does not decide":     {"Match host vm2 exec false\n User a\nMatch host vm1 exec true\n User b\n", vm1},
		"ProxyJump, then ProxyCommand":        {"Host vm1\n ProxyJump gate\n ProxyCommand nc %h %p\n", vm1},
		"ProxyCommand, then ProxyJump":        {"Host vm1\n ProxyCommand nc %h %p\n ProxyJump gate\n", vm1},
		"ProxyJump none, then ProxyCommand":   {"Host vm1\n ProxyJump none\nHost *\n ProxyCommand nc %h\n", vm1},
		"ProxyCommand none, then ProxyJump":   {"Host vm1\n ProxyCommand none\nHost *\n ProxyJump gate\n", vm1},
		"ProxyJump none, then another":        {"Host vm1\n ProxyJump none\nHost *\n ProxyJump gate\n", vm1},
		"ProxyJump with a comment":            {"Host vm1\n ProxyJump a,b # both\n", vm1},
		"ProxyCommand keeps its quotes":       {"Host vm1\n ProxyCommand sh -c 'exec \"$0\" # no comment'\n", vm1},
		"ProxyCommand with an equals sign":    {"Host vm1\n ProxyCommand = nc a=b\n", vm1},
		"IdentityFile adds":                   {"Host vm1\n IdentityFile /a\nHost *\n IdentityFile /b\n IdentityFile /a\n CertificateFile /c\n", vm1},
		"known hosts of the first line":       {"Host vm1\n UserKnownHostsFile /a /b\nHost *\n UserKnownHostsFile /c\n", vm1},
		"known hosts with tokens":             {"UserKnownHostsFile /a/%h.%p ~/%n ${KSTEP_TEST_DIR}/x\n", vm1},
		"no known hosts":                      {"UserKnownHostsFile /dev/null\nStrictHostKeyChecking no\n", vm1},
		"agents":                              {"Host vm1\n IdentityAgent ~/a/%r.sock\n", vm1},
		"times":                               {"ConnectTimeout 1m30s\nServerAliveInterval 2M\nServerAliveCountMax 5\nConnectionAttempts 4\n", vm1},
		"no time":                             {"ConnectTimeout none\nAddressFamily inet6\nBindAddress 192.0.2.1\n", vm1},
		"true and false":                      {"IdentitiesOnly true\nStrictHostKeyChecking TRUE\n", vm1},
		"accept-new":                          {"StrictHostKeyChecking accept-new\n", vm1},
		"an unknown keyword that is allowed":  {"IgnoreUnknown Use*,foo\nUseKeychain yes\nFoo\tbar\nUser a\n", vm1},
		"an address":                          {"Host 2001:DB8::1\n User a\n", Destination{Host: "2001:DB8::1"}},
		"values before any block":             {"Port 23\nHost vm1\n Port 24\n", vm1},
		"a keyword in quotes":                 {"\"User\" a\n", vm1},
		"several files":                       {"Include ${KSTEP_TEST_DIR}/none-*\nUser a\n", vm1},
		"port by name":                        {"Port ssh\n", vm1},
		"criteria with equals signs":          {"Match host=vm1\n User a\n", vm1},
		"a keyword without its block's match": {"Host vm2\n Port 23\n UserKnownHostsFile /a\nHost vm1\n User a\n", vm1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(test.text, "Include ${") && !supports(t, 10) {
				test.text = strings.ReplaceAll(test.text, "${KSTEP_TEST_DIR}", t.TempDir())
			}
			compare(t, test.text, test.to)
		})
	}
}

// supports says whether the ssh program is of a version, or newer.
func supports(t *testing.T, major int) bool {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ssh", "-V").CombinedOutput()
	if err != nil {
		t.Fatalf("ssh -V: %v (apt-get install openssh-client)", err)
	}
	var have int
	if _, err := fmt.Sscanf(string(out), "OpenSSH_%d.", &have); err != nil {
		t.Fatalf("ssh -V printed %q", out)
	}
	return have >= major
}
