package reverseproxy

import (
	"net/http"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/upstream"
)

// placeholders is what the placeholders http.reverse_proxy.* of one request are read from (section 15). They stay readable
// until the request ends, in later handlers, error routes and the access log. Where two handlers have proxied one
// request, the later one counts.
type placeholders struct {
	retries int
	ended   time.Time // zero until the handler has ended

	// Of the latest attempt:
	aimed    bool
	literal  bool // the dial text has no placeholders
	counted  bool // at the expanded address
	upstream *selection.Upstream
	address  upstream.Address
	before   int64 // requests that were running on it
	sent     time.Time
	latency  time.Duration // 0 until the response header is in
	duration time.Duration // 0 until the body is copied
	response *http.Response
	// responseHeader is the header as the upstream sent it.
	responseHeader http.Header
	failure        error // of the round trip
	// While retry_match is asked: after a transport error, or at all.
	isTransportError, judging bool
}

const scopePrefix = "http.reverse_proxy."

// Lookup implements [vars.Scope].
func (p *proxying) Lookup(name string) (any, bool) {
	name, ok := strings.CutPrefix(name, scopePrefix)
	if !ok {
		return nil, false
	}
	if rest, ok := strings.CutPrefix(name, "upstream."); ok {
		return p.lookupUpstream(rest)
	}
	if field, ok := strings.CutPrefix(name, "header."); ok {
		values, ok := p.responseHeader[field]
		if !ok {
			return nil, false
		}
		return strings.Join(values, ","), true
	}
	switch name {
	case "status_code":
		if p.response != nil {
			return p.response.StatusCode, true
		}
	case "status_text":
		if p.response != nil {
			return p.response.Status, true
		}
	case "is_transport_error":
		// Unset it would be null, which breaks an expression such as {...is_transport_error} || {...status_code} == 503 (quirk 5).
		return p.isTransportError, p.judging
	case "transport_error":
		return p.failureKind(), p.failure != nil || p.judging
	case "retries":
		if !p.ended.IsZero() {
			return p.retries, true
		}
	case "duration":
		if !p.ended.IsZero() {
			return p.ended.Sub(p.start), true
		}
	case "duration_ms":
		if !p.ended.IsZero() {
			return milliseconds(p.ended.Sub(p.start)), true
		}
	}
	return nil, false
}

func (p *proxying) lookupUpstream(name string) (any, bool) {
	if !p.aimed {
		return nil, false
	}
	switch name {
	case "address":
		return p.address.String(), true
	case "hostport":
		return p.address.HostPort, true
	case "host":
		return p.address.Host, true
	case "port":
		return p.address.Port, true
	case "requests":
		return p.before, true
	case "max_requests":
		return p.upstream.MaxRequests, true
	case "fails":
		return p.upstream.Host.Fails(), true
	case "latency":
		return p.latency, p.latency > 0
	case "latency_ms":
		return milliseconds(p.latency), p.latency > 0
	case "duration":
		return p.duration, p.duration > 0
	case "duration_ms":
		return milliseconds(p.duration), p.duration > 0
	}
	return nil, false
}

// failureKind is what kind of failure the latest attempt has met, "" if none.
func (p *proxying) failureKind() string {
	if p.failure != nil && p.body.failed() {
		return string(upstream.FailedOther) // it is the client's body that broke off
	}
	return string(upstream.FailureOf(p.failure))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

var _ vars.Scope = (*proxying)(nil)
