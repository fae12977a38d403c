// Package platform holds what differs between the operating systems that kstep runs on:
// process groups, file locks, owners of files, free space.
package platform

import (
	"errors"
	"fmt"
)

// ErrLocked is a lock that another process holds.
var ErrLocked = errors.New("another process holds the lock")

// NotOnWindows is the error of a feature that this system does not have.
func NotOnWindows(feature string) error {
	return fmt.Errorf("%s: not supported on Windows", feature)
}

// WSLHint is the hint of an error of NotOnWindows.
const WSLHint = "run kstep on Linux or macOS, or on Windows in WSL"
