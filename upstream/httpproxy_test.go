package upstream

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"github.com/sluiceproxy/sluice/server/trust/trusttest"

	"github.com/sluiceproxy/sluice/upstream/proxyheader"
)

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }

// forwarder is a forward proxy for HTTP, with CONNECT, and it notes what it is asked for.
type forwarder struct {
	*httptest.Server
	lead  map[string]string
	mu    sync.Mutex
	asked []string
}

func newForwarder(t *testing.T, lead map[string]string) *forwarder {
	t.Helper()
	f := &forwarder{lead: lead}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = quietLog()
	f.Start()
	t.Cleanup(f.Close)
	return f
}

func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = append(f.asked, r.Method+" "+r.RequestURI+" "+r.Header.Get("Proxy-Authorization"))
	f.mu.Unlock()
	to := r.Host
	if l, ok := f.lead[to]; ok {
		to = l
	}
	if r.Method != http.MethodConnect {
		io.WriteString(w, "proxied "+r.Host)
		return
	}
	back, err := net.Dial("tcp", to)
	if err != nil {
		http.Error(w, "no", http.StatusBadGateway)
		return
	}
	front, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		back.Close()
		return
	}
	io.WriteString(front, "HTTP/1.1 200 Established\r\n\r\n")
	go func() { io.Copy(back, front); back.Close() }()
	io.Copy(front, back)
	front.Close()
}

func (f *forwarder) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

func parseURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestForwardProxy(t *testing.T) {
	ca := trusttest.New(t)
	s, _ := secureServer(t, ca.Issue("app.internal"), nil)
	plain, _ := counting(t, listen(t, "tcp", "127.0.0.1:0"))
	h2c := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	t.Cleanup(h2c.Close)
	lead := map[string]string{"app.internal:443": s.Listener.Addr().String(), "app.internal:80": plain.Listener.Addr().String(), "app.internal:81": h2c.Listener.Addr().String()}
	socks := newSocks(t, lead)
	basic := "Basic dTpw" // u:p
	tests := []struct {
		name    string
		options func(o *HTTPOptions)
		proxy   string // of the route; "env" is that of the surroundings
		dial    string
		want    string
		asked   string
	}{
		{name: "clear text", proxy: "http://u:p@", dial: "app.internal:80", want: "proxied client.test", asked: "GET http://client.test/ " + basic},
		{name: "surroundings", proxy: "env", dial: "app.internal:80", want: "proxied client.test", asked: "GET http://client.test/ "},
		{name: "TLS", proxy: "http://u:p@", dial: "app.internal:443", options: func(o *HTTPOptions) { o.TLS = trusting(ca).TLS }, want: "HTTP/2.0 sni=app.internal", asked: "CONNECT app.internal:443 " + basic},
		{name: "h2c", proxy: "http://", dial: "app.internal:81", options: func(o *HTTPOptions) { o.H2C = true }, want: "HTTP/2.0", asked: "CONNECT app.internal:81 "},
		{name: "socks", proxy: "socks5://", dial: "app.internal:80", want: "client.test", asked: "app.internal:80"},
		{name: "socks with TLS", proxy: "socks5h://", dial: "app.internal:443", options: func(o *HTTPOptions) { o.TLS = trusting(ca).TLS }, want: "HTTP/2.0 sni=app.internal", asked: "app.internal:443"},
		{name: "another network of tcp", proxy: "http://", dial: "tcp4/app.internal:80", want: "proxied client.test", asked: "GET http://client.test/ "},
		{name: "direct", proxy: "", dial: plain.Listener.Addr().String(), want: "client.test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newForwarder(t, lead)
			at := f.Listener.Addr().String()
			seen := f.seen
			if strings.HasPrefix(tt.proxy, "socks") {
				at, seen = socks.address, socks.seen
				socks.reset()
			}
			config := TransportsConfig{Proxy: func(r *http.Request) (*url.URL, error) {
				if r.URL.Host == "" || strings.Contains(r.URL.Host, hostMark) {
					t.Errorf("the surroundings were asked about %q", r.URL)
				}
				return parseURL(t, "http://"+f.Listener.Addr().String()), nil
			}}
			to := Route{}
			switch tt.proxy {
			case "env":
			case "":
				to.Direct = true
			default:
				to.Proxy = parseURL(t, tt.proxy+at)
			}
			o := DefaultHTTPOptions()
			if tt.options != nil {
				tt.options(&o)
			}
			ts := NewTransports(config)
			h := acquireHTTP(t, ts, o)
			defer ts.Release(h)
			for range 2 { // the second time on the same connection
				if got, err := send(t, h, tt.dial, to); err != nil || !strings.HasPrefix(got, tt.want) {
					t.Errorf("%q, %v; want %q", got, err, tt.want)
				}
			}
			asked := strings.Join(seen(), "|")
			want := tt.asked
			if strings.HasPrefix(want, "GET") {
				want += "|" + want
			}
			if asked != want {
				t.Errorf("the proxy was asked for %q, want %q", asked, want)
			}
		})
	}
}

