package lines_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/lines"
)

func TestWriter_CutsAtNewlinesOnly(t *testing.T) {
	var got []string
	w := &lines.Writer{Emit: func(line string) { got = append(got, line) }, Keep: 2}
	for _, part := range []string{"one\ntw", "o\r\n", "\n10%\r50%\r100%\n", "bad \xff", strings.Repeat("x", lines.Max), "end"} {
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	long := "bad \uFFFD" + strings.Repeat("x", lines.Max)
	if want := []string{"one", "two", "", "100%", long, "end"}; !slices.Equal(got, want) {
		t.Errorf("got %.100q, want %.100q", got, want)
	}
	if want := []string{long, "end"}; !slices.Equal(w.Last(), want) {
		t.Errorf("the last two are %.100q", w.Last())
	}
}
