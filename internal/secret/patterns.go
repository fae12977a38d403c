package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
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
	pieces = append(pieces, passwords(value)...)
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
		printed(s),
		strings.ReplaceAll(s, "##[", "## ["), // As a CI system gets it: see package report.
	}
	inHex := hex.EncodeToString([]byte(s))
	for _, digits := range []string{inHex, strings.ToUpper(inHex)} {
		out = append(append(out, digits), wrapped(digits, hexWidth)...)
	}
	out = append(out, markup(s)...)
	out = append(out, shell(s)...)
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		for _, text := range []string{s, s + "\n"} { // echo adds a line break.
			out = append(out, wrapped(enc.EncodeToString([]byte(text)), mimeWidth, pemWidth)...)
		}
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

// userinfo is the part of a URL that holds a password, up to the last @ of the
// part: people forget to escape it.
var userinfo = regexp.MustCompile(`://[^\s/:@]*:([^\s/]+)@`)

// passwords are those in URLs, as they are written and as they are sent: programs
// print them alone.
func passwords(value string) []string {
	var out []string
	for _, found := range userinfo.FindAllStringSubmatch(value, -1) {
		out = append(out, found[1])
		if sent, err := url.PathUnescape(found[1]); err == nil {
			out = append(out, sent)
		}
	}
	return out
}

// Widths at which programs break base64 into lines: MIME and base64(1), PEM; and
// that of `xxd -p` for hexadecimal digits.
const (
	mimeWidth = 76
	pemWidth  = 64
	hexWidth  = 60
)

// wrapped are the forms of a long encoded text in lines: all of them together, and
// each alone, since a log has something before each of its lines.
func wrapped(encoded string, widths ...int) []string {
	var out []string
	for _, width := range widths {
		if len(encoded) <= width {
			continue
		}
		var lines []string
		for chunk := range slices.Chunk([]byte(encoded), width) {
			lines = append(lines, string(chunk))
		}
		out = append(out, strings.Join(lines, "\n"), strings.Join(lines, "\r\n"))
		for _, line := range lines {
			if len(line) >= minWrapped {
				out = append(out, line)
			}
		}
	}
	return out
}

// minWrapped is the shortest last line of wrapped base64 that is looked for
// alone.
const minWrapped = 8

// markup is the text in XML and HTML, in the spellings of common encoders.
func markup(s string) []string {
	if !strings.ContainsAny(s, "&<>\"'\n\r\t") {
		return nil
	}
	var text bytes.Buffer
	_ = xml.EscapeText(&text, []byte(s)) // A buffer takes everything.
	some := html.EscapeString(s)
	return []string{
		text.String(), some,
		strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s),
		strings.NewReplacer("&#34;", "&quot;").Replace(some),
		strings.NewReplacer("&#34;", "&quot;", "&#39;", "&apos;").Replace(some),
		strings.NewReplacer("&#34;", "&quot;", "&#39;", "&#x27;").Replace(some),
	}
}

// shell is the text within quotes of a shell, and with a backslash before each
// special character.
func shell(s string) []string {
	var escaped strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf && !strings.ContainsRune("%+,-./:=@_", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			escaped.WriteByte('\\')
		}
		escaped.WriteRune(r)
	}
	return []string{
		strings.ReplaceAll(s, "'", `'\''`), strings.ReplaceAll(s, "'", `'"'"'`), strings.ReplaceAll(s, "'", `\'`),
		strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(s),
		escaped.String(),
	}
}

// printed is what is left of the text where control characters are removed.
func printed(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, s)
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
