package plan

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"strconv"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/cord"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/state"
)

// Wanted is one of a target's new containers: what to create, and the folders that
// must exist for it.
type Wanted struct {
	Spec engine.Spec
	// CordDir is the host folder of its cord, with the cord switch.
	CordDir string
	// settings are what kstep.yml says of it.
	settings map[string]any
}

// Container makes the spec of one of a target's containers; replica counts from
// 1. The digest in its spec label covers all that the user can set, but not the
// release: a new release that wants the same container finds it and leaves it
// alone.
func Container(cfg *config.Config, n Names, t Target, replica int, version, release string,
	push state.PushOutputs, assets state.AssetsTarget, env state.EnvTarget,
) Wanted {
	stop := cfg.EffectiveStop(t.Role)
	logging := cfg.EffectiveLogging(t.Role)
	spec := engine.Spec{
		Name:           n.Replica(t.Role.Name, version, replica),
		Image:          push.Reference(),
		Cmd:            t.Role.Cmd,
		Labels:         map[string]string{},
		Mounts:         append(mounts(cfg.EffectiveVolumes(t.Role)), assetMounts(cfg, assets.Volumes)...),
		Network:        Network,
		Networks:       cfg.EffectiveNetworks(t.Role),
		Restart:        defaultRestart,
		Options:        t.Role.Options,
		Stop:           engine.Stop{Signal: stop.Signal, Timeout: stop.Timeout.D()},
		Log:            engine.Log{Driver: logging.Driver, Options: logging.Options},
		EnvFingerprint: env.Fingerprint,
	}
	maps.Copy(spec.Labels, cfg.EffectiveLabels(t.Role))
	spec.Health = health(cfg, t)
	cordPath := ""
	if t.Proxied && cfg.Proxy.Switch == "cord" {
		hc := cfg.EffectiveHealthcheck(t.Role)
		cordPath = hc.Cord
		spec.Health = cord.Health(hc)
		route := n.CordService(t.Role.Name)
		spec.Labels["traefik.enable"] = "true"
		spec.Labels["traefik.http.services."+route+".loadbalancer.server.port"] = fmt.Sprint(hc.Port)
		if hc.Scheme != "" && hc.Scheme != "http" {
			spec.Labels["traefik.http.services."+route+".loadbalancer.server.scheme"] = hc.Scheme
		}
		// Defined in kstep's own route file, beside the router.
		spec.Labels["traefik.http.services."+route+".loadbalancer.serverstransport"] = n.Route(t.Role.Name) + "@file"
		// The real router lives in kstep's own route file: two containers whose
		// labels define one router differently make Traefik drop it. This one
		// only keeps Traefik from making a default one for each container.
		spec.Labels["traefik.http.routers."+route+".rule"] = "Host(`kstep.invalid`)"
		spec.Labels["traefik.http.routers."+route+".service"] = route
	}
	digest := spec.Digest()
	own(&spec, n)
	wanted := Wanted{settings: settings(cfg, t.Role)}
	if cordPath != "" {
		// Of several networks Traefik takes this one's address. Not in the digest, as
		// the network itself.
		spec.Labels["traefik.docker.network"] = spec.Network
		// Not in the digest: the containers of earlier versions of kstep, which
		// did not send the name, stay as they are.
		named := cfg.EffectiveHealthcheck(t.Role)
		named.Host = cfg.HealthHost(t.Role)
		spec.Health = cord.Health(named)
		of := digest
		if push.Anew { // The equal container that it replaces has that one's cord.
			of = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(digest+" "+release)))
		}
		wanted.CordDir = n.CordDir(t.Role.Name, version, of)
		spec.Mounts = append(spec.Mounts, engine.Mount{Source: wanted.CordDir, Target: cordPath, ReadOnly: true})
	}
	maps.Copy(spec.Labels, map[string]string{
		engine.LabelService:     n.Service,
		engine.LabelRole:        t.Role.Name,
		engine.LabelReplica:     strconv.Itoa(replica),
		engine.LabelDestination: n.Destination,
		engine.LabelVersion:     version,
		engine.LabelRelease:     release,
		engine.LabelRun:         n.Run,
		engine.LabelSpec:        digest,
		engine.LabelSettings:    written(wanted.settings),
		engine.LabelRestart:     spec.RestartPolicy(),
		engine.LabelNetwork:     spec.Network,
	})
	if scheme := cfg.EffectiveHealthcheck(t.Role).Scheme; t.Proxied && scheme != "" && scheme != "http" {
		spec.Labels[engine.LabelScheme] = scheme
	}
	spec.Env = ownEnv(n, t, spec.Name, version)
	wanted.Spec = spec
	return wanted
}

