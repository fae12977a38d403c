package secret

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kstep/kstep/internal/exit"
)

const password = `p@ss/"word"+&<7>`

func envOf(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

// knowing is a store that has given out one secret.
func knowing(t *testing.T, value string) *Store {
	t.Helper()
	s := NewStore(Options{Env: envOf(map[string]string{"PASSWORD": value}), Dir: t.TempDir()})
	if _, err := s.Get("PASSWORD"); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestValue_PrintsRedactedEverywhere(t *testing.T) {
	v := NewValue(password)
	holder := struct{ V Value }{v}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v, "holder", holder)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v, "holder", holder)
	data, err := json.Marshal(map[string]any{"v": v, "holder": holder, "list": []Value{v}})
	if err != nil {
		t.Fatal(err)
	}
	out := log.String() + string(data)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		out += fmt.Sprintf(verb+verb, v, &v) + fmt.Sprintf(verb, holder)
	}
	if strings.Contains(out, "word") || strings.Contains(out, fmt.Sprintf("%x", password)) || !strings.Contains(out, Redacted) {
		t.Errorf("got %s", out)
	}
	if v.Reveal() != password {
		t.Errorf("reveal: got %q", v.Reveal())
	}
}

func TestGet_LooksInTheEnvironmentThenTheDestinationsFileThenDotenv(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		".env":         "A=env\nB=env\nC='e n$V'\nMULTI=\"one\ntwo\"\n",
		".env.staging": "A=staging\nB=staging\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := NewStore(Options{Env: envOf(map[string]string{"A": "process"}), Dir: dir, Destination: "staging"})
	for name, want := range map[string]string{"A": "process", "B": "staging", "C": "e n$V", "MULTI": "one\ntwo"} {
		if v, err := s.Get(name); err != nil || v.Reveal() != want {
			t.Errorf("%s: got %q (%v), want %q", name, v.Reveal(), err, want)
		}
	}
	where, err := s.Look("B")
	if err != nil || where != filepath.Join(dir, ".env.staging") {
		t.Errorf("look: got %q (%v)", where, err)
	}
	if where, err := s.Look("NOPE"); where != "" || !errors.Is(err, ErrMissing) {
		t.Errorf("look at a missing one: got %q (%v)", where, err)
	}
}

func TestGet_SaysWhereItLookedForAMissingSecret(t *testing.T) {
	s := NewStore(Options{Env: envOf(nil), Dir: "conf", Destination: "staging"})
	_, err := s.Get("DB_PASSWORD")
	if exit.CodeOf(err) != exit.Config || !errors.Is(err, ErrMissing) {
		t.Errorf("got %v with code %d, want ErrMissing with %d", err, exit.CodeOf(err), exit.Config)
	}
	text := err.Error() + strings.Join(exit.Hints(err), "")
	for _, want := range []string{"DB_PASSWORD is missing", "the environment", "conf/.env.staging", "conf/.env", "DB_PASSWORD='"} {
		if !strings.Contains(text, want) {
			t.Errorf("got %q, want it to contain %q", text, want)
		}
	}
}

func TestGet_RefusesAnEmptySecretUnlessAllowed(t *testing.T) {
	s := NewStore(Options{Env: envOf(map[string]string{"EMPTY": ""})})
	if _, err := s.Get("EMPTY"); exit.CodeOf(err) != exit.Config || !strings.Contains(err.Error(), "EMPTY is empty") {
		t.Errorf("got %v", err)
	}
	if v, err := s.Get("EMPTY", AllowEmpty); err != nil || !v.IsEmpty() {
		t.Errorf("allowed: got %v", err)
	}
	s = NewStore(Options{Env: envOf(map[string]string{"EMPTY": "", "OTHER": ""}), AllowEmpty: []string{"EMPTY"}})
	if _, err := s.Get("EMPTY"); err != nil {
		t.Errorf("allowed by name: got %v", err)
	}
	if _, err := s.Get("OTHER"); !errors.Is(err, ErrEmpty) {
		t.Errorf("another one: got %v, want ErrEmpty", err)
	}
}

