package plan

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
)

// settings are what kstep.yml says of a role's containers, by key, without what it
// does not say.
func settings(cfg *config.Config, role config.Role) map[string]any {
	all := map[string]any{
		"cmd":      role.Cmd,
		"labels":   cfg.EffectiveLabels(role), // Their names may be anything.
		"volumes":  cfg.EffectiveVolumes(role),
		"networks": cfg.EffectiveNetworks(role),
	}
	for key, value := range map[string]any{
		"healthcheck": cfg.EffectiveHealthcheck(role), "stop": cfg.EffectiveStop(role),
		"logging": cfg.EffectiveLogging(role), "options": role.Options,
	} {
		for name, field := range object(value) {
			all[key+"."+name] = field
		}
	}
	maps.DeleteFunc(all, func(_ string, value any) bool {
		return slices.Contains([]string{"null", "[]", "{}", `""`}, compact(value))
	})
	return all
}

// Differs lists the settings in which a wanted container is another one than the one
// that runs now: a line each, with the mark of a new, another or missing one. The
// values are the wanted ones, as JSON. Of the same version, another image differs
// too.
func Differs(now engine.Container, want Wanted) []string {
	var lines []string
	if now.Labels[engine.LabelVersion] == want.Spec.Labels[engine.LabelVersion] && now.Image != want.Spec.Image {
		lines = append(lines, "~ image: "+want.Spec.Image+", was "+now.Image)
	}
	if now.Labels[engine.LabelSettings] == "" {
		return append(lines, "? its other settings: "+now.Name+" was made by an earlier kstep, which did not keep them")
	}
	had, has := parts(now), parts(engine.Container{Labels: want.Spec.Labels})
	for _, key := range slices.Sorted(maps.Keys(has)) {
		switch was, known := had[key]; {
		case !known:
			lines = append(lines, "+ "+key+": "+compact(want.settings[key]))
		case was != has[key]:
			lines = append(lines, "~ "+key+": "+compact(want.settings[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(had)) {
		if _, still := has[key]; !still {
			lines = append(lines, "- "+key)
		}
	}
	return lines
}

// parts reads the label that written made.
func parts(c engine.Container) map[string]string {
	all := map[string]string{}
	for part := range strings.FieldsSeq(c.Labels[engine.LabelSettings]) {
		if key, sum, ok := strings.Cut(part, "="); ok {
			all[key] = sum
		}
	}
	return all
}

func object(value any) map[string]any {
	var fields map[string]any
	// What is no object has no fields.
	_ = json.Unmarshal([]byte(compact(value)), &fields)
	return fields
}

func compact(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		return "" // Plain data only: cannot fail.
	}
	return string(data)
}
