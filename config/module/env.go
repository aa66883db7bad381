package module

import (
	"fmt"
	"reflect"

	"github.com/cespare/xxhash/v2"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"

	"github.com/sluiceproxy/sluice/config"
)

// Sources is where compile functions get what is not in the document.
type Sources struct {
	// ReadFile reads a whole file. Required.
	ReadFile func(name string) ([]byte, error)
	// Globals resolves load-time placeholders such as {env.X}. Required.
	Globals vars.Scope
	// Services are values shared by all generations, found by type.
	Services Services
}

// Services holds one value for each type.
type Services map[reflect.Type]any

// Provide adds a service, replacing one of the same type.
func Provide[T any](s Services, v T) { s[reflect.TypeFor[T]()] = v }

// Service returns the service of type T. A missing one is a mistake in the
// wiring of the process and panics.
func Service[T any](e *Env) T {
	v, ok := e.task.builder.Sources.Services[reflect.TypeFor[T]()]
	if !ok {
		panic(fmt.Sprintf("module: no service of type %v", reflect.TypeFor[T]()))
	}
	return v.(T)
}

// Env is what a compile function may ask of the world. It belongs to one call
// and must not be kept.
type Env struct {
	task    *task
	built   *Built
	prev    *Built
	pointer string
	at      *place
}

// input is something outside the document that a module has read.
type input struct {
	kind, name string
	digest     uint64
}

const (
	inputFile        = "file"
	inputPlaceholder = "placeholder"
)

func (in input) current(s *Sources) uint64 {
	if in.kind == inputFile {
		data, err := s.ReadFile(in.name)
		return digestOf(data, err)
	}
	v, known := s.Globals.Lookup(in.name)
	return digestOf(fmt.Append(nil, known, vars.ToString(v)), nil)
}

func digestOf(data []byte, err error) uint64 {
	if err != nil {
		return xxhash.Sum64String("error: " + err.Error())
	}
	return xxhash.Sum64(data)
}

func (e *Env) record(kind, name string) {
	in := input{kind: kind, name: name}
	in.digest = in.current(&e.task.builder.Sources)
	x := e.built.more()
	x.inputs = append(x.inputs, in)
	e.built.outside = true
}

// ReadFile reads a file and records it: a forced load builds the module again
// if the content has changed.
func (e *Env) ReadFile(name string) ([]byte, error) {
	data, err := e.task.builder.Sources.ReadFile(name)
	x := e.built.more()
	x.inputs = append(x.inputs, input{inputFile, name, digestOf(data, err)})
	e.built.outside = true
	if err != nil {
		return nil, fmt.Errorf("reading file: %w", err)
	}
	return data, nil
}

// Expand replaces load-time placeholders ({env.*}, {file.*}, {system.*}) and
// records them; unknown ones become empty.
func (e *Env) Expand(text string) string {
	t := vars.Parse(text)
	for _, name := range t.Names() {
		e.record(inputPlaceholder, name)
	}
	return t.Expand(e.task.builder.Sources.Globals, vars.All, "")
}

// ExpandKnown is like Expand, but a placeholder that nobody knows yet stays as
// it is written.
func (e *Env) ExpandKnown(text string) string {
	t := vars.Parse(text)
	for _, name := range t.Names() {
		e.record(inputPlaceholder, name)
	}
	return t.Expand(e.task.builder.Sources.Globals, vars.Known, "")
}

// ExpandStrict is like Expand, but a placeholder that is unknown or empty is an
// error.
func (e *Env) ExpandStrict(text string) (string, error) {
	t := vars.Parse(text)
	for _, name := range t.Names() {
		e.record(inputPlaceholder, name)
	}
	return t.ExpandStrict(e.task.builder.Sources.Globals)
}

// Globals resolves the names that do not depend on a request, for request-time
// use. Reading through it is not recorded.
func (e *Env) Globals() vars.Scope { return e.task.builder.Sources.Globals }

// Own hands over a resource. Resources are prepared in the order in which they
// were handed over, after everything is compiled, and closed when nothing can
// use the value any more.
func (e *Env) Own(r Resource) {
	x := e.built.more()
	x.owned = append(x.owned, r)
}

// State returns what the module that stood here before kept under name, or
// what make returns if there was none. A module stands at the same place if it
// has the same @id, or else the same position among its siblings, and is of
// the same kind. The value is shared by the generations that still serve, so
// it must be safe for concurrent use; its config may have changed.
func (e *Env) State(name string, make func() any) any {
	v, _, ok := e.before(name)
	return e.keep(name, v, ok, make, 0)
}

func (e *Env) keep(name string, v any, ok bool, make func() any, around surroundings) any {
	if !ok {
		v = make()
	}
	x := e.built.more()
	x.state = append(x.state, kept{name, v, around})
	return v
}

func (e *Env) before(name string) (any, surroundings, bool) {
	if e.prev == nil || e.prev.extra == nil {
		return nil, 0, false
	}
	for _, k := range e.prev.extra.state {
		if k.name == name {
			return k.value, k.around, true
		}
	}
	return nil, 0, false
}

// Replaces reports whether a module of the same kind stood at this place.
func (e *Env) Replaces() bool { return e.prev != nil }

// Node is what the module is made from. As long as the module lives, the node stands in the document.
func (e *Env) Node() *config.Node { return e.built.node }

// ID is the @id that the module's object carries, or "".
func (e *Env) ID() string {
	n := e.built.node.Get("@id")
	if n == nil {
		return ""
	}
	return vars.ToString(n.ToGo())
}

// Warn reports something that is accepted but likely not meant. The pointer is
// relative to the module.
func (e *Env) Warn(pointer, message string) {
	e.task.warnings = append(e.task.warnings, schema.Problem{Pointer: e.pointer + pointer, Message: message})
}
