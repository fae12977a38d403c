package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
	"github.com/kstep/kstep/internal/registry"
	"github.com/kstep/kstep/internal/registry/registrytest"
)

// direct is a world without a registry, with a docker command that builds what next
// prepares: this machine's own is not the test's.
type direct struct {
	*world
	bin string
}

func newDirect(t *testing.T) *direct {
	t.Helper()
	d := &direct{newWorld(t), t.TempDir()}
	d.replace("image: acme/shop\n", "builder: {context: .}\n")
	d.replace(fmt.Sprintf("registry: {server: %q, insecure: true}\n", d.registry.Host()), "")
	d.write("Dockerfile", "FROM scratch\n")
	script := `#!/bin/sh
case "$1" in
buildx) exit 0 ;;
image) cat "$(dirname "$0")/id" ;;
save) cat "$(dirname "$0")/archive" ;;
*) exit 1 ;;
esac
`
	if err := os.WriteFile(filepath.Join(d.bin, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", d.bin+":"+os.Getenv("PATH"))
	return d
}

// next has the following build make a version: a layer of megabytes that all versions
// share, and a small one of its own.
func (d *direct) next(version string) {
	d.t.Helper()
	noise := make([]byte, 3_000_000) // Which no compression makes smaller.
	rand.NewChaCha8([32]byte{}).Read(noise)
	shared, own := layer(d.t, noise, "lib/everything"), layer(d.t, []byte(version), append(d.programs, "app/"+version)...)
	file := filepath.Join(d.bin, "archive")
	if err := os.WriteFile(file, registrytest.Archive(d.t, shared, own), 0o600); err != nil {
		d.t.Fatal(err)
	}
	archive, err := registry.OpenArchive(file)
	if err != nil {
		d.t.Fatal(err)
	}
	defer archive.Close()
	if err := os.WriteFile(filepath.Join(d.bin, "id"), []byte(archive.Image().ConfigDigest), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// sentTo is how much of the image went to each host, by the output.
func sentTo(output string) []string {
	return regexp.MustCompile(`sent [0-9.]+ MB( of [0-9.]+ MB)? in [0-9.]+s`).FindAllString(output, -1)
}

// onlySent expects that so much went to each of the three hosts.
func onlySent(t *testing.T, output, much string) {
	t.Helper()
	all := sentTo(output)
	if len(all) != 3 || slices.ContainsFunc(all, func(one string) bool { return !strings.HasPrefix(one, "sent "+much+" in") }) {
		t.Errorf("sent %q, want %s for each host\n%s", all, much, output)
	}
}

// tagged expects the host to have the version's image under tags only, one of which is made
// of its digest: no name has a port in it that is closed again.
func (d *direct) tagged(hostName, version string) {
	d.t.Helper()
	image, err := d.hosts[hostName].Look().Image(d.t.Context(), "localhost/shop:"+version)
	pinned := func(tag string) bool { return strings.HasPrefix(tag, "localhost/shop:sha256-") }
	if err != nil || len(image.Digests) > 0 || !slices.ContainsFunc(image.Tags, pinned) {
		d.t.Errorf("%s: got the image %+v, %v, want it under tags only", hostName, image, err)
	}
}

func TestDirect_ADeployNeedsNoRegistry(t *testing.T) {
	d := newDirect(t)
	d.next("v1")
	if plan, _ := d.exits(exit.OK, "plan", "--version", "v1"); !strings.Contains(plan, "vm1, vm2, vm3    + send localhost/shop:v1") {
		t.Errorf("got the plan %s\nwant the image to be sent to each host", plan)
	}
	_, out := d.exits(exit.OK, "deploy", "--version", "v1")
	onlySent(t, out, "3.0 MB")
	d.serves("v1")
	d.next("v2")
	_, out = d.exits(exit.OK, "deploy", "--version", "v2")
	onlySent(t, out, "0.0 MB of 3.0 MB")
	d.serves("v2")
	for name := range d.hosts {
		d.tagged(name, "v2")
	}
	if _, again := d.exits(exit.OK, "deploy", "--version", "v2"); len(sentTo(again)) > 0 {
		t.Errorf("again: got %s, want nothing sent", again)
	}
	d.exits(exit.OK, "rollback")
	d.serves("v1")
}

func TestDirect_StagesMeetInFilesAsWithARegistry(t *testing.T) {
	d := newDirect(t)
	d.next("v1")
	for _, stage := range []string{"build", "push", "assets", "env-push", "boot", "barrier-wait", "cutover", "prune"} {
		args := []string{stage}
		if stage == "build" {
			args = append(args, "--version", "v1")
		}
		d.exits(exit.OK, args...)
	}
	d.serves("v1")
	archive := filepath.Join(d.dir, "kstep-state", "image-v1.tar")
	if err := os.Remove(archive); err != nil {
		t.Fatal(err)
	}
	d.exits(exit.OK, "assets") // The hosts have the image.
	if err := d.hosts["vm2"].Look().RemoveImage(t.Context(), "localhost/shop:v1"); err != nil {
		t.Fatal(err)
	}
	d.exits(exit.OK, "assets") // By its other name.
}

func TestDirect_WithoutTheArchiveAndTheImageThereIsNothingToSend(t *testing.T) {
	d := newDirect(t)
	d.next("v1")
	d.exits(exit.OK, "build", "--version", "v1")
	d.exits(exit.OK, "push")
	if err := os.Remove(filepath.Join(d.dir, "kstep-state", "image-v1.tar")); err != nil {
		t.Fatal(err)
	}
	if _, stderr := d.exits(exit.MissingState, "assets"); !strings.Contains(stderr, "image-v1.tar is missing") {
		t.Errorf("got %s, want the missing archive named", stderr)
	}
}

func TestDirect_AHostThatForbidsForwardingGetsAStream(t *testing.T) {
	for name, spoil := range map[string]func(*hosttest.Fake){
		"sshd forbids it":             func(f *hosttest.Fake) { f.Set(hosttest.Mood{NoListen: true}) },
		"the engine cannot get to it": func(f *hosttest.Fake) { f.Engine.SetIsolated(true) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirect(t)
			spoil(d.hosts["vm2"])
			d.streamsTo()
		})
	}
}

// streamsTo deploys two versions, and expects a stream to vm2 alone.
func (d *direct) streamsTo() {
	t := d.t
	t.Helper()
	for _, version := range []string{"v1", "v2"} {
		d.next(version)
		_, out := d.exits(exit.OK, "deploy", "--version", version)
		if !strings.Contains(out, "vm2: the image was sent as a stream") || strings.Contains(out, "vm1: the image was sent as a stream") {
			t.Errorf("%s: got %s, want a stream to vm2 alone", version, out)
		}
		whole := 0
		for _, sent := range sentTo(out) {
			if strings.HasPrefix(sent, "sent 3.0 MB in") {
				whole++
			}
		}
		if version == "v1" && whole != 3 || version == "v2" && whole != 0 {
			t.Errorf("%s: sent %q, want the large layer once", version, sentTo(out))
		}
		d.serves(version)
		d.tagged("vm2", version)
	}
}

// An engine that fails when it has got everything gets it once more at most: it is the host
// that has to be put right.
func TestDirect_AnEngineThatCannotUnpackDoesNotGetTheImageAgainAndAgain(t *testing.T) {
	d := newDirect(t)
	for _, version := range []string{"v1", "v2"} { // The host remembers layers of the first one.
		d.hosts["vm1"].Engine.SetUnpackFails(true)
		d.next(version)
		d.exits(exit.OK, "build", "--version", version, "--new-release")
		d.exits(exit.OK, "push")
		d.operations()
		_, stderr := d.exits(exit.Failed, "assets")
		if !strings.Contains(stderr, "read-only file system") {
			t.Errorf("got %s, want what the engine says", stderr)
		}
		pulls := 0
		for _, op := range d.operations() {
			if op.Host == "vm1" && op.Name == "POST /images/create" {
				pulls++
			}
		}
		if pulls == 0 || pulls > 2 {
			t.Errorf("%s: %d pulls, want one or two", version, pulls)
		}
		d.hosts["vm1"].Engine.SetUnpackFails(false)
		d.exits(exit.OK, "deploy", "--version", version)
		d.tagged("vm1", version)
	}
}

// A name by which a delivery that was killed has pulled goes with the next one.
func TestDirect_NamesWithAPortAreTakenAway(t *testing.T) {
	d := newDirect(t)
	d.next("v1")
	d.exits(exit.OK, "build", "--version", "v1")
	d.exits(exit.OK, "push")
	left, other := "127.0.0.1:4711/localhost/shop@sha256:"+strings.Repeat("ab", 32), "127.0.0.1:4711/localhost/shop-two@sha256:"+strings.Repeat("ab", 32)
	d.hosts["vm1"].Engine.AddImage(left, hosttest.Image{})
	d.hosts["vm1"].Engine.AddImage(other, hosttest.Image{})
	d.exits(exit.OK, "assets")
	if _, err := d.hosts["vm1"].Look().Image(t.Context(), left); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("%s: got %v, want it gone", left, err)
	}
	if _, err := d.hosts["vm1"].Look().Image(t.Context(), other); err != nil {
		t.Errorf("%s of another service: %v", other, err)
	}
}

// What a host remembers of layers saves work, and is believed of nothing else.
func TestDirect_LayersThatAHostRemembersWronglyAreSentAnew(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	for name, remembered := range map[string]func(diffID string) string{
		"no JSON":            func(string) string { return "]" },
		"another digest":     func(diffID string) string { return fmt.Sprintf(`{%q: {"digest": %q, "size": 7}}`, diffID, digest) },
		"a digest like none": func(diffID string) string { return fmt.Sprintf(`{%q: {"digest": "../etc/passwd", "size": 7}}`, diffID) },
		"a negative size":    func(diffID string) string { return fmt.Sprintf(`{%q: {"digest": %q, "size": -1}}`, diffID, digest) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirect(t)
			d.next("v1")
			d.exits(exit.OK, "build", "--version", "v1")
			d.exits(exit.OK, "push")
			diffID := d.state("push")["outputs"].(map[string]any)["diffIds"].([]any)[0].(string)
			file := filepath.Join(d.hosts["vm1"].Home, ".kstep", "shop", "layers.json")
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(remembered(diffID)), 0o644); err != nil {
				t.Fatal(err)
			}
			_, out := d.exits(exit.OK, "assets")
			onlySent(t, out, "3.0 MB")
			data, err := os.ReadFile(file)
			if err != nil || strings.Contains(string(data), digest) {
				t.Errorf("the host remembers %s, %v", data, err)
			}
			d.tagged("vm1", "v1")
		})
	}
}

