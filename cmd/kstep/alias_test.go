package main

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestAliases_RunWhatTheyStandForWithWhatFollowsAppended(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append("aliases:\n  say: app exec --roles web --hosts vm1 -- /bin/echo said\n  now: [kstep, status]\n  words: [version]\n")
	w.deploy("v1")
	stdout, _ := w.exits(exit.OK, "now")
	want, _ := w.exits(exit.OK, "status")
	if !strings.Contains(stdout, "v1") || len(strings.Split(stdout, "\n")) != len(strings.Split(want, "\n")) {
		t.Errorf("the alias of status prints\n%s\nwant\n%s", stdout, want)
	}
	stdout, _ = w.exits(exit.OK, "words", "--output", "json")
	if !strings.HasPrefix(stdout, "{") {
		t.Errorf("a flag behind the alias is not appended: %s", stdout)
	}
	stdout, _ = w.exits(exit.OK, "--help")
	for _, want := range []string{"say", "Alias of the configuration: app exec --roles web"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("--help does not list %q:\n%s", want, stdout)
		}
	}
}

func TestAliases_HideNoCommandAndNoMistake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append("aliases: {deploy: app logs}\n")
	_, stderr := w.exits(exit.Config, "config", "validate")
	if !strings.Contains(stderr, "aliases.deploy: is the name of a command of kstep") {
		t.Errorf("got\n%s", stderr)
	}
	w.replace("aliases: {deploy: app logs}", "aliases: {Bad Name: app logs}")
	w.exits(exit.Config, "config", "validate")
	w.replace("aliases: {Bad Name: app logs}", "aliases: {mine: nonsense}")
	_, stderr = w.exits(exit.Usage, "mine")
	if !strings.Contains(stderr, "nonsense") {
		t.Errorf("an alias of something that is not there says\n%s", stderr)
	}
	_, stderr = w.exits(exit.Usage, "deplo")
	if !strings.Contains(stderr, "did you mean kstep deploy") {
		t.Errorf("a typing error says\n%s", stderr)
	}
}