func TestGet_RunsACommandOnceAndOnlyForWhatIsNowhereElse(t *testing.T) {
	var ran [][]string
	s := NewStore(Options{
		Env: envOf(map[string]string{"A": "from the environment"}), Dir: t.TempDir(),
		Commands: map[string][]string{"A": {"never"}, "B": {"show", "b"}, "C": {"fail"}},
		Run: func(argv []string) (string, error) {
			ran = append(ran, argv)
			if argv[0] == "fail" {
				return "", exit.With(exit.Deadline, errors.New("run fail: stopped"), "unlock it")
			}
			return "from " + strings.Join(argv, " "), nil
		},
	})
	if _, err := s.Get("B", OnHand); !errors.Is(err, ErrMissing) || len(ran) > 0 {
		t.Errorf("got %v and commands %v, want it missing and none run", err, ran)
	}
	for name, want := range map[string]string{"A": "from the environment", "B": "from show b"} {
		for range 2 {
			if v, err := s.Get(name); err != nil || v.Reveal() != want {
				t.Errorf("%s: got %q (%v), want %q", name, v.Reveal(), err, want)
			}
		}
	}
	if len(ran) != 1 {
		t.Errorf("ran %v, want one command once", ran)
	}
	_, err := s.Get("C")
	if exit.CodeOf(err) != exit.Deadline || err.Error() != "secret C: run fail: stopped" || len(exit.Hints(err)) != 1 {
		t.Errorf("got %v with hints %v", err, exit.Hints(err))
	}
}

func TestCommands_ShowComplaintsButNeverOutput(t *testing.T) {
	var complaints strings.Builder
	c := Commands{Dir: t.TempDir(), Stderr: &complaints}
	script := func(text string) []string { return []string{"sh", "-c", text, "secret-argument"} }
	if got, err := c.Output(t.Context(), script(`pwd >&2; printf ' two\nlines\n\r\n'`)); err != nil || got != " two\nlines\n" {
		t.Errorf("got %q (%v)", got, err)
	}
	if !strings.Contains(complaints.String(), c.Dir) {
		t.Errorf("it complained %q, want its folder %s", complaints.String(), c.Dir)
	}
	for text, want := range map[string]string{
		`echo s3cr3t; echo locked >&2; exit 3`: "run sh: exit status 3",
		`head -c 1048577 /dev/zero`:            "run sh: it printed more than",
	} {
		_, err := c.Output(t.Context(), script(text))
		if exit.CodeOf(err) != exit.Config || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
		for _, leak := range []string{"s3cr3t", "secret-argument"} {
			if err != nil && strings.Contains(err.Error(), leak) {
				t.Errorf("the error repeats %s: %v", leak, err)
			}
		}
	}
	if _, err := c.Output(t.Context(), []string{"no-such-program"}); err == nil || !strings.Contains(err.Error(), "there is no such program") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	if _, err := c.Output(ctx, script("sleep 60")); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("got %v", err)
	}
}

func TestGet_ReportsABrokenDotenvByLineWithoutQuotingIt(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"a line without a name":      {"A=1\n# c\nhunter2 hunter2\n", "line 3"},
		"an open quote":              {"A=1\nB=\"hunter2\nC=3\n", "line 2"},
		"an unknown variable":        {"A=hunter2$WORD\n", "A has a $"},
		"an unknown one, in a brace": {"A=\"hunter2${WORD}\"\n", "A has a $"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := NewStore(Options{Dir: dir}).Get("A")
			if exit.CodeOf(err) != exit.Config || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want it to contain %q and no value", err, tc.want)
			}
		})
	}
}

func TestDotenv_ResolvesVariablesOfTheFileAndKeepsEscapedDollars(t *testing.T) {
	dir := t.TempDir()
	text := "HOST=db\nURL=\"postgres://$HOST/x\"\nESC=\"a\\$B\"\nSINGLE='$NOT'\nODD=pa$$word\n"
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewStore(Options{Dir: dir})
	for name, want := range map[string]string{"URL": "postgres://db/x", "ESC": "a$B", "SINGLE": "$NOT", "ODD": "pa$$word"} {
		if v, err := s.Get(name); err != nil || v.Reveal() != want {
			t.Errorf("%s: got %q (%v), want %q", name, v.Reveal(), err, want)
		}
	}
}