// A proxy that refuses, or is not there, means that no request was sent.
func TestForwardProxyThatFails(t *testing.T) {
	f := newForwarder(t, map[string]string{"app.internal:443": "127.0.0.1:1"})
	o := trusting(trusttest.New(t))
	ts := NewTransports(TransportsConfig{})
	h := acquireHTTP(t, ts, o)
	defer ts.Release(h)
	for _, proxy := range []string{"http://" + f.Listener.Addr().String(), "http://127.0.0.1:1", "socks5://127.0.0.1:1"} {
		if _, err := send(t, h, "app.internal:443", Route{Proxy: parseURL(t, proxy)}); !IsDialError(err) {
			t.Errorf("%s: %v", proxy, err)
		}
	}
	if _, err := send(t, h, "app.internal:443", Route{Proxy: parseURL(t, "ftp://user:secret@a")}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a scheme that is not known: %v", err)
	}
}

// The way to a proxy can be secured too.
func TestForwardProxyOverTLS(t *testing.T) {
	f := newForwarder(t, nil)
	tlsProxy := httptest.NewUnstartedServer(f)
	tlsProxy.Config.ErrorLog = quietLog()
	tlsProxy.StartTLS()
	defer tlsProxy.Close()
	ts := NewTransports(TransportsConfig{})
	h := acquireHTTP(t, ts, DefaultHTTPOptions())
	defer ts.Release(h)
	_, err := send(t, h, "app.internal:80", Route{Proxy: parseURL(t, tlsProxy.URL)})
	if err == nil || !strings.Contains(err.Error(), "TLS handshake with "+tlsProxy.Listener.Addr().String()) {
		t.Errorf("the certificate of the proxy, which nobody has signed, was taken: %v", err)
	}
}

// socksProxy speaks SOCKS5, as far as the tests need it.
type socksProxy struct {
	address string
	lead    map[string]string
	mu      sync.Mutex
	asked   []string
}

func newSocks(t *testing.T, lead map[string]string) *socksProxy {
	t.Helper()
	ln := listen(t, "tcp", "127.0.0.1:0")
	t.Cleanup(func() { ln.Close() })
	s := &socksProxy{address: ln.Addr().String(), lead: lead}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *socksProxy) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *socksProxy) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = nil
}

func (s *socksProxy) serve(c net.Conn) {
	defer c.Close()
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil {
		return
	}
	io.ReadFull(c, make([]byte, head[1]))
	c.Write([]byte{5, 0})
	req := make([]byte, 5)
	if _, err := io.ReadFull(c, req); err != nil || req[3] != 3 {
		return
	}
	rest := make([]byte, int(req[4])+2)
	io.ReadFull(c, rest)
	at := fmt.Sprintf("%s:%d", rest[:len(rest)-2], binary.BigEndian.Uint16(rest[len(rest)-2:]))
	s.mu.Lock()
	s.asked = append(s.asked, at)
	s.mu.Unlock()
	back, err := net.Dial("tcp", s.lead[at])
	if err != nil {
		return
	}
	defer back.Close()
	c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	go func() { io.Copy(back, c); back.Close() }()
	io.Copy(c, back)
}

