package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	openStreams    = 1000 // of each kind
	unrelatedEdits = 1000
	ownEdits       = 200
)

// streamSource is an upstream that sends back what comes over a WebSocket, and
// sends everyone who asked for events what the test publishes.
type streamSource struct {
	*httptest.Server
	mu          sync.Mutex
	subscribers []chan string
}

func newStreamSource(t *testing.T) *streamSource {
	t.Helper()
	s := &streamSource{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *streamSource) dial() string { return strings.TrimPrefix(s.URL, "http://") }

// ServeHTTP implements http.Handler.
func (s *streamSource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/streams/sse"):
		s.events(w, r)
	case strings.HasPrefix(r.URL.Path, "/streams/ws"):
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(conn, rw)
	default:
		w.Header().Set("X-Seen", r.Header.Get("X-Gen"))
	}
}

func (s *streamSource) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	texts := make(chan string, 4)
	texts <- "welcome"
	s.mu.Lock()
	s.subscribers = append(s.subscribers, texts)
	s.mu.Unlock()
	for {
		select {
		case text := <-texts:
			_, err := fmt.Fprintf(w, "data: %s\n\n", text)
			if errors.Join(err, http.NewResponseController(w).Flush()) != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func (s *streamSource) publish(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, texts := range s.subscribers {
		texts <- text
	}
}

// stream is the client's end of a WebSocket or of events.
type stream struct {
	net.Conn
	r *bufio.Reader
}

func openStream(addr, request string, status int) (*stream, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &stream{conn, bufio.NewReaderSize(conn, 512)}
	_ = s.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		return s, err
	}
	line, err := s.r.ReadString('\n')
	if want := fmt.Sprintf("HTTP/1.1 %d ", status); err == nil && !strings.HasPrefix(line, want) {
		err = fmt.Errorf("answer %q, want %s", line, want)
	}
	for err == nil && line != "\r\n" {
		line, err = s.r.ReadString('\n')
	}
	return s, err
}

// echo sends a masked frame, mask 0, and wants it back.
func (s *stream) echo(text string) error {
	_ = s.SetDeadline(time.Now().Add(patience))
	frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
	if _, err := s.Write(frame); err != nil {
		return err
	}
	got := make([]byte, len(frame))
	if _, err := io.ReadFull(s.r, got); err != nil {
		return err
	}
	if !bytes.Equal(got, frame) {
		return fmt.Errorf("echo %q instead of %q", got, frame)
	}
	return nil
}

// event waits for an event. Between events stand the sizes of chunks.
func (s *stream) event(text string) error {
	_ = s.SetDeadline(time.Now().Add(patience))
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("waiting for the event %s: %w", text, err)
		}
		if got, ok := strings.CutPrefix(line, "data: "); ok {
			if got != text+"\n" {
				return fmt.Errorf("event %q instead of %q", got, text)
			}
			return nil
		}
	}
}

// onAll does something with each of n things, several at a time, and tells of
// how many it failed.
func onAll(t *testing.T, what string, n int, do func(i int) error) {
	t.Helper()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed int
		first  error
	)
	const workers = 16
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				if err := do(i); err != nil {
					mu.Lock()
					failed++
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if failed > 0 {
		t.Fatalf("%s: %d of %d failed, the first: %v", what, failed, n, first)
	}
}

