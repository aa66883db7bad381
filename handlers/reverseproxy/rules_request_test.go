package reverseproxy

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
)

// framing is the fields of a head that say how its body is framed.
func framing(head []string) string {
	var list []string
	for _, name := range []string{"Content-Length", "Transfer-Encoding"} {
		for _, v := range field(head, name) {
			list = append(list, name+": "+v)
		}
	}
	return strings.Join(list, "|")
}

// LIFE-1.4, BUF-3 and BUF-4: how the body of the outgoing copy is framed.
func TestRequestFraming(t *testing.T) {
	const buffered = `{"upstreams":[{"dial":"UP"}],"request_buffers":100}`
	as2 := func(length int64) func(*front) {
		return func(f *front) {
			f.before = func(_ http.ResponseWriter, r *http.Request, _ *handlers.Exchange) {
				r.ProtoMajor, r.ProtoMinor, r.Proto, r.ContentLength, r.TransferEncoding = 2, 0, "HTTP/2.0", length, nil
			}
		}
	}
	const chunked = "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n"
	for _, tt := range []struct {
		name, config, request string
		adjust                func(*front)
		want                  string
	}{
		{"GET", plainConfig, "GET / HTTP/1.1\nHost: a\n\n", nil, ""},
		{"GET of length 0", plainConfig, "GET / HTTP/1.1\nHost: a\nContent-Length: 0\n\n", nil, ""},
		{"POST of length 0", plainConfig, "POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n", nil, "Content-Length: 0"},
		{"GET, buffered", buffered, "GET / HTTP/1.1\nHost: a\n\n", nil, ""},
		{"GET with a body", plainConfig, "GET / HTTP/1.1\nHost: a\nContent-Length: 2\n\nok", nil, "Content-Length: 2"},
		{"chunked", plainConfig, chunked, nil, "Transfer-Encoding: chunked"},
		{"chunked, buffered", buffered, chunked, nil, "Transfer-Encoding: chunked"},
		{"HTTP/2 of unknown length", plainConfig, chunked, as2(-1), "Transfer-Encoding: chunked"},
		{"HTTP/2 of unknown length, buffered", buffered, chunked, as2(-1), "Content-Length: 5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := framing(headOf(t, tt.config, tt.request, tt.adjust)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// countedBackend counts the connections that are made to it.
func countedBackend(t *testing.T, h http.HandlerFunc) (address string, conns *atomic.Int64) {
	t.Helper()
	conns = new(atomic.Int64)
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), conns
}

// LIFE-1.5 and DIAL-4: neither a client that closes its connection nor another Host costs a connection to the upstream.
func TestConnectionsAreKeyedByUpstream(t *testing.T) {
	up, conns := countedBackend(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Host+" "+r.Header.Get("Connection"))
	})
	f := proxy(t, `{"upstreams":[{"dial":%q}]}`, up)
	for _, host := range []string{"a.test", "b.test", "a.test"} {
		f.get("/", "Host", host, "Connection", "close").want(t, 200, host+" ")
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// LIFE-1.7: a request that came before the handshake was complete says so, and one that came after it does not.
func TestEarlyData(t *testing.T) {
	for _, complete := range []bool{false, true} {
		head := headOf(t, plainConfig, "GET / HTTP/1.1\nHost: a\n\n", func(f *front) {
			f.before = func(_ http.ResponseWriter, r *http.Request, _ *handlers.Exchange) {
				r.TLS = &tls.ConnectionState{HandshakeComplete: complete}
			}
		})
		want := []string{"1"}
		if complete {
			want = nil
		}
		if got := field(head, "Early-Data"); !slices.Equal(got, want) {
			t.Errorf("complete %v: Early-Data %q", complete, got)
		}
		if got := field(head, forwardedProto); !slices.Equal(got, []string{"https"}) {
			t.Errorf("%s is %q", forwardedProto, got)
		}
	}
}

// REQ-11: a field that an earlier handler has deleted is generated all the same.
func TestDeletedFieldsAreGenerated(t *testing.T) {
	head := headOf(t, plainConfig, "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 1.1.1.1\n\n", func(f *front) {
		f.before = func(_ http.ResponseWriter, r *http.Request, _ *handlers.Exchange) { r.Header.Del(forwardedFor) }
	})
	if got := field(head, forwardedFor); !slices.Equal(got, []string{"127.0.0.1"}) {
		t.Errorf("%s is %q", forwardedFor, got)
	}
}

// REQ-18: who asks for an encoding, and who does not; an empty field is none.
func TestAcceptEncoding(t *testing.T) {
	for _, tt := range []struct {
		method, fields string
		want           []string
	}{
		{"GET", "", []string{"gzip"}},
		{"POST", "Content-Length: 0\n", []string{"gzip"}},
		{"HEAD", "", nil},
		{"GET", "Range: bytes=0-\n", nil},
		{"GET", "Accept-Encoding: identity\n", []string{"identity"}},
		{"GET", "Accept-Encoding:\n", []string{"", "gzip"}},
	} {
		head := headOf(t, plainConfig, tt.method+" / HTTP/1.1\nHost: a\n"+tt.fields+"\n", nil)
		got := field(head, "Accept-Encoding")
		if slices.Contains(head, "Accept-Encoding:") {
			got = append([]string{""}, got...)
		}
		if slices.Sort(got); !slices.Equal(got, tt.want) {
			t.Errorf("%s with %q: %q, want %q", tt.method, tt.fields, got, tt.want)
		}
	}
}

// REQ-15 and REQ-16: the order in a block of operations, and that the Host is a field in it.
func TestOperationsOnAllFields(t *testing.T) {
	const request = "GET / HTTP/1.1\nHost: site.test\nX-A: a\nX-B: b\nUser-Agent: u\n\n"
	for _, tt := range []struct{ ops, want string }{
		{`"delete":["*"],"add":{"X-C":["1"]},"set":{"Host":["h.test"]}`, "Host: h.test|X-C: 1"},
		{`"delete":["x-*","*via*","user-agent","*encoding"],"set":{"X-A":["lost"]}`, "Host: site.test"},
		{`"delete":["*-A","*-b","User*","Via","X-F*","accept-*"],"add":{"X-D":["1"]},"replace":{"*":[{"search":"1","replace":"2"}]}`, "Host: site.test|X-D: 2"},
		{`"delete":["x-*","via","user-agent"],"replace":{"Host":[{"search_regexp":"^site","replace":"other"}]}`, "Host: other.test"},
	} {
		head := headOf(t, `{"upstreams":[{"dial":"UP"}],"transport":{"protocol":"http","compression":false},"headers":{"request":{`+tt.ops+`}}}`, request, nil)
		if got := strings.Join(head[1:], "|"); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.ops, got, tt.want)
		}
	}
}

