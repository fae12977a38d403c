package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzLoad: nothing makes the loader panic, every error is a list of problems
// in the file, and what loads is shown so that it loads to the same again.
func FuzzLoad(f *testing.F) {
	for _, text := range []string{
		base, full, "", "a: [", "service: *x", "x: &a [*a]", base + "env: {A: '${PORT}${DB:-x}$$'}\n",
		base + "env: {clear: {A: \"a\\nb \\t\\u2028 '\"}}\n", "service: s\nimage: a\nservers: {web: {hosts: [a: b]}}\nenv_tags: {b: }\n",
		base + "x-a: &a {timeout: 1m30s}\nbarrier: {<<: *a, quorum: all}\nlease: {wait: 1.5, ttl: 1us}\n",
		"? [a]\n: b\n", "- a\n---\nb\n", "\xff\xfe", "%YAML 1.2\n---\na: 1\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		first := filepath.Join(dir, "kstep.yml")
		if err := os.WriteFile(first, text, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load(LoadOptions{Path: first, Env: env})
		if err != nil {
			problems, ok := errors.AsType[Errors](err)
			if !ok || len(problems) == 0 {
				t.Fatalf("got error %v, want Errors", err)
			}
			return
		}
		shown, err := cfg.Show()
		if err != nil {
			t.Fatalf("show: %v", err)
		}
		if bytes.Contains(shown, []byte("hunter2")) && !bytes.Contains(text, []byte("hunter2")) && cfg.isSecret()("DB") {
			t.Fatalf("got a secret's value in\n%s", shown)
		}
		second := filepath.Join(dir, "shown.yml")
		if err := os.WriteFile(second, shown, 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := Load(LoadOptions{Path: second, Env: env})
		if err != nil {
			t.Fatalf("load what is shown: %v\n%s", err, shown)
		}
		if a, b := cfg.Digest(), again.Digest(); a != b {
			t.Fatalf("got digest %s of what is shown, want %s\n%s", b, a, shown)
		}
		reshown, err := again.Show()
		if err != nil || !bytes.Equal(shown, reshown) {
			t.Fatalf("got another text the second time: %v\n%s\n%s", err, shown, reshown)
		}
	})
}

// FuzzShow: any text survives being written in a file, loaded, shown and
// loaded again, wherever any text may stand.
func FuzzShow(f *testing.F) {
	for _, text := range []string{"a", " a ", "0777", "~", "1.10", "a\nb\n", "\n", "\t", "$${x}", "- a", "a: b", "#", "é\u2028\u0085\ufeff", "'\"\\", "\r\n", "<<", "\x01", "\u007f"} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, key, text string) {
		if !utf8.ValidString(key) || !utf8.ValidString(text) || text == "" || strings.ContainsRune(text, 0) || strings.HasPrefix(key, "kstep.") {
			t.Skip("no text that a file can hold")
		}
		escaped := escape(text)
		doc, err := json.Marshal(map[string]any{
			"service": "shop", "image": "acme/shop",
			"servers":     map[string]any{"web": map[string]any{"hosts": []string{"a"}, "cmd": []string{escaped}}},
			"env":         map[string]any{"clear": map[string]string{"A": escaped}},
			"labels":      map[string]string{key: escaped},
			"healthcheck": map[string]string{"cmd": escaped},
			"ssh":         map[string]any{"known_hosts": []string{escaped}},
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg := mustLoad(t, asciiYAML(doc))
		web, _ := cfg.Role("web")
		for what, got := range map[string]string{
			"cmd": web.Cmd[0], "env": cfg.Env.Clear["A"], "label": cfg.Labels[key],
			"health": cfg.Healthcheck.Cmd.Shell, "known hosts": cfg.SSH.KnownHosts[0],
		} {
			if got != text {
				t.Errorf("%s: got %q, want %q", what, got, text)
			}
		}
		shown, err := cfg.Show()
		if err != nil {
			t.Fatal(err)
		}
		again := mustLoad(t, string(shown))
		again.Path, again.Entries = cfg.Path, cfg.Entries // What is shown is another file.
		same(t, "config loaded from what is shown", again, cfg)
	})
}

// asciiYAML escapes what JSON may hold as it is but YAML takes for line breaks
// or refuses.
func asciiYAML(doc []byte) string {
	var b strings.Builder
	for _, r := range string(doc) {
		if r < 0x7f {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}
