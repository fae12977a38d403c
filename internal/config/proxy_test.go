package config

import (
	"strings"
	"testing"
)

func TestLoad_RefusesProxySettingsThatWouldTakeAHostDown(t *testing.T) {
	const down = "would take the services of the host down: kstep "
	for name, tt := range map[string]struct{ proxy, want string }{
		"a redirect to an entry point without port": {
			"{args: {entrypoints.web.http.redirections.entrypoint.to: websecure}}",
			`proxy.args["entrypoints.web.http.redirections.entrypoint.to"]: would take the services of the host down: no port of the host leads to the entry point websecure; proxy.tls serves HTTPS and redirects to it; where TLS ends in front of the hosts, set proxy.trusted_proxies and let the load balancer or the application redirect`,
		},
		"a redirect to a port where nothing listens": {
			"{args: {entrypoints.web.http.redirections.entrypoint.to: ':443'}}",
			`proxy.args["entrypoints.web.http.redirections.entrypoint.to"]: would take the services of the host down: it redirects every request to port 443, where kstep's proxy does not listen; proxy.tls serves HTTPS and redirects to it; where TLS ends in front of the hosts, set proxy.trusted_proxies too`,
		},
		"a redirect to a port of another kind": {
			"{trusted_proxies: [], args: {entryPoints.web.http.redirections.entryPoint.to: ':8443'}}",
			`proxy.args["entryPoints.web.http.redirections.entryPoint.to"]: would take the services of the host down: it redirects every request to port 8443, where kstep's proxy does not listen; proxy.tls serves HTTPS and redirects to it; where TLS ends in front of the hosts, set proxy.trusted_proxies too`,
		},
		"another port": {
			"{args: {entryPoints.web.address: ':8000'}}",
			`proxy.args["entryPoints.web.address"]: ` + down + "publishes this port of the container and needs plain HTTP there; instead, proxy.publish sets the port of the host",
		},
		"TLS at the entry point": {
			"{args: {entrypoints.web.http.tls: 'true'}}",
			`proxy.args["entrypoints.web.http.tls"]: ` + down + "publishes this port of the container and needs plain HTTP there; instead, proxy.tls serves HTTPS",
		},
		"TLS at the entry point, by a list": {
			"{args: {'entrypoints.web.http.tls.domains[0].main': a.example.com}}",
			`proxy.args["entrypoints.web.http.tls.domains[0].main"]: ` + down + "publishes this port of the container and needs plain HTTP there; instead, proxy.tls serves HTTPS",
		},
		"no API": {
			"{args: {API: 'false'}}",
			`proxy.args.API: ` + down + "queries this API for the routes that are served",
		},
		"another folder": {
			"{args: {providers.file.directory: /etc/traefik}}",
			`proxy.args["providers.file.directory"]: ` + down + "writes the routes into this folder; instead, put your own files into the folder that is mounted there",
		},
		"no watching": {
			"{args: {providers.file.watch: false}}",
			`proxy.args["providers.file.watch"]: ` + down + "writes the routes into this folder",
		},
		"a configuration file": {
			"{args: {configFile: /x.yml}}",
			`proxy.args.configFile: ` + down + "sets all options on the command line, which Traefik ignores beside a configuration file; instead, write the options under proxy.args",
		},
		"another network with the cord": {
			"{switch: cord, args: {providers.docker.network: mine}}",
			`proxy.args["providers.docker.network"]: ` + down + "puts the containers on this network",
		},
		"one option twice": {
			"{args: {accesslog: 'true', accessLog: 'false'}}",
			`proxy.args.accesslog: is the same option as "accessLog"; keep one`,
		},
		"trust in two places": {
			"{trusted_proxies: private, args: {entrypoints.web.forwardedheaders.insecure: 'true'}}",
			`proxy.args["entrypoints.web.forwardedheaders.insecure"]: is given beside proxy.trusted_proxies, which sets it; keep one`,
		},
		"trust in everybody": {
			"{trusted_proxies: [10.0.0.1, 0.0.0.0/0]}",
			`proxy.trusted_proxies[1]: trusts every sender: any client could forge X-Forwarded-For; list the addresses of your load balancer`,
		},
		"trust in a name": {
			"{trusted_proxies: [lb.example.com]}",
			`proxy.trusted_proxies[0]: must be an address such as 203.0.113.7, a range such as 203.0.113.0/24, or private`,
		},
		"a range with bits outside of its mask": {
			"{trusted_proxies: 10.1.2.3/8}",
			`proxy.trusted_proxies: is a range whose address has bits outside of the mask; write 10.0.0.0/8`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := complaints(t, map[string]string{"kstep.yml": base + "proxy: " + tt.proxy + "\n"}, LoadOptions{})
			if len(got) != 1 || !strings.HasPrefix(got[0], "kstep.yml:4:") || !strings.HasSuffix(got[0], ": "+tt.want) {
				t.Errorf("got\n%s\nwant one at kstep.yml:4\n%s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

func TestLoad_AcceptsProxySettingsThatServe(t *testing.T) {
	for name, proxy := range map[string]string{
		"a redirect to a port in front of the hosts":   "{args: {entrypoints.web.http.redirections.entrypoint.to: ':443'}, trusted_proxies: [private]}",
		"a redirect to another port, trust by options": "{args: {entrypoints.web.http.redirections.entrypoint.to: ':8443', entrypoints.web.forwardedheaders.trustedips: 10.0.0.0/8}}",
		"what is so anyway":                            "{args: {entrypoints.web.address: ':80', api.insecure: 'true', ping: 'true', providers.file.watch: 'true'}}",
		"another network without the cord":             "{args: {providers.docker.network: mine}}",
		"an option of another entry point":             "{args: {entrypoints.metrics.address: ':9100', metrics.prometheus.entrypoint: metrics}}",
		"trust by options":                             "{args: {entrypoints.web.forwardedheaders.trustedips: 10.0.0.0/8}}",
		"trusted addresses":                            "{trusted_proxies: [private, 203.0.113.7, '2001:db8::/32', '::1']}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mustLoad(t, base+"proxy: "+proxy+"\n")
		})
	}
}

func TestLabels_ThatWouldRouteAreRefused(t *testing.T) {
	t.Parallel()
	const why = "has no effect, or, where a service of the host has proxy.switch: cord, routes past kstep"
	for _, label := range []string{"traefik.enable", "Traefik.HTTP.routers.mine.rule", "traefik.http.services.mine.loadbalancer.server.port", "traefik.tcp.routers.mine.rule"} {
		for _, way := range []string{"routes", "cord"} {
			for text, place := range map[string]string{
				"labels: {" + label + ": x}\nservers: [a]\n":                           `kstep.yml:4:10: labels["` + label + `"]: `,
				"servers: {web: [a], job: {hosts: [a], labels: {" + label + ": x}}}\n": `kstep.yml:4:48: servers.job.labels["` + label + `"]: `,
			} {
				got := complaints(t, map[string]string{"kstep.yml": "service: s\nimage: a\nproxy: {switch: " + way + "}\n" + text}, LoadOptions{})
				if len(got) != 1 || !strings.HasPrefix(got[0], place+why) {
					t.Errorf("%s: got %q, want %s%s", text, got, place, why)
				}
			}
		}
	}
	mustLoad(t, base+"labels: {traefik.http.middlewares.m.compress: \"true\"}\naccessories: {ui: {image: a, role: web, labels: {traefik.enable: \"true\"}}}\n")
}

// Routers of accessories are compared with no claim: they come behind the host names
// of services.
func TestAccessoryRouters_ComeBehindHostNames(t *testing.T) {
	t.Parallel()
	with := func(labels string) string {
		return base + "accessories: {ui: {image: a, role: web, labels: {" + labels + "}}}\n"
	}
	for name, labels := range map[string]string{
		"no labels":              "",
		"enabled only":           "traefik.enable: 'true'",
		"lowest":                 "traefik.http.routers.ui.rule: 'Host(`ui.example.com`)', traefik.http.routers.ui.priority: '2'",
		"highest, another case":  "traefik.http.Routers.ui.rule: 'Host(`ui.example.com`)', traefik.HTTP.routers.UI.priority: '19'",
		"TCP of its own":         "traefik.tcp.routers.db.rule: 'HostSNI(`*`)', traefik.tcp.routers.db.entrypoints: pg",
		"no router":              "traefik.http.services.ui.loadbalancer.server.port: '80'",
		"a label with that name": "my.http.routers.ui.rule: x",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mustLoad(t, with(labels))
		})
	}
	for labels, want := range map[string]string{
		"traefik.http.routers.ui.rule: 'Host(`shop.example.com`)'":                                   "from 2 to 19",
		"traefik.http.routers.ui.rule: 'Host(`a`)', traefik.http.routers.ui.priority: '20'":          "from 2 to 19",
		"traefik.http.routers.ui.rule: 'Host(`a`)', traefik.http.routers.ui.priority: '1'":           "from 2 to 19",
		"traefik.http.routers.ui.rule: 'Host(`a`)', traefik.http.routers.ui.priority: high":          "from 2 to 19",
		"Traefik.HTTP.routers.ui.Rule: 'Host(`a`)', traefik.http.routers.other.priority: '5'":        "from 2 to 19",
		"traefik.tcp.routers.db.rule: 'HostSNI(`*`)'":                                                "entry point of its own",
		"traefik.tcp.routers.db.rule: 'HostSNI(`*`)', traefik.tcp.routers.db.entrypoints: 'pg, Web'": "entry point of its own",
	} {
		got := complaints(t, map[string]string{"kstep.yml": with(labels)}, LoadOptions{})
		if len(got) == 0 || !strings.Contains(got[0], want) {
			t.Errorf("%s: got %q, want %q in it", labels, got, want)
		}
	}
}

func TestReadTimeout_HasALimitUnlessItIsSwitchedOff(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "5m", "proxy: {read_timeout: 90s}\n": "1m30s", "proxy: {read_timeout: 3600}\n": "1h", "proxy: {read_timeout: 0}\n": "0s"} {
		if got := mustLoad(t, base+text).Proxy.ReadTimeout.String(); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	for _, wrong := range []string{"-1s", "forever", "5 minutes", "[5m]"} {
		if got := complaints(t, map[string]string{"kstep.yml": base + "proxy: {read_timeout: " + wrong + "}\n"}, LoadOptions{}); len(got) == 0 {
			t.Errorf("%s is accepted", wrong)
		}
	}
}
