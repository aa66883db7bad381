package reverseproxy

import (
	"net/url"
	"sync/atomic"

	"go.uber.org/zap"
)

// succession is shared by a handler and those that edits put in its place, where it is certain that they are meant for the
// same requests. What they need lives as long as a request that began with an earlier one: nothing of a later
// generation is closed before those that came before it are drained.
type succession struct {
	now atomic.Pointer[Handler] // the one that serves
}

// succeed goes on with the handler that an edit has put in the place of the one that the request waits in
// (caddyserver/caddy #4442): the next attempt is made as if the request had come just now, but for what was read of its body
// and the time that it has waited.
func (p *proxying) succeed() error {
	next := p.h.succession.now.Load()
	if next == nil || next == p.h || !p.fits(next) {
		return nil
	}
	p.h = next
	p.log.Debug("going on with the edited handler", zap.Int("retries", p.retries))
	return p.copyRequest(p.out.Context(), new(url.URL), nil)
}

// fits reports whether another handler can take over the request with what was read of its body.
func (p *proxying) fits(next *Handler) bool {
	return next.traits.NeedsLength == p.h.traits.NeedsLength && !next.ops.method && !p.h.ops.method
}
