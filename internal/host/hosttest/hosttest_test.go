package hosttest_test

import (
	"context"
	"testing"

	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestFake_PassesTheSuiteOfRealHosts(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{host.EngineSocket, host.EngineStdio} {
		t.Run(transport, func(t *testing.T) {
			fake := hosttest.NewFake(t, "vm1")
			fake.Engine.AddImage("suite:1", hosttest.Image{
				Cmd:   []string{"serve"},
				Files: map[string]string{"/www/index.html": "hello"},
			})
			opts := hosttest.Options(t, fake)
			opts.EngineTransport = transport
			pool := hosttest.NewPool(t, opts)
			hosttest.Suite(t, func(t *testing.T) host.Host {
				h, err := pool.Get(t.Context(), "vm1")
				if err != nil {
					t.Fatal(err)
				}
				return h
			}, "suite:1", func(context.Context) error {
				fake.Engine.Restart()
				return nil
			})
		})
	}
}
