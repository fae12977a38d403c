package config

// Healthcheck tells when a container is ready for traffic.
type Healthcheck struct {
	// Cmd is run in the container as Docker's health check, instead of the
	// HTTP probe. A string goes to the image's shell, a list is executed
	// directly.
	Cmd HealthCommand `json:"cmd,omitzero"`
	// Path is asked over HTTP; any 2xx or 3xx answer means ready.
	Path string `json:"path" jsonschema:"default=/up"`
	// Port is where the application listens in the container.
	Port int `json:"port" jsonschema:"default=3000,minimum=1,maximum=65535"`
	// Interval is the time between two checks.
	Interval Duration `json:"interval" jsonschema:"default=1s"`
	// Timeout is how long one check may take.
	Timeout Duration `json:"timeout" jsonschema:"default=5s"`
	// StartPeriod is how long failing checks are not held against a new
	// container.
	StartPeriod Duration `json:"start_period" jsonschema:"default=0s"`
	// Retries is how many failing checks in a row, after the start period,
	// make a new container sick. An application that refuses connections
	// while it boots is not counted as failing until `barrier.timeout`.
	Retries int `json:"retries" jsonschema:"default=30,minimum=1"`
	// Cord is the folder in the container where the cord is mounted, with
	// `proxy.switch: cord`.
	Cord string `json:"cord" jsonschema:"default=/tmp/kstep-cord"`
}

// HealthCommand is a health check in the engine's form: Shell for the image's
// shell, else Exec.
type HealthCommand struct {
	Shell string
	Exec  []string
}

// Stop tells how a container is asked to end.
type Stop struct {
	// Signal asks the process to finish. Default: the image's STOPSIGNAL,
	// else SIGTERM.
	Signal string `json:"signal,omitempty"`
	// Timeout is how long the process may take before it is killed.
	Timeout Duration `json:"timeout" jsonschema:"default=30s"`
}

// Logging is a Docker log driver with its options.
type Logging struct {
	// Driver is the log driver; empty means the engine's default.
	Driver string `json:"driver,omitempty"`
	// Options are the driver's options. Default for json-file and local:
	// `max-size: 10m`.
	Options map[string]string `json:"options,omitempty"`
}
