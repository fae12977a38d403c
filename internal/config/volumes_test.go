package config

import (
	"strings"
	"testing"
)

func TestVolumes_TakeTheShortOptions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Volume{
		"/srv/x:/x":                    {Source: "/srv/x", Target: "/x"},
		"/srv/x:/x:ro":                 {Source: "/srv/x", Target: "/x", ReadOnly: true},
		"/srv/x:/x:z":                  {Source: "/srv/x", Target: "/x", Relabel: "z"},
		"/srv/x:/x:ro,Z":               {Source: "/srv/x", Target: "/x", ReadOnly: true, Relabel: "Z"},
		"data:/x:z,nocopy":             {Source: "data", Target: "/x", Relabel: "z", NoCopy: true},
		"/srv/x:/x:rslave,rw":          {Source: "/srv/x", Target: "/x", Propagation: "rslave"},
		"/srv/x:/x:z,shared,delegated": {Source: "/srv/x", Target: "/x", Relabel: "z", Propagation: "shared", Consistency: "delegated"},
	} {
		for _, keys := range []string{"volumes: ['" + text + "']\n", "accessories: {db: {image: a, role: web, volumes: ['" + text + "']}}\n"} {
			mustLoad(t, base+keys)
		}
		if got := ParseVolume(text); got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

func TestVolumes_RefuseOptionsThatDoNotGoTogether(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"/srv/x:/x:ro,rw":                    "has the options ro and rw; keep one of them",
		"/srv/x:/x:z,Z":                      "has the options z and Z; keep one of them",
		"/srv/x:/x:z,ro,z":                   "has the option z twice",
		"/srv/x:/x:shared,rslave":            "has the options shared and rslave; keep one of them",
		"/srv/x:/x:cached,z,x":               "unknown option x; known are Z, cached",
		"/srv/x:/x:read":                     "unknown option read",
		"/srv/x:/x:rprivat":                  "unknown option rprivat; did you mean rprivate?",
		"/srv/x:/x:nocopy":                   "nocopy is for named volumes",
		"data:/x:rslave":                     "rslave is for folders of the host, not for the volume data",
		"data:/x:cached":                     "cached is for folders of the host, not for the volume data",
		"/srv/x:/x:":                         "must be source:target or source:target:options",
		"/srv/x:/x:z:ro":                     "must be source:target or source:target:options",
		"/srv/x:/x:cached,private,delegated": "has the options cached and delegated; keep one of them",
	} {
		for keys, path := range map[string]string{
			"volumes: ['" + text + "']\n":                                           "kstep.yml:4:11: volumes[0]: ",
			"accessories: {db: {image: a, role: web, volumes: ['" + text + "']}}\n": "accessories.db.volumes[0]: ",
		} {
			got := strings.Join(complaints(t, map[string]string{"kstep.yml": base + keys}, LoadOptions{}), "\n")
			if !strings.Contains(got, path+want) {
				t.Errorf("%s: got %s, want %s%s", text, got, path, want)
			}
		}
	}
}
