package route_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/route"
)

func claim(service, prefix string, fallback bool, hosts ...string) route.Claim {
	return route.New(route.Owner{Service: service, Role: "web"}, hosts, prefix, fallback)
}

func TestCompare_FindsWhatTwoClaimsShare(t *testing.T) {
	t.Parallel()
	shop := func(prefix string, hosts ...string) route.Claim { return claim("shop", prefix, false, hosts...) }
	rest := func(prefix string, hosts ...string) route.Claim { return claim("rest", prefix, true, hosts...) }
	for name, c := range map[string]struct {
		mine, theirs route.Claim
		conflicts    string // What is shared, by comma.
		overlaps     int
	}{
		"two services with the smallest configuration":         {shop("/"), claim("blog", "/", false), "every host name", 1},
		"two fallbacks of everything":                          {rest("/"), claim("other", "/", true), "every host name", 1},
		"different names":                                      {shop("/", "a.com"), claim("blog", "/", false, "b.com"), "", 0},
		"one name in common":                                   {shop("/", "a.com", "b.com"), claim("blog", "/", false, "b.com", "c.com"), "b.com", 1},
		"a name in other spellings":                            {shop("/", "B.com."), claim("blog", "/", false, "b.COM:443"), "b.com", 1},
		"a path below another on one name":                     {shop("/", "a.com"), claim("api", "/api", false, "a.com"), "", 1},
		"paths with and without a slash at the end":            {shop("/api", "a.com"), claim("api", "/api/", false, "a.com"), "a.com/api", 1},
		"paths that begin alike":                               {shop("/api", "a.com"), claim("api", "/apix", false, "a.com"), "", 0},
		"a name below a wildcard":                              {shop("/", "a.x.com"), claim("all", "/", false, "*.x.com"), "a.x.com", 1},
		"a name below a wildcard that is a fallback":           {shop("/", "a.x.com"), claim("all", "/", true, "*.x.com"), "", 1},
		"a name two levels below a wildcard":                   {shop("/", "a.b.x.com"), claim("all", "/", false, "*.x.com"), "", 0},
		"the name that a wildcard is below":                    {shop("/", "x.com"), claim("all", "/", false, "*.x.com"), "", 0},
		"a wildcard of a lower level":                          {shop("/", "*.a.x.com"), claim("all", "/", false, "*.x.com"), "", 0},
		"a name beside every name":                             {shop("/", "a.com"), claim("all", "/", false), "a.com", 1},
		"a fallback comes after names":                         {rest("/"), claim("shop", "/", false, "a.com", "*.b.com"), "", 2},
		"a fallback with a narrower path crosses":              {rest("/api"), claim("shop", "/", false, "a.com"), "a.com/api", 1},
		"a name with a broader path crosses a wildcard":        {shop("/", "a.x.com"), claim("api", "/api", true, "*.x.com"), "a.x.com/api", 1},
		"a path of every name beside another path of a name":   {shop("/api"), claim("blog", "/blog", false, "a.com"), "", 0},
		"a fallback of a name only changes nothing for equals": {claim("a", "/", true, "a.com"), claim("b", "/", true, "a.com"), "a.com", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, side := range []struct{ mine, theirs route.Claim }{{c.mine, c.theirs}, {c.theirs, c.mine}} {
				all := route.Compare(side.mine, side.theirs)
				var shared []string
				for _, o := range all {
					if o.Conflict {
						shared = append(shared, o.Shared())
					}
				}
				if got := strings.Join(shared, ", "); got != c.conflicts || len(all) != c.overlaps {
					t.Errorf("%v against %v: conflict in %q of %d overlaps, want %q of %d",
						side.mine, side.theirs, got, len(all), c.conflicts, c.overlaps)
				}
			}
		})
	}
}

