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
				Links: map[string]string{
					"/links/www": "/www", "/links/outside": "../../../../www", "/links/missing": "/missing", "/links/file": "/www/index.html", "/links/root": "/",
				},
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

func TestFiles_PassTheSuiteByEveryWay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ shell, transport string }{
		"SFTP alone":          {"", host.FilesSFTP},
		"a real shell":        {"/bin/sh", host.FilesShell},
		"a login shell, bash": {"/bin/bash", host.FilesShell},
		"an imitation of one": {"", host.FilesShell},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := hosttest.NewFake(t, "vm1")
			fake.Set(hosttest.Mood{LoginShell: test.shell})
			opts := hosttest.Options(t, fake)
			opts.FilesTransport = test.transport
			h, err := hosttest.NewPool(t, opts).Get(t.Context(), "vm1")
			if err != nil {
				t.Fatal(err)
			}
			hosttest.SuiteFiles(t, h)
		})
	}
}
