package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// get sends a GET through the transport to a dial text.
func get(t *testing.T, tr Transport, dial string) (*http.Response, error) {
	t.Helper()
	a, err := ParseDial(dial)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://client.test/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.URL = &url.URL{Scheme: "http", Host: a.URLHost, Path: "/x"}
	return tr.RoundTrip(r)
}

func body(t *testing.T, res *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// counting serves on a listener and counts its connections.
func counting(t *testing.T, ln net.Listener) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	conns := new(atomic.Int64)
	s := &httptest.Server{Listener: ln, Config: &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				conns.Add(1)
			}
		},
	}}
	s.Start()
	t.Cleanup(s.Close)
	return s, conns
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func acquireHTTP(t *testing.T, ts *Transports, o HTTPOptions) *HTTP {
	t.Helper()
	h, err := ts.Acquire(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestEqualOptionsShareConnections(t *testing.T) {
	s, conns := counting(t, listen(t, "tcp", "127.0.0.1:0"))
	dial := s.Listener.Addr().String()
	ts := NewTransports(TransportsConfig{})
	a, b := acquireHTTP(t, ts, DefaultHTTPOptions()), acquireHTTP(t, ts, DefaultHTTPOptions())
	if a != b {
		t.Fatal("equal options gave two transports")
	}
	res, err := get(t, a, dial)
	if got := body(t, res, err); got != "client.test" {
		t.Errorf("the upstream saw Host %q", got)
	}
	ts.Release(a) // an edit of one handler
	res, err = get(t, b, dial)
	body(t, res, err)
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	other := DefaultHTTPOptions()
	other.DialTimeout = time.Second
	if c := acquireHTTP(t, ts, other); c == b {
		t.Error("different options share a transport")
	} else {
		ts.Release(c)
	}
	ts.Release(b)
	if ts.Len() != 0 {
		t.Errorf("%d transports stayed", ts.Len())
	}
}

func TestLastReleaseClosesIdleAndLetsBusyFinish(t *testing.T) {
	const payload = "tail"
	open := make(chan struct{})
	ended := make(chan struct{}, 8)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-open
		io.WriteString(w, payload)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			ended <- struct{}{}
		}
	}
	s.Start()
	defer s.Close()
	ts := NewTransports(TransportsConfig{})
	h := acquireHTTP(t, ts, DefaultHTTPOptions())
	res, err := get(t, h, s.Listener.Addr().String())
	ts.Release(h)
	close(open)
	if got := body(t, res, err); got != payload {
		t.Errorf("the busy request got %q", got)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the connection was kept after the last release")
	}
}

func TestNetworks(t *testing.T) {
	ts := NewTransports(TransportsConfig{})
	h := acquireHTTP(t, ts, DefaultHTTPOptions())
	defer ts.Release(h)
	path := filepath.Join(t.TempDir(), "app:1.sock")
	counting(t, listen(t, "unix", path))
	res, err := get(t, h, "unix/"+path)
	if got := body(t, res, err); got != "client.test" {
		t.Errorf("unix: Host %q", got)
	}
	s, _ := counting(t, listen(t, "tcp4", "127.0.0.1:0"))
	dial := s.Listener.Addr().String()
	res, err = get(t, h, "tcp4/"+dial)
	body(t, res, err)
	if _, err := get(t, h, "tcp6/"+dial); !IsDialError(err) {
		t.Errorf("tcp6 to an IPv4 address: %v", err)
	}
}

func TestDialErrors(t *testing.T) {
	ln := listen(t, "tcp", "127.0.0.1:0")
	dial := ln.Addr().String()
	ln.Close()
	ts := NewTransports(TransportsConfig{})
	h := acquireHTTP(t, ts, DefaultHTTPOptions())
	defer ts.Release(h)
	for _, dial := range []string{dial, "unix//nonexistent/app.sock", "127.0.0.1", "fd/3"} {
		_, err := get(t, h, dial)
		var de *DialError
		if !errors.As(err, &de) || de.Address == "" {
			t.Errorf("%s: %v", dial, err)
		}
	}
	// A connection that is made and closed is no dial error.
	ln = listen(t, "tcp", "127.0.0.1:0")
	defer ln.Close()
	go func() {
		if c, err := ln.Accept(); err == nil {
			c.Close()
		}
	}()
	if _, err := get(t, h, ln.Addr().String()); err == nil || IsDialError(err) {
		t.Errorf("closed without answer: %v", err)
	}
}