func TestRules_SayWhatTheClaimSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		claim route.Claim
		want  []string
	}{
		"every name": {claim("s", "/", false), []string{"PathPrefix(`/`)"}},
		"a path":     {claim("s", "/api", false), []string{"(Path(`/api`) || PathPrefix(`/api/`))"}},
		"two names":  {claim("s", "/", false, "b.com", "A.com"), []string{"(Host(`a.com`) || Host(`b.com`)) && PathPrefix(`/`)"}},
		"a wildcard": {claim("s", "/", false, "*.my-shop.com"), []string{"(HostRegexp(`^[^.]+\\.my-shop\\.com\\.?$`)) && PathPrefix(`/`)"}},
		"both": {claim("s", "/x/y", false, "a.com", "*.a.com"), []string{
			"(Host(`a.com`)) && (Path(`/x/y`) || PathPrefix(`/x/y/`))",
			"(HostRegexp(`^[^.]+\\.a\\.com\\.?$`)) && (Path(`/x/y`) || PathPrefix(`/x/y/`))",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, r := range c.claim.Rules() {
				got = append(got, r.Text)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRules_PutNamesBeforeWildcardsBeforeEveryName(t *testing.T) {
	t.Parallel()
	deepest := strings.Repeat("/x", route.MaxDepth)
	last := 1 // The proxy's catch-all.
	for _, c := range []route.Claim{
		claim("s", "/", false), claim("s", "/a", false), claim("s", deepest, false),
		claim("s", "/", false, "*.com"), claim("s", "/a", false, "*.com"), claim("s", deepest, false, "*.com"),
		claim("s", "/", false, "a.com"), claim("s", "/a/b", false, "a.com"), claim("s", deepest, false, "a.com"),
	} {
		if got := c.Rules()[0].Priority; got <= last {
			t.Errorf("%v%v has priority %d, want more than %d", c.Hosts, c.PathPrefix, got, last)
		} else {
			last = got
		}
	}
	if own := len("Host(`x`)"); claim("s", "/", false).Rules()[0].Priority >= own {
		t.Errorf("a router for one name, with Traefik's priority %d, comes after a role that serves every name", own)
	}
}

func TestParseOld_ReadsWhatOlderVersionsWroteAndNothingElse(t *testing.T) {
	t.Parallel()
	owner := route.Owner{Service: "s", Role: "web"}
	for rule, want := range map[string]string{
		"PathPrefix(`/`)":                                       "every host name",
		"PathPrefix(`/api`)":                                    "/api on every host name",
		"(Host(`a.com`)) && PathPrefix(`/`)":                    "a.com",
		"(Host(`A.com`) || Host(`b.com`)) && PathPrefix(`/x/`)": "a.com/x,b.com/x",
		"Host(`a.com`)":                                         "",
		"(Host(`a.com`)) || PathPrefix(`/`)":                    "",
		"(Host(`a.com`)) && PathPrefix(`/`) && Method(`GET`)":   "",
		"HostRegexp(`.*`) && PathPrefix(`/`)":                   "",
	} {
		c, ok := route.ParseOld(owner, rule)
		var got []string
		if ok {
			for _, p := range c.Patterns() {
				got = append(got, p.String())
			}
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%s: got %q, want %q", rule, got, want)
		}
	}
	old, _ := route.ParseOld(owner, "PathPrefix(`/api`)")
	if all := route.Compare(claim("t", "/apix", false), old); len(all) != 1 || all[0].Conflict || all[0].First != route.Mine {
		t.Errorf("an old /api takes /apix too, so the new one has to come first: got %+v", all)
	}
}

func TestSplit_ReadsItsOwnCommentAndNoOther(t *testing.T) {
	t.Parallel()
	want := route.New(route.Owner{Service: "shop", Destination: "staging", Role: "web"}, []string{"*.a.com", "b.com"}, "/x", true)
	got, rest, ok, err := route.Split(append(want.Comment(), "{}\n"...))
	if err != nil || !ok || !got.Equal(want) || string(rest) != "{}\n" {
		t.Errorf("got %+v, %q, %v, %v", got, rest, ok, err)
	}
	if _, rest, ok, err := route.Split([]byte("{\n}\n")); ok || err != nil || string(rest) != "{\n}\n" {
		t.Errorf("a file without a comment: got %q, %v, %v", rest, ok, err)
	}
	for name, line := range map[string]string{
		"a newer format":     `# kstep.route/v2 {"service":"shop","role":"web","path_prefix":"/"}`,
		"no JSON":            `# kstep.route/v1 shop`,
		"an unknown key":     `# kstep.route/v1 {"service":"shop","role":"web","path_prefix":"/","x":1}`,
		"no role":            `# kstep.route/v1 {"service":"shop","path_prefix":"/"}`,
		"a path for service": `# kstep.route/v1 {"service":"../shop","role":"web","path_prefix":"/"}`,
		"a rule for a host":  "# kstep.route/v1 {\"service\":\"shop\",\"role\":\"web\",\"path_prefix\":\"/\",\"hosts\":[\"a`) || Host(`b\"]}",
		"a relative path":    `# kstep.route/v1 {"service":"shop","role":"web","path_prefix":"/../x"}`,
		"two of them":        `# kstep.route/v1 {"service":"shop","role":"web","path_prefix":"/"} {}`,
	} {
		if _, _, ok, err := route.Split([]byte(line + "\n{}")); ok || err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestFit_FindsRoomBetweenOtherRoutes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ usual, low, high, want int }{
		{20, 1, 1000, 20}, {20, 45, 1000, 61}, {21, 45, 61, 53}, {11, 15, 20, 17}, {20, 45, 47, 46}, {20, 45, 46, 0}, {2, 1, 2, 0},
	} {
		if got, ok := route.Fit(c.usual, c.low, c.high); got != c.want || ok != (c.want > 0) {
			t.Errorf("Fit(%d, %d, %d): got %d, %v, want %d", c.usual, c.low, c.high, got, ok, c.want)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte(`# kstep.route/v1 {"service":"shop","role":"web","path_prefix":"/"}` + "\n{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, ok, err := route.Split(data)
		if err != nil || !ok {
			return
		}
		again, _, ok, err := route.Split(c.Comment())
		if err != nil || !ok || !again.Equal(c) {
			t.Errorf("%q is read as %+v, and that again as %+v (%v)", data, c, again, err)
		}
	})
}
