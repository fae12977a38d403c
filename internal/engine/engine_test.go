package engine

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/mount"

	"github.com/kstep/kstep/internal/exit"
)

func TestCreateRequest_SaysWhatTheSpecWants(t *testing.T) {
	spec := Spec{
		Name: "shop-web-1", Image: "registry:5000/shop@sha256:abc", Cmd: []string{"serve", "--now"},
		Env:    map[string]string{"B": "two\nlines", "A": "", "C": "x=y"},
		Labels: map[string]string{LabelService: "shop"}, Hostname: "web",
		Mounts: []Mount{{Source: "/srv/cord", Target: "/cord", ReadOnly: true}, {Source: "data", Target: "/data"}},
		Ports:  []Port{{Host: 80, Container: 8000}}, Network: "kstep", Aliases: []string{"web"},
		Restart: "unless-stopped", Stop: Stop{Signal: "SIGQUIT", Timeout: 1500 * time.Millisecond},
		Health: &Health{Shell: "curl -f localhost", Interval: time.Second, Timeout: 2 * time.Second, Retries: 1},
		Log:    Log{Driver: "json-file", Options: map[string]string{"max-size": "10m"}},
	}
	r := createRequest(spec, version{1, 41})
	checks := map[string]struct{ got, want any }{
		"name":        {r.Name, "shop-web-1"},
		"image":       {r.Config.Image, "registry:5000/shop@sha256:abc"},
		"command":     {r.Config.Cmd, []string{"serve", "--now"}},
		"environment": {r.Config.Env, []string{"A=", "B=two\nlines", "C=x=y"}},
		"label":       {r.Config.Labels[LabelService], "shop"},
		"labels":      {len(r.Config.Labels), len(reserved()) + len([]string{enabled})},
		"host name":   {r.Config.Hostname, "web"},
		"stop signal": {r.Config.StopSignal, "SIGQUIT"},
		"stop grace":  {*r.Config.StopTimeout, 2},
		"health":      {r.Config.Healthcheck.Test, []string{"CMD-SHELL", "curl -f localhost"}},
		"retries":     {r.Config.Healthcheck.Retries, 1},
		"restart":     {string(r.HostConfig.RestartPolicy.Name), "unless-stopped"},
		"log driver":  {r.HostConfig.LogConfig.Type, "json-file"},
		"network":     {string(r.HostConfig.NetworkMode), "kstep"},
		"aliases":     {r.NetworkingConfig.EndpointsConfig["kstep"].Aliases, []string{"web"}},
		"mounts": {r.HostConfig.Mounts, []mount.Mount{
			{Type: mount.TypeBind, Source: "/srv/cord", Target: "/cord", ReadOnly: true},
			{Type: mount.TypeVolume, Source: "data", Target: "/data"},
		}},
	}
	for name, c := range checks {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %#v, want %#v", name, c.got, c.want)
		}
	}
	for port, bindings := range r.HostConfig.PortBindings {
		if port.String() != "8000/tcp" || len(bindings) != 1 || bindings[0].HostPort != "80" {
			t.Errorf("got port %s at %v, want 8000/tcp at 80", port, bindings)
		}
	}
	if len(r.Config.ExposedPorts) != 1 {
		t.Errorf("got exposed ports %v, want one", r.Config.ExposedPorts)
	}
}

func TestCreateRequest_LeavesOutWhatTheSpecDoesNotSay(t *testing.T) {
	r := createRequest(Spec{Image: "x"}, version{1, 41})
	if r.Config.StopTimeout != nil || r.Config.Healthcheck != nil || r.NetworkingConfig != nil ||
		r.HostConfig.PortBindings != nil || r.Config.Env != nil || r.Config.Cmd != nil {
		t.Errorf("got %+v and %+v, want nothing but the image", r.Config, r.HostConfig)
	}
}

func TestCreateRequest_SendsOnlyNewEnginesTheFieldsTheyKnow(t *testing.T) {
	spec := Spec{Mounts: []Mount{{Source: "/x", Target: "/x", ReadOnly: true}}}
	for api, want := range map[version]bool{{1, 41}: false, {1, 43}: false, {1, 44}: true, {1, 52}: true} {
		got := createRequest(spec, api).HostConfig.Mounts[0].BindOptions != nil
		if got != want {
			t.Errorf("API %s: got bind options %v, want %v", api, got, want)
		}
	}
}

func TestCreateRequest_AsksForTheOptionsOfMounts(t *testing.T) {
	spec := Spec{Mounts: []Mount{
		{Source: "/srv/a", Target: "/a", Relabel: "Z", ReadOnly: true, Propagation: "rslave"},
		{Source: "data", Target: "/b", Relabel: "z", NoCopy: true},
		{Source: "data", Target: "/c", NoCopy: true},
		{Source: "/srv/d", Target: "/d", Propagation: "rshared", Consistency: "cached"},
	}}
	got := createRequest(spec, version{1, 41}).HostConfig
	if want := []string{"/srv/a:/a:Z,ro,rslave", "data:/b:z,nocopy"}; !slices.Equal(got.Binds, want) {
		t.Errorf("got the binds %q, want %q", got.Binds, want)
	}
	if len(got.Mounts) != 2 || !got.Mounts[0].VolumeOptions.NoCopy || got.Mounts[1].BindOptions.Propagation != "rshared" || got.Mounts[1].Consistency != "cached" {
		t.Errorf("got the mounts %+v", got.Mounts)
	}
}

