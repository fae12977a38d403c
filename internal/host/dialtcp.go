package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

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
		conn, took, err := dialTCP(ctx, t)
		if err == nil {
			d.distances.Store(t.name, took)
		}
		return conn, err
	}
}

// near is how soon a host answers at most that is near: there the programs that a shell
// starts for an operation on a file take longer than the round trips that it saves.
const near = 5 * time.Millisecond

// isNear reports whether the host is near. One that is reached in another way than by TCP
// is not known to be.
func (d *dialer) isNear(name string) bool {
	took, known := d.distances.Load(name)
	return known && took.(time.Duration) < near
}

// dialTCP follows AddressFamily, BindAddress and BindInterface. took is one round trip:
// the handshake of TCP, without the look for the address.
func dialTCP(ctx context.Context, t target) (conn net.Conn, took time.Duration, err error) {
	began := time.Now()
	var last atomic.Int64 // Since began; several addresses may be tried at once.
	dialer := net.Dialer{Control: func(string, string, syscall.RawConn) error {
		last.Store(int64(time.Since(began)))
		return nil
	}}
	conn, err = dialFrom(ctx, t, dialer)
	return conn, time.Since(began) - time.Duration(last.Load()), err
}

func dialFrom(ctx context.Context, t target, dialer net.Dialer) (net.Conn, error) {
	network := map[string]string{"inet": "tcp4", "inet6": "tcp6"}[t.settings.Text("addressfamily")]
	if network == "" {
		network = "tcp"
	}
	from, err := localAddresses(network, t.settings.Text("bindaddress"), t.settings.Text("bindinterface"))
	if err != nil {
		return nil, err
	}
	if len(from) == 0 {
		return dialer.DialContext(ctx, network, t.address())
	}
	var errs []error
	for _, local := range from {
		dialer.LocalAddr = local
		conn, err := dialer.DialContext(ctx, network, t.address())
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
