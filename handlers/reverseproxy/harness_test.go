package reverseproxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/copyresponse"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/trust"
	"github.com/sluiceproxy/sluice/upstream"
)

// world is what outlives the handlers of a test.
type world struct {
	t          testing.TB
	pool       *upstream.Pool
	transports *upstream.Transports
	services   module.Services
	builder    module.Builder
	managed    managed
}

// managed is the certificates that the process manages.
type managed struct {
	mu     sync.Mutex
	needed map[string]int
	now    *tls.Certificate // of all names; nil while there is none
}

func (m *managed) need(name string, by int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.needed == nil {
		m.needed = map[string]int{}
	}
	if m.needed[name] += by; m.needed[name] == 0 {
		delete(m.needed, name)
	}
}

func (m *managed) Need(name string)   { m.need(name, 1) }
func (m *managed) Unneed(name string) { m.need(name, -1) }
func (m *managed) ClientCertificate(name string, info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now == nil {
		return nil, fmt.Errorf("there is no certificate for %s yet", name)
	}
	return m.now, info.SupportsCertificate(m.now)
}

// use makes a certificate the present one.
func (m *managed) use(c tls.Certificate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = &c
}

// names are those that are needed, with how often.
func (m *managed) names() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprint(m.needed)
}

func newWorld(t testing.TB) *world { return newWorldOver(t, nil) }

// newWorldOver is a world whose connections are made by dial; nil means the real network.
func newWorldOver(t testing.TB, dial upstream.DialFunc) *world {
	w := &world{t: t, pool: upstream.NewPool(nil)}
	w.transports = upstream.NewTransports(upstream.TransportsConfig{Dial: dial, Connections: w.pool.Connections()})
	table, err := module.NewTable(slices.Concat(Specs(), trust.Specs(), route.Specs(), copyresponse.Specs(), testHandlers(), testMatchers()), nil)
	if err != nil {
		t.Fatal(err)
	}
	services := module.Services{}
	module.Provide(services, w.pool)
	module.Provide(services, w.transports)
	module.Provide(services, logs.NewSwitch(logs.Process{}))
	module.Provide[upstream.ClientCertificates](services, &w.managed)
	w.services = services
	w.resolve(nil)
	w.builder = module.Builder{Table: table, Sources: module.Sources{
		ReadFile: func(string) ([]byte, error) { return nil, errors.New("no files here") },
		Globals:  vars.Map{},
		Services: services,
	}}
	return w
}

// generation is one built handler.
type generation struct {
	w      *world
	result module.Result
	*Handler
}

func (w *world) parse(text string) *config.Node {
	w.t.Helper()
	node, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	return node
}

// build compiles a handler and acquires what it needs. The object has no inline key.
func (w *world) build(prev *generation, text string) *generation {
	w.t.Helper()
	node := w.parse(text)
	var root *module.Built
	if prev != nil {
		root = prev.result.Root
		node = config.Reuse(root.Node(), node)
	}
	res := w.builder.Build(root, "http.handlers.reverse_proxy", node, module.Options{})
	if len(res.Problems) > 0 {
		w.t.Fatalf("building %s: %v", text, res.Problems)
	}
	for _, b := range res.New {
		for _, r := range b.Owned() {
			if err := r.Prepare(); err != nil {
				w.t.Fatal(err)
			}
			r.Start()
		}
	}
	return &generation{w, res, res.Root.Value().(*Handler)}
}

// retire releases what the next generation did not take over.
func (g *generation) retire(next *generation) {
	gone := next.result.Gone
	for i := len(gone) - 1; i >= 0; i-- {
		for _, r := range gone[i].Owned() {
			r.Close()
		}
	}
}

// problems returns what is wrong with a config.
func (w *world) problems(text string) string {
	res := w.builder.Build(nil, "http.handlers.reverse_proxy", w.parse(text), module.Options{})
	return res.Problems.Error()
}

// front is a server in front of a handler. It stands for the engine.
type front struct {
	*httptest.Server
	t       testing.TB
	handler atomic.Pointer[Handler]
	before  func(w http.ResponseWriter, r *http.Request, x *handlers.Exchange)
	after   func(x *handlers.Exchange, err error)
	logs    *observer.ObservedLogs
	logger  *zap.Logger
	conns   sync.Map
	next    handlers.Next
}