// BUF-2: a buffer without a limit is accepted, and said.
func TestUnlimitedBuffersWarn(t *testing.T) {
	w := newWorld(t)
	res := w.builder.Build(nil, "http.handlers.reverse_proxy", w.parse(`{"request_buffers":-1,"response_buffers":-1,"upstreams":[{"dial":"a:1"}]}`), module.Options{})
	var got []string
	for _, warning := range res.Warnings {
		got = append(got, warning.Pointer)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"/request_buffers", "/response_buffers"}) {
		t.Errorf("warnings at %q", got)
	}
	if n := len(w.builder.Build(nil, "http.handlers.reverse_proxy", w.parse(`{"request_buffers":1,"response_buffers":1}`), module.Options{}).Warnings); n != 0 {
		t.Errorf("%d warnings about buffers with a limit", n)
	}
}

// DIAL-5 and the table of section 15: what is known of an upstream on a socket.
func TestPlaceholdersOfSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("X-Up")) })}
	go s.Serve(ln)
	t.Cleanup(func() { s.Close() })
	f := proxy(t, `{"upstreams":[{"dial":%q}],"headers":{"request":{"set":{"X-Up":["{http.reverse_proxy.upstream.address} {http.reverse_proxy.upstream.hostport} `+
		`{http.reverse_proxy.upstream.host} {http.reverse_proxy.upstream.port}"]}}}}`, "unix/"+path)
	f.get("/").want(t, 200, "unix/"+path+" "+path+" "+path+" 0")
}

// SEL-2: policies see the outgoing copy as it was prepared; on a retry the operations of the attempt before are still there.
func TestPoliciesSeeTheCopy(t *testing.T) {
	f := proxy(t, `{"upstreams":[{"dial":%q}],"rewrite":{"uri":"/new?q=1"},"load_balancing":{"retries":1},`+
		`"headers":{"request":{"set":{"X-Op":["1"]}}}}`, dead(t))
	var seen []string
	f.handler.Load().policy = policyFunc(func(c *selection.Choice) int {
		r := c.Request
		seen = append(seen, strings.Join([]string{r.URL.RequestURI(), r.Header.Get("Connection") + r.Header.Get("X-Tag"), r.Header.Get(forwardedFor), r.Header.Get("X-Op")}, "|"))
		return 0
	})
	f.get("/old", "Connection", "X-Tag", "X-Tag", "t").want(t, 502, "")
	if want := []string{"/new?q=1||127.0.0.1|", "/new?q=1||127.0.0.1|1"}; !slices.Equal(seen, want) {
		t.Errorf("policies saw %q, want %q", seen, want)
	}
}
