package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/lines"
)

func TestCapped_KeepsNoMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	for name, writes := range map[string][]int{"one large write": {11}, "many small ones": {5, 5, 1}, "after the end": {11, 1}} {
		to := &capped{left: 10}
		var err error
		for _, n := range writes {
			_, err = to.Write(make([]byte, n))
		}
		if !errors.Is(err, ErrLongOutput) || to.buf.Len() > 10 {
			t.Errorf("%s: got %v with %d bytes", name, err, to.buf.Len())
		}
	}
	to := &capped{left: 10}
	if _, err := to.Write(make([]byte, 10)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
}

func TestCutLine_ShortensALineWithoutAnEnd(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]int{0: 0, 100: 100, lines.Max: lines.Max, lines.Max + 1: lines.Max, 32 << 20: lines.Max} {
		got := cutLine(strings.Repeat("x", size))
		text, rest, cut := strings.Cut(got, " … (")
		if len(text) != want || cut != (size > lines.Max) || cut && !strings.HasSuffix(rest, " bytes more)") {
			t.Errorf("%d bytes: got %d, %q", size, len(text), rest)
		}
	}
}
