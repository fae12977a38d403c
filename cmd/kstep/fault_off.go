//go:build !faults

package main

import (
	"context"

	"github.com/kstep/kstep/internal/host"
)

// faults breaks nothing in a program that is released.
func faults(context.CancelCauseFunc) host.Intercept { return nil }
