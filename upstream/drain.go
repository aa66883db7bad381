package upstream

import (
	"fmt"
	"time"
)

// UnknownHostError says that the configuration has no upstream of an address.
type UnknownHostError struct{ Address string }

// Error says what would be right.
func (e *UnknownHostError) Error() string {
	return fmt.Sprintf("no upstream %q in the configuration; GET /reverse_proxy/upstreams lists them", e.Address)
}

// Drained reports whether the host gets no more requests, whatever its health is.
func (h *Host) Drained() bool { return h.drained.Load() }

// Drain takes a host out of service: no handler sends it another request until [Pool.Undrain]. Requests and streams that run
// go on; closeAfter, if it is not negative, is when the streams are ended. The address is a dial text. A drain is a state of
// the process: edits keep it, and it ends with the process, or when the host leaves the configuration. The error is an
// [*UnknownHostError].
func (p *Pool) Drain(address string, closeAfter time.Duration) (Status, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, err := p.held(address)
	if err != nil {
		return Status{}, err
	}
	h.drained.Store(true)
	h.stopClosing()
	if closeAfter >= 0 {
		dial := h.dial
		h.closing = time.AfterFunc(closeAfter, func() { p.CloseStreams(StreamFilter{Upstream: dial}) })
	}
	return h.status(), nil
}

// Undrain puts a host back into service. Streams that were to be ended are not.
func (p *Pool) Undrain(address string) (Status, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, err := p.held(address)
	if err != nil {
		return Status{}, err
	}
	h.drained.Store(false)
	h.stopClosing()
	return h.status(), nil
}

// held returns the host of a dial text. The caller holds p.mu.
func (p *Pool) held(address string) (*Host, error) {
	if h := p.hosts[address]; h != nil && h.refs > 0 {
		return h, nil
	}
	return nil, &UnknownHostError{address}
}

// stopClosing forgets that streams were to be ended. The caller holds pool.mu.
func (h *Host) stopClosing() {
	if h.closing != nil {
		h.closing.Stop()
		h.closing = nil
	}
}
