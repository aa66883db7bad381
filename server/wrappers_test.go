package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"golang.org/x/net/http2"
)

// wrapped is a document with listener wrappers that shows what a request knows
// of its connection.
func wrapped(listen, wrappers string) string {
	return fmt.Sprintf(`{"apps":{"http":{"servers":{"s":{"listen":[%q],"automatic_https":{"disable":true},"listener_wrappers":%s,
		"trusted_proxies":{"source":"static","ranges":["192.0.2.0/24"]},
		"routes":[{"handle":[{"handler":"show","text":"{http.request.remote} {http.request.local} {http.vars.client_ip} {http.request.header.X}"}]}]}}}}}`, listen, wrappers)
}

// exchangeRaw sends a text on a new connection and returns the last line of the
// answer, or what it is if there is no body.
func exchangeRaw(t *testing.T, network, address, text string) string {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if len(answer) == 0 {
		return fmt.Sprintf("closed (%v)", err)
	}
	_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	if status := string(answer[:min(12, len(answer))]); status != "HTTP/1.1 200" {
		return status
	}
	return body
}

const (
	askOnce = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: PROXY\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
	fromA   = "PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n"
	fromB   = "PROXY TCP4 192.0.2.7 203.0.113.1 4711 443\r\n"
)

func TestProxyProtocol(t *testing.T) {
	w := newWorld(t)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	w.mustLoad(wrapped(address, `[{"wrapper":"proxy_protocol","allow":["127.0.0.0/8"],"timeout":"5s"}]`))
	for _, c := range []struct{ name, send, want string }{
		{"a header", fromA + askOnce, "198.51.100.7:4711 203.0.113.1:443 198.51.100.7 PROXY"},
		{"the header of a trusted proxy", fromB + askOnce, "192.0.2.7:4711 203.0.113.1:443 203.0.113.9 PROXY"},
		{"two headers", fromA + fromB + askOnce, "HTTP/1.1 400"},
		{"one that is broken", "PROXY TCP4 198.51.100.7\r\n" + askOnce, "closed (<nil>)"},
		{"a request with that method", "PROXY / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "closed (<nil>)"},
	} {
		got := exchangeRaw(t, "tcp", address, c.send)
		if strings.HasPrefix(got, "closed") && strings.HasPrefix(c.want, "closed") {
			got = c.want // by FIN or RST
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if got := exchangeRaw(t, "tcp", address, askOnce); !strings.HasPrefix(got, "127.0.0.1:") || !strings.HasSuffix(got, " "+address+" 127.0.0.1 PROXY") {
		t.Errorf("without a header: %s", got)
	}
	// Those that are silent hold nobody up.
	for range 20 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	start := time.Now()
	if got := exchangeRaw(t, "tcp", address, fromA+askOnce); !strings.HasPrefix(got, "198.51.100.7:4711") || time.Since(start) > 4*time.Second {
		t.Errorf("among silent ones: %s after %v", got, time.Since(start))
	}
}

// TestProxyProtocolEdits: sockets stay, connections keep what they began with,
// new ones follow the document.
func TestProxyProtocolEdits(t *testing.T) {
	w := newWorld(t)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	w.mustLoad(wrapped(address, `[{"wrapper":"proxy_protocol","fallback_policy":"USE"}]`))
	opened := w.Sockets()[0].Opened
	old, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := old.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	keep := strings.Replace(askOnce, "Connection: close\r\n", "", 1)
	say := func(text, want string) {
		t.Helper()
		if _, err := io.WriteString(old, text); err != nil {
			t.Fatal(err)
		}
		if n, err := old.Read(buf); err != nil || !strings.Contains(string(buf[:n]), want) {
			t.Errorf("%q: %q, %v", text, buf[:n], err)
		}
	}
	say(fromA+keep, "198.51.100.7:4711")
	policy := "/apps/http/servers/s/listener_wrappers/0/fallback_policy"
	w.mustApply(w.change(config.Patch, policy, `"REJECT"`))
	say(keep, "198.51.100.7:4711")
	if got := exchangeRaw(t, "tcp", address, fromA+askOnce); !strings.HasPrefix(got, "closed") {
		t.Errorf("REJECT: %s", got)
	}
	w.mustApply(w.change(config.Patch, policy, `"SKIP"`))
	if got := exchangeRaw(t, "tcp", address, fromA+askOnce); got != "HTTP/1.1 400" {
		t.Errorf("SKIP: %s", got)
	}
	w.mustApply(w.change(config.Patch, policy, `"REQUIRE"`))
	if got := exchangeRaw(t, "tcp", address, askOnce); !strings.HasPrefix(got, "closed") {
		t.Errorf("REQUIRE: %s", got)
	}
	w.mustApply(w.change(config.Delete, "/apps/http/servers/s/listener_wrappers", ""))
	if got := exchangeRaw(t, "tcp", address, askOnce); !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("without wrapper: %s", got)
	}
	say(keep, "198.51.100.7:4711")
	if s := w.Sockets(); len(s) != 1 || !s[0].Opened.Equal(opened) {
		t.Errorf("the socket did not stay: %v", s)
	}
}

// TestProxyProtocolOnUnixSockets: a header is always used there.
func TestProxyProtocolOnUnixSockets(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "s")
	w.mustLoad(wrapped("unix/"+path, `[{"wrapper":"proxy_protocol","fallback_policy":"REJECT"}]`))
	if got := exchangeRaw(t, "unix", path, fromB+askOnce); got != "192.0.2.7:4711 203.0.113.1:443 203.0.113.9 PROXY" {
		t.Errorf("%s", got)
	}
	if got := exchangeRaw(t, "unix", path, askOnce); got != "@ "+path+"  PROXY" {
		t.Errorf("without a header: %s", got)
	}
}

// TestProxyProtocolHTTP2: the preface follows the header.
func TestProxyProtocolHTTP2(t *testing.T) {
	w := newWorld(t)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	w.mustLoad(wrapped(address, `[{"wrapper":"proxy_protocol","fallback_policy":"USE"},{"wrapper":"proxy_protocol","fallback_policy":"IGNORE"}]`))
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, fromA+fromB+http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	// :method GET, :scheme http, :path / and :authority a, without compression.
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true, BlockFragment: []byte("\x82\x86\x84\x01\x01a")}); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := frame.(*http2.DataFrame); ok {
			if got := string(d.Data()); !strings.HasPrefix(got, "198.51.100.7:4711 203.0.113.1:443") {
				t.Errorf("%s", got)
			}
			return
		}
	}
}

