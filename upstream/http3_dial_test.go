package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// nameServer3 is a DNS server on which each name has the addresses that it begins with, as in 127-0-0-1.127-0-0-2.test.
func nameServer3(t *testing.T) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		name := q.Question[0].Name
		for _, label := range strings.Split(name, ".") {
			ip := net.ParseIP(strings.ReplaceAll(label, "-", "."))
			if ip != nil && q.Question[0].Qtype == dns.TypeA {
				m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: ip})
			}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	resolver, err := ParseResolver(pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return resolver
}

// All addresses of a name are tried, and one that refuses or is silent does not stop the others.
func TestHTTP3Addresses(t *testing.T) {
	ts, c, ca := world3(t)
	config := serverTLS(ca)
	s := serveQUIC(t, "", config, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) }))
	_, port, _ := net.SplitHostPort(s.addr)
	silent, err := net.ListenPacket("udp", "127.0.0.3:"+port)
	if err != nil {
		t.Skip(err)
	}
	defer silent.Close()
	o := http3Options(ca)
	o.TLS.ServerName, o.Resolvers = "app.internal", nameServer3(t)
	for _, tt := range []struct {
		name  string
		delay time.Duration
		ok    bool
	}{
		{"127-0-0-1.test", 0, true},
		{"127-0-0-2.127-0-0-1.test", 0, true},
		{"127-0-0-3.127-0-0-1.test", 10 * time.Millisecond, true},
		{"127-0-0-3.127-0-0-2.127-0-0-1.test", 10 * time.Millisecond, true},
		{"127-0-0-3.127-0-0-1.test", -1, true},
		{"127-0-0-2.127-0-0-4.test", 0, false},
		{"127-0-0-3.test", 0, false},
		{"none.test", 0, false},
	} {
		o := o
		if o.DialFallbackDelay = tt.delay; tt.delay < 0 || !tt.ok {
			o.DialTimeout = time.Second
		}
		h := acquire3(t, ts, o)
		res, err := h.RoundTrip(request3(t, "GET", tt.name+":"+port, nil))
		if err == nil {
			res.Body.Close()
		}
		if (err == nil) != tt.ok || !tt.ok && !IsDialError(err) {
			t.Errorf("%s, %v: %v", tt.name, tt.delay, err)
		}
	}
	// Of a race only the winner is left.
	until3(t, "one connection each", func() bool { return c.Count("127-0-0-3.127-0-0-1.test:"+port) == 2 })

	o.LocalAddress = "127.0.0.9"
	if text := text3(t, acquire3(t, ts, o), request3(t, "GET", "127-0-0-1.test:"+port, nil)); !strings.HasPrefix(text, "127.0.0.9:") {
		t.Errorf("it came from %s", text)
	}
}

// Who answers and does not get on with the handshake is another failure than who does not answer.
func TestHTTP3HandshakeTimeout(t *testing.T) {
	ts, _, ca := world3(t)
	junk, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer junk.Close()
	go func() {
		p := make([]byte, 2048)
		for {
			_, from, err := junk.ReadFrom(p)
			if err != nil {
				return
			}
			_, _ = junk.WriteTo([]byte("what?"), from)
		}
	}()
	o := http3Options(ca)
	o.TLS.HandshakeTimeout = 50 * time.Millisecond
	h := acquire3(t, ts, o)
	_, err = h.RoundTrip(request3(t, "GET", junk.LocalAddr().String(), nil))
	var handshake *HandshakeError
	var timeout net.Error
	if !errors.As(err, &handshake) || !errors.As(err, &timeout) || !timeout.Timeout() || FailureOf(err) != FailedTLS {
		t.Errorf("%s: %v", FailureOf(err), err)
	}
	s := serveQUIC(t, "", serverTLS(ca), http.HandlerFunc(see))
	o.TLS.HandshakeTimeout = 20 * time.Second
	text3(t, acquire3(t, ts, o), request3(t, "GET", s.addr, nil))
}
