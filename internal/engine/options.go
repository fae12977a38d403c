package engine

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/kstep/kstep/internal/runopt"
)

// apply translates options, which have been checked, and leaves alone what none
// is given for.
func apply(o runopt.Options, config *container.Config, host *container.HostConfig) {
	config.Domainname, config.User, config.WorkingDir = o.Domainname, o.User, o.Workdir
	config.Entrypoint, config.Tty, config.OpenStdin = o.Entrypoint, o.TTY, o.Interactive
	if o.Hostname != "" {
		config.Hostname = o.Hostname
	}
	host.ExtraHosts, host.CapAdd, host.CapDrop = o.AddHost, o.CapAdd, o.CapDrop
	host.DNSOptions, host.DNSSearch, host.GroupAdd = o.DNSOption, o.DNSSearch, o.GroupAdd
	host.Init, host.IpcMode, host.PidMode = o.Init, container.IpcMode(o.IPC), container.PidMode(o.PID)
	host.UTSMode, host.UsernsMode = container.UTSMode(o.UTS), container.UsernsMode(o.Userns)
	host.OomScoreAdj, host.Privileged, host.ReadonlyRootfs = o.OOMScoreAdj, o.Privileged, o.ReadOnly
	host.Runtime, host.SecurityOpt, host.ShmSize = o.Runtime, o.SecurityOpt, int64(o.ShmSize)
	host.CgroupnsMode, host.Annotations, host.PublishAllPorts = container.CgroupnsMode(o.Cgroupns), o.Annotation, o.PublishAll
	host.StorageOpt, host.Sysctls, host.VolumesFrom = o.StorageOpt, o.Sysctl, o.VolumesFrom
	for _, text := range o.DNS {
		if addr, err := netip.ParseAddr(text); err == nil {
			host.DNS = append(host.DNS, addr)
		}
	}
	for _, text := range o.Tmpfs {
		if host.Tmpfs == nil {
			host.Tmpfs = map[string]string{}
		}
		folder, options, _ := strings.Cut(text, ":")
		host.Tmpfs[folder] = options
	}
	if o.Restart != "" {
		host.RestartPolicy = restartPolicy(o.Restart)
	}
	host.Resources = resources(o)
	publish(o, config, host)
}

func resources(o runopt.Options) container.Resources {
	r := container.Resources{
		BlkioWeight: o.BlkioWeight, CgroupParent: o.CgroupParent,
		CPUPeriod: o.CPUPeriod, CPUQuota: o.CPUQuota, CPUShares: o.CPUShares,
		CPURealtimePeriod: o.CPURtPeriod, CPURealtimeRuntime: o.CPURtRuntime,
		BlkioDeviceReadBps: limits(o.DeviceReadBps, units.RAMInBytes), BlkioDeviceWriteBps: limits(o.DeviceWriteBps, units.RAMInBytes),
		BlkioDeviceReadIOps: limits(o.DeviceReadIops, runopt.Number), BlkioDeviceWriteIOps: limits(o.DeviceWriteIops, runopt.Number),
		NanoCPUs: int64(math.Round(o.CPUs * 1e9)), CpusetCpus: o.CpusetCPUs, CpusetMems: o.CpusetMems,
		DeviceCgroupRules: o.DeviceCgroupRule,
		Memory:            int64(o.Memory), MemoryReservation: int64(o.MemoryReservation), MemorySwap: int64(o.MemorySwap),
		MemorySwappiness: o.MemorySwappiness, OomKillDisable: o.OOMKillDisable, PidsLimit: o.PidsLimit,
	}
	for _, text := range o.Device {
		parts := append(strings.Split(text, ":"), "", "")
		d := container.DeviceMapping{PathOnHost: parts[0], PathInContainer: parts[1], CgroupPermissions: parts[2]}
		if d.PathInContainer == "" {
			d.PathInContainer = d.PathOnHost
		}
		if d.CgroupPermissions == "" {
			d.CgroupPermissions = "rwm"
		}
		r.Devices = append(r.Devices, d)
	}
	for _, text := range o.Ulimit {
		if limit, err := units.ParseUlimit(text); err == nil {
			r.Ulimits = append(r.Ulimits, limit)
		}
	}
	for _, text := range o.BlkioWeightDevice {
		if device, weight, err := runopt.PerDevice(text, runopt.Number); err == nil {
			r.BlkioWeightDevice = append(r.BlkioWeightDevice, &blkiodev.WeightDevice{Path: device, Weight: uint16(weight)})
		}
	}
	if o.GPUs != "" {
		r.DeviceRequests = []container.DeviceRequest{gpus(o.GPUs)}
	}
	return r
}