func TestSpecDigest_CoversAllButItsOwnLabelAndSecretValues(t *testing.T) {
	base := Spec{Name: "a", Labels: map[string]string{"x": "1"}, EnvFingerprint: "f"}
	digest := base.Digest()
	if !strings.HasPrefix(digest, "sha256:") || len(digest) != 71 {
		t.Errorf("got %q, want a sha256 digest", digest)
	}
	tests := map[string]struct {
		change func(*Spec)
		same   bool
	}{
		"nothing":             {func(*Spec) {}, true},
		"its own label":       {func(s *Spec) { s.Labels = map[string]string{"x": "1", LabelSpec: digest} }, true},
		"a value in the env":  {func(s *Spec) { s.Env = map[string]string{"A": "secret"} }, true},
		"the env fingerprint": {func(s *Spec) { s.EnvFingerprint = "g" }, false},
		"a label":             {func(s *Spec) { s.Labels = map[string]string{"x": "2"} }, false},
		"the command":         {func(s *Spec) { s.Cmd = []string{"y"} }, false},
		"the grace":           {func(s *Spec) { s.Stop.Timeout = time.Second }, false},
		"a health check":      {func(s *Spec) { s.Health = &Health{Shell: "x"} }, false},
	}
	for name, test := range tests {
		s := base
		test.change(&s)
		if same := s.Digest() == digest; same != test.same {
			t.Errorf("%s: got same %v, want %v", name, same, test.same)
		}
	}
}

func TestClassify_KnowsTheEnginesWords(t *testing.T) {
	tests := map[string]struct {
		text string
		want error
		hint string
	}{
		"20.10, port of a container":  {"driver failed programming external connectivity on endpoint x (y): Bind for 0.0.0.0:80 failed: port is already allocated", ErrPortTaken, "port 80"},
		"20.10, port of a process":    {"driver failed programming external connectivity on endpoint x (y): Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use", ErrPortTaken, "port 8080"},
		"29, port of a process":       {"failed to set up container networking: driver failed programming external connectivity on endpoint x (y): failed to bind host port 0.0.0.0:80/tcp: address already in use", ErrPortTaken, "port 80"},
		"28, port of a container":     {"failed to set up container networking: driver failed programming external connectivity on endpoint x (y): Bind for :::443 failed: port is already allocated", ErrPortTaken, "port 443"},
		"no bind folder":              {`invalid mount config for type "bind": bind source path does not exist: /srv/shop/storage`, ErrNoFolder, "make the folder on vm1: mkdir -p /srv/shop/storage (and chown it"},
		"no folder with a blank":      {`invalid mount config for type "bind": bind source path does not exist: /srv/my $(data)`, ErrNoFolder, "make the folder on vm1: mkdir -p its path (and"},
		"20.10, no free network":      {"could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network", ErrNoNetwork, "docker network prune"},
		"28, no free network":         {"all predefined address pools have been fully subnetted", ErrNoNetwork, "default-address-pools"},
		"another processor":           {"no matching manifest for linux/amd64 in the manifest list entries", ErrPlatform, "builder.platforms"},
		"its program":                 {`failed to create task for container: exec: "/app": exec format error`, ErrPlatform, "processor of vm1"},
		"full disk":                   {"failed to register layer: write /x: no space left on device", ErrDiskFull, "vm1"},
		"no login":                    {`Head "https://r/v2/x/manifests/1": no basic auth credentials`, ErrUnauthorized, ""},
		"wrong login":                 {`Head "https://r/v2/x/manifests/1": unauthorized: authentication required`, ErrUnauthorized, ""},
		"Docker Hub, private or none": {"pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied", ErrUnauthorized, ""},
		"no such tag":                 {"manifest for r/x:1 not found: manifest unknown: manifest unknown", ErrNotFound, ""},
		"registry down":               {`Get "http://r:5000/v2/": dial tcp 10.0.0.1:5000: connect: connection refused`, ErrRegistry, "vm1"},
		"no address for the registry": {`Get "https://r/v2/": dial tcp: lookup r on 1.1.1.1:53: no such host`, ErrRegistry, "vm1"},
		"plain HTTP":                  {`Get "https://r:5000/v2/": http: server gave HTTP response to HTTPS client`, ErrRegistry, "insecure-registries"},
		"something else":              {"OCI runtime create failed", nil, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			kind, hints := classify(test.text, "vm1")
			if !errors.Is(kind, test.want) || kind == nil != (test.want == nil) {
				t.Errorf("got %v, want %v", kind, test.want)
			}
			if !strings.Contains(strings.Join(hints, "\n"), test.hint) {
				t.Errorf("got hints %q, want %q in them", hints, test.hint)
			}
		})
	}
}

