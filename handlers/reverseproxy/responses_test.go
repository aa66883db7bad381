package reverseproxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// testHandlers are handlers for routes: say answers, mark sets a field of the response, fail fails, seen answers with what it
// sees of the request, pass only goes on.
func testHandlers() []module.Spec {
	type say struct {
		Status int    `json:"status"`
		Body   string `json:"body"`
	}
	type none struct{}
	plain := func(name string, f handlers.HandlerFunc) module.Spec {
		return module.New("http.handlers."+name, "Test.", nil, func(*module.Env, *none) (handlers.Handler, error) { return f, nil })
	}
	return []module.Spec{
		module.New("http.handlers.say", "Test.", nil, func(_ *module.Env, c *say) (handlers.Handler, error) {
			text := vars.Parse(c.Body)
			return handlers.HandlerFunc(func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
				w.WriteHeader(c.Status)
				_, err := io.WriteString(w, text.Expand(handlers.Of(r), vars.All, ""))
				return err
			}), nil
		}),
		plain("mark", func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
			w.Header().Set("X-Mark", "set")
			return next.ServeHTTP(w, r)
		}),
		plain("fail", func(http.ResponseWriter, *http.Request, handlers.Next) error {
			return handlers.NewError(http.StatusTeapot, errors.New("failed on purpose"))
		}),
		plain("seen", func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error { return describe(w, r) }),
		plain("pass", func(w http.ResponseWriter, r *http.Request, next handlers.Next) error { return next.ServeHTTP(w, r) }),
	}
}

// describe answers with what there is of a request.
func describe(w http.ResponseWriter, r *http.Request) error {
	body := "-"
	if r.Body != nil {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return handlers.NewError(http.StatusBadGateway, err)
		}
		body = string(text)
	}
	_, err := fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL.RequestURI(), r.Header.Get("X-Up"), body)
	return err
}

// routes makes an entry of handle_response; each handler is a name or an object.
func routes(match string, list ...string) string {
	var handle []string
	for _, h := range list {
		if !strings.HasPrefix(h, "{") {
			h = `{"handler":"` + h + `"}`
		}
		handle = append(handle, h)
	}
	if match != "" {
		match = `"match":` + match + `,`
	}
	return `{` + match + `"routes":[{"handle":[` + strings.Join(handle, ",") + `]}]}`
}

// handling is a proxy with one upstream and entries of handle_response; more is other members of the config.
func handling(t testing.TB, up string, more string, entries ...string) *front {
	t.Helper()
	f := newWorld(t).build(nil, `{"upstreams":[{"dial":"`+up+`"}],"handle_response":[`+strings.Join(entries, ",")+`]`+more+`}`).front(nil)
	f.next = handlers.NextFunc(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("X-After", "yes")
		return describe(w, r)
	})
	return f
}

// status is a backend that answers with the status that the path names, a field and a body.
func statusBackend(t testing.TB) string {
	return backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Be", "one")
		w.Header().Add("X-Be", "two")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("X-Conn", "1")
		w.Header().Set("Connection", "X-Conn")
		status := 200
		if s := strings.TrimPrefix(r.URL.Path, "/"); len(s) == 3 {
			status = number(s)
		}
		w.WriteHeader(status)
		if !withoutBody(status) {
			io.WriteString(w, "from upstream")
		}
	})
}

func number(s string) (n int) {
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}

const sayIt = `{"handler":"say","status":203,"body":"{http.reverse_proxy.status_code} {http.reverse_proxy.status_text} {http.reverse_proxy.header.X-Be} {http.reverse_proxy.header.x-be}"}`

