package acmeserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"github.com/miekg/dns"
)

// httpSolver answers at a port what it is told to.
type httpSolver struct {
	mu     sync.Mutex
	tokens map[string]string
	asked  []string
}

func newHTTPSolver(t *testing.T, port string) *httpSolver {
	t.Helper()
	s := &httpSolver{tokens: map[string]string{}}
	serve(t, port, s.ServeHTTP)
	return s
}

func (s *httpSolver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Host+r.URL.Path)
	text, ok := s.tokens[r.Host+r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = io.WriteString(w, text+"\r\n")
}

func (s *httpSolver) Present(_ context.Context, c acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[c.Identifier.Value+c.HTTP01ResourcePath()] = c.KeyAuthorization
	return nil
}

func (s *httpSolver) CleanUp(context.Context, acme.Challenge) error { return nil }

// tlsSolver answers handshakes of acme-tls/1.
type tlsSolver struct {
	mu    sync.Mutex
	certs map[string]*tls.Certificate // by server name
}

func newTLSSolver(t *testing.T, port string) *tlsSolver {
	t.Helper()
	s := &tlsSolver{certs: map[string]*tls.Certificate{}}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = discard
	server.Listener.Close()
	server.Listener = listenAt(t, port)
	server.TLS = &tls.Config{NextProtos: []string{"acme-tls/1"}, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c := s.certs[hello.ServerName]; c != nil {
			return c, nil
		}
		return nil, errors.New("no such name: " + hello.ServerName)
	}}
	server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"acme-tls/1": func(*http.Server, *tls.Conn, http.Handler) {}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return s
}

func (s *tlsSolver) Present(_ context.Context, c acme.Challenge) error {
	cert, err := acmez.TLSALPN01ChallengeCert(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := c.Identifier.Value
	if c.Identifier.Type == "ip" {
		if name, err = dns.ReverseAddr(name); err != nil {
			return err
		}
		name = strings.TrimSuffix(name, ".")
	}
	s.certs[name] = cert
	return nil
}

func (s *tlsSolver) CleanUp(context.Context, acme.Challenge) error { return nil }

// dnsSolver is a name server that answers with TXT records.
type dnsSolver struct {
	address string

	mu      sync.Mutex
	records map[string][]string
	tcp     int // questions over TCP
}

func newDNSSolver(t *testing.T) *dnsSolver {
	t.Helper()
	s := &dnsSolver{records: map[string][]string{}}
	tcp, udp := bothPorts(t)
	s.address = udp.LocalAddr().String()
	servers := []*dns.Server{{PacketConn: udp}, {Listener: tcp}}
	for _, server := range servers {
		server.Handler = s
		started, done := make(chan struct{}), make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(done)
			_ = server.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() {
			_ = server.Shutdown()
			<-done
		})
	}
	return s
}

// bothPorts opens one port for TCP and UDP.
func bothPorts(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 100 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if udp, err := net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			return tcp, udp
		}
		tcp.Close()
	}
	t.Fatal("no port is free for both TCP and UDP")
	return nil, nil
}

func (s *dnsSolver) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := new(dns.Msg)
	m.SetReply(r)
	q := r.Question[0]
	if w.RemoteAddr().Network() == "tcp" {
		s.tcp++
	}
	texts := s.records[dns.CanonicalName(q.Name)]
	if len(texts) == 0 {
		m.Rcode = dns.RcodeNameError
	}
	if q.Qtype == dns.TypeTXT {
		for _, text := range texts {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{text}})
		}
	}
	_ = w.WriteMsg(m)
}

func (s *dnsSolver) Present(_ context.Context, c acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := dns.CanonicalName(c.DNS01TXTRecordName())
	s.records[name] = append(s.records[name], c.DNS01KeyAuthorization())
	return nil
}

func (s *dnsSolver) CleanUp(context.Context, acme.Challenge) error { return nil }

// hostless lets the tests of names at a port find their answer.
type hostless struct {
	*httpSolver
	port string
}

func (h hostless) Present(ctx context.Context, c acme.Challenge) error {
	c.Identifier.Value = net.JoinHostPort(c.Identifier.Value, h.port)
	return h.httpSolver.Present(ctx, c)
}

