// Package builder drives the docker command line to build an image and to save
// it: docker buildx where the plugin is, BuildKit inside docker build where the
// client has it, else the legacy builder. It knows neither git nor versions.
package builder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/platform"
	"github.com/kstep/kstep/internal/secret"
)

// Kind is which builder a docker client offers.
type Kind string

// The kinds, best first.
const (
	Buildx   Kind = "buildx"   // The buildx plugin.
	BuildKit Kind = "buildkit" // docker build with BuildKit in the client, up to docker 20.10.
	Legacy   Kind = "legacy"   // The builder before BuildKit.
)

// Builder is a docker client and the builder it offers.
type Builder struct {
	Docker string // The client's path.
	Kind   Kind
}

// Spec is an image to be built.
type Spec struct {
	Context    string // A folder, or an URL that docker understands.
	Dockerfile string // A path, or one within Context if that is an URL.
	Tag        string // Repository and tag in the engine.
	Labels     map[string]string
	Args       map[string]string
	Target     string
	Secrets    []Secret
	SSH        string
	Platforms  []string
	CacheFrom  []string
	CacheTo    []string
}

// Secret is a build secret.
type Secret struct {
	Name  string
	Value secret.Value
}

// several reports whether one image name stands for images of several
// platforms, which engines with the classic store cannot hold.
func (s Spec) several() bool { return len(s.Platforms) > 1 }

// Find checks what every docker client on PATH can do and returns the best. It
// tries the client out; version numbers say little, because distributions
// package the plugin apart from the client.
func Find(ctx context.Context) (Builder, error) {
	if platform.IsWindows {
		// A copy of a commit there has other modes, so another image.
		return Builder{}, exit.With(exit.Failed, platform.NotOnWindows("build an image"),
			platform.WSLHint, "or build elsewhere and start with kstep push --image")
	}
	clients := clients(os.Getenv("PATH"))
	if len(clients) == 0 {
		return Builder{}, exit.With(exit.Failed, errors.New("there is no docker command on PATH"),
			"install docker with the buildx plugin", "or build elsewhere and start with kstep push --image")
	}
	for _, docker := range clients {
		if _, err := capture(ctx, docker, nil, "buildx", "version"); err == nil {
			return Builder{docker, Buildx}, nil
		}
	}
	for _, docker := range clients {
		// A client that needs the plugin for BuildKit fails here already.
		help, err := capture(ctx, docker, []string{"DOCKER_BUILDKIT=1"}, "build", "--help")
		if err == nil && strings.Contains(help, "--secret") {
			return Builder{docker, BuildKit}, nil
		}
	}
	return Builder{clients[0], Legacy}, ctx.Err()
}

// clients are the docker executables on PATH, each once.
func clients(path string) []string {
	var found []string
	seen := map[string]bool{}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, "docker")
		info, err := os.Stat(file)
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			continue
		}
		if real, err := filepath.EvalSymlinks(file); err == nil && !seen[real] {
			seen[real] = true
			found = append(found, file)
		}
	}
	return found
}

// Check reports whether this builder can build the spec. warnings say what it
// has to leave out.
func (b Builder) Check(spec Spec) (warnings []string, err error) {
	const install = "install the buildx plugin (docker-buildx-plugin, docker-buildx, or https://docs.docker.com/go/buildx/)"
	if b.Kind == Buildx {
		return nil, nil
	}
	if spec.several() {
		return nil, exit.With(exit.Config, errors.New("builder.platforms: several platforms need docker buildx"), install)
	}
	if ignored := len(foreignCaches(spec.CacheFrom)) + len(spec.CacheTo); ignored > 0 {
		warnings = append(warnings, "builder.cache needs docker buildx and is not used")
	}
	if b.Kind == BuildKit {
		return warnings, nil
	}
	if len(spec.Secrets) > 0 || spec.SSH != "" {
		return nil, exit.With(exit.Config, errors.New("builder.secrets and builder.ssh need BuildKit, which this docker client does not have"), install)
	}
	return append(warnings, "docker's legacy builder is used, which is slow and about to be removed: "+install), nil
}

// arguments makes the command line. No secret is in it.
func (b Builder) arguments(spec Spec) []string {
	var args []string
	switch {
	case b.Kind == Buildx && spec.several():
		// Standard output is the archive then.
		args = []string{"buildx", "build", "--progress", "plain", "--output", "type=oci,dest=-", "--tag", spec.Tag}
	case b.Kind == Buildx:
		args = []string{"buildx", "build", "--progress", "plain", "--load", "--tag", spec.Tag}
	case b.Kind == BuildKit:
		args = []string{"build", "--progress", "plain", "--tag", spec.Tag}
	default:
		args = []string{"build", "--tag", spec.Tag}
	}
	add := func(flag, value string) {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	add("--file", spec.Dockerfile)
	add("--target", spec.Target)
	add("--platform", strings.Join(spec.Platforms, ","))
	for _, name := range slices.Sorted(maps.Keys(spec.Labels)) {
		add("--label", name+"="+spec.Labels[name])
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Args)) {
		add("--build-arg", name+"="+spec.Args[name])
	}
	for i, secret := range spec.Secrets {
		add("--secret", "id="+secret.Name+",env="+secretVariable(i))
	}
	add("--ssh", spec.SSH)
	if b.Kind == Buildx {
		for _, cache := range spec.CacheFrom {
			add("--cache-from", cache)
		}
		for _, cache := range spec.CacheTo {
			add("--cache-to", cache)
		}
	} else {
		for _, cache := range spec.CacheFrom {
			if !foreignCache(cache) {
				add("--cache-from", cache)
			}
		}
	}
	return append(args, spec.Context)
}

// environment carries the secrets, under names that mean nothing to docker,
// for a secret may be called PATH or DOCKER_HOST.
func (b Builder) environment(spec Spec) ([]string, error) {
	env := []string{
		"DOCKER_CLI_HINTS=false",
		// An attestation names the time and makes an index of one image.
		"BUILDX_NO_DEFAULT_ATTESTATIONS=1",
	}
	switch b.Kind {
	case BuildKit:
		env = append(env, "DOCKER_BUILDKIT=1")
	case Legacy:
		env = append(env, "DOCKER_BUILDKIT=0")
	}
	for i, secret := range spec.Secrets {
		value := secret.Value.Reveal()
		if len(value) > maxSecret || strings.ContainsRune(value, 0) {
			return nil, exit.Errorf(exit.Config, "build secret %s: it is longer than %d bytes or holds a zero byte", secret.Name, maxSecret)
		}
		env = append(env, secretVariable(i)+"="+value)
	}
	return env, nil
}

// maxSecret keeps below Linux's limit of 128 KiB for one variable.
const maxSecret = 120 << 10

func secretVariable(i int) string { return "KSTEP_BUILD_SECRET_" + strconv.Itoa(i) }

// foreignCache reports whether a cache is buildx's only, and no image.
func foreignCache(cache string) bool { return strings.Contains(cache, "=") }

func foreignCaches(caches []string) []string {
	return slices.DeleteFunc(slices.Clone(caches), func(c string) bool { return !foreignCache(c) })
}

func (b Builder) String() string {
	switch b.Kind {
	case Buildx:
		return fmt.Sprintf("%s buildx build", b.Docker)
	case BuildKit:
		return fmt.Sprintf("%s build with BuildKit", b.Docker)
	}
	return fmt.Sprintf("%s build with the legacy builder", b.Docker)
}
