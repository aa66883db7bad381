package handshake

import "slices"

// Hand returns the keys, for the process that takes the place of this one, so that sessions are resumed there. They are
// secrets.
func (t *Tickets) Hand() Ring {
	t.mu.Lock()
	defer t.mu.Unlock()
	ring := t.ring
	ring.Keys = slices.Clone(ring.Keys)
	return ring
}

// Inherit takes over what Hand returned in the process before. It is called before any document is in use.
func (t *Tickets) Inherit(r Ring) {
	if len(r.Keys) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.halt()
	t.take(r)
}
