package reverseproxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/server/trust/trusttest"
	"github.com/sluiceproxy/sluice/upstream"
)

// secureBackend is an upstream that speaks TLS and answers with what it saw.
func secureBackend(t *testing.T, cert tls.Certificate) (address string, conns *atomic.Int64) {
	t.Helper()
	conns = new(atomic.Int64)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := "-"
		if len(r.TLS.PeerCertificates) > 0 {
			client = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprintf(w, "%s %s %s %s", r.Proto, r.Host, r.TLS.ServerName, client)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), conns
}

// withFiles is a world in which compiling reads real files.
func withFiles(t *testing.T) *world {
	w := newWorld(t)
	w.builder.Sources.ReadFile = os.ReadFile
	return w
}

func TestTransportTLS(t *testing.T) {
	ca, other := trusttest.New(t), trusttest.New(t)
	up, _ := secureBackend(t, ca.Issue("127.0.0.1", "app.internal", "b.internal"))
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "c.key")
	trusttest.Write(t, ca.Issue("me.internal"), certFile, keyFile)
	mine := fmt.Sprintf(`"client_certificate_file":%q,"client_certificate_key_file":%q`, certFile, keyFile)
	files := fmt.Sprintf(`"root_ca_pem_files":[%q]`, ca.File())
	tests := []struct {
		name, tls, more string // members of tls, and of the transport
		status          int
		want            string
	}{
		{"older files", files, "", 200, "HTTP/2.0 " + up + "  -"},
		{"older list", fmt.Sprintf(`"root_ca_pool":[%q]`, ca.DER()), "", 200, "HTTP/2.0 " + up + "  -"},
		{"inline", fmt.Sprintf(`"ca":{"provider":"inline","trusted_ca_certs":[%q]}`, ca.DER()), "", 200, "HTTP/2.0 " + up + "  -"},
		{"file", fmt.Sprintf(`"ca":{"provider":"file","pem_files":[%q]}`, ca.File()), "", 200, "HTTP/2.0 " + up + "  -"},
		{"combined", fmt.Sprintf(`"ca":{"provider":"combined","sources":[{"provider":"inline","trusted_ca_certs":[%q]},{"provider":"inline","trusted_ca_certs":[%q]}]}`, other.DER(), ca.DER()), "", 200, "HTTP/2.0 " + up + "  -"},
		{"system", `"ca":{"provider":"system"}`, "", 502, "*"},
		{"wrong authority", fmt.Sprintf(`"ca":{"provider":"inline","trusted_ca_certs":[%q]}`, other.DER()), "", 502, "*"},
		{"nothing", ``, "", 502, "*"},
		{"insecure", `"insecure_skip_verify":true`, "", 200, "HTTP/2.0 " + up + "  -"},
		{"client certificate", files + "," + mine, "", 200, "HTTP/2.0 " + up + "  me.internal"},
		{"server name", files + `,"server_name":"app.internal"`, "", 200, "HTTP/2.0 " + up + " app.internal -"},
		{"server name by placeholder", files + `,"server_name":"{http.request.header.X-Name}"`, "", 200, "HTTP/2.0 " + up + " b.internal -"},
		{"wrong server name", files + `,"server_name":"c.internal"`, "", 502, "*"},
		{"1.1", files, `,"versions":["1.1"]`, 200, "HTTP/1.1 " + up + "  -"},
		{"2", files, `,"versions":["2"]`, 200, "HTTP/2.0 " + up + "  -"},
		{"curves", files + `,"curves":["secp521r1"]`, "", 200, "HTTP/2.0 " + up + "  -"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := withFiles(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","tls":{%s}%s}}`, up, tt.tls, tt.more))
			g.front(nil).get("/", "X-Name", "b.internal").want(t, tt.status, tt.want)
		})
	}
}

// REQ-2: the Host is the upstream's for each attempt, unless it is set.
func TestTransportTLSHost(t *testing.T) {
	up, _ := secureBackend(t, trusttest.New(t).Issue("a"))
	const insecure = `"transport":{"protocol":"http","tls":{"insecure_skip_verify":true}}`
	gone := dead(t)
	f := proxy(t, `{"upstreams":[{"dial":%q},{"dial":%q}],"load_balancing":{"retries":1},`+insecure+`}`, up, gone)
	f.get("/", "Host", "client.test").want(t, 200, "HTTP/2.0 "+up+"  -")
	f = proxy(t, `{"upstreams":[{"dial":%q}],"headers":{"request":{"set":{"Host":["{http.request.host}"]}}},`+insecure+`}`, up)
	f.get("/", "Host", "client.test").want(t, 200, "HTTP/2.0 client.test  -")
	f = proxy(t, `{"upstreams":[{"dial":%q},{"dial":%q}],"load_balancing":{"retries":1},`+
		`"headers":{"request":{"replace":{"Host":[{"search":"127","replace":"128"}]}}},`+insecure+`}`, up, gone)
	f.get("/", "Host", "client.test").want(t, 200, "HTTP/2.0 "+strings.Replace(up, "127", "128", 1)+"  -")
}

