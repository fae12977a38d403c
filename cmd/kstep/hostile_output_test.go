package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// hostileLines are what a program may print to rule the terminal or the CI
// system of the user who reads it, or to get a secret past the redaction.
var hostileLines = []string{
	"\x1b]0;owned\x07title", "\x1bcreset", "\x1b[2J\x1b[1;1Hcleared", "\x1b[1A\x1b[2Kover the last line", "\x9b31mbytes",
	"\u009b31mcontrol in one character", "\x1bP+q544e\x1b\\device", "\x1b_app\x1b\\command", "back\b\b\b\bspace", "bell\x07",
	"fine\r::error::after a return", "\u202Ereversed", "\x1b(0graphics",
	"::stop-commands::xyz", "  ::add-mask::deploy", "\t::error file=kstep.yml::no", "\x1b[0m::warning::hidden", "\x00::set-output name=a::b",
	"\u00a0::debug::space", "##[error]old", "  ##[add-path]/tmp", "in the ##[group]middle", "#\x1b[0m#[endgroup]",
	"section_start:1:x\r\x1b[0Kgitlab",
	"very\x1b[0msecretprod", "very\x1b]0;x\x07secretprod", "verysecret\x00prod", "very\u009b0msecretprod", "very\x1b(Bsecretprod", "verysec\b\u202dretprod",
	"verysecretprod",
}

// harmless checks what a command printed.
func harmless(t *testing.T, what, ci, text string) {
	t.Helper()
	if at := strings.IndexFunc(text, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == '\u202e' || r == '\u202d'
	}); at >= 0 {
		t.Errorf("%s prints the control character %q: %q", what, text[at], text[max(0, at-20):min(len(text), at+20)])
	}
	if !json.Valid([]byte(strings.SplitN(text, "\n", 2)[0])) && strings.ContainsAny(text, "\x1b") {
		t.Errorf("%s prints an escape sequence", what)
	}
	var values func(any)
	values = func(v any) {
		switch v := v.(type) {
		case string:
			if strings.ContainsAny(v, "\x1b\x07\b\x00\r\u009b\u202e") || strings.Contains(v, "verysecretprod") {
				t.Errorf("%s has %q in its JSON", what, v)
			}
		case []any:
			for _, one := range v {
				values(one)
			}
		case map[string]any:
			for _, one := range v {
				values(one)
			}
		}
	}
	for line := range strings.Lines(text) {
		var v any
		if json.Unmarshal([]byte(line), &v) == nil {
			values(v)
		}
		if ci != "" && (strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[")) {
			t.Errorf("%s gives a command: %q", what, line)
		}
	}
	if strings.Contains(text, "secretprod") || strings.Contains(text, "verysecret") {
		t.Errorf("%s shows the secret:\n%q", what, text)
	}
}

func TestOutput_OfAHostileContainerRulesNeitherTerminalNorCISystem(t *testing.T) {
	t.Parallel()
	for name, variable := range map[string]string{"a terminal": "NOTHING", "GitHub": "GITHUB_ACTIONS", "GitLab": "GITLAB_CI"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure("env: {secret: [TOKEN]}\n")
			w.env["TOKEN"] = "verysecretprod"
			w.behave("v1", hosttest.Behaviour{Log: hostileLines})
			w.deploy("v1")
			ci := w.env[variable]
			w.env[variable] = "true"
			if variable != "NOTHING" {
				ci = name
			}
			w.write("hostile", strings.Join(hostileLines, "\n")+"\n") // The fake container's programs see it.
			print := "cat " + filepath.Join(w.dir, "hostile")
			for _, args := range [][]string{
				{"app", "logs"},
				{"app", "logs", "--timestamps", "--roles", "web", "--hosts", "vm1"},
				{"app", "exec", "--roles", "web", "--", "sh", "-c", print},
				{"app", "exec", "--once", "--", "sh", "-c", print},
				{"app", "exec", "--once", "--", "sh", "-c", "(" + print + ") >&2"},
				{"app", "exec", "--once", "-i", "--", "sh", "-c", print},
			} {
				w.stdin = strings.NewReader("")
				what := strings.Join(args[:2], " ")
				stdout, stderr := w.exits(exit.OK, args...)
				if !strings.Contains(stdout+stderr, "title") || !strings.Contains(stdout+stderr, "[REDACTED]") {
					t.Errorf("%s shows too little:\n%q\n%q", what, stdout, stderr)
				}
				harmless(t, what, ci, stdout)
				if ci == "" {
					harmless(t, what, ci, stderr)
				}
				if slices.Contains(args, "-i") {
					continue // It has no JSON.
				}
				stdout, _ = w.exits(exit.OK, append([]string{"--output", "json"}, args...)...)
				harmless(t, what+" as JSON", ci, stdout)
			}
		})
	}
}

