package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// joined is a shell's command that joins its standard input and output to an
// address, as socat does.
const joined = `bash -c 'exec 3<>/dev/tcp/%s/%s; cat <&3 & exec cat >&3'`

// The hosts have names that no resolver knows, as behind a cloud's tunnel.
func TestDeploy_GoesThroughTheProgramThatReachesTheHosts(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string]func(w *world, hostName, address, port string) string{
		"a name of the cloud, and a block for others": func(_ *world, hostName, address, port string) string {
			return "Match user git\n  ForwardAgent no\n  ProxyCommand /nothing\n" +
				"Host " + hostName + "\n  HostName i-0123456789abcdef0." + hostName + ".invalid\n  HostKeyAlias " + hostName + "\n" +
				"  ProxyCommand " + fmt.Sprintf(joined, address, "%p") + "\n  Port " + port + "\n"
		},
		"an included file, whose condition is a command and whose port is a token": func(w *world, hostName, address, port string) string {
			more := filepath.Join(w.dir, "tunnel-"+hostName)
			w.write("tunnel-"+hostName, "Match originalhost "+hostName+" exec \"test %n = "+hostName+"\"\n  HostName %h.invalid\n  HostKeyAlias "+hostName+
				"\n  Port "+port+"\n  ProxyCommand "+fmt.Sprintf(joined, address, "%p")+"\nMatch all\n")
			return "Include " + more + "\n"
		},
		"a wildcard, by a program that finds the place itself": func(w *world, hostName, address, port string) string {
			file := filepath.Join(w.dir, "places")
			have, err := os.ReadFile(file)
			if err != nil && !os.IsNotExist(err) {
				w.t.Fatal(err)
			}
			w.write("places", string(have)+hostName+" "+address+" "+port+"\n")
			return "Host vm*\n  ProxyCommand bash -c 'set -- $(grep \"^%n \" " + file + "); exec 3<>/dev/tcp/$2/$3; cat <&3 & exec cat >&3'\n" +
				"Match host " + hostName + "\n  HostName " + hostName + ".invalid\n  Port 2222\n  HostKeyAlias " + hostName + "\n"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			file := w.ssh.Config.Files[0]
			have, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			for _, hostName := range []string{"vm1", "vm2", "vm3"} {
				address, port, err := net.SplitHostPort(w.hosts[hostName].Address())
				if err != nil {
					t.Fatal(err)
				}
				text.WriteString(lines(w, hostName, address, port))
				w.replace("["+address+"]:"+port+" ", hostName+" ") // In known_hosts.
			}
			if err := os.WriteFile(file, []byte(text.String()+string(have)), 0o600); err != nil {
				t.Fatal(err)
			}
			w.deploy("v1")
			stdout, _ := w.exits(0, "status")
			if strings.Count(stdout, "yes") < 2 {
				t.Errorf("got\n%s", stdout)
			}
		})
	}
}

func TestDeploy_ReachesHostsByTheWholeOfSSHConfigAndWarnsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := w.ssh.Config.Files[0]
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	more := "Match user git\n  ProxyCommand /nothing\nMatch mood good\n  Port 1\nHost *\n  StrictHostKeyChecking accept-new\n"
	if err := os.WriteFile(file, append([]byte(more), have...), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := w.kstep("server", "exec", "--", "echo", "reached")
	if code != 0 || strings.Count(stdout, "reached") != 3 {
		t.Fatalf("exit status %d: %s%s", code, stdout, stderr)
	}
	for _, part := range []string{file + ":3: Match mood: the condition is unknown", file + ":6: StrictHostKeyChecking accept-new is not followed"} {
		if strings.Count(stderr, part) != 1 {
			t.Errorf("got %q, want %q once", stderr, part)
		}
	}
}
