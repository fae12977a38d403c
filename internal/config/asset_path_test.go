package config

import (
	"slices"
	"testing"
)

func TestLoad_TakesAssetPathsWithASlashAtTheEnd(t *testing.T) {
	for text, want := range map[string][]string{
		"asset_path: /srv/assets/\n":                                                    {"/srv/assets"},
		"asset_paths: [/srv/assets//, /a/b]\n":                                          {"/srv/assets", "/a/b"},
		"asset_path: /srv/assets/\nassets: {/srv/assets: {on_conflict: new}}\n":         {"/srv/assets"},
		"asset_paths: [/srv/assets, /x/]\nassets: {/srv/assets/: {on_conflict: new}}\n": {"/srv/assets", "/x"},
	} {
		cfg := mustLoad(t, base+text)
		if got := cfg.EffectiveAssetPaths(Role{}); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
		if _, known := cfg.Assets[want[0]]; len(cfg.Assets) > 0 && !known {
			t.Errorf("%q: got the rules %v", text, cfg.Assets)
		}
	}
	for _, text := range []string{"asset_path: /\n", "asset_paths: [//]\n", "asset_path: assets/\n"} {
		if got := complaints(t, map[string]string{"kstep.yml": base + text}, LoadOptions{}); len(got) != 1 {
			t.Errorf("%q: got %q, want one complaint", text, got)
		}
	}
}
