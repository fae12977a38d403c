package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/exit"
)

// enabled is the label by which Traefik follows a container where it follows Docker.
// It reads the names of labels in any case.
const enabled = "traefik.enable"

// unrouted adds the label that keeps Traefik from following a container, whatever its
// image says, unless its own labels route it.
func unrouted(labels, own map[string]string) {
	if !isRouted(own) {
		labels[enabled] = "false"
	}
}

// isRouted reports whether a container's own labels have Traefik follow it. They do not
// if they only leave that to the image.
func isRouted(own map[string]string) bool {
	for name, value := range own {
		if strings.EqualFold(name, enabled) {
			return !strings.EqualFold(value, "false")
		}
	}
	return false
}

// routesAlone refuses an image whose labels route, for a container that Traefik follows.
// Engines merge the labels of an image into those of its containers, and none can be
// taken away: an empty one would still define a router or a service, perhaps of another
// service's name. A label that the container has itself is not the image's.
func (c *Client) routesAlone(ctx context.Context, s Spec) error {
	if !isRouted(s.Labels) {
		return nil
	}
	image, err := c.Image(ctx, s.Image)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(image.Labels)) {
		if _, own := s.Labels[name]; !own && strings.HasPrefix(strings.ToLower(name), "traefik.") {
			return exit.With(exit.Failed,
				fmt.Errorf("create container %s on %s: its image has the label %.80q, which the proxy would follow", s.Name, c.host, name),
				"remove the traefik.* labels from the image; routes belong into kstep.yml")
		}
	}
	return nil
}