// RESP-4, RESP-6, RESP-7 and RESP-8.
func TestHandleResponse(t *testing.T) {
	up := statusBackend(t)
	for _, tt := range []struct {
		name, path string
		entries    []string
		status     int
		body       string
	}{
		{"none matches", "/200", []string{`{"match":{"status_code":[4]},"status_code":500}`}, 200, "from upstream"},
		{"first wins", "/404", []string{`{"match":{"status_code":[4]},"status_code":410}`, `{"match":{"status_code":[404]},"status_code":411}`}, 410, "from upstream"},
		{"order is literal", "/404", []string{`{"status_code":410}`, `{"match":{"status_code":[404]},"status_code":411}`}, 410, "from upstream"},
		{"by header", "/200", []string{`{"match":{"headers":{"X-Be":["tw*"]}},"status_code":201}`}, 201, "from upstream"},
		{"status of a placeholder", "/404", []string{`{"status_code":"{http.reverse_proxy.status_code}"}`}, 404, "from upstream"},
		{"as a number", "/404", []string{`{"status_code":299}`}, 299, "from upstream"},
		{"0 ends the search", "/404", []string{`{"status_code":"0"}`, `{"status_code":410}`}, 404, "from upstream"},
		{"no number", "/404", []string{`{"status_code":"{http.reverse_proxy.header.X-Be}"}`}, 500, ""},
		{"nothing", "/404", []string{`{"status_code":"{nothing}"}`}, 500, ""},
		{"no final status", "/404", []string{`{"status_code":"101"}`}, 500, ""},
		{"beyond", "/404", []string{`{"status_code":"1000"}`}, 500, ""},
		{"status and routes", "/404", []string{`{"status_code":410,"routes":[{"handle":[{"handler":"fail"}]}]}`}, 410, "from upstream"},
		{"routes answer", "/404", []string{routes("", sayIt)}, 203, "404 404 Not Found one,two "},
		{"routes do not answer", "/404?q", []string{routes("", "pass")}, 200, "GET /404?q  "},
		{"no routes", "/404?q", []string{`{"routes":[]}`}, 200, "GET /404?q  "},
		{"neither", "/404?q", []string{`{}`}, 200, "GET /404?q  "},
		{"no body any more", "/404", []string{`{"status_code":204}`}, 204, ""},
		{"a body where none was", "/204", []string{`{"status_code":200}`}, 200, ""},
		{"a copy without body", "/200", []string{routes("", `{"handler":"copy_response","status_code":204}`)}, 204, ""},
		{"a copy", "/404", []string{routes("", "mark", `{"handler":"copy_response","status_code":"41{nothing}0"}`)}, 410, "from upstream"},
		{"a copy with 0", "/404", []string{routes("", `{"handler":"copy_response","status_code":"0"}`)}, 404, "from upstream"},
		{"a copy without number", "/404", []string{routes("", `{"handler":"copy_response","status_code":"x"}`)}, 500, ""},
		{"fields only", "/404", []string{routes("", `{"handler":"copy_response_headers"}`, sayIt)}, 203, "*"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := handling(t, up, "", tt.entries...)
			res := f.get(tt.path)
			res.want(t, tt.status, tt.body)
			if after := res.Header.Get("X-After") != ""; after != strings.HasPrefix(tt.body, "GET") {
				t.Errorf("what follows the proxy ran: %v", after)
			}
			copied := strings.Contains(tt.body, "upstream") || strings.Contains(tt.name, "body") || tt.name == "fields only"
			if got := strings.Join(res.Header["X-Be"], ","); (got == "one,two") != copied || (got == "") == copied {
				t.Errorf("fields of the upstream: %q", got)
			}
		})
	}
}

// RESP-8: routes and what follows see the client's request, and not the copy of it; none of them sees the response afterwards.
func TestHandleResponseOriginalRequest(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Method+" "+r.RequestURI+" "+r.Header.Get("X-Up"))
	})
	more := `,"rewrite":{"method":"GET","uri":"/verify"},"headers":{"request":{"set":{"X-Up":["up"]}}}`
	f := handling(t, up, more, routes("", `{"handler":"copy_response_headers"}`, "pass"))
	res := f.do("POST", "/app?x=1", "the body")
	res.want(t, 200, "POST /app?x=1  the body")
	if got := res.Header.Get("X-Seen"); got != "GET /verify?x=1 up" {
		t.Errorf("the upstream saw %q", got)
	}
	if res.Header.Get("X-After") == "" {
		t.Error("what follows the proxy did not run")
	}
	for _, handler := range []string{"copy_response", "copy_response_headers"} {
		table := newWorld(t)
		g := table.build(nil, `{"upstreams":[{"dial":"`+up+`"}],"handle_response":[{}]}`)
		f := g.front(nil)
		late := table.handler(handler)
		f.next = handlers.NextFunc(func(w http.ResponseWriter, r *http.Request) error { return late.ServeHTTP(w, r, handlers.Next{}) })
		f.get("/").want(t, 500, "")
	}
}

// handler builds another handler.
func (w *world) handler(name string) handlers.Handler {
	w.t.Helper()
	res := w.builder.Build(nil, "http.handlers."+name, w.parse(`{}`), module.Options{})
	if len(res.Problems) > 0 {
		w.t.Fatal(res.Problems)
	}
	return res.Root.Value().(handlers.Handler)
}

