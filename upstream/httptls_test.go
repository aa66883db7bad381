package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/server/trust/trusttest"
)

// secureServer answers with what it saw of the connection. Its name is in cert.
func secureServer(t *testing.T, cert tls.Certificate, adjust func(*httptest.Server)) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	conns := new(atomic.Int64)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := "-"
		if len(r.TLS.PeerCertificates) > 0 {
			client = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprintf(w, "%s sni=%s host=%s client=%s curve=%v", r.Proto, r.TLS.ServerName, r.Host, client, r.TLS.CurveID)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = nil
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Config.ErrorLog = quietLog()
	if adjust != nil {
		adjust(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, conns
}

// trusting returns options that speak TLS and trust a.
func trusting(a *trusttest.Authority) HTTPOptions {
	o := DefaultHTTPOptions()
	o.TLS = TLSOptions{Enabled: true, Roots: a.Pool(), RootsKey: "a"}
	return o
}

// send sends a GET on a route.
func send(t *testing.T, h *HTTP, dial string, to Route, header ...string) (string, error) {
	t.Helper()
	a, err := ParseDial(dial)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://x/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "client.test"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	r.URL = &url.URL{Scheme: "http", Host: a.URLHost, Path: "/"}
	res, err := h.Send(r, to)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

func TestTLSToUpstreams(t *testing.T) {
	ca := trusttest.New(t)
	s, _ := secureServer(t, ca.Issue("127.0.0.1", "app.internal"), func(s *httptest.Server) { s.TLS.ClientAuth = tls.RequestClientCert })
	dial := s.Listener.Addr().String()
	mine := ca.Issue("me.test")
	other := trusttest.New(t)
	tests := []struct {
		name   string
		change func(o *HTTPOptions)
		to     Route
		header []string
		want   string // empty: an error that is none of dialling
	}{
		{name: "by address", want: "HTTP/2.0 sni= host=client.test client=- "},
		{name: "server name", change: func(o *HTTPOptions) { o.TLS.ServerName = "app.internal" }, want: "HTTP/2.0 sni=app.internal host=client.test"},
		{name: "server name of the route", to: Route{ServerName: "app.internal"}, want: "HTTP/2.0 sni=app.internal"},
		{name: "wrong name", change: func(o *HTTPOptions) { o.TLS.ServerName = "other.internal" }},
		{name: "wrong authority", change: func(o *HTTPOptions) { o.TLS.Roots = other.Pool() }},
		{name: "system", change: func(o *HTTPOptions) { o.TLS.Roots = nil }},
		{name: "insecure", change: func(o *HTTPOptions) { o.TLS.Roots, o.TLS.Insecure = other.Pool(), true }, want: "HTTP/2.0"},
		{name: "1.1 only", change: func(o *HTTPOptions) { o.HTTP1Only = true }, want: "HTTP/1.1 sni="},
		{name: "h2c is h2 over TLS", change: func(o *HTTPOptions) { o.H2C = true }, want: "HTTP/2.0"},
		{name: "upgrade", header: []string{"Connection", "Upgrade", "Upgrade", "websocket"}, want: "HTTP/1.1 sni="},
		{name: "client certificate", change: func(o *HTTPOptions) { o.TLS.Certificate = &mine }, want: "HTTP/2.0 sni= host=client.test client=me.test"},
		{name: "curves", change: func(o *HTTPOptions) { o.TLS.Curves[0] = tls.CurveP384 }, want: "HTTP/2.0 sni= host=client.test client=- curve=CurveP384"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := trusting(ca)
			if tt.change != nil {
				tt.change(&o)
			}
			ts := NewTransports(TransportsConfig{})
			h := acquireHTTP(t, ts, o)
			defer ts.Release(h)
			got, err := send(t, h, dial, tt.to, tt.header...)
			switch {
			case tt.want == "" && (err == nil || IsDialError(err)):
				t.Errorf("%q, %v; want an error of the handshake", got, err)
			case tt.want != "" && (err != nil || !strings.HasPrefix(got, tt.want)):
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestTLSOverOtherNetworks(t *testing.T) {
	ca := trusttest.New(t)
	path := filepath.Join(t.TempDir(), "a.sock")
	s, _ := secureServer(t, ca.Issue("app.internal"), func(s *httptest.Server) { s.Listener.Close(); s.Listener = listen(t, "unix", path) })
	ts := NewTransports(TransportsConfig{})
	h := acquireHTTP(t, ts, trusting(ca))
	defer ts.Release(h)
	if _, err := send(t, h, "unix/"+path, Route{}); err == nil || !strings.Contains(err.Error(), "server_name") {
		t.Errorf("a unix socket without a name: %v", err)
	}
	if got, err := send(t, h, "unix/"+path, Route{ServerName: "app.internal"}); !strings.HasPrefix(got, "HTTP/2.0 sni=app.internal") {
		t.Errorf("%q, %v", got, err)
	}
	_ = s
}

// Connections are shared by requests that want the same name, and by no others (quirk 23).
func TestServerNamesHaveConnectionsOfTheirOwn(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		ca := trusttest.New(t)
		s, conns := secureServer(t, ca.Issue("a.test", "b.test"), nil)
		o := trusting(ca)
		o.HTTP1Only = http1
		ts := NewTransports(TransportsConfig{})
		h := acquireHTTP(t, ts, o)
		for range 3 {
			for _, name := range []string{"a.test", "b.test"} {
				if got, err := send(t, h, s.Listener.Addr().String(), Route{ServerName: name}); !strings.Contains(got, "sni="+name+" ") {
					t.Errorf("%q, %v; want %s", got, err, name)
				}
			}
		}
		if n := conns.Load(); n != 2 {
			t.Errorf("%d connections for two names", n)
		}
		ts.Release(h)
	}
}

func TestExceptPorts(t *testing.T) {
	ca := trusttest.New(t)
	s, _ := secureServer(t, ca.Issue("127.0.0.1"), nil)
	plain, _ := counting(t, listen(t, "tcp", "127.0.0.1:0"))
	_, port, _ := net.SplitHostPort(plain.Listener.Addr().String())
	o := trusting(ca)
	o.TLS.ExceptPorts = "1," + port
	ts := NewTransports(TransportsConfig{})
	h := acquireHTTP(t, ts, o)
	defer ts.Release(h)
	// The same request to one and then to the other: each attempt decides for itself (quirk 25).
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://x/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "client.test"
	for _, to := range []struct{ host, want string }{{plain.Listener.Addr().String(), "client.test"}, {s.Listener.Addr().String(), "HTTP/2.0"}, {plain.Listener.Addr().String(), "client.test"}} {
		r.URL.Host = to.host
		res, err := h.RoundTrip(r)
		if got := body(t, res, err); !strings.HasPrefix(got, to.want) {
			t.Errorf("%q, want %q", got, to.want)
		}
	}
}

// A handshake that takes too long is a timeout, and no error of dialling (section 16).
func TestHandshakeTimeout(t *testing.T) {
	ln := listen(t, "tcp", "127.0.0.1:0")
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	o := trusting(trusttest.New(t))
	o.TLS.HandshakeTimeout = 20 * time.Millisecond
	ts := NewTransports(TransportsConfig{})
	h := acquireHTTP(t, ts, o)
	defer ts.Release(h)
	_, err := send(t, h, ln.Addr().String(), Route{})
	var timeout net.Error
	if IsDialError(err) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v", err)
	}
}

// Options of one meaning are one transport, however they were made.
func TestTransportsAreKeyedByMeaning(t *testing.T) {
	ca := trusttest.New(t)
	ts := NewTransports(TransportsConfig{})
	a, b := acquireHTTP(t, ts, trusting(ca)), acquireHTTP(t, ts, trusting(ca))
	if a != b {
		t.Error("equal roots gave two transports")
	}
	o := trusting(ca)
	o.TLS.RootsKey = "other"
	c := acquireHTTP(t, ts, o)
	if c == a {
		t.Error("other roots share a transport")
	}
	plain := DefaultHTTPOptions()
	d := acquireHTTP(t, ts, plain)
	plain.HTTP1Only, plain.TLS.ServerName = true, "x"
	e := acquireHTTP(t, ts, plain)
	if d != e {
		t.Error("settings of TLS tell transports in clear text apart")
	}
	if a == d {
		t.Error("TLS and clear text share a transport")
	}
	for _, h := range []*HTTP{a, b, c, d, e} {
		ts.Release(h)
	}
	if ts.Len() != 0 {
		t.Errorf("%d transports are left", ts.Len())
	}
}

// names is a network in which some names lead to other addresses.
func names(lead map[string]string, dialled *[]string) DialFunc {
	return func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
		if dialled != nil {
			*dialled = append(*dialled, network+" "+address)
		}
		if to, ok := lead[address]; ok {
			address = to
		}
		return d.DialContext(ctx, network, address)
	}
}

// A name is verified without the dot at its end, in which names of DNS records have one.
func TestNameWithDot(t *testing.T) {
	ca := trusttest.New(t)
	s, _ := secureServer(t, ca.Issue("app.internal"), nil)
	ts := NewTransports(TransportsConfig{Dial: names(map[string]string{"app.internal.:443": s.Listener.Addr().String()}, nil)})
	h := acquireHTTP(t, ts, trusting(ca))
	defer ts.Release(h)
	if got, err := send(t, h, "app.internal.:443", Route{}); !strings.HasPrefix(got, "HTTP/2.0 sni=app.internal ") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRenegotiationIsPassedOn(t *testing.T) {
	o := TLSOptions{Enabled: true, Renegotiation: tls.RenegotiateOnceAsClient, Curves: [8]tls.CurveID{tls.X25519, tls.CurveP256}}
	c := o.base()
	if c.Renegotiation != tls.RenegotiateOnceAsClient || !slices.Equal(c.CurvePreferences, []tls.CurveID{tls.X25519, tls.CurveP256}) {
		t.Errorf("%+v", c)
	}
}

func trustingServer(c tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c}}
}