// Quirk 25: an attempt at a port that is excepted says nothing about the next one.
func TestExceptedPortThenTLS(t *testing.T) {
	up, _ := secureBackend(t, trusttest.New(t).Issue("a"))
	gone := dead(t)
	_, port, _ := net.SplitHostPort(gone)
	plain := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "clear "+r.Host) })
	_, plainPort, _ := net.SplitHostPort(plain)
	transport := fmt.Sprintf(`"transport":{"protocol":"http","tls":{"insecure_skip_verify":true,"except_ports":[%q,%q]}}`, port, plainPort)
	first := `"load_balancing":{"retries":1}`
	// The second upstream is tried first.
	proxy(t, `{"upstreams":[{"dial":%q},{"dial":%q}],`+first+`,`+transport+`}`, up, gone).get("/").want(t, 200, "HTTP/2.0 "+up+"  -")
	proxy(t, `{"upstreams":[{"dial":%q}],`+transport+`}`, plain).get("/").want(t, 200, "clear "+plain)
}

func TestWebSocketOverTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), 500)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(c, rw)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	f := proxy(t, `{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","tls":{"insecure_skip_verify":true}}}`, s.Listener.Addr().String())
	f.get("/").want(t, 500, "*") // over HTTP/2, which is kept
	c, r := f.dial("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	head, err := readHead(r)
	if err != nil || !strings.HasPrefix(head[0], "HTTP/1.1 101") {
		t.Fatalf("%q, %v", head, err)
	}
	io.WriteString(c, "ping\n")
	if line, err := r.ReadString('\n'); line != "ping\n" {
		t.Errorf("%q, %v", line, err)
	}
}

// Section 16: what goes wrong with TLS.
func TestTransportTLSFailures(t *testing.T) {
	silent := raw(t, func(c net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	proxy(t, `{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","tls":{"handshake_timeout":"30ms"}}}`, silent).get("/").want(t, 504, "")
	plain := backend(t, func(http.ResponseWriter, *http.Request) {})
	// A handshake that fails is no failure to connect, so only a GET is tried again (LB-6).
	for method, want := range map[string]int{"GET": 200, "POST": 502} {
		up, _ := secureBackend(t, trusttest.New(t).Issue("a"))
		f := proxy(t, `{"upstreams":[{"dial":%q},{"dial":%q}],"load_balancing":{"retries":1},"transport":{"protocol":"http","tls":{"insecure_skip_verify":true}}}`, up, plain)
		f.do(method, "/", "").want(t, want, "*")
	}
}

// An edit that leaves the settings of the transport as they mean keeps its connections; a forced load after a change of
// the certificate's file does not.
func TestTransportTLSAcrossEdits(t *testing.T) {
	ca := trusttest.New(t)
	up, conns := secureBackend(t, ca.Issue("127.0.0.1"))
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "c.key")
	trusttest.Write(t, ca.Issue("one"), certFile, keyFile)
	w := withFiles(t)
	text := func(roots string, more string) string {
		return fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","tls":{%s,"client_certificate_file":%q,"client_certificate_key_file":%q}}%s}`, up, roots, certFile, keyFile, more)
	}
	byFile, byList := fmt.Sprintf(`"root_ca_pem_files":[%q]`, ca.File()), fmt.Sprintf(`"ca":{"provider":"inline","trusted_ca_certs":[%q]}`, ca.DER())
	g := w.build(nil, text(byFile, ""))
	f := g.front(nil)
	f.get("/").want(t, 200, "HTTP/2.0 "+up+"  one")
	for _, next := range []string{text(byFile, `,"flush_interval":1`), text(byList, `,"flush_interval":1`), text(byList, "")} {
		n := w.build(g, next)
		f.handler.Store(n.Handler)
		g.retire(n)
		g = n
		f.get("/").want(t, 200, "HTTP/2.0 "+up+"  one")
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	trusttest.Write(t, ca.Issue("two"), certFile, keyFile)
	res := w.builder.Build(g.result.Root, "http.handlers.reverse_proxy", g.result.Root.Node(), module.Options{Force: true})
	if len(res.Problems) > 0 {
		t.Fatal(res.Problems)
	}
	for _, b := range res.New {
		for _, r := range b.Owned() {
			if err := r.Prepare(); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.handler.Store(res.Root.Value().(*Handler))
	f.get("/").want(t, 200, "HTTP/2.0 "+up+"  two")
}

// knownClient says who a request comes from.
type knownClient string

func (c knownClient) ClientOf(*http.Request) (string, bool) { return string(c), false }

// HT-7: the client is the one that the server has found out, not the peer.
func TestTransportProxyProtocol(t *testing.T) {
	headers := make(chan string, 10)
	up := raw(t, func(c net.Conn, r *bufio.Reader) {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		headers <- strings.TrimSpace(line)
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	who := knownClient("")
	f := newWorld(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","proxy_protocol":"v1"}}`, up)).front(func(f *front) {
		f.before = func(_ http.ResponseWriter, _ *http.Request, x *handlers.Exchange) { x.Client = who }
	})
	f.get("/").want(t, 502, "") // nobody to name
	for _, c := range []knownClient{"203.0.113.7", "2001:db8::7", "203.0.113.7"} {
		who = c
		f.get("/").want(t, 200, "ok")
	}
	for _, want := range []string{"PROXY TCP4 203.0.113.7 0.0.0.0 0 0", "PROXY TCP6 2001:db8::7 :: 0 0"} {
		if got := <-headers; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if len(headers) > 0 {
		t.Errorf("one connection more: %q", <-headers)
	}
	// A health check comes from no client (quirk 13).
	tr := f.handler.Load().transport
	a, err := upstream.ParseDial(up)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+a.URLHost+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := <-headers; got != "PROXY UNKNOWN" {
		t.Errorf("a health check has %q", got)
	}
}

func TestTransportNetworkProxy(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "direct") })
	forward := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "by "+r.URL.String()) }))
	defer forward.Close()
	w := newWorld(t)
	for _, tt := range []struct {
		transport string
		status    int
		want      string
	}{
		{fmt.Sprintf(`"network_proxy":{"from":"url","url":%q}`, forward.URL), 200, "by http://client.test/x"},
		{fmt.Sprintf(`"forward_proxy_url":%q`, forward.URL), 200, "by http://client.test/x"},
		{`"network_proxy":{"from":"url","url":"{http.request.header.X-Proxy}"}`, 200, "by http://client.test/x"},
		{`"network_proxy":{"from":"url","url":"{http.request.header.X-None}"}`, 502, ""},
		{`"network_proxy":{"from":"url","url":"http://{http.request.header.X-None}"}`, 502, ""},
		{`"network_proxy":{"from":"none"}`, 200, "direct"},
		{`"compression":false`, 200, "direct"},
	} {
		f := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http",%s}}`, up, tt.transport)).front(nil)
		f.get("/x", "Host", "client.test", "X-Proxy", forward.URL).want(t, tt.status, tt.want)
	}
}

