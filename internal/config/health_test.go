package config

import (
	"encoding/json"
	"testing"
)

func TestHealthHost_IsTheUsersElseOneThatTheProxyRoutes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, app, proxy string }{
		"neither is known":             {"", "", ""},
		"the first host of the proxy":  {"proxy: {hosts: [shop.example.com, www.example.com]}\n", "shop.example.com", "shop.example.com"},
		"the user's":                   {"healthcheck: {host: internal}\n", "internal", "internal"},
		"the user's with a port":       {"healthcheck: {host: 'shop.example.com:8443'}\nproxy: {hosts: [www.example.com, shop.example.com]}\n", "shop.example.com:8443", "shop.example.com:8443"},
		"the user's, that is internal": {"healthcheck: {host: internal}\nproxy: {hosts: [shop.example.com]}\n", "internal", "shop.example.com"},
		"a role's own":                 {"servers: {web: {hosts: [a], healthcheck: {host: own}}}\nhealthcheck: {host: top}\n", "own", "own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := c.text
			if name != "a role's own" {
				text = "servers: [a]\n" + text
			}
			cfg := mustLoad(t, "service: s\nimage: a\n"+text)
			web, _ := cfg.Role("web")
			same(t, "host for the application", cfg.HealthHost(web), c.app)
			same(t, "host for the proxy", cfg.ProxyHost(web), c.proxy)
		})
	}
}

func TestRequestHost_MakesUpALabelForAWildcard(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hosts        []string
		wanted, want string
	}{
		"nothing is wanted":         {[]string{"*.example.com", "example.com"}, "", "kstep-check.example.com"},
		"a tenant":                  {[]string{"*.example.com"}, "Acme.example.com", "Acme.example.com"},
		"a name two labels below":   {[]string{"*.example.com"}, "a.b.example.com", "kstep-check.example.com"},
		"the name above":            {[]string{"*.example.com"}, "example.com", "kstep-check.example.com"},
		"a name that begins so too": {[]string{"shop.example.com"}, "shop.example.com.evil.org", "shop.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			same(t, "host", Proxy{Hosts: c.hosts}.requestHost(c.wanted), c.want)
		})
	}
}

func TestStatuses_ReadEveryFormAndWriteItBack(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`200`: `"200"`, `"200"`: `"200"`, `"200-299"`: `"200-299"`, `[200,"300-399",401]`: `["200","300-399","401"]`,
	} {
		var s, again Statuses
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(s)
		if err != nil || string(data) != want {
			t.Errorf("%s: got %s, %v, want %s", text, data, err, want)
		}
		if err := json.Unmarshal(data, &again); err != nil {
			t.Fatal(err)
		}
		same(t, "statuses read again", again, s)
	}
	s := Statuses{{200, 299}, {401, 401}}
	same(t, "has", []bool{s.Has(199), s.Has(200), s.Has(299), s.Has(300), s.Has(401)}, []bool{false, true, true, false, true})
}

func TestHealthcheck_RoleKeysStandOverTheTopLevelsOneByOne(t *testing.T) {
	t.Parallel()
	cfg := mustLoad(t, "service: s\nimage: a\nservers: {web: {hosts: [a], healthcheck: {headers: {B: 2.0}, status: 204, settle: 0}}}\n"+
		"healthcheck: {headers: {A: yes, B: 1}, scheme: h2c, settle: 20s, verify: false}\n")
	web, _ := cfg.Role("web")
	h := cfg.EffectiveHealthcheck(web)
	same(t, "headers", h.Headers, map[string]string{"A": "yes", "B": "2.0"})
	same(t, "scheme", h.Scheme, "h2c")
	same(t, "verify", h.Verify, false)
	same(t, "status", h.Status.String(), "204")
	same(t, "settle", h.Settle, Duration(0))
	same(t, "settle at the top", cfg.Healthcheck.Settle, Duration(20e9))
}

