package logs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/logs/filter"
	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// FilterConfig is the config of the filter encoder.
type FilterConfig struct {
	// Wrap is the encoder that writes what the filters have left. Default: that of
	// a log without an encoder.
	Wrap module.Ref[zapcore.Encoder] `json:"wrap" module:"caddy.logging.encoders" inline:"format"`
	// Fields are the filters by the fields that they work on: the name of a field,
	// or for one within others all names from the outside in, with > between
	// them, such as request>headers>Authorization. Header names are written as
	// they are logged. The time, the level, the logger's name and the message are
	// no fields. Default: none.
	Fields map[string]module.Ref[*filter.Filter] `json:"fields" module:"caddy.logging.encoders.filter" inline:"filter"`
}

// AppendConfig is the config of the append encoder.
type AppendConfig struct {
	// Wrap is the encoder that writes the entries. Default: that of a log without
	// an encoder.
	Wrap module.Ref[zapcore.Encoder] `json:"wrap" module:"caddy.logging.encoders" inline:"format"`
	// Fields are the fields to add, by name. A text that is one placeholder, such
	// as {system.hostname}, is looked up for each entry; placeholders of requests
	// are not known. Anything else is added as it is. Default: none.
	Fields map[string]any `json:"fields"`
}

// JournaldConfig is the config of the journald encoder.
type JournaldConfig struct {
	// Wrap is the encoder that writes the entries; a console encoder leaves the
	// time out, which the journal knows. Default: that of a log without an
	// encoder.
	Wrap module.Ref[zapcore.Encoder] `json:"wrap" module:"caddy.logging.encoders" inline:"format"`
}

func wrapSpecs() []module.Spec {
	return []module.Spec{
		module.New(encoders+".filter", "Changes, masks, renames or removes fields before another encoder writes them.", nil, compileFilter,
			module.Words(filterWords), module.Examples(
				module.Example{Title: "Addresses cut to their networks, no cookies, and a token hidden", JSON: `{"format": "filter", "wrap": {"format": "json"}, "fields": {
					"request>remote_ip": {"filter": "ip_mask", "ipv4_cidr": 16, "ipv6_cidr": 32},
					"request>headers>Cookie": {"filter": "delete"},
					"request>uri": {"filter": "query", "actions": [{"type": "replace", "parameter": "token", "value": "REDACTED"}]}}}`})),
		module.New(encoders+".append", "Adds fields to each entry.", nil, compileAppend,
			module.Words(appendWords), module.Examples(
				module.Example{Title: "Which machine it was", JSON: `{"format": "append", "wrap": {"format": "json"}, "fields": {"host": "{system.hostname}", "shard": 3}}`})),
		module.New(encoders+".journald", "Writes the level in front of each entry, as the systemd journal wants it.", nil, compileJournald,
			module.Words(journaldWords), module.Examples(
				module.Example{Title: "Lines for people, in the journal", JSON: `{"format": "journald", "wrap": {"format": "console"}}`})),
	}
}

// encoderOf is the encoder in a slot, nil if the slot is empty. Filters are in a
// namespace below that of encoders and would be taken for one. The pointer of a
// problem is relative to the slot.
func encoderOf(r module.Ref[zapcore.Encoder]) (zapcore.Encoder, schema.Problems) {
	if !r.Set() {
		return nil, nil
	}
	if strings.Contains(r.Name(), ".") {
		return nil, schema.Problems{{Pointer: "/format", Message: "unknown module: " + encoders + "." + r.Name() + " is no encoder", Found: r.Name()}}
	}
	return r.Value(), nil
}

// wrapping is an encoder around another one, which is nil until settle.
type wrapping interface {
	zapcore.Encoder
	inner() zapcore.Encoder
	// around returns the same around another encoder.
	around(zapcore.Encoder) zapcore.Encoder
}

// settle puts def where a wrapping encoder names none.
func settle(enc, def zapcore.Encoder) zapcore.Encoder {
	w, ok := enc.(wrapping)
	if !ok {
		return enc
	}
	in := def
	if w.inner() != nil {
		in = settle(w.inner(), def)
	}
	return w.around(in)
}

// finish takes away what was only needed to put encoders together.
func finish(enc zapcore.Encoder) zapcore.Encoder {
	switch e := enc.(type) {
	case *console:
		return e.Encoder
	case wrapping:
		return e.around(finish(e.inner()))
	}
	return enc
}

// timeless is enc without times, if it is for people.
func timeless(enc zapcore.Encoder) zapcore.Encoder {
	switch e := enc.(type) {
	case *console:
		return e.bare
	case wrapping:
		return e.around(timeless(e.inner()))
	}
	return enc
}

