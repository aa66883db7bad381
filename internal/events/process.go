package events

import "context"

// Events of the process itself, whose origin is "", and of its upstreams.
const (
	Started   = "started"   // a document has begun to serve
	Stopping  = "stopping"  // a document is about to be replaced, or the process to end
	Healthy   = "healthy"   // active checks have found that an upstream is up
	Unhealthy = "unhealthy" // or down
)

// proxyOrigin is the module that is told to have emitted events of upstreams.
const proxyOrigin = "http.handlers.reverse_proxy"

// Teller returns a function that emits an event of the process. Nothing that its handlers want changes what happens.
func (b *Bus) Teller(name string) func() {
	return func() { _ = b.Emit(context.Background(), "", name, nil) }
}

// Health emits the event that an upstream is up or down. The host is as it is probed.
func (b *Bus) Health(host string, healthy bool) {
	name := Unhealthy
	if healthy {
		name = Healthy
	}
	if b.Wanted(proxyOrigin, name) {
		_ = b.Emit(context.Background(), proxyOrigin, name, map[string]any{"host": host})
	}
}
