package main

import (
	"maps"
	"reflect"

	"github.com/invopop/jsonschema"

	"github.com/kstep/kstep/internal/state"
)

const stateID = "https://kstep.dev/schema/v1/state.schema.json"

// outputs are the stages' typed outputs, in the order of the pipeline.
func outputs() []struct {
	stage string
	value any
} {
	return []struct {
		stage string
		value any
	}{
		{"build", state.BuildOutputs{}},
		{"push", state.PushOutputs{}},
		{"assets", state.AssetsOutputs{}},
		{"env-push", state.EnvPushOutputs{}},
		{"boot", state.BootOutputs{}},
		{"barrier-wait", state.BarrierWaitOutputs{}},
		{"cutover", state.CutoverOutputs{}},
		{"prune", state.PruneOutputs{}},
		{"abort", state.AbortOutputs{}},
	}
}

// stateSchema reflects the envelope of a state file and, depending on its
// stage, the outputs in it. Unknown fields are admitted: a reader ignores them
// within a major version.
func stateSchema() (*jsonschema.Schema, error) {
	r, err := stateReflector()
	if err != nil {
		return nil, err
	}
	r.Mapper = func(t reflect.Type) *jsonschema.Schema {
		if t == reflect.TypeFor[state.Status]() {
			return &jsonschema.Schema{Type: "string", Enum: []any{
				state.OK, state.Unchanged, state.Partial, state.Failed, state.Interrupted,
			}}
		}
		return nil
	}
	s := r.Reflect(state.File{})
	s.ID = stateID
	s.Title = "kstep state file"
	constant(s, "apiVersion", text(`^kstep/v1(\.[0-9]+)?$`, "must be "+state.APIVersion))
	all := map[string]reflect.Type{}
	types(reflect.TypeFor[state.File](), all)
	for _, o := range outputs() {
		t := reflect.TypeOf(o.value)
		types(t, all)
		def := r.Reflect(o.value)
		maps.Copy(s.Definitions, def.Definitions)
		def.Version, def.Definitions = "", nil
		s.Definitions[t.Name()] = def
		s.AllOf = append(s.AllOf, outputsOf(o.stage, t.Name()))
	}
	complete(s, all["File"])
	nullable(s)
	for name, def := range s.Definitions {
		if t, ok := all[name]; ok {
			complete(def, t)
		}
		nullable(def)
	}
	return s, nil
}

func stateReflector() (*jsonschema.Reflector, error) {
	r, err := newReflector("internal/state")
	if err != nil {
		return nil, err
	}
	r.AllowAdditionalProperties = true
	r.RequiredFromJSONSchemaTags = false // What is not omitempty is always there.
	return r, nil
}

const planID = "https://kstep.dev/schema/v1/plan.schema.json"

// planSchema reflects a plan file.
func planSchema() (*jsonschema.Schema, error) {
	r, err := stateReflector()
	if err != nil {
		return nil, err
	}
	s := r.Reflect(state.Plan{})
	s.ID = planID
	s.Title = "kstep plan file"
	constant(s, "apiVersion", text(`^kstep/v1(\.[0-9]+)?$`, "must be "+state.APIVersion))
	constant(s, "kind", text("^"+state.PlanKind+"$", "must be "+state.PlanKind))
	all := map[string]reflect.Type{}
	types(reflect.TypeFor[state.Plan](), all)
	complete(s, all["Plan"])
	nullable(s)
	for name, def := range s.Definitions {
		if t, ok := all[name]; ok {
			complete(def, t)
		}
		nullable(def)
	}
	return s, nil
}

func constant(s *jsonschema.Schema, key string, value *jsonschema.Schema) {
	p, _ := s.Properties.Get(key)
	p.Pattern, p.Extras = value.Pattern, value.Extras
}

// outputsOf says: a file of this stage has these outputs, if it has any.
func outputsOf(stage, def string) *jsonschema.Schema {
	is, has := jsonschema.NewProperties(), jsonschema.NewProperties()
	is.Set("stage", &jsonschema.Schema{Const: stage})
	has.Set("outputs", ref(def))
	return &jsonschema.Schema{If: &jsonschema.Schema{Properties: is}, Then: &jsonschema.Schema{Properties: has}}
}

// nullable admits null where Go writes it for an empty list or map. A stage
// that fails early must still be able to write its file.
func nullable(s *jsonschema.Schema) {
	if s.Properties == nil {
		return
	}
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		if p.Value.Type == "array" || p.Value.Type == "object" {
			p.Value.Extras = map[string]any{"type": []string{p.Value.Type, "null"}}
			p.Value.Type = ""
		}
	}
}