func TestRedact_MasksEveryForm(t *testing.T) {
	s := knowing(t, password)
	asJSON, _ := json.Marshal("x" + password + "y")
	texts := map[string]string{
		"raw":              "a " + password + " b",
		"json":             string(asJSON),
		"quoted":           fmt.Sprintf("%q", "x"+password),
		"query":            "?p=" + url.QueryEscape(password) + "&q=1",
		"path":             "/" + url.PathEscape(password) + "/",
		"lower case query": strings.ToLower("?p=") + lowerEscapes(url.QueryEscape(password)),
	}
	for offset := range 3 {
		user := strings.Repeat("u", offset)
		texts[fmt.Sprintf("base64 after %d bytes", offset)] = base64.StdEncoding.EncodeToString([]byte(user + password + "tail"))
		texts[fmt.Sprintf("url base64 after %d bytes", offset)] = base64.URLEncoding.EncodeToString([]byte(user + password + "tail"))
	}
	for name, text := range texts {
		got := s.Redact(text)
		if !strings.Contains(got, Redacted) || strings.Contains(got, "word") {
			t.Errorf("%s: got %q from %q", name, got, text)
		}
		if err := s.Scan([]byte(text)); err == nil || !strings.Contains(err.Error(), "PASSWORD") || strings.Contains(err.Error(), "word") {
			t.Errorf("%s: scan got %v, want an error with only the name", name, err)
		}
	}
}

func TestRedact_MasksLinesOfAMultiLineSecret(t *testing.T) {
	s := knowing(t, "first line\n  second line\nab\nthird line\n")
	got := s.Redact("[vm1] second line\nthird line, ab, first line\\n")
	if want := "[vm1] [REDACTED]\n[REDACTED], ab, [REDACTED]\\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRedact_LeavesShortValuesAndOtherTextAlone(t *testing.T) {
	s := knowing(t, "abc")
	if got := s.Redact("abc abcd"); got != "abc abcd" {
		t.Errorf("got %q", got)
	}
	if err := knowing(t, "12345").Scan([]byte("sha256:12345")); err != nil {
		t.Errorf("scan: %v", err)
	}
}

func TestRedact_CoversOverlappingSecretsWithoutARest(t *testing.T) {
	s := NewStore(Options{})
	s.Add("A", NewValue("abcdef"))
	s.Add("B", NewValue("defghi"))
	s.Add("C", NewValue("abcd"))
	if got := s.Redact("1abcdefghi2abcd3"); got != "1[REDACTED]2[REDACTED]3" {
		t.Errorf("got %q", got)
	}
}

func TestRedact_MasksTheBeginningOfASecretWhereATextWasCut(t *testing.T) {
	s := NewStore(Options{})
	s.Add("A", NewValue("correct horse battery"))
	s.Add("B", NewValue("correct hor"))
	s.Add("C", NewValue("s3cr3t&value"))
	for text, want := range map[string]string{
		"the key is correct horse bat…\x1b[0m\nnext":           "the key is [REDACTED]…\x1b[0m\nnext",
		"the key is corr…":                                     "the key is [REDACTED]…",
		"the key is cor…":                                      "the key is cor…", // As short as values that are not masked.
		"the key is correct hats…":                             "the key is correct hats…",
		"a correct…, a correct horse, and a correct horse ba…": "a [REDACTED]…, a [REDACTED]se, and a [REDACTED]…",
		"in JSON: s3cr3t\\u0026val…":                           "in JSON: [REDACTED]…",
		"\xe2\x80 correct \xe2\x80":                            "\xe2\x80 correct \xe2\x80",
	} {
		if got := s.Redact(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
		for size := 1; size < 8; size++ {
			var out bytes.Buffer
			w := s.Redactor(&out)
			for part := range slices.Chunk([]byte(text), size) {
				if _, err := w.Write(part); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if out.String() != want {
				t.Errorf("%q in pieces of %d: got %q, want %q", text, size, out.String(), want)
			}
		}
	}
}

func TestIdentifier_IsNeitherMaskedNorScannedFor(t *testing.T) {
	s := NewStore(Options{Env: envOf(map[string]string{"REGISTRY_USER": "acme-corp"})})
	user, err := s.Identifier("REGISTRY_USER")
	if err != nil || user != "acme-corp" {
		t.Fatalf("got %q (%v)", user, err)
	}
	if got := s.Redact("ghcr.io/acme-corp/shop"); got != "ghcr.io/acme-corp/shop" || s.Scan([]byte(got)) != nil {
		t.Errorf("got %q", got)
	}
}

func TestAdd_KeepsBothValuesOfOneNameSecretAndTellsTheMasker(t *testing.T) {
	var told []string
	s := NewStore(Options{OnReveal: func(v Value) { told = append(told, v.Reveal()) }})
	for _, v := range []string{"token-one", "token-two", "token-one", ""} {
		s.Add("TOKEN", NewValue(v))
	}
	if got := s.Redact("token-one token-two"); got != "[REDACTED] [REDACTED]" {
		t.Errorf("got %q", got)
	}
	if len(told) != 2 {
		t.Errorf("told: got %v, want two", told)
	}
}

func TestRedactor_CatchesASecretSplitOverWrites(t *testing.T) {
	s := knowing(t, password)
	text := "before " + password + " after p@ss/ end"
	want := "before [REDACTED] after p@ss/ end"
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		w := s.Redactor(&out)
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("in pieces of %d: got %q, want %q", size, out.String(), want)
		}
	}
}

