package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// open starts the traffic and returns once all streams are open.
func (t *traffic) open(streams int) error {
	for _, kind := range []struct {
		name string
		open func(*traffic) (func() error, error)
	}{{"websocket", openWebSocket}, {"sse", openEvents}} {
		x := t.tally(kind.name)
		for range streams {
			run, err := kind.open(t)
			if err != nil {
				return fmt.Errorf("opening a %s stream: %w", kind.name, err)
			}
			t.workers.Go(func() { t.note(x, run()) })
		}
	}
	for range 4 {
		t.workers.Go(t.keepAlive)
	}
	for range 2 {
		t.workers.Go(t.fresh)
		t.workers.Go(t.download)
	}
	return nil
}

// keepAlive sends requests over one connection. That the server closes it after
// an answer, and says so, is no loss.
func (t *traffic) keepAlive() {
	c := newClient(t.addr, 20*time.Second)
	defer c.close()
	x, request := t.tally("keep-alive"), get("/", "bench.test")
	for !t.over() {
		t.note(x, c.expect(request, "ok"))
	}
}

// fresh opens a connection for each request.
func (t *traffic) fresh() {
	c := newClient(t.addr, 20*time.Second)
	defer c.close()
	x, request := t.tally("fresh"), []byte("GET / HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n")
	for !t.over() {
		t.note(x, c.expect(request, "ok"))
		c.close()
		t.pause(2 * time.Millisecond)
	}
}

// download fetches bodies that take about two seconds.
func (t *traffic) download() {
	c := newClient(t.addr, 30*time.Second)
	defer c.close()
	x, request := t.tally("download"), get("/slow", "bench.test")
	for !t.over() {
		r, err := c.do(request)
		if err == nil && (r.status != http.StatusOK || len(r.body) != slowPieces*slowPiece) {
			err = fmt.Errorf("status %d with %d bytes instead of %d", r.status, len(r.body), slowPieces*slowPiece)
		}
		t.note(x, err)
	}
}

const streamTimeout = 10 * time.Second

func dialStream(addr, request, status string) (net.Conn, *bufio.Reader, error) {
	c, err := net.DialTimeout("tcp", addr, streamTimeout)
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReader(c)
	if err := errors.Join(c.SetDeadline(time.Now().Add(streamTimeout)), send(c, request), awaitHeader(r, status)); err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c, r, nil
}

func send(c net.Conn, text string) error {
	_, err := io.WriteString(c, text)
	return err
}

// awaitHeader reads a response header that must have the status.
func awaitHeader(r *bufio.Reader, status string) error {
	first, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	if len(first) < 12 || first[9:12] != status {
		return fmt.Errorf("answer %q instead of status %s", first, status)
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == "\r\n" {
			return err
		}
	}
}

// openWebSocket opens a WebSocket. The function it returns sends a frame every
// 50 ms, wants it back, and returns when the traffic ends or an echo fails.
func openWebSocket(t *traffic) (func() error, error) {
	c, r, err := dialStream(t.addr, webSocketRequest, "101")
	if err != nil {
		return nil, err
	}
	// A final text frame "hi" with the mask "abcd" (RFC 6455, section 5.2). The
	// upstream sends bytes back as they come, so the echo is masked too.
	frame := []byte{0x81, 0x82, 'a', 'b', 'c', 'd', 'h' ^ 'a', 'i' ^ 'b'}
	return func() error {
		defer c.Close()
		echo := make([]byte, len(frame))
		for n := 1; ; n++ {
			last := t.over() // one more echo when all changes are made
			_ = c.SetDeadline(time.Now().Add(streamTimeout))
			if _, err := c.Write(frame); err != nil {
				return fmt.Errorf("frame %d: %w", n, err)
			}
			if _, err := io.ReadFull(r, echo); err != nil {
				return fmt.Errorf("echo %d: %w", n, err)
			}
			if !bytes.Equal(echo, frame) {
				return fmt.Errorf("echo %d: got %q", n, echo)
			}
			if last {
				return nil
			}
			t.pause(50 * time.Millisecond)
		}
	}, nil
}

// openEvents opens a stream of server-sent events, which must come until the
// traffic ends and then once more.
func openEvents(t *traffic) (func() error, error) {
	c, r, err := dialStream(t.addr, "GET /sse HTTP/1.1\r\nHost: bench.test\r\n\r\n", "200")
	if err != nil {
		return nil, err
	}
	return func() error {
		defer c.Close()
		for n := 1; ; n++ {
			last := t.over()
			_ = c.SetDeadline(time.Now().Add(streamTimeout))
			for line := ""; line != event; {
				if line, err = r.ReadString('\n'); err != nil {
					return fmt.Errorf("event %d: %w", n, err)
				}
			}
			if last {
				return nil
			}
		}
	}, nil
}

const (
	slowPieces = 100
	slowPiece  = 4000
	event      = "data: tick\n"
	stamp      = "data: "
	stampEvery = 500 * time.Microsecond
	// The example of RFC 6455, section 1.3.
	webSocketKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	webSocketAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// streamer is the upstream of the cases with streams.
type streamer struct {
	addr   string
	server *http.Server
	ending chan struct{}
}

func startStreamer() (*streamer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return serveStreamer(l), nil
}

func serveStreamer(l net.Listener) *streamer {
	s := &streamer{addr: l.Addr().String(), ending: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("/slow", s.slow)
	mux.HandleFunc("/sse", s.events)
	mux.HandleFunc("/stamps", s.stamps)
	mux.HandleFunc("/ws", s.webSocket)
	s.server = &http.Server{Handler: mux}
	go func() { _ = s.server.Serve(l) }()
	return s
}

func (s *streamer) close() {
	close(s.ending)
	_ = s.server.Close()
}

// every calls f at intervals, n times or until it fails or the upstream ends.
func (s *streamer) every(d time.Duration, n int, f func() error) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for range n {
		if f() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-s.ending:
			return
		}
	}
}

func (s *streamer) slow(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", fmt.Sprint(slowPieces*slowPiece))
	piece := bytes.Repeat([]byte("x"), slowPiece)
	s.every(20*time.Millisecond, slowPieces, func() error { return write(w, piece) })
}

func (s *streamer) events(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	s.every(50*time.Millisecond, 1<<30, func() error { return write(w, []byte(event+"\n")) })
}

// stamps sends events each of which says when it was sent.
func (s *streamer) stamps(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	var text []byte
	s.every(stampEvery, 1<<30, func() error {
		text = append(strconv.AppendInt(append(text[:0], stamp...), time.Now().UnixNano(), 10), "\n\n"...)
		return write(w, text)
	})
}

func write(w http.ResponseWriter, b []byte) error {
	_, err := w.Write(b)
	return errors.Join(err, http.NewResponseController(w).Flush())
}

// webSocket accepts an upgrade and sends back every byte that comes.
func (s *streamer) webSocket(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Sec-Websocket-Key") != webSocketKey {
		http.Error(w, "the Sec-WebSocket-Key is not what the client sent", http.StatusBadRequest)
		return
	}
	c, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	if send(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+webSocketAccept+"\r\n\r\n") != nil {
		return
	}
	gone := make(chan struct{})
	defer close(gone)
	go func() {
		select {
		case <-s.ending:
			_ = c.Close()
		case <-gone:
		}
	}()
	_, _ = io.Copy(c, buf)
}
