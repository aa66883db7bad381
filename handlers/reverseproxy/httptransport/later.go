package httptransport

import (
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

// Later is a field that a later version will have. Any value decodes, so that the refusal can say its name. An empty one
// is no value.
type Later struct{ set bool }

// JSONShape admits any value.
func (Later) JSONShape() schema.Schema { return schema.Schema{} }

// DecodeNode implements module.Decoder.
func (l *Later) DecodeNode(n *config.Node) (any, error) {
	switch n.Kind() {
	case config.Array:
		l.set = n.Len() > 0
	case config.String:
		l.set = n.Str() != ""
	default:
		l.set = n.Kind() != config.Null
	}
	return n.ToGo(), nil
}

// refusal is such a field with what to do instead.
type refusal struct {
	field  string
	value  Later
	advice string
}

// refuse reports all the fields that are set although they are not supported yet.
func refuse(list ...refusal) (problems schema.Problems) {
	for _, r := range list {
		if r.value.set {
			problems = append(problems, schema.Problem{Pointer: "/" + r.field, Message: r.field + " is not supported yet; " + r.advice, Found: r.field})
		}
	}
	return problems
}