func TestH2CAndUpgradeFallback(t *testing.T) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto)
	}))
	s.Config.Protocols = protocols
	s.Start()
	defer s.Close()
	o := DefaultHTTPOptions()
	o.H2C = true
	ts := NewTransports(TransportsConfig{})
	h := acquireHTTP(t, ts, o)
	defer ts.Release(h)
	res, err := get(t, h, s.Listener.Addr().String())
	if got := body(t, res, err); got != "HTTP/2.0" {
		t.Errorf("h2c: %s", got)
	}
	r, _ := http.NewRequest("GET", s.URL, nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "irc") // what HTTP/2 has no counterpart for
	res, err = h.RoundTrip(r)
	if got := body(t, res, err); got != "HTTP/1.1" {
		t.Errorf("upgrade: %s", got)
	}
}

func TestKeepAliveOff(t *testing.T) {
	s, conns := counting(t, listen(t, "tcp", "127.0.0.1:0"))
	o := DefaultHTTPOptions()
	o.KeepAlive = false
	ts := NewTransports(TransportsConfig{})
	h := acquireHTTP(t, ts, o)
	defer ts.Release(h)
	for range 2 {
		res, err := get(t, h, s.Listener.Addr().String())
		body(t, res, err)
	}
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestLocalAddress(t *testing.T) {
	for _, text := range []string{"udp/127.0.0.1:0", "127.0.0.1:80-81", "carrier/1", "tcp/127.0.0.1:x", "localhost"} {
		if err := (HTTPOptions{LocalAddress: text}).Validate(); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
	seen := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen <- r.RemoteAddr }))
	defer s.Close()
	o := DefaultHTTPOptions()
	o.LocalAddress = "127.0.0.9"
	ts := NewTransports(TransportsConfig{})
	h := acquireHTTP(t, ts, o)
	defer ts.Release(h)
	res, err := get(t, h, s.Listener.Addr().String())
	body(t, res, err)
	if got := <-seen; !strings.HasPrefix(got, "127.0.0.9:") {
		t.Errorf("the upstream saw %s", got)
	}
	// A unix socket has no such address and is dialled all the same.
	path := filepath.Join(t.TempDir(), "a.sock")
	counting(t, listen(t, "unix", path))
	res, err = get(t, h, "unix/"+path)
	body(t, res, err)
}

func TestForwardProxyIsNotAskedForUnixSockets(t *testing.T) {
	s, _ := counting(t, listen(t, "tcp", "127.0.0.1:0"))
	proxy, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	ts := NewTransports(TransportsConfig{Proxy: func(*http.Request) (*url.URL, error) { return proxy, nil }})
	h := acquireHTTP(t, ts, DefaultHTTPOptions())
	defer ts.Release(h)
	res, err := get(t, h, "192.0.2.1:80")
	body(t, res, err)
	path := filepath.Join(t.TempDir(), "a.sock")
	_, conns := counting(t, listen(t, "unix", path))
	res, err = get(t, h, "unix/"+path)
	body(t, res, err)
	if conns.Load() != 1 {
		t.Error("the unix socket was not dialled directly")
	}
}

// pipeDial connects every dial to serve over an in-memory connection.
func pipeDial(serve func(net.Conn)) DialFunc {
	return func(context.Context, *net.Dialer, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go serve(server)
		return client, nil
	}
}

func TestReadTimeoutIsRenewedByProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := DefaultHTTPOptions()
		o.ReadTimeout, o.KeepAlive = time.Second, false
		served := make(chan struct{})
		ts := NewTransports(TransportsConfig{Dial: pipeDial(func(c net.Conn) {
			defer close(served)
			defer c.Close()
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
			for i := range 4 {
				time.Sleep(time.Duration(i) * 400 * time.Millisecond) // 0, 0.4 s, 0.8 s, 1.2 s
				if _, err := io.WriteString(c, "ab"); err != nil {
					return
				}
			}
		})})
		h := acquireHTTP(t, ts, o)
		start := time.Now()
		res, err := get(t, h, "10.20.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		var ne net.Error
		if string(got) != "ababab" || !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("read %q, %v", got, err)
		}
		if d := time.Since(start); d != 2200*time.Millisecond {
			t.Errorf("cut after %v", d)
		}
		ts.Release(h)
		<-served
	})
}

func TestResponseHeaderTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := DefaultHTTPOptions()
		o.ResponseHeaderTimeout = time.Second
		ts := NewTransports(TransportsConfig{Dial: pipeDial(func(c net.Conn) {
			defer c.Close()
			io.Copy(io.Discard, c)
		})})
		h := acquireHTTP(t, ts, o)
		_, err := get(t, h, "10.20.0.1:80")
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() || IsDialError(err) {
			t.Errorf("got %v", err)
		}
		ts.Release(h)
	})
}
