package runopt

// Elsewhere says of each option of `docker run` that is not among Options why
// it is not, and what to write instead.
func Elsewhere() map[string]string {
	const (
		detached = "kstep starts containers in the background and stays attached to none"
		pulled   = "kstep pulls an image by its digest, in the stage assets, before any container is made"
		health   = "belongs under the role's healthcheck, beside options"
		stop     = "belongs under the role's stop (signal, timeout), beside options"
		network  = "containers are on a network of their service, where the proxy finds them; further ones belong beside options, as networks, and network-alias adds names"
		windows  = "is for engines on Windows; kstep deploys to Linux"
	)
	return map[string]string{
		"attach": detached, "detach": detached, "detach-keys": detached, "sig-proxy": detached,
		"pull": pulled, "quiet": pulled, "disable-content-trust": pulled,
		"platform":   "an image's platform is chosen where it is built: builder.platforms",
		"health-cmd": health, "health-interval": health, "health-retries": health, "health-timeout": health,
		"health-start-period": health, "health-start-interval": health,
		"no-healthcheck": "kstep needs to know when a container is ready; healthcheck.cmd, beside options, replaces the image's check",
		"stop-signal":    stop, "stop-timeout": stop,
		"log-driver": "belongs under the role's logging (driver), beside options",
		"log-opt":    "belongs under the role's logging (options), beside options",
		"env":        "belongs beside options, as env", "env-file": "belongs beside options, as env, with secrets under env.secret",
		"label": "belongs beside options, as labels", "label-file": "belongs beside options, as labels",
		"volume":         "belongs beside options, as volumes",
		"mount":          "belongs beside options, as volumes; for memory there is tmpfs",
		"volume-driver":  "a volume that needs a driver is made beforehand (docker volume create --driver …) and named under volumes",
		"use-api-socket": "belongs beside options, as volumes: [/var/run/docker.sock:/var/run/docker.sock]",
		"name":           "kstep names containers by service, role and version; network-alias gives them further names on their networks",
		"cidfile":        "kstep finds its containers by their labels, and has their ids in its state files",
		"rm":             "a container that was stopped stays for a rollback; retain is how many",
		"network":        network, "net": network, "net-alias": "is called network-alias", "dns-opt": "is called dns-option",
		"link":          "containers of a service find each other by name; set network-alias where the other one is declared",
		"kernel-memory": "engines and kernels have given it up; use memory",
		"isolation":     windows, "cpu-count": windows, "cpu-percent": windows, "io-maxbandwidth": windows, "io-maxiops": windows,
		"help": "is for the command line",
	}
}
