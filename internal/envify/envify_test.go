package envify

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/secret"
)

// renders renders a template in a folder of its own.
func renders(t *testing.T, text string, env map[string]string) (map[string]string, string, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{".env.tmpl": text, "key.pem": "-----BEGIN\nsecret\n-----END\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said strings.Builder
	got, err := Render(t.Context(), filepath.Join(dir, ".env.tmpl"), Options{
		Env:      func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Commands: secret.Commands{Dir: dir, Stderr: &said},
	})
	return got, said.String(), err
}

func TestRender_FillsInWhatIsAskedFor(t *testing.T) {
	got, said, err := renders(t, `# A comment with {{ env "A" }}.
PLAIN=as it is
A={{ env "A" }}
URL="postgres://{{ env "A" }}@db/{{ env "NAME" "shop" }}"
KEY={{ file "key.pem" }}
OUT={{ exec "sh" "-c" "echo asking >&2; echo $0 $1" "one" "two words" }}
{{ if eq (env "A") "a b" }}EQUAL=yes{{ else }}EQUAL=no{{ end }}
SAME=${PLAIN}, {{ $x := env "A" }}{{ $x }}
`, map[string]string{"A": "a b"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"PLAIN": "as it is", "A": "a b", "URL": "postgres://a b@db/shop", "KEY": "-----BEGIN\nsecret\n-----END",
		"OUT": "one two words", "EQUAL": "yes", "SAME": "as it is, a b",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if said != "asking\n" {
		t.Errorf("the program's complaint is %q", said)
	}
}

func TestRender_NothingFilledInCanChangeTheLines(t *testing.T) {
	for _, value := range []string{
		"x\nOTHER=evil", "a # b", "'", `"`, `it's "$HOME" \n`, "$A", "${PLAIN}", " blanks ", "#", "", "ü\r\n", `\`,
	} {
		got, _, err := renders(t, "PLAIN=p\nBARE={{ env \"A\" }}\nQUOTED='{{ env \"A\" }}'\nDOUBLE=\"<{{ env \"A\" }}>\"\n", map[string]string{"A": value})
		want := map[string]string{"PLAIN": "p", "BARE": value, "QUOTED": value, "DOUBLE": "<" + value + ">"}
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%q: got %q (%v), want %q", value, got, err, want)
		}
	}
}

func TestRender_NamesTheLineAndNoValue(t *testing.T) {
	for text, want := range map[string]string{
		"A=1\nB={{ env \"GONE\" }}\n":                                ".env.tmpl:2:6: variable GONE is not set",
		"A=1\n\nB=x{{ exec \"sh\" \"-c\" \"echo s3cr3t; exit 4\" }}": ".env.tmpl:3:7: run sh: exit status 4",
		"{{ exec \"no-such-program\" }}":                             ".env.tmpl:1:4: run no-such-program: there is no such program",
		"{{ exec }}":                                                 ".env.tmpl:1:4: exec needs a program",
		"A={{ file \"gone.pem\" }}":                                  "gone.pem: no such file",
		"A=1\nB={{ nothing }}":                                       `.env.tmpl:2: function "nothing" not defined`,
		"A={{ .Foo }}":                                               "can't evaluate field Foo",
		"A=1\n{{ env \"SET\" }}\n":                                   ".env.tmpl renders to: line 2 is not NAME=value",
		"{{ env \"SET\" }}=1\n":                                      ".env.tmpl renders to: line 1 is not NAME=value",
		"A=$NOPE{{ env \"SET\" }}\n":                                 "A has a $ that names no variable",
	} {
		got, _, err := renders(t, text, map[string]string{"SET": "s3cr3t"})
		if exit.CodeOf(err) != exit.Config || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: got %q and %v, want the error to tell %q and no value", text, got, err, want)
		}
	}
	if _, err := Render(t.Context(), filepath.Join(t.TempDir(), ".env.tmpl"), Options{}); exit.CodeOf(err) != exit.Config || len(exit.Hints(err)) == 0 {
		t.Errorf("a missing template: got %v with hints %v", err, exit.Hints(err))
	}
}

func TestWrite_ReplacesTheFileAsAWholeForItsOwnerAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, ".env")
	if err := os.WriteFile(path, []byte("OLD=1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		changed, err := Write(path, ".env.tmpl", map[string]string{"A": "1\n2", "B": `it's "x" `})
		if err != nil || changed != want {
			t.Errorf("got changed %v (%v), want %v", changed, err, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v (%v), want mode 600", info.Mode(), err)
	}
	s := secret.NewStore(secret.Options{Dir: dir})
	if v, err := s.Get("B"); err != nil || v.Reveal() != `it's "x" ` {
		t.Errorf("got %q (%v)", v.Reveal(), err)
	}
	if _, err := Write(path, ".env.tmpl", map[string]string{"A": "no\x00process"}); err == nil {
		t.Error("a value that no variable can hold was written")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("it left %v (%v)", left, err)
	}
}