// proxiedListener is an upstream behind the PROXY protocol: it takes the header of each connection off and notes it.
type proxiedListener struct {
	net.Listener
	version int
	mu      sync.Mutex
	headers []string
}

func (l *proxiedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	var text string
	if l.version == 1 {
		text, err = r.ReadString('\n')
	} else {
		head := make([]byte, 16)
		_, err = io.ReadFull(r, head)
		rest := make([]byte, binary.BigEndian.Uint16(head[14:]))
		io.ReadFull(r, rest)
		text = hex.EncodeToString(head[12:14]) + " " + hex.EncodeToString(rest)
	}
	if err != nil {
		c.Close()
		return l.Accept()
	}
	l.mu.Lock()
	l.headers = append(l.headers, strings.TrimSpace(text))
	l.mu.Unlock()
	ahead, _ := r.Peek(r.Buffered())
	return &aheadConn{Conn: c, ahead: ahead}, nil
}

// S28, and the shape of the headers (HT-7, HT-8).
func TestProxyProtocol(t *testing.T) {
	ca := trusttest.New(t)
	headers := map[int]map[string]string{
		1: {"203.0.113.7": "PROXY TCP4 203.0.113.7 0.0.0.0 0 0", "2001:db8::7": "PROXY TCP6 2001:db8::7 :: 0 0", "": "PROXY UNKNOWN"},
		2: {"203.0.113.7": "2111 cb007107000000000" + "0000000", "2001:db8::7": "2121 20010db8000000000000000000000007" + strings.Repeat("0", 40), "": "2000 "},
	}
	for version := 1; version <= 2; version++ {
		for _, how := range []string{"1.1", "h2c", "h2"} {
			t.Run(fmt.Sprintf("v%d %s", version, how), func(t *testing.T) {
				ln := &proxiedListener{Listener: listen(t, "tcp", "127.0.0.1:0"), version: version}
				s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
				s.Listener.Close()
				s.Listener = ln
				s.Config.ErrorLog = quietLog()
				s.Config.Protocols = new(http.Protocols)
				s.Config.Protocols.SetHTTP1(how == "1.1")
				s.Config.Protocols.SetUnencryptedHTTP2(how == "h2c")
				o, proto := DefaultHTTPOptions(), "HTTP/2.0"
				o.ProxyProtocol = version
				switch how {
				case "h2":
					s.EnableHTTP2 = true
					s.Config.Protocols = nil
					c := ca.Issue("127.0.0.1")
					s.TLS = trustingServer(c)
					s.StartTLS()
					o.TLS = trusting(ca).TLS
				case "h2c":
					o.H2C = true
					s.Start()
				default:
					proto = "HTTP/1.1"
					s.Start()
				}
				t.Cleanup(s.Close)
				ts := NewTransports(TransportsConfig{})
				h := acquireHTTP(t, ts, o)
				defer ts.Release(h)
				dial := ln.Addr().String()
				for range 3 {
					for _, client := range []string{"203.0.113.7", "2001:db8::7", ""} {
						if got, err := send(t, h, dial, Route{Client: client}); got != proto {
							t.Errorf("for %q: %q, %v", client, got, err)
						}
					}
				}
				// What is the same for the header is one client.
				if got, err := send(t, h, dial, Route{Client: "203.0.113.7"}); got != proto {
					t.Errorf("%q, %v", got, err)
				}
				ln.mu.Lock()
				defer ln.mu.Unlock()
				if len(ln.headers) != 3 {
					t.Fatalf("%d connections: %q", len(ln.headers), ln.headers)
				}
				for i, client := range []string{"203.0.113.7", "2001:db8::7", ""} {
					if want := strings.TrimSpace(headers[version][client]); ln.headers[i] != want {
						t.Errorf("for %q: header %q, want %q", client, ln.headers[i], want)
					}
				}
			})
		}
	}
	if _, err := proxyheader.Of(1, "somebody"); err == nil {
		t.Error("a client without an address was taken")
	}
	if h, err := proxyheader.Of(1, "::ffff:192.0.2.1"); string(h) != "PROXY TCP4 192.0.2.1 0.0.0.0 0 0\r\n" {
		t.Errorf("%q, %v", h, err)
	}
	if h, err := proxyheader.Of(1, "fe80::1%eth0"); string(h) != "PROXY TCP6 fe80::1 :: 0 0\r\n" {
		t.Errorf("%q, %v", h, err)
	}
}

