//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/kstep/kstep/integration/rig"
)

func TestOptions_ReachTheEngineAsDockerRunWouldSendThem(t *testing.T) {
	t.Parallel()
	s := settings{extra: patient}
	v := s.version("v1", "")
	v.Files["kstep.yml"] = strings.Replace(s.yaml(), "cmd: /app/bin work", `cmd: /app/bin work
    start: after-barrier
    stop: {signal: SIGINT, timeout: 3s}
    logging: {driver: json-file, options: {max-file: 2}}
    options:
      memory: 64m
      cpus: 0.5
      pids-limit: 100
      ulimit: nofile=1024:2048
      tmpfs: /scratch:size=1m
      read-only: true
      init: true
      cap-drop: ALL
      security-opt: no-new-privileges
      sysctl: {net.core.somaxconn: 1024}
      add-host: "db:192.0.2.5"
      user: 1000
      network-alias: worker
      publish: "127.0.0.1:9321:9321"
      link-local-ip: 169.254.10.1
      restart: on-failure:3`, 1)
	w := beginWith(t, v)
	for range 2 { // The second one has the port after the first one.
		w.must("deploy", "--new-release")
		out, err := w.rig.Host("vm3").Exec(t.Context(), "docker", "inspect", w.live("vm3").ID)
		if err != nil {
			t.Fatal(err)
		}
		compact := compactJSON(t, out)
		for _, want := range []string{
			`"Memory":67108864`, `"NanoCpus":500000000`, `"PidsLimit":100`, `"Ulimits":[{"Name":"nofile","Hard":2048,"Soft":1024}]`,
			`"Tmpfs":{"/scratch":"size=1m"}`, `"ReadonlyRootfs":true`, `"Init":true`, `"CapDrop":["ALL"]`, `"SecurityOpt":["no-new-privileges"]`,
			`"Sysctls":{"net.core.somaxconn":"1024"}`, `"ExtraHosts":["db:192.0.2.5"]`, `"User":"1000"`, `"worker"`,
			`"9321/tcp":[{"HostIp":"127.0.0.1","HostPort":"9321"}]`, `"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}`,
			`"LinkLocalIPs":["169.254.10.1"]`, `"StopSignal":"SIGINT"`, `"StopTimeout":3`, `"max-file":"2"`,
		} {
			if !strings.Contains(compact, want) {
				t.Errorf("the engine does not tell %s", want)
			}
		}
		w.commit(rigVersion(s, v.Files["kstep.yml"]))
	}
}

// rigVersion is the next version of an app with a kstep.yml of its own.
func rigVersion(s settings, yaml string) rig.AppVersion {
	next := s.version("v2", "")
	next.Files["kstep.yml"] = yaml
	return next
}

func compactJSON(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
