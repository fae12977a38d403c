package main

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestCommands_OfKamalHaveAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for command, want := range map[string]string{
		"app boot": "kstep app restart", "app boot --version v2": "kstep deploy", "app --roles web boot": "kstep app restart",
		"app remove -y": "kstep remove", "registry login": "keeps it on no host", "registry logout --skip-local": "keeps it on no host",
		"--roles web registry login": "keeps it on no host", "registry": "keeps it on no host",
		"build push": "kstep push", "prune all": "kstep prune", "secrets print": "kstep secrets list --check", "app stale_containers": "kstep app stale-containers",
		// Mistakes of other kinds keep their own hints.
		"app nonsense": "kstep app --help", "proxi boot": "did you mean kstep proxy?", "detials": "did you mean kstep details?",
	} {
		_, stderr := w.exits(exit.Usage, strings.Fields(command)...)
		if !strings.Contains(stderr, want) {
			t.Errorf("%s: the output lacks %q:\n%s", command, want, stderr)
		}
	}
}

func TestCommands_HaveTheNamesOfKamalToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	for alias, name := range map[string]string{"details": "status", "traefik details": "proxy details"} {
		got, _ := w.exits(exit.OK, strings.Fields(alias)...)
		want, _ := w.exits(exit.OK, strings.Fields(name)...)
		if got != want || !strings.Contains(got, "vm1") {
			t.Errorf("%s prints\n%s\n%s prints\n%s", alias, got, name, want)
		}
	}
	if stdout, _ := w.exits(exit.OK, "traefik", "--help"); !strings.Contains(stdout, "reboot") {
		t.Errorf("traefik --help prints\n%s", stdout)
	}
	w.append("aliases: {details: app logs}\n")
	if _, stderr := w.exits(exit.Config, "details"); !strings.Contains(stderr, "is the name of a command of kstep") {
		t.Errorf("an alias in the place of a command: got\n%s", stderr)
	}
}
