// Package registry pushes image archives and looks images up, without Docker.
// It is the only package that knows go-containerregistry. It decides neither
// versions nor what runs where, and stores no credentials.
package registry

import (
	"strings"

	"github.com/kstep/kstep/internal/config"
)

// Repository is the full name of the config's image, with its server and
// without a tag, such as `ghcr.io/acme/shop`.
func Repository(cfg *config.Config) string {
	switch {
	case cfg.Direct():
		return cfg.Repository()
	case cfg.Registry.Server != "":
		return strings.TrimSuffix(cfg.Registry.Server, "/") + "/" + cfg.Image
	case config.NamesServer(cfg.Image):
		return cfg.Image
	case !strings.Contains(cfg.Image, "/"):
		return config.DockerHub + "/library/" + cfg.Image
	}
	return config.DockerHub + "/" + cfg.Image
}
