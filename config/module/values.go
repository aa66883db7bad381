package module

import (
	"math"
	"strconv"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

// Decoder is implemented by pointer types that read their own JSON form. The
// returned value is what the type's schema is checked against: normally
// n.ToGo().
type Decoder interface {
	DecodeNode(n *config.Node) (normal any, err error)
}

// Duration is a length of time in JSON: an integer of nanoseconds, or a string
// such as "10s", "1m30s" or "1.5d" with units ns, us, ms, s, m, h and d.
type Duration time.Duration

const durationPattern = `^[-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d))+)$`

// JSONShape is an integer or a string of number and unit pairs.
func (Duration) JSONShape() schema.Schema {
	return schema.Schema{"anyOf": []any{
		map[string]any{"type": "integer"},
		map[string]any{"type": "string", "maxLength": float64(1024), "pattern": durationPattern},
	}}
}

// DecodeNode reads either form.
func (d *Duration) DecodeNode(n *config.Node) (any, error) {
	switch n.Kind() {
	case config.Number:
		f := n.Number()
		if f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
			return nil, schema.Problems{{Message: "a duration as a number must be an integer of nanoseconds", Found: describe(n), Expected: `an integer, or text such as "1.5s"`}}
		}
		*d = Duration(f)
		return f, nil
	case config.String:
		v, err := vars.ParseDuration(n.Str())
		if err != nil {
			return nil, schema.Problems{{Message: err.Error(), Found: describe(n), Expected: `number and unit pairs such as "10s", "1m30s" or "1d"; units are ns, us, ms, s, m, h, d`}}
		}
		*d = Duration(v)
		return n.Str(), nil
	}
	return nil, mismatch(n, `a duration such as "10s"`)
}

// String is the Go form, such as "1m30s".
func (d Duration) String() string { return time.Duration(d).String() }

// Later is the type of a config field that is known but does not work yet:
// a document that uses it is refused by name.
type Later struct{}

// JSONShape admits nothing.
func (Later) JSONShape() schema.Schema { return schema.Schema{"not": map[string]any{}} }

// WeakString is text that may also be written as a number, a boolean or any
// other JSON value, whose literal text then counts.
type WeakString string

// JSONShape admits any value.
func (WeakString) JSONShape() schema.Schema { return schema.Schema{} }

// DecodeNode takes strings as they are and the JSON text of all else.
func (w *WeakString) DecodeNode(n *config.Node) (any, error) {
	if n.Kind() == config.String {
		*w = WeakString(n.Str())
	} else {
		*w = WeakString(n.AppendJSON(nil))
	}
	return n.ToGo(), nil
}

// describe names the kind and, if short, the text of what was found.
func describe(n *config.Node) string {
	switch n.Kind() {
	case config.Null:
		return "null"
	case config.Bool:
		return "boolean " + strconv.FormatBool(n.Bool())
	case config.Number:
		return "number " + string(n.AppendJSON(nil))
	case config.String:
		if len(n.Str()) > 40 {
			return "a string"
		}
		return "string " + strconv.Quote(n.Str())
	case config.Array:
		return "an array"
	}
	return "an object"
}

func mismatch(n *config.Node, want string) schema.Problems {
	return schema.Problems{{Message: "expected " + want + ", found " + describe(n), Found: describe(n), Expected: want}}
}