// openFiles raises how many files this process and those it starts may have
// open, and skips the test where that is not enough.
func openFiles(t *testing.T, need uint64) {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if l.Max < need {
		t.Skipf("a process may have %d files open here, the test needs %d", l.Max, need)
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
}

// editor makes edits over the API, all of which must be accepted.
type editor struct {
	t      *testing.T
	url    string
	client *http.Client
}

func (e *editor) do(method, path string, value any) {
	e.t.Helper()
	var body io.Reader
	if value != nil {
		text, err := json.Marshal(value)
		if err != nil {
			e.t.Fatal(err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, body)
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := e.client.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		e.t.Fatalf("%s %s: %s %s", method, path, res.Status, text)
	}
}

type object = map[string]any

const streamRoutes = "/config/apps/http/servers/s/routes"

// ownRoute is the route of the streams in its generation gen.
func ownRoute(gen string, dials ...string) object {
	upstreams := []any{}
	for _, d := range dials {
		upstreams = append(upstreams, object{"dial": d})
	}
	return object{
		"@id": "own", "match": []any{object{"path": []string{"/streams/*"}}}, "terminal": true,
		"handle": []any{
			object{"@id": "headers", "handler": "headers", "response": object{"set": object{"X-Gen": []string{gen}}}},
			object{
				"@id": "proxy", "handler": "reverse_proxy", "upstreams": upstreams,
				"headers":   object{"request": object{"set": object{"X-Gen": []string{gen}}}},
				"transport": object{"protocol": "http", "dial_timeout": "3s"},
			},
		},
	}
}

func otherRoute(i int, dial string) object {
	handler := object{"handler": "static_response", "body": fmt.Sprint("body ", i)}
	if i%2 == 1 {
		handler = object{"handler": "reverse_proxy", "upstreams": []any{object{"dial": dial}}}
	}
	return object{"@id": fmt.Sprint("r", i), "match": []any{object{"path": []string{fmt.Sprintf("/other%d/*", i)}}}, "handle": []any{handler}}
}

// unrelated makes edit k of routes that the streams do not go through. One of
// them shifts the place of the route that they do go through.
func (e *editor) unrelated(k int, dial string) {
	e.t.Helper()
	switch k % 5 {
	case 0:
		e.do("PATCH", "/id/r0/handle/0/body", fmt.Sprint("edit ", k))
	case 1:
		e.do("PATCH", "/id/r1/handle/0/upstreams", []any{object{"dial": dial}, object{"dial": fmt.Sprintf("127.0.0.1:%d", 10000+k)}})
	case 2:
		e.do("PUT", streamRoutes+"/0", otherRoute(1000+k, dial))
	case 3:
		e.do("POST", streamRoutes, otherRoute(1000+k, dial))
	case 4:
		e.do("DELETE", fmt.Sprint("/id/r", 1000+k-2), nil)
		e.do("DELETE", fmt.Sprint("/id/r", 1000+k-1), nil)
	}
}

// own makes edit k of the route that the streams go through, of its handlers,
// and of the upstream that they go to.
func (e *editor) own(k int, dial, second string) {
	e.t.Helper()
	gen := []string{fmt.Sprint("gen", k)}
	switch k % 10 {
	case 0:
		e.do("PATCH", "/id/proxy/headers/request/set/X-Gen", gen)
	case 1:
		e.do("PATCH", "/id/headers/response/set/X-Gen", gen)
	case 2:
		e.do("POST", "/id/proxy/upstreams", object{"dial": second})
	case 3:
		e.do("DELETE", "/id/proxy/upstreams/0", nil) // the one that they go to
	case 4:
		e.do("PATCH", "/id/proxy/upstreams", []any{object{"dial": dial, "max_requests": 5000 + k}})
	case 5:
		e.do("PATCH", "/id/proxy/transport/dial_timeout", fmt.Sprintf("%dms", 3000+k))
	case 6:
		e.do("PATCH", "/id/proxy/transport", object{"protocol": "http", "dial_timeout": "3s", "response_header_timeout": fmt.Sprintf("%ds", 60+k)})
	case 7:
		e.do("PATCH", "/id/own/match/0/path", []string{"/streams/*", fmt.Sprint("/more", k)})
	case 8:
		e.do("DELETE", "/id/own", nil)
	case 9:
		e.do("PUT", streamRoutes+"/0", ownRoute(gen[0], dial))
	}
}

// TestStreamsOutliveEdits: streams without stream_close_delay are never cut,
// whatever is edited.
func TestStreamsOutliveEdits(t *testing.T) {
	openFiles(t, 4*openStreams+500)
	source, second := newStreamSource(t), newStreamSource(t)
	ports := freePorts(t, 2)
	h, site := newHome(t, ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	launch(t, h, h.command(filepath.Join(tools, "sluice"), "run"))
	e := &editor{t, "http://" + h.admin, &http.Client{Timeout: patience}}
	routes := []any{ownRoute("gen", source.dial())}
	for i := range 20 {
		routes = append(routes, otherRoute(i, source.dial()))
	}
	e.do("POST", "/load", object{
		"admin":   object{"listen": h.admin},
		"logging": object{"logs": object{"default": object{"level": "ERROR"}}},
		"apps":    object{"http": object{"servers": object{"s": object{"listen": []string{site}, "automatic_https": object{"disable": true}, "routes": routes}}}},
	})

	sockets, events := make([]*stream, openStreams), make([]*stream, openStreams)
	defer func() {
		for _, s := range append(sockets, events...) {
			if s != nil {
				s.Close()
			}
		}
	}()
	onAll(t, "opening WebSockets", openStreams, func(i int) (err error) {
		sockets[i], err = openStream(site, fmt.Sprintf("GET /streams/ws/%d HTTP/1.1\r\nHost: x.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", i), http.StatusSwitchingProtocols)
		return err
	})
	onAll(t, "opening events", openStreams, func(i int) (err error) {
		events[i], err = openStream(site, fmt.Sprintf("GET /streams/sse/%d HTTP/1.1\r\nHost: x.test\r\n\r\n", i), http.StatusOK)
		return err
	})
	onAll(t, "the first event", openStreams, func(i int) error { return events[i].event("welcome") })
	alive := func(when string) {
		t.Helper()
		onAll(t, "WebSockets "+when, openStreams, func(i int) error { return sockets[i].echo(fmt.Sprint(when, " ", i)) })
		source.publish(when)
		onAll(t, "events "+when, openStreams, func(i int) error { return events[i].event(when) })
	}
	alive("before the edits")
	start := time.Now()
	for k := range unrelatedEdits {
		e.unrelated(k, source.dial())
	}
	t.Logf("%d edits of other routes in %v", unrelatedEdits, time.Since(start))
	alive("after edits of other routes")
	start = time.Now()
	for k := range ownEdits {
		e.own(k, source.dial(), second.dial())
	}
	t.Logf("%d edits of their own route in %v", ownEdits, time.Since(start))
	alive("after edits of their own route")

	// The edits were not just accepted.
	res, err := e.client.Get("http://" + site + "/streams/probe")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	want := fmt.Sprint("gen", ownEdits-1)
	if up, down := res.Header.Get("X-Seen"), res.Header.Get("X-Gen"); up != want || down != want {
		t.Errorf("the upstream saw %q and the client got %q, want %q", up, down, want)
	}
}
