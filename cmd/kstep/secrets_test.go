package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/hook/hooktest"
)

// vault makes a password manager's program: it prints what it has for its
// argument, and records each call.
func (w *world) vault() (program string, asked func() string) {
	w.t.Helper()
	dir := w.t.TempDir()
	program = filepath.Join(dir, "vault")
	script := `#!/bin/sh
echo "$1" >>"` + dir + `/asked"
case $1 in
locked) echo "the vault is locked" >&2; exit 1 ;;
empty) ;;
*) printf 'vaulted\n%s\n' "$1" ;;
esac
`
	hooktest.Program(w.t, program, script)
	return program, func() string {
		data, err := os.ReadFile(filepath.Join(dir, "asked"))
		if err != nil && !os.IsNotExist(err) {
			w.t.Fatal(err)
		}
		return string(data)
	}
}

func TestSecrets_OfACommandReachTheHostsAndOnlyEnvPushAsksForThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	vault, asked := w.vault()
	w.configure("env: {secret: [TOKEN]}\nsecrets: {commands: {TOKEN: [" + vault + ", token]}}\n")
	w.pushed("v1")
	var said string
	for _, stage := range []string{"assets", "env-push", "boot", "barrier-wait", "cutover", "prune"} {
		stdout, stderr := w.exits(exit.OK, stage)
		said += stdout + stderr
		if (asked() != "") != (stage != "assets") {
			t.Errorf("after %s the vault was asked %q", stage, asked())
		}
	}
	if asked() != "token\n" {
		t.Errorf("the vault was asked %q, want once", asked())
	}
	if got := w.envOf("vm1", "shop", "web")["TOKEN"]; got != "vaulted\ntoken" {
		t.Errorf("vm1 has %q", got)
	}
	if strings.Contains(said, "vaulted") {
		t.Errorf("the secret is in the output:\n%s", said)
	}
}

func TestSecrets_OfACommandThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	vault, _ := w.vault()
	w.configure("env: {secret: [TOKEN]}\nsecrets: {commands: {TOKEN: [" + vault + ", locked]}}\n")
	_, stderr := w.exits(exit.Config, "env", "push")
	for _, want := range []string{"the vault is locked", "secret TOKEN: run " + vault + ": exit status 1"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the output does not tell %q:\n%s", want, stderr)
		}
	}
	if w.envOf("vm1", "shop", "web") != nil {
		t.Error("an env file was written")
	}
}

func TestSecretsList_TellsHowItStandsWithEachAndNeverAValue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	vault, asked := w.vault()
	w.configure(`env:
  secret: [FROM_ENV, DB:FROM_FILE, GONE, BLANK, MAY_BE_BLANK]
  tags: {eu: {secret: [FROM_VAULT]}}
secrets:
  commands: {FROM_VAULT: [` + vault + `, token], FROM_ENV: [` + vault + `, never]}
  allow_empty: [MAY_BE_BLANK]
`)
	w.write(".env", "FROM_FILE='filed s3cr3t'\n")
	w.env["FROM_ENV"], w.env["BLANK"], w.env["MAY_BE_BLANK"] = "env s3cr3t", "", ""
	stdout, stderr := w.exits(exit.OK, "secrets", "list")
	env := filepath.Join(w.dir, ".env")
	for _, want := range []string{
		"BLANK empty the environment env.secret[3]",
		"FROM_ENV there the environment env.secret[0]",
		"FROM_FILE there " + env + " env.secret[1]",
		"FROM_VAULT not checked command " + vault + " env.tags.eu.secret[0]",
		"GONE missing - env.secret[2]",
		"MAY_BE_BLANK there the environment env.secret[4]",
	} {
		if !strings.Contains(squeezed(stdout), want+"\n") {
			t.Errorf("no line %q in\n%s", want, stdout)
		}
	}
	if asked() != "" {
		t.Errorf("the vault was asked %q without --check", asked())
	}
	checked, complaints := w.exits(exit.Config, "secrets", "list", "--check")
	if !strings.Contains(squeezed(checked), "FROM_VAULT there command "+vault) || asked() != "token\n" {
		t.Errorf("the vault was asked %q, and it stands so:\n%s", asked(), checked)
	}
	for _, want := range []string{"secret GONE is missing", "secret BLANK is empty"} {
		if !strings.Contains(complaints, want) {
			t.Errorf("it does not tell %q:\n%s", want, complaints)
		}
	}
	for _, value := range []string{"s3cr3t", "vaulted"} {
		if strings.Contains(stdout+stderr+checked+complaints, value) {
			t.Errorf("%s is in the output", value)
		}
	}
	w.env["GONE"], w.env["BLANK"] = "1", "1"
	w.exits(exit.OK, "secrets", "list", "--check")
	stdout, _ = w.exits(exit.OK, "secrets", "list", "--output", "json")
	if !strings.Contains(stdout, `{"name":"FROM_FILE","usedBy":["env.secret[1]"],"source":"`+env+`","state":"there"}`) {
		t.Errorf("got %s", stdout)
	}
}

// squeezed has one blank where there are several.
func squeezed(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestSecrets_ThatMayBeEmptyReachTheHostsEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {secret: [TOKEN]}\n")
	w.env["TOKEN"] = ""
	_, stderr := w.exits(exit.Config, "env", "push")
	if !strings.Contains(stderr, "secret TOKEN is empty in the environment") || !strings.Contains(stderr, "secrets.allow_empty") {
		t.Errorf("it does not tell what to do:\n%s", stderr)
	}
	w.configure("env: {secret: [TOKEN]}\nsecrets: {allow_empty: [TOKEN]}\n")
	w.exits(exit.OK, "env", "push")
	if value, there := w.envOf("vm1", "shop", "web")["TOKEN"]; !there || value != "" {
		t.Errorf("got %q, %v, want it there and empty", value, there)
	}
}

func TestBoot_NeedsNoSecretAndPassesOnWhatEnvPushLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {secret: [TOKEN]}\n")
	w.env["TOKEN"] = "of two\nlines"
	w.pushed("v1")
	w.exits(exit.OK, "assets")
	w.exits(exit.OK, "env-push")
	delete(w.env, "TOKEN")
	for _, stage := range []string{"boot", "barrier-wait", "cutover", "prune"} {
		w.exits(exit.OK, stage)
	}
	w.serves("v1")
}
