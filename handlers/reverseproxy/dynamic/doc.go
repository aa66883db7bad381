// Package dynamic finds upstreams by DNS: sources that a handler asks for each attempt, and a cache of answers that belongs
// to the process.
//
// What was found out is kept by meaning: sources that ask the same of the same servers share one answer, and no edit
// loses it. A request waits for a lookup only where there is nothing to go on with. The rules cited as DYN-n, SRV-n, A-n
// and MULTI-n are those of the reverse proxy compatibility reference.
package dynamic

import (
	"context"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// Namespace is that of the modules; InlineKey names one in its object.
const (
	Namespace = "http.reverse_proxy.upstreams"
	InlineKey = "source"
)

// Specs describes the sources.
func Specs() []module.Spec { return []module.Spec{srvSpec(), addressSpec(), multiSpec()} }

// Source is where a handler's upstreams come from. It is what a module of this namespace compiles to.
type Source interface {
	// Upstreams returns what there is for a request. It may be called for each attempt, by any number of goroutines. As long
	// as nothing changes, the same list is returned.
	//
	// With an error there may be a list all the same: what was known before a lookup failed, for who has nothing better.
	// Of one lookup that failed, all askers get the same error, a *[Failure]. If the request was cancelled, the error is that
	// of its context.
	Upstreams(q Query) (*List, error)
	// Known returns what is known already, without a lookup. It is nil if that depends on a request.
	Known() *List
}

// Query is what a [Source] is asked for.
type Query struct {
	// Context is that of the request. Its end ends the waiting for a lookup, and not the lookup.
	Context context.Context
	// Scope resolves the placeholders of names.
	Scope vars.Scope
	// Log gets what went wrong and was made good.
	Log *zap.Logger
	// Again says that an attempt with an earlier list has failed, so that the answer should be a new one (DYN-2).
	Again bool
}

// List is an answer. It is never changed.
type List struct {
	// Key is what was asked for. Lists with the same key replace each other.
	Key string
	// Dials is the dial texts, without placeholders.
	Dials []string
}

// Failure is a lookup that failed.
type Failure struct {
	Err  error
	told atomic.Bool
}

// Error returns the text of the reason.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the reason.
func (f *Failure) Unwrap() error { return f.Err }

// Tell reports whether nobody has asked this before: then it should be logged.
func (f *Failure) Tell() bool { return !f.told.Load() && f.told.CompareAndSwap(false, true) }
