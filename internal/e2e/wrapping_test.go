package e2e

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wrapped is a server whose responses go through every handler that looks at
// them, on their way from an upstream.
type wrapped struct {
	*home
	addr   string // of the server
	client *http.Client
	events chan string // what the upstream's event stream says next
	hold   chan struct{}
	slow   chan time.Time // when the upstream saw the request of the error's page
}

const wrappedDoc = `{
  "logging": {"logs": {"default": {"exclude": ["http.log.access"]},
    "access": {"writer": {"output": "file", "filename": "access.log"}, "include": ["http.log.access"]}}},
  "apps": {"http": {"servers": {"main": {"listen": [%q], "logs": {}, "protocols": ["h1", "h2c"],
    "routes": [
      {"handle": [
        {"handler": "tracing"},
        {"handler": "log_append", "key": "kind", "value": "{http.response.header.Content-Type}"},
        {"handler": "headers", "response": {"set": {"X-Deferred": ["yes"]}, "deferred": true}},
        {"handler": "encode", "encodings": {"gzip": {}}},
        {"handler": "push"},
        {"handler": "timeouts", "read_timeout": 20000000000, "write_timeout": 20000000000},
        {"handler": "intercept", "handle_response": [{"match": {"status_code": [599]}, "status_code": 200}]},
        {"handler": "templates", "mime_types": ["text/x-template"]},
        {"handler": "request_body", "max_size": 1000000}
      ]},
      {"match": [{"path": ["/late"]}], "handle": [{"handler": "subroute", "routes": [{"handle": [{"handler": "error", "status_code": 404}]}]}]},
      {"match": [{"path": ["/uuid"]}], "handle": [{"handler": "static_response", "body": "{http.request.uuid}"}]},
      {"match": [{"path": ["/kept"]}], "handle": [{"handler": "log_append", "key": "answer", "value": "{http.response.body}"}]},
      {"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": %q}]}]}
    ],
    "errors": {"routes": [{"handle": [{"handler": "reverse_proxy", "rewrite": {"uri": "/slow"}, "upstreams": [{"dial": %q}]}]}]}}}}}}`

func newWrapped(t *testing.T) *wrapped {
	t.Helper()
	ports := freePorts(t, 2)
	w := &wrapped{home: newHome(t, ports[0]), addr: fmt.Sprintf("127.0.0.1:%d", ports[1]), events: make(chan string), hold: make(chan struct{}), slow: make(chan time.Time, 1),
		client: &http.Client{Timeout: patience, Transport: &http.Transport{DisableCompression: true}}}
	up := httptest.NewServer(w)
	t.Cleanup(up.Close)
	t.Cleanup(w.client.CloseIdleConnections)
	w.env = append(w.env, "OTEL_TRACES_EXPORTER=none")
	dial := up.Listener.Addr().String()
	w.write(t, "sluice.json", fmt.Sprintf(wrappedDoc, w.addr, dial, dial))
	launch(t, w.home, w.command(filepath.Join(tools, "sluice"), "run", "--config", "sluice.json"))
	return w
}

const textSize = 15 * 1000

// ServeHTTP is the upstream.
func (w *wrapped) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(rw)
	switch r.URL.Path {
	case "/ws":
		missionUpstream("up").ServeHTTP(rw, r)
	case "/events":
		rw.Header().Set("Content-Type", "text/event-stream")
		_ = c.Flush()
		for e := range w.events {
			fmt.Fprintf(rw, "data: %s\n\n", e)
			_ = c.Flush()
		}
	case "/hints":
		rw.Header().Set("Link", "</a.css>; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
		w.wait(r)
		rw.WriteHeader(http.StatusAccepted)
	case "/template":
		rw.Header().Set("Content-Type", "text/x-template")
		rw.Header().Set("Etag", `"1"`)
		fmt.Fprint(rw, strings.Repeat("{{.Req.Method}} ", 500))
	case "/replaced":
		rw.WriteHeader(599)
		fmt.Fprint(rw, "unknown")
	case "/slow":
		w.slow <- time.Now()
		w.wait(r)
		fmt.Fprint(rw, "the error's page")
	default:
		rw.Header().Set("Content-Type", "text/plain")
		rw.Header().Set("Content-Length", fmt.Sprint(textSize))
		fmt.Fprint(rw, strings.Repeat("a line of text\n", textSize/15))
	}
}

