package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
)

// TestBeforeTheRoutes is section 2.8: what never reaches a handler, and what is
// answered by the error routes.
func TestBeforeTheRoutes(t *testing.T) {
	w := newWorld(t)
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	w.mustLoad(fmt.Sprintf(`{"apps":{"http":{"servers":{"s":{"listen":[%q],"automatic_https":{"disable":true},"strict_sni_host":true,"max_header_bytes":1000,
		"routes":[{"handle":[{"handler":"show","text":"{http.request.method} {http.request.hostport} {http.request.uri}"}]}],
		"errors":{"routes":[{"handle":[{"handler":"show","text":"error {http.error.status_code}"}]}]}}}}}}`, address))
	long := strings.Repeat("M", 33)
	for _, c := range []struct{ name, head, status, body string }{
		{"a request", "GET /a?b HTTP/1.1\r\nHost: h\r\n", "200", "GET h /a?b"},
		{"HTTP/1.0 without a host", "GET / HTTP/1.0\r\n", "200", "GET  /"},
		{"an absolute target", "GET http://other.test:81/x HTTP/1.1\r\nHost: h\r\n", "200", "GET other.test:81 /x"},
		{"no host", "GET / HTTP/1.1\r\n", "400", "400 Bad Request: missing required Host header"},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "400", "400 Bad Request"},
		{"an empty host", "GET / HTTP/1.1\r\nHost:\r\n", "400", "error 400"},
		{"nonsense", "GET\r\n", "400", "400 Bad Request"},
		{"a header that is too large", "GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 6000) + "\r\n", "431", "431 Request Header Fields Too Large"},
		{"one within the tolerance", "GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 4000) + "\r\n", "200", "GET h /"},
		{"a method of 32 bytes", long[:32] + " / HTTP/1.1\r\nHost: h\r\n", "200", long[:32] + " h /"},
		{"a method of 33 bytes", long + " / HTTP/1.1\r\nHost: h\r\n", "405", "error 405"},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: h\r\n", "200", ""},
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(conn, c.head+"Connection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		body, _ := io.ReadAll(res.Body)
		_ = conn.Close()
		if !strings.HasPrefix(res.Status, c.status) || string(body) != c.body {
			t.Errorf("%s: %s %q, want %s %q", c.name, res.Status, body, c.status, c.body)
		}
	}
}

// TestListenRules are the rules of validation in 2.3, and the placeholders.
func TestListenRules(t *testing.T) {
	t.Setenv("SLUICE_TEST_EMPTY", "")
	w := newWorld(t)
	port := freePort(t)
	t.Setenv("SLUICE_TEST_PORT", fmt.Sprint(port))
	server := func(fields string) string { return `{"apps":{"http":{"servers":{"s":{` + fields + `}}}}}` }
	for _, c := range []struct{ name, text, want string }{
		{"an unknown placeholder", server(`"listen":[":{nonsense}"]`), "/apps/http/servers/s/listen/0"},
		{"an empty placeholder", server(`"listen":["127.0.0.1:1",":{env.SLUICE_TEST_EMPTY}"]`), "/apps/http/servers/s/listen/1"},
		{"a range over a port", server(`"listen":["127.0.0.1:7000-7002","127.0.0.1:7001"]`), "listener address repeated"},
		{"protocols without addresses", server(`"listen":["127.0.0.1:1"],"listen_protocols":[null,["h1"]]`), "/listen_protocols"},
		{"a datagram socket", server(`"listen":["udp/127.0.0.1:1"]`), "datagram"},
		{"a datagram socket without TLS", server(`"listen":["udp/127.0.0.1:1"],"protocols":["h3"]`), "HTTP/3 alone needs TLS"},
		{"a network that does not exist", server(`"listen":["carrier/127.0.0.1:1"]`), "carrier"},
		{"a bad mode", server(`"listen":["unix//tmp/x|0522"]`), "/listen/0"},
		{"a logger name with a port", server(`"logs":{"logger_names":{"a.test:80":"x"}}`), "port"},
		{"a header with a bare star", server(`"expected_underscore_headers":["*"]`), "expected_underscore_headers"},
		{"a header of the other list", server(`"expected_dot_headers":["a_b"]`), "expected_dot_headers"},
		{"a route that does not exist", server(`"named_routes":{"n":null}`), "/named_routes/n"},
		{"TLS policies", server(`"tls_connection_policies":[{}]`), "/tls_connection_policies"},
		{"a host that says nothing", server(`"listen":["127.0.0.1:1"],"routes":[{"match":[{"host":["{env.SLUICE_TEST_EMPTY}"]}]}]`), "/apps/http/servers/s/routes"},
		{"a source that is unknown", server(`"trusted_proxies":{"source":"nope"}`), "/trusted_proxies"},
		{"a range by name", server(`"trusted_proxies":{"source":"static","ranges":["private_ranges"]}`), "/trusted_proxies/ranges/0"},
	} {
		if _, err := w.load(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	w.mustLoad(server(`"listen":["127.0.0.1:{env.SLUICE_TEST_PORT}"],"protocols":["h1","carrier-pigeon"],"automatic_https":{"disable":true}`))
	if status, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/", port)); status != 200 || body != "" {
		t.Errorf("without routes: %d %q", status, body)
	}
	if r := w.mustLoad(server(`"listen":["127.0.0.1:{env.SLUICE_TEST_PORT}"],"protocols":["h2"],"automatic_https":{"disable":true}`)); len(r.Warnings) != 1 {
		t.Errorf("only h2 without TLS: warnings %v", r.Warnings)
	}
	w.wait("the socket to go", func() bool { return len(w.Sockets()) == 0 })
	w.mustLoad(server(""))
}

// TestTrustedPeers is section 2.7 on real connections, with edits in between.
func TestTrustedPeers(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	path := filepath.Join(t.TempDir(), "s")
	w.mustLoad(fmt.Sprintf(`{"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:%d","unix/%s"],"automatic_https":{"disable":true},
		"routes":[{"handle":[{"handler":"show","text":"{http.vars.client_ip} {http.vars.trusted_proxy}"}]}]}}}}}`, port, path))
	ask := func(network, address, want string) {
		t.Helper()
		got := exchangeRaw(t, network, address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Real-Ip: 8.8.8.8\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.9\r\n\r\n")
		if got != want {
			t.Errorf("%s: %q, want %q", network, got, want)
		}
	}
	tcp := fmt.Sprintf("127.0.0.1:%d", port)
	at := func(field string) string { return "/apps/http/servers/s/" + field }
	ask("tcp", tcp, "127.0.0.1 false")
	ask("unix", path, " false")
	w.mustApply(w.change(config.Put, at("trusted_proxies"), `{"source":"static","ranges":["127.0.0.1/8"]}`))
	ask("tcp", tcp, "1.1.1.1 true")
	ask("unix", path, " false")
	w.mustApply(w.change(config.Put, at("trusted_proxies_strict"), `1`))
	ask("tcp", tcp, "2.2.2.2 true")
	w.mustApply(w.change(config.Put, at("client_ip_headers"), `["X-Missing","X-Real-IP"]`))
	ask("tcp", tcp, "8.8.8.8 true")
	w.mustApply(w.change(config.Put, at("trusted_proxies_unix"), `true`))
	ask("unix", path, "8.8.8.8 true")
	w.mustApply(w.change(config.Patch, at("client_ip_headers"), `[]`))
	ask("tcp", tcp, "127.0.0.1 true")
	ask("unix", path, "@ true")
	w.mustApply(w.change(config.Patch, at("client_ip_headers"), `null`))
	ask("tcp", tcp, "2.2.2.2 true")
}

// TestFullDuplex: with enable_full_duplex an HTTP/1 handler may answer before it
// has read the request.
func TestFullDuplex(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	w.mustLoad(strings.Replace(site(port, `{"handle":[{"handler":"talk"}]}`), `"listen"`, `"enable_full_duplex":true,"listen"`, 1))
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\none"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 3)
	if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != "one" {
		t.Fatalf("%q, %v", buf, err)
	}
	if _, err := io.WriteString(c, "two"); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "two" {
		t.Errorf("%q, %v", rest, err)
	}
}

// TestShutdownDelay is section 2.12: an address that a document gives up goes on
// for the delay of the document before, and says so.
func TestShutdownDelay(t *testing.T) {
	w := newWorld(t)
	one, two := freePort(t), freePort(t)
	doc := func(text, delay string, ports ...int) string {
		var listen []string
		for _, p := range ports {
			listen = append(listen, fmt.Sprintf(`"127.0.0.1:%d"`, p))
		}
		return fmt.Sprintf(`{"apps":{"http":{"shutdown_delay":%s,"servers":{"s":{"listen":[%s],"automatic_https":{"disable":true},
			"routes":[{"handle":[{"handler":"show","text":"%s {http.shutting_down} {http.time_until_shutdown}"}]}]}}}}}`, delay, strings.Join(listen, ","), text)
	}
	ask := func(port int) string {
		t.Helper()
		_, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/", port))
		return body
	}
	w.mustLoad(doc("first", `"1h"`, one, two))
	// Nothing leaves: no delay.
	w.mustLoad(doc("second", `"600ms"`, one, two))
	if got := ask(one); got != "second false " {
		t.Errorf("%q", got)
	}
	done := make(chan error, 1)
	start := time.Now()
	go func() {
		_, err := w.load(doc("third", `"1h"`, two))
		done <- err
	}()
	w.wait("the new document", func() bool { return ask(two) == "third false " })
	got := ask(one)
	if rest, ok := strings.CutPrefix(got, "second true "); !ok || !strings.HasSuffix(rest, "ms") {
		t.Errorf("the address that leaves says %q", got)
	}
	if err := <-done; err != nil || time.Since(start) < 600*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	w.wait("the address to close", func() bool {
		_, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", one))
		return err != nil
	})
	// The end of the process waits neither for a change that waits, nor, as there
	// is nothing to serve, for the delay of a document without servers.
	go func() {
		_, err := w.load(`{"apps":{"http":{}}}`)
		done <- err
	}()
	w.wait("the change", func() bool { return w.Current().Revision() == 4 })
	if got := ask(two); !strings.HasPrefix(got, "third true 59m") {
		t.Errorf("%q", got)
	}
	start = time.Now()
	if err := w.Shutdown(t.Context()); err != nil || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
