package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/handlers/vars"
)

// once makes one probe.
func once(t *testing.T, p HTTPProbe, via Transport) error {
	t.Helper()
	prober, err := p.prober(via, vars.Map{"env.KEY": "s3cret", "env.SOCKET": "unix//run/b.sock", "env.FIELD": "x-field"})
	if err != nil {
		t.Fatal(err)
	}
	return prober.probe(t.Context())
}

// HC-4 and HC-5.
func TestWhatAProbeAsks(t *testing.T) {
	header := func(pairs ...string) string {
		h := map[string][]string{}
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
		}
		return EncodeHeader(h)
	}
	tests := []struct {
		name   string
		probe  HTTPProbe
		urlTo  string // "" is that of Host
		want   string // method, URI, Host
		header map[string]string
		body   string
	}{
		{"plain", HTTPProbe{Dial: "10.20.0.1:8080", URI: "/ready?full=1"}, "", "GET /ready?full=1 10.20.0.1:8080", nil, ""},
		{"no URI", HTTPProbe{Dial: "10.20.0.1:8080"}, "", "GET / 10.20.0.1:8080", nil, ""},
		{"no slash", HTTPProbe{Dial: "10.20.0.1:8080", URI: "up?a=b c"}, "", "GET /up?a=b c 10.20.0.1:8080", nil, ""},
		{"escaped", HTTPProbe{Dial: "10.20.0.1:8080", URI: "/a%2Fb%3Fc"}, "", "GET /a%2Fb%3Fc 10.20.0.1:8080", nil, ""},
		{"port", HTTPProbe{Dial: "10.20.0.1:8080", Port: 9000, URI: "/"}, "", "GET / 10.20.0.1:9000", nil, ""},
		{"port of IPv6", HTTPProbe{Dial: "[2001:db8::5]:80", Port: 9000, URI: "/"}, "", "GET / [2001:db8::5]:9000", nil, ""},
		{"port of tcp4", HTTPProbe{Dial: "tcp4/app:80", Port: 9000, URI: "/"}, encodeHost("tcp4", "app:9000"), "GET / app:9000", nil, ""},
		{"unix", HTTPProbe{Dial: "unix//run/app.sock", URI: "/"}, encodeHost("unix", "/run/app.sock"), "GET / localhost", nil, ""},
		{"environment", HTTPProbe{Dial: "{env.SOCKET}", URI: "/"}, encodeHost("unix", "/run/b.sock"), "GET / localhost", nil, ""},
		{"method and body", HTTPProbe{Dial: "a:1", URI: "/", Method: "POST", Body: "k={env.KEY}{nope}{" + targetName + "}"}, "", "POST / a:1", nil, "k=s3cret"},
		{"no placeholders in URI", HTTPProbe{Dial: "a:1", URI: "/{env.KEY}"}, "", "GET /%7Benv.KEY%7D a:1", nil, ""},
		{"header", HTTPProbe{Dial: "a:1", URI: "/", Target: "b:2", Header: header("x-key", "{env.KEY}", "X-Target", "{"+targetName+"}", "X-Odd", "{nope}", "{env.FIELD}", "f", "{nope}", "g")},
			"", "GET / a:1", map[string]string{"X-Key": "s3cret", "X-Target": "b:2", "X-Odd": "{nope}", "X-Field": "f"}, ""},
		{"host", HTTPProbe{Dial: "a:1", URI: "/", Header: header("host", "{env.KEY}.test{nope}", "host", "other")}, "a:1", "GET / s3cret.test", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got *http.Request
			body := ""
			err := once(t, tt.probe, script(func(r *http.Request) (*http.Response, error) {
				got = r
				if r.Body != nil {
					b, _ := io.ReadAll(r.Body)
					body = string(b)
				}
				return respond(204, ""), nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			if line := got.Method + " " + got.URL.RequestURI() + " " + got.Host; line != tt.want {
				t.Errorf("asked %q, want %q", line, tt.want)
			}
			to := tt.urlTo
			if to == "" {
				to = got.Host
			}
			if got.URL.Host != to || got.URL.Scheme != "http" || body != tt.body {
				t.Errorf("to %s://%s, body %q; want %s, %q", got.URL.Scheme, got.URL.Host, body, to, tt.body)
			}
			if len(got.Header) != len(tt.header) {
				t.Errorf("header %v, want %v", got.Header, tt.header)
			}
			for name, want := range tt.header {
				if got.Header.Get(name) != want {
					t.Errorf("%s: %q, want %q", name, got.Header.Get(name), want)
				}
			}
		})
	}
}

// HC-7.
func TestVerdicts(t *testing.T) {
	broken := func() *http.Response {
		r := respond(200, "")
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader("all is we"), errReader{}))
		return r
	}
	tests := []struct {
		name  string
		probe HTTPProbe
		res   *http.Response
		err   error
		want  string // "" is passed
	}{
		{"200", HTTPProbe{}, respond(200, ""), nil, ""},
		{"299", HTTPProbe{}, respond(299, ""), nil, ""},
		{"302", HTTPProbe{}, respond(302, ""), nil, "status code out of tolerances: 302"},
		{"500", HTTPProbe{}, respond(500, ""), nil, "status code out of tolerances: 500"},
		{"expected 404", HTTPProbe{ExpectStatus: 404}, respond(404, ""), nil, ""},
		{"not 404", HTTPProbe{ExpectStatus: 404}, respond(200, ""), nil, "unexpected status code: 200"},
		{"class", HTTPProbe{ExpectStatus: 3}, respond(308, ""), nil, ""},
		{"not the class", HTTPProbe{ExpectStatus: 3}, respond(200, ""), nil, "unexpected status code: 200"},
		{"refused", HTTPProbe{}, nil, errors.New("connection refused"), "HTTP request failed: connection refused"},
		{"body", HTTPProbe{ExpectBody: "all.*well"}, respond(200, "<p>all is well</p>"), nil, ""},
		{"not the body", HTTPProbe{ExpectBody: "^well"}, respond(200, "all is well"), nil, "response body failed expectations"},
		{"body and status", HTTPProbe{ExpectBody: "well"}, respond(500, "all is well"), nil, "status code out of tolerances: 500"},
		{"to the end", HTTPProbe{ExpectBody: "well$", MaxSize: 11}, respond(200, "all is well, perhaps"), nil, ""},
		{"cut", HTTPProbe{ExpectBody: "well", MaxSize: 10}, respond(200, "all is well"), nil, "response body failed expectations"},
		{"large", HTTPProbe{ExpectBody: "well"}, respond(200, strings.Repeat("all is ", 1<<20)+"well"), nil, ""},
		{"broken", HTTPProbe{ExpectBody: "well"}, broken(), nil, "failed to read response body: broken"},
		{"broken unseen", HTTPProbe{}, broken(), nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.probe.Dial = "a:1"
			err := once(t, tt.probe, script(func(*http.Request) (*http.Response, error) { return tt.res, tt.err }))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if failed := (*failedProbe)(nil); err != nil && !errors.As(err, &failed) {
				t.Errorf("%T says nothing about the host", err)
			}
		})
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

