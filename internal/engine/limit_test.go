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
		to := &Kept{left: 10}
		var err error
		for _, n := range writes {
			_, err = to.Write(make([]byte, n))
		}
		if !errors.Is(err, ErrLongOutput) || to.buf.Len() > 10 {
			t.Errorf("%s: got %v with %d bytes", name, err, to.buf.Len())
		}
	}
	to := &Kept{left: 10}
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

func TestKept_EndsWhatPrintsTooMuch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		writes, size, kept int
		long               bool
	}{
		"little":                     {3, 10, 30, false},
		"all that there is room for": {32, 1 << 20, MaxOutput, false},
		"one byte more":              {1, MaxOutput + 1, 0, true},
		"more in parts":              {40, 1 << 20, MaxOutput, true},
	} {
		kept, chunk := NewKept(), make([]byte, c.size)
		var err error
		for i := 0; i < c.writes && err == nil; i++ {
			_, err = kept.Write(chunk)
		}
		if len(kept.String()) != c.kept || errors.Is(err, ErrLongOutput) != c.long {
			t.Errorf("%s: kept %d bytes, %v", name, len(kept.String()), err)
		}
	}
}