// The body of the client's request goes to whom reads it first; a part of it is never taken for the whole.
func TestHandleResponseRequestBody(t *testing.T) {
	for _, tt := range []struct {
		name, more string
		read       bool // the upstream reads the body
		status     int
		body       string
	}{
		{"the copy has none", `,"rewrite":{"method":"GET"}`, true, 200, "POST /x  0123456789"},
		{"buffered", `,"request_buffers":100`, true, 200, "POST /x  0123456789"},
		{"read", ``, true, 502, ""},
		{"read in part", `,"request_buffers":5`, true, 502, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := backend(t, func(w http.ResponseWriter, r *http.Request) {
				if tt.read {
					io.Copy(io.Discard, r.Body)
				}
			})
			f := handling(t, up, tt.more, `{}`)
			f.do("POST", "/x", "0123456789").want(t, tt.status, tt.body)
		})
	}
}

// RESP-9: errors of routes are passed on as they are; a status that is none is tried again.
func TestHandleResponseErrors(t *testing.T) {
	var n atomic.Int32
	up := backend(t, func(http.ResponseWriter, *http.Request) { n.Add(1) })
	const more = `,"load_balancing":{"retries":2},"health_checks":{"passive":{"fail_duration":"1m","max_fails":9}}`
	for _, tt := range []struct {
		entry           string
		status          int
		attempts, fails int64
		text            string
	}{
		{routes("", "fail"), 418, 1, 0, "failed on purpose"},
		{routes("", `{"handler":"copy_response","status_code":"x"}`), 500, 1, 0, "not a status"},
		{`{"status_code":"x"}`, 500, 3, 3, "not a status"},
	} {
		n.Store(0)
		f := handling(t, up, more, tt.entry)
		res := f.get("/")
		res.want(t, tt.status, "")
		if got := int64(n.Load()); got != tt.attempts || !strings.Contains(res.Header.Get("X-Error"), tt.text) {
			t.Errorf("%s: %d attempts and error %q", tt.entry, got, res.Header.Get("X-Error"))
		}
		if got := f.handler.Load().hosts.List()[0].Fails; got != tt.fails {
			t.Errorf("%s: %d failures are remembered, want %d", tt.entry, got, tt.fails)
		}
	}
}

// RESP-3: retry_match comes first.
func TestHandleResponseAfterRetryMatch(t *testing.T) {
	var n atomic.Int32
	up := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(map[bool]int{true: 503, false: 404}[n.Add(1) == 1])
	})
	f := handling(t, up, `,"load_balancing":{"retries":1,"retry_match":[{"expression":["http.reverse_proxy.status_code=503"]}]}`, routes("", sayIt))
	f.get("/").want(t, 203, "404 404 Not Found  ")
}

// RESP-10, RESP-12, RESP-13 and CR-1: what is copied is copied as without routes.
func TestCopyResponse(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Known")
		w.Header().Set("X-Mark", "upstream")
		w.Header().Set("X-Gone", "1")
		io.WriteString(w, "body")
		http.NewResponseController(w).Flush()
		w.Header().Set("X-Known", "k")
		w.Header().Set(http.TrailerPrefix+"X-Late", "l")
	})
	const more = `,"headers":{"response":{"set":{"X-Down":["{http.reverse_proxy.status_code}"]},"delete":["X-Gone"],"require":{"status_code":[418]}}}`
	f := handling(t, up, more, routes("", "mark", `{"handler":"copy_response","status_code":418}`, "fail"))
	res := f.get("/")
	res.want(t, 418, "body")
	for name, want := range map[string]string{"X-Mark": "set,upstream", "X-Down": "200", "X-Gone": "", "Via": "1.1 sluice", "X-After": ""} {
		if got := strings.Join(res.Header[name], ","); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if res.Trailer.Get("X-Known") != "k" || res.Trailer.Get("X-Late") != "l" {
		t.Errorf("trailers: %v", res.Trailer)
	}
	f = handling(t, up, strings.Replace(more, "418", "200", 1), routes("", `{"handler":"copy_response_headers"}`, sayIt))
	if res := f.get("/"); res.Header.Get("X-Down") != "" || res.Header.Get("X-Gone") == "" || res.Header.Get("Via") != "" {
		t.Errorf("fields alone are changed like a copy: %v", res.Header)
	}
}

// A response can be copied once.
func TestCopyResponseTwice(t *testing.T) {
	f := handling(t, statusBackend(t), "", `{}`)
	h := newWorld(t).handler("copy_response")
	var second error
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &handlers.Exchange{Server: f, Response: handlers.NewResponseWriter(w), Globals: vars.Map{}}
		r = x.Begin(r, nil)
		res := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("once")), ContentLength: 4, ProtoMajor: 1, ProtoMinor: 1}
		p := &proxying{h: f.handler.Load(), w: x.Response, in: r, x: x, log: f.logger}
		x.Upstream = &interrupted{p: p, res: res}
		if err := h.ServeHTTP(x.Response, r, handlers.Next{}); err != nil {
			t.Error(err)
		}
		second = h.ServeHTTP(x.Response, r, handlers.Next{})
	})
	f.get("/").want(t, 200, "once")
	if !errors.Is(second, errEnded) {
		t.Errorf("a second copy: %v", second)
	}
}