// HC-8.
func TestRedirects(t *testing.T) {
	to := func(status int, location string) *http.Response {
		r := respond(status, "")
		r.Header.Set("Location", location)
		return r
	}
	var asked []string
	via := script(func(r *http.Request) (*http.Response, error) {
		body := ""
		if r.Body != nil {
			b, _ := io.ReadAll(r.Body)
			body = " " + string(b)
		}
		asked = append(asked, r.Method+" "+r.URL.Host+" "+r.Host+r.URL.Path+body)
		switch r.URL.Path {
		case "/a":
			return to(307, "https://elsewhere.test/b"), nil
		case "/b":
			return to(302, "/c"), nil
		case "/loop":
			return to(302, "/loop"), nil
		}
		return respond(200, ""), nil
	})
	probe := HTTPProbe{Dial: "a:1", URI: "/a", Method: "POST", Body: "x"}
	if err := once(t, probe, via); err == nil || !strings.Contains(err.Error(), "307") || len(asked) != 1 {
		t.Errorf("not following: %v, asked %q", err, asked)
	}
	asked = nil
	probe.FollowRedirects = true
	if err := once(t, probe, via); err != nil {
		t.Error(err)
	}
	if got, want := strings.Join(asked, "|"), "POST a:1 a:1/a x|POST a:1 elsewhere.test/b x|GET a:1 elsewhere.test/c"; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
	asked = nil
	probe.URI = "/loop"
	if err := once(t, probe, via); err == nil || len(asked) != maxRedirects+1 {
		t.Errorf("%d requests in a loop: %v", len(asked), err)
	}
}

