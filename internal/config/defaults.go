package config

// defaults is a Config with nothing but its defaults; a file is decoded over
// it. The `default=` tags document the same values, and a test compares them.
func defaults() Config {
	const second, minute = Duration(1e9), Duration(60e9)
	return Config{
		PrimaryRole: "web",
		Healthcheck: defaultHealthcheck(),
		Stop:        defaultStop(),
		Barrier:     Barrier{Timeout: 2 * minute},
		Cutover:     Cutover{Drain: 30 * second, Probe: new(true), Timeout: 30 * second},
		Orphans:     "stop",
		Proxy: Proxy{
			Switch:      "routes",
			Image:       "traefik:v3.6",
			Publish:     defaultPublish(),
			ReadTimeout: 5 * minute,
			PathPrefix:  "/",
		},
		Builder:      Builder{Dockerfile: "Dockerfile"},
		HooksPath:    ".kstep/hooks",
		HookTimeout:  15 * minute,
		RunDirectory: ".kstep",
		Retain:       5,
		Lease:        Lease{TTL: 15 * minute},
		SSH: SSH{
			User:           "root",
			Port:           22,
			DockerSocket:   "/var/run/docker.sock",
			ConnectTimeout: 10 * second,
			ConnectRetries: 2,
			MaxDials:       30,
		},
	}
}

func defaultHealthcheck() Healthcheck {
	return Healthcheck{
		Path:     "/up",
		Port:     3000,
		Scheme:   "http",
		Verify:   true,
		Status:   Statuses{{From: 200, To: 399}},
		Interval: Duration(1e9),
		Timeout:  Duration(5e9),
		Retries:  30,
		Settle:   Duration(7e9),
		Cord:     "/tmp/kstep-cord",
	}
}

func defaultStop() Stop { return Stop{Timeout: Duration(30e9)} }

const (
	defaultStart    = "with-boot"
	defaultReplicas = 1
)
