// Package schema holds the JSON Schemas of kstep.yml, of the state files and of plans,
// and checks documents against them. The schemas are generated from the Go
// types of internal/config and internal/state by schema/gen; run `make
// generate` after changing those. Only this package knows the validator.
package schema

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Config is the JSON Schema of kstep.yml.
//
//go:embed config.schema.json
var Config []byte

// State is the JSON Schema of a state file.
//
//go:embed state.schema.json
var State []byte

// Plan is the JSON Schema of a plan file.
//
//go:embed plan.schema.json
var Plan []byte

// Problem is one thing in a document that its schema does not admit. The
// message never quotes a value.
type Problem struct {
	Path    []string // Keys and indexes that lead to the value.
	OnKey   bool     // It is the last key itself that is wrong, not its value.
	Missing bool     // The last key of Path is missing.
	Message string
}

// Pointer is the place as an RFC 6901 JSON pointer.
func (p Problem) Pointer() string {
	var b strings.Builder
	for _, token := range p.Path {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
	}
	return b.String()
}

// Decode reads JSON into the form that the Validate functions take. Numbers
// keep their precision.
func Decode(data []byte) (any, error) {
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}

// ValidateConfig checks a whole kstep.yml as decoded JSON. Of a value that may
// have several forms, only the form that it seems to be is complained about.
func ValidateConfig(doc any) []Problem { return configSchema().validate(doc) }

// ValidateState checks a whole state file as decoded JSON.
func ValidateState(doc any) []Problem { return stateSchema().validate(doc) }

// ValidatePlan checks a whole plan file as decoded JSON.
func ValidatePlan(doc any) []Problem { return planSchema().validate(doc) }

// Compiled on first use, so that commands that read no file do not pay.
var (
	configSchema = sync.OnceValue(func() *compiled { return compile(Config) }) //nolint:gochecknoglobals // Computed once, never changed.
	stateSchema  = sync.OnceValue(func() *compiled { return compile(State) })  //nolint:gochecknoglobals // Computed once, never changed.
	planSchema   = sync.OnceValue(func() *compiled { return compile(Plan) })   //nolint:gochecknoglobals // Computed once, never changed.
)

// compiled is a schema to check values against, and its source for lookups.
type compiled struct {
	id     string
	doc    any
	schema *jsonschema.Schema
}

// compile panics on a schema that does not compile: it is part of the program,
// and the tests compile it.
func compile(source []byte) *compiled {
	doc, err := Decode(source)
	if err != nil {
		panic(fmt.Sprintf("decode embedded schema: %v", err)) //nolint:forbidigo // See above.
	}
	id := doc.(map[string]any)["$id"].(string)
	c := jsonschema.NewCompiler()
	if err := c.AddResource(id, doc); err != nil {
		panic(fmt.Sprintf("add embedded schema: %v", err)) //nolint:forbidigo // See above.
	}
	return &compiled{id: id, doc: doc, schema: c.MustCompile(id)}
}

func (c *compiled) validate(doc any) []Problem {
	err := c.schema.Validate(doc)
	if err == nil {
		return nil
	}
	var problems []Problem
	for _, f := range c.findings(err.(*jsonschema.ValidationError)) { //nolint:errorlint // Validate returns nothing else.
		problems = append(problems, f.Problem)
	}
	// What is said of a key makes what is said of its value beside the point.
	return slices.DeleteFunc(problems, func(p Problem) bool {
		return !p.OnKey && slices.ContainsFunc(problems, func(o Problem) bool {
			return o.OnKey && slices.Equal(o.Path, p.Path)
		})
	})
}
