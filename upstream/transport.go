package upstream

import (
	"errors"
	"net/http"
)

// Transport sends requests to upstreams. It is the seam behind the proxy: what speaks to an upstream can be replaced
// without any handler noticing.
//
// RoundTrip sends r to the address in r.URL.Host, which is an [Address.URLHost], and returns the final response once its
// header is in. Informational responses go to the httptrace of the request's context. A 101 response has a Body that is
// an io.ReadWriteCloser: the rest of the connection. An error that is a [DialError] means that no byte was sent. The
// request's header may be read until its body is closed or the response's body is. Safe for concurrent use.
type Transport interface {
	RoundTrip(r *http.Request) (*http.Response, error)
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
