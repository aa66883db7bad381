// Package module turns subtrees of the document into running values, and does
// so only for what is new: a module whose node, slot and recorded inputs are
// what they were is taken over from the generation before.
//
// A module kind is described by one Spec: its ID, the Go type of its config,
// and a compile function. Children stand in the config as Ref fields; they are
// built before compile is called, so compile reads finished values.
package module

import (
	"fmt"
	"reflect"

	"github.com/sluiceproxy/sluice/config"
)

// Spec describes one kind of module.
type Spec struct {
	// ID is the full module ID, such as "http.handlers.headers".
	ID string
	// Summary is one sentence for lists and documentation.
	Summary string
	// Examples are documents of this module; each is decoded, validated and
	// compiled by a test.
	Examples []Example
	// Directives are the words of the Caddyfile that make this module.
	Directives []Directive
	// Words reads the module where a Caddyfile names it, nil if none can.
	Words Syntax
	// App says that the module stands in the apps of a document, under its whole
	// ID. What has no namespace does in any case.
	App bool

	config   reflect.Type
	defaults reflect.Value
	compile  func(env *Env, cfg any) (any, error)
	list     *listSpec
}

// Example is a short use of a module.
type Example struct {
	// Title says what it does, in a few words.
	Title string
	// JSON is the module's object, inline key included.
	JSON string
}

// Option adds to a Spec.
type Option func(*Spec)

// Examples adds examples.
func Examples(list ...Example) Option {
	return func(s *Spec) { s.Examples = append(s.Examples, list...) }
}

// App is an option for an app whose ID has dots.
func App(s *Spec) { s.App = true }

// New describes a module whose config is a C and whose running value is a T.
//
// The compile function may read cfg and what it asks of env, nothing else by
// itself. It acquires nothing visible: what must be opened, counted or started
// it hands to env.Own. An error it returns is reported at the module's place;
// a schema.Problems is reported with its own pointers below that place.
// Defaults, if not nil, is the config that decoding starts from.
func New[C, T any](id, summary string, defaults *C, compile func(env *Env, cfg *C) (T, error), opts ...Option) Spec {
	s := Spec{ID: id, Summary: summary, config: reflect.TypeFor[C]()}
	if defaults != nil {
		s.defaults = reflect.ValueOf(defaults).Elem()
	}
	s.compile = func(env *Env, cfg any) (any, error) {
		v, err := compile(env, cfg.(*C))
		if err != nil {
			return nil, err
		}
		return v, nil
	}
	for _, o := range opts {
		o(&s)
	}
	return s
}

// Item is one element of a list module with its order key.
type Item[E any] struct {
	Label int64
	Value E
}

// Delta is how a list changed: the elements that left and those that came.
// An element that was rebuilt in place is in both, under the same label.
type Delta[E any] struct {
	// Reset says that the list must be made anew of Added, because there is no
	// previous one or all labels changed.
	Reset          bool
	Removed, Added []Item[E]
}

type listSpec struct {
	element string
	update  func(prev any, reset bool, removed, added []item) any
}

type item struct {
	label int64
	value any
}

// NewList describes a module that is a JSON array of modules of kind element
// (a fixed ID), whose running value is an L derived from them. The update
// function gets the previous value, which it must not change, and the
// difference, so that its cost can follow the size of the change.
func NewList[E, L any](id, summary, element string, update func(prev L, delta Delta[E]) L) Spec {
	l := &listSpec{element: element}
	l.update = func(prev any, reset bool, removed, added []item) any {
		p, _ := prev.(L)
		return update(p, Delta[E]{Reset: reset, Removed: typed[E](removed), Added: typed[E](added)})
	}
	return Spec{ID: id, Summary: summary, list: l, config: reflect.TypeFor[[]*config.Node]()}
}

func typed[E any](items []item) []Item[E] {
	out := make([]Item[E], len(items))
	for i, it := range items {
		out[i] = Item[E]{it.label, it.value.(E)}
	}
	return out
}

// Resource is something that a value needs and that others can see: a socket,
// a counted host, a running prober. Calls come from one goroutine at a time.
type Resource interface {
	// Prepare acquires it. It may fail; then nothing stays acquired and Close
	// is not called.
	Prepare() error
	// Start makes it take effect, after the swap. It cannot fail.
	Start()
	// Close releases what Prepare acquired, once no request can use it any
	// more, or when a later step of the same change failed.
	Close()
}

// Leaver is a [Resource] that wants to know when the document has it no more. Leave is called at the swap, after what is new
// there has started, while requests may still use it; Close follows when they no longer do. It cannot fail, and must not wait.
type Leaver interface {
	Resource
	Leave()
}

// Acquired makes a Resource of an acquire and a release function.
func Acquired(acquire func() error, release func()) Resource {
	return &acquired{acquire, release}
}

type acquired struct {
	acquire func() error
	release func()
}

func (a *acquired) Prepare() error { return a.acquire() }
func (a *acquired) Start()         {}
func (a *acquired) Close()         { a.release() }

func (s Spec) check() error {
	if s.ID == "" || s.config == nil || (s.compile == nil && s.list == nil) {
		return fmt.Errorf("module spec %q is incomplete", s.ID)
	}
	return nil
}
