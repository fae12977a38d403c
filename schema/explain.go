package schema

import (
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// finding is a problem with what is needed to choose between the branches of
// an anyOf.
type finding struct {
	Problem
	// wants are the forms that were expected, if the value has another one
	// altogether.
	wants []string
	got   string
	// near is set if an unknown key looks like a known one; free, if any key of
	// the right form would do.
	near, free bool
}

// findings turns the validator's tree into problems that a person can act on.
func (c *compiled) findings(e *jsonschema.ValidationError) []finding {
	switch k := e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		return c.all(e)
	case *kind.AnyOf, *kind.OneOf:
		return c.choose(e)
	case *kind.AdditionalProperties:
		return c.unknownKeys(e, k.Properties)
	case *kind.Required:
		var all []finding
		for _, key := range k.Missing {
			f := at(e, "is missing", key)
			f.Missing = true
			all = append(all, f)
		}
		return all
	case *kind.Not:
		// Only used as `not: {}`, for a key that does not belong here. (No
		// propertyNames: in v6.0.3 its errors share memory with their siblings
		// and name the wrong place.)
		f := at(e, c.hint(e, "does not belong here"))
		f.OnKey = true
		return []finding{f}
	case *kind.Type:
		return []finding{wrongForm(e, typeNames(k.Want), k.Got)}
	case *kind.Const:
		return []finding{wrongForm(e, []string{fmt.Sprint(k.Want)}, "")}
	case *kind.Enum:
		return []finding{c.wrongChoice(e, k)}
	case *kind.MaxLength: // The pattern's own message says nothing of it.
		return []finding{at(e, plainMessage(e))}
	default:
		return []finding{at(e, c.hint(e, plainMessage(e)))}
	}
}

func (c *compiled) all(e *jsonschema.ValidationError) []finding {
	var all []finding
	for _, cause := range e.Causes {
		all = append(all, c.findings(cause)...)
	}
	return all
}

func at(e *jsonschema.ValidationError, message string, more ...string) finding {
	return finding{Problem: Problem{Path: slices.Concat(e.InstanceLocation, more), Message: message}}
}

// choose reports one branch of an anyOf: the one whose form the value has. If
// it has none of their forms, all forms are named.
func (c *compiled) choose(e *jsonschema.ValidationError) []finding {
	depth := len(e.InstanceLocation)
	var (
		wants []string
		got   string
		best  []finding
		score = -1
	)
	for _, cause := range e.Causes {
		branch := c.findings(cause)
		other := slices.IndexFunc(branch, func(f finding) bool { return f.wants != nil && len(f.Path) == depth })
		if other >= 0 {
			wants = append(wants, branch[other].wants...)
			got = branch[other].got
			continue
		}
		if s := misfit(branch, depth); score < 0 || s < score {
			best, score = branch, s
		}
	}
	if best == nil {
		return []finding{wrongForm(e, wants, got)}
	}
	return best
}

// misfit is how badly a branch suits: keys that it does not know count, unless
// they look like a typing error in a key that it does know.
func misfit(branch []finding, depth int) int {
	score := 1
	for _, f := range branch {
		switch {
		case f.near:
			return 0
		case f.OnKey && len(f.Path) == depth+1:
			score++
			if !f.free {
				score++
			}
		}
	}
	return score
}

func (c *compiled) unknownKeys(e *jsonschema.ValidationError, keys []string) []finding {
	known := c.properties(e)
	slices.Sort(keys)
	var all []finding
	for _, key := range keys {
		f := at(e, c.hint(e, "unknown key"), key)
		f.OnKey = true
		if f.free = c.hint(e, "") != ""; f.free {
			all = append(all, f)
			continue
		}
		if closest, ok := Closest(key, known); ok {
			f.near = true
			f.Message += fmt.Sprintf("; did you mean %q?", closest)
		} else if len(known) > 0 {
			f.Message += "; known are " + strings.Join(known, ", ")
		}
		all = append(all, f)
	}
	return all
}

