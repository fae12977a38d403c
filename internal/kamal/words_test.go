package kamal

import (
	"slices"
	"strings"
	"testing"
)

func TestRubyText_IsWhatRubyReads(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"OFF": "false", "no": "false", "Yes": "true", "on": "true", "True": "true", "y": "y", "n": "n",
		"010": "8", "0022": "18", "0": "0", "00": "0", "08": "08", "0x1F": "31", "0b101": "5",
		"10_000": "10000", "1,000": "1000", "-5": "-5", "+7": "7",
		"3.10": "3.1", "1.0": "1.0", "1.": "1.0", ".5": "0.5", "1.2.3": "1.2.3", "1e3": "1e3", "2.5e+3": "2500.0",
		"2222:22": "8000520", "1:30:00": "5400", "80:80": "80:80", "12:30": "45000",
		"": "", "abc": "abc", ".": ".", "99999999999999999999": "99999999999999999999",
	} {
		if got := rubyText(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestReadRuby_UnderstandsThePlainForms(t *testing.T) {
	t.Parallel()
	locals := map[string]expr{"ns": {{name: "NS"}}}
	for code, want := range map[string]string{
		`ENV["X"]`:                               "${X}",
		`ENV['X']`:                               "${X}",
		`ENV.fetch("X")`:                         "${X}",
		`ENV.fetch("X", "d")`:                    "${X:-d}",
		`ENV.fetch('X', 'a b')`:                  "${X:-a b}",
		`ENV.fetch("X", 3)`:                      "${X:-3}",
		`ENV.fetch("X") { "d" }`:                 "${X:-d}",
		`ENV.fetch("X", nil)`:                    "${X:-}",
		`ENV.fetch("X", "")`:                     "${X:-}",
		`ENV["X"] || "d"`:                        "${X:-d}",
		`ENV["X"] || ENV["Y"] || "d"`:            "${X:-${Y:-d}}",
		`ENV.fetch("X", ENV["Y"])`:               "${X:-${Y}}",
		`ENV.fetch("X", ENV.fetch("Y", "z"))`:    "${X:-${Y:-z}}",
		`ENV["X"].strip`:                         "${X}",
		`ENV.fetch("X", "d").to_s.chomp`:         "${X:-d}",
		`(ENV["X"] || "d").to_i`:                 "${X:-d}",
		`"a-#{ENV["X"]}-b"`:                      "a-${X}-b",
		`ENV["X"] + "/b"`:                        "${X}/b",
		`ns`:                                     "${NS}",
		`"cost: $$ ${x}"`:                        "cost: $$$ $${x}",
		`ENV["X"] == "1" ? "a" : "b"`:            "",
		`ENV["X"].split(",")`:                    "",
		`ENV["X"][0, 7]`:                         "",
		`ENV.fetch("X", "{}")`:                   "",
		`File.read("x")`:                         "",
		`unknown`:                                "",
		`"a" if ENV["X"]`:                        "",
		`ENV["X" `:                               "",
		`"a\n"`:                                  "",
		`ENV`:                                    "",
		strings.Repeat("(", 500):                 "",
		strings.Repeat(`ENV["X"] || `, 50) + `1`: "",
	} {
		got := ""
		if f := readRuby(code, locals); f.expr != nil {
			got = f.expr.text()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", code, got, want)
		}
	}
	for code, want := range map[string]string{
		"`date`.strip": "date", "%x(aws ecr get)": "aws ecr get", "%x[a b].chomp": "a b", "`a #{b}`": "", "`a` + `b`": "",
	} {
		if got := readRuby(code, nil).command; got != want {
			t.Errorf("%s: got command %q, want %q", code, got, want)
		}
	}
}

func TestErb_KeepsLineNumbers(t *testing.T) {
	t.Parallel()
	in := "a: 1\n<%# x\n y %>\nb: <%= [\n1\n] %>\nc: <%%= 1\n<% if a %>\nd: 1\n<% else %>\ne: 1\n<% end %>\nf: 1\n"
	got, err := erb(in, "f", 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(got.text, "\n") != strings.Count(in, "\n") {
		t.Errorf("got %d lines, want %d:\n%s", strings.Count(got.text, "\n"), strings.Count(in, "\n"), got.text)
	}
	lines := strings.Split(got.text, "\n")
	for line, want := range map[int]string{1: "a: 1", 7: "c: <%= 1", 9: "d: 1", 11: "", 13: "f: 1"} {
		if lines[line-1] != want {
			t.Errorf("line %d: got %q, want %q", line, lines[line-1], want)
		}
	}
	for _, broken := range []string{"a: <%= x", "a: \ue000"} {
		if _, err := erb(broken, "f", 0, nil); err == nil {
			t.Errorf("%q: got no error", broken)
		}
	}
}

func TestReadMigration_TakesOnlyHooksThatDoNothingElse(t *testing.T) {
	t.Parallel()
	const run = `kamal app exec --version "$KAMAL_VERSION" bin/migrate`
	for script, want := range map[string]string{
		run:                           "bin/migrate",
		"#!/bin/bash\nset -e\n" + run: "bin/migrate",
		"if [ \"$KAMAL_COMMAND\" = rollback ]; then\n  exit 0\nfi\n" + run:               "bin/migrate",
		"[ \"$KAMAL_COMMAND\" = \"deploy\" ] || exit 0\n" + run:                          "bin/migrate",
		"if [[ $KAMAL_COMMAND != 'rollback' ]]; then\n" + run + "\nfi":                   "bin/migrate",
		"bin/kamal app exec -p --version=${KAMAL_VERSION} -d staging 'rails db:migrate'": "rails db:migrate",
		`kamal app exec --version $KAMAL_VERSION "bin/a && bin/b" || exit 1`:             "bin/a && bin/b",
		`kamal app exec --reuse bin/migrate`:                                             "",
		`kamal app exec bin/migrate`:                                                     "",
		run + " | tee log":                                                               "",
		run + "\ncurl https://example.com":                                               "",
		"exit 0\n" + run:                                                                 "",
		"#!/usr/bin/env ruby\n" + run:                                                    "",
		"if [ \"$KAMAL_COMMAND\" != rollback ]; then exit 0; fi; " + run:                 "",
		"echo `date`\n" + run:                                                            "",
		"":                                                                               "",
		"if [ \"$KAMAL_DESTINATION\" = production ]; then\n" + run + "\nfi":              "",
		`kamal app exec --version "$KAMAL_VERSION" -r web,worker bin/x`:                  "",
		`kamal app exec --version "$KAMAL_VERSION" "bin/x $KAMAL_HOSTS"`:                 "",
		"# kamal app exec --version $KAMAL_VERSION bin/no\n" + run + " # once\n" + "echo 'a; b | c' ": "bin/migrate",
	} {
		runs, _, ok := readMigration(script)
		got := ""
		if ok {
			got = runs[0].command
		}
		if got != want {
			t.Errorf("%s\ngot %q, want %q", script, got, want)
		}
	}
}

func TestKstepCommand(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`app exec --interactive --reuse "bin/rails console"`: "app exec -i -- bin/rails console",
		`app exec -i --reuse bash`:                           "app exec -i -- bash",
		`app exec -p -i --reuse 'bin/x a'`:                   "app exec -i -- bin/x a",
		`app exec --primary "bin/x"`:                         "app exec --once -- bin/x",
		`app exec -r job --reuse "ps aux | grep x"`:          "app exec --roles job -- sh -c 'ps aux | grep x'",
		`app logs -f`:                              "app logs -f",
		`app logs -n 100 --grep error`:             "app logs -n 100 --grep error",
		`accessory exec db -i --reuse "psql -U x"`: "accessory exec -i db -- psql -U x",
		`accessory logs db -f`:                     "accessory logs db -f",
		`accessory reboot all`:                     "accessory reboot all",
		`details`:                                  "status",
		`deploy -d staging`:                        "deploy -d staging",
		`server exec uptime`:                       "",
		`app exec`:                                 "",
		`app exec --unknown x`:                     "",
		`app exec "open`:                           "",
		`registry login`:                           "",
	} {
		if got, _ := kstepCommand(in); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

func TestEmit_QuotesWhatWouldBeSomethingElse(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "yes", "Off", "null", "~", "1", "010", "0x1f", "1_000", "1.5", "1e3", ".5", "12:30", "2026-01-01", "- a", "a: b", "a #b", "#a", "a:",
		"{a}", "[a]", "*a", "&a", "!a", "|", ">", "'a", `"a`, "%a", "@a", "`a", "?", " a", "a ", "a\nb", "a\tb", "ü", "\u0085", "=", "<<", "-1", "-", "\x01", "a\\b",
		"192.0.2.1", "${X:-d}", "type=gha,mode=max", "~/.ssh/key", "/a:/b", "1.2.3", "a", "$x", "x'y",
	} {
		tree, err := parseYAML("k: "+quoted(s)+"\n", "f")
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		if n := tree.get("k"); n.kind != scalar || n.text != s || n.plain && (looksTyped.MatchString(s) || s == "") {
			t.Errorf("%q: got %+v from %s", s, n, quoted(s))
		}
	}
	for _, s := range []string{"192.0.2.1", "1.2.3", "${X:-d}", "/a:/b", "a@b"} {
		if quoted(s) != s {
			t.Errorf("%q is quoted without need", s)
		}
	}
}

func TestSegments(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][]string{
		"a.b[0].c":           {"a", "b", "0", "c"},
		`proxy.args["a.b"]`:  {"proxy", "args", "a.b"},
		`x["q\"]"].y`:        {"x", `q"]`, "y"},
		`proxy.args["a`:      {"proxy", "args"},
		"":                   nil,
		"servers.web.hosts":  {"servers", "web", "hosts"},
		"env.clear.A_B":      {"env", "clear", "A_B"},
		"volumes[12]":        {"volumes", "12"},
		"labels[\"a/b.c\"]":  {"labels", "a/b.c"},
		"tasks.migrate.cmd.": {"tasks", "migrate", "cmd"},
	} {
		if got := segments(path); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}
