package config

// Bootstrap sets how `kstep server bootstrap` gives a host its Docker engine.
type Bootstrap struct {
	// Script is a shell script, beside kstep.yml, that installs and starts the
	// engine. It is fed to `sh -s` as root, where no engine answers. Without one,
	// kstep installs the distribution's package.
	Script string `json:"script,omitempty"`
}
