package sshconfig

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolve_AgreesWithOpenSSHOnGeneratedFiles(t *testing.T) {
	t.Parallel()
	old := !supports(t, 10)
	for seed := range uint64(250) {
		r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // The files are to be the same ones in each run.
		g := generator{Rand: r, dir: t.TempDir(), old: old}
		text := g.file(2)
		for range 1 + g.IntN(4)/3 {
			to := Destination{Host: g.pick(g.hosts()...)}
			if g.IntN(4) == 0 {
				to.User = g.pick("a", "root", "git")
			}
			compare(t, text, to)
		}
		if t.Failed() {
			for n := range g.files {
				part, _ := os.ReadFile(filepath.Join(g.dir, fmt.Sprintf("part-%d", n+1)))
				t.Logf("part-%d:\n%s", n+1, part)
			}
			t.Fatalf("seed %d", seed)
		}
	}
}

// generator writes ssh_config files that OpenSSH accepts.
type generator struct {
	*rand.Rand
	dir   string
	files int
	old   bool // The ssh program lacks what came with version 10.
}

func (g *generator) pick(of ...string) string { return of[g.IntN(len(of))] }

func (g *generator) hosts() []string {
	return []string{"vm1", "vm2", "VM1", "db.example.com", "192.0.2.7"}
}

func (g *generator) pattern() string {
	return g.pick("", "", "!") + g.pick("vm1", "vm2", "vm?", "*", "*.example.com", "db*", "192.0.2.*", "x.example", "VM1")
}

// file writes lines and blocks; depth bounds what it includes.
func (g *generator) file(depth int) string {
	var b strings.Builder
	for range 3 + g.IntN(8) {
		switch g.IntN(5) {
		case 0:
			b.WriteString(g.pick("Host ", "host\t", "HOST=") + g.pattern() + g.pick("", " "+g.pattern(), " # "+g.pattern()))
		case 1:
			b.WriteString("Match " + g.criteria())
		case 2:
			if depth > 0 {
				b.WriteString("Include " + g.include(depth-1))
				break
			}
			fallthrough
		default:
			b.WriteString(g.pick("", "  ", "\t") + g.setting())
		}
		b.WriteString(g.pick("\n", "\n", " \n", "\r\n"))
	}
	return b.String()
}

func (g *generator) include(depth int) string {
	g.files++
	name := filepath.Join(g.dir, fmt.Sprintf("part-%d", g.files))
	if err := os.WriteFile(name, []byte(g.file(depth)), 0o600); err != nil {
		return name // The comparison will show it.
	}
	return g.pick(name, name, `"`+name+`"`, name+" "+name)
}

func (g *generator) criteria() string {
	if g.IntN(6) == 0 {
		return g.pick("all", "final all", "canonical all", "!all")
	}
	var all []string
	for range 1 + g.IntN(2) {
		not := g.pick("", "", "!")
		network := "localnetwork " + g.pick("127.0.0.0/8", "192.0.2.0/24,::1/128")
		if g.old {
			network = "host *"
		}
		last := not + "final"
		if g.old {
			last = "final" // Negated, it would request the final pass, too.
		}
		all = append(all, g.pick(last, not+g.pick(
			"host "+g.pattern(), "host "+g.pattern()+","+g.pattern(), "originalhost "+g.pattern(),
			"user "+g.pick("a", "root", "git", "r*", "!a,*"), "localuser "+g.pick("root", "*", "none"),
			"canonical", `exec "`+g.pick("true", "false", "test %n = vm1", "test %r = a")+`"`,
			network,
		)))
	}
	return strings.Join(all, " ")
}

func (g *generator) setting() string {
	return g.pick(
		"User "+g.pick("a", "b", `"c d"`), "Port "+g.pick("22", "2222", "ssh"),
		"HostName "+g.pick("x.example", "%h.example.com", "192.0.2.9", "UPPER.example"),
		"HostKeyAlias "+g.pick("one", "two"), "IdentityFile "+g.pick("/k1", "~/.ssh/k2", "/%h-%r", `"/a b"`),
		"IdentitiesOnly "+g.pick("yes", "no", "true"), "IdentityAgent "+g.pick("/agent", "~/agent-%n", "none"),
		"CertificateFile /c-%p", "UserKnownHostsFile "+g.pick("/kh", "~/kh ~/kh2", "/%k-%u"),
		"ProxyJump "+g.pick("gate", "none", "u@gate:23", "a,b"), "ProxyCommand "+g.pick("nc %h %p", "none", `sh -c "x 'y'"`),
		"ConnectTimeout "+g.pick("5", "1m", "none"), "ServerAliveInterval "+g.pick("0", "15", "1h"),
		"ServerAliveCountMax 4", "ConnectionAttempts "+g.pick("1", "3"), "AddressFamily "+g.pick("inet", "any"),
		"StrictHostKeyChecking "+g.pick("yes", "no", "accept-new", "off", "ask"), "BindAddress 192.0.2.2",
		"CanonicalizeHostname "+g.pick("no", "yes"), "ForwardAgent yes", "LogLevel ERROR",
	)
}
