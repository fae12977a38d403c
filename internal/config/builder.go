package config

// Builder sets how the image is built.
type Builder struct {
	// Context is the build context. Default: a clean clone of the commit;
	// `.` builds the working tree as it is.
	Context string `json:"context,omitempty"`
	// Dockerfile is the path of the Dockerfile below the context.
	Dockerfile string `json:"dockerfile" jsonschema:"default=Dockerfile"`
	// Target is the Dockerfile stage to build.
	Target string `json:"target,omitempty"`
	// Args are build arguments.
	Args map[string]string `json:"args,omitempty"`
	// Secrets are names of build secrets, mounted with
	// `RUN --mount=type=secret,id=NAME`.
	Secrets []string `json:"secrets,omitempty"`
	// SSH forwards an agent to the build, such as `default`.
	SSH string `json:"ssh,omitempty"`
	// Platforms are what to build for, such as `linux/amd64`. Several need buildx.
	Platforms []string `json:"platforms,omitempty"`
	// Cache is buildx's layer cache.
	Cache Cache `json:"cache,omitzero"`
}

// Cache is buildx's layer cache.
type Cache struct {
	// From are `--cache-from` values, such as `type=gha`.
	From []string `json:"from,omitempty"`
	// To are `--cache-to` values, such as `type=gha,mode=max`.
	To []string `json:"to,omitempty"`
}
