package engine_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// A proxy that follows Docker routes by labels of containers, into which engines merge
// those of images.
func TestCreate_LeavesNoRoutesToTheImage(t *testing.T) {
	t.Parallel()
	own := map[string]string{
		"traefik.enable": "true", "traefik.docker.network": "n",
		"traefik.http.routers.shop-web.rule": "Host(`kstep.invalid`)", "traefik.http.services.shop-web.loadbalancer.server.port": "3000",
	}
	for name, c := range map[string]struct {
		image, own map[string]string
		enabled    string
		refused    string
	}{
		"an image that enables itself":     {map[string]string{"traefik.enable": "true", "traefik.http.routers.x.rule": "Host(`blog.example.com`)"}, nil, "false", ""},
		"an image with another case":       {map[string]string{"Traefik.Enable": "true"}, map[string]string{"a": "b"}, "false", ""},
		"an image without labels":          {nil, nil, "false", ""},
		"routed, image without labels":     {nil, own, "true", ""},
		"routed, image with other labels":  {map[string]string{"maintainer": "me", "traefikish": "x"}, own, "true", ""},
		"routed, image with the same ones": {map[string]string{"traefik.enable": "false", "traefik.http.routers.shop-web.rule": "Host(`x`)"}, own, "true", ""},
		"routed, image with a router":      {map[string]string{"traefik.http.routers.x.rule": "Host(`blog.example.com`)"}, own, "", "traefik.http.routers.x.rule"},
		"routed, image joins a service":    {map[string]string{"traefik.http.services.blog-web.loadbalancer.server.port": ""}, own, "", "blog-web"},
		"routed, image in another case":    {map[string]string{"TRAEFIK.tcp.routers.x.rule": "HostSNI(`*`)"}, own, "", "TRAEFIK.tcp"},
		"routed, a priority for its own":   {map[string]string{"traefik.http.routers.shop-web.priority": "9999"}, own, "", "priority"},
		"own labels leave it disabled":     {map[string]string{"traefik.http.routers.x.rule": "Host(`x`)"}, map[string]string{"traefik.enable": "false"}, "false", ""},
		"own labels do not enable":         {map[string]string{"traefik.enable": "true"}, map[string]string{"traefik.http.middlewares.m.compress": "true"}, "false", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := hosttest.NewFake(t, "vm1")
			fake.Engine.AddImage("app:1", hosttest.Image{Labels: c.image})
			client := fake.Connect(t).Engine()
			before := maps.Clone(c.own)
			id, err := client.Create(t.Context(), engine.Spec{Name: "shop-web-v1", Image: "app:1", Labels: c.own})
			if c.refused != "" {
				if exit.CodeOf(err) != exit.Failed || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("got %v, want an error about %s", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			made, err := client.Inspect(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if got := made.Labels["traefik.enable"]; got != c.enabled {
				t.Errorf("traefik.enable is %q, want %q", got, c.enabled)
			}
			if !maps.Equal(before, c.own) {
				t.Errorf("the spec was changed: %v", c.own)
			}
		})
	}
}
