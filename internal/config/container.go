package config

// Healthcheck sets when a container is ready for traffic.
type Healthcheck struct {
	// Cmd is run in the container as Docker's health check, instead of the
	// HTTP probe. A string goes to the image's shell, a list is executed
	// directly.
	Cmd HealthCommand `json:"cmd,omitzero"`
	// Path is requested over HTTP; a status of `status` means ready.
	Path string `json:"path" jsonschema:"default=/up"`
	// Port is where the application listens in the container.
	Port int `json:"port" jsonschema:"default=3000,minimum=1,maximum=65535"`
	// Scheme is what the application speaks at the port: `http`, `https`, or
	// `h2c`, which is HTTP/2 without TLS, as gRPC servers speak it. The proxy
	// forwards requests to it in the same way.
	Scheme string `json:"scheme" jsonschema:"enum=http,enum=https,enum=h2c,default=http"`
	// Verify checks the application's certificate, with `scheme: https`,
	// against the well-known authorities and the name `host`. `false` accepts
	// every certificate.
	Verify bool `json:"verify" jsonschema:"default=true"`
	// Host is the Host header of the request, for applications that answer to
	// their own names only. Default: the first of `proxy.hosts`.
	Host string `json:"host,omitempty"`
	// Headers are more headers of the request, such as `X-Forwarded-Proto`.
	Headers map[string]string `json:"headers,omitempty"`
	// Status is which answers mean ready: a status such as `200`, a range such
	// as `200-299`, or a list of them.
	Status Statuses `json:"status" jsonschema:"default=200-399"`
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
	// Settle is how long a container that nothing checks must stay up to be
	// ready: in a role without traffic, without `cmd` and without a HEALTHCHECK
	// in the image. A deploy ends when every new container without traffic has
	// been up for so long, whatever checks it.
	Settle Duration `json:"settle" jsonschema:"default=7s"`
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

// Stop sets how a container is stopped.
type Stop struct {
	// Signal makes the process finish. Default: the image's STOPSIGNAL,
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
