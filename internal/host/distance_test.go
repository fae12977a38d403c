package host

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/sshconfig"
)

// How long a connection takes on a busy machine is not for a test to say: it compares the
// measure with the clock around it, and the decision with measures of its own.
func TestDial_MeasuresTheDistanceOfAHost(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	d := &dialer{}
	address := l.Addr().(*net.TCPAddr)
	began := time.Now()
	conn, err := d.open(context.Background(), nil, target{name: "vm1", host: "127.0.0.1", port: address.Port, settings: &sshconfig.Settings{}})
	around := time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	took, known := d.distances.Load("vm1")
	if !known {
		t.Fatal("the distance of a host that was reached is not known")
	}
	if took := took.(time.Duration); took <= 0 || took > around {
		t.Errorf("the handshake took %s, the whole call %s", took, around)
	}
}

func TestDial_KnowsWhichHostsAreNear(t *testing.T) {
	t.Parallel()
	d := &dialer{}
	if d.isNear("vm1") {
		t.Error("a host that was never reached is near")
	}
	for _, c := range []struct {
		took time.Duration
		near bool
	}{{200 * time.Microsecond, true}, {4 * time.Millisecond, true}, {20 * time.Millisecond, false}, {150 * time.Millisecond, false}} {
		d.distances.Store("vm1", c.took)
		if near := d.isNear("vm1"); near != c.near {
			t.Errorf("a host %s away: near is %v", c.took, near)
		}
	}
}
