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
