package host

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/crypto/ssh"
)

// open makes the connection that the handshake goes over.
func (d *dialer) open(ctx context.Context, from *ssh.Client, t target) (net.Conn, error) {
	switch {
	case from != nil:
		return from.DialContext(ctx, "tcp", t.address())
	case t.command != "":
		return d.startCommand(t)
	default:
		return dialTCP(ctx, t)
	}
}

// dialTCP follows AddressFamily, BindAddress and BindInterface.
func dialTCP(ctx context.Context, t target) (net.Conn, error) {
	network := map[string]string{"inet": "tcp4", "inet6": "tcp6"}[t.settings.Text("addressfamily")]
	if network == "" {
		network = "tcp"
	}
	from, err := localAddresses(network, t.settings.Text("bindaddress"), t.settings.Text("bindinterface"))
	if err != nil {
		return nil, err
	}
	if len(from) == 0 {
		return (&net.Dialer{}).DialContext(ctx, network, t.address())
	}
	var errs []error
	for _, local := range from {
		conn, err := (&net.Dialer{LocalAddr: local}).DialContext(ctx, network, t.address())
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// localAddresses are the addresses to connect from, none if it does not matter.
func localAddresses(network, address, name string) ([]net.Addr, error) {
	if address != "" {
		local, err := net.ResolveTCPAddr(network, net.JoinHostPort(address, "0"))
		if err != nil {
			return nil, fmt.Errorf("BindAddress %s: %w", address, err)
		}
		return []net.Addr{local}, nil
	}
	if name == "" {
		return nil, nil
	}
	bound, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("BindInterface %s: %w", name, err)
	}
	listed, err := bound.Addrs()
	if err != nil {
		return nil, fmt.Errorf("BindInterface %s: %w", name, err)
	}
	var found []net.Addr
	for _, one := range listed {
		ip, ok := one.(*net.IPNet)
		if !ok || ip.IP.IsLinkLocalUnicast() || network == "tcp4" && ip.IP.To4() == nil || network == "tcp6" && ip.IP.To4() != nil {
			continue
		}
		found = append(found, &net.TCPAddr{IP: ip.IP})
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("BindInterface %s has no address to connect from", name)
	}
	return found, nil
}
