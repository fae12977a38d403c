package config

import (
	"slices"
	"testing"
)

func TestLoad_TakesAssetPathsWithASlashAtTheEnd(t *testing.T) {
	for text, want := range map[string][]string{
		"asset_path: /srv/assets/\n":                                                           {"/srv/assets"},
		"asset_paths: [/srv/assets//, /a/b]\n":                                                 {"/srv/assets", "/a/b"},
		"asset_path: /srv/assets/\nassets: {/srv/assets: {on_conflict: new}}\n":                {"/srv/assets"},
		"asset_paths: [/srv/assets, /x/]\nassets: {/srv/assets/: {on_conflict: new}}\n":        {"/srv/assets", "/x"},
		"asset_path: /srv//assets/./\n":                                                        {"/srv/assets"},
		"asset_paths: [/srv/x/../assets, /a//b]\nassets: {/srv//assets: {on_conflict: new}}\n": {"/srv/assets", "/a/b"},
	} {
		cfg := mustLoad(t, base+text)
		if got := cfg.EffectiveAssetPaths(Role{}); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
		if _, known := cfg.Assets[want[0]]; len(cfg.Assets) > 0 && !known {
			t.Errorf("%q: got the rules %v", text, cfg.Assets)
		}
	}
	for _, text := range []string{"asset_path: /\n", "asset_paths: [//]\n", "asset_path: assets/\n", "asset_path: /..\n", "asset_paths: [/a/../.]\n"} {
		if got := complaints(t, map[string]string{"kstep.yml": base + text}, LoadOptions{}); len(got) != 1 {
			t.Errorf("%q: got %q, want one complaint", text, got)
		}
	}
}

func TestLoad_TakesOtherPathsWithASlashAtTheEnd(t *testing.T) {
	for given, want := range map[string]string{".kstep/": ".kstep", "/opt/kstep//": "/opt/kstep", "/opt/kstep": "/opt/kstep"} {
		if got := mustLoad(t, base+"run_directory: "+given+"\n").RunDirectory; got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
	}
	for _, text := range []string{"run_directory: /\n", "run_directory: /opt/\n", "run_directory: ./\n"} {
		if got := complaints(t, map[string]string{"kstep.yml": base + text}, LoadOptions{}); len(got) != 1 {
			t.Errorf("%q: got %q, want one complaint", text, got)
		}
	}
	for given, want := range map[string]string{"/var/lib/db/": "/var/lib/db", "/data": "/data"} {
		cfg := mustLoad(t, base+"accessories: {db: {image: postgres:17, host: a, directories: [{local: data, remote: "+given+"}]}}\n")
		if got := cfg.Accessories.All[0].Directories[0].Remote; got != want {
			t.Errorf("%q: got %q, want %q", given, got, want)
		}
	}
}
