package configloader

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// world is variables and files of a test.
type world struct {
	mu  sync.Mutex
	env map[string]string
}

func (w *world) set(name, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.env[name] = value
}

func (w *world) Lookup(name string) (any, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, ok := strings.CutPrefix(name, "env.")
	return w.env[v], ok
}

func newWorld() *world { return &world{env: map[string]string{}} }

func build(t *testing.T, w *world, text string) module.Result {
	t.Helper()
	table, err := module.NewTable(Specs(), nil)
	if err != nil {
		t.Fatal(err)
	}
	n, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b := &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Globals: w, Services: module.Services{}}}
	return b.Build(nil, Namespace+".http", n, module.Options{})
}

func loader(t *testing.T, w *world, text string) *httpLoader {
	t.Helper()
	r := build(t, w, text)
	if len(r.Problems)+len(r.Warnings) > 0 {
		t.Fatal(r.Problems, r.Warnings)
	}
	return r.Root.Value().(*httpLoader)
}

// network is servers by their address, over connections in memory.
type network struct {
	t       *testing.T
	mu      sync.Mutex
	servers map[string]chan net.Conn
	dials   []time.Time
	fail    int // how many dials fail
}

func newNetwork(t *testing.T) *network { return &network{t: t, servers: map[string]chan net.Conn{}} }

type listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *listener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// serve runs a server until the end of the test.
func (n *network) serve(address string, config *tls.Config, h http.HandlerFunc) (stop func()) {
	ln := &listener{conns: make(chan net.Conn), done: make(chan struct{})}
	n.servers[address] = ln.conns
	s := &http.Server{Handler: h, TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if config != nil {
			_ = s.ServeTLS(ln, "", "")
			return
		}
		_ = s.Serve(ln)
	}()
	return func() { _ = s.Close(); ln.Close(); <-ended }
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dials = append(n.dials, time.Now())
	failing := len(n.dials) <= n.fail
	n.mu.Unlock()
	conns := n.servers[address]
	if failing || conns == nil {
		return nil, errors.New("connection refused")
	}
	here, there := pipe()
	select {
	case conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *network) load(l *httpLoader, limit int64, id Identity) (Text, error) {
	l.dial = n.dial
	return l.Load(context.Background(), Call{Limit: limit, Identity: id})
}

const megabyte = 1 << 20

// pipe is a net.Pipe whose writes do not wait for reads: of a handshake that
// fails both ends write.
func pipe() (net.Conn, net.Conn) {
	a, b := net.Pipe()
	return newBuffered(a), newBuffered(b)
}

type buffered struct {
	net.Conn
	mu   sync.Mutex
	more *sync.Cond
	out  []byte
	done bool
}

func newBuffered(c net.Conn) *buffered {
	b := &buffered{Conn: c}
	b.more = sync.NewCond(&b.mu)
	go b.flush()
	return b
}

func (b *buffered) flush() {
	defer b.Conn.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for len(b.out) == 0 && !b.done {
			b.more.Wait()
		}
		out := b.out
		if b.out = nil; len(out) == 0 {
			return
		}
		b.mu.Unlock()
		_, err := b.Conn.Write(out)
		b.mu.Lock()
		b.done = b.done || err != nil
	}
}

func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return 0, net.ErrClosed
	}
	b.out = append(b.out, p...)
	b.more.Signal()
	return len(p), nil
}

// Close lets what was written go out, and what the other end writes in.
func (b *buffered) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.done {
		b.done = true
		b.more.Signal()
		go func() { _, _ = io.Copy(io.Discard, b.Conn) }()
	}
	return nil
}

func (b *buffered) SetWriteDeadline(time.Time) error { return nil }

