package endpoint

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/admin/identity"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/porttest"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/certstore"
	"github.com/sluiceproxy/sluice/server/configloader"
	"github.com/sluiceproxy/sluice/server/networkproxy"
	"github.com/sluiceproxy/sluice/server/pki"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// engine applies every change to a document in memory.
type engine struct {
	mu     sync.Mutex
	doc    *config.Doc
	number uint64
	// origins is those of the changes.
	origins []string
}

func newEngine(t *testing.T, document string) *engine {
	t.Helper()
	n, _, err := config.Parse([]byte(document), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := config.NewDoc(n)
	if err != nil {
		t.Fatal(err)
	}
	return &engine{doc: doc}
}

func (e *engine) Document() (*config.Doc, uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.doc, e.number
}

func (e *engine) Apply(_ context.Context, c server.Change) (server.Report, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.origins = append(e.origins, c.Origin)
	next, err := e.doc.Apply(c.Edit)
	if err != nil {
		return server.Report{}, err
	}
	changed := next != e.doc
	if changed {
		e.doc, e.number = next, e.number+1
	}
	return server.Report{Revision: e.number, Changed: changed}, nil
}

// loader applies admin objects as the engine does.
type loader struct {
	t       *testing.T
	builder *module.Builder
	sockets *Sockets
	logs    *observer.ObservedLogs
	tree    *module.Built
	node    *config.Node
	env     map[string]string
	// identity is the certificates of the process, kept in files, and engine what
	// the API changes.
	identity *identity.Service
	files    *certstore.FileSystem
	roots    func() *x509.CertPool
	engine   *engine
}

func newLoader(t *testing.T, defaultAddress string) *loader {
	t.Helper()
	table, err := module.NewTable(slices.Concat([]module.Spec{Spec()}, issuance.Specs(), dnsproviders.Specs(), networkproxy.Specs(), pki.Specs(), configloader.Specs()), nil)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.InfoLevel)
	l := &loader{t: t, logs: logs, env: map[string]string{}, sockets: NewSockets(SocketsOptions{Default: defaultAddress, Log: zap.New(core)})}
	services := module.Services{}
	module.Provide(services, l.sockets)
	l.addIdentity(services)
	l.builder = &module.Builder{Table: table, Sources: module.Sources{
		ReadFile: os.ReadFile,
		Globals: vars.Func(func(name string) (any, bool) {
			v, ok := strings.CutPrefix(name, "env.")
			return l.env[v], ok
		}),
		Services: services,
	}}
	l.engine = newEngine(t, "{}")
	l.sockets.Serve(admin.New(admin.Deps{Engine: l.engine}))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := l.sockets.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return l
}

// build compiles an admin object on top of the one in force.
func (l *loader) build(text string, force bool) module.Result {
	l.t.Helper()
	n, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		l.t.Fatal(err)
	}
	if l.node != nil {
		n = config.Reuse(l.node, n)
	}
	r := l.builder.Build(l.tree, SpecID, n, module.Options{Force: force})
	if len(r.Problems) == 0 {
		l.node = n
	}
	return r
}

// load puts an admin object into force, or returns why that is not possible.
func (l *loader) load(text string) error {
	l.t.Helper()
	r := l.build(text, true)
	if len(r.Problems) > 0 {
		return r.Problems
	}
	old := l.tree
	for _, b := range r.New {
		for _, res := range b.Owned() {
			if err := res.Prepare(); err != nil {
				return err
			}
		}
	}
	for _, b := range r.New {
		for _, res := range b.Owned() {
			res.Start()
		}
	}
	l.tree = r.Root
	if old != nil && len(r.New) > 0 {
		for _, res := range old.Owned() {
			res.Close()
		}
	}
	return nil
}

func (l *loader) must(text string) {
	l.t.Helper()
	if err := l.load(text); err != nil {
		l.t.Fatalf("%s: %v", text, err)
	}
}

// where returns the only open address as host:port.
func (l *loader) where() string {
	l.t.Helper()
	list := l.sockets.Addresses()
	if len(list) != 1 {
		l.t.Fatalf("open addresses: %v", list)
	}
	return strings.TrimPrefix(list[0], "tcp/")
}

