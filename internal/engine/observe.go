package engine

import (
	"cmp"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/kstep/kstep/internal/secret"
)

// inspected translates the answer to an inspection.
func inspected(r container.InspectResponse) Container {
	c := Container{
		ID: r.ID, Name: strings.TrimPrefix(r.Name, "/"), ImageID: r.Image,
		Restarts: r.RestartCount, Created: instant(r.Created), Mounts: mountPoints(r.Mounts),
	}
	if r.Config != nil {
		c.Image, c.Labels, c.Env, c.Cmd = r.Config.Image, r.Config.Labels, r.Config.Env, r.Config.Cmd
		for port := range r.Config.ExposedPorts {
			c.Exposed = append(c.Exposed, port.String())
		}
		slices.Sort(c.Exposed)
	}
	if r.NetworkSettings != nil {
		c.Addresses, c.IPs = addresses(r.NetworkSettings.Networks), ips(r.NetworkSettings.Networks)
		c.Networks, c.Aliases = slices.Sorted(maps.Keys(r.NetworkSettings.Networks)), aliases(r.ID, r.NetworkSettings.Networks)
	}
	if r.HostConfig != nil {
		c.Restart = restartText(r.HostConfig.RestartPolicy)
		c.Published = published(r.HostConfig.PortBindings)
	}
	c.Labels = genuine(c.Name, c.Labels)
	s := r.State
	if s == nil {
		return c
	}
	c.State, c.ExitCode, c.OOMKilled, c.Error, c.Pid = string(s.Status), s.ExitCode, s.OOMKilled, s.Error, s.Pid
	c.Started, c.Finished = instant(s.StartedAt), instant(s.FinishedAt)
	if s.Health != nil && s.Health.Status != container.NoHealthcheck {
		c.Health = string(s.Health.Status)
		for _, result := range s.Health.Log {
			if result != nil {
				c.HealthLog = append(c.HealthLog, bounded(strings.TrimSpace(result.Output)))
			}
		}
	}
	return c
}

// published are the bindings as ports; those that leave the choice to the engine have
// port 0.
func published(bound network.PortMap) []Port {
	var all []Port
	for port, bindings := range bound {
		for _, b := range bindings {
			one := Port{Container: int(port.Num()), UDP: port.Proto() == network.UDP}
			one.Host, _ = strconv.Atoi(b.HostPort) // Empty: the engine chooses.
			if b.HostIP.IsValid() && !b.HostIP.IsUnspecified() {
				one.Address = b.HostIP.String()
			}
			all = append(all, one)
		}
	}
	slices.SortFunc(all, byPort)
	return all
}

func byPort(a, b Port) int {
	return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.Host, b.Host), strings.Compare(a.Address, b.Address))
}

// listening are the ports of a list that are open on the host. A port of all
// addresses is listed for IPv4 and IPv6.
func listening(ports []container.PortSummary) []Port {
	var all []Port
	for _, p := range ports {
		one := Port{Host: int(p.PublicPort), Container: int(p.PrivatePort), UDP: p.Type == "udp"}
		if p.IP.IsValid() && !p.IP.IsUnspecified() {
			one.Address = p.IP.String()
		}
		if one.Host > 0 && !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, byPort)
	return all
}

// listed translates one line of a list, which knows less.
func listed(r container.Summary) Container {
	c := Container{
		ID: r.ID, Image: r.Image, ImageID: r.ImageID, Labels: r.Labels, State: string(r.State),
		Created: time.Unix(r.Created, 0).UTC(), Mounts: mountPoints(r.Mounts),
		Published: listening(r.Ports),
	}
	for _, name := range r.Names {
		if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") { // Not a name by link.
			c.Name = name
		}
	}
	c.Labels = genuine(c.Name, c.Labels)
	if r.NetworkSettings != nil {
		c.Addresses, c.IPs = addresses(r.NetworkSettings.Networks), ips(r.NetworkSettings.Networks)
		c.Networks = slices.Sorted(maps.Keys(r.NetworkSettings.Networks))
	}
	switch {
	case r.Health != nil && r.Health.Status != container.NoHealthcheck:
		c.Health = string(r.Health.Status)
	case r.Health == nil:
		c.Health = healthInStatus(r.Status)
	}
	c.ExitCode = exitInStatus(r.Status)
	return c
}

