package reverseproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
)

func TestProxiesARequest(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Up", "1")
		w.WriteHeader(201)
		io.WriteString(w, r.Method+" "+r.RequestURI+" "+r.Host+" "+string(body))
	})
	f := proxy(t, `{"upstreams":[{"dial":%q}]}`, up)
	f.do("PUT", "/a%2Fb?x=1&y=%20", "hello", "Host", "site.test").want(t, 201, "PUT /a%2Fb?x=1&y=%20 site.test hello")
	f.get("//double//slash?").want(t, 201, "GET //double//slash? "+f.Listener.Addr().String()+" ")
}

// headOf sends a request and returns the head that the upstream saw, sorted, the request line first.
func headOf(t *testing.T, config, request string, adjust func(*front)) []string {
	t.Helper()
	seen := make(chan []string, 1)
	up := raw(t, func(c net.Conn, r *bufio.Reader) {
		lines, err := readHead(r)
		if err != nil {
			return
		}
		slices.Sort(lines[1:])
		seen <- lines
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	f := newWorld(t).build(nil, strings.ReplaceAll(config, "UP", up)).front(adjust)
	_, r := f.dial(strings.ReplaceAll(request, "\n", "\r\n"))
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Fatalf("status %d: %s", res.StatusCode, res.Header.Get("X-Error"))
	}
	return <-seen
}

const plainConfig = `{"upstreams":[{"dial":"UP"}]}`

// field returns the lines of a field in a head.
func field(head []string, name string) []string {
	var values []string
	for _, line := range head[1:] {
		if n, v, _ := strings.Cut(line, ": "); n == name {
			values = append(values, v)
		}
	}
	return values
}

func TestRequestHeaders(t *testing.T) {
	head := headOf(t, plainConfig, "GET /x HTTP/1.1\nHost: site.test\nConnection: X-Tag, keep-alive\nX-Tag: 1\nKeep-Alive: 5\n"+
		"Proxy-Connection: x\nProxy-Authorization: x\nProxy-Authenticate: x\nAlt-Svc: x\nTE: trailers, deflate\nUpgrade: x\n"+
		"X-Keep: a\nX-Keep: b\nVia: 1.0 first\nForwarded: for=1.2.3.4\nX-Forwarded-Port: 81\n\n", nil)
	want := []string{
		"GET /x HTTP/1.1", "Accept-Encoding: gzip", "Forwarded: for=1.2.3.4", "Host: site.test", "Te: trailers",
		"Via: 1.0 first", "Via: 1.1 sluice", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: site.test",
		"X-Forwarded-Port: 81", "X-Forwarded-Proto: http", "X-Keep: a", "X-Keep: b",
	}
	if !slices.Equal(head, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(head, "\n"), strings.Join(want, "\n"))
	}
}

func TestRequestLineForms(t *testing.T) {
	for request, want := range map[string]string{
		"GET http://evil.test:1/x?y=1 HTTP/1.1\nHost: site.test\n\n": "GET /x?y=1 HTTP/1.1",
		"OPTIONS /a;b=1?c=%zz HTTP/1.1\nHost: a\n\n":                 "OPTIONS /a;b=1?c=%zz HTTP/1.1",
		"GET /%7Efoo/%2e%2e/ HTTP/1.0\n\n":                           "GET /%7Efoo/%2e%2e/ HTTP/1.1",
	} {
		if head := headOf(t, plainConfig, request, nil); head[0] != want {
			t.Errorf("%q went out as %q", request, head[0])
		}
	}
}

func TestUserAgentIsNeverInvented(t *testing.T) {
	for _, config := range []string{plainConfig, `{"upstreams":[{"dial":"UP"}],"headers":{"request":{"delete":["User-Agent"]}}}`} {
		request := "GET / HTTP/1.1\nHost: a\n"
		if config != plainConfig {
			request += "User-Agent: curl\n"
		}
		if ua := field(headOf(t, config, request+"\n", nil), "User-Agent"); ua != nil {
			t.Errorf("sent %q", ua)
		}
	}
}