func TestRequest(t *testing.T) {
	w := newWorld()
	w.set("TOKEN", "first")
	w.set("HOST", "config.test")
	l := loader(t, w, `{"method":"post","url":"http://u:{env.TOKEN}@{env.HOST}/a/b?node=1","header":{"X-Token":["{env.TOKEN}","two"],"X-{env.HOST}":["v"],"Host":["other.test"]}}`)
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		var got *http.Request
		defer n.serve("config.test:80", nil, func(w http.ResponseWriter, r *http.Request) {
			got = r.Clone(context.Background())
			w.Header().Set("Content-Type", "text/caddyfile; charset=utf-8")
			fmt.Fprint(w, "hello")
		})()
		text, err := n.load(l, megabyte, nil)
		if err != nil || string(text.Body) != "hello" || text.ContentType != "text/caddyfile; charset=utf-8" {
			t.Fatalf("%+v %v", text, err)
		}
		user, password, _ := got.BasicAuth()
		if got.Method != "post" || got.RequestURI != "/a/b?node=1" || got.Host != "other.test" || user != "u" || password != "first" ||
			strings.Join(got.Header["X-Token"], " ") != "first two" || got.Header.Get("X-Config.test") != "v" || got.UserAgent() != "sluice" {
			t.Errorf("%+v", got)
		}
		w.set("TOKEN", "second") // read anew for each request
		if _, err := n.load(l, megabyte, nil); err != nil || got.Header.Get("X-Token") != "second" {
			t.Errorf("%v %v", err, got.Header)
		}
	})
	if l.Source() != "http://{env.HOST}/a/b" {
		t.Errorf("source %s", l.Source())
	}
}

func TestPlainURL(t *testing.T) {
	for text, want := range map[string]string{
		"http://h/p":                             "http://h/p",
		"http://u:p@h:1/p?q=s#f":                 "http://h:1/p",
		"http://h/p@q":                           "http://h/p@q",
		"http://u:p@h":                           "http://h",
		"http://u:a@b@h/":                        "http://h/",
		"{env.URL}":                              "{env.URL}",
		"http://{file./run/pw}@h/{env.X?y}?z":    "http://h/{env.X?y}",
		"https://u:{file./a@b}@{env.H}/x#secret": "https://{env.H}/x",
		"u:p@h/x?y":                              "h/x",
		"":                                       "",
	} {
		if got := plainURL(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestTries: ten tries, half a second apart, for what may pass (section 15 rule
// 1).
func TestTries(t *testing.T) {
	answer := func(statuses ...int) func(int) int {
		return func(i int) int { return statuses[min(i, len(statuses)-1)] }
	}
	for name, c := range map[string]struct {
		fail   int
		status func(i int) int
		tries  int
		err    string
	}{
		"at once":          {0, answer(200), 1, ""},
		"refused twice":    {2, answer(200), 3, ""},
		"always refused":   {99, answer(200), 10, "after 10 tries: connection refused"},
		"500 then 200":     {0, answer(500, 503, 200), 3, ""},
		"always 500":       {0, answer(500), 10, "after 10 tries: server responded with HTTP 500"},
		"tenth":            {9, answer(200), 10, ""},
		"404":              {0, answer(404), 1, "server responded with HTTP 404"},
		"499":              {0, answer(499), 1, "server responded with HTTP 499"},
		"refused, 403":     {1, answer(403), 2, "server responded with HTTP 403"},
		"304":              {0, answer(304), 1, "server responded with HTTP 304"},
		"299":              {0, answer(299), 1, ""},
		"redirect nowhere": {0, answer(300), 1, "server responded with HTTP 300"},
	} {
		t.Run(name, func(t *testing.T) {
			l := loader(t, newWorld(), `{"url":"http://c.test"}`)
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				n.fail = c.fail
				asked := 0
				defer n.serve("c.test:80", nil, func(w http.ResponseWriter, _ *http.Request) {
					status := c.status(asked)
					asked++
					w.WriteHeader(status)
				})()
				begin := time.Now()
				_, err := n.load(l, megabyte, nil)
				if (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
					t.Errorf("error %v, want %q", err, c.err)
				}
				if len(n.dials) != c.tries || time.Since(begin) != time.Duration(c.tries-1)*tryAgainIn {
					t.Errorf("%d tries in %v, want %d", len(n.dials), time.Since(begin), c.tries)
				}
			})
		})
	}
}

func TestTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{`{"url":"http://c.test","timeout":"2s"}`: 2 * time.Second, `{"url":"http://c.test"}`: defaultTimeout} {
		l := loader(t, newWorld(), text)
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t)
			asked := 0
			defer n.serve("c.test:80", nil, func(w http.ResponseWriter, r *http.Request) {
				if asked++; asked%2 == 0 { // half a body is no answer either
					w.Header().Set("Content-Length", "100")
					_, _ = io.WriteString(w, "half")
					_ = http.NewResponseController(w).Flush()
				}
				<-r.Context().Done()
			})()
			begin := time.Now()
			_, err := n.load(l, megabyte, nil)
			if err == nil || !strings.Contains(err.Error(), "within "+want.String()) {
				t.Errorf("%v", err)
			}
			if took := time.Since(begin); took != tries*want+(tries-1)*tryAgainIn {
				t.Errorf("%s: took %v", text, took)
			}
		})
	}
}

