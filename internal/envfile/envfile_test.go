package envfile

import (
	"maps"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzEncode_RoundTripsEveryValue(f *testing.F) {
	for _, value := range []string{"", "plain", "two\nlines\r\n", `back\slash "quote" 'tick' $HOME ${X} #no`, "<&>\u2028", "中文 🚀", " spaces "} {
		f.Add("NAME", value)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		data, err := Encode(map[string]string{name: value})
		if err != nil {
			if utf8.ValidString(value) && !strings.ContainsRune(value, 0) && name != "" && utf8.ValidString(name) && !strings.ContainsAny(name, "=\x00") {
				t.Fatalf("a fine value is refused: %v", err)
			}
			return
		}
		got, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{name: value}; !maps.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestEncode_RefusesWhatNoProcessCanReceiveWithoutRepeatingIt(t *testing.T) {
	for name, value := range map[string]string{"a NUL byte": "hush\x00hush", "not UTF-8": "hush\xff"} {
		_, err := Encode(map[string]string{"TOKEN": value})
		if err == nil || !strings.Contains(err.Error(), "TOKEN") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v, want an error that names TOKEN only", name, err)
		}
	}
}

func TestFingerprint_DiffersByKeyAndContent(t *testing.T) {
	one := Fingerprint([]byte("key1"), []byte("a"))
	for name, other := range map[string]string{
		"another key":     Fingerprint([]byte("key2"), []byte("a")),
		"another content": Fingerprint([]byte("key1"), []byte("b")),
	} {
		if one == other {
			t.Errorf("%s has the same fingerprint", name)
		}
	}
}
