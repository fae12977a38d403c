package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
)

// Accessory makes the spec of an accessory's container. The fingerprints stand
// for what is in its env file and in its uploaded files.
func Accessory(cfg *config.Config, n Names, a config.Accessory, env, files string) engine.Spec {
	stop, logging := cfg.AccessoryStop(a), cfg.AccessoryLogging(a)
	options := a.Options
	options.Publish = a.Publish()
	uploaded, folders := accessoryMounts(n, a, files)
	spec := engine.Spec{
		Name:           n.Accessory(a),
		Image:          a.Image,
		Cmd:            a.Cmd,
		Labels:         map[string]string{},
		Mounts:         slices.Concat(uploaded, folders, mounts(a.Volumes)),
		Network:        Network,
		Networks:       a.Networks,
		Restart:        "unless-stopped",
		Options:        options,
		Stop:           engine.Stop{Signal: stop.Signal, Timeout: stop.Timeout.D()},
		Log:            engine.Log{Driver: logging.Driver, Options: logging.Options},
		EnvFingerprint: env,
	}
	if h := a.Healthcheck; h != nil {
		spec.Health = &engine.Health{
			Shell: h.Cmd.Shell, Exec: h.Cmd.Exec,
			Interval: h.Interval.D(), Timeout: h.Timeout.D(), StartPeriod: h.StartPeriod.D(), Retries: h.Retries,
		}
	}
	maps.Copy(spec.Labels, a.Labels)
	digest := spec.Digest()
	own(&spec, n)
	maps.Copy(spec.Labels, AccessoryLabels(n, a.Name))
	spec.Labels[engine.LabelSpec] = digest
	parts := map[string]any{
		"service": spec.Name, "image": spec.Image, "cmd": spec.Cmd, "labels": a.Labels,
		"port": a.Port, "options": a.Options, "env": env,
		"files": uploaded, "directories": folders, "volumes": a.Volumes,
		"healthcheck": spec.Health, "stop": spec.Stop, "logging": spec.Log,
	}
	if len(a.Networks) > 0 { // Containers of earlier versions do not have this part.
		parts["networks"] = a.Networks
	}
	spec.Labels[engine.LabelAccessoryParts] = written(parts)
	return spec
}

// AccessoryLabels select the containers of an accessory of this service and
// destination.
func AccessoryLabels(n Names, accessory string) map[string]string {
	return map[string]string{
		engine.LabelAccessory:            accessory,
		engine.LabelAccessoryService:     n.Service,
		engine.LabelAccessoryDestination: n.Destination,
	}
}

// AccessoryEnv is what kstep adds to an accessory's environment.
func AccessoryEnv(n Names, a config.Accessory, host string) map[string]string {
	return map[string]string{
		"KSTEP_CONTAINER_NAME": n.Accessory(a),
		"KSTEP_SERVICE":        n.Service,
		"KSTEP_ACCESSORY":      a.Name,
		"KSTEP_DESTINATION":    n.Destination,
		"KSTEP_HOST":           host,
	}
}

func accessoryMounts(n Names, a config.Accessory, files string) (uploaded, folders []engine.Mount) {
	for _, m := range a.Files {
		source := path.Join(n.AccessoryFiles(a.Name, files), m.Remote)
		uploaded = append(uploaded, engine.Mount{Source: source, Target: m.Remote, ReadOnly: m.ReadOnly()})
	}
	for _, m := range a.Directories {
		folders = append(folders, engine.Mount{Source: n.AccessoryFolder(a.Name, m.Local), Target: m.Remote, ReadOnly: m.ReadOnly()})
	}
	return uploaded, folders
}

// written sums up each part, so that Drift can name the ones that changed.
func written(parts map[string]any) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		data, err := json.Marshal(parts[name])
		if err != nil {
			panic(fmt.Sprintf("part cannot be written as JSON: %v", err)) //nolint:forbidigo // Plain data only: cannot fail.
		}
		all = append(all, name+"="+shortDigest(config.DigestOf(json.RawMessage(data))))
	}
	return strings.Join(all, " ")
}

// Drift names the keys in which an accessory's container differs from the spec;
// none if it does not.
func Drift(now engine.Container, spec engine.Spec) []string {
	if now.Labels[engine.LabelSpec] == spec.Labels[engine.LabelSpec] {
		return nil
	}
	was := strings.Fields(now.Labels[engine.LabelAccessoryParts])
	var changed []string
	for part := range strings.FieldsSeq(spec.Labels[engine.LabelAccessoryParts]) {
		if slices.Contains(was, part) {
			continue
		}
		name, _, _ := strings.Cut(part, "=")
		if name == "image" && now.Image != spec.Image {
			name = fmt.Sprintf("image (%s, not %s)", now.Image, spec.Image)
		}
		changed = append(changed, name)
	}
	if slices.ContainsFunc(was, isNetworks) && !slices.ContainsFunc(strings.Fields(spec.Labels[engine.LabelAccessoryParts]), isNetworks) {
		changed = append(changed, "networks")
	}
	if len(changed) == 0 {
		return []string{"what this kstep makes of the same settings"}
	}
	return changed
}

func isNetworks(part string) bool { return strings.HasPrefix(part, "networks=") }