func TestFail_CarriesTheExitCode(t *testing.T) {
	c := New(Options{Host: "vm1"})
	tests := map[string]struct {
		err  error
		want exit.Code
	}{
		"no answer":      {&transportError{errors.New("EOF")}, exit.Unreachable},
		"the host knows": {&transportError{exit.With(exit.Config, errors.New("x"))}, exit.Config},
		"no login":       {errors.New("Error response from daemon: unauthorized"), exit.Registry},
		"full disk":      {errors.New("Error response from daemon: no space left on device"), exit.Failed},
		"the deadline":   {&transportError{context.DeadlineExceeded}, exit.Deadline},
	}
	for name, test := range tests {
		err := c.fail("act", test.err)
		if exit.CodeOf(err) != test.want || !strings.HasPrefix(err.Error(), "act") || strings.Contains(err.Error(), "daemon:") {
			t.Errorf("%s: got %v (exit %d), want exit %d", name, err, exit.CodeOf(err), test.want)
		}
	}
}

func TestRequestName_LeavesOutWhatDiffers(t *testing.T) {
	for path, want := range map[string]string{
		"/v1.41/containers/json":                          "GET /containers/json",
		"/v1.41/containers/abc/json":                      "GET /containers/{}/json",
		"/v1.41/containers/create":                        "GET /containers/create",
		"/v1.41/containers/abc":                           "GET /containers/{}",
		"/v1.41/images/registry:5000/a/b@sha256:abc/json": "GET /images/{}/json",
		"/v1.41/images/registry:5000/a/b:1":               "GET /images/{}",
		"/v1.41/images/json":                              "GET /images/json",
		"/v1.41/networks/create":                          "GET /networks/create",
		"/_ping":                                          "GET /_ping",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := requestName(req); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func TestStatus_OfListsIsRead(t *testing.T) {
	tests := map[string]struct {
		health string
		exit   int
	}{
		"Up 5 seconds":                      {"", 0},
		"Up 5 seconds (healthy)":            {"healthy", 0},
		"Up 5 seconds (unhealthy)":          {"unhealthy", 0},
		"Up 5 seconds (health: starting)":   {"starting", 0},
		"Exited (137) 2 minutes ago":        {"", 137},
		"Restarting (1) Less than a second": {"", 1},
		"Created":                           {"", 0},
	}
	for status, test := range tests {
		if h, e := healthInStatus(status), exitInStatus(status); h != test.health || e != test.exit {
			t.Errorf("%s: got %q and %d, want %q and %d", status, h, e, test.health, test.exit)
		}
	}
}

func TestDemultiplex_TakesFramesAndPlainText(t *testing.T) {
	framed := "\x01\x00\x00\x00\x00\x00\x00\x02a\n\x02\x00\x00\x00\x00\x00\x00\x02b\n"
	for name, test := range map[string]struct{ from, want string }{
		"frames":     {framed, "a\nb\n"},
		"plain text": {"a terminal\n", "a terminal\n"},
		"short text": {"x", "x"},
		"nothing":    {"", ""},
	} {
		var out strings.Builder
		if err := demultiplex(&out, strings.NewReader(test.from)); err != nil || out.String() != test.want {
			t.Errorf("%s: got %q, %v, want %q", name, out.String(), err, test.want)
		}
	}
}

func TestVersion_ComparesByNumber(t *testing.T) {
	sorted := []string{"1.9", "1.40", "1.41", "1.100", "2.0"}
	for i, low := range sorted {
		for j, high := range sorted {
			a, errA := parseVersion(low)
			b, errB := parseVersion(high)
			if errA != nil || errB != nil || a.less(b) != (i < j) {
				t.Errorf("%s < %s: got %v (%v, %v)", low, high, a.less(b), errA, errB)
			}
		}
	}
	for _, bad := range []string{"", "1", "x.y"} {
		if v, err := parseVersion(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, v)
		}
	}
}

func TestEnded_KeepsCauseAndKind(t *testing.T) {
	cause := exit.With(exit.Interrupted, errors.New("SIGINT"))
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := Ended(ctx); err != nil {
		t.Errorf("before: got %v", err)
	}
	cancel(cause)
	err := Ended(ctx)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || exit.CodeOf(err) != exit.Interrupted {
		t.Errorf("got %v (exit %d), want the cause and context.Canceled", err, exit.CodeOf(err))
	}
}

func TestRealTags_LeaveOutNone(t *testing.T) {
	if got := realTags([]string{"<none>:<none>", "a:1"}); !slices.Equal(got, []string{"a:1"}) {
		t.Errorf("got %q", got)
	}
}
