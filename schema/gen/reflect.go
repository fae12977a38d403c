package main

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"unicode"

	"github.com/invopop/jsonschema"
)

// module is the import path that comments are looked up by.
const module = "github.com/kstep/kstep"

func newReflector(folder string) (*jsonschema.Reflector, error) {
	r := &jsonschema.Reflector{
		Anonymous:                  true,
		ExpandedStruct:             true,
		RequiredFromJSONSchemaTags: true,
	}
	return r, comments(r, folder)
}

func comments(r *jsonschema.Reflector, folder string) error {
	return r.AddGoComments(module, "./"+folder, jsonschema.WithFullComment())
}

// tidy turns Go comments into text for people who write YAML: one line,
// without the name that it explains. "PrimaryRole is the role whose …" becomes
// "The role whose …".
func tidy(comment, goName string) string {
	text := strings.Join(strings.Fields(comment), " ")
	if rest, ok := strings.CutPrefix(text, goName+" "); ok {
		text = strings.TrimPrefix(strings.TrimPrefix(rest, "is "), "are ")
	}
	return capital(text)
}

func capital(s string) string {
	for i, r := range s {
		return string(unicode.ToUpper(r)) + s[i+len(string(r)):]
	}
	return s
}

// types finds every struct type that is reachable from t, by name.
func types(t reflect.Type, found map[string]reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		types(t.Elem(), found)
	case reflect.Struct:
		if _, seen := found[t.Name()]; seen || t.PkgPath() == "time" {
			return
		}
		found[t.Name()] = t
		for field := range t.Fields() {
			types(field.Type, found)
		}
	}
}

// fields are the keys of a struct with their fields; embedded ones count as
// its own.
func fields(t reflect.Type) map[string]reflect.StructField {
	all := map[string]reflect.StructField{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			maps.Copy(all, fields(f.Type))
		case name != "" && name != "-":
			all[name] = f
		}
	}
	return all
}

// complete gives properties that refer to a union what invopop only gives to
// plain types, their default, and tidies all descriptions.
func complete(s *jsonschema.Schema, t reflect.Type) {
	if s.Properties == nil {
		return
	}
	byKey := fields(t)
	s.Description = tidy(s.Description, t.Name())
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		f, ok := byKey[p.Key]
		if !ok {
			continue
		}
		p.Value.Description = tidy(p.Value.Description, f.Name)
		for option := range strings.SplitSeq(f.Tag.Get("jsonschema"), ",") {
			if text, ok := strings.CutPrefix(option, "default="); ok {
				p.Value.Default = literal(text, f.Type)
			}
		}
	}
}

// literal reads a default: JSON where the type is not text.
func literal(text string, t reflect.Type) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool, reflect.Int:
		return json.RawMessage(text)
	default:
		return text
	}
}

func text(pattern, message string) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string", Pattern: pattern}
	if message != "" {
		// Editors show this keyword, and so does kstep.
		s.Extras = map[string]any{"patternErrorMessage": message}
	}
	return s
}

func listOf(item *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: item}
}

func nonEmpty(s *jsonschema.Schema) *jsonschema.Schema {
	s.MinItems = new(uint64(1))
	return s
}

func anyOf(branches ...*jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: branches}
}

func ref(name string) *jsonschema.Schema { return &jsonschema.Schema{Ref: "#/$defs/" + name} }

// mapOf is a map whose keys have the form of key, or any form if it is nil.
func mapOf(key, value *jsonschema.Schema) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "object", AdditionalProperties: value}
	if key != nil {
		restrictKeys(s, key)
	}
	return s
}

// restrictKeys says what a map's keys look like. It does without propertyNames,
// see the validating side in package schema.
func restrictKeys(s, key *jsonschema.Schema) {
	s.PatternProperties = map[string]*jsonschema.Schema{key.Pattern: s.AdditionalProperties}
	s.AdditionalProperties = jsonschema.FalseSchema
	s.Extras = key.Extras
}