// defaultRestart is the restart policy of roles that do not configure one.
const defaultRestart = "unless-stopped"

// RestartPolicy is the restart policy that the config sets for a role.
func RestartPolicy(role config.Role) string {
	return engine.Spec{Restart: defaultRestart, Options: role.Options}.RestartPolicy()
}

// Task makes the spec of a task's container: the target's, but for what makes
// that one a server. Traffic, assets and health checks are no matter of a task,
// and it runs once.
func Task(cfg *config.Config, n Names, t Target, task config.Task, version, release string, push state.PushOutputs, env state.EnvTarget) engine.Spec {
	stop := cfg.EffectiveStop(t.Role)
	logging := cfg.EffectiveLogging(t.Role)
	spec := engine.Spec{
		Name:           n.Task(task.Name, version),
		Image:          push.Reference(),
		Cmd:            task.Cmd,
		Labels:         map[string]string{},
		Mounts:         mounts(cfg.EffectiveVolumes(t.Role)),
		Network:        Network,
		Networks:       cfg.EffectiveNetworks(t.Role),
		Options:        t.Role.Options.Alone(),
		Stop:           engine.Stop{Signal: stop.Signal, Timeout: stop.Timeout.D()},
		Log:            engine.Log{Driver: logging.Driver, Options: logging.Options},
		EnvFingerprint: env.Fingerprint,
	}
	digest := spec.Digest()
	own(&spec, n)
	maps.Copy(spec.Labels, map[string]string{
		engine.LabelService:     n.Service,
		engine.LabelTask:        task.Name,
		engine.LabelDestination: n.Destination,
		engine.LabelVersion:     version,
		engine.LabelRelease:     release,
		engine.LabelSpec:        digest,
	})
	spec.Env = ownEnv(n, t, spec.Name, version)
	spec.Env["KSTEP_TASK"] = task.Name
	return spec
}

// own puts a container into its service's network. The digest was made with the one
// network that earlier versions of kstep had, so that their containers are equal
// to new ones, and a deploy that changes nothing replaces none (ADR 8).
func own(spec *engine.Spec, n Names) { spec.Network = n.Network() }

// ownEnv is what kstep adds to every container's environment.
func ownEnv(n Names, t Target, name, version string) map[string]string {
	return map[string]string{
		"KSTEP_CONTAINER_NAME": name,
		"KSTEP_VERSION":        version,
		"KSTEP_SERVICE":        n.Service,
		"KSTEP_ROLE":           t.Role.Name,
		"KSTEP_DESTINATION":    n.Destination,
		"KSTEP_HOST":           t.Host,
	}
}

// health is Docker's own check: only where the user gave a command. Readiness
// over HTTP is probed by kstep and needs nothing in the image.
func health(cfg *config.Config, t Target) *engine.Health {
	hc := cfg.EffectiveHealthcheck(t.Role)
	if hc.Cmd.Shell == "" && len(hc.Cmd.Exec) == 0 {
		return nil
	}
	return &engine.Health{
		Shell: hc.Cmd.Shell, Exec: hc.Cmd.Exec,
		Interval: hc.Interval.D(), Timeout: hc.Timeout.D(),
		StartPeriod: hc.StartPeriod.D(), Retries: hc.Retries,
	}
}

func mounts(volumes []string) []engine.Mount {
	var all []engine.Mount
	for _, v := range volumes {
		one := config.ParseVolume(v)
		all = append(all, engine.Mount{
			Source: one.Source, Target: one.Target, ReadOnly: one.ReadOnly,
			Relabel: one.Relabel, NoCopy: one.NoCopy, Propagation: one.Propagation, Consistency: one.Consistency,
		})
	}
	return all
}

// assetMounts are read-only by default: kstep writes into these folders on the
// host, as the SSH user, and must not be led astray by a container.
func assetMounts(cfg *config.Config, volumes []state.AssetVolume) []engine.Mount {
	var all []engine.Mount
	for _, v := range volumes {
		all = append(all, engine.Mount{Source: v.HostDir, Target: v.Path, ReadOnly: !cfg.Assets[v.Path].Writable})
	}
	return all
}
