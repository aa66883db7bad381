package upstream

import (
	"errors"
	"net/http"
	"time"
)

// Transport sends requests to upstreams. It is the seam behind the proxy: what speaks to an upstream can be replaced
// without any handler noticing.
//
// RoundTrip sends r to the address in r.URL.Host, which is an [Address.URLHost], and returns the final response once its
// header is in. Informational responses go to the httptrace of the request's context. A 101 response has a Body that is
// an io.ReadWriteCloser: the rest of the connection. An error that is a [DialError] means that no byte was sent. The
// request's header may be read until its body is closed or the response's body is; scheme and host of its URL may be changed. Safe for concurrent
// use.
type Transport interface {
	RoundTrip(r *http.Request) (*http.Response, error)
}

// Traits is what a transport asks of the proxy that uses it. A transport that asks for something has a method Traits.
type Traits struct {
	// HostOfUpstream replaces the Host of requests by the upstream's address, before the user's own changes (REQ-2).
	HostOfUpstream bool
	// RequestBuffers is how much of a request body to read ahead where the handler does not say (FC-8).
	RequestBuffers int64
	// NeedsLength is told the length of a body wherever that is known, even if the client did not give it (BUF-3).
	NeedsLength bool
	// SpoolBody is how long a body of unknown length may be that is kept in a temporary file where RequestBuffers is not enough
	// to find out its length; 0 keeps none.
	SpoolBody int64
	// FlushesLate does not want a response flushed at once only because its length is not known (FLUSH-7).
	FlushesLate bool
	// ExpectContinue is how long the body of a request with "Expect: 100-continue" waits for the upstream to ask for it; with 0
	// it does not wait (REQ-14).
	ExpectContinue time.Duration
}

// TraitsOf returns what a transport asks for.
func TraitsOf(t Transport) Traits {
	if asks, ok := t.(interface{ Traits() Traits }); ok {
		return asks.Traits()
	}
	return Traits{}
}

// DialError is a connection that could not be made: refused, unreachable, not resolved, timed out while dialling. The
// request was not sent, so it may be sent elsewhere, whatever its method (LB-4). Its text is that of Err.
type DialError struct {
	// Network and Address are what was dialled.
	Network, Address string
	// Err is the reason.
	Err error
}

// Error returns the text of the reason.
func (e *DialError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *DialError) Unwrap() error { return e.Err }

// IsDialError reports whether err is or wraps a [DialError].
func IsDialError(err error) bool {
	var dial *DialError
	return errors.As(err, &dial)
}