// TestClientObtains gets certificates by each challenge, with the client that
// certmagic uses.
func TestClientObtains(t *testing.T) {
	w := newWorld(t, "")
	names := newDNSSolver(t)
	w.load(`, "resolvers": ["127.0.0.1:9", "` + names.address + `"], "lifetime": "2h"`) // the first one does not answer
	web, alpn := hostless{newHTTPSolver(t, w.httpPort), w.httpPort}, newTLSSolver(t, w.tlsPort)
	for _, c := range []struct {
		kind   string
		solver acmez.Solver
		sans   []string
	}{
		{http01, web, []string{"one.internal", "two.internal"}},
		{http01, web, []string{"127.0.0.1", "::1", "three.internal"}},
		{tlsALPN01, alpn, []string{"four.internal", "five.internal"}},
		{tlsALPN01, alpn, []string{"127.0.0.1", "2001:db8::7"}},
		{dns01, names, []string{"six.internal", "*.six.internal", "*.seven.internal"}},
	} {
		t.Run(c.kind+" "+c.sans[0], func(t *testing.T) {
			client := w.raw(map[string]acmez.Solver{c.kind: c.solver})
			account := w.account(client.Client, "mailto:admin@example.com")
			key := newKeyPair(t)
			certs, err := client.ObtainCertificateForSANs(t.Context(), account, key, c.sans)
			if err != nil {
				t.Fatal(err)
			}
			chain := parseChain(t, certs[0].ChainPEM)
			if len(chain) != 2 || !chain[1].IsCA {
				t.Fatalf("a chain of %d certificates", len(chain))
			}
			leaf := chain[0]
			if !key.PublicKey.Equal(leaf.PublicKey) {
				t.Error("it is for another key")
			}
			if d := time.Until(leaf.NotAfter); d < 110*time.Minute || d > 121*time.Minute {
				t.Errorf("valid for %s", d)
			}
			pool := x509.NewCertPool()
			pool.AddCert(chain[1])
			for _, name := range c.sans {
				name = strings.Replace(name, "*", "any", 1)
				if net.ParseIP(name) != nil {
					name = "[" + name + "]"
				}
				if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: w.roots("local"), Intermediates: pool}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if n := len(leaf.DNSNames) + len(leaf.IPAddresses); n != len(c.sans) {
				t.Errorf("%d names, want %d", n, len(c.sans))
			}
			if err := client.RevokeCertificate(t.Context(), account, leaf, nil, acme.ReasonSuperseded); err != nil {
				t.Errorf("revoking: %v", err)
			}
			var p acme.Problem
			if err := client.RevokeCertificate(t.Context(), account, leaf, nil, acme.ReasonSuperseded); !errors.As(err, &p) || p.Type != problemNamespace+"alreadyRevoked" {
				t.Errorf("revoking again: %v", err)
			}
		})
	}
}

func parseChain(t testing.TB, text []byte) (out []*x509.Certificate) {
	t.Helper()
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out, text = append(out, c), rest
	}
	return out
}

// TestCertmagic: the client that servers use obtains, renews and revokes, with
// its own solvers.
func TestCertmagic(t *testing.T) {
	for _, kind := range []string{http01, tlsALPN01} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, `, "challenges": ["`+kind+`"]`)
			storage := &certmagic.FileStorage{Path: t.TempDir()}
			var cfg *certmagic.Config
			cache := certmagic.NewCache(certmagic.CacheOptions{GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return cfg, nil }, Logger: quiet()})
			defer cache.Stop()
			cfg = certmagic.New(cache, certmagic.Config{Storage: storage, Logger: quiet()})
			trusted := x509.NewCertPool()
			trusted.AddCert(w.server.Certificate())
			cfg.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(cfg, certmagic.ACMEIssuer{
				CA: w.directory(), Email: "admin@example.com", Agreed: true, TrustedRoots: trusted, ListenHost: "127.0.0.1", AltHTTPPort: number(t, w.httpPort),
				AltTLSALPNPort: number(t, w.tlsPort), Logger: quiet(),
			})}
			const name = "managed.internal"
			serial := func() string {
				text, err := storage.Load(t.Context(), certmagic.StorageKeys.SiteCert(cfg.Issuers[0].IssuerKey(), name))
				if err != nil {
					t.Fatal(err)
				}
				return parseChain(t, text)[0].SerialNumber.String()
			}
			if err := cfg.ObtainCertSync(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			first := serial()
			if err := cfg.RenewCertSync(t.Context(), name, true); err != nil {
				t.Fatal(err)
			}
			if serial() == first {
				t.Error("it was not renewed")
			}
			if err := cfg.RevokeCert(t.Context(), name, 1, false); err != nil {
				t.Fatal(err)
			}
			if n := w.count(bucketAccounts); n != 1 {
				t.Errorf("%d accounts", n)
			}
			if n := w.count(bucketCertificates); n != 2 {
				t.Errorf("%d certificates", n)
			}
		})
	}
}

