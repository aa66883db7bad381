package fastcgi_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/match"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/fastcgi"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/trust"
	"github.com/sluiceproxy/sluice/upstream"
)

// front is a server with a reverse proxy that has the transport.
type front struct {
	*httptest.Server
	t       *testing.T
	handler handlers.Handler
	before  func(r *http.Request, x *handlers.Exchange)
	logs    *observer.ObservedLogs
	logger  *zap.Logger
}

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
	defer x.Finish()
	if f.before != nil {
		f.before(r, x)
	}
	if err := f.handler.ServeHTTP(x.Response, r, handlers.Next{}); err != nil {
		x.Response.Header().Set("X-Error", err.Error())
		x.Response.WriteHeader(handlers.StatusOf(err))
	}
}

// table is made once: that takes longer than most tests.
var table = sync.OnceValues(func() (*module.Table, error) {
	specs := slices.Concat(reverseproxy.Specs(), trust.Specs(), route.Specs(), match.Specs())
	if !slices.ContainsFunc(specs, func(s module.Spec) bool { return s.ID == fastcgi.Spec().ID }) {
		specs = append(specs, fastcgi.Spec())
	}
	return module.NewTable(specs, nil)
})

func builder(t *testing.T) *module.Builder {
	t.Helper()
	table, err := table()
	if err != nil {
		t.Fatal(err)
	}
	services := module.Services{}
	module.Provide(services, upstream.NewPool(nil))
	module.Provide(services, upstream.NewTransports(upstream.TransportsConfig{}))
	module.Provide(services, logs.NewSwitch(logs.Process{}))
	return &module.Builder{Table: table, Sources: module.Sources{Globals: vars.Map{}, Services: services}}
}

// start puts a server in front of the application at an address. The texts are members of the transport and of the handler.
func start(t *testing.T, dial, transport, handler string, adjust func(f *front)) *front {
	t.Helper()
	text := fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"fastcgi"%s}%s}`, dial, comma(transport), comma(handler))
	node, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	res := builder(t).Build(nil, "http.handlers.reverse_proxy", node, module.Options{})
	if len(res.Problems) > 0 {
		t.Fatalf("%s: %v", text, res.Problems)
	}
	for _, b := range res.New {
		for _, r := range b.Owned() {
			if err := r.Prepare(); err != nil {
				t.Fatal(err)
			}
			r.Start()
		}
	}
	core, seen := observer.New(zapcore.DebugLevel)
	f := &front{t: t, handler: res.Root.Value().(handlers.Handler), logs: seen, logger: zap.New(core)}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	if adjust != nil {
		adjust(f)
	}
	if f.URL == "" {
		f.Start()
	}
	f.Client().Transport.(*http.Transport).DisableCompression = true
	t.Cleanup(f.Close)
	return f
}

func comma(members string) string {
	if members == "" {
		return ""
	}
	return "," + members
}

// result is a response that was read to its end.
type result struct {
	*http.Response
	body string
	err  error
}

func (r result) want(t *testing.T, status int, body string) {
	t.Helper()
	if r.StatusCode != status || (body != "*" && r.body != body) || (body != "*" && r.err != nil) {
		t.Errorf("got %d %.300q %v (%s), want %d %.300q", r.StatusCode, r.body, r.err, r.Header.Get("X-Error"), status, body)
	}
}

// do sends a request; pairs are fields of its header. A length of -1 leaves it unknown.
func (f *front) do(method, target string, body io.Reader, length int64, pairs ...string) result {
	f.t.Helper()
	r, err := http.NewRequest(method, f.URL+target, body)
	if err != nil {
		f.t.Fatal(err)
	}
	if body != nil {
		r.ContentLength = length
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == "Host" {
			r.Host = pairs[i+1]
		} else {
			r.Header.Add(pairs[i], pairs[i+1])
		}
	}
	res, err := f.Client().Transport.RoundTrip(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return result{res, string(text), err}
}

func (f *front) get(target string, pairs ...string) result {
	f.t.Helper()
	return f.do("GET", target, nil, 0, pairs...)
}

// responder serves FastCGI with Go's own implementation.
func responder(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go fcgi.Serve(ln, h)
	return "unix/" + path
}

// variables answers with the variables that the application was told, one a line.
func variables(t *testing.T) string {
	return raw(t, func(c *conversation) {
		c.stdout("Content-Type: text/plain\r\n\r\n")
		var list []string
		for k, v := range c.params {
			list = append(list, k+"="+v+"\n")
		}
		slices.Sort(list)
		c.stdout(strings.Join(list, ""))
		c.end(0)
	})
}

// conversation is one request to an application that speaks the protocol by itself.
type conversation struct {
	net.Conn
	r      *bufio.Reader
	begin  []byte
	params map[string]string
	stdin  []byte
	counts map[byte]int // of the records
	broken error        // why not all has come
}

// raw is an application: serve gets each request when it has come whole.
func raw(t *testing.T, serve func(c *conversation)) string {
	return rawEarly(t, func(c *conversation) {
		c.readAll()
		serve(c)
	})
}

// rawEarly is an application: serve gets each connection.
func rawEarly(t *testing.T, serve func(c *conversation)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(20 * time.Second))
				serve(&conversation{Conn: conn, r: bufio.NewReader(conn), params: map[string]string{}, counts: map[byte]int{}})
			}()
		}
	}()
	return ln.Addr().String()
}

// record reads one record.
func (c *conversation) record() (kind byte, content []byte, err error) {
	var h [8]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return 0, nil, err
	}
	if h[0] != 1 || h[2] != 0 || h[3] != 1 {
		return 0, nil, fmt.Errorf("a record begins with %v", h)
	}
	content = make([]byte, int(binary.BigEndian.Uint16(h[4:]))+int(h[6]))
	if len(content)%8 != 0 {
		return 0, nil, fmt.Errorf("a record of %d bytes", len(content))
	}
	_, err = io.ReadFull(c.r, content)
	c.counts[h[1]]++
	return h[1], content[:binary.BigEndian.Uint16(h[4:])], err
}

// readAll reads the whole request.
func (c *conversation) readAll() {
	var params bytes.Buffer
	for {
		kind, content, err := c.record()
		if err != nil {
			c.broken = err
			return
		}
		switch kind {
		case 1:
			c.begin = content
		case 4:
			params.Write(content)
			if len(content) == 0 {
				c.parse(params.Bytes())
			}
		case 5:
			c.stdin = append(c.stdin, content...)
			if len(content) == 0 {
				return
			}
		}
	}
}

func (c *conversation) parse(p []byte) {
	size := func() int {
		if p[0] < 128 {
			n := int(p[0])
			p = p[1:]
			return n
		}
		n := int(binary.BigEndian.Uint32(p) &^ (1 << 31))
		p = p[4:]
		return n
	}
	for len(p) > 0 {
		n := size()
		m := size()
		c.params[string(p[:n])] = string(p[n : n+m])
		p = p[n+m:]
	}
}

func (c *conversation) send(kind byte, content string) {
	padding := 3
	c.Write(append([]byte{1, kind, 0, 1, byte(len(content) >> 8), byte(len(content)), byte(padding), 0}, content+strings.Repeat("\x00", padding)...))
}

func (c *conversation) stdout(text string) {
	for len(text) > 0 {
		n := min(len(text), 60000)
		c.send(6, text[:n])
		text = text[n:]
	}
}

func (c *conversation) stderr(text string) { c.send(7, text) }

func (c *conversation) end(status byte) {
	c.send(6, "")
	c.send(3, string([]byte{0, 0, 0, 9, status, 0, 0, 0}))
}