// healthInStatus reads `Up 5 seconds (healthy)`: lists have no field for it
// before API 1.52.
func healthInStatus(status string) string {
	switch {
	case strings.HasSuffix(status, "(healthy)"):
		return string(container.Healthy)
	case strings.HasSuffix(status, "(unhealthy)"):
		return string(container.Unhealthy)
	case strings.HasSuffix(status, "(health: starting)"):
		return string(container.Starting)
	default:
		return ""
	}
}

// exitInStatus reads `Exited (137) 2 minutes ago`.
func exitInStatus(status string) int {
	_, rest, ok := strings.Cut(status, "(")
	if !ok || strings.HasPrefix(status, "Up") {
		return 0
	}
	code, _, _ := strings.Cut(rest, ")")
	n, err := strconv.Atoi(code)
	if err != nil {
		return 0
	}
	return n
}

func addresses(networks map[string]*network.EndpointSettings) map[string]string {
	found := map[string]string{}
	for name, endpoint := range networks {
		switch {
		case endpoint == nil:
		case endpoint.IPAddress.IsValid():
			found[name] = endpoint.IPAddress.String()
		case endpoint.GlobalIPv6Address.IsValid():
			found[name] = endpoint.GlobalIPv6Address.String()
		}
	}
	return found
}

// aliases leave out the container's short ID, which engines before 25.0 list among
// them and which every network has anyway.
func aliases(id string, networks map[string]*network.EndpointSettings) map[string][]string {
	found := map[string][]string{}
	for name, endpoint := range networks {
		if endpoint == nil {
			continue
		}
		found[name] = slices.DeleteFunc(slices.Clone(endpoint.Aliases), func(alias string) bool {
			return len(alias) >= 12 && strings.HasPrefix(id, alias)
		})
	}
	return found
}

// ips are sorted, so that two observations of one container are equal.
func ips(networks map[string]*network.EndpointSettings) []netip.Addr {
	var found []netip.Addr
	for _, endpoint := range networks {
		if endpoint == nil {
			continue
		}
		for _, ip := range []netip.Addr{endpoint.IPAddress, endpoint.GlobalIPv6Address} {
			if ip.IsValid() {
				found = append(found, ip)
			}
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return found
}

func mountPoints(points []container.MountPoint) []Mount {
	var list []Mount
	for _, p := range points {
		source := p.Source
		if p.Type == mount.TypeVolume {
			source = p.Name // Source is the engine's own folder for it.
		}
		list = append(list, Mount{Source: source, Target: p.Destination, ReadOnly: !p.RW})
	}
	return list
}

// instant reads the engine's time; the year 1 stands for never.
func instant(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t.UTC()
}

func imageInspected(r image.InspectResponse) Image {
	i := Image{
		ID: r.ID, Tags: realTags(r.RepoTags), Digests: r.RepoDigests,
		DiffIDs: r.RootFS.Layers, Size: r.Size, Created: instant(r.Created),
		Platform: path.Join(r.Os, r.Architecture, r.Variant),
	}
	if r.Descriptor == nil {
		i.ConfigDigest = r.ID // The classic store.
	}
	if r.Config != nil {
		i.Labels = r.Config.Labels
		check := r.Config.Healthcheck
		i.Health = check != nil && len(check.Test) > 0 && check.Test[0] != "NONE"
	}
	return i
}

func imageListed(r image.Summary) Image {
	return Image{
		ID: r.ID, Tags: realTags(r.RepoTags), Digests: r.RepoDigests, Labels: r.Labels,
		Size: r.Size, Created: time.Unix(r.Created, 0).UTC(),
	}
}

// realTags leaves out what stands for none.
func realTags(tags []string) []string {
	return slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return strings.HasPrefix(t, "<none>") })
}

// labels translates what the engine selects by. `name=` with nothing after it
// selects an empty value, so a filter without a destination does not match
// containers with one.
func (f Filter) labels() client.Filters {
	terms := client.Filters{}
	for _, name := range slices.Sorted(maps.Keys(f.Labels)) {
		terms.Add("label", name+"="+f.Labels[name])
	}
	for _, name := range f.Labeled {
		terms.Add("label", name)
	}
	return terms
}

// maxHealthOutput bounds the output of one health check, in bytes.
const maxHealthOutput = 1000

func bounded(text string) string {
	if len(text) <= maxHealthOutput {
		return text
	}
	return strings.ToValidUTF8(text[:maxHealthOutput], "") + secret.Ellipsis
}
