package e2e

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// quicUpstream is an upstream that speaks HTTP/3 and wants a certificate of its clients.
type quicUpstream struct {
	t      *testing.T
	addr   string
	config *tls.Config
	conns  atomic.Int64 // accepted
	steps  chan int     // what is sent to whoever asks for /events

	sock   net.PacketConn
	over   *quic.Transport
	server *http3.Server
	done   sync.WaitGroup
}

// newQUICUpstream starts one whose clients have certificates of whoever roots holds then.
func newQUICUpstream(t *testing.T, cert tls.Certificate, roots *atomic.Pointer[x509.CertPool]) *quicUpstream {
	u := &quicUpstream{t: t, addr: "127.0.0.1:0", steps: make(chan int)}
	u.config = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		u.conns.Add(1)
		return http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots.Load()}), nil
	}}
	u.start()
	t.Cleanup(func() { u.stop() })
	return u
}

// start serves, after a stop at the address of before.
func (u *quicUpstream) start() {
	u.t.Helper()
	var err error
	if u.sock, err = net.ListenPacket("udp", u.addr); err != nil {
		u.t.Fatal(err)
	}
	u.addr, u.over = u.sock.LocalAddr().String(), &quic.Transport{Conn: u.sock}
	ln, err := u.over.ListenEarly(http3.ConfigureTLSConfig(u.config), nil)
	if err != nil {
		u.t.Fatal(err)
	}
	u.server = &http3.Server{Handler: u}
	server := u.server
	u.done.Go(func() { _ = server.ServeListener(ln) })
}

func (u *quicUpstream) stop() {
	_ = u.server.Close()
	u.done.Wait()
	_ = u.over.Close()
	_ = u.sock.Close()
}

// ServeHTTP implements http.Handler.
func (u *quicUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/events" {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range u.steps {
			fmt.Fprintf(w, "data: %d\n\n", n)
			_ = http.NewResponseController(w).Flush()
		}
		return
	}
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s from %s: %s", r.Proto, r.TLS.PeerCertificates[0].DNSNames[0], body)
}

// A site whose upstream speaks HTTP/3: it is trusted by what the storage holds and is shown a certificate that the server
// obtains for itself; edits, the end of the upstream and its return are as with TCP.
func TestHTTP3Upstream(t *testing.T) {
	t.Parallel()
	root := issue(t, nil, &x509.Certificate{BasicConstraintsValid: true})
	rootText, _ := texts(t, root)
	var roots atomic.Pointer[x509.CertPool]
	roots.Store(x509.NewCertPool())
	up := newQUICUpstream(t, issue(t, &root, &x509.Certificate{DNSNames: []string{"up.test"}}), &roots)
	transport := object{"protocol": "http", "versions": []string{"3"}, "tls": object{
		"server_name": "up.test", "ca": object{"provider": "storage", "pem_keys": []string{"upstreams/root.pem"}}, "client_certificate_automate": "client.internal"}}
	site := object{"@id": "site", "match": []any{object{"host": []string{"localhost"}}}, "handle": []any{object{
		"handler": "reverse_proxy", "upstreams": []any{object{"dial": up.addr}}, "transport": transport}}}
	x := newSecured(t, func(x *secured) object {
		x.h.write(t, "store/upstreams/root.pem", rootText)
		doc := x.config(site)
		doc["storage"] = object{"module": "file_system", "root": x.h.dir + "/store"}
		return doc
	})
	pool := x509.NewCertPool()
	pool.AddCert(x.root)
	roots.Store(pool)
	client := x.visitor("HTTP/2.0", x.trust())
	post := func() (string, error) {
		res, err := client.Post(fmt.Sprintf("https://localhost:%d/", x.port), "text/plain", strings.NewReader("body"))
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		return fmt.Sprint(res.StatusCode, " ", string(text)), err
	}
	const want = "200 HTTP/3.0 from client.internal: body"
	answers := func() {
		t.Helper()
		poll(t, "an answer through HTTP/3", func() error {
			if got, err := post(); err != nil || got != want {
				return fmt.Errorf("%q %w", got, err)
			}
			return nil
		})
	}
	answers()
	if list := x.get("/tls/certificates"); !strings.Contains(list, `"client.internal"`) {
		t.Errorf("certificates: %s", list)
	}
	up3EditsUnderLoad(t, x, up, client, post, want)

	up.stop()
	if got, err := post(); err != nil || !strings.HasPrefix(got, "502 ") {
		t.Errorf("without the upstream: %q %v", got, err)
	}
	up.start()
	answers()

	// Nobody needs the certificate any more.
	x.e.do("DELETE", "/id/site/handle/0/transport/tls/client_certificate_automate", nil)
	poll(t, "the name to be forgotten", func() error {
		if list := x.get("/tls/certificates"); strings.Contains(list, `"client.internal"`) {
			return fmt.Errorf("certificates: %s", list)
		}
		return nil
	})
	if got, err := post(); err != nil || !strings.HasPrefix(got, "502 ") {
		t.Errorf("without a certificate: %q %v", got, err)
	}
	if status, answer := x.load(x.config(object{"handle": []any{object{"handler": "reverse_proxy", "transport": object{"protocol": "http", "versions": []string{"2", "3"}}}}}), false); status != 400 ||
		!strings.Contains(answer, "/apps/http/servers/s/routes/0/handle/0/transport/versions/1") {
		t.Errorf("3 with another version: %d %s", status, answer)
	}
	x.noSecrets()
}

// up3EditsUnderLoad edits the document while events come and requests are sent. There is one connection all the time.
func up3EditsUnderLoad(t *testing.T, x *secured, up *quicUpstream, client *visitor, post func() (string, error), want string) {
	t.Helper()
	go func() { up.steps <- 0 }()
	res, err := client.Get(fmt.Sprintf("https://localhost:%d/events", x.port))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	read := func(n int) {
		t.Helper()
		line, err := lines.ReadString('\n')
		if _, rest := lines.ReadString('\n'); err != nil || rest != nil || line != fmt.Sprintf("data: %d\n", n) {
			t.Fatalf("%q %v", line, err)
		}
	}
	read(0)
	before := up.conns.Load()
	var load sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got, err := post(); err != nil || got != want {
					t.Errorf("%q %v", got, err)
					return
				}
			}
		})
	}
	for i := 1; i <= 10; i++ {
		x.e.do("PUT", fmt.Sprintf("/config/apps/http/servers/s/routes/%d", i%2), helloRoute("other", fmt.Sprintf("other%d.localhost", i)))
		x.e.do("PATCH", "/id/site/handle/0", object{"handler": "reverse_proxy", "upstreams": []any{object{"dial": up.addr}}, "flush_interval": i,
			"transport": json.RawMessage(x.get("/id/site/handle/0/transport"))})
		up.steps <- i
		read(i)
	}
	close(stop)
	load.Wait()
	if n := up.conns.Load(); n != before {
		t.Errorf("%d new connections in ten edits", n-before)
	}
	poll(t, "one request and one connection", func() error {
		if list := x.get("/reverse_proxy/upstreams"); !strings.Contains(list, `"num_requests":1`) || !strings.Contains(list, `"connections":1`) {
			return fmt.Errorf("%s", list)
		}
		return nil
	})
	close(up.steps)
	if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
		t.Errorf("%q %v", rest, err)
	}
}