func TestLoad_SaysWhatIsWrongWithAHealthcheck(t *testing.T) {
	t.Parallel()
	const instead = "give a healthcheck.cmd that checks it, or use proxy.switch: routes"
	for name, c := range map[string]struct{ text, want string }{
		"an unknown scheme":               {"healthcheck: {scheme: grpc}\n", `kstep.yml:4:23: healthcheck.scheme: must be http, https or h2c`},
		"a host with a scheme":            {"healthcheck: {host: 'https://x'}\n", `kstep.yml:4:21: healthcheck.host: must be a host name such as shop.example.com, with :port after it where the application wants one`},
		"a wildcard host":                 {"healthcheck: {host: '*.example.com'}\n", `kstep.yml:4:21: healthcheck.host: must be a host name such as shop.example.com, with :port after it where the application wants one`},
		"a header with a blank":           {"healthcheck: {headers: {a b: c}}\n", `kstep.yml:4:25: healthcheck.headers["a b"]: must be the name of a header such as X-Forwarded-Proto`},
		"the Host header":                 {"healthcheck: {headers: {host: c}}\n", `kstep.yml:4:25: healthcheck.headers.host: belongs to healthcheck.host`},
		"one header in two spellings":     {"healthcheck: {headers: {X-A: b, x-a: c}}\n", `kstep.yml:4:33: healthcheck.headers.x-a: is the same header as X-A`},
		"a path with half an escape":      {"healthcheck: {path: /up%zz}\n", `kstep.yml:4:21: healthcheck.path: has a % without two hexadecimal digits after it`},
		"a path with a fragment":          {"healthcheck: {path: '/up?a=1#b'}\n", `kstep.yml:4:21: healthcheck.path: must not have #: a request ends before it`},
		"a header of the connection":      {"healthcheck: {headers: {Transfer-Encoding: c}}\n", `kstep.yml:4:25: healthcheck.headers.Transfer-Encoding: is set by the connection and cannot be chosen`},
		"a header with a line break":      {"healthcheck: {headers: {A: \"b\\r\\nC: d\"}}\n", `kstep.yml:4:28: healthcheck.headers.A: must be one line without control characters`},
		"a header that holds a secret":    {"env: {secret: [DB]}\nhealthcheck: {headers: {Authorization: \"Bearer ${DB}\"}}\n", `kstep.yml:5:40: healthcheck.headers.Authorization: fills in the secret DB; only a clear value under env may do that`},
		"a status that is none":           {"healthcheck: {status: 2xx}\n", `kstep.yml:4:23: healthcheck.status: must be a status such as 200, or a range such as 200-299`},
		"a status out of range":           {"healthcheck: {status: 99}\n", `kstep.yml:4:23: healthcheck.status: must be at least 200`},
		"a range that is empty":           {"healthcheck: {status: [200, 399-300]}\n", `kstep.yml:4:29: healthcheck.status[1]: the range 399-300 is empty; write the lower status first`},
		"no status":                       {"healthcheck: {status: []}\n", `kstep.yml:4:15: healthcheck.status: must have one entry or more`},
		"a settling time in words":        {"healthcheck: {settle: long}\n", `kstep.yml:4:23: healthcheck.settle: must be a time span such as 300ms, 5s, 2m or 1h30m`},
		"https without a name":            {"healthcheck: {scheme: https}\n", `kstep.yml:4:23: healthcheck.scheme: https needs a name that the certificate must have: set healthcheck.host, or healthcheck.verify: false to accept every certificate`},
		"a cord with h2c":                 {"proxy: {switch: cord}\nhealthcheck: {scheme: h2c}\n", `kstep.yml:5:23: healthcheck.scheme: with proxy.switch: cord the check runs in the container, where wget does not speak h2c; ` + instead},
		"a cord with a verified name":     {"proxy: {switch: cord}\nhealthcheck: {scheme: https, host: a}\n", `kstep.yml:5:23: healthcheck.scheme: with proxy.switch: cord the check runs in the container and cannot verify the certificate; set healthcheck.verify: false, or ` + instead},
		"a cord with statuses of a role":  {"proxy: {switch: cord}\nservers: {web: {hosts: [a], healthcheck: {status: 200}}}\n", `kstep.yml:5:51: servers.web.healthcheck.status: with proxy.switch: cord the check runs in the container, where wget cannot distinguish statuses; ` + instead},
		"a role's cord with a top scheme": {"proxy: {switch: cord}\nservers: {web: {hosts: [a], healthcheck: {port: 1}}}\nhealthcheck: {scheme: h2c}\n", `kstep.yml:6:23: healthcheck.scheme: with proxy.switch: cord the check runs in the container, where wget does not speak h2c; ` + instead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			head := base
			if _, own := map[string]bool{"a cord with statuses of a role": true, "a role's cord with a top scheme": true}[name]; own {
				head = "service: s\nimage: a\n# \n"
			}
			got := complaints(t, map[string]string{"kstep.yml": head + c.text}, LoadOptions{Env: env})
			same(t, "complaints", got, []string{c.want})
		})
	}
	mustLoad(t, base+"proxy: {switch: cord}\nhealthcheck: {scheme: h2c, status: 200, cmd: [grpc_health_probe]}\n")
}
