package runopt

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"
)

// Alone are the options for a container that serves no requests: those of a
// server are left out, and its restart policy.
func (o Options) Alone() Options {
	o.Expose, o.Publish, o.PublishAll, o.NetworkAlias, o.Hostname, o.Restart = nil, nil, false, nil, "", ""
	o.IP, o.IP6, o.LinkLocalIP, o.MacAddress = "", "", nil, ""
	return o
}

// Problem is what is wrong with an option; Index is the entry of a list, if it
// is one.
type Problem struct {
	Key     string
	Index   int
	Message string
}

// Check returns what the engine would refuse as malformed.
func (o Options) Check() []Problem {
	var all []Problem
	each := func(key string, list Texts, form string, parse func(string) error) {
		for i, text := range list {
			if parse(text) != nil {
				all = append(all, Problem{key, i, "must be " + form})
			}
		}
	}
	each("ulimit", o.Ulimit, "name=soft or name=soft:hard, such as nofile=65536", func(s string) error { _, err := units.ParseUlimit(s); return err })
	each("publish", o.Publish, "[address:][host port:]port[/protocol], such as 8080:80", func(s string) error { _, err := nat.ParsePortSpec(s); return err })
	each("expose", o.Expose, "port[/protocol], such as 9090/tcp", func(s string) error { _, err := nat.ParsePortSpec(s); return err })
	each("dns", o.DNS, "an address, such as 192.0.2.53", func(s string) error { _, err := netip.ParseAddr(s); return err })
	each("device", o.Device, "/dev/host[:/dev/inside[:rwm]]", func(s string) error {
		parts := strings.Split(s, ":")
		if len(parts) > 3 || slices.ContainsFunc(parts[:min(2, len(parts))], func(p string) bool { return !strings.HasPrefix(p, "/") }) ||
			len(parts) == 3 && strings.Trim(parts[2], "rwm") != "" {
			return errForm
		}
		return nil
	})
	each("tmpfs", o.Tmpfs, "/folder or /folder:options", func(s string) error {
		if !strings.HasPrefix(s, "/") {
			return errForm
		}
		return nil
	})
	each("add-host", o.AddHost, "name:address, such as db:192.0.2.5", func(s string) error {
		if name, address, ok := strings.Cut(s, ":"); !ok || name == "" || address == "" {
			return errForm
		}
		return nil
	})
	bytes := func(s string) error { _, _, err := PerDevice(s, units.RAMInBytes); return err }
	each("device-read-bps", o.DeviceReadBps, "/dev/name:bytes a second, such as /dev/sda:10mb", bytes)
	each("device-write-bps", o.DeviceWriteBps, "/dev/name:bytes a second, such as /dev/sda:10mb", bytes)
	times := func(s string) error { _, _, err := PerDevice(s, Number); return err }
	each("device-read-iops", o.DeviceReadIops, "/dev/name:number a second, such as /dev/sda:1000", times)
	each("device-write-iops", o.DeviceWriteIops, "/dev/name:number a second, such as /dev/sda:1000", times)
	each("blkio-weight-device", o.BlkioWeightDevice, "/dev/name:weight, such as /dev/sda:200; a weight is from 10 to 1000", func(s string) error {
		if _, weight, err := PerDevice(s, Number); err != nil || weight < 10 || weight > 1000 {
			return errForm
		}
		return nil
	})
	each("link-local-ip", o.LinkLocalIP, "an address, such as 169.254.10.1", func(s string) error { _, err := netip.ParseAddr(s); return err })
	one := func(key, text, form string, fits func() bool) {
		if text != "" && !fits() {
			all = append(all, Problem{Key: key, Message: "must be " + form})
		}
	}
	one("ip", o.IP, "an IPv4 address, such as 172.30.0.10", func() bool { a, err := netip.ParseAddr(o.IP); return err == nil && a.Is4() })
	one("ip6", o.IP6, "an IPv6 address, such as 2001:db8::10", func() bool { a, err := netip.ParseAddr(o.IP6); return err == nil && a.Is6() })
	one("mac-address", o.MacAddress, "six bytes, such as 02:42:ac:1e:00:0a", func() bool { a, err := net.ParseMAC(o.MacAddress); return err == nil && len(a) == 6 })
	return all
}

// PerDevice reads what is set for one device of the host, as `/dev/name:value`.
func PerDevice(text string, read func(string) (int64, error)) (device string, value int64, err error) {
	device, rest, _ := strings.Cut(text, ":")
	value, err = read(rest)
	if err == nil && (!strings.HasPrefix(device, "/dev/") || value < 0) {
		err = errForm
	}
	return device, value, err
}

// Number reads a plain number, for PerDevice.
func Number(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }

// Single are the keys of the addresses that are named, each of which only one
// container on a network can have.
func (o Options) Single() []string {
	var keys []string
	for _, option := range []struct {
		key string
		set bool
	}{{"ip", o.IP != ""}, {"ip6", o.IP6 != ""}, {"link-local-ip", len(o.LinkLocalIP) > 0}, {"mac-address", o.MacAddress != ""}} {
		if option.set {
			keys = append(keys, option.key)
		}
	}
	return keys
}

var errForm = errors.New("malformed")

// FixedPort reports whether a host port is named among those to publish, which
// only one container can have.
func (o Options) FixedPort() (index int, fixed bool) {
	index = slices.IndexFunc(o.Publish, func(s string) bool {
		ports, err := nat.ParsePortSpec(s)
		return err == nil && slices.ContainsFunc(ports, func(p nat.PortMapping) bool { return p.Binding.HostPort != "" })
	})
	return index, index >= 0
}
