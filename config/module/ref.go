package module

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

// Ref is a slot of a config for a child module whose running value is a T. Its
// field carries a tag that says how the child is found:
//
//	`module:"http.handlers" inline:"handler"`   an object that names its module
//	                                            under the inline key
//	`module:"http.matchers" keyed:"true"`       in a map[string]Ref: the key names it
//	`module:"=http.route"`                      always this module; with
//	                                            null:"refuse" null is an error,
//	                                            otherwise it is an empty config;
//	                                            with always:"true" the slot is
//	                                            filled even if the field is absent
//
// The tag also applies to slices and maps of Refs, nested at will.
type Ref[T any] struct{ child *child }

// Set reports whether the slot is filled.
func (r Ref[T]) Set() bool { return r.child != nil }

// Value is the child's running value, the zero T if the slot is empty.
func (r Ref[T]) Value() T {
	var zero T
	if r.child == nil || r.child.built == nil {
		return zero
	}
	return r.child.built.value.(T)
}

// Name is the child's module name within its namespace, "" if it is fixed.
func (r Ref[T]) Name() string {
	if r.child == nil {
		return ""
	}
	return r.child.name
}

// Node is the child's subtree.
func (r Ref[T]) Node() *config.Node {
	if r.child == nil {
		return nil
	}
	return r.child.node
}

func (r *Ref[T]) bind(c *child) { r.child = c }

// JSONShapeOf leaves the slot open but names what belongs into it.
func (Ref[T]) JSONShapeOf(tag reflect.StructTag) schema.Schema {
	s := slotOf(tag)
	return schema.Schema{"x-module": map[string]any{"namespace": s.namespace, "inline": s.inline, "fixed": s.fixed, "keyed": s.keyed}}
}

// MarshalJSON prints the child's subtree.
func (r Ref[T]) MarshalJSON() ([]byte, error) {
	if r.child == nil {
		return []byte("null"), nil
	}
	return json.Marshal(r.child.node)
}

type binder interface{ bind(*child) }

// slot says which modules may stand in a field.
type slot struct {
	namespace string
	inline    string
	fixed     string
	keyed     bool
	notNull   bool
}

func slotOf(tag reflect.StructTag) slot {
	s := slot{inline: tag.Get("inline"), keyed: tag.Get("keyed") != "", notNull: tag.Get("null") == "refuse"}
	s.namespace = tag.Get("module")
	if id, ok := strings.CutPrefix(s.namespace, "="); ok {
		s.fixed, s.namespace = id, ""
	}
	return s
}

func (s slot) id(name string) string {
	switch {
	case s.fixed != "":
		return s.fixed
	case s.namespace == "":
		return name
	}
	return s.namespace + "." + name
}

// child is one filled slot.
type child struct {
	node    *config.Node
	slot    *slot
	pointer string // relative to the parent, also the slot's identity
	name    string
	spec    *entry
	built   *Built
}

// resolve finds the child's spec.
func (c *child) resolve(t *Table, key string) *schema.Problem {
	switch {
	case c.slot.fixed != "":
		if c.slot.notNull && c.node.Kind() == config.Null {
			return &schema.Problem{Message: "value cannot be null", Found: "null", Expected: "an object"}
		}
	case c.slot.keyed:
		c.name = key
		if c.slot.namespace == "" && t.refused[key] == "" && !slices.Contains(t.names(""), key) {
			return c.noApp(t)
		}
		if c.node.Kind() == config.Null {
			return &schema.Problem{Message: "module value cannot be null", Found: "null", Expected: "a " + c.slot.namespace + " module"}
		}
	default:
		if p := c.inlineName(t); p != nil {
			return p
		}
	}
	c.spec = t.specs[c.slot.id(c.name)]
	if c.spec == nil {
		return c.unknown(t)
	}
	return nil
}

func (c *child) inlineName(t *Table) *schema.Problem {
	names := strings.Join(t.names(c.slot.namespace), ", ")
	if c.node.Kind() != config.Object {
		return &schema.Problem{
			Message:  fmt.Sprintf("expected an object with key %q that names a module, found %s", c.slot.inline, describe(c.node)),
			Found:    describe(c.node),
			Expected: "an object whose " + c.slot.inline + " is one of " + names,
		}
	}
	n := c.node.Get(c.slot.inline)
	if n.Kind() != config.String || n.Str() == "" {
		return &schema.Problem{
			Message:  fmt.Sprintf("module name not specified with key '%s'", c.slot.inline),
			Expected: c.slot.inline + " one of " + names,
		}
	}
	c.name = n.Str()
	return nil
}

// nameAt points at what names the module, relative to the child.
func (c *child) nameAt() string {
	if c.slot.inline == "" || c.slot.keyed || c.slot.fixed != "" {
		return ""
	}
	return config.JoinPointer("", c.slot.inline)
}

// noApp is the problem of a key of apps, which may be the ID of another module.
func (c *child) noApp(t *Table) *schema.Problem {
	p := c.unknown(t)
	if t.specs[c.name] != nil {
		p.Message = "module " + c.name + " is not an app"
	}
	return p
}

func (c *child) unknown(t *Table) *schema.Problem {
	id := c.slot.id(c.name)
	if why, ok := t.refused[id]; ok {
		return &schema.Problem{Pointer: c.nameAt(), Message: fmt.Sprintf("module %s is not supported yet: %s", id, why), Found: c.name}
	}
	names := t.names(c.slot.namespace)
	return &schema.Problem{
		Pointer:  c.nameAt(),
		Message:  "unknown module: " + id,
		Found:    c.name,
		Expected: "one of " + strings.Join(names, ", "),
		Nearest:  schema.Nearest(c.name, names),
	}
}
