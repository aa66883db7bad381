package reverseproxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/server/trust/trusttest"
	"github.com/sluiceproxy/sluice/upstream"
)

// failures is upstreams that fail, each in a way of its own.
func failures(t *testing.T) map[string]string {
	ca := trusttest.New(t)
	strict := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	strict.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue("127.0.0.1")}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	strict.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	strict.StartTLS()
	t.Cleanup(strict.Close)
	second := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	second.EnableHTTP2 = true
	second.StartTLS()
	t.Cleanup(second.Close)
	var n atomic.Int64
	return map[string]string{
		"refused":             dead(t),
		"no TLS":              answers(t, 200),
		"no certificate":      strict.Listener.Addr().String(),
		"silent":              raw(t, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }),
		"closes":              closer(t, &n, 0),
		"closes, HTTP/2":      second.Listener.Addr().String(),
		"closes in the midst": answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"),
		"speaks nonsense":     answer(t, "hello there, I am no server of HTTP\r\n\r\n"),
		"fine":                answers(t, 200),
	}
}

// caddyserver/caddy #6267: failures have names, for retry_match and for what comes after the proxy.
func TestTransportErrorsHaveNames(t *testing.T) {
	ups := failures(t)
	const plain, secure = `{"protocol":"http","response_header_timeout":"100ms"}`, `{"protocol":"http","response_header_timeout":"2s","tls":{"insecure_skip_verify":true,"handshake_timeout":"100ms"}}`
	for _, tt := range []struct {
		upstream, transport, want string
		status                    int
		judged                    bool
	}{
		{"refused", plain, "dial", 502, false},
		{"refused", secure, "dial", 502, false},
		{"no TLS", secure, "tls", 502, true},
		{"no certificate", secure, "tls", 502, true},
		{"silent", secure, "tls", 504, true},
		{"silent", plain, "timeout", 504, true},
		{"closes", plain, "closed", 502, true},
		{"closes, HTTP/2", secure, "closed", 502, true},
		{"closes in the midst", plain, "closed", 502, true},
		{"speaks nonsense", plain, "other", 502, true},
		{"fine", plain, "", 200, true},
	} {
		t.Run(tt.upstream, func(t *testing.T) {
			// The retry finds out whether the expression saw the name, and nothing else.
			for _, match := range []string{tt.want, "another"} {
				var after any
				attempts := 0
				f := withMatchers(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":%s,"load_balancing":{"retries":1,
					"retry_match":[{"expression":"{http.reverse_proxy.transport_error} == '%s' && {http.reverse_proxy.is_transport_error} == %v"}]}}`,
					ups[tt.upstream], tt.transport, match, tt.want != "")).front(func(f *front) {
					f.after = func(x *handlers.Exchange, _ error) {
						after, _ = x.Lookup(scopePrefix + "transport_error")
						retries, _ := x.Lookup(scopePrefix + "retries")
						attempts = retries.(int) + 1
					}
				})
				f.do("POST", "/", "").want(t, tt.status, "*")
				want := 1
				if !tt.judged || match == tt.want {
					want = 2
				}
				if attempts != want {
					t.Errorf("matching %q: %d attempts, want %d", match, attempts, want)
				}
				if (tt.want != "" || after != nil) && after != any(tt.want) {
					t.Errorf("afterwards it is %v", after)
				}
			}
		})
	}
}

// A body that the client breaks off is not the upstream's doing, whatever the error looks like.
func TestTransportErrorOfTheClient(t *testing.T) {
	p := &proxying{body: &source{broken: true}}
	if p.failure = io.ErrUnexpectedEOF; p.failureKind() != string(upstream.FailedOther) {
		t.Error(p.failureKind())
	}
	if p.body = nil; p.failureKind() != string(upstream.FailedClosed) {
		t.Error(p.failureKind())
	}
}

// caddyserver/caddy #6452: a body that was buffered goes along where net/http sends a request again by itself, and the
// error says what is wrong where it does not.
func TestBufferedBodyOnAStaleConnection(t *testing.T) {
	for _, tt := range []struct {
		more   string
		fields []string
		status int
	}{
		{`,"request_buffers":100`, []string{"Idempotency-Key", "1"}, 200},
		{`,"request_buffers":100`, nil, 502},
		{``, []string{"Idempotency-Key", "1"}, 502},
	} {
		up, conns, refused := reluctant(t)
		f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]%s}`, up, tt.more)).front(nil)
		f.get("/").want(t, 200, "")
		res := f.do("POST", "/", "body", tt.fields...)
		if want := ""; tt.status == 200 {
			res.want(t, 200, "body")
		} else if res.want(t, 502, want); !strings.Contains(res.Header.Get("X-Error"), "closed the kept-alive connection") {
			t.Errorf("the error is %q", res.Header.Get("X-Error"))
		}
		if refused.Load() != 1 || (tt.status == 200) != (conns.Load() == 2) {
			t.Errorf("%v: %d connections, %d requests refused", tt, conns.Load(), refused.Load())
		}
	}
}

// Where nothing was sent, a request of any method is sent again: the upstream had closed the connection before it came.
func TestClosedWhileIdle(t *testing.T) {
	for _, tt := range []struct{ method, body, more string }{{"POST", "", ""}, {"POST", "body", `,"request_buffers":100`}, {"DELETE", "", ""}} {
		var conns atomic.Int64
		closed := make(chan struct{}, 100)
		up := raw(t, func(c net.Conn, r *bufio.Reader) {
			conns.Add(1)
			if req, err := http.ReadRequest(r); err == nil {
				body, _ := io.ReadAll(req.Body)
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
				c.Close()
				closed <- struct{}{}
			}
		})
		f := proxy(t, `{"upstreams":[{"dial":%q}]`+tt.more+`}`, up)
		for range 50 {
			f.do(tt.method, "/", tt.body).want(t, 200, tt.body)
			<-closed
		}
	}
}
