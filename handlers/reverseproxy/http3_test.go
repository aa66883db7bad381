package reverseproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sluiceproxy/sluice/server/trust/trusttest"
)

// quicBackend is an upstream that speaks HTTP/3.
type quicBackend struct {
	addr  string
	conns atomic.Int64 // accepted

	t      testing.TB
	config *tls.Config
	h      http.Handler
	sock   net.PacketConn
	over   *quic.Transport
	server *http3.Server
	done   sync.WaitGroup
}

// backend3 starts one with a certificate that nobody trusts.
func backend3(t testing.TB, h http.HandlerFunc) *quicBackend {
	t.Helper()
	return backend3TLS(t, h, &tls.Config{Certificates: []tls.Certificate{trusttest.New(t).Issue("127.0.0.1")}})
}

func backend3TLS(t testing.TB, h http.HandlerFunc, config *tls.Config) *quicBackend {
	t.Helper()
	b := &quicBackend{addr: "127.0.0.1:0", t: t, config: config, h: h}
	b.start()
	t.Cleanup(b.stop)
	return b
}

// start serves, after a stop at the address of before.
func (b *quicBackend) start() {
	b.t.Helper()
	var err error
	if b.sock, err = net.ListenPacket("udp", b.addr); err != nil {
		b.t.Fatal(err)
	}
	b.addr, b.over = b.sock.LocalAddr().String(), &quic.Transport{Conn: b.sock}
	b.server = &http3.Server{Handler: b.h, ConnContext: func(ctx context.Context, _ *quic.Conn) context.Context {
		b.conns.Add(1)
		return ctx
	}}
	ln, err := b.over.ListenEarly(http3.ConfigureTLSConfig(b.config), &quic.Config{})
	if err != nil {
		b.t.Fatal(err)
	}
	server := b.server
	b.done.Go(func() { _ = server.ServeListener(ln) })
}

// stop ends it, as a process that is told to does.
func (b *quicBackend) stop() {
	_ = b.server.Close()
	b.done.Wait()
	_ = b.over.Close()
	_ = b.sock.Close()
}

// transport3 is the transport of a handler, for upstreams whose certificates nobody looks at.
const transport3 = `"transport":{"protocol":"http","versions":["3"],"tls":{"insecure_skip_verify":true}}`