// TestCancel: a load that nobody waits for ends at once, in a try and between
// two.
func TestCancel(t *testing.T) {
	for _, after := range []time.Duration{200 * time.Millisecond, 1200 * time.Millisecond} {
		l := loader(t, newWorld(), `{"url":"http://c.test"}`)
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t)
			n.fail = 2
			defer n.serve("c.test:80", nil, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })()
			l.dial = n.dial
			cause := errors.New("enough")
			ctx, cancel := context.WithCancelCause(context.Background())
			time.AfterFunc(after, func() { cancel(cause) })
			begin := time.Now()
			_, err := l.Load(ctx, Call{Limit: megabyte})
			if !errors.Is(err, cause) || time.Since(begin) != after {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	}
}

func TestBounds(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 10*megabyte))
	_ = z.Close()
	l := loader(t, newWorld(), `{"url":"http://c.test/x"}`)
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		defer n.serve("c.test:80", nil, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/x":
				_, _ = w.Write(make([]byte, megabyte))
			case "/bomb":
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(bomb.Bytes())
			case "/header":
				w.Header().Set("X", strings.Repeat("a", 2*maxHeaderBytes))
			}
		})()
		if text, err := n.load(l, megabyte, nil); err != nil || len(text.Body) != megabyte {
			t.Errorf("%d %v", len(text.Body), err)
		}
		if _, err := n.load(l, megabyte-1, nil); err == nil || !strings.Contains(err.Error(), "longer than the limit of 1048575 bytes") {
			t.Error(err)
		}
		dials := len(n.dials)
		l.url = vars.Parse("http://c.test/bomb")
		if _, err := n.load(l, megabyte, nil); err == nil || !strings.Contains(err.Error(), "longer than the limit") || len(n.dials) != dials+1 {
			t.Error(err, len(n.dials)-dials)
		}
		l.url = vars.Parse("http://c.test/header")
		if _, err := n.load(l, megabyte, nil); err == nil {
			t.Error("a header of any length is read")
		}
	})
}

func TestRedirects(t *testing.T) {
	l := loader(t, newWorld(), `{"url":"http://a.test/start?token=secret","header":{"X-Token":["secret"]}}`)
	ca := newAuthority(t)
	for path, c := range map[string]struct{ to, err string }{
		"same":      {"/end", ""},
		"other":     {"http://b.test/end", ""},
		"loop":      {"/start", "the server redirects more than 10 times"},
		"file":      {"file:///etc/passwd", "no web server"},
		"upgrade":   {"https://a.test/end", ""},
		"downwards": {"https://a.test/down", "from https to http"},
	} {
		t.Run(path, func(t *testing.T) {
			l.tls.RootCAPEMFiles = []string{ca.file}
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				var last *http.Request
				h := func(w http.ResponseWriter, r *http.Request) {
					switch last = r.Clone(context.Background()); r.URL.Path {
					case "/start":
						http.Redirect(w, r, c.to, http.StatusFound)
					case "/down":
						http.Redirect(w, r, "http://a.test/end", http.StatusFound)
					default:
						fmt.Fprint(w, "end")
					}
				}
				pair := ca.issue(t, "a.test", x509.ExtKeyUsageServerAuth)
				defer n.serve("a.test:80", nil, h)()
				defer n.serve("b.test:80", nil, h)()
				defer n.serve("a.test:443", &tls.Config{Certificates: []tls.Certificate{pair}, Time: time.Now, NextProtos: []string{"http/1.1"}}, h)()
				text, err := n.load(l, megabyte, nil)
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "secret") {
						t.Fatal(err)
					}
					return
				}
				if err != nil || string(text.Body) != "end" {
					t.Fatalf("%s %v", text.Body, err)
				}
				if token := last.Header.Get("X-Token"); (token == "") != (path == "other") {
					t.Errorf("token %q at %s", token, last.Host)
				}
				if path == "other" && last.Referer() != "" {
					t.Errorf("the other server is told of %s", last.Referer())
				}
			})
		})
	}
}

