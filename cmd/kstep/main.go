// Command kstep deploys Docker images to your own servers without downtime, in
// stages that a CI system can run, rerun and approve one by one.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kstep/kstep/internal/exit"
)

// parkTime is how long an interrupted command may take to write its state.
// GitHub's runner kills 7.5 s after SIGINT.
const parkTime = 5 * time.Second

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		code := codeOf(<-signals)
		cancel(exit.Errorf(code, "interrupted"))
		select {
		case again := <-signals: // The user means it.
			code = codeOf(again)
		case <-time.After(parkTime):
		}
		os.Exit(int(code))
	}()
	p := &program{env: os.LookupEnv, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, around: faults(cancel)}
	os.Exit(int(p.run(ctx, os.Args[1:])))
}

func codeOf(s os.Signal) exit.Code {
	if s == syscall.SIGTERM {
		return exit.Terminated
	}
	return exit.Interrupted
}
