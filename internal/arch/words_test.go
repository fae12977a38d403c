package arch

import (
	"go/ast"
	"go/parser"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ownWords are words that documentation in this field does not use for what programs do,
// with what it says instead.
var ownWords = regexp.MustCompile(`(?i)\b(tells?|told|asks?|asked|whoever|nobody|somebody|anybody|mends?|mended|hears)\b`)

const fieldWords = "write reports, says, shows or returns; requests, queries or checks; the user, the caller or another release; corrects or repairs"

func TestComments_UseTheWordsOfTheField(t *testing.T) {
	t.Parallel()
	eachFile(t, parser.ParseComments|parser.SkipObjectResolution, func(name, _ string, file *ast.File) {
		for _, group := range file.Comments {
			for line := range strings.Lines(group.Text()) {
				if word := ownWords.FindString(line); word != "" {
					t.Errorf("%s: %q in the comment %q: %s", name, word, strings.TrimSpace(line), fieldWords)
				}
			}
		}
	})
}

func TestDocs_UseTheWordsOfTheField(t *testing.T) {
	t.Parallel()
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/adr/*.md"} {
		found, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(page) == "CHANGELOG.md" {
			continue // Past entries stay as they were published.
		}
		for n, line := range strings.Split(string(text), "\n") {
			if word := ownWords.FindString(line); word != "" {
				t.Errorf("%s:%d: %q: %s", page, n+1, word, fieldWords)
			}
		}
	}
}
