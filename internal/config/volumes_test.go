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
		"/srv/x:/":                           "nothing can be mounted over the container's whole file system",
		"data:/x/..:z":                       "nothing can be mounted over the container's whole file system",
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

func TestVolumes_OfOnePlaceInAContainerAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"twice in one list":            {"volumes: ['/a:/x', 'data:/x/:z']\n", "kstep.yml:4:20: volumes[1]: /x has /a already"},
		"spelt in another way":         {"volumes: ['/a:/x', '/b:/y/../x']\n", "kstep.yml:4:20: volumes[1]: /x has /a already"},
		"of an accessory":              {"accessories: {db: {image: a, role: web, volumes: ['/a:/x', '/b:/x']}}\n", "accessories.db.volumes[1]: /x has /a already"},
		"an asset path":                {"asset_path: /app/assets\nvolumes: ['/a:/app/assets/']\n", "kstep.yml:5:11: volumes[0]: /app/assets is an asset path"},
		"one of several asset paths":   {"asset_paths: [/a, /app/packs]\nvolumes: ['/a:/b', 'x:/app/packs:ro']\n", "volumes[1]: /app/packs is an asset path"},
		"a role's, and the top's path": {"asset_path: /app/assets\nservers: {web: {hosts: [a], volumes: ['/a:/app/assets']}}\n", "servers.web.volumes[0]: /app/assets is an asset path"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			head := base
			if strings.Contains(c.text, "servers:") {
				head = "service: s\nimage: a\n"
			}
			got := strings.Join(complaints(t, map[string]string{"kstep.yml": head + c.text}, LoadOptions{}), "\n")
			if !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	// A role's volume stands in place of the top level's, and below an asset path there is room.
	mustLoad(t, "service: s\nimage: a\nasset_path: /app/assets\nvolumes: ['/a:/x']\nservers: {web: {hosts: [a], volumes: ['/b:/x/', '/c:/app/assets/more']}}\n")
}
