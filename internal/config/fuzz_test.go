package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
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
