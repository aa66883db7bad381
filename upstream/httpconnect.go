package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	_ "github.com/sluiceproxy/sluice/internal/http2connect" // servers of programs that proxy take extended CONNECT too
	"github.com/sluiceproxy/sluice/upstream/xconnect"
)

// UnsupportedError is a request that the upstream cannot take because of the version of HTTP that it speaks. It says nothing
// about how the upstream is.
type UnsupportedError struct{ text string }

// Error says what is missing, and what would help.
func (e *UnsupportedError) Error() string { return e.text }

// IsUnsupported reports whether err is or wraps an [UnsupportedError].
func IsUnsupported(err error) bool {
	var unsupported *UnsupportedError
	return errors.As(err, &unsupported)
}

// errHTTP1 says that a request goes over HTTP/1.1 after all.
var errHTTP1 = errors.New("HTTP/1.1 is to be used")

// offersWebSocket reports whether a request offers to switch to the WebSocket protocol, as RFC 6455 section 4.1 has it.
func offersWebSocket(r *http.Request) bool {
	upgrade := r.Header["Upgrade"]
	return r.Method == http.MethodGet && len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket") &&
		httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade")
}

// sendUpgradeHTTP2 sends a request for an upgrade to an upstream that is spoken to with HTTP/2, as far as the options say so. A
// WebSocket becomes an extended CONNECT (RFC 8441), and its answer the 101 that the client waits for. With the error
// errHTTP1 the request was left as it is and HTTP/1.1 has to be used.
func (h *HTTP) sendUpgradeHTTP2(r *http.Request, to *Route) (*http.Response, error) {
	w, err := decodeWay(r.URL.Host)
	if err != nil {
		return nil, err
	}
	o := &h.options
	secure := o.TLS.Enabled && !o.TLS.excepts(w.address)
	if secure && !o.HTTP2Only || !secure && !o.H2C {
		return nil, errHTTP1
	}
	if !offersWebSocket(r) {
		if secure || !o.HTTP2Only {
			return nil, errHTTP1
		}
		return h.Send(withoutUpgrade(r), *to) // an offer may be ignored (RFC 9110 section 7.8)
	}
	c, err := h.connectRequest(r, &w, to, secure)
	if err != nil {
		return nil, err
	}
	alternative := secure || !o.HTTP2Only
	res, err := h.connector.Open(c, &xconnect.Way{Key: w.encode(), Dial: h.dialHTTP2(&w, secure), Alternative: alternative})
	if h.released.Load() {
		h.connector.CloseIdle()
	}
	refused := xconnect.IsRefusal(err)
	switch {
	case err == nil || r.Context().Err() != nil || IsDialError(err):
		return res, err
	case alternative && (refused || errors.Is(err, xconnect.ErrNoSettings)):
		return nil, errHTTP1
	case refused:
		err = &UnsupportedError{fmt.Sprintf("a WebSocket cannot be opened with %s: %v; if it has WebSockets over HTTP/1.1, "+
			"add \"1.1\" to the versions of the transport", w.address, err)}
	}
	return nil, err
}

// dialHTTP2 returns how to make a connection that is meant for HTTP/2.
func (h *HTTP) dialHTTP2(w *way, secure bool) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := h.dialer.open(ctx, w)
		if err != nil || !secure {
			return conn, err
		}
		if conn, err = h.dialer.secure(ctx, conn, w); err != nil {
			return nil, err
		}
		if over, ok := conn.(*tls.Conn); !ok || over.ConnectionState().NegotiatedProtocol != protoHTTP2 {
			conn.Close()
			return nil, xconnect.NotHTTP2()
		}
		return conn, nil
	}
}

// withoutUpgrade returns the request without its offer to switch protocols.
func withoutUpgrade(r *http.Request) *http.Request {
	out := r.WithContext(r.Context())
	out.Header = r.Header.Clone()
	for _, name := range [...]string{"Upgrade", "Connection", "Http2-Settings"} {
		delete(out.Header, name)
	}
	return out
}

// connectRequest returns the extended CONNECT for a request, and completes the way.
func (h *HTTP) connectRequest(r *http.Request, w *way, to *Route, secure bool) (*http.Request, error) {
	location := *r.URL
	out := r.WithContext(r.Context())
	out.URL = &location
	location.Scheme = "http"
	if secure {
		location.Scheme = "https"
		w.serverName = to.ServerName
	}
	if h.options.ProxyProtocol != 0 {
		w.client = to.Client
	}
	if err := h.viaProxy(out, w, to, true); err != nil {
		return nil, err
	}
	if out.Host == "" {
		out.Host = hostFor(w.network, w.address)
	}
	return out, nil
}
