package config

import "slices"

// networks refuses those of the engine's own that are no networks to join, and what
// is listed twice.
func (c *checker) networks(segs, names []string) {
	for i, name := range names {
		at := append(slices.Clip(segs), itoa(i))
		switch {
		case slices.Contains([]string{"bridge", "default", "host", "none"}, name):
			c.at(at, "%s is the engine's own, which no container can join besides another; make one with docker network create", name)
		case slices.Contains(names[:i], name):
			c.at(at, "is listed twice")
		}
	}
}
