package host

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/sshconfig"
)

func TestDial_KnowsWhichHostsAreNear(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	d := &dialer{}
	if d.isNear("vm1") {
		t.Error("a host that was never reached is near")
	}
	d.distances.Store("vm1", 20*time.Millisecond)
	if d.isNear("vm1") {
		t.Error("a host 20 ms away is near")
	}
	address := l.Addr().(*net.TCPAddr)
	for range 20 { // A busy machine may take longer now and then.
		conn, err := d.open(context.Background(), nil, target{name: "vm1", host: "127.0.0.1", port: address.Port, settings: &sshconfig.Settings{}})
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if d.isNear("vm1") {
			return
		}
	}
	t.Error("a host on this machine is not near")
}
