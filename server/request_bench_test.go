package server_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/upstream"
	"go.uber.org/zap"
)

// newReal is an engine with the modules that ship and a document with n routes
// before those under test, each for a host of its own.
func newReal(b *testing.B, n int, upstreamAddr string) *server.Engine {
	b.Helper()
	table, err := module.NewTable(append(standard.Specs(), endpoint.Spec()), standard.Refused())
	if err != nil {
		b.Fatal(err)
	}
	sw := logs.NewSwitch(logs.Process{})
	services := module.Services{}
	module.Provide(services, sw)
	module.Provide(services, endpoint.NewSockets(endpoint.SocketsOptions{Log: zap.NewNop()}))
	module.Provide(services, upstream.NewPool(nil))
	module.Provide(services, upstream.NewTransports(upstream.TransportsConfig{}))
	e, err := server.New(server.Options{Table: table, Services: services, ReadFile: os.ReadFile, Globals: vars.NewGlobal(), Sockets: listen.NewManager(listen.Options{}), Logs: sw})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Shutdown(context.Background()); err != nil {
			b.Error(err)
		}
	})
	var routes strings.Builder
	for i := range n {
		fmt.Fprintf(&routes, `{"match":[{"host":["app%d.test"],"path":["/api/*"]}],"handle":[{"handler":"static_response","body":"no"}],"terminal":true},`, i)
	}
	node, _, err := config.Parse(fmt.Appendf(nil, `{"admin":{"disabled":true},"logging":{"logs":{"default":{"level":"ERROR"}}},"apps":{"http":{"servers":{"s":{"automatic_https":{"disable":true},"routes":[%s
		{"match":[{"path":["/static"]}],"handle":[{"handler":"static_response","body":"hello"}]},
		{"match":[{"path":["/headers"]}],"handle":[{"handler":"headers","response":{"set":{"X-App":["1"]}}},{"handler":"static_response","body":"hello"}]},
		{"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":%q}]}]}]}}}}}`, routes.String(), upstreamAddr), config.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := e.Apply(context.Background(), server.Change{Verb: "load", Edit: config.Edit{Whole: true, Value: node}}); err != nil {
		b.Fatal(err)
	}
	return e
}

// sink is a response writer that costs as little as one can.
type sink struct {
	header http.Header
	status int
	n      int
}

func (s *sink) Header() http.Header { return s.header }
func (s *sink) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
}

func (s *sink) Write(p []byte) (int, error) {
	s.WriteHeader(http.StatusOK)
	s.n += len(p)
	return len(p), nil
}

func benchmarkRequests(b *testing.B, e *server.Engine, path string, bytes int) {
	b.ReportAllocs()
	r := httptest.NewRequest("GET", "http://nobody.test"+path, nil)
	w := &sink{header: http.Header{}}
	for b.Loop() {
		clear(w.header)
		w.status, w.n = 0, 0
		if !e.ServeNamed("s", w, r) || w.status != http.StatusOK || w.n != bytes {
			b.Fatalf("answer %d with %d bytes", w.status, w.n)
		}
	}
}

// BenchmarkRequest is a whole request through a generation, from the pin to the
// unpin, without the wire; the proxied one goes to an upstream on loopback,
// whose cost is included.
func BenchmarkRequest(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	up := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) })}
	go func() { _ = up.Serve(l) }()
	b.Cleanup(func() { _ = up.Close() })
	for _, n := range []int{0, 1000, 10_000} {
		e := newReal(b, n, l.Addr().String())
		for _, path := range []string{"/static", "/headers", "/proxied"} {
			b.Run(fmt.Sprintf("%s-after-%d-routes", path[1:], n), func(b *testing.B) { benchmarkRequests(b, e, path, len("hello")) })
		}
	}
}