// wait waits until the test goes on.
func (w *wrapped) wait(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-w.hold:
	}
}

// logged waits for the access-log entry of a URI.
func (w *wrapped) logged(t *testing.T, uri string) (entry map[string]any, line string) {
	t.Helper()
	poll(t, "the log entry of "+uri, func() error {
		text, err := os.ReadFile(filepath.Join(w.dir, "access.log"))
		if err != nil {
			return err
		}
		for line = range strings.Lines(string(text)) {
			entry = nil
			if json.Unmarshal([]byte(line), &entry) == nil && entry["request"].(map[string]any)["uri"] == uri {
				return nil
			}
		}
		return fmt.Errorf("not in %s", text)
	})
	return entry, line
}

func (w *wrapped) get(t *testing.T, method, uri string, body io.Reader, lines ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.addr+uri, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Set(name, value)
	}
	res, err := w.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// TestWrapping is section 6.2: whatever stands in the way, a response keeps the
// abilities that it has without, and the access log of section 7.4 knows what
// went over the wire.
func TestWrapping(t *testing.T) {
	t.Parallel()
	w := newWrapped(t)
	t.Run("a WebSocket, and its bytes", w.webSocket)
	t.Run("an event stream", w.eventStream)
	t.Run("early hints", w.earlyHints)
	t.Run("compression", w.compression)
	t.Run("buffering", w.buffering)
	t.Run("the log entry", w.entries)
}

func (w *wrapped) webSocket(t *testing.T) {
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAccept-Encoding: gzip\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	const message = "to and fro\n"
	for range 3 {
		fmt.Fprint(conn, message)
		if line, err := in.ReadString('\n'); line != message {
			t.Fatalf("echo %q, %v", line, err)
		}
	}
	_ = conn.Close()
	entry, line := w.logged(t, "/ws")
	if want := float64(3 * len(message)); entry["status"] != 101.0 || entry["size"] != want || entry["bytes_read"] != want {
		t.Errorf("want status 101 and %v bytes both ways: %s", want, line)
	}
}

func (w *wrapped) eventStream(t *testing.T) {
	res := w.get(t, "GET", "/events", nil, "Accept-Encoding: gzip")
	if res.Header.Get("Content-Encoding") != "gzip" || res.Header.Get("X-Deferred") != "yes" {
		t.Fatalf("%v", res.Header)
	}
	var in *bufio.Reader
	for _, e := range []string{"one", "two", "three"} {
		w.events <- e
		if in == nil {
			z, err := gzip.NewReader(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			in = bufio.NewReader(z)
		}
		if line, err := in.ReadString('\n'); line != "data: "+e+"\n" {
			t.Fatalf("%q, %v", line, err)
		}
		if _, err := in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	close(w.events)
	if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

func (w *wrapped) earlyHints(t *testing.T) {
	seen := make(chan string, 10)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		seen <- fmt.Sprint(code, " ", h.Get("Link"))
		return nil
	}})
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+w.addr+"/hints", nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan *http.Response, 1)
	go func() {
		res, err := w.client.Do(r)
		if err != nil {
			t.Error(err)
		}
		done <- res
	}()
	wait, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case got := <-seen:
		if got != "103 </a.css>; rel=preload" {
			t.Errorf("hints %q", got)
		}
	case <-wait.Done():
		t.Error("no hints while the final response is not there")
	}
	w.hold <- struct{}{}
	if res := <-done; res != nil {
		_ = res.Body.Close()
		if res.StatusCode != http.StatusAccepted {
			t.Errorf("%s", res.Status)
		}
	}
	if entry, line := w.logged(t, "/hints"); entry["status"] != 202.0 {
		t.Error(line)
	}
}

