package wire

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

func listenQUIC(t testing.TB, settings func() *Settings, h http.HandlerFunc) (q *QUIC, address string) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	q, err = NewQUIC(pc, QUICOptions{Handler: h, Settings: settings, Listener: "here"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q, pc.LocalAddr().String()
}

func TestHTTP3(t *testing.T) {
	cert, pool := authority(t)
	set := tlsSettings(cert, false)
	set.MaxHeaderBytes = 20_000
	q, address := listenQUIC(t, func() *Settings { return &set }, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c := FromContext(r.Context())
		fmt.Fprintf(w, "%s %s %v %d %s", r.Proto, r.TLS.ServerName, c.Listener(), c.Requests(), body)
	})
	tr := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "a.test"}}
	defer tr.Close()
	c := &http.Client{Transport: tr, Timeout: 20 * time.Second}
	for i := range 3 {
		text := strings.Repeat("x", i*100_000)
		res, err := c.Post("https://"+address+"/", "text/plain", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if want := fmt.Sprintf("HTTP/3.0 a.test here %d %s", i+1, text); string(got) != want {
			t.Errorf("%d bytes: %.60q", len(text), got)
		}
	}
	req, _ := http.NewRequest("GET", "https://"+address+"/", nil)
	req.Header.Set("X-Large", strings.Repeat("x", 30_000))
	if res, err := c.Do(req); err == nil && res.StatusCode == 200 {
		t.Error("a header beyond the limit was taken")
	}
	if s := q.Stats(); s.Open == 0 || s.Accepted == 0 {
		t.Errorf("%+v", s)
	}
}

// The settings are those that hold when a connection begins, and a drain lets the running request end.
func TestHTTP3Drain(t *testing.T) {
	cert, pool := authority(t)
	set := tlsSettings(cert, false)
	var settings atomic.Pointer[Settings]
	settings.Store(&set)
	begun, end := make(chan bool), make(chan bool)
	q, address := listenQUIC(t, settings.Load, func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		<-end
		_, _ = io.WriteString(w, "done")
	})
	tr := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "a.test"}}
	defer tr.Close()
	answer := make(chan string)
	go func() {
		res, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Get("https://" + address + "/")
		if err != nil {
			answer <- err.Error()
			return
		}
		text, _ := io.ReadAll(res.Body)
		answer <- string(text)
	}()
	<-begun
	drained := make(chan error)
	go func() { drained <- q.Drain(t.Context(), 0) }()
	select {
	case err := <-drained:
		t.Fatalf("drained while a request runs: %v", err)
	case end <- true:
	}
	if text := <-answer; text != "done" {
		t.Errorf("the running request: %s", text)
	}
	if err := <-drained; err != nil && err != context.Canceled {
		t.Errorf("draining: %v", err)
	}
	if _, err := net.ListenPacket("udp", address); err != nil {
		t.Errorf("the socket is still open: %v", err)
	}
}

// An edit of the header limit makes a server of HTTP/3 of its own for the connections that follow; those without
// connections are not kept.
func TestHTTP3CoresAreBounded(t *testing.T) {
	cert, pool := authority(t)
	var settings atomic.Pointer[Settings]
	set := tlsSettings(cert, false)
	settings.Store(&set)
	q, address := listenQUIC(t, settings.Load, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	visit := func(tr *http3.Transport) {
		t.Helper()
		res, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Get("https://" + address + "/")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	config := &tls.Config{RootCAs: pool, ServerName: "a.test"}
	stays := &http3.Transport{TLSClientConfig: config}
	defer stays.Close()
	visit(stays)
	const edits = 12
	for i := range edits {
		next := set
		next.MaxHeaderBytes = 20_000 + i
		settings.Store(&next)
		tr := &http3.Transport{TLSClientConfig: config}
		visit(tr)
		tr.Close()
	}
	poll(t, func() error {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.open != 1 || len(q.cores) > spareCores+1 {
			return fmt.Errorf("%d connections, %d servers", q.open, len(q.cores))
		}
		if q.cores[DefaultMaxHeaderBytes] == nil {
			t.Fatal("the server of a connection that is open is forgotten")
		}
		return nil
	})
	visit(stays)
	if n := q.Stats().Accepted; n != edits+1 {
		t.Errorf("%d connections, want %d", n, edits+1)
	}
}

func TestQUICTimeouts(t *testing.T) {
	for name, c := range map[string]struct {
		cfg             Config
		handshake, idle time.Duration
	}{
		"defaults":             {Config{}, 5 * time.Second, 5 * time.Minute},
		"less for the header":  {Config{ReadHeaderTimeout: 2 * time.Second}, 2 * time.Second, 5 * time.Minute},
		"no limits":            {Config{ReadHeaderTimeout: -1, IdleTimeout: -1}, 5 * time.Second, never},
		"a short idle timeout": {Config{IdleTimeout: time.Second}, 5 * time.Second, time.Second},
	} {
		if q := quicConfig(NewSettings(c.cfg)); q.HandshakeIdleTimeout != c.handshake || q.MaxIdleTimeout != c.idle {
			t.Errorf("%s: %v, %v; want %v, %v", name, q.HandshakeIdleTimeout, q.MaxIdleTimeout, c.handshake, c.idle)
		}
	}
}

// An extended CONNECT is told as that of HTTP/2 is (RFC 9220), and its stream goes both ways.
func TestHTTP3ExtendedConnect(t *testing.T) {
	cert, pool := authority(t)
	set := tlsSettings(cert, false)
	_, address := listenQUIC(t, func() *Settings { return &set }, func(w http.ResponseWriter, r *http.Request) {
		if p := r.Header[":protocol"]; r.Method != http.MethodConnect || len(p) != 1 || p[0] != "websocket" || r.Proto != "HTTP/3.0" || r.URL.Path != "/chat" {
			t.Errorf("%s %s %s %v", r.Method, r.URL, r.Proto, r.Header)
		}
		w.WriteHeader(http.StatusOK)
		b := make([]byte, 5)
		for {
			http.NewResponseController(w).Flush()
			if _, err := io.ReadFull(r.Body, b); err != nil {
				return
			}
			w.Write(b)
		}
	})
	ctx := t.Context()
	conn, err := quic.DialAddr(ctx, address, &tls.Config{RootCAs: pool, ServerName: "a.test", NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	s, err := (&http3.Transport{}).NewClientConn(conn).OpenRequestStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodConnect, "https://a.test/chat", nil)
	req.Proto = "websocket"
	if err := s.SendRequestHeader(req); err != nil {
		t.Fatal(err)
	}
	if res, err := s.ReadResponse(); err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	for _, text := range []string{"hello", "world"} {
		got := make([]byte, len(text))
		if _, err := io.WriteString(s, text); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, got); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	_ = s.Close()
	if rest, err := io.ReadAll(s); err != nil || len(rest) > 0 {
		t.Errorf("at the end: %q, %v", rest, err)
	}
}
