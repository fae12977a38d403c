// Package registry pushes image archives and looks images up, without Docker.
// It is the only package that knows go-containerregistry. It decides neither
// versions nor what runs where, and stores no credentials.
package registry

import (
	"strings"

	"github.com/kstep/kstep/internal/config"
)

// dockerHub is the server of an image without one, by the name that engines
// print.
const dockerHub = "docker.io"

// Repository is the full name of the config's image, with its server and
// without a tag, such as `ghcr.io/acme/shop`.
func Repository(cfg *config.Config) string {
	switch {
	case cfg.Registry.Server != "":
		return strings.TrimSuffix(cfg.Registry.Server, "/") + "/" + cfg.Image
	case hasServer(cfg.Image):
		return cfg.Image
	case !strings.Contains(cfg.Image, "/"):
		return dockerHub + "/library/" + cfg.Image
	}
	return dockerHub + "/" + cfg.Image
}

// hasServer follows Docker: a first part with a dot or a colon, or localhost,
// is a server.
func hasServer(repository string) bool {
	first, _, found := strings.Cut(repository, "/")
	return found && (strings.ContainsAny(first, ".:") || first == "localhost")
}
