package schema

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// Validator checks values against one schema. It is safe for concurrent use.
type Validator struct {
	compiled *jsonschema.Schema
	// valid remembers the digests of values that passed. Where the schema says
	// nothing about the content of texts and numbers, their digest leaves it out,
	// so that all values of one shape are checked once.
	valid     memo
	shapeOnly bool
}

// Compile prepares a schema for validation. The name appears in errors about
// the schema itself only.
func Compile(name string, s Schema) (*Validator, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding schema %s: %w", name, err)
	}
	c := jsonschema.NewCompiler()
	c.Draft = jsonschema.Draft2020
	url := "mem:///" + name + ".json"
	if err := c.AddResource(url, bytes.NewReader(text)); err != nil {
		return nil, fmt.Errorf("reading schema %s: %w", name, err)
	}
	compiled, err := c.Compile(url)
	if err != nil {
		return nil, fmt.Errorf("compiling schema %s: %w", name, err)
	}
	return &Validator{compiled: compiled, shapeOnly: !looksAtContent(map[string]any(s))}, nil
}

// Validate returns what the schema has against v, nil if nothing. The value is
// made of nil, bool, float64, string, []any and map[string]any.
func (v *Validator) Validate(value any) Problems {
	digest := digestOf(value, v.shapeOnly)
	if v.valid.has(digest) {
		return nil
	}
	problems := v.Check(value)
	if problems == nil {
		v.valid.add(digest)
	}
	return problems
}

// Check is Validate without looking at what was found valid before.
func (v *Validator) Check(value any) Problems {
	err := v.compiled.Validate(value)
	if err == nil {
		return nil
	}
	verr, ok := err.(*jsonschema.ValidationError)
	if !ok {
		return Problems{{Message: err.Error()}}
	}
	return leaves(verr, nil)
}

func leaves(e *jsonschema.ValidationError, out Problems) Problems {
	if len(e.Causes) == 0 {
		return append(out, Problem{Pointer: e.InstanceLocation, Message: e.Message})
	}
	for _, c := range e.Causes {
		out = leaves(c, out)
	}
	return out
}