// Whatever breaks while the image is on its way, the same command or its own second
// attempt brings it.
func TestDirect_AConnectionThatBreaksIsMadeAgain(t *testing.T) {
	for _, broken := range []string{"POST /images/create", "POST /images/{}/tag", "DELETE /images/{}", "tcp", "write"} {
		t.Run(broken, func(t *testing.T) {
			d := newDirect(t)
			d.next("v1")
			d.exits(exit.OK, "build", "--version", "v1")
			d.exits(exit.OK, "push")
			var times atomic.Int64
			d.refuse = func(op host.Op) error {
				if op.Host == "vm1" && op.Name == broken && times.Add(1) == 1 {
					d.hosts["vm1"].Sever()
					return host.ErrConnectionLost
				}
				return nil
			}
			d.exits(exit.OK, "assets")
			if times.Load() == 0 {
				t.Fatal("it was never done")
			}
			d.tagged("vm1", "v1")
		})
	}
}

func TestDirect_WhatCannotGoWithoutARegistryIsTold(t *testing.T) {
	for wrong, says := range map[string]string{
		"service: shop\nregistry: {server: ghcr.io}\nservers: [vm1]\n": "registry: has no image to push there",
		"service: shop_\nservers: [vm1]\n":                             "service: is the name of the image, too",
		"service: a-_b\nservers: [vm1]\n":                              "service: is the name of the image, too",
	} {
		d := newWorld(t)
		d.write("kstep.yml", wrong)
		if _, stderr := d.exits(exit.Config, "config", "validate"); !strings.Contains(stderr, says) {
			t.Errorf("got %s, want %q", stderr, says)
		}
	}
}

