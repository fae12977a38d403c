package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
)

// usageTemplate is kingpin's compact help, with the exit codes at its end.
func usageTemplate() string { return kingpin.CompactUsageTemplate + exitStatus() }

func exitStatus() string {
	var b strings.Builder
	b.WriteString("Exit status:\n")
	for _, m := range exit.Table() {
		fmt.Fprintf(&b, "  %3d  %s\n", m.Code, m.Text)
	}
	return b.String()
}
