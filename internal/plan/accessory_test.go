package plan

import (
	"slices"
	"testing"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
)

func TestAccessory_DriftNamesTheKeysThatDiffer(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{}
	n := Names{Service: "shop", Destination: "staging", Run: "/run"}
	base := config.Accessory{
		Name: "db", Image: "db:1", Port: "53/udp", Files: []config.Mounted{{Local: "a", Remote: "/etc/a"}},
		Directories: []config.Mounted{{Local: "data", Remote: "/data"}, {Local: "/srv/x/", Remote: "/x", Options: "ro"}},
	}
	was := Accessory(cfg, n, base, "hmac-sha256:aaaa", "hmac-sha256:0123456789abcdef")
	want := []engine.Mount{
		{Source: "/run/@accessories/shop-staging/db/files@0123456789ab/etc/a", Target: "/etc/a"},
		{Source: "/run/@accessories/shop-staging/db/directories/data", Target: "/data"},
		{Source: "/srv/x", Target: "/x", ReadOnly: true},
	}
	if was.Name != "shop-db-staging" || !slices.Equal(was.Mounts, want) || !slices.Equal(was.Options.Publish, []string{"53:53/udp"}) {
		t.Errorf("got %+v", was)
	}
	now := engine.Container{Image: was.Image, Labels: was.Labels}
	for name, tt := range map[string]struct {
		change     func(*config.Accessory)
		env, files string
		want       []string
	}{
		"nothing":       {func(*config.Accessory) {}, "hmac-sha256:aaaa", "hmac-sha256:0123456789abcdef", nil},
		"the image":     {func(a *config.Accessory) { a.Image = "db:2" }, "hmac-sha256:aaaa", "hmac-sha256:0123456789abcdef", []string{"image (db:1, not db:2)"}},
		"a value":       {func(*config.Accessory) {}, "hmac-sha256:bbbb", "hmac-sha256:0123456789abcdef", []string{"env"}},
		"a file":        {func(*config.Accessory) {}, "hmac-sha256:aaaa", "hmac-sha256:ffff", []string{"files"}},
		"several":       {func(a *config.Accessory) { a.Cmd, a.Port = []string{"x"}, "1" }, "hmac-sha256:aaaa", "hmac-sha256:0123456789abcdef", []string{"cmd", "port"}},
		"a directory":   {func(a *config.Accessory) { a.Directories = a.Directories[:1] }, "hmac-sha256:aaaa", "hmac-sha256:0123456789abcdef", []string{"directories"}},
		"a label":       {func(a *config.Accessory) { a.Labels = map[string]string{"a": "b"} }, "hmac-sha256:aaaa", "hmac-sha256:0123456789abcdef", []string{"labels"}},
		"memory":        {func(a *config.Accessory) { a.Options.Memory = 1 }, "hmac-sha256:aaaa", "hmac-sha256:0123456789abcdef", []string{"options"}},
		"another name":  {func(a *config.Accessory) { a.Service = "main" }, "hmac-sha256:aaaa", "hmac-sha256:0123456789abcdef", []string{"service"}},
		"a check":       {func(a *config.Accessory) { a.Healthcheck = &config.AccessoryHealthcheck{Retries: 1} }, "hmac-sha256:aaaa", "hmac-sha256:0123456789abcdef", []string{"healthcheck"}},
		"a grace":       {func(a *config.Accessory) { a.Stop = &config.Stop{Timeout: 1} }, "hmac-sha256:aaaa", "hmac-sha256:0123456789abcdef", []string{"stop"}},
		"a log driver":  {func(a *config.Accessory) { a.Logging = &config.Logging{Driver: "local"} }, "hmac-sha256:aaaa", "hmac-sha256:0123456789abcdef", []string{"logging"}},
		"a named mount": {func(a *config.Accessory) { a.Volumes = []string{"v:/v"} }, "hmac-sha256:aaaa", "hmac-sha256:0123456789abcdef", []string{"volumes"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := base
			tt.change(&a)
			if got := Drift(now, Accessory(cfg, n, a, tt.env, tt.files)); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
