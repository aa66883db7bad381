// Package events is the process's bus of events: who emits one calls the
// subscribers of the current document, one after the other, in its own
// goroutine.
//
// An event has a name and an origin, the ID of the module that emits it; that
// of the process itself is "". A subscription names events and modules, and one
// of "a.b" also gets what "a.b.c" emits.
package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// ErrAborted is wrapped by the error of a handler that wants what the event
// announces not to happen. Other errors of handlers are reported and change
// nothing.
var ErrAborted = errors.New("aborted by an event handler")

// maxDepth is how many events may be emitted in one another's handlers.
const maxDepth = 8

// Handler is told of events. It runs in the goroutine of whoever emits the
// event, which waits for it, so it must be quick, end when ctx does, and be
// safe for concurrent use. It must not change the event.
type Handler interface {
	Handle(ctx context.Context, e *Event) error
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, e *Event) error

// Handle implements Handler.
func (f HandlerFunc) Handle(ctx context.Context, e *Event) error { return f(ctx, e) }

// Subscription is handlers and what they want to be told of.
type Subscription struct {
	// Events are names of events. None, or an empty name, is every event.
	Events []string
	// Modules are the IDs of the modules that emit them, each with all whose ID
	// continues it after a dot. None, or an empty one, is every module and the process.
	Modules []string
	// Handlers are called in this order.
	Handlers []Handler
}

// Subscriptions is the subscriptions of one document, indexed. It is immutable.
type Subscriptions struct {
	// at holds the places of subscriptions by event name and module ID, both ""
	// for all.
	at   map[string]map[string][]int
	list []Subscription
}

// NewSubscriptions indexes a list of subscriptions.
func NewSubscriptions(list []Subscription) *Subscriptions {
	s := &Subscriptions{at: map[string]map[string][]int{}, list: slices.Clone(list)}
	for i, sub := range list {
		for _, name := range orAll(sub.Events) {
			if s.at[name] == nil {
				s.at[name] = map[string][]int{}
			}
			for _, id := range orAll(sub.Modules) {
				if places := s.at[name][id]; len(places) == 0 || places[len(places)-1] != i {
					s.at[name][id] = append(places, i)
				}
			}
		}
	}
	return s
}

func orAll(names []string) []string {
	if len(names) == 0 {
		return []string{""}
	}
	return names
}

// Len is the number of subscriptions.
func (s *Subscriptions) Len() int { return len(s.list) }

// walk calls f with the places of subscriptions that want an event, in the order
// of delivery, until it returns false: those who named the event before those
// who want all, and among each the ones for its module before the ones for that
// module's parents.
func (s *Subscriptions) walk(origin, name string, f func(places []int) bool) {
	for _, event := range [...]string{name, ""} {
		byModule := s.at[event]
		for id := origin; len(byModule) > 0; id = parent(id) {
			if places := byModule[id]; len(places) > 0 && !f(places) {
				return
			}
			if id == "" {
				break
			}
		}
		if name == "" {
			return
		}
	}
}

// parent is "a.b" for "a.b.c", and "" for "a".
func parent(id string) string { return id[:max(0, strings.LastIndexByte(id, '.'))] }

// Options of a bus. The zero value is usable.
type Options struct {
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// NewID makes the ID of an event. Default a random UUID.
	NewID func() string
	// OnError is told of errors of handlers that are not an abort. Default none.
	OnError func(e *Event, err error)
}

// Bus delivers events to the current subscriptions. It is safe for concurrent
// use. A nil Bus has no subscribers.
type Bus struct {
	opt     Options
	current atomic.Pointer[Subscriptions]
}

// NewBus makes a bus without subscriptions.
func NewBus(o Options) *Bus {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = newID
	}
	if o.OnError == nil {
		o.OnError = func(*Event, error) {}
	}
	return &Bus{opt: o}
}

// Use makes s the subscriptions from now on; nil is none. An event that is being
// delivered goes on to those that it was emitted to.
func (b *Bus) Use(s *Subscriptions) { b.current.Store(s) }

// Leave ends the subscriptions s, if they are still the current ones.
func (b *Bus) Leave(s *Subscriptions) { b.current.CompareAndSwap(s, nil) }

// Wanted reports whether someone would be told of an event, so that its data need
// not be gathered for nobody.
func (b *Bus) Wanted(origin, name string) bool {
	s := b.subscriptions()
	if s == nil {
		return false
	}
	wanted := false
	s.walk(origin, name, func([]int) bool { wanted = true; return false })
	return wanted
}

func (b *Bus) subscriptions() *Subscriptions {
	if b == nil {
		return nil
	}
	return b.current.Load()
}

type depthKey struct{}

// Emit tells the subscribers of an event and returns when the last of them has
// returned. Each subscription is told once. The data must not be changed
// afterwards.
//
// An error wraps ErrAborted: the rest of the subscribers were not told, and what
// the event announces should not happen. They are not told either once ctx has
// ended; that is reported, and no error.
func (b *Bus) Emit(ctx context.Context, origin, name string, data map[string]any) error {
	if !b.Wanted(origin, name) {
		return nil
	}
	e := &Event{ID: b.opt.NewID(), Time: b.opt.Now(), Name: name, Origin: origin, Data: data}
	depth, _ := ctx.Value(depthKey{}).(int)
	if depth >= maxDepth {
		b.opt.OnError(e, fmt.Errorf("event %s is not delivered: %d events were emitted in one another's handlers", name, depth))
		return nil
	}
	ctx = context.WithValue(ctx, depthKey{}, depth+1)
	// Between Wanted and here the subscriptions may have changed; then these are told.
	s := b.subscriptions()
	if s == nil {
		return nil
	}
	var told []int
	var err error
	s.walk(origin, name, func(places []int) bool {
		for _, i := range places {
			if slices.Contains(told, i) {
				continue
			}
			told = append(told, i)
			var more bool
			if more, err = b.tell(ctx, e, s.list[i].Handlers); !more {
				return false
			}
		}
		return true
	})
	return err
}

// tell calls the handlers of one subscription and reports whether others are to
// be told.
func (b *Bus) tell(ctx context.Context, e *Event, handlers []Handler) (bool, error) {
	for _, h := range handlers {
		if ctx.Err() != nil {
			b.opt.OnError(e, fmt.Errorf("delivering event %s ended: %w", e.Name, context.Cause(ctx)))
			return false, nil
		}
		err := h.Handle(ctx, e)
		if errors.Is(err, ErrAborted) {
			return false, fmt.Errorf("event %s: %w", e.Name, err)
		}
		if err != nil {
			b.opt.OnError(e, err)
		}
	}
	return true, nil
}