func TestOutput_OfWhatOthersLeftOnHostsAndInFilesIsHarmless(t *testing.T) {
	t.Parallel()
	for _, variable := range []string{"NOTHING", "GITHUB_ACTIONS"} {
		w := newWorld(t)
		w.configure("env: {secret: [TOKEN]}\n")
		w.env["TOKEN"] = "verysecretprod"
		w.deploy("v1")
		w.env[variable] = "true"
		ci := strings.TrimPrefix(variable, "NOTHING")
		message := "fine\n" + strings.Join(hostileLines, "\n")
		w.exits(exit.OK, "lock", "acquire", "--message", strings.ReplaceAll(message, "\x00", ""))
		w.env["GITHUB_ACTOR"], w.env["USER"] = message, message
		image := w.image("v2")
		for _, args := range [][]string{
			{"status"}, {"lock", "status"}, {"plan", "--image", image, "--version", "v2"}, {"audit"}, {"releases"}, {"state", "show"}, {"app", "details"},
		} {
			for _, format := range []string{"text", "json"} {
				_, stdout, stderr := w.kstep(append([]string{"--output", format}, args...)...)
				if stdout == "" {
					t.Errorf("%q prints nothing: %s", args, stderr)
				}
				harmless(t, strings.Join(args, " ")+" in "+format, ci, stdout)
			}
		}
	}
}

func TestOutput_OfAStateFileThatOthersWroteIsHarmless(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	file := filepath.Join(w.dir, "kstep-state", "boot.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	hostile := strings.NewReplacer(`"v1"`, `"v1\u001b[2J\r::error::x"`, `"vm1"`, `"vm1\n::stop-commands::x\u009b2J"`).Replace(string(data))
	if err := os.WriteFile(file, []byte(hostile), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env["GITHUB_ACTIONS"] = "true"
	for _, args := range [][]string{{"state", "show"}, {"state", "verify"}, {"report"}, {"report", "--format", "markdown"}, {"cutover"}} {
		for _, format := range []string{"text", "json"} {
			_, stdout, _ := w.kstep(append([]string{"--output", format}, args...)...)
			harmless(t, args[0], "github", stdout)
		}
	}
}

func TestOutput_OfErrorsBeforeThereIsASessionIsHarmless(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, args := range [][]string{
		{"\x1b]0;owned\x07::error::x"}, {"deploy", "--plan", "no\x1b[2J\n::error::such"}, {"app", "logs", "--grep", "(\x1b[2J\n::stop-commands::x"},
		{"status", "--config", "no\r\x1b[2J\n::warning::such.yml"}, {"matrix", "--by", "\n::error::\u009b2J"},
	} {
		for _, ci := range []string{"", "github"} {
			w.env["GITHUB_ACTIONS"] = map[string]string{"github": "true"}[ci]
			code, stdout, stderr := w.kstep(args...)
			if code == exit.OK {
				t.Errorf("%q is accepted", args)
			}
			harmless(t, "stdout", ci, stdout)
			for line := range strings.Lines(stderr) { // The report annotates with commands of its own.
				if !strings.HasPrefix(line, "::error title=") && !strings.HasPrefix(line, "::error file=") {
					harmless(t, strings.Join(args, " "), ci, line)
				}
			}
		}
	}
}

func TestExec_LeavesADumpInAFileAsItIsButForSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {secret: [TOKEN]}\n")
	w.env["TOKEN"] = "verysecretprod"
	w.deploy("v1")
	w.env["GITHUB_ACTIONS"] = "true"
	dump, err := os.Create(filepath.Join(t.TempDir(), "dump"))
	if err != nil {
		t.Fatal(err)
	}
	defer dump.Close()
	if code := w.run(t.Context(), dump, os.Stderr, "app", "exec", "--once", "--", "sh", "-c", `printf '::int\r\n\001\377\033[x verysecretprod'`); code != exit.OK {
		t.Fatalf("it ends with %d", code)
	}
	got, err := os.ReadFile(dump.Name())
	if want := "::int\r\n\x01\xff\x1b[x [REDACTED]"; err != nil || string(got) != want {
		t.Errorf("the file has %q, want %q (%v)", got, want, err)
	}
}