// CR-2 and quirk 29: fields of the connection and of the framing are never copied.
func TestCopyResponseHeaders(t *testing.T) {
	up := answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Conn\r\nX-Conn: 1\r\nKeep-Alive: timeout=5\r\nTrailer: X-T\r\nUpgrade: h2c\r\n"+
		"Proxy-Authenticate: Basic\r\nAlt-Svc: clear\r\nX-Be: a\r\nX-Be: b\r\nX-Other: c\r\n\r\nok")
	const long = `{"handler":"say","status":200,"body":"longer than the body of the upstream"}`
	for _, tt := range []struct{ config, want string }{
		{`{"handler":"copy_response_headers"}`, "X-Be=a,b X-Other=c"},
		{`{"handler":"copy_response_headers","include":["x-be","content-length","connection","x-conn"]}`, "X-Be=a,b X-Other="},
		{`{"handler":"copy_response_headers","exclude":["x-BE"]}`, "X-Be= X-Other=c"},
	} {
		f := handling(t, up, "", routes("", "mark", tt.config, long))
		res := f.get("/")
		res.want(t, 200, "longer than the body of the upstream")
		if got := fmt.Sprintf("X-Be=%s X-Other=%s", strings.Join(res.Header["X-Be"], ","), strings.Join(res.Header["X-Other"], ",")); got != tt.want {
			t.Errorf("%s: %s", tt.config, got)
		}
		for _, name := range []string{"X-Conn", "Keep-Alive", "Trailer", "Upgrade", "Proxy-Authenticate", "Alt-Svc"} {
			if res.Header[name] != nil {
				t.Errorf("%s: %s was copied", tt.config, name)
			}
		}
	}
}

const upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"

// RESP-11: a switch of protocols is a response like others, until it is copied.
func TestHandleResponseSwitchingProtocols(t *testing.T) {
	var closed atomic.Int32
	up := raw(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\nX-Be: one\r\n\r\n")
		line, err := r.ReadString('\n')
		if err == nil {
			io.WriteString(c, "you said "+line)
		}
		closed.Add(1)
	})
	for i, tt := range []struct{ entry, want string }{
		{routes(`{"status_code":[101]}`, sayIt), "203"},
		{`{"match":{"status_code":[1]},"status_code":410}`, "410"},
		{`{}`, "200"},
		{routes("", "fail"), "418"},
		{routes(`{"status_code":[101]}`, "copy_response"), "101"},
		{`{"match":{"status_code":[2]},"status_code":410}`, "101"},
	} {
		f := handling(t, up, "", tt.entry)
		c, r := f.dial(upgrade)
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Status[:3]; got != tt.want {
			t.Errorf("%s: status %s, want %s", tt.entry, got, tt.want)
		}
		if tt.want == "101" {
			io.WriteString(c, "hello\n")
			if line, err := r.ReadString('\n'); line != "you said hello\n" {
				t.Errorf("%s: the tunnel gives %q, %v", tt.entry, line, err)
			}
		}
		eventually(t, "the upstream's connection ends", func() bool { return closed.Load() == int32(i+1) })
	}
}

// Responses that nobody copies leave nothing behind: short ones give their connection back, and what has to be given back is
// given back before what follows runs.
func TestHandleResponseLeaksNothing(t *testing.T) {
	var opened, open atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", number(r.URL.Path[1:])))
		http.NewResponseController(w).Flush()
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened.Add(1)
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	for _, entry := range []string{`{}`, routes("", `{"handler":"say","status":200,"body":"x"}`), routes("", "fail")} {
		f := handling(t, s.Listener.Addr().String(), "", entry)
		f.next = handlers.NextFunc(func(w http.ResponseWriter, _ *http.Request) error {
			if n := f.handler.Load().upstreams[0].Requests(); n != 0 {
				t.Errorf("%d requests run on the upstream while what follows runs", n)
			}
			return nil
		})
		before := opened.Load()
		for range 50 {
			f.get("/100")
		}
		if n := opened.Load() - before; n > 25 {
			t.Errorf("%s: 50 requests one after the other opened %d connections", entry, n)
		}
		for range 5 {
			f.get("/1000000")
		}
		f.CloseClientConnections()
	}
	eventually(t, "no connection is stuck", func() bool { return open.Load() <= 3 })
}