func TestRedactor_DoesNotDelayWholeLines(t *testing.T) {
	var out bytes.Buffer
	w := knowing(t, password).Redactor(&out)
	fmt.Fprintln(w, "started p@s")
	if out.String() != "started p@s\n" {
		t.Errorf("got %q", out.String())
	}
}

func TestRedactor_LearnsSecretsWhileItRuns(t *testing.T) {
	s := NewStore(Options{})
	var out bytes.Buffer
	w := s.Redactor(&out)
	fmt.Fprint(w, "later-secret ")
	s.Add("LATER", NewValue("later-secret"))
	fmt.Fprint(w, "later-secret")
	_ = w.Close()
	if out.String() != "later-secret [REDACTED]" {
		t.Errorf("got %q", out.String())
	}
}

func FuzzRedactor(f *testing.F) {
	f.Add("hunter2!", "user:", "@host", uint8(3))
	f.Add("aaaa", "aaa", "aaaaa", uint8(1))
	f.Add("line one\nline two", "x", "\n", uint8(5))
	f.Add("abcabcabd", "abcabc", "abd", uint8(4))
	f.Fuzz(func(t *testing.T, value, before, after string, size uint8) {
		if len(value) < MinMasked || strings.ContainsAny(value, Redacted) {
			t.Skip() // Too short to be masked, or mixed up with the placeholder.
		}
		s := NewStore(Options{})
		s.Add("X", NewValue(value))
		var out bytes.Buffer
		w := s.Redactor(&out)
		for rest := before + value + after; rest != ""; {
			n := min(int(size)+1, len(rest))
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), value) {
			t.Errorf("got %q, which holds %q", out.String(), value)
		}
		if whole := s.Redact(before + value + after); whole != out.String() {
			t.Errorf("in pieces %q, as a whole %q", out.String(), whole)
		}
	})
}

func BenchmarkRedactor(b *testing.B) {
	s := NewStore(Options{})
	for i := range 50 {
		s.Add(fmt.Sprintf("S%d", i), NewValue(fmt.Sprintf("value-%d-%s", i, strings.Repeat("k", i))))
	}
	line := []byte(strings.Repeat("[vm1 web] started container shop-web-abc1234 value of v\n", 20))
	w := s.Redactor(discard{})
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = w.Write(line)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func FuzzFormatDotenv_IsReadBackAsItWas(f *testing.F) {
	for _, value := range []string{"", " ", "it's", `"`, `\`, `it's a \`, `it's "`, "a\r\nb", "$HOME", `\$`, `\\n`, "# no", "'", "\x85", `it's """`, `'\"\`} {
		f.Add(value, value+"2")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		text, err := FormatDotenv(map[string]string{"A": a, "B": b})
		if strings.ContainsRune(a+b, 0) {
			return
		}
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			if err == nil || !strings.Contains(err.Error(), "UTF-8") {
				t.Errorf("%q, %q: got %q, %v, want an error that names UTF-8", a, b, text, err)
			}
			return
		}
		if err != nil {
			t.Fatalf("%q, %q: %v", a, b, err)
		}
		got, err := ParseDotenv([]byte(text), "test")
		if err != nil || got["A"] != a || got["B"] != b {
			t.Errorf("%q, %q: got %q (%v) from %q", a, b, got, err, text)
		}
	})
}

