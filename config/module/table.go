package module

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

// Table is every module kind that a process knows. It is immutable and safe
// for concurrent use.
type Table struct {
	specs   map[string]*entry
	order   []string
	refused map[string]string
	byName  map[string][]string
}

type entry struct {
	Spec
	decode    decodeFunc
	schema    schema.Schema
	validator *schema.Validator
}

// NewTable makes a table of the specs. Two specs with one ID, or a spec that
// cannot be decoded or described, is an error. Modules in refused are known by
// name but not available; the text says why, and is part of the error that a
// document naming one gets.
func NewTable(specs []Spec, refused map[string]string) (*Table, error) {
	t := &Table{specs: make(map[string]*entry, len(specs)), refused: refused, byName: map[string][]string{}}
	plans := &planner{made: map[planKey]*decodeFunc{}}
	var errs []error
	for _, s := range specs {
		if err := s.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		if t.specs[s.ID] != nil {
			errs = append(errs, fmt.Errorf("module %s is listed twice", s.ID))
			continue
		}
		e := &entry{Spec: s}
		e.schema = e.describe(nil)
		if s.list == nil {
			e.decode = plans.of(s.config, "")
			v, err := schema.Compile(s.ID, e.schema)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			e.validator = v
		}
		t.specs[s.ID] = e
		t.order = append(t.order, s.ID)
		if i := strings.LastIndexByte(s.ID, '.'); i >= 0 && !s.App {
			t.byName[s.ID[:i]] = append(t.byName[s.ID[:i]], s.ID[i+1:])
		} else {
			t.byName[""] = append(t.byName[""], s.ID)
		}
	}
	return t, errors.Join(errs...)
}

// describe derives the schema of one module, child slots left open.
func (e *entry) describe(comment func(string) string) schema.Schema {
	if e.list != nil {
		return schema.Schema{"type": "array", "items": map[string]any{"x-module": map[string]any{"namespace": "", "inline": "", "fixed": e.list.element}}}
	}
	return schema.Reflector{Comment: comment}.Reflect(e.config, e.defaults)
}

// names lists the modules of a namespace in table order. Those of the namespace
// "" are the apps.
func (t *Table) names(namespace string) []string { return t.byName[namespace] }

// IDs lists all module IDs in table order.
func (t *Table) IDs() []string { return slices.Clone(t.order) }

// Spec returns the spec with the ID.
func (t *Table) Spec(id string) (Spec, bool) {
	e := t.specs[id]
	if e == nil {
		return Spec{}, false
	}
	return e.Spec, true
}

// Schema returns the JSON Schema of one module's config, child slots open. The
// result must not be changed.
func (t *Table) Schema(id string) (schema.Schema, bool) {
	e := t.specs[id]
	if e == nil {
		return nil, false
	}
	return e.schema, true
}

// ConfigType is the Go type of a module's config.
func (t *Table) ConfigType(id string) reflect.Type { return t.specs[id].config }

// emptyObject is what null means where a config is expected.
var emptyObject = config.NewObject(nil)

// fresh makes a config holding the defaults.
func (e *entry) fresh() reflect.Value {
	v := reflect.New(e.config)
	if e.defaults.IsValid() {
		v.Elem().Set(e.defaults)
	}
	return v
}

// read decodes and validates node n as a config of this kind. The inline key is
// never shown to the module.
func (e *entry) read(n *config.Node, inline string) (reflect.Value, *decoding) {
	d := &decoding{path: make([]string, 0, 8), inline: inline}
	v := e.fresh()
	if n.Kind() == config.Null {
		if e.config.Kind() != reflect.Struct {
			return v, d
		}
		n = emptyObject
	}
	normal := e.decode(d, n, v.Elem())
	if len(d.problems) == 0 {
		d.problems = e.validator.Validate(normal)
	}
	return v, d
}

// Inspect reads node n as a config of module id and returns what the decoder
// and what the schema have against it, each by itself. Child modules are not
// looked into. The two must agree; a test makes sure of it.
func (t *Table) Inspect(id string, n *config.Node) (decoder, validator schema.Problems) {
	e := t.specs[id]
	if e == nil || e.list != nil {
		return nil, nil
	}
	d := &decoding{path: make([]string, 0, 8)}
	normal := e.decode(d, n, e.fresh().Elem())
	return d.problems, e.validator.Check(normal)
}
