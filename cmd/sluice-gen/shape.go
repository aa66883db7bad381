package main

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// slot is a place for other modules in a config.
type slot struct {
	namespace, inline, fixed string
	keyed                    bool
}

// asObject is v as a JSON object, whichever Go type it has.
func asObject(v any) map[string]any {
	switch v := v.(type) {
	case schema.Schema:
		return v
	case map[string]any:
		return v
	}
	return nil
}

// slotOf is the slot that a schema leaves open.
func slotOf(s map[string]any) (slot, bool) {
	x := asObject(s["x-module"])
	if x == nil {
		return slot{}, false
	}
	text := func(k string) string { v, _ := x[k].(string); return v }
	keyed, _ := x["keyed"].(bool)
	return slot{text("namespace"), text("inline"), text("fixed"), keyed}, true
}

// slotsIn calls visit for each slot of a config, with the path of its field.
func slotsIn(t reflect.Type, s map[string]any, path string, visit func(path string, s slot)) {
	if sl, ok := slotOf(s); ok {
		visit(path, sl)
		return
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Slice:
		slotsIn(t.Elem(), asObject(s["items"]), path, visit)
	case reflect.Map:
		slotsIn(t.Elem(), asObject(s["additionalProperties"]), path, visit)
	case reflect.Struct:
		for f := range schema.Fields(t) {
			p := f.Name
			if path != "" {
				p = path + "." + f.Name
			}
			slotsIn(f.Type, asObject(asObject(s["properties"])[f.Name]), p, visit)
		}
	}
}

// shaper writes types of JSON values in words. Links of modules are relative to
// the folder of the pages.
type shaper struct{ one, many func(slot) string }

// phrase says what a value is, for one of it or for several.
func (w shaper) phrase(s map[string]any, several bool) string {
	pick := func(one, many string) string {
		if several {
			return many
		}
		return one
	}
	if sl, ok := slotOf(s); ok {
		if several {
			return w.many(sl)
		}
		return w.one(sl)
	}
	if list, ok := s["enum"].([]any); ok {
		words := make([]string, len(list))
		for i, v := range list {
			words[i] = fmt.Sprintf("`%v`", v)
		}
		return pick("one of ", "any of ") + strings.Join(words, ", ")
	}
	if list, ok := s["anyOf"].([]any); ok {
		return w.choice(list, several)
	}
	kind, _ := s["type"].(string)
	if list, ok := s["type"].([]any); ok && len(list) > 0 {
		kind, _ = list[0].(string) // the second is null
	}
	switch kind {
	case "boolean":
		return pick("true or false", "true or false")
	case "string":
		return pick("text", "texts")
	case "integer":
		return pick("integer", "integers") + bounds(s)
	case "number":
		return pick("number", "numbers") + bounds(s)
	case "array":
		return pick("list of ", "lists of ") + w.phrase(asObject(s["items"]), true)
	case "object":
		if rest := asObject(s["additionalProperties"]); rest != nil {
			if sl, ok := slotOf(rest); ok && sl.keyed {
				return w.phrase(rest, several)
			}
			return pick("object", "objects") + " of names and " + w.phrase(rest, true)
		}
		return pick("object", "objects")
	}
	return pick("any value", "any values")
}

func (w shaper) choice(list []any, several bool) string {
	words := make([]string, len(list))
	for i, v := range list {
		c := asObject(v)
		if pattern, _ := c["pattern"].(string); strings.Contains(pattern, "(ns|us|") {
			if several {
				return "durations"
			}
			return "duration"
		}
		words[i] = w.phrase(c, several)
	}
	return strings.Join(words, " or ")
}

// widest are bounds that come from the Go type and say nothing.
var widest = map[float64]bool{-1 << 31: true, 1<<31 - 1: true, -1 << 15: true}

func bounds(s map[string]any) string {
	lo, hasLo := s["minimum"].(float64)
	hi, hasHi := s["maximum"].(float64)
	hasLo, hasHi = hasLo && !widest[lo], hasHi && !widest[hi]
	switch {
	case hasLo && hasHi:
		return fmt.Sprintf(" from %v to %v", lo, hi)
	case hasLo:
		return fmt.Sprintf(" from %v", lo)
	case hasHi:
		return fmt.Sprintf(" up to %v", hi)
	}
	return ""
}

// elementStruct is the struct type that t, or an element of t, is described by.
func elementStruct(t reflect.Type) (reflect.Type, bool) {
	for {
		if t == reflect.TypeFor[module.Later]() {
			return nil, false
		}
		zero := reflect.New(t).Elem().Interface()
		if _, ok := zero.(schema.TagShaper); ok {
			return nil, false
		}
		if _, ok := zero.(schema.Shaper); ok {
			return nil, false
		}
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			t = t.Elem()
		case reflect.Struct:
			return t, true
		default:
			return nil, false
		}
	}
}

// elementSchema is the schema of that struct.
func elementSchema(s map[string]any) map[string]any {
	for s != nil && s["properties"] == nil {
		if items := asObject(s["items"]); items != nil {
			s = items
			continue
		}
		s = asObject(s["additionalProperties"])
	}
	return s
}
