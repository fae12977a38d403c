package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// MinMasked is the shortest value that is masked in output. Masking shorter
// ones would tear digests and plain words apart and hide nothing that could not
// be guessed.
const MinMasked = 4

// MinScanned is the shortest value that Scan looks for. State files are full
// of hexadecimal digests, in which a shorter value would turn up by chance.
const MinScanned = 6

// minAligned is the shortest value whose base64 form is looked for inside
// longer base64 text, where only part of its characters is certain.
const minAligned = 6

// forms are all shapes in which a secret is looked for: itself, each of its
// lines, and every encoding of those that programs print.
func forms(value string, shortest int) []string {
	var out []string
	seen := map[string]bool{}
	add := func(s string) {
		if len(s) >= max(shortest, MinMasked) && !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	pieces := []string{value, strings.TrimSpace(value)}
	for line := range strings.Lines(value) {
		pieces = append(pieces, strings.TrimSpace(line))
	}
	for _, piece := range pieces {
		if len(piece) < shortest {
			continue
		}
		add(piece)
		for _, encoded := range encodings(piece) {
			add(encoded)
		}
	}
	return out
}

func encodings(s string) []string {
	query, path := url.QueryEscape(s), url.PathEscape(s)
	out := []string{
		query, path, lowerEscapes(query), lowerEscapes(path),
		strings.ReplaceAll(query, "+", "%20"),
		jsonEscaped(s, true), jsonEscaped(s, false),
		unquoted(strconv.Quote(s)), unquoted(strconv.QuoteToASCII(s)),
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		out = append(out, enc.EncodeToString([]byte(s)), enc.WithPadding(base64.NoPadding).EncodeToString([]byte(s)))
		if len(s) >= minAligned {
			out = append(out, aligned(enc, s)...)
		}
	}
	return out
}

// aligned are the characters that s is certain to cause in the base64 of a
// longer text, for each of the three offsets that s can have in it: a Basic
// authorization header holds user:password in one encoding.
func aligned(enc *base64.Encoding, s string) []string {
	var out []string
	for offset := range 3 {
		text := enc.EncodeToString(append(make([]byte, offset), s...))
		first, last := (8*offset+5)/6, 8*(offset+len(s))/6
		out = append(out, text[first:last])
	}
	return out
}

func jsonEscaped(s string, html bool) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(html)
	if err := enc.Encode(s); err != nil {
		return s
	}
	return unquoted(strings.TrimSuffix(buf.String(), "\n"))
}

func unquoted(s string) string { return s[1 : len(s)-1] }

// lowerEscapes turns %2F into %2f, which other languages write.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return string(b)
}
