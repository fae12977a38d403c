package rig

import (
	"context"
	"net"
	"testing"
)

func TestAuthority_ItsDNSAnswersWithTheAddressesOfHosts(t *testing.T) {
	t.Parallel()
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	a := &Authority{dns: socket, names: map[string]net.IP{}}
	go a.answer()
	a.Name("shop.kstep.test", &Host{Addr: "192.0.2.7"})
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", socket.Addr().String())
	}}
	if got, err := resolver.LookupHost(t.Context(), "shop.kstep.test."); err != nil || len(got) != 1 || got[0] != "192.0.2.7" {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := resolver.LookupHost(t.Context(), "other.kstep.test."); err == nil {
		t.Errorf("an unknown name has the addresses %v", got)
	}
}
