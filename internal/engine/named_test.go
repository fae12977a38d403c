package engine

import "testing"

func TestNamed_KnowsTagsAndDigestsAlsoAsEnginesShortenThem(t *testing.T) {
	image := Image{Tags: []string{"acme/shop:v1", "redis:7"}, Digests: []string{"acme/shop@sha256:ab"}}
	for ref, want := range map[string]bool{
		"acme/shop:v1":                   true,
		"docker.io/acme/shop:v1":         true,
		"docker.io/library/redis:7":      true,
		"acme/shop@sha256:ab":            true,
		"docker.io/acme/shop@sha256:ab":  true,
		"ghcr.io/acme/shop@sha256:ab":    false,
		"docker.io/acme/shop@sha256:abc": false,
		"acme/shop:v2":                   false,
		"":                               false,
	} {
		if got := image.Named(ref); got != want {
			t.Errorf("%q: got %t, want %t", ref, got, want)
		}
	}
}
