package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"strings"
	"testing"
)

// lined breaks text into lines as programs do with base64.
func lined(text, prefix, end string, width int) string {
	var out strings.Builder
	for len(text) > width {
		out.WriteString(prefix + text[:width] + end)
		text = text[width:]
	}
	return out.String() + prefix + text
}

func TestRedact_KnowsTheFormsInWhichProgramsPrintASecret(t *testing.T) {
	key := "-----BEGIN KEY-----\n" + strings.Repeat("q8Zt3+/xY2pL0sWk", 12) + "\n-----END KEY-----\n"
	for name, value := range map[string]string{
		"a password": "pa55word-of-7", "quotes": `it's "a" <b> & $HOME\c`, "a long token": strings.Repeat("tOk3n_", 30), "a key": key,
	} {
		b64 := base64.StdEncoding.EncodeToString([]byte(value))
		for form, text := range map[string]string{
			"hex":                    hex.EncodeToString([]byte(value)),
			"upper hex":              fmt.Sprintf("%X", value),
			"hex in 60 columns":      lined(hex.EncodeToString([]byte(value)), "", "\n", 60),
			"hex in log lines":       lined(hex.EncodeToString([]byte(value)), "[vm1] ", "\n", 60),
			"base64 of echo":         lined(base64.StdEncoding.EncodeToString([]byte(value+"\n")), "[vm1] ", "\n", 76),
			"base64 in 76 columns":   lined(b64, "", "\n", 76),
			"base64 in 64 columns":   lined(b64, "", "\r\n", 64),
			"base64 in log lines":    lined(b64, "[vm1] ", "\n", 76),
			"HTML":                   html.EscapeString(value),
			"XML":                    strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace(value),
			"in single quotes":       strings.ReplaceAll(value, "'", `'\''`),
			"in single quotes again": strings.ReplaceAll(value, "'", `'"'"'`),
			"in double quotes":       strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(value),
		} {
			store := NewStore(Options{})
			store.Add("IT", NewValue(value))
			text := "before " + text + " after"
			want := store.Redact(text)
			rest := strings.NewReplacer(Redacted, "", "before", "", "after", "", "[vm1]", "", "\n", "", "\r", "", "=", "", " ", "").Replace(want)
			if len(rest) > 7 || !strings.HasPrefix(want, "before ") || !strings.HasSuffix(want, " after") {
				t.Errorf("%s as %s: %q is left of %q", name, form, want, text)
			}
			var out bytes.Buffer
			w := store.Redactor(&out)
			for _, b := range []byte(text) {
				if _, err := w.Write([]byte{b}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil || out.String() != want {
				t.Errorf("%s as %s, byte by byte: %q, want %q (%v)", name, form, out.String(), want, err)
			}
		}
	}
}

func TestRedact_KnowsThePasswordInAURLAlone(t *testing.T) {
	for url, texts := range map[string][]string{
		"postgres://app:s3cr3tpassw0rd@db/prod":           {"s3cr3tpassw0rd", "czNjcjN0cGFzc3cwcmQ="},
		"redis://:onlypassword@cache:6379/0":              {"onlypassword"},
		"amqp://app:p%40ss%2Fword@mq":                     {"p%40ss%2Fword", "p@ss/word"},
		"mysql://app:with@in1t@db/x":                      {"with@in1t"},
		"one=http://a:firstone@h/ two=http://b:other1@h/": {"firstone", "other1"},
	} {
		store := NewStore(Options{})
		store.Add("URL", NewValue(url))
		for _, text := range texts {
			if got := store.Redact("as " + text + "!"); got != "as "+Redacted+"!" {
				t.Errorf("%s: %q shows %q", url, text, got)
			}
		}
		for _, plain := range []string{"app", "postgres://", "db/prod", "cache:6379"} {
			if got := store.Redact(plain); got != plain {
				t.Errorf("%s: %q becomes %q", url, plain, got)
			}
		}
	}
}