// TestShutdownWithSilentConnections: those of which no header has come end with
// the process.
func TestShutdownWithSilentConnections(t *testing.T) {
	w := newWorld(t)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	text := strings.Replace(wrapped(address, `[{"wrapper":"proxy_protocol","timeout":-1}]`), `"http":{`, `"http":{"grace_period":"200ms",`, 1)
	w.mustLoad(text)
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w.wait("the connection", func() bool { return w.Sockets()[0].Accepted == 1 })
	start := time.Now()
	if err := w.Shutdown(context.Background()); time.Since(start) > 6*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestWrappersThatAreRefused(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	for _, c := range []struct{ wrappers, want string }{
		{`[{"wrapper":"tls"}]`, "/apps/http/servers/s/listener_wrappers/0"},
		{`[{"wrapper":"tls"},{"wrapper":"proxy_protocol"}]`, "/apps/http/servers/s/listener_wrappers/0"},
		{`[{"wrapper":"proxy_protocol"},{"wrapper":"tls"},{"wrapper":"tls"}]`, "/apps/http/servers/s/listener_wrappers/2"},
		{`[{"wrapper":"nope"}]`, "/apps/http/servers/s/listener_wrappers/0"},
		{`[{"wrapper":"proxy_protocol","fallback_policy":"x"}]`, "/apps/http/servers/s/listener_wrappers/0/fallback_policy"},
		{`[{}]`, "/apps/http/servers/s/listener_wrappers/0"},
	} {
		_, err := w.load(wrapped(fmt.Sprintf("127.0.0.1:%d", port), c.wrappers))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.wrappers, err)
		}
	}
	if _, err := w.load(strings.Replace(wrapped(fmt.Sprintf("127.0.0.1:%d", port), `[]`), `"listener_wrappers"`, `"packet_conn_wrappers":[{"wrapper":"x"}],"listener_wrappers"`, 1)); err == nil || !strings.Contains(err.Error(), "caddy.packetconns.x") {
		t.Errorf("a packet wrapper: %v", err)
	}
	w.mustLoad(strings.Replace(wrapped(fmt.Sprintf("127.0.0.1:%d", port), `[{"wrapper":"proxy_protocol"},{"wrapper":"tls"}]`), `"listener_wrappers"`, `"packet_conn_wrappers":[],"listener_wrappers"`, 1))
}