func TestParseDotenv_ReadsAByteOrderMark(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"\ufeffA=1\nB=2\n", "\ufeff# comment\nA=1\nB=2\n", "\ufeffexport A=1\r\nB=2\r\n"} {
		values, err := ParseDotenv([]byte(text), ".env")
		if err != nil || values["A"] != "1" || values["B"] != "2" {
			t.Errorf("%q: got %v, %v", text, values, err)
		}
	}
}

func TestParseDotenv_RefusesWhatItWouldChangeInSilence(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want, hint string }{
		"a Windows path":         {"B=1\nA=\"C:\\temp\\d\"\n", `.env: line 2: A has \t in double quotes`, "A='…'"},
		"a regular expression":   {"A=\"^\\d+$\"\n", `line 1: A has \d in double quotes`, "A='…'"},
		"a generated password":   {"A=\"hunter\\2\"\n", `line 1: A has a backslash in double quotes`, "A='…'"},
		"a command":              {"A=$(op read x)\n", "line 1: A has $(…)", "secrets.commands"},
		"a command in quotes":    {"A=\"x-$(date +%F)\"\n", "line 1: A has $(…)", "A='…'"},
		"a default":              {"B=1\nA=${B:-2}\n", "line 2: A has a variable with more than its name in the braces", "A='…'"},
		"a default in quotes":    {"B=1\nA=\"x ${B-2} y\"\n", "line 2: A has a variable with more than its name in the braces", "write the value out"},
		"no name":                {"B=1\n=2\nC=3\n", "line 2 is not NAME=value", "single quotes"},
		"no name to export":      {"export =2\n", "line 1 is not NAME=value", "single quotes"},
		"backticks":              {"# `no`\n\nA=`date`\n", "line 3: A has a command in backticks", "secrets.commands"},
		"backticks in quotes":    {"A=\"b\nc\"\nB=\"v-`git rev-parse HEAD`\"\n", "line 3: B has a command in backticks", "B='…'"},
		"Latin-1":                {"A=caf\xe9\n", "line 1: A is not valid UTF-8", "UTF-8"},
		"Latin-1 in quotes":      {"B='x'\nA='caf\xe9'\n", "line 2: A is not valid UTF-8", "UTF-8"},
		"UTF-16 of an editor":    {"\xff\xfeA\x00=\x001\x00", "it is UTF-16", "UTF-8"},
		"UTF-16, the other ways": {"\xfe\xff\x00A\x00=\x001", "it is UTF-16", "UTF-8"},
	}
	for title, test := range tests {
		_, err := ParseDotenv([]byte(test.text), ".env")
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(strings.Join(exit.Hints(err), "\n"), test.hint) {
			t.Errorf("%s: got %v with hints %q, want %q and %q", title, err, exit.Hints(err), test.want, test.hint)
			continue
		}
		if strings.Contains(err.Error()+strings.Join(exit.Hints(err), ""), "hunter") {
			t.Errorf("%s: the value is in the message: %v", title, err)
		}
	}
}

func TestParseDotenv_TakesWhatIsMeantAsWritten(t *testing.T) {
	t.Parallel()
	text := "P='C:\\temp\\d'\nQ=\"C:\\\\temp\"\nU=C:\\temp\\d\nC='$(date)'\nT='`date`'\nONE=a`b\nE=\"a\\nb\\\"c\"\n# caf\xe9 $(x)\nD=\"\\$(x) \\`y\\`\"\n"
	want := map[string]string{
		"P": `C:\temp\d`, "Q": `C:\temp`, "U": `C:\temp\d`, "C": "$(date)", "T": "`date`", "ONE": "a`b", "E": "a\nb\"c", "D": "$(x) `y`",
	}
	values, err := ParseDotenv([]byte(text), ".env")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range want {
		if values[name] != value {
			t.Errorf("%s: got %q, want %q", name, values[name], value)
		}
	}
}