// client is one connection that is kept.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	host string
}

func dial(t *testing.T, network, address string) *client {
	t.Helper()
	conn, err := net.DialTimeout(network, address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn, bufio.NewReader(conn), address}
}

func newReader(conn net.Conn) *bufio.Reader { return bufio.NewReader(conn) }

func (c *client) get(path string, header ...string) *http.Response {
	c.t.Helper()
	_ = c.conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: %s\r\n", path, c.host)
	for _, h := range header {
		fmt.Fprintf(c.conn, "%s\r\n", h)
	}
	fmt.Fprint(c.conn, "\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		c.t.Fatal(err)
	}
	return resp
}

// closed reports whether the server closes the connection.
func (c *client) closed() bool {
	_ = c.conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, err := c.r.ReadByte()
	return errors.Is(err, io.EOF)
}

func freePort(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(porttest.Free(t, 1)[0])
}

func TestEditKeepsConnection(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	l.must(`null`)
	first := l.where()
	c := dial(t, "tcp", first)
	if r := c.get("/config/"); r.StatusCode != 200 || r.Close {
		t.Fatalf("%d", r.StatusCode)
	}
	l.must(`{"enforce_origin": true}`)
	if r := c.get("/config/"); r.StatusCode != 403 || r.Close {
		t.Errorf("an edit is not in force on an old connection: %d", r.StatusCode)
	}
	l.env["T"] = "a-long-enough-token"
	l.must(`{"tokens": [{"env": "T"}]}`)
	if r := c.get("/config/"); r.StatusCode != 401 {
		t.Errorf("%d", r.StatusCode)
	}
	if r := c.get("/config/", "Authorization: Bearer a-long-enough-token"); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
	l.env["T"] = "another-long-token"
	l.must(`{"tokens": [{"env": "T"}]}`) // forced, so the variable is read again
	if r := c.get("/config/", "Authorization: Bearer another-long-token"); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
	l.must(`{"listen": "` + strings.Replace(first, "127.0.0.1", "localhost", 1) + `"}`)
	if r := c.get("/config/"); r.StatusCode != 200 || r.Close {
		t.Errorf("another name for the address: %d", r.StatusCode)
	}
	if n := l.logs.FilterMessage("admin endpoint started").Len(); n != 1 {
		t.Errorf("started %d times", n)
	}
	if e := l.logs.FilterMessage("admin endpoint started").All()[0].ContextMap(); e["enforce_origin"] != false || fmt.Sprint(e["origins"].([]any)[0]) != "//localhost:"+first[len("127.0.0.1:"):] {
		t.Errorf("logged %v", e)
	}
}

func TestChangeOfAddress(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	l.must(`null`)
	first := l.where()
	idle, busy := dial(t, "tcp", first), dial(t, "tcp", first)
	idle.get("/config/")
	busy.get("/config/")
	// A request that is on its way while the address changes.
	fmt.Fprintf(busy.conn, "POST /load HTTP/1.1\r\nHost: %s\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", first)
	busy.arrived()
	fmt.Fprint(busy.conn, "{")
	l.must(`{"listen": "127.0.0.1:` + freePort(t) + `"}`)
	second := l.where()
	if second == first {
		t.Fatal("the address is the same")
	}
	if !idle.closed() {
		t.Error("an idle connection is left open")
	}
	if _, err := net.DialTimeout("tcp", first, time.Second); err == nil {
		t.Error("the old address still accepts")
	}
	fmt.Fprint(busy.conn, "}")
	_ = busy.conn.SetDeadline(time.Now().Add(5 * time.Second))
	resp, err := http.ReadResponse(busy.r, nil)
	if err != nil || resp.StatusCode != 200 || !resp.Close {
		t.Fatalf("the old connection got %v %v", resp, err)
	}
	if r := dial(t, "tcp", second).get("/config/"); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
	l.must(`{"listen": "` + first + `"}`)
	if r := dial(t, "tcp", first).get("/config/"); r.StatusCode != 200 {
		t.Errorf("back: %d", r.StatusCode)
	}
}