func TestForwardedFields(t *testing.T) {
	const sample = "X-Forwarded-For: 198.51.100.4\nX-Forwarded-For: 203.0.113.7, 10.0.0.2\nX-Forwarded-Proto: http\n" +
		"X-Forwarded-Proto: https\nX-Forwarded-Host: a.test\nX-Forwarded-Host: b.test\n"
	peer := func(addr string, trusted bool) func(*front) {
		return func(f *front) {
			f.before = func(_ http.ResponseWriter, r *http.Request, x *handlers.Exchange) {
				r.RemoteAddr = addr
				x.SetVar("trusted_proxy", trusted)
			}
		}
	}
	tests := []struct {
		name              string
		peer              string
		trusted           bool
		config            string
		fields            string
		xff, proto, hosts string
	}{
		{"untrusted", "192.0.2.9:1", false, ``, sample, "192.0.2.9", "http", "site.test"},
		{"trusted by the server", "192.0.2.9:1", true, ``, sample, "198.51.100.4, 203.0.113.7, 10.0.0.2, 192.0.2.9", "https", "b.test"},
		{"trusted by the handler", "192.0.2.9:1", false, `,"trusted_proxies":["192.0.2.0/24"]`, sample, "198.51.100.4, 203.0.113.7, 10.0.0.2, 192.0.2.9", "https", "b.test"},
		{"trusted without fields", "192.0.2.9:1", true, ``, "", "192.0.2.9", "http", "site.test"},
		{"trusted with empty fields", "192.0.2.9:1", true, ``, "X-Forwarded-For:\nX-Forwarded-Proto:\nX-Forwarded-Host:\n", "192.0.2.9", "http", "site.test"},
		{"single address trusted, zone", "[fe80::1%eth0]:1", false, `,"trusted_proxies":["fe80::1"]`, "X-Forwarded-For: 1.1.1.1\n", "1.1.1.1, fe80::1", "http", "site.test"},
		{"unix client, untrusted", "@", false, ``, sample, "", "", ""},
		{"unix client, trusted", "@", true, ``, sample, "198.51.100.4|203.0.113.7, 10.0.0.2", "https", "b.test"},
		{"unix client, trusted, without fields", "@", true, ``, "", "", "http", "site.test"},
		{"no port", "nonsense", true, ``, sample, "", "", ""},
		{"a name", "some-name:123", false, `,"trusted_proxies":["0.0.0.0/0"]`, sample, "some-name", "http", "site.test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			head := headOf(t, `{"upstreams":[{"dial":"UP"}]`+tt.config+`}`, "GET / HTTP/1.1\nHost: site.test\n"+tt.fields+"\n", peer(tt.peer, tt.trusted))
			for name, want := range map[string]string{forwardedFor: tt.xff, forwardedProto: tt.proto, forwardedHost: tt.hosts} {
				if got := strings.Join(field(head, name), "|"); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestBlockedFieldsAreNotGenerated(t *testing.T) {
	head := headOf(t, plainConfig, "GET / HTTP/1.1\nHost: a\n\n", func(f *front) {
		f.before = func(_ http.ResponseWriter, r *http.Request, _ *handlers.Exchange) {
			r.Header[forwardedFor] = nil
		}
	})
	if got := field(head, forwardedFor); got != nil {
		t.Errorf("sent %q", got)
	}
	if got := field(head, forwardedHost); got == nil {
		t.Error("the other fields are missing")
	}
}

func TestHeaderOperationsUp(t *testing.T) {
	const config = `{"upstreams":[{"dial":"UP"}],"headers":{"request":{
		"set":{"Host":["{http.reverse_proxy.upstream.hostport}"],"X-Who":["{http.request.header.X-Me}","{nope}"]},
		"add":{"X-Add":["1"]},"delete":["X-Forwarded-*"],"replace":{"X-Me":[{"search":"a","replace":"b"}]}}}}`
	head := headOf(t, config, "GET / HTTP/1.1\nHost: site.test\nX-Me: aa\n\n", nil)
	if host := field(head, "Host"); !strings.HasPrefix(host[0], "127.0.0.1:") {
		t.Errorf("Host %q", host)
	}
	for name, want := range map[string]string{"X-Who": "aa,{nope}", "X-Add": "1", "X-Me": "bb", forwardedFor: "", forwardedHost: ""} {
		if got := strings.Join(field(head, name), "|"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestEveryAttemptStartsWithACleanHeader(t *testing.T) {
	var seen atomic.Value
	up := backend(t, func(_ http.ResponseWriter, r *http.Request) { seen.Store(r.Header.Clone()) })
	f := proxy(t, `{"upstreams":[{"dial":%q},{"dial":%q}],"load_balancing":{"selection_policy":{"policy":"first"},"retries":1},
		"headers":{"request":{"add":{"X-Try":["{http.reverse_proxy.upstream.hostport}"]}}}}`, dead(t), up)
	// first always takes the dead one, so let it be full after the first attempt.
	f.handler.Load().policy = inTurn(new(atomic.Int64))
	f.get("/").want(t, 200, "")
	if got := seen.Load().(http.Header)["X-Try"]; !slices.Equal(got, []string{up}) {
		t.Errorf("the second attempt had %q", got)
	}
}

// inTurn takes 0, 1, 2, ...
func inTurn(n *atomic.Int64) selection.Policy {
	return policyFunc(func(c *selection.Choice) int { return int(n.Add(1)-1) % len(c.Upstreams) })
}

type policyFunc func(*selection.Choice) int

func (f policyFunc) Select(c *selection.Choice) int { return f(c) }

func TestRewriteTouchesOnlyTheCopy(t *testing.T) {
	for _, tt := range []struct{ rewrite, want string }{
		{`{"method":"get"}`, "GET /a/b?x=1 0 "},
		{`{"strip_path_prefix":"/a"}`, "POST /b?x=1 4 body"},
		{`{"uri":"/n?{http.request.uri.query}"}`, "POST /n?x=1 4 body"},
	} {
		up := backend(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %d %s", r.Method, r.RequestURI, r.ContentLength, body)
		})
		var uri, method string
		f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"rewrite":%s}`, up, tt.rewrite)).front(func(f *front) {
			f.after = func(x *handlers.Exchange, _ error) { uri, method = x.Request().URL.String(), x.Request().Method }
		})
		f.do("POST", "/a/b?x=1", "body").want(t, 200, tt.want)
		if uri != "/a/b?x=1" || method != "POST" {
			t.Errorf("%s: the client's request became %s %s", tt.rewrite, method, uri)
		}
	}
}

func TestUnixUpstreamAndPlaceholders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })}
	go s.Serve(ln)
	t.Cleanup(func() { s.Close() })
	tcp := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "tcp") })
	_, port, _ := net.SplitHostPort(tcp)

	f := proxy(t, `{"upstreams":[{"dial":%q}]}`, "unix/"+path)
	f.get("/", "Host", "site.test").want(t, 200, "site.test")
	_, r := f.dial("GET / HTTP/1.0\r\n\r\n")
	if text, _ := io.ReadAll(r); !bytes.HasSuffix(text, []byte("localhost")) {
		t.Errorf("without a Host: %q", text)
	}
	f = proxy(t, `{"upstreams":[{"dial":"unix/{http.request.header.X-Sock}"}]}`)
	f.get("/", "X-Sock", path, "Host", "a").want(t, 200, "a")
	f = proxy(t, `{"upstreams":[{"dial":"tcp/{http.request.header.X-Host}:%s"}]}`, port)
	f.get("/", "X-Host", "127.0.0.1").want(t, 200, "tcp")
	f = proxy(t, `{"upstreams":[{"dial":"{http.request.header.X-Dial}"}]}`)
	f.get("/", "X-Dial", tcp).want(t, 200, "tcp")
	f.get("/", "X-Dial", "10.20.0.1:80-81").want(t, 502, "")
	f.get("/").want(t, 502, "")
}

func TestStatusOfFailures(t *testing.T) {
	tests := []struct {
		name, config string
		status       int
	}{
		{"no upstreams", `{}`, 503},
		{"refused", `{"upstreams":[{"dial":"` + dead(t) + `"}]}`, 502},
		{"unknown name", `{"upstreams":[{"dial":"nowhere.invalid:80"}]}`, 502},
		{"no port", `{"upstreams":[{"dial":"127.0.0.1"}]}`, 502},
		{"port range", `{"upstreams":[{"dial":"127.0.0.1:80-81"}]}`, 502},
		{"closed early", `{"upstreams":[{"dial":"` + answer(t, "") + `"}]}`, 502},
		{"malformed", `{"upstreams":[{"dial":"` + answer(t, "HELLO\r\n\r\n") + `"}]}`, 502},
		{"headers too large", `{"upstreams":[{"dial":"` + answer(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 5000)+"\r\n\r\n") +
			`"}],"transport":{"protocol":"http","max_response_header_size":2000}}`, 502},
		{"header timeout", `{"upstreams":[{"dial":"` + raw(t, func(_ net.Conn, r *bufio.Reader) { readHead(r); readHead(r) }) +
			`"}],"transport":{"protocol":"http","response_header_timeout":"50ms"}}`, 504},
		{"read timeout", `{"upstreams":[{"dial":"` + raw(t, func(_ net.Conn, r *bufio.Reader) { readHead(r); readHead(r) }) +
			`"}],"transport":{"protocol":"http","read_timeout":"50ms"}}`, 504},
		{"unexpected 101", `{"upstreams":[{"dial":"` + answer(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n") + `"}]}`, 502},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { proxy(t, "%s", tt.config).get("/").want(t, tt.status, "") })
	}
}

func TestErrorMessageIsTheUnderlyingError(t *testing.T) {
	addr := dead(t)
	var message string
	f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, addr)).front(func(f *front) {
		f.after = func(_ *handlers.Exchange, err error) { message = err.(*handlers.Error).Message() }
	})
	f.get("/").want(t, 502, "")
	if want := "dial tcp " + addr + ": connect: connection refused"; message != want {
		t.Errorf("message %q, want %q", message, want)
	}
}

// S11: a client that leaves.
func TestClientLeaves(t *testing.T) {
	cancelled := make(chan bool, 1)
	arrived := make(chan bool, 1)
	up := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-r.Context().Done()
		cancelled <- true
	})
	type end struct {
		status int
		err    error
	}
	ended := make(chan end, 1)
	w := newWorld(t)
	f := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"load_balancing":{"retries":3}}`, up)).front(func(f *front) {
		f.after = func(x *handlers.Exchange, err error) { ended <- end{x.Response.Status(), err} }
	})
	c, _ := f.dial("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-arrived
	c.Close()
	<-cancelled
	if e := <-ended; e.status != 499 || e.err != nil {
		t.Errorf("ended with %d, %v", e.status, e.err)
	}
	for _, s := range w.pool.List() {
		if s.Fails != 0 || s.NumRequests != 0 {
			t.Errorf("counted %+v", s)
		}
	}
}

// FLUSH-6: a client that leaves in the middle of a stream.
func TestClientLeavesAStream(t *testing.T) {
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	for _, versions := range []string{`["1.1"]`, `["h2c"]`} {
		cancelled := make(chan bool, 1)
		w := newWorld(t)
		up := w.build(nil, `{}`).front(func(f *front) {
			f.Config.Protocols = both
			f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "begin")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				cancelled <- true
			})
		})
		f := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"flush_interval":-1,"transport":{"protocol":"http","versions":%s}}`,
			up.Listener.Addr().String(), versions)).front(func(f *front) { f.Config.Protocols = both })
		h2 := new(http.Protocols)
		h2.SetUnencryptedHTTP2(true)
		for _, p := range []*http.Protocols{nil, h2} {
			transport := &http.Transport{Protocols: p}
			res, err := (&http.Client{Transport: transport}).Get(f.URL)
			if err != nil {
				t.Fatal(err)
			}
			part := make([]byte, 5)
			io.ReadFull(res.Body, part)
			res.Body.Close()
			select {
			case <-cancelled:
			case <-time.After(10 * time.Second):
				t.Errorf("%s: the upstream request was not cancelled", versions)
			}
			transport.CloseIdleConnections()
		}
		eventually(t, "the counts fall", func() bool { return w.pool.List()[0].NumRequests == 0 })
	}
}

// S12: an upstream that breaks off.
func TestIncompleteResponse(t *testing.T) {
	f := proxy(t, `{"upstreams":[{"dial":%q}]}`, answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"))
	_, r := f.dial("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res, err := http.ReadResponse(r, nil)
	if err == nil {
		if text, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("the client got a complete response: %q", text)
		}
	}
	if n := f.logs.FilterMessage("aborting with incomplete response").FilterLevelExact(zap.WarnLevel).Len(); n != 1 {
		t.Errorf("%d warnings", n)
	}
	f = proxy(t, `{"upstreams":[{"dial":%q}]}`, answer(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"))
	if res := f.get("/"); res.err == nil {
		t.Errorf("the client got a complete response: %q", res.body)
	}
}

func TestBodiesOfAllSizes(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		if r.URL.Path == "/known" {
			w.Header().Set("Content-Length", strconv.Itoa(n))
		}
		body, _ := io.ReadAll(r.Body)
		w.Write(bytes.Repeat(append(body, 'x'), n)[:n])
	})
	for _, flush := range []string{"0", "-1", `"1ms"`} {
		f := proxy(t, `{"upstreams":[{"dial":%q}],"flush_interval":%s}`, up, flush)
		for _, n := range []int{0, 1, 32767, 32768, 32769, 300_000} {
			for _, path := range []string{"/known", "/unknown"} {
				res := f.do("POST", path+"?n="+strconv.Itoa(n), "ab")
				if want := strings.Repeat("abx", n)[:n]; res.body != want || res.err != nil {
					t.Errorf("%s %s %d: %d bytes, %v", flush, path, n, len(res.body), res.err)
				}
			}
		}
	}
}

func TestCompression(t *testing.T) {
	zipped := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\xcf\x06\x00\x47\xdd\xdc\x79\x02\x00\x00\x00" // "ok"
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") == "gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, zipped)
			return
		}
		io.WriteString(w, "plain "+r.Header.Get("Accept-Encoding"))
	})
	f := proxy(t, `{"upstreams":[{"dial":%q}]}`, up)
	res := f.get("/")
	res.want(t, 200, "ok")
	if res.Header.Get("Content-Encoding") != "" || res.ContentLength != -1 {
		t.Errorf("%v, length %d", res.Header, res.ContentLength)
	}
	if res := f.get("/", "Accept-Encoding", "gzip"); res.body != zipped {
		t.Errorf("passed through as %q", res.body)
	}
	f.get("/", "Accept-Encoding", "br").want(t, 200, "plain br")
	f.get("/", "Range", "bytes=0-1").want(t, 200, "plain ")
	proxy(t, `{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","compression":false}}`, up).get("/").want(t, 200, "plain ")
}

// S10 and exact limits.
func TestMaxRequests(t *testing.T) {
	arrived, release := make(chan bool), make(chan bool)
	var running, most atomic.Int64
	up := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if r.URL.Path == "/wait" {
			arrived <- true
			<-release
		}
	})
	w := newWorld(t)
	f := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q,"max_requests":1}]}`, up)).front(nil)
	done := make(chan result, 1)
	go func() { done <- f.get("/wait") }()
	<-arrived
	f.get("/").want(t, 503, "")
	if got := w.pool.List(); len(got) != 1 || got[0].NumRequests != 1 {
		t.Errorf("the pool lists %v", got)
	}
	close(release)
	(<-done).want(t, 200, "")
	f.get("/").want(t, 200, "")

	f = proxy(t, `{"upstreams":[{"dial":%q,"max_requests":3}],"load_balancing":{"try_duration":"20s","try_interval":"1ms"}}`, up)
	most.Store(0)
	results := make(chan result, 40)
	for range cap(results) {
		go func() { results <- f.get("/") }()
	}
	for range cap(results) {
		(<-results).want(t, 200, "")
	}
	if most.Load() > 3 {
		t.Errorf("%d requests ran at once, limit 3", most.Load())
	}
}

// S18: a request in flight when its upstream leaves the configuration.
func TestRequestOutlivesItsUpstream(t *testing.T) {
	arrived, release := make(chan bool, 1), make(chan bool)
	up := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- true
		<-release
		io.WriteString(w, "late")
	})
	w := newWorld(t)
	g := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, up))
	f := g.front(nil)
	done := make(chan result, 1)
	go func() { done <- f.get("/") }()
	<-arrived
	next := w.build(g, `{"upstreams":[{"dial":"127.0.0.1:1"}]}`)
	g.retire(next)
	var list []string
	for _, s := range w.pool.List() {
		list = append(list, fmt.Sprintf("%s=%d", s.Address, s.NumRequests))
	}
	if want := []string{"127.0.0.1:1=0", up + "=1"}; !slices.Equal(list, want) {
		t.Errorf("listed %v, want %v", list, want)
	}
	close(release)
	(<-done).want(t, 200, "late")
	eventually(t, "the address leaves the list", func() bool { return len(w.pool.List()) == 1 })
}

func TestRejectedBuildTouchesNothing(t *testing.T) {
	w := newWorld(t)
	w.build(nil, `{"upstreams":[{"dial":"10.20.0.1:80"}]}`)
	before := fmt.Sprint(w.pool.List(), w.transports.Len())
	for _, text := range []string{
		`{"upstreams":[{"dial":"10.20.0.1:80"}],"transport":{"protocol":"http","versions":["9"]}}`,
		`{"upstreams":[{"dial":"10.20.0.1:80"}],"trusted_proxies":["x"]}`,
	} {
		if w.problems(text) == "" {
			t.Errorf("%s was accepted", text)
		}
	}
	if after := fmt.Sprint(w.pool.List(), w.transports.Len()); after != before {
		t.Errorf("%s became %s", before, after)
	}
}

func TestEditsKeepConnectionsAndCounters(t *testing.T) {
	var conns atomic.Int64
	s := &http.Server{ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(ln)
	t.Cleanup(func() { s.Close() })
	w := newWorld(t)
	config := `{"upstreams":[{"dial":"` + ln.Addr().String() + `"}],"flush_interval":%d}`
	g := w.build(nil, fmt.Sprintf(config, 1))
	f := g.front(nil)
	for i := range 5 {
		f.get("/").want(t, 200, "")
		next := w.build(g, fmt.Sprintf(config, i+2))
		f.handler.Store(next.Handler)
		g.retire(next)
		g = next
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections for one client and five edits", conns.Load())
	}
	if w.transports.Len() != 1 || len(w.pool.List()) != 1 {
		t.Errorf("%d transports, hosts %v", w.transports.Len(), w.pool.List())
	}
}

func TestPlaceholdersAfterTheRequest(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["X-Be"] = []string{"1", "2"}
		w.WriteHeader(404)
		io.WriteString(w, "x")
	})
	got := map[string]any{}
	names := []string{
		"upstream.address", "upstream.hostport", "upstream.host", "upstream.port", "upstream.requests", "upstream.max_requests",
		"upstream.fails", "upstream.latency", "upstream.latency_ms", "upstream.duration", "upstream.duration_ms",
		"duration", "duration_ms", "retries", "status_code", "status_text", "header.X-Be", "header.x-be", "is_transport_error",
	}
	f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q,"max_requests":7}]}`, up)).front(func(f *front) {
		f.after = func(x *handlers.Exchange, _ error) {
			for _, name := range names {
				if v, known := x.Lookup(scopePrefix + name); known {
					got[name] = v
				}
			}
		}
	})
	f.get("/").want(t, 404, "x")
	host, port, _ := net.SplitHostPort(up)
	for name, want := range map[string]any{
		"upstream.address": "tcp/" + up, "upstream.hostport": up, "upstream.host": host, "upstream.port": port,
		"upstream.requests": int64(0), "upstream.max_requests": int64(7), "upstream.fails": int64(0), "retries": 0,
		"status_code": 404, "status_text": "404 Not Found", "header.X-Be": "1,2",
	} {
		if got[name] != want {
			t.Errorf("%s: %v (%T), want %v", name, got[name], got[name], want)
		}
	}
	for _, name := range []string{"upstream.latency", "upstream.duration", "duration"} {
		d, _ := got[name].(time.Duration)
		ms, _ := got[name+"_ms"].(float64)
		if d <= 0 || ms != milliseconds(d) {
			t.Errorf("%s: %v, %v ms", name, d, ms)
		}
	}
	for _, name := range []string{"header.x-be", "is_transport_error"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s is known: %v", name, v)
		}
	}
}
