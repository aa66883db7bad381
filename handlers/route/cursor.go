package route

import (
	"net/http"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/urlpath"
)

// cursor walks one list for one request. It is not reused, so a handler's
// goroutine that outlives the request can do no harm with it.
type cursor struct {
	list     *List
	exchange *handlers.Exchange
	next     handlers.Next
	observer Observer // may be nil

	// What the last look-up was for, and what it found. A handler may change
	// host or path; then the cursor looks again.
	rawHost, rawPath string
	buckets          []bucket
	space            [6]bucket
	looked           bool
}

// Drop lets go of the list.
func (c *cursor) Drop() { *c = cursor{} }

// Continue runs what stands behind handler number step of the route at.
func (c *cursor) Continue(w http.ResponseWriter, r *http.Request, at any, step int) error {
	if c.list == nil {
		return handlers.ErrOver
	}
	e := at.(*entry)
	if step+1 < len(e.route.handlers) {
		return c.handle(w, r, e, step+1)
	}
	if e.route.terminal {
		return c.exchange.End.ServeHTTP(w, r)
	}
	return c.run(w, r, e)
}

// run looks for the next matching route behind entry last and runs it.
func (c *cursor) run(w http.ResponseWriter, r *http.Request, last *entry) error {
	for {
		e := c.following(r, last)
		if e == nil {
			return c.leave(w, r)
		}
		matched, err := e.route.Match(r)
		if err != nil {
			return err
		}
		if matched && c.exchange.Satisfy(e.route.group) {
			return c.begin(w, r, e)
		}
		last = e
	}
}

// leave goes on with what follows the list. That is not nested in the list.
func (c *cursor) leave(w http.ResponseWriter, r *http.Request) error {
	x := c.exchange
	x.Leave()
	defer x.Reenter()
	return c.next.ServeHTTP(w, r)
}

func (c *cursor) begin(w http.ResponseWriter, r *http.Request, e *entry) error {
	if len(e.route.handlers) > 0 {
		if c.observer != nil {
			c.observer.Reached(e.route.names[0])
		}
		return c.handle(w, r, e, 0)
	}
	return c.Continue(w, r, e, 0)
}

func (c *cursor) handle(w http.ResponseWriter, r *http.Request, e *entry, step int) error {
	if trace := c.exchange.Trace; trace != nil {
		trace(e.route.names[step], e.route.nodes[step])
	}
	return e.route.handlers[step].ServeHTTP(w, r, handlers.NextIn(c, e, step))
}

// following is the first route behind last that the index does not rule out.
func (c *cursor) following(r *http.Request, last *entry) *entry {
	label := int64(-1 << 63)
	if last != nil {
		label = last.label
	}
	if c.list.single != nil {
		if last == nil {
			return c.list.single
		}
		return nil
	}
	if !c.looked || c.rawHost != r.Host || c.rawPath != r.URL.Path {
		c.look(r)
	}
	var best *entry
	for _, b := range c.buckets {
		if e := b.after(label); e != nil && (best == nil || e.label < best.label) {
			best = e
		}
	}
	if c.list.overlays != nil {
		return c.overlay(last, label, best)
	}
	return best
}

// overlay returns the route that is laid over the list between last, which has a label, and best, the next one of the list;
// or else best.
func (c *cursor) overlay(last *entry, label int64, best *entry) *entry {
	for i, o := range c.list.overlays {
		passed := slices.Index(c.list.overlays, last) >= i || label > o.label
		if !passed && (best == nil || best.label > o.label) {
			return o
		}
	}
	return best
}

func (c *cursor) look(r *http.Request) {
	c.looked, c.rawHost, c.rawPath = true, r.Host, r.URL.Path
	path := strings.ToLower(urlpath.Clean(r.URL.Path, true))
	c.buckets = c.list.candidates(urlpath.Host(r.Host), path, c.space[:0])
}
