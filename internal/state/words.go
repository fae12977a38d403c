package state

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Words are the texts that state files and plans hold whatever is deployed: the names of
// their fields, and the fixed values. A secret that is one of them cannot be kept out of
// a file.
func Words() []string {
	found := map[string]bool{}
	for _, of := range []any{
		File{}, Plan{}, BuildOutputs{}, PushOutputs{}, AssetsOutputs{}, EnvPushOutputs{}, BootOutputs{},
		BarrierWaitOutputs{}, CutoverOutputs{}, PruneOutputs{}, AbortOutputs{},
	} {
		fields(reflect.TypeOf(of), found, map[reflect.Type]bool{})
	}
	for _, word := range []string{
		APIVersion, Kind, PlanKind, string(OK), string(Unchanged), string(Partial), string(Failed), string(Interrupted),
		"sha256:", "hmac-sha256:", "docker", "buildx", "buildkit", "legacy", "routes", "health", "running", "github", "gitlab", "@accessory-", "@proxy",
	} {
		found[word] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// fields adds the names that the values of a type have in JSON.
func fields(t reflect.Type, found map[string]bool, seen map[reflect.Type]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		fields(t.Elem(), found, seen)
	case reflect.Struct:
		if seen[t] {
			return
		}
		seen[t] = true
		for f := range t.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
				found[name] = true
			}
			fields(f.Type, found, seen)
		}
	}
}
