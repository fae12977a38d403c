//go:build integration

package integration

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/kstep/kstep/integration/rig"
)

func TestDirect_DeploysWithoutARegistryAndLosesNoRequest(t *testing.T) {
	t.Parallel()
	s := settings{direct: true}
	w := begin(t, s)
	w.forbidListening("vm2")
	first := w.must("deploy")
	if strings.Count(first.Stderr, "the image was sent as a stream") != 1 || !strings.Contains(first.Stderr, "vm2: the image was sent as a stream") {
		t.Errorf("want a stream to vm2 alone:\n%s", first.Stderr)
	}
	w.serves("v1")
	load := w.traffic()
	w.commit(s.version("v2", ""))
	second := w.must("deploy")
	t.Logf("%s%s", sent(first), sent(second))
	w.serves("v2")
	w.must("rollback")
	w.serves("v1")
	w.must("deploy", "--new-release")
	w.lostNothing(load, 300)
	for _, h := range w.rig.Hosts {
		names, err := h.Exec(t.Context(), "docker", "image", "ls", "--digests", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}")
		if err != nil || strings.Contains(names, "127.0.0.1:") || !strings.Contains(names, "localhost/shop:sha256-") {
			t.Errorf("%s has the images\n%s(%v), want tags of localhost/shop alone", h.Name, names, err)
		}
	}
}

// The runner dies while an image of megabytes is on its way; the next one brings it.
func TestDirect_AKillInTheMiddleIsNoMatter(t *testing.T) {
	t.Parallel()
	s := settings{direct: true}
	w := begin(t, s)
	v := s.version("v1", "")
	v.Files["root/app/large.bin"] = noise(20_000_000)
	w.commit(v)
	w.must("build")
	w.must("push")
	p := w.start("assets")
	w.eventually(func() error {
		downloads, err := w.rig.Host("vm1").Exec(t.Context(), "sh", "-c", "ls -A /var/lib/docker/tmp; docker image ls -q localhost/shop")
		if err == nil && downloads == "" {
			err = errors.New("nothing has arrived on vm1")
		}
		return err
	})
	if err := p.Signal(t.Context(), "KILL"); err != nil {
		t.Logf("it was faster: %v", err)
	}
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	w.must("deploy")
	w.serves("v1")
}

func sent(r rig.Result) string {
	return strings.Join(regexp.MustCompile(`(?m)^.*sent [0-9.]+ MB.*$`).FindAllString(r.Stdout+r.Stderr, -1), "\n")
}

// forbidListening lets the key open no port on a host.
func (w *world) forbidListening(host string) {
	w.t.Helper()
	const keys = "/run/sshd/authorized_keys"
	w.later(func(ctx context.Context) error { return w.on(ctx, host, "sed -i 's/^permitlisten=[^ ]* //' "+keys) })
	if err := w.on(w.t.Context(), host, `sed -i 's/^/permitlisten="127.0.0.1:1" /' `+keys); err != nil {
		w.t.Fatal(err)
	}
}
