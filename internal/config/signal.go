package config

import (
	"slices"
	"strconv"
	"strings"
)

// signals are those of Linux, which is what containers run on, whatever runs
// kstep.
func signals() []string {
	return strings.Fields("HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT " +
		"STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS")
}

func (c *checker) stop(segs []string, s Stop) {
	if s.Signal == "" {
		return
	}
	name := strings.TrimPrefix(strings.ToUpper(s.Signal), "SIG")
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n < 65 || slices.Contains(signals(), name) || isRealtime(name) {
		return
	}
	known := make([]string, 0, len(signals()))
	for _, n := range signals() {
		known = append(known, "SIG"+n)
	}
	at := append(slices.Clip(segs), "signal")
	c.at(at, "%s", c.unknown(at, "signal", "SIG"+name, known))
}

func isRealtime(name string) bool {
	for _, prefix := range []string{"RTMIN", "RTMAX"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			_, err := strconv.ParseUint(strings.TrimLeft(rest, "+-"), 10, 5)
			return rest == "" || err == nil
		}
	}
	return false
}
