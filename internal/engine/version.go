package engine

import (
	"fmt"
	"strconv"
	"strings"
)

// version is an Engine API version.
type version struct{ major, minor int }

func parseVersion(s string) (version, error) {
	major, minor, ok := strings.Cut(strings.TrimPrefix(s, "v"), ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if !ok || errA != nil || errB != nil {
		return version{}, fmt.Errorf("%q is not an API version", s)
	}
	return version{a, b}, nil
}

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

func (v version) less(o version) bool {
	return v.major < o.major || v.major == o.major && v.minor < o.minor
}

// capability is something that not every engine can do. The client sends any
// field to any engine, and an old one ignores what it does not know.
type capability int

const (
	stopSignal        capability = iota // Signal of a stop request.
	readOnlyRecursive                   // Read-only mounts are recursive, with options to choose.
	listHealth                          // Health as a field of container lists.
	cgroupNamespace                     // A container's own cgroup namespace, or the host's.
	annotations                         // Annotations for the runtime.
	macAddress                          // A hardware address on a network.
)

// since is the first API version with each capability:
// https://docs.docker.com/reference/api/engine/version-history/
func (c capability) since() version {
	switch c {
	case stopSignal:
		return version{1, 42}
	case readOnlyRecursive:
		return version{1, 44}
	case listHealth:
		return version{1, 52}
	case cgroupNamespace:
		return version{1, 41}
	case annotations:
		return version{1, 43}
	case macAddress:
		return version{1, 44}
	default:
		panic(fmt.Sprintf("capability %d has no version", c)) //nolint:forbidigo // A mistake in this file.
	}
}

func (v version) can(c capability) bool { return !v.less(c.since()) }