// arrived waits until the server reads the body of a request that expects
// 100-continue, which is when it says so.
func (c *client) arrived() {
	c.t.Helper()
	_ = c.conn.SetDeadline(time.Now().Add(5 * time.Second))
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil || resp.StatusCode != http.StatusContinue {
		c.t.Fatalf("the request did not arrive: %v %v", resp, err)
	}
}

// TestOverlap moves between addresses that are in each other's way.
func TestOverlap(t *testing.T) {
	port := freePort(t)
	l := newLoader(t, "localhost:"+port)
	for _, listen := range []string{"localhost:", ":", "127.0.0.1:", "0.0.0.0:", "127.0.0.2:", "[::]:", "localhost:"} {
		l.must(fmt.Sprintf(`{"listen": %q}`, listen+port))
		ip := "127.0.0.1:"
		if listen == "127.0.0.2:" {
			ip = listen
		}
		c := dial(t, "tcp", ip+port)
		if listen == "127.0.0.2:" {
			c.host = "localhost:" + port // the address itself is not among the default names
		}
		if r := c.get("/config/"); r.StatusCode != 200 {
			t.Errorf("%s: %d", listen, r.StatusCode)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	l.must(`null`)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	before := l.where()
	c := dial(t, "tcp", before)
	c.get("/config/")
	err = l.load(fmt.Sprintf(`{"listen": %q, "enforce_origin": true}`, ln.Addr()))
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Fatalf("error %v", err)
	}
	if r := c.get("/config/"); r.StatusCode != 200 || l.where() != before {
		t.Errorf("the endpoint in force has changed: %d", r.StatusCode)
	}
}

func TestRejectedChangeLeavesNothing(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	l.must(`null`)
	before := l.where()
	r := l.build(`{"listen": "127.0.0.1:`+freePort(t)+`"}`, false)
	for _, b := range r.New {
		for _, res := range b.Owned() {
			if err := res.Prepare(); err != nil {
				t.Fatal(err)
			}
			if n := len(l.sockets.Addresses()); n != 2 {
				t.Errorf("%d listeners after Prepare", n)
			}
			res.Close()
		}
	}
	if l.where() != before {
		t.Errorf("now at %s", l.where())
	}
}

func TestDisabled(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	l.must(`null`)
	at := l.where()
	l.must(`{"disabled": true}`)
	if n := l.sockets.Addresses(); len(n) != 0 {
		t.Errorf("still open: %v", n)
	}
	if _, err := net.DialTimeout("tcp", at, time.Second); err == nil {
		t.Error("still accepts")
	}
	if l.logs.FilterMessage("admin endpoint disabled").Len() != 1 {
		t.Error("not logged")
	}
	l.must(`{}`)
	dial(t, "tcp", at).get("/config/")
}

func TestUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "sluice")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s.sock")
	l := newLoader(t, "unix/"+path)
	mode := func(want fs.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Fatalf("%v %v, want mode %v", info, err, want)
		}
	}
	// A socket that a dead process left behind.
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	l.must(`{}`)
	mode(0o200)
	if l.logs.FilterMessage("admin endpoint on open interface; host checking disabled").Len() != 1 {
		t.Error("no warning about the open interface")
	}
	c := dial(t, "unix", path)
	c.host = "127.0.0.1"
	if r := c.get("/config/"); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
	if r := c.get("/config/", "Origin: http://localhost:2019"); r.StatusCode != 403 {
		t.Errorf("with an origin: %d", r.StatusCode)
	}
	l.must(`{"listen": "unix/` + path + `|0660"}`)
	mode(0o660)
	if r := c.get("/config/"); r.StatusCode != 200 {
		t.Errorf("another mode ended a connection: %d", r.StatusCode)
	}
	if err := l.load(`{"listen": "unix/` + path + `|0440"}`); err == nil || !strings.Contains(err.Error(), "0200") {
		t.Errorf("mode without writing: %v", err)
	}
	other := newLoader(t, "unix/"+path)
	if err := other.load(`{}`); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second process: %v", err)
	}
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.load(`{"listen": "unix/` + plain + `"}`); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("a file in the way: %v", err)
	}
	if text, err := os.ReadFile(plain); err != nil || string(text) != "x" {
		t.Errorf("the file is gone: %v", err)
	}
	l.must(`{"disabled": true}`)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestInheritedDescriptor(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	defer ln.Close()
	l := newLoader(t, "")
	text := fmt.Sprintf(`{"listen": "fd/%d"}`, f.Fd())
	for range 2 {
		l.must(text)
		if r := dial(t, "tcp", ln.Addr().String()).get("/config/"); r.StatusCode != 200 {
			t.Errorf("%d", r.StatusCode)
		}
		l.must(`{"disabled": true}`)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := l.load(fmt.Sprintf(`{"listen": "fd/%d"}`, null.Fd())); err == nil || !strings.Contains(err.Error(), "not that of a listening socket") {
		t.Errorf("a file: %v", err)
	}
}

func TestPortOfTheSystemsChoice(t *testing.T) {
	l := newLoader(t, "")
	l.must(`{"listen": "localhost:0"}`)
	_, port, err := net.SplitHostPort(l.where())
	if err != nil || port == "0" {
		t.Fatalf("%q %v", port, err)
	}
	c := dial(t, "tcp", "127.0.0.1:"+port)
	if r := c.get("/config/"); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
	l.must(`{"listen": "localhost:0", "enforce_origin": true}`)
	if r := c.get("/config/", "Origin: http://localhost:"+port); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
}

func TestBeforeTheAPI(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	l.sockets.api.Store(nil)
	l.must(`null`)
	c := dial(t, "tcp", l.where())
	if r := c.get("/config/"); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d", r.StatusCode)
	}
	l.sockets.Serve(admin.New(admin.Deps{Engine: newEngine(t, "{}")}))
	if r := c.get("/config/"); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
}