// Where the header cannot be sent, no request was.
func TestProxyProtocolHeaderThatCannotBeSent(t *testing.T) {
	here, there := net.Pipe()
	there.Close()
	o := DefaultHTTPOptions()
	o.ProxyProtocol = 1
	ts := NewTransports(TransportsConfig{Dial: func(context.Context, *net.Dialer, string, string) (net.Conn, error) { return here, nil }})
	h := acquireHTTP(t, ts, o)
	defer ts.Release(h)
	if _, err := send(t, h, "a:1", Route{Client: "192.0.2.1"}); !IsDialError(err) {
		t.Errorf("%v", err)
	}
	if _, err := here.Write(nil); err == nil {
		t.Error("the connection was left open")
	}
	if _, err := send(t, h, "a:1", Route{Client: "somebody"}); err == nil || IsDialError(err) {
		t.Errorf("a client without an address: %v", err)
	}
}

// Names are looked up with the resolver's servers, and with no others.
func TestResolver(t *testing.T) {
	s, _ := counting(t, listen(t, "tcp", "127.0.0.1:0"))
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", pc.LocalAddr().String())
	for try := 0; err != nil && try < 100; try++ { // the number may be taken, by a connection of another test
		pc.Close()
		if pc, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		tcp, err = net.Listen("tcp", pc.LocalAddr().String())
	}
	if err != nil {
		t.Fatal(err)
	}
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		name := q.Question[0].Name
		_, overTCP := w.RemoteAddr().(*net.TCPAddr)
		switch {
		case name == "app.example." && q.Question[0].Qtype == dns.TypeA:
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)})
		case name == "large.example." && !overTCP:
			m.Truncated = true
		case name == "large.example." && q.Question[0].Qtype == dns.TypeA:
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)})
		case name != "app.example." && name != "large.example.":
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})
	for _, server := range []*dns.Server{{PacketConn: pc, Handler: answer}, {Listener: tcp, Handler: answer}} {
		go server.ActivateAndServe()
		t.Cleanup(func() { server.Shutdown() })
	}
	o := DefaultHTTPOptions()
	if o.Resolvers, err = ParseResolver(pc.LocalAddr().String()); err != nil {
		t.Fatal(err)
	}
	ts := NewTransports(TransportsConfig{})
	h := acquireHTTP(t, ts, o)
	defer ts.Release(h)
	for _, name := range []string{"app.example", "large.example"} {
		if got, err := send(t, h, name+":"+port, Route{}); got != "client.test" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := send(t, h, "other.example:"+port, Route{}); !IsDialError(err) {
		t.Errorf("a name that is not there: %v", err)
	}
	if NewResolver(ResolverOptions{}) != net.DefaultResolver {
		t.Error("without servers it is not the system's resolver")
	}
}

func TestParseResolver(t *testing.T) {
	for text, want := range map[string]string{
		"1.1.1.1": "udp/1.1.1.1:53", "[2001:db8::5]:5353": "udp/[2001:db8::5]:5353", "tcp/dns.internal": "tcp/dns.internal:53", "udp4/a:1": "udp4/a:1",
		"a:1-2": "", "unix//run/dns": "", ":53": "", "": "",
	} {
		got, err := ParseResolver(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}