// Name and the rest implement handlers.Server.
func (f *front) Name() string              { return "test" }
func (f *front) LogCredentials() bool      { return false }
func (f *front) Logger(string) *zap.Logger { return f.logger }
func (f *front) ShutdownAt() time.Time     { return time.Time{} }
func (f *front) NamedRoute(string, http.ResponseWriter, *http.Request, handlers.Next) (bool, error) {
	return false, nil
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &handlers.Exchange{Server: f, Start: time.Now(), Response: handlers.NewResponseWriter(w), Globals: vars.Map{}}
	r = x.Begin(r, nil)
	w.Header().Set("Server", "front")
	if f.before != nil {
		f.before(w, r, x)
	}
	var err error
	defer func() {
		if f.after != nil {
			f.after(x, err)
		}
		x.Finish()
	}()
	err = f.handler.Load().ServeHTTP(x.Response, r, f.next)
	if err != nil {
		x.Response.Header().Set("X-Error", err.Error())
		x.Response.WriteHeader(handlers.StatusOf(err))
	}
}

// front starts a server in front of g.
func (g *generation) front(adjust func(f *front)) *front {
	core, logs := observer.New(zapcore.DebugLevel)
	f := &front{t: g.w.t, logs: logs, logger: zap.New(core)}
	f.handler.Store(g.Handler)
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	if adjust != nil {
		adjust(f)
	}
	if f.Listener != nil && f.URL == "" {
		f.Start()
	}
	g.w.t.Cleanup(f.Close)
	return f
}

// proxy builds a handler and puts a server in front of it. %s in the config stand for the upstreams' addresses.
func proxy(t testing.TB, text string, args ...any) *front {
	t.Helper()
	return newWorld(t).build(nil, fmt.Sprintf(text, args...)).front(nil)
}

// backend is an HTTP upstream.
func backend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// raw is an upstream that speaks TCP: serve gets each connection.
func raw(t testing.TB, serve func(net.Conn, *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var open sync.Map
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(c, true)
			wg.Go(func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return ln.Addr().String()
}

// readHead reads a request head, without looking at it.
func readHead(r *bufio.Reader) (lines []string, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return lines, err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return lines, nil
		}
		lines = append(lines, line)
	}
}

// answer is an upstream that reads one request head and answers with the text, then closes.
func answer(t testing.TB, text string) string {
	return raw(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err == nil {
			io.WriteString(c, text)
		}
	})
}

// dead is an address on which nobody listens.
func dead(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// result is a response that was read completely.
type result struct {
	*http.Response
	body string
	err  error // of reading the body
}

var browser = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{DisableCompression: true},
	Timeout:       20 * time.Second,
}

// do sends a request; pairs are header fields.
func (f *front) do(method, path, body string, pairs ...string) result {
	f.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, f.URL+path, reader)
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == "Host" {
			r.Host = pairs[i+1]
			continue
		}
		r.Header.Add(pairs[i], pairs[i+1])
	}
	res, err := browser.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return result{res, string(text), err}
}

func (f *front) get(path string, pairs ...string) result {
	f.t.Helper()
	return f.do("GET", path, "", pairs...)
}

func (r result) want(t testing.TB, status int, body string) {
	t.Helper()
	if r.StatusCode != status || (body != "*" && r.body != body) || (r.err != nil && body != "*") {
		t.Errorf("got %d %q %v (%s), want %d %q", r.StatusCode, r.body, r.err, r.Header.Get("X-Error"), status, body)
	}
}

// dialFront opens a connection to the front and sends text.
func (f *front) dial(text string) (net.Conn, *bufio.Reader) {
	f.t.Helper()
	c, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		f.t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// eventually polls until ok, or fails.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// testMatchers are matchers method, path and expression in small.
func testMatchers() []module.Spec {
	type list []string
	is := func(get func(*http.Request) string) func(*module.Env, *list) (handlers.Matcher, error) {
		return func(_ *module.Env, c *list) (handlers.Matcher, error) {
			return matcherFunc(func(r *http.Request) (bool, error) {
				for _, want := range *c {
					if want == "error" {
						return false, errors.New("matcher failed")
					}
					if got := get(r); got == want || strings.HasSuffix(want, "*") && strings.HasPrefix(got, want[:len(want)-1]) {
						return true, nil
					}
				}
				return false, nil
			}), nil
		}
	}
	return []module.Spec{
		module.New("http.matchers.method", "Method.", nil, is(func(r *http.Request) string { return r.Method })),
		module.New("http.matchers.path", "Path.", nil, is(func(r *http.Request) string { return r.URL.Path })),
		// An expression here is a list of NAME=VALUE, one of which has to hold.
		module.New("http.matchers.expression", "Expression.", nil, func(_ *module.Env, c *list) (handlers.Matcher, error) {
			return matcherFunc(func(r *http.Request) (bool, error) {
				for _, e := range *c {
					name, want, _ := strings.Cut(e, "=")
					if v, known := handlers.Of(r).Lookup(name); known && vars.ToString(v) == want {
						return true, nil
					}
				}
				return false, nil
			}), nil
		}),
	}
}

type matcherFunc func(*http.Request) (bool, error)

func (f matcherFunc) Match(r *http.Request) (bool, error) { return f(r) }