// console is a console encoder that knows itself without times.
type console struct {
	zapcore.Encoder
	bare zapcore.Encoder
}

// filtering is the filter encoder.
type filtering struct {
	zapcore.Encoder // nil until settled
	tree            *filter.Tree
	in              zapcore.Encoder
}

func (f *filtering) inner() zapcore.Encoder { return f.in }

func (f *filtering) around(enc zapcore.Encoder) zapcore.Encoder {
	return &filtering{f.tree.Encoder(enc), f.tree, enc}
}

func compileFilter(env *module.Env, c *FilterConfig) (zapcore.Encoder, error) {
	fields := make(map[string]*filter.Filter, len(c.Fields))
	for _, path := range slices.Sorted(maps.Keys(c.Fields)) {
		switch path {
		case "ts", "level", "logger", "msg":
			env.Warn(config.JoinPointer("", "fields", path), fmt.Sprintf("%s is not a field that can be filtered; the filter has no effect on it", path))
		}
		fields[path] = c.Fields[path].Value()
	}
	in, ps := encoderOf(c.Wrap)
	if ps != nil {
		return nil, ps.Under("/wrap")
	}
	return &filtering{tree: filter.NewTree(fields), in: in}, nil
}

// appending is the append encoder.
type appending struct {
	zapcore.Encoder // nil until settled
	fields          []appended
	scope           vars.Scope
}

// appended is one field to add: a field that is always the same, or one whose
// value is looked up.
type appended struct {
	field zapcore.Field
	text  vars.Text
	ask   bool
}

func compileAppend(env *module.Env, c *AppendConfig) (zapcore.Encoder, error) {
	in, ps := encoderOf(c.Wrap)
	if ps != nil {
		return nil, ps.Under("/wrap")
	}
	a := &appending{Encoder: in, scope: env.Globals()}
	for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
		f := appended{field: zap.Any(name, c.Fields[name])}
		if s, ok := c.Fields[name].(string); ok {
			f.text = vars.Parse(s)
			_, f.ask = f.text.Placeholder()
		}
		a.fields = append(a.fields, f)
	}
	return a, nil
}

func (a *appending) inner() zapcore.Encoder { return a.Encoder }

func (a *appending) around(enc zapcore.Encoder) zapcore.Encoder {
	return &appending{enc, a.fields, a.scope}
}

// Clone implements zapcore.Encoder.
func (a *appending) Clone() zapcore.Encoder { return a.around(a.Encoder.Clone()) }

// longer are lists of fields to use again.
var longer = sync.Pool{New: func() any { return new([]zapcore.Field) }}

// EncodeEntry implements zapcore.Encoder.
func (a *appending) EncodeEntry(ent zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	list := longer.Get().(*[]zapcore.Field)
	*list = append(*list, fields...)
	for i := range a.fields {
		f := &a.fields[i]
		if !f.ask {
			*list = append(*list, f.field)
			continue
		}
		v, _ := f.text.Value(a.scope)
		*list = append(*list, zap.Any(f.field.Key, v))
	}
	buf, err := a.Encoder.EncodeEntry(ent, *list)
	clear(*list)
	if cap(*list) <= maxKept {
		*list = (*list)[:0]
		longer.Put(list)
	}
	return buf, err
}

// journal is the journald encoder.
type journal struct{ zapcore.Encoder }

func compileJournald(_ *module.Env, c *JournaldConfig) (zapcore.Encoder, error) {
	in, ps := encoderOf(c.Wrap)
	if ps != nil {
		return nil, ps.Under("/wrap")
	}
	return &journal{in}, nil
}

func (j *journal) inner() zapcore.Encoder { return j.Encoder }

func (j *journal) around(enc zapcore.Encoder) zapcore.Encoder { return &journal{timeless(enc)} }

// Clone implements zapcore.Encoder.
func (j *journal) Clone() zapcore.Encoder { return &journal{j.Encoder.Clone()} }

var buffers = buffer.NewPool()

// EncodeEntry implements zapcore.Encoder.
func (j *journal) EncodeEntry(ent zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	line, err := j.Encoder.EncodeEntry(ent, fields)
	if err != nil {
		return nil, err
	}
	out := buffers.Get()
	out.AppendString(priority(ent.Level))
	_, _ = out.Write(line.Bytes())
	line.Free()
	return out, nil
}

// priority is what the journal calls a level.
func priority(l zapcore.Level) string {
	switch {
	case l <= zapcore.DebugLevel:
		return "<7>"
	case l == zapcore.InfoLevel:
		return "<6>"
	case l == zapcore.WarnLevel:
		return "<4>"
	case l == zapcore.ErrorLevel:
		return "<3>"
	}
	return "<2>"
}