func wrongForm(e *jsonschema.ValidationError, wants []string, got string) finding {
	slices.SortStableFunc(wants, func(a, b string) int { return rank(a) - rank(b) })
	wants = slices.Compact(wants)
	f := at(e, "must be "+or(wants))
	f.wants, f.got = wants, got
	switch got {
	case "":
	case "null":
		f.Message = "has no value; it " + f.Message
	default:
		f.Message += ", not " + typeName(got)
	}
	return f
}

func (c *compiled) wrongChoice(e *jsonschema.ValidationError, k *kind.Enum) finding {
	choices := make([]string, len(k.Want))
	for i, want := range k.Want {
		choices[i] = fmt.Sprint(want)
	}
	f := at(e, c.hint(e, "must be "+or(choices)))
	if got, ok := k.Got.(string); ok {
		if closest, ok := Closest(got, choices); ok {
			f.Message += fmt.Sprintf("; did you mean %q?", closest)
		}
	}
	return f
}

func plainMessage(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Minimum:
		return "must be at least " + decimal(k.Want)
	case *kind.Maximum:
		return "must be at most " + decimal(k.Want)
	case *kind.MinLength:
		return "must not be empty"
	case *kind.MaxLength:
		return fmt.Sprintf("is %d characters long; at most %d are allowed", k.Got, k.Want)
	case *kind.MinItems:
		return "must have " + count(k.Want, "entry", "entries") + " or more"
	case *kind.MaxItems:
		return "must have no more than " + count(k.Want, "entry", "entries")
	case *kind.MinProperties:
		return "must have " + count(k.Want, "key", "keys") + " or more"
	case *kind.MaxProperties:
		return "must have no more than " + count(k.Want, "key", "keys")
	case *kind.UniqueItems:
		return fmt.Sprintf("entries %d and %d are the same", k.Duplicates[0]+1, k.Duplicates[1]+1)
	case *kind.Pattern:
		return "must match " + k.Want
	default:
		return e.ErrorKind.LocalizedString(message.NewPrinter(language.English))
	}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "one " + one
	}
	return strconv.Itoa(n) + " " + many
}

func decimal(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func typeNames(types []string) []string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = typeName(t)
	}
	return names
}

// typeName calls JSON's types what a person writing YAML calls them.
func typeName(t string) string {
	switch t {
	case "string":
		return "text"
	case "integer":
		return "a whole number"
	case "number":
		return "a number"
	case "boolean":
		return "true or false"
	case "array":
		return "a list"
	case "object":
		return "a map"
	default:
		return t
	}
}

// rank is the place of a form in messages; literals come first.
func rank(name string) int {
	return slices.Index([]string{"text", "a whole number", "a number", "true or false", "a list", "a map"}, name)
}

func or(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// hint is the schema's own message for a failed pattern, which editors show
// too, or the given one.
func (c *compiled) hint(e *jsonschema.ValidationError, otherwise string) string {
	if text, ok := c.lookup(e)["patternErrorMessage"].(string); ok {
		return text
	}
	return otherwise
}

func (c *compiled) properties(e *jsonschema.ValidationError) []string {
	properties, _ := c.lookup(e)["properties"].(map[string]any)
	names := make([]string, 0, len(properties))
	for name, of := range properties {
		if _, refused := of.(map[string]any)["not"]; !refused {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// lookup is the part of the schema that an error comes from.
func (c *compiled) lookup(e *jsonschema.ValidationError) map[string]any {
	_, fragment, _ := strings.Cut(e.SchemaURL, "#")
	pointer, err := url.PathUnescape(fragment)
	if err != nil {
		return nil
	}
	current := c.doc
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch v := current.(type) {
		case map[string]any:
			if token != "" {
				current = v[token]
			}
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i >= len(v) {
				return nil
			}
			current = v[i]
		}
	}
	found, _ := current.(map[string]any)
	return found
}
