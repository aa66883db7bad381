package reverseproxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// fastUpstream answers without looking at the request, so that the proxy is what is measured.
func fastUpstream(b *testing.B) string {
	const reply = "HTTP/1.1 200 OK\r\nServer: up\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello, world"
	return raw(b, func(c net.Conn, r *bufio.Reader) {
		for {
			for n := 0; ; {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if n = len(line); n <= 2 {
					break
				}
			}
			if _, err := io.WriteString(c, reply); err != nil {
				return
			}
		}
	})
}

// sink is a response writer that keeps nothing.
type sink struct {
	header http.Header
	status int
	n      int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }

func browserRequest() *http.Request {
	r := httptest.NewRequest("GET", "/hello?x=1", nil)
	r.RequestURI = "/hello?x=1"
	r.RemoteAddr = "192.0.2.9:4711"
	for name, value := range map[string]string{
		"User-Agent": "Mozilla/5.0", "Accept": "*/*", "Accept-Encoding": "gzip, deflate", "Accept-Language": "en", "Connection": "keep-alive",
	} {
		r.Header.Set(name, value)
	}
	return r
}

// BenchmarkProxiedGet is one small GET through the handler and a real connection, without the server in front.
func BenchmarkProxiedGet(b *testing.B) {
	h := newWorld(b).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, fastUpstream(b))).Handler
	server := &front{logger: zap.NewNop()}
	b.ReportAllocs()
	for b.Loop() {
		w := &sink{header: http.Header{"Server": {"sluice"}}}
		x := &handlers.Exchange{Server: server, Response: handlers.NewResponseWriter(w), Globals: vars.Map(nil)}
		r := x.Begin(browserRequest(), nil)
		if err := h.ServeHTTP(x.Response, r, handlers.Next{}); err != nil || w.status != 200 || w.n != 12 {
			b.Fatal(w.status, w.n, err)
		}
	}
}

// BenchmarkReverseProxyOfTheLibrary is the same with httputil.ReverseProxy, to compare with.
func BenchmarkReverseProxyOfTheLibrary(b *testing.B) {
	target := &url.URL{Scheme: "http", Host: fastUpstream(b)}
	h := &httputil.ReverseProxy{
		Transport: &http.Transport{MaxIdleConnsPerHost: 32},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
	}
	b.ReportAllocs()
	for b.Loop() {
		w := &sink{header: http.Header{"Server": {"sluice"}}}
		x := &handlers.Exchange{Response: handlers.NewResponseWriter(w), Globals: vars.Map(nil)}
		h.ServeHTTP(x.Response, x.Begin(browserRequest(), nil))
		if w.status != 200 || w.n != 12 {
			b.Fatal(w.status, w.n)
		}
	}
}

// BenchmarkRequestAlone is what the two above spend on their request and response writer.
func BenchmarkRequestAlone(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		w := &sink{header: http.Header{"Server": {"sluice"}}}
		x := &handlers.Exchange{Response: handlers.NewResponseWriter(w), Globals: vars.Map(nil)}
		x.Begin(browserRequest(), nil)
	}
}

// BenchmarkPrepare is the outgoing copy of a request.
func BenchmarkPrepare(b *testing.B) {
	h := newWorld(b).build(nil, `{}`).Handler
	x := &handlers.Exchange{Server: &front{logger: zap.NewNop()}, Globals: vars.Map(nil)}
	r := x.Begin(browserRequest(), nil)
	b.ReportAllocs()
	for b.Loop() {
		p := &proxying{h: h, in: r, x: x}
		if err := p.prepare(); err != nil {
			b.Fatal(err)
		}
	}
}