// authority issues certificates for tests, valid also in the year 2000, in which
// synctest begins.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.file = a.write(t, "ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (a *authority) issue(t *testing.T, name string, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	cert, key := a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{usage}})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(a.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// writePair writes a certificate and its key.
func (a *authority) writePair(t *testing.T, pair tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return a.write(t, "client.pem", "CERTIFICATE", pair.Certificate[0]), a.write(t, "client.key", "PRIVATE KEY", der)
}

// identity is who a test is; it comes into being after some time.
type identity struct {
	pair  tls.Certificate
	after time.Time
}

func (i identity) ClientCertificate(ctx context.Context) (*tls.Certificate, error) {
	select {
	case <-time.After(time.Until(i.after)):
		return &i.pair, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	client := ours.issue(t, "client", x509.ExtKeyUsageClientAuth)
	cert, key := ours.writePair(t, client)
	self := ours.issue(t, "self", x509.ExtKeyUsageClientAuth)
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	for name, c := range map[string]struct {
		settings string
		identity time.Duration // how long it takes; <0 is for ever
		client   string        // whom the server sees
		err      string
	}{
		"client certificate": {fmt.Sprintf(`{"root_ca_pem_files":[%q,%q],"client_certificate_file":%q,"client_certificate_key_file":%q}`, theirs.file, ours.file, cert, key), 0, "client", ""},
		"identity":           {fmt.Sprintf(`{"root_ca_pem_files":[%q],"use_server_identity":true}`, ours.file), 0, "self", ""},
		"slow identity":      {fmt.Sprintf(`{"root_ca_pem_files":[%q],"use_server_identity":true}`, ours.file), 40 * time.Second, "self", ""},
		"no identity":        {fmt.Sprintf(`{"root_ca_pem_files":[%q],"use_server_identity":true}`, ours.file), time.Hour, "", "certificate of this instance"},
		"no certificate":     {fmt.Sprintf(`{"root_ca_pem_files":[%q]}`, ours.file), 0, "", "certificate required"},
		"unknown authority":  {fmt.Sprintf(`{"root_ca_pem_files":[%q]}`, theirs.file), 0, "", "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			l := loader(t, newWorld(), `{"url":"https://c.test/","tls":`+c.settings+`}`)
			if l.NeedsIdentity() != strings.Contains(name, "identity") {
				t.Error("needs identity: ", l.NeedsIdentity())
			}
			server := ours.issue(t, "c.test", x509.ExtKeyUsageServerAuth)
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				seen := ""
				defer n.serve("c.test:443", &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, NextProtos: []string{"http/1.1"}}, func(w http.ResponseWriter, r *http.Request) {
					seen = r.TLS.PeerCertificates[0].Subject.CommonName
					fmt.Fprint(w, "{}")
				})()
				_, err := n.load(l, megabyte, identity{self, time.Now().Add(c.identity)})
				if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				if seen != c.client {
					t.Errorf("the server sees %q, want %q", seen, c.client)
				}
			})
		})
	}
}

// TestRenewedFiles: a certificate that was renewed on disk is shown by the next
// request, without a load.
func TestRenewedFiles(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.writePair(t, ca.issue(t, "old", x509.ExtKeyUsageClientAuth))
	l := loader(t, newWorld(), fmt.Sprintf(`{"url":"https://c.test/","tls":{"root_ca_pem_files":[%q],"client_certificate_file":%q,"client_certificate_key_file":%q}}`, ca.file, cert, key))
	server := ca.issue(t, "c.test", x509.ExtKeyUsageServerAuth)
	renewed := ca.issue(t, "new", x509.ExtKeyUsageClientAuth)
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		seen := ""
		defer n.serve("c.test:443", &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"http/1.1"}}, func(_ http.ResponseWriter, r *http.Request) {
			seen = r.TLS.PeerCertificates[0].Subject.CommonName
		})()
		if _, err := n.load(l, megabyte, nil); err != nil || seen != "old" {
			t.Fatal(seen, err)
		}
		ca.writePair(t, renewed)
		if _, err := n.load(l, megabyte, nil); err != nil || seen != "new" {
			t.Error(seen, err)
		}
		if err := os.WriteFile(key, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := n.load(l, megabyte, nil); err == nil || !strings.Contains(err.Error(), "client certificate of "+cert) {
			t.Error(err)
		}
	})
}

