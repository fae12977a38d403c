package plan

import "slices"

// Primary are the targets of the primary role, whose health opens the barrier.
func Primary(targets []Target) []Target {
	return slices.DeleteFunc(slices.Clone(targets), func(t Target) bool { return !t.Primary })
}