// limits are rates of single devices.
func limits(texts []string, read func(string) (int64, error)) []*blkiodev.ThrottleDevice {
	var all []*blkiodev.ThrottleDevice
	for _, text := range texts {
		if device, rate, err := runopt.PerDevice(text, read); err == nil {
			all = append(all, &blkiodev.ThrottleDevice{Path: device, Rate: uint64(rate)})
		}
	}
	return all
}

// endpoint is the container's place on its network.
func endpoint(s Spec) *network.EndpointSettings {
	o := s.Options
	at := &network.EndpointSettings{Aliases: s.aliases()}
	at.MacAddress = hardware(o.MacAddress)
	if o.IP == "" && o.IP6 == "" && len(o.LinkLocalIP) == 0 {
		return at
	}
	at.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: address(o.IP), IPv6Address: address(o.IP6)}
	for _, text := range o.LinkLocalIP {
		at.IPAMConfig.LinkLocalIPs = append(at.IPAMConfig.LinkLocalIPs, address(text))
	}
	return at
}

// aliases are the container's further names on its networks.
func (s Spec) aliases() []string { return slices.Concat(s.Aliases, s.Options.NetworkAlias) }

// address and hardware read what has been checked; nothing is none.
func address(text string) netip.Addr {
	addr, _ := netip.ParseAddr(text)
	return addr
}

func hardware(text string) network.HardwareAddr {
	addr, _ := net.ParseMAC(text)
	return network.HardwareAddr(addr)
}

// tooOld reports the first option that this engine would silently ignore.
func tooOld(o runopt.Options, api version) error {
	for _, option := range []struct {
		key   string
		set   bool
		needs capability
	}{
		{"annotation", len(o.Annotation) > 0, annotations},
		{"cgroupns", o.Cgroupns != "", cgroupNamespace},
		{"mac-address", o.MacAddress != "", macAddress},
	} {
		if option.set && !api.can(option.needs) {
			return fmt.Errorf("options.%s: the engine knows the API up to %s, and this option is in it since %s", option.key, api, option.needs.since())
		}
	}
	return nil
}

func gpus(text string) container.DeviceRequest {
	request := container.DeviceRequest{Capabilities: [][]string{{"gpu"}}}
	devices, named := strings.CutPrefix(text, "device=")
	n, err := strconv.Atoi(text)
	switch {
	case named:
		request.DeviceIDs = strings.Split(devices, ",")
	case err == nil:
		request.Count = n
	default:
		request.Count = -1 // All.
	}
	return request
}

// publish adds the ports to those that the spec has.
func publish(o runopt.Options, config *container.Config, host *container.HostConfig) {
	add := func(text string, bind bool) {
		mappings, err := nat.ParsePortSpec(text)
		if err != nil {
			return
		}
		for _, m := range mappings {
			port, err := network.ParsePort(string(m.Port))
			if err != nil {
				continue
			}
			if config.ExposedPorts == nil {
				config.ExposedPorts = network.PortSet{}
			}
			config.ExposedPorts[port] = struct{}{}
			if !bind {
				continue
			}
			if host.PortBindings == nil {
				host.PortBindings = network.PortMap{}
			}
			binding := network.PortBinding{HostPort: m.Binding.HostPort}
			if addr, err := netip.ParseAddr(m.Binding.HostIP); err == nil {
				binding.HostIP = addr
			}
			host.PortBindings[port] = append(host.PortBindings[port], binding)
		}
	}
	for _, text := range o.Expose {
		add(text, false)
	}
	for _, text := range o.Publish {
		add(text, true)
	}
}
