package module

import (
	"strings"

	"github.com/sluiceproxy/sluice/schema"
)

// Document is the schema of a whole document whose root is the fixed module
// root: every module under $defs, every slot a reference to what may stand
// there. It is for editors and for people; loading a document checks each
// module by its own schema.
// The comment function gives the prose of types and fields, see
// schema.Reflector; it may be nil.
func (t *Table) Document(root, title string, comment func(string) string) schema.Schema {
	d := &documenter{table: t, inline: map[string]string{}, schemas: map[string]schema.Schema{}}
	for _, id := range t.order {
		d.schemas[id] = t.specs[id].describe(comment)
		d.findInline(d.schemas[id])
	}
	defs := map[string]any{}
	for _, id := range t.order {
		defs[id] = d.define(id)
	}
	return schema.Schema{
		"$schema": schema.Dialect,
		"title":   title,
		"$ref":    "#/$defs/" + root,
		"$defs":   defs,
	}
}

type documenter struct {
	table  *Table
	inline map[string]string // namespace to inline key
	// schemas are those of the modules, with prose.
	schemas map[string]schema.Schema
}

func slotIn(s map[string]any) (slot, bool) {
	x, ok := s["x-module"].(map[string]any)
	if !ok {
		return slot{}, false
	}
	text := func(k string) string { v, _ := x[k].(string); return v }
	keyed, _ := x["keyed"].(bool)
	return slot{namespace: text("namespace"), inline: text("inline"), fixed: text("fixed"), keyed: keyed}, true
}

// findInline learns which inline key names the modules of a namespace.
func (d *documenter) findInline(v any) {
	eachObject(v, func(s map[string]any) {
		if sl, ok := slotIn(s); ok && sl.inline != "" {
			d.inline[sl.namespace] = sl.inline
		}
	})
}

func eachObject(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case schema.Schema:
		eachObject(map[string]any(v), visit)
	case map[string]any:
		visit(v)
		for _, c := range v {
			eachObject(c, visit)
		}
	case []any:
		for _, c := range v {
			eachObject(c, visit)
		}
	}
}

// define is the definition of one module: its own schema with the inline key
// and @id added and the slots filled in.
func (d *documenter) define(id string) map[string]any {
	e := d.table.specs[id]
	out, _ := d.fill(map[string]any(d.schemas[id])).(map[string]any)
	if out["description"] == nil {
		out["description"] = e.Summary
	}
	i := strings.LastIndexByte(id, '.')
	if i < 0 {
		return out
	}
	if key := d.inline[id[:i]]; key != "" {
		props, ok := out["properties"].(map[string]any)
		if !ok {
			props = map[string]any{}
			out["properties"] = props
		}
		props[key] = map[string]any{"const": id[i+1:]}
		out["required"] = append([]any{key}, anyList(out["required"])...)
	}
	return out
}

func anyList(v any) []any { l, _ := v.([]any); return l }

// fill copies a schema, replacing slots by references.
func (d *documenter) fill(v any) any {
	switch v := v.(type) {
	case schema.Schema:
		return d.fill(map[string]any(v))
	case []any:
		out := make([]any, len(v))
		for i, c := range v {
			out[i] = d.fill(c)
		}
		return out
	case map[string]any:
		if s, ok := slotIn(v); ok {
			return d.slot(s, v)
		}
		if rest := anyObject(v["additionalProperties"]); rest != nil {
			if s, ok := slotIn(rest); ok && s.keyed {
				return d.keyed(s, v)
			}
		}
		out := make(map[string]any, len(v))
		for k, c := range v {
			out[k] = d.fill(c)
		}
		if props, ok := out["properties"].(map[string]any); ok && out["type"] == "object" {
			props["@id"] = map[string]any{"type": []any{"string", "number"}, "description": "A name by which the admin API addresses this object: /id/NAME."}
		}
		return out
	}
	return v
}

func anyObject(v any) map[string]any {
	if s, ok := v.(schema.Schema); ok {
		return s
	}
	m, _ := v.(map[string]any)
	return m
}

func ref(id string) map[string]any { return map[string]any{"$ref": "#/$defs/" + id} }

func (d *documenter) slot(s slot, v map[string]any) map[string]any {
	out := map[string]any{}
	if text, ok := v["description"]; ok {
		out["description"] = text
	}
	if s.fixed != "" {
		out["$ref"] = "#/$defs/" + s.fixed
		return out
	}
	var choices []any
	for _, name := range d.table.names(s.namespace) {
		choices = append(choices, ref(s.id(name)))
	}
	out["type"] = "object"
	if len(choices) > 0 {
		out["oneOf"] = choices
	}
	return out
}

// keyed is a module map: each key names the module of its value.
func (d *documenter) keyed(s slot, v map[string]any) map[string]any {
	props := map[string]any{"@id": map[string]any{"type": []any{"string", "number"}}}
	for _, name := range d.table.names(s.namespace) {
		props[name] = ref(s.id(name))
	}
	out := map[string]any{"type": v["type"], "properties": props, "additionalProperties": false}
	if text, ok := v["description"]; ok {
		out["description"] = text
	}
	return out
}
