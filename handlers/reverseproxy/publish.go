package reverseproxy

import (
	"net/http"

	"github.com/sluiceproxy/sluice/handlers/vars"
)

// publish makes the placeholders of p known to its exchange, which asks p when one is looked up.
func publish(p *proxying) {
	if x, ok := any(p.x).(interface{ AddScope(vars.Scope) }); ok {
		x.AddScope(p)
		p.lazy = true
	}
}

// publishAll sets them one by one, for an exchange that takes no scopes.
func (p *proxying) publishAll() {
	if p.lazy {
		return
	}
	for _, name := range []string{
		"upstream.address", "upstream.hostport", "upstream.host", "upstream.port", "upstream.requests", "upstream.max_requests",
		"upstream.fails", "upstream.latency", "upstream.latency_ms", "upstream.duration", "upstream.duration_ms",
		"status_code", "status_text", "is_transport_error", "retries", "duration", "duration_ms",
	} {
		p.publishOne(scopePrefix + name)
	}
	for field := range p.responseHeader {
		p.publishOne(scopePrefix + "header." + field)
	}
}

// withdraw takes back what an earlier attempt has set.
func (p *proxying) withdraw(header http.Header) {
	if p.lazy || p.retries == 0 {
		return
	}
	for field := range header {
		p.x.Unset(scopePrefix + "header." + field)
	}
	p.publishAll()
}

func (p *proxying) publishOne(name string) {
	if v, known := p.Lookup(name); known {
		p.x.Set(name, v)
	} else {
		p.x.Unset(name)
	}
}