func (w *wrapped) compression(t *testing.T) {
	res := w.get(t, "GET", "/text", nil, "Accept-Encoding: gzip")
	coded, err := io.ReadAll(res.Body)
	if err != nil || res.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v %v", res.Header, err)
	}
	if body, err := decompress("gzip", coded); len(body) != textSize {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	// What is counted is what was sent.
	if entry, line := w.logged(t, "/text"); entry["size"] != float64(len(coded)) || entry["kind"] != "text/plain" {
		t.Errorf("want size %d and the type: %s", len(coded), line)
	}
	res = w.get(t, "HEAD", "/text?head", nil, "Accept-Encoding: gzip")
	if h := res.Header; h.Get("Content-Encoding") != "gzip" || h.Get("Vary") != "Accept-Encoding" || h.Get("X-Deferred") != "yes" || res.ContentLength > 0 {
		t.Errorf("HEAD: %v, length %d", h, res.ContentLength)
	}
}

func (w *wrapped) buffering(t *testing.T) {
	res := w.get(t, "GET", "/template", nil, "Accept-Encoding: gzip")
	coded, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := decompress(res.Header.Get("Content-Encoding"), coded); string(body) != strings.Repeat("GET ", 500) || err != nil || res.Header.Get("Etag") != "" {
		t.Errorf("a template, compressed: %.50q %v %v", body, res.Header, err)
	}
	res = w.get(t, "GET", "/replaced", nil)
	if body, _ := io.ReadAll(res.Body); res.StatusCode != 200 || string(body) != "unknown" {
		t.Errorf("a status that is replaced: %s %q", res.Status, body)
	}
	res = w.get(t, "GET", "/kept", nil, "Accept-Encoding: gzip")
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Error(err)
	}
	// Near the upstream: it is logged as it was before compression.
	if entry, line := w.logged(t, "/kept"); entry["answer"] != strings.Repeat("a line of text\n", textSize/15) {
		t.Errorf("%.500s", line)
	}
}

func (w *wrapped) entries(t *testing.T) {
	// The time of error routes does not count: the main chain was done before the
	// upstream saw their request.
	begin := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		res := w.get(t, "POST", "/late", strings.NewReader("never read"))
		if body, _ := io.ReadAll(res.Body); res.StatusCode != 200 || string(body) != "the error's page" {
			t.Errorf("%s %q", res.Status, body)
		}
	}()
	reached := <-w.slow
	w.hold <- struct{}{}
	<-done
	entry, line := w.logged(t, "/late")
	if d, ok := entry["duration"].(float64); !ok || d > reached.Sub(begin).Seconds() || entry["status"] != 200.0 || entry["bytes_read"] != 10.0 {
		t.Errorf("more than %v, or not what was sent: %s", reached.Sub(begin), line)
	}

	res := w.get(t, "POST", "/uuid", strings.NewReader("never read"), "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	body, _ := io.ReadAll(res.Body)
	entry, line = w.logged(t, "/uuid")
	if entry["uuid"] != string(body) || len(body) != 36 || entry["bytes_read"] != 0.0 || entry["traceID"] != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("%q: %s", body, line)
	}
	at := -1
	for _, key := range []string{"level", "ts", "logger", "msg", "request", "bytes_read", "user_id", "duration", "size", "status", "resp_headers", "traceID", "spanID", "uuid", "kind"} {
		next := strings.Index(line, `"`+key+`":`)
		if next < at {
			t.Errorf("%s is not there, or not where it should be: %s", key, line)
		}
		at = next
	}

	// What never reaches the handlers is not logged.
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(conn, "GET /without-host HTTP/1.1\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != 400 {
		t.Errorf("%v, %v", res, err)
	}
	_, _ = io.Copy(io.Discard, w.get(t, "GET", "/last", nil).Body)
	w.logged(t, "/last")
	if text, err := os.ReadFile(filepath.Join(w.dir, "access.log")); err != nil || strings.Contains(string(text), "/without-host") {
		t.Errorf("logged, or %v", err)
	}
}