// TestLocked: an endpoint whose rules turn out to be wrong after all opens, but
// lets nobody in.
func TestLocked(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	r := l.build(`{"origins": ["panel.test"]}`, false)
	if len(r.Problems) > 0 {
		t.Fatal(r.Problems)
	}
	e := r.Root.Value().(*Endpoint)
	e.options.Origins = []string{"http://"}
	if err := e.Prepare(); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	e.Start()
	c := dial(t, "tcp", l.where())
	for _, path := range []string{"/config/", "/healthz", "/readyz"} {
		if r := c.get(path); r.StatusCode != 403 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
	if l.logs.FilterMessage("admin endpoint locked").Len() != 1 {
		t.Error("not logged")
	}
}

func TestConfigProblems(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const secret = "very-secret-token"
	good := write("good", secret+"\n")
	empty := write("empty", "\n")
	spaces := write("spaces", secret+" and more")
	long := write("long", strings.Repeat(secret, 1000))
	for _, c := range []struct {
		text, pointer, message string
	}{
		{`{"listen": "localhost:2019-2020"}`, "/listen", "must be exactly one listener address; cannot listen on: "},
		{`{"listen": "udp/localhost:2019"}`, "/listen", "datagram"},
		{`{"listen": "localhost:99999"}`, "/listen", "99999"},
		{`{"listen": "{env.MISSING}"}`, "/listen", "env.MISSING"},
		{`{"listen": "{nonsense}:1"}`, "/listen", "nonsense"},
		{`{"origins": ["ok", "http://"]}`, "/origins/1", "is not an origin"},
		{`{"config": {"load": {"module": "http"}}}`, "/config/load", `"url" is missing`},
		{`{"config": {"load": {"module": "ftp"}}}`, "/config/load/module", "unknown module: caddy.config_loaders.ftp"},
		{`{"config": {"load": {"url": "http://h"}}}`, "/config/load", "module name not specified"},
		{`{"config": {"load_delay": "-5s", "load": {"module": "http", "url": "http://h"}}}`, "/config/load_delay", "must not be negative"},
		{`{"config": {"load": {"module": "http", "url": "https://h", "tls": {"use_server_identity": true}}}}`, "/config/load", "name it in admin.identity"},
		{`{"lissten": "x"}`, "/lissten", `unknown field "lissten"`},
		{`{"tokens": []}`, "/tokens", "nobody could use"},
		{`{"tokens": [{}]}`, "/tokens/0", "either file or env"},
		{`{"tokens": [{"file": "a", "env": "b"}]}`, "/tokens/0", "either file or env"},
		{`{"tokens": [{"file": "` + good + `"}, {"file": "` + dir + `/none"}]}`, "/tokens/1", "no such file"},
		{`{"tokens": [{"file": "` + empty + `"}]}`, "/tokens/0", "empty"},
		{`{"tokens": [{"file": "` + spaces + `"}]}`, "/tokens/0", "one word"},
		{`{"tokens": [{"file": "` + long + `"}]}`, "/tokens/0", "longer than 4096"},
		{`{"tokens": [{"env": "MISSING"}]}`, "/tokens/0", "env.MISSING"},
		{`{"tokens": [{"env": "A}{file./etc/passwd"}]}`, "/tokens/0", "name of an environment variable"},
		{`{"tokens": [{"token": "literal"}]}`, "/tokens/0/token", "unknown field"},
	} {
		l := newLoader(t, "")
		r := l.build(c.text, false)
		if len(r.Problems) != 1 || r.Problems[0].Pointer != c.pointer || !strings.Contains(r.Problems[0].Message, c.message) {
			t.Errorf("%s: %v, want %s: %s", c.text, r.Problems, c.pointer, c.message)
		}
		if strings.Contains(fmt.Sprint(r.Problems), secret) {
			t.Errorf("%s: a token is shown: %v", c.text, r.Problems)
		}
		if n := l.sockets.Addresses(); len(n) != 0 {
			t.Errorf("%s: compiling opened %v", c.text, n)
		}
	}
}

func TestConfigWarnings(t *testing.T) {
	l := newLoader(t, "")
	l.env["SHORT"], l.env["PORT"] = "abc", "2020"
	r := l.build(`{"listen": "localhost:{env.PORT}", "tokens": [{"env": "SHORT"}], "config": {"persist": false}}`, false)
	pointers := map[string]bool{}
	for _, w := range r.Warnings {
		pointers[w.Pointer] = true
		if strings.Contains(w.Message, "abc") {
			t.Errorf("a token is shown: %v", w)
		}
	}
	if len(r.Problems) > 0 || len(r.Warnings) != 2 || !pointers["/tokens/0"] || !pointers["/config/persist"] {
		t.Errorf("%v %v", r.Problems, r.Warnings)
	}
	e := r.Root.Value().(*Endpoint)
	if e.Address().String() != "tcp/localhost:2020" || e.Disabled() {
		t.Errorf("address %s", e.Address())
	}
	for _, text := range []string{`null`, `{}`, `{"config": {"persist": true}}`, `{"origins": null}`} {
		if r := l.build(text, false); len(r.Problems)+len(r.Warnings) > 0 {
			t.Errorf("%s: %v %v", text, r.Problems, r.Warnings)
		}
	}
	l.tree, l.node = nil, nil
	if r := l.build(`null`, false); r.Root.Value().(*Endpoint).Address().String() != "tcp/localhost:2019" {
		t.Errorf("default address %v", r.Root.Value())
	}
}

func TestExamples(t *testing.T) {
	for _, e := range Spec().Examples {
		l := newLoader(t, "")
		l.env["SLUICE_TOKEN"] = "a-long-enough-token"
		if r := l.build(e.JSON, false); len(r.Problems)+len(r.Warnings) > 0 {
			t.Errorf("%s: %v %v", e.Title, r.Problems, r.Warnings)
		}
	}
}

func TestHeaderLimit(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	l.must(`null`)
	c := dial(t, "tcp", l.where())
	if r := c.get("/config/", "X-Fits: "+strings.Repeat("a", 60<<10)); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
	if r := c.get("/config/", "X-Long: "+strings.Repeat("a", 80<<10)); r.StatusCode != 431 {
		t.Errorf("%d", r.StatusCode)
	}
}