func TestDirect_ARollbackTakesTheImageThatHostsHave(t *testing.T) {
	d := newDirect(t)
	for _, version := range []string{"v1", "v2"} {
		d.next(version)
		d.exits(exit.OK, "deploy", "--version", version)
	}
	if err := os.RemoveAll(filepath.Join(d.dir, "kstep-state")); err != nil {
		t.Fatal(err)
	}
	d.exits(exit.OK, "rollback", "--fresh", "v1") // Its containers are made anew.
	d.serves("v1")
	d.exits(exit.OK, "rollback", "v2")
	d.serves("v2")
	image, err := d.hosts["vm2"].Look().Image(t.Context(), "localhost/shop:v1")
	if err != nil {
		t.Fatal(err)
	}
	containers, err := d.hosts["vm2"].Look().Containers(t.Context(), engine.Filter{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers {
		if c.Labels[engine.LabelVersion] == "v1" {
			if err := d.hosts["vm2"].Look().Remove(t.Context(), c.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tag := range image.Tags {
		if err := d.hosts["vm2"].Look().RemoveImage(t.Context(), tag); err != nil {
			t.Fatal(err)
		}
	}
	_, stderr := d.exits(exit.MissingState, "rollback", "--fresh", "v1")
	if !strings.Contains(stderr, "vm2 does not have the image localhost/shop:sha256-") {
		t.Errorf("got %s, want the host without the image named", stderr)
	}
	d.serves("v2")
}
