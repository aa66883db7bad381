package module

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

func (f *fieldPlan) check(d *decoding, n *config.Node) {
	r := f.Rules
	if n.Kind() == config.Number {
		if (r.Min != nil && n.Number() < *r.Min) || (r.Max != nil && n.Number() > *r.Max) {
			d.mismatch(n, "a number "+bounds(r))
		}
	}
	if len(r.Enum) > 0 && n.Kind() == config.String {
		for _, e := range r.Enum {
			if e == n.Str() {
				return
			}
		}
		d.fail(schema.Problem{
			Message: strconv.Quote(n.Str()) + " is not one of " + strings.Join(r.Enum, ", "),
			Found:   n.Str(), Expected: "one of " + strings.Join(r.Enum, ", "), Nearest: schema.Nearest(n.Str(), r.Enum),
		})
	}
}

func bounds(r schema.Rules) string {
	var parts []string
	if r.Min != nil {
		parts = append(parts, "of at least "+strconv.FormatFloat(*r.Min, 'f', -1, 64))
	}
	if r.Max != nil {
		parts = append(parts, "of at most "+strconv.FormatFloat(*r.Max, 'f', -1, 64))
	}
	return strings.Join(parts, " and ")
}

// slotTagger is implemented by configs that are lists or maps of Refs, which
// have no field to carry the tag.
type slotTagger interface{ SlotTag() reflect.StructTag }