// Faults before the response header has been passed on are another upstream's turn; the client sees none of them.
func TestFaultsAreRetried(t *testing.T) {
	good := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "good") })
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, text := range map[string]string{
		"garbage": "garbage\r\n\r\n", "closed": "", "half a header": ok + "Content-Le", "lengths": ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
		"oversized": ok + "X: " + strings.Repeat("a", 40000) + "\r\n\r\n", "coding": ok + "Transfer-Encoding: gzip\r\n\r\n", "folded": ok + "Transfer-Encoding:\r\n chunked\r\n\r\n",
	} {
		f := proxy(t, `{"upstreams":[{"dial":%q},{"dial":%q}],"load_balancing":{"retries":1},`+
			`"transport":{"protocol":"http","max_response_header_size":20000}}`, good, answer(t, text))
		if f.get("/").want(t, 200, "good"); t.Failed() {
			t.Fatal(name)
		}
		f = proxy(t, `{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","max_response_header_size":20000}}`, answer(t, text))
		if f.get("/").want(t, 502, ""); t.Failed() {
			t.Fatal(name)
		}
	}
}

// A body that goes wrong after the header has been passed on cuts the client's connection.
func TestBrokenBodiesCutTheConnection(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, parts := range map[string][2]string{
		"bad chunk":    {ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "ZZ\r\nevil\r\n0\r\n\r\n"},
		"chunk's end":  {ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nab", "cd\r\n0\r\n\r\n"},
		"early end":    {ok + "Content-Length: 10\r\n\r\nab", "cd"},
		"no last one":  {ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "2\r\ncd\r\n"},
		"bad trailers": {ok + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nab\r\n", "0\r\n: nonsense\r\n\r\n"},
	} {
		seen := make(chan bool)
		up := raw(t, func(c net.Conn, r *bufio.Reader) {
			if _, err := readHead(r); err != nil {
				return
			}
			io.WriteString(c, parts[0])
			<-seen
			io.WriteString(c, parts[1])
		})
		f := proxy(t, `{"upstreams":[{"dial":%q}],"flush_interval":-1}`, up)
		_, r := f.dial("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 2)
		if _, err := io.ReadFull(res.Body, head); string(head) != "ab" {
			t.Fatalf("%s: %q, %v", name, head, err)
		}
		close(seen)
		if rest, err := io.ReadAll(res.Body); err == nil || strings.Contains(string(rest), "evil") {
			t.Errorf("%s: the body ended as if complete, with %q", name, rest)
		}
	}
}