func TestConfigProblems(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.writePair(t, ca.issue(t, "client", x509.ExtKeyUsageClientAuth))
	w := newWorld()
	w.set("SECRET", "very secret\nvalue")
	for _, c := range []struct{ text, pointer, message string }{
		{`{}`, "", `required field "url" is missing`},
		{`{"url":""}`, "/url", "no URL of a web server"},
		{`{"url":"ftp://h/"}`, "/url", "want http:// or https://"},
		{`{"url":"/only/a/path"}`, "/url", "no URL of a web server"},
		{`{"url":"{env.MISSING}"}`, "/url", "{env.MISSING} is no URL"},
		{`{"url":"http://{env.SECRET}/"}`, "/url", "no URL of a web server"},
		{`{"url":"http://h","method":"G T"}`, "/method", "not an HTTP method"},
		{`{"url":"http://h","header":{"a b/c":["x"]}}`, "/header/a b~1c", "not the name"},
		{`{"url":"http://h","header":{"A":["{env.SECRET}"]}}`, "/header/A", "header field A"},
		{`{"url":"http://h","timeout":"-1s"}`, "/timeout", "-1s"},
		{`{"url":"http://h","timeout":"soon"}`, "/timeout", "invalid duration"},
		{`{"url":"http://h","adapter":"yaml"}`, "/adapter", "yaml"},
		{`{"url":"http://h","tls":{"client_certificate_file":"x"}}`, "/tls/client_certificate_file", "without a key"},
		{`{"url":"http://h","tls":{"client_certificate_key_file":"x"}}`, "/tls/client_certificate_key_file", "without a certificate"},
		{`{"url":"http://h","tls":{"client_certificate_file":"/none","client_certificate_key_file":"/none"}}`, "/tls/client_certificate_file", "no such file"},
		{fmt.Sprintf(`{"url":"http://h","tls":{"client_certificate_file":%q,"client_certificate_key_file":%q}}`, cert, ca.file), "/tls/client_certificate_file", "with the key of"},
		{fmt.Sprintf(`{"url":"http://h","tls":{"use_server_identity":true,"client_certificate_file":%q,"client_certificate_key_file":%q}}`, cert, key), "/tls/use_server_identity", "exclude each other"},
		{fmt.Sprintf(`{"url":"http://h","tls":{"root_ca_pem_files":[%q,%q]}}`, ca.file, key), "/tls/root_ca_pem_files/1", "no certificate in it"},
		{`{"url":"http://h","uri":"x"}`, "/uri", "unknown field"},
	} {
		r := build(t, w, c.text)
		if len(r.Problems) != 1 || r.Problems[0].Pointer != c.pointer || !strings.Contains(r.Problems[0].String(), c.message) {
			t.Errorf("%s: %v, want %s: %s", c.text, r.Problems, c.pointer, c.message)
		}
		if strings.Contains(fmt.Sprint(r.Problems), "very secret") {
			t.Errorf("%s: a secret is shown: %v", c.text, r.Problems)
		}
	}
}

// TestNoSecrets: whatever fails, neither credentials nor query are shown.
func TestNoSecrets(t *testing.T) {
	w := newWorld()
	w.set("PW", "secret")
	l := loader(t, w, `{"url":"http://user:{env.PW}@c.test/x?token=secret","header":{"Authorization":["secret"]},"timeout":"1s"}`)
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		for _, h := range []http.HandlerFunc{
			nil,
			func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://no.test/?token=secret", http.StatusFound)
			},
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) },
		} {
			stop := func() {}
			if h != nil {
				stop = n.serve("c.test:80", nil, h)
			}
			_, err := n.load(l, megabyte, nil)
			if err == nil || strings.Contains(err.Error()+l.Source(), "secret") {
				t.Errorf("%v", err)
			}
			stop()
		}
	})
}
