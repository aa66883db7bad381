package upstream

import (
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/sluiceproxy/sluice/upstream/h3"
	"github.com/sluiceproxy/sluice/upstream/xconnect"
)

// Transports is the process-wide registry of HTTP transports, keyed by their options and counted. Safe for concurrent
// use.
type Transports struct {
	dial        DialFunc
	proxy       func(*http.Request) (*url.URL, error)
	connections *Connections

	mu   sync.Mutex
	live map[HTTPOptions]*HTTP
}

// TransportsConfig is what a registry takes from its surroundings.
type TransportsConfig struct {
	// Dial opens connections; nil means the real network.
	Dial DialFunc
	// Proxy chooses a forward proxy for a request, as http.ProxyFromEnvironment does; nil means none is ever used. Unix
	// sockets are always dialled directly (HT-10).
	Proxy func(*http.Request) (*url.URL, error)
	// Connections is told of each connection; nil counts none.
	Connections *Connections
}

// NewTransports returns an empty registry.
func NewTransports(c TransportsConfig) *Transports {
	if c.Dial == nil {
		c.Dial = dialNetwork
	}
	if c.Connections == nil {
		c.Connections = &Connections{}
	}
	return &Transports{dial: c.Dial, proxy: c.Proxy, connections: c.Connections, live: map[HTTPOptions]*HTTP{}}
}

// Acquire returns the transport of the options and counts one holder. Equal options are one transport with one pool of
// connections, so an edit of a handler, or ten thousand handlers alike, open no connection anew. The error is that of
// [HTTPOptions.Validate].
func (t *Transports) Acquire(o HTTPOptions) (*HTTP, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := o.meaning()
	h := t.live[key]
	if h == nil {
		made, err := t.open(o)
		if err != nil {
			return nil, err
		}
		h = made
		t.live[key] = h
	}
	h.refs++
	return h, nil
}

// Release gives back what one [Transports.Acquire] took. With the last holder the idle connections are closed; busy
// ones finish what they do and are closed then. Releasing what is not held panics.
func (t *Transports) Release(h *HTTP) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := h.options.meaning()
	if h.refs == 0 || t.live[key] != h {
		panic("upstream: release of a transport that is not held")
	}
	if h.refs--; h.refs > 0 {
		return
	}
	delete(t.live, key)
	h.released.Store(true)
	h.closeIdle()
}

// Len returns the number of transports that are held.
func (t *Transports) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.live)
}

// HTTP is a [Transport] that speaks HTTP/1.1 or HTTP/2, with TLS or without, or HTTP/3 to upstreams. It is made by
// [Transports.Acquire].
type HTTP struct {
	options  HTTPOptions
	proxy    func(*http.Request) (*url.URL, error) // asks the surroundings; nil if there are none to ask
	refs     int                                   // guarded by Transports.mu
	released atomic.Bool

	http1 *http.Transport
	http2 *http.Transport // nil unless options.H2C
	http3 *h3.Pool        // nil unless options.HTTP3; then the others are not used

	dialer    *dialer
	connector *xconnect.Connector // for WebSockets over HTTP/2; nil if there are none
}

// Options returns what the transport was made from.
func (h *HTTP) Options() HTTPOptions { return h.options }

// RoundTrip implements [Transport]: it is [HTTP.Send] with the zero [Route]. A transport that was released still serves who
// holds on to it, but keeps none of the connections.
func (h *HTTP) RoundTrip(r *http.Request) (*http.Response, error) { return h.Send(r, Route{}) }

func (h *HTTP) closeIdle() {
	h.http1.CloseIdleConnections()
	if h.http2 != nil {
		h.http2.CloseIdleConnections()
	}
	if h.connector != nil {
		h.connector.CloseIdle()
	}
	if h.http3 != nil {
		h.http3.Close()
	}
}

func (t *Transports) open(o HTTPOptions) (*HTTP, error) {
	d, err := newDialer(o, t.dial, t.connections)
	if err != nil {
		return nil, err
	}
	h := &HTTP{options: o, proxy: t.proxy, dialer: d, http1: newNetHTTP(o, d)}
	h.http1.DialContext = d.DialHTTP1
	h.http1.Protocols.SetHTTP1(true)
	h.http1.Protocols.SetHTTP2(o.TLS.Enabled && !o.HTTP1Only)
	if o.HTTP3 {
		h.http3 = newHTTP3(o, d)
	}
	if o.H2C {
		h.http2 = newNetHTTP(o, d)
		h.http2.DialContext = d.DialContext
		h.http2.Protocols.SetUnencryptedHTTP2(true)
	}
	if o.H2C || o.TLS.Enabled && o.HTTP2Only && !o.HTTP1Only {
		h.connector = xconnect.New(xconnect.Options{
			MaxConns: o.MaxConnsPerHost, KeepAlive: o.KeepAlive, IdleTimeout: o.IdleTimeout, MaxHeader: o.MaxResponseHeaderSize,
			Patience: o.DialTimeout, HeaderTimeout: o.ResponseHeaderTimeout,
		})
	}
	return h, nil
}

func newNetHTTP(o HTTPOptions, d *dialer) *http.Transport {
	return &http.Transport{
		Proxy:                  absoluteProxy,
		DialTLSContext:         d.DialTLS,
		DisableKeepAlives:      !o.KeepAlive,
		DisableCompression:     !o.Compression,
		MaxIdleConns:           o.MaxIdleConns,
		MaxIdleConnsPerHost:    o.MaxIdleConnsPerHost,
		MaxConnsPerHost:        o.MaxConnsPerHost,
		IdleConnTimeout:        o.IdleTimeout,
		ResponseHeaderTimeout:  o.ResponseHeaderTimeout,
		ExpectContinueTimeout:  o.ExpectContinueTimeout,
		MaxResponseHeaderBytes: o.MaxResponseHeaderSize,
		WriteBufferSize:        o.WriteBufferSize,
		ReadBufferSize:         o.ReadBufferSize,
		Protocols:              new(http.Protocols),
	}
}
