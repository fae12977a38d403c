package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
	"github.com/kstep/kstep/internal/registry/registrytest"
)

// otherImage puts an image of another name into a registry.
func otherImage(t *testing.T, s *registrytest.Server, image string) string {
	t.Helper()
	ref, err := name.ParseReference(s.Host()+"/"+image, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(100, 1)
	if err == nil {
		err = remote.Write(ref, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

// digestOf is the digest of an image in a registry that wants no login yet.
func digestOf(image string) (string, error) {
	ref, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		return "", err
	}
	found, err := remote.Head(ref)
	if err != nil {
		return "", err
	}
	return found.Digest.String(), nil
}

// withLogins gives the registry of the application a login, and a second one
// with another, which has the images of the proxy and of an accessory.
func (w *world) withLogins() (second *registrytest.Server, proxy string) {
	w.t.Helper()
	second = registrytest.New(w.t)
	proxy = otherImage(w.t, second, "mirror/traefik:v3.6")
	db := otherImage(w.t, second, "mirror/db:1")
	w.image("v1")
	w.env["APP_PASSWORD"], w.env["MIRROR_PASSWORD"] = "app-secret", "mirror-secret"
	w.configure(fmt.Sprintf(`registries:
  %q: {username: reader, password: [MIRROR_PASSWORD], insecure: true}
proxy: {image: %q}
accessories: {db: {image: %q, host: vm3}}
`, second.Host(), proxy, db))
	w.replace("insecure: true}\nservers", "insecure: true, username: deployer, password: [APP_PASSWORD]}\nservers")
	w.registry.Protect("deployer", "app-secret")
	second.Protect("reader", "mirror-secret")
	return second, proxy
}

// sawOnly expects that a registry was given one login, and no other.
func sawOnly(t *testing.T, s *registrytest.Server, login string) {
	t.Helper()
	if got := s.Logins(); !slices.Equal(got, []string{login}) {
		t.Errorf("the registry was given the logins %q, want only %q", got, login)
	}
}

func TestRegistries_EachImageIsPulledWithTheLoginOfItsServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second, proxy := w.withLogins()
	w.exits(exit.OK, "setup", "--image", w.registry.Host()+"/acme/shop:v1", "--version", "v1")
	w.serves("v1")
	w.exits(exit.OK, "accessory", "reboot", "db")
	for _, command := range []string{"boot", "reboot"} {
		w.exits(exit.OK, "proxy", "remove", "--yes")
		for _, name := range []string{"vm1", "vm2"} { // As on hosts that never had it.
			if err := w.hosts[name].Look().RemoveImage(t.Context(), proxy); err != nil {
				t.Fatal(err)
			}
		}
		w.exits(exit.OK, "proxy", command)
	}
	w.serves("v1")
	sawOnly(t, w.registry, "deployer:app-secret")
	sawOnly(t, second, "reader:mirror-secret")
}

func TestRegistries_ALoginIsNotAskedForWhereTheHostHasTheImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, proxy := w.withLogins()
	for _, fake := range w.hosts {
		fake.Engine.AddImage(proxy, hosttest.Image{})
	}
	delete(w.env, "MIRROR_PASSWORD")
	w.exits(exit.OK, "deploy", "--image", w.registry.Host()+"/acme/shop:v1", "--version", "v1")
	delete(w.env, "APP_PASSWORD") // The hosts have it now.
	for _, stage := range []string{"assets", "env-push", "boot", "barrier-wait", "cutover"} {
		w.exits(exit.OK, stage)
	}
	w.serves("v1")
}

func TestRegistries_ALoginThatIsMissingOrWrongIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second, _ := w.withLogins()
	delete(w.env, "MIRROR_PASSWORD")
	w.refuses(exit.Config, `registries["`+second.Host()+`"].password: secret MIRROR_PASSWORD is missing`, "proxy", "boot")
	w.env["MIRROR_PASSWORD"] = "wrong-secret"
	_, stderr := w.exits(exit.Registry, "proxy", "boot")
	if !strings.Contains(stderr, "hint: check the secret MIRROR_PASSWORD of user reader") || strings.Contains(stderr, "wrong-secret") {
		t.Errorf("got\n%s", stderr)
	}
	w.replace("username: reader, password: [MIRROR_PASSWORD], ", "")
	w.refuses(exit.Registry, "no login is configured for "+second.Host(), "accessory", "boot", "db")
}

func TestRegistries_TheProxysImageIsPulledWithTheApplicationsLoginFromTheSameServer(t *testing.T) {
	t.Parallel()
	for name, form := range map[string]func(image, digest string) string{
		"by its tag":    func(image, _ string) string { return image },
		"by its digest": func(image, digest string) string { return image[:strings.LastIndex(image, ":")] + "@" + digest },
	} {
		for _, command := range [][]string{{"proxy", "boot"}, {"proxy", "reboot"}, {"setup"}, {"deploy"}} {
			t.Run(name+", "+strings.Join(command, " "), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				app := w.image("v1")
				proxy := otherImage(t, w.registry, "acme/traefik:v3.6")
				ref, err := digestOf(proxy)
				if err != nil {
					t.Fatal(err)
				}
				w.configure(fmt.Sprintf("proxy: {image: %q}\n", form(proxy, ref)))
				w.replace("insecure: true}\nservers", "insecure: true, username: deployer, password: [APP_PASSWORD]}\nservers")
				w.env["APP_PASSWORD"] = "app-secret"
				w.registry.Protect("deployer", "app-secret")
				args := command
				if command[0] != "proxy" {
					args = append(slices.Clone(command), "--image", app, "--version", "v1")
				}
				w.exits(exit.OK, args...)
				if got := w.containersOf("vm1")["kstep-proxy"]; !got.Running() {
					t.Errorf("the proxy is %q", got.State)
				}
				sawOnly(t, w.registry, "deployer:app-secret")
			})
		}
	}
}