func TestValidateProbe(t *testing.T) {
	for _, p := range []HTTPProbe{{Method: "A B"}, {URI: "/%zz"}, {URI: "\x7f"}, {ExpectBody: "("}} {
		if p.Validate() == nil {
			t.Errorf("%+v is valid", p)
		}
	}
	if err := (HTTPProbe{Method: "PURGE", URI: "/x", ExpectBody: "a|b", Header: EncodeHeader(map[string][]string{"a": nil})}).Validate(); err != nil {
		t.Error(err)
	}
	same := EncodeHeader(map[string][]string{"x-a": {"1"}, "X-B": {"2", "3"}})
	if same != EncodeHeader(map[string][]string{"X-b": {"2", "3"}, "X-A": {"1"}}) || EncodeHeader(nil) != "" {
		t.Errorf("headers that mean the same are encoded differently: %s", same)
	}
}

// network is connections in memory.
type network struct {
	serve func(net.Conn)

	mu           sync.Mutex
	dialled, now int
}

func (n *network) dial(context.Context, *net.Dialer, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	n.mu.Lock()
	n.dialled++
	n.now++
	n.mu.Unlock()
	go func() {
		defer far.Close()
		n.serve(far)
	}()
	return &counted{Conn: near, n: n}, nil
}

func (n *network) counts() (dialled, now int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dialled, n.now
}

type counted struct {
	net.Conn
	n    *network
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() {
		c.n.mu.Lock()
		c.n.now--
		c.n.mu.Unlock()
	})
	return c.Conn.Close()
}

// answering serves requests with what write sends.
func answering(write func(io.Writer)) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			write(c)
		}
	}
}

// Probes leave no connection behind, whatever the answer is.
func TestProbesLeakNoConnections(t *testing.T) {
	head := func(rest string) func(io.Writer) {
		return func(w io.Writer) { io.WriteString(w, "HTTP/1.1 200 OK\r\n"+rest) }
	}
	tests := []struct {
		name    string
		write   func(io.Writer)
		dialled int // for 10 probes
		kept    int
		healthy bool
	}{
		{"empty", head("Content-Length: 0\r\n\r\n"), 1, 1, true},
		{"small", head("Content-Length: 2\r\n\r\nok"), 1, 1, true},
		{"large", head("Content-Length: 200000\r\n\r\n" + strings.Repeat("x", 200_000)), 1, 1, true},
		{"too large to drain", head("Content-Length: 1000000\r\n\r\n" + strings.Repeat("x", 300_000)), 10, 0, true},
		{"never ends", head("Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"), 10, 0, true},
		{"garbage", func(w io.Writer) { io.WriteString(w, "nonsense\r\n\r\n") }, 10, 0, false},
		{"silent", func(io.Writer) {}, 10, 0, false},
		{"switching", func(w io.Writer) {
			io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		}, 10, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{serve: answering(tt.write)}
				transports := NewTransports(TransportsConfig{Dial: n.dial})
				via, err := transports.Acquire(DefaultHTTPOptions())
				if err != nil {
					t.Fatal(err)
				}
				p := NewPool(nil)
				h := p.Acquire("a:1")
				c := checkerOf(t, p, h, checking(h, via, everySecond))
				c.Start()
				after(9*time.Second + 900*time.Millisecond)
				if dialled, now := n.counts(); dialled != tt.dialled || now != tt.kept || c.Healthy() != tt.healthy {
					t.Errorf("%d dialled, %d kept, healthy %t", dialled, now, c.Healthy())
				}
				p.ReleaseChecker(c)
				transports.Release(via)
				synctest.Wait()
				if _, now := n.counts(); now != 0 {
					t.Errorf("%d connections after the release", now)
				}
			})
		})
	}
}
