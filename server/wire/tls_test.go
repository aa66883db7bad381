package wire

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// authority makes a certificate for a.test, and what trusts it.
func authority(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a.test"}, DNSNames: []string{"a.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// listenTLS serves a listener that speaks TLS.
func listenTLS(t testing.TB, set Settings, h http.HandlerFunc) (s *Server, address string) {
	t.Helper()
	s = NewServer(Options{Handler: h, Settings: func() *Settings { return &set }})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); s.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.Serve(c)
		}
	}()
	return s, l.Addr().String()
}

func tlsSettings(cert tls.Certificate, redirect bool) Settings {
	inner := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1", alpnACME}}
	limit := int64(0)
	if redirect {
		limit = 8 << 10
	}
	return Settings{
		ReadHeaderTimeout: 10 * time.Second, Protocols: Protocols{HTTP1: true},
		TLS: &TLS{Config: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return inner, nil }}, RedirectLimit: limit},
	}
}

func TestTLSVersionsOfHTTP(t *testing.T) {
	cert, pool := authority(t)
	s, address := listenTLS(t, tlsSettings(cert, false), func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %v %s", r.Proto, r.TLS.ServerName, FromContext(r.Context()) != nil, body)
	})
	for _, two := range []bool{false, true} {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "a.test"}, Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(!two)
		tr.Protocols.SetHTTP2(two)
		c := &http.Client{Transport: tr}
		for i := range 3 {
			text := strings.Repeat("x", i*100_000)
			res, err := c.Post("https://"+address+"/", "text/plain", strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(res.Body)
			res.Body.Close()
			want := "HTTP/1.1 a.test true " + text
			if two {
				want = "HTTP/2.0 a.test true " + text
			}
			if string(got) != want {
				t.Errorf("HTTP/2 %v, %d bytes: %.60q", two, len(text), got)
			}
		}
		tr.CloseIdleConnections()
	}
	if n := s.Stats().Accepted; n != 2 {
		t.Errorf("%d connections accepted, want 2", n)
	}
	poll(t, func() error {
		if n := s.Stats().Open; n != 0 {
			return fmt.Errorf("%d connections are left", n)
		}
		return nil
	})
}

func TestTLSClearTextRequest(t *testing.T) {
	cert, _ := authority(t)
	for _, redirect := range []bool{false, true} {
		_, address := listenTLS(t, tlsSettings(cert, redirect), func(http.ResponseWriter, *http.Request) { t.Error("a request was served") })
		for request, want := range map[string][2]string{
			"GET /a?b=c HTTP/1.1\r\nHost: a.test\r\n\r\n": {"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
				"HTTP/1.0 308 Permanent Redirect\r\nLocation: https://a.test/a?b=c\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
			"SSH-2.0-x\r\n": {"", ""},
		} {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(c, request)
			got, _ := io.ReadAll(c)
			answer := string(got)
			if redirect && answer != want[1] || !redirect && !strings.HasPrefix(answer, want[0]) {
				t.Errorf("redirect %v: %q got %q", redirect, request, answer)
			}
			c.Close()
		}
	}
}

// Clients that say nothing, or half of a ClientHello, are cut in time, and a drain does not wait for them longer than that.
func TestTLSSilentClientsAreCut(t *testing.T) {
	cert, _ := authority(t)
	set := tlsSettings(cert, false)
	set.ReadHeaderTimeout = 50 * time.Millisecond
	s, address := listenTLS(t, set, func(http.ResponseWriter, *http.Request) { t.Error("a request was served") })
	for _, beginning := range []string{"", "\x16\x03\x01\x02\x00\x01"} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, beginning)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := bufio.NewReader(c).ReadByte(); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("after %q: %v", beginning, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Drain(ctx, 0); err != nil {
		t.Error(err)
	}
}

func TestTLSChallengeHandshakeIsAll(t *testing.T) {
	cert, pool := authority(t)
	_, address := listenTLS(t, tlsSettings(cert, false), func(http.ResponseWriter, *http.Request) { t.Error("a request was served") })
	c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool, ServerName: "a.test", NextProtos: []string{alpnACME}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the handshake: %v", err)
	}
}

// poll asks until the answer is no error.
func poll(t testing.TB, ask func() error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); ; <-tick.C {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