func number(t testing.TB, port string) int {
	t.Helper()
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// count is how many records are in a bucket.
func (w *world) count(bucket []byte) (n int) {
	w.t.Helper()
	h := w.handler.Load()
	real := 0
	if err := h.state.store.view(func(t tx) error {
		n = t.count(bucket)
		return t.own.Bucket(bucket).ForEach(func(_, _ []byte) error { real++; return nil })
	}); err != nil {
		w.t.Fatal(err)
	}
	if n != real {
		w.t.Errorf("%s: %d records are counted, %d are there", bucket, n, real)
	}
	return n
}

// TestFailedChallenges: a client that shows nothing, or the wrong thing, gets no
// certificate and is told why.
func TestFailedChallenges(t *testing.T) {
	w := newWorld(t, "")
	names := newDNSSolver(t)
	w.load(`, "resolvers": ["` + names.address + `"]`)
	web, alpn := newHTTPSolver(t, w.httpPort), newTLSSolver(t, w.tlsPort)
	wrong := func(s acmez.Solver) acmez.Solver {
		return solverFunc(func(c acme.Challenge) error {
			c.KeyAuthorization += "x"
			return s.Present(t.Context(), c)
		})
	}
	nothing := solverFunc(func(acme.Challenge) error { return nil })
	plain := solverFunc(func(c acme.Challenge) error { // a certificate without the extension
		alpn.mu.Lock()
		defer alpn.mu.Unlock()
		alpn.certs[c.Identifier.Value] = &w.server.TLS.Certificates[0]
		return nil
	})
	for name, c := range map[string]struct {
		kind   string
		solver acmez.Solver
		san    string
		want   string
	}{
		"http nothing": {http01, nothing, "a.internal", "unauthorized"},
		"http wrong":   {http01, wrong(hostless{web, w.httpPort}), "b.internal", "incorrectResponse"},
		"tls nothing":  {tlsALPN01, nothing, "c.internal", "tls"},
		"tls wrong":    {tlsALPN01, wrong(alpn), "d.internal", "incorrectResponse"},
		"tls plain":    {tlsALPN01, plain, "e.internal", "incorrectResponse"},
		"dns nothing":  {dns01, nothing, "f.internal", "unauthorized"},
		"dns wrong":    {dns01, wrong(names), "g.internal", "incorrectResponse"},
	} {
		t.Run(name, func(t *testing.T) {
			client := w.raw(nil).Client
			account := w.account(client)
			order, err := client.NewOrder(t.Context(), account, acme.Order{Identifiers: []acme.Identifier{{Type: "dns", Value: c.san}}})
			if err != nil {
				t.Fatal(err)
			}
			authz, err := client.GetAuthorization(t.Context(), account, order.Authorizations[0])
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(authz.Challenges, func(ch acme.Challenge) bool { return ch.Type == c.kind })
			if err := c.solver.Present(t.Context(), authz.Challenges[i]); err != nil {
				t.Fatal(err)
			}
			if _, err := client.InitiateChallenge(t.Context(), account, authz.Challenges[i]); err != nil {
				t.Fatal(err)
			}
			authz, err = client.PollAuthorization(t.Context(), account, authz)
			var p acme.Problem
			if !errors.As(err, &p) || p.Type != problemNamespace+c.want {
				t.Errorf("%v (%+v)", err, authz)
			}
			if order, err = client.GetOrder(t.Context(), account, order); err != nil || order.Status != statusInvalid || order.Error == nil {
				t.Errorf("the order is %+v, %v", order, err)
			}
		})
	}
}

type solverFunc func(acme.Challenge) error

func (f solverFunc) Present(_ context.Context, c acme.Challenge) error { return f(c) }
func (f solverFunc) CleanUp(context.Context, acme.Challenge) error     { return nil }
