package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Digest identifies the wanted container: `sha256:` over its canonical JSON.
// The label that carries the digest is left out of it, and secret values take
// part by their fingerprint only.
func (s Spec) Digest() string {
	s.Labels = maps.Clone(s.Labels)
	delete(s.Labels, LabelSpec)
	data, err := json.Marshal(s) // Maps are written with sorted keys.
	if err != nil {
		panic(fmt.Sprintf("spec cannot be written as JSON: %v", err)) //nolint:forbidigo // Plain data only: cannot fail.
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// createRequest translates a spec. It guards every field that an older engine
// would silently ignore or refuse.
func createRequest(s Spec, api version) client.ContainerCreateOptions {
	config := &container.Config{
		Hostname:    s.Hostname,
		Image:       s.Image,
		Cmd:         s.Cmd,
		Env:         environment(s.Env),
		Labels:      labelled(s.Labels),
		StopSignal:  s.Stop.Signal,
		StopTimeout: seconds(s.Stop.Timeout),
		Healthcheck: healthcheck(s.Health),
	}
	hostConfig := &container.HostConfig{
		RestartPolicy: restartPolicy(s.Restart),
		LogConfig:     container.LogConfig{Type: s.Log.Driver, Config: s.Log.Options},
		Mounts:        mounts(s.Mounts, api),
		Binds:         binds(s.Mounts),
	}
	config.ExposedPorts, hostConfig.PortBindings = ports(s.Ports)
	apply(s.Options, config, hostConfig)
	options := client.ContainerCreateOptions{Name: s.Name, Config: config, HostConfig: hostConfig}
	if s.Network != "" {
		hostConfig.NetworkMode = container.NetworkMode(s.Network)
		options.NetworkingConfig = &network.NetworkingConfig{
			EndpointsConfig: map[string]*network.EndpointSettings{s.Network: endpoint(s)},
		}
	}
	return options
}

// environment sorts, so that equal maps make equal containers. Values go as
// they are: the API has no trouble with newlines, quotes or dollars.
func environment(env map[string]string) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// seconds rounds up: a grace of half a second must not become none.
func seconds(d time.Duration) *int {
	if d <= 0 {
		return nil
	}
	n := int(math.Ceil(d.Seconds()))
	return &n
}

func healthcheck(h *Health) *container.HealthConfig {
	if h == nil {
		return nil
	}
	check := &container.HealthConfig{
		Interval:    h.Interval,
		Timeout:     h.Timeout,
		StartPeriod: h.StartPeriod,
		Retries:     h.Retries,
	}
	if h.Shell != "" {
		check.Test = []string{"CMD-SHELL", h.Shell}
	} else {
		check.Test = append([]string{"CMD"}, h.Exec...)
	}
	return check
}

// mounts are requested as mounts, not as binds: a missing host folder is then
// an error and not an empty one that belongs to root.
func mounts(wanted []Mount, api version) []mount.Mount {
	var list []mount.Mount
	for _, m := range wanted {
		if m.Relabel != "" {
			continue
		}
		kind := mount.TypeVolume
		if path.IsAbs(m.Source) {
			kind = mount.TypeBind
		}
		one := mount.Mount{Type: kind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
		if kind == mount.TypeBind && m.ReadOnly && api.can(readOnlyRecursive) {
			// From 1.44 on read-only means all the way down, which fails on
			// kernels before 5.12 unless it may fall back; this is the fall-back.
			one.BindOptions = &mount.BindOptions{ReadOnlyNonRecursive: true}
		}
		if m.Propagation != "" {
			if one.BindOptions == nil {
				one.BindOptions = &mount.BindOptions{}
			}
			one.BindOptions.Propagation = mount.Propagation(m.Propagation)
		}
		if m.NoCopy {
			one.VolumeOptions = &mount.VolumeOptions{NoCopy: true}
		}
		one.Consistency = mount.Consistency(m.Consistency)
		list = append(list, one)
	}
	return list
}

// binds are the mounts with a label of SELinux, which only this older form of
// the API has.
func binds(wanted []Mount) []string {
	var list []string
	for _, m := range wanted {
		if m.Relabel == "" {
			continue
		}
		options := []string{m.Relabel}
		if m.ReadOnly {
			options = append(options, "ro")
		}
		if m.NoCopy {
			options = append(options, "nocopy")
		}
		for _, option := range []string{m.Propagation, m.Consistency} {
			if option != "" {
				options = append(options, option)
			}
		}
		list = append(list, m.Source+":"+m.Target+":"+strings.Join(options, ","))
	}
	return list
}

func ports(wanted []Port) (network.PortSet, network.PortMap) {
	if len(wanted) == 0 {
		return nil, nil
	}
	exposed, bound := network.PortSet{}, network.PortMap{}
	for _, p := range wanted {
		protocol := network.TCP
		if p.UDP {
			protocol = network.UDP
		}
		port, ok := network.PortFrom(uint16(p.Container), protocol)
		if !ok {
			continue // 0 is not a port; the schema refuses it.
		}
		exposed[port] = struct{}{}
		address, _ := netip.ParseAddr(p.Address) // The zero one is all addresses.
		bound[port] = append(bound[port], network.PortBinding{HostIP: address, HostPort: fmt.Sprint(p.Host)})
	}
	return exposed, bound
}