// saw3 answers with what it saw.
func saw3(w http.ResponseWriter, r *http.Request) {
	client := "-"
	if len(r.TLS.PeerCertificates) > 0 {
		client = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s %s %s", r.Proto, r.Host, r.TLS.ServerName, client, body)
}

// HT-2, S23: what is about TLS is as with TCP, and what is about TCP does nothing and is said so.
func TestTransportHTTP3(t *testing.T) {
	ca := trusttest.New(t)
	up := backend3TLS(t, saw3, &tls.Config{Certificates: []tls.Certificate{ca.Issue("127.0.0.1", "app.internal", "b.internal")}, ClientAuth: tls.RequestClientCert}).addr
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "c.key")
	trusttest.Write(t, ca.Issue("me.internal"), certFile, keyFile)
	files := fmt.Sprintf(`"tls":{"root_ca_pem_files":[%q]`, ca.File())
	for _, tt := range []struct {
		name, transport string
		status          int
		want            string
	}{
		{"trusted", files + `}`, 200, "HTTP/3.0 " + up + "  - body"},
		{"not trusted", `"tls":{}`, 502, "*"},
		{"client certificate", files + fmt.Sprintf(`,"client_certificate_file":%q,"client_certificate_key_file":%q}`, certFile, keyFile), 200, "HTTP/3.0 " + up + "  me.internal body"},
		{"server name", files + `,"server_name":"app.internal"}`, 200, "HTTP/3.0 " + up + " app.internal - body"},
		{"server name by placeholder", files + `,"server_name":"{http.request.header.X-Name}"}`, 200, "HTTP/3.0 " + up + " b.internal - body"},
		{"wrong server name", files + `,"server_name":"c.internal"}`, 502, "*"},
		{"curves", files + `,"curves":["secp521r1"]}`, 200, "HTTP/3.0 " + up + "  - body"},
		{"clear text", `"compression":true`, 502, "*"},
		{"settings of TCP", files + `},"proxy_protocol":"v1","network_proxy":{"from":"url","url":"http://127.0.0.1:1"},"read_timeout":1,"write_timeout":1`, 200, "HTTP/3.0 " + up + "  - body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := withFiles(t).build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","versions":["3"],%s}}`, up, tt.transport))
			g.front(nil).do("POST", "/", "body", "X-Name", "b.internal").want(t, tt.status, tt.want)
			var warned []string
			for _, w := range g.result.Warnings {
				warned = append(warned, w.Pointer)
			}
			want := map[string]string{
				"clear text":      "[/transport/versions]",
				"settings of TCP": "[/transport/proxy_protocol /transport/network_proxy /transport/read_timeout /transport/write_timeout]",
			}[tt.name]
			if got := fmt.Sprint(warned); want != "" && got != want || want == "" && len(warned) > 0 {
				t.Errorf("warnings %v, want %s", g.result.Warnings, want)
			}
		})
	}
}

// An upstream that is not there costs a strike and no request, whatever its body.
func TestHTTP3DeadUpstream(t *testing.T) {
	up, gone := backend3(t, saw3), backend3(t, saw3)
	gone.stop()
	w := newWorld(t)
	f := w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q},{"dial":%q}],"load_balancing":{"selection_policy":{"policy":"first"},"retries":1},`+
		`"health_checks":{"passive":{"fail_duration":"1h"}},%s}`, gone.addr, up.addr, transport3)).front(nil)
	for range 3 {
		f.do("POST", "/", "body").want(t, 200, "HTTP/3.0 "+up.addr+"  - body")
	}
	for _, s := range w.pool.List() {
		if want := map[string]int64{gone.addr: 1, up.addr: 0}[s.Address]; s.Fails != want || s.NumRequests != 0 {
			t.Errorf("%+v, want %d failures", s, want)
		}
		if s.Address == up.addr && (s.Latency == nil || s.Latency.Count != 3 || s.Connections != 1) {
			t.Errorf("%+v", s)
		}
	}
	f = w.build(nil, fmt.Sprintf(`{"upstreams":[{"dial":%q}],%s}`, gone.addr, transport3)).front(nil)
	f.get("/").want(t, 502, "*")
	gone.start()
	f.get("/").want(t, 200, "HTTP/3.0 "+gone.addr+"  - ")
	gone.stop()
	f.get("/").want(t, 502, "*")
	gone.start()
	f.get("/").want(t, 200, "HTTP/3.0 "+gone.addr+"  - ")
}

