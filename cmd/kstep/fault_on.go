//go:build faults

package main

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/fault"
	"github.com/kstep/kstep/internal/host"
)

// faults makes the fault of KSTEP_FAULT happen, such as `kill:17`. Only a
// program that was built for it can do that.
func faults(end context.CancelCauseFunc) host.Intercept {
	text := os.Getenv("KSTEP_FAULT")
	if text == "" {
		return nil
	}
	f, err := fault.Parse(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, "KSTEP_FAULT:", err)
		os.Exit(int(exit.Usage)) //nolint:forbidigo // It is a part of main, before anything has begun.
	}
	i := &fault.Injector{
		Fault: f, End: end,
		Die: func() {
			syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // It is this process.
			select {}
		},
		OnFault: func(op host.Op) { fmt.Fprintf(os.Stderr, "fault: %s at %s %s on %s\n", f, op.Kind, op.Name, op.Host) },
	}
	return i.Around
}
