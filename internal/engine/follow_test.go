package engine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/lines"
)

func TestReadLines_CutsLinesThatAreTooLong(t *testing.T) {
	const at = "2026-01-02T03:04:05.000000006Z "
	frames := func(pieces ...string) string {
		var out bytes.Buffer
		for _, piece := range pieces {
			head := make([]byte, frameHead)
			head[0] = 1
			binary.BigEndian.PutUint32(head[4:], uint32(len(piece)))
			out.Write(append(head, piece...))
		}
		return out.String()
	}
	long := strings.Repeat("x", 5*lines.Max+7)
	for name, text := range map[string]string{
		"one frame":   frames(at+"before\n", at+long+"\n", at+"after\n"),
		"many frames": frames(at+"before\n", at+long[:lines.Max/3], at+long[lines.Max/3:], at+"\n", at+"after\n"),
		"a terminal":  at + "before\n" + at + long + "\n" + at + "after\n",
	} {
		var all []string
		if err := readLines(bufio.NewReader(strings.NewReader(text)), func(l Line) { all = append(all, l.Text) }); err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, line := range all[1 : len(all)-1] {
			if total += len(line); len(line) > 2*lines.Max {
				t.Errorf("%s: a line has %d bytes", name, len(line))
			}
		}
		if all[0] != "before" || all[len(all)-1] != "after" || total != len(long) {
			t.Errorf("%s: %d bytes in %d lines, from %q to %q", name, total, len(all), all[0], all[len(all)-1])
		}
	}
}
