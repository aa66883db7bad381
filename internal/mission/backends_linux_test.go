package mission

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// seen is what a backend says about a request.
type seen struct {
	Name, Method, URI, Host, Proto, Body string
	Header                               http.Header
}

// backend is a server that does as it is told, and else says what it has seen.
type backend struct {
	name   string
	server *http.Server
	asked  atomic.Int64
	told   atomic.Pointer[http.HandlerFunc]
}

// newBackend starts a backend at an address: that of a unix socket begins with a slash.
func newBackend(t *testing.T, name, address string) *backend {
	t.Helper()
	b := &backend{name: name}
	b.server = &http.Server{Handler: b}
	b.listen(t, address)
	return b
}

func (b *backend) listen(t *testing.T, address string) {
	t.Helper()
	network := "tcp"
	if address[0] == '/' {
		network = "unix"
	}
	l, err := net.Listen(network, address)
	must(t, err)
	go func() { _ = b.server.Serve(l) }()
	t.Cleanup(b.stop)
}

// stop closes all that the backend has open.
func (b *backend) stop() { _ = b.server.Close() }

// again listens once more after a stop.
func (b *backend) again(t *testing.T, address string) {
	t.Helper()
	b.server = &http.Server{Handler: b}
	b.listen(t, address)
}

// does makes the backend answer in another way, with nil in its usual one again.
func (b *backend) does(f http.HandlerFunc) {
	if f == nil {
		b.told.Store(nil)
		return
	}
	b.told.Store(&f)
}

// ServeHTTP implements http.Handler.
func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.asked.Add(1)
	if f := b.told.Load(); f != nil {
		(*f)(w, r)
		return
	}
	b.usual(w, r)
}

func (b *backend) usual(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.Header().Set("Server", b.name)
	w.Header().Set("X-Powered-By", b.name)
	w.Header().Set("X-Kept", b.name)
	_ = json.NewEncoder(w).Encode(seen{b.name, r.Method, r.RequestURI, r.Host, r.Proto, string(body), r.Header})
}

func answer(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// hang does not answer until the request is taken back.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func breakOff(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// late answers well, but after some time.
func late(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusOK)
	}
}

func distinct(list []string) int {
	m := map[string]bool{}
	for _, e := range list {
		m[e] = true
	}
	return len(m)
}