// Events come one by one, and edits of the handler leave the connection, the counters and the stream alone.
func TestHTTP3EditsUnderLoad(t *testing.T) {
	steps := make(chan int)
	up := backend3(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			saw3(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range steps {
			fmt.Fprintf(w, "data: %d\n\n", n)
			_ = http.NewResponseController(w).Flush()
		}
	})
	w := newWorld(t)
	config := `{"upstreams":[{"dial":"` + up.addr + `"}],"stream_buffer_size":%d,` + transport3 + `}`
	g := w.build(nil, fmt.Sprintf(config, 1000))
	f := g.front(nil)
	go func() { steps <- 0 }()
	events, err := browser.Get(f.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	lines := bufio.NewReader(events.Body)
	read := func(n int) {
		t.Helper()
		line, err := lines.ReadString('\n')
		if _, rest := lines.ReadString('\n'); err != nil || rest != nil || line != fmt.Sprintf("data: %d\n", n) {
			t.Fatalf("%q %v", line, err)
		}
	}
	read(0)
	var load sync.WaitGroup
	stop := make(chan struct{})
	var sent atomic.Int64
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f.do("POST", "/", "body").want(t, 200, "HTTP/3.0 "+up.addr+"  - body")
					sent.Add(1)
				}
			}
		})
	}
	for i := 1; i <= 20; i++ {
		before := sent.Load()
		next := w.build(g, fmt.Sprintf(config, 1000+i))
		f.handler.Store(next.Handler)
		g.retire(next)
		g = next
		steps <- i
		read(i)
		eventually(t, "requests are answered", func() bool { return sent.Load() > before })
	}
	close(stop)
	load.Wait()
	if n, s := up.conns.Load(), w.pool.List(); n != 1 || len(s) != 1 || s[0].NumRequests != 1 || s[0].Connections != 1 {
		t.Errorf("%d connections, %+v", n, s)
	}
	close(steps)
	if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
		t.Errorf("%q %v", rest, err)
	}
	eventually(t, "nothing runs", func() bool { return w.pool.List()[0].NumRequests == 0 })
	// With the last handler that uses it the connection goes.
	next := w.build(g, fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, up.addr))
	f.handler.Store(next.Handler)
	g.retire(next)
	eventually(t, "the connection is closed", func() bool { return w.pool.List()[0].Connections == 0 })
}

// A certificate that is managed is looked after as long as a handler needs it, and the present one is shown on each new
// connection, over TCP and over QUIC.
func TestManagedClientCertificate(t *testing.T) {
	for name, versions := range map[string]string{"TCP": `["1.1","2"]`, "QUIC": `["3"]`} {
		t.Run(name, func(t *testing.T) {
			ca := trusttest.New(t)
			w := newWorld(t)
			config := &tls.Config{Certificates: []tls.Certificate{ca.Issue("127.0.0.1")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()}
			var up string
			if name == "QUIC" {
				up = backend3TLS(t, saw3, config).addr
			} else {
				s := httptest.NewUnstartedServer(http.HandlerFunc(saw3))
				s.TLS, s.EnableHTTP2 = config, true
				s.Config.ErrorLog = log.New(io.Discard, "", 0)
				s.StartTLS()
				t.Cleanup(s.Close)
				up = s.Listener.Addr().String()
			}
			text := func(name, more string) string {
				return fmt.Sprintf(`{"upstreams":[{"dial":%q}],"transport":{"protocol":"http","versions":%s,"keep_alive":{"enabled":false},`+
					`"tls":{"insecure_skip_verify":true,"client_certificate_automate":%q}}%s}`, up, versions, name, more)
			}
			g := w.build(nil, text("Me.internal", ""))
			f := g.front(nil)
			if got := w.managed.names(); got != "map[me.internal:1]" {
				t.Errorf("needed: %s", got)
			}
			if res := f.get("/"); res.StatusCode != 502 || !strings.Contains(res.Header.Get("X-Error"), "there is no certificate for me.internal yet") {
				t.Errorf("%d %s", res.StatusCode, res.Header.Get("X-Error"))
			}
			for _, renewed := range []string{"first", "second"} {
				w.managed.use(ca.Issue(renewed))
				if res := f.get("/"); res.StatusCode != 200 || strings.Fields(res.body)[2] != renewed {
					t.Errorf("%d %q %s, want %s", res.StatusCode, res.body, res.Header.Get("X-Error"), renewed)
				}
			}
			w.managed.use(trusttest.New(t).Issue("stranger"))
			f.get("/").want(t, 502, "*")
			edit := func(text, want string) {
				t.Helper()
				next := w.build(g, text)
				f.handler.Store(next.Handler)
				g.retire(next)
				if g = next; w.managed.names() != want {
					t.Errorf("needed: %s, want %s", w.managed.names(), want)
				}
			}
			edit(text("me.internal", `,"flush_interval":1`), "map[me.internal:1]")
			edit(text("other.internal", ""), "map[other.internal:1]")
			edit(fmt.Sprintf(`{"upstreams":[{"dial":%q}]}`, up), "map[]")
		})
	}
}
