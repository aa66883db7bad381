package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/quic-go/quic-go"

	"github.com/sluiceproxy/sluice/upstream/h3"
)

// newHTTP3 makes the connections of a transport that speaks HTTP/3.
func newHTTP3(o HTTPOptions, d *dialer) *h3.Pool {
	over := d.plain
	if d.local != nil {
		if at, ok := d.local.LocalAddr.(*net.TCPAddr); ok {
			over.LocalAddr = &net.UDPAddr{IP: at.IP, Port: at.Port, Zone: at.Zone}
		}
	}
	d.quic = &h3.Dialer{Net: &over, Open: d.dial, HandshakeTimeout: d.handshake, Probe: o.ProbeInterval}
	return h3.New(h3.Options{
		MaxConns: o.MaxConnsPerHost, KeepAlive: o.KeepAlive, MaxIdle: o.MaxIdleConns, MaxIdlePerWay: o.MaxIdleConnsPerHost,
		IdleTimeout: o.IdleTimeout, MaxHeader: o.MaxResponseHeaderSize, HeaderTimeout: o.ResponseHeaderTimeout,
		Compression: o.Compression, Patience: o.DialTimeout,
	})
}

// sendHTTP3 is [HTTP.Send] over HTTP/3, to which there is no alternative.
func (h *HTTP) sendHTTP3(r *http.Request, to *Route) (*http.Response, error) {
	w, err := decodeWay(r.URL.Host)
	switch {
	case err != nil:
		return nil, err
	case !h.options.TLS.Enabled || h.options.TLS.excepts(w.address):
		return nil, &UnsupportedError{"HTTP/3 needs TLS, and " + w.address + " is spoken to in clear text; set tls, or other versions"}
	case !isTCP(w.network):
		return nil, &UnsupportedError{"HTTP/3 needs an address with a port, and not " + w.network + "/" + w.address}
	case offersWebSocket(r):
		return nil, &UnsupportedError{"a WebSocket cannot be opened over HTTP/3; give it a handler with other versions"}
	case r.Header["Upgrade"] != nil:
		r = withoutUpgrade(r) // an offer may be ignored (RFC 9110 section 7.8)
	}
	w.serverName = to.ServerName
	r.URL.Scheme, r.URL.Host = "https", w.encode()
	if r.Host == "" {
		r.Host = w.address
	}
	res, err := h.http3.RoundTrip(r, &h3.Way{Key: r.URL.Host, Dial: func(ctx context.Context) (*quic.Conn, error) { return h.dialer.dialQUIC(ctx, &w) }})
	var unsent *h3.UnsentError
	if errors.As(err, &unsent) {
		err = &DialError{Network: w.network, Address: w.address, Err: err}
	}
	return res, err
}

// dialQUIC makes a connection, which is counted.
func (d *dialer) dialQUIC(ctx context.Context, w *way) (*quic.Conn, error) {
	c, err := d.tlsConfig(w)
	if err != nil {
		return nil, err
	}
	conn, err := d.quic.Dial(ctx, "udp"+strings.TrimPrefix(w.network, "tcp"), w.address, c)
	var refused *h3.RefusedError
	switch {
	case errors.As(err, &refused):
		return nil, &HandshakeError{Address: w.address, Err: err}
	case err != nil:
		return nil, &DialError{Network: w.network, Address: w.address, Err: err}
	}
	context.AfterFunc(conn.Context(), d.track(w.address))
	return conn, nil
}
