package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func checkTransport(t *testing.T, m *mission) {
	m.wants(t, "transport", `{"protocol":"http","dial_timeout":5000000000,"response_header_timeout":30000000000,"read_buffer_size":8192,"write_buffer_size":8192,
		"keep_alive":{"max_idle_conns":100,"idle_timeout":60000000000}}`)
	t.Run("response header", func(t *testing.T) { checkHeaderTimeout(t, m) })
	t.Run("buffers", func(t *testing.T) { checkBuffers(t, m) })
	t.Run("idle connections", func(t *testing.T) { checkIdle(t, m) })
	t.Run("idle time", func(t *testing.T) { checkIdleTime(t, m) })
}

// beginTransport begins to wait for an upstream that does not answer to the making of a connection, for as long as the
// file says and no longer. What it returns waits for the end of that.
func beginTransport(t *testing.T) (end func()) {
	m := newMission(t)
	m.given(t, "13")
	m.places["localhost:3000"] = deaf(t)
	m.load(t, m.file)
	begun := time.Now()
	done := make(chan string, 1)
	go func() {
		res, err := m.ask(t, http.MethodGet, "/", nil)
		if err != nil {
			done <- err.Error()
			return
		}
		res.Body.Close()
		done <- fmt.Sprintf("%d after at least 5s: %t, and before 10s: %t", res.StatusCode, time.Since(begun) >= 5*time.Second, time.Since(begun) < 10*time.Second)
	}()
	return func() {
		if got := <-done; got != "502 after at least 5s: true, and before 10s: true" {
			t.Errorf("mission 13: %s", got)
		}
	}
}

// deaf is the address of a socket that listens and has no room for another connection.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 200 {
		conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Skip("this system makes room for any number of connections")
	return ""
}

func checkHeaderTimeout(t *testing.T, m *mission) {
	m.edit(t, "response_header_timeout 30s", "response_header_timeout 200ms")
	ended := make(chan struct{}, 1)
	m.ups[0].does(func(w http.ResponseWriter, r *http.Request) {
		hang(w, r)
		ended <- struct{}{}
	})
	defer m.ups[0].does(nil)
	begun := time.Now()
	if got := m.status(t); got != http.StatusGatewayTimeout {
		t.Errorf("status %d, want 504", got)
	}
	if took := time.Since(begun); took < 200*time.Millisecond {
		t.Errorf("it took %v, want 200ms", took)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the upstream's request was not ended")
	}
	// The body may take longer than the header.
	m.ups[0].does(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(300 * time.Millisecond):
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "late")
	})
	if res, body := m.fetch(t, "/"); res.StatusCode != http.StatusOK || body != "late" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

// packets is an upstream on a socket that keeps what is written at once together, so that it shows the sizes of what is
// read and written. What a reader has no room for is lost.
type packets struct {
	address string
	answer  int // bytes of the answer, which is one packet

	mu    sync.Mutex
	sizes []int // of the parts of the last request
}

func newPackets(t *testing.T, answer int) *packets {
	t.Helper()
	dir, err := os.MkdirTemp("", "sluice")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "socket")
	l, err := net.Listen("unixpacket", path)
	if err != nil {
		t.Skip("sockets of packets:", err)
	}
	p := &packets{address: "unixpacket/" + path, answer: answer}
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	t.Cleanup(func() { _ = l.Close() })
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(conn) })
		}
	})
	return p
}

// serve answers one request.
func (p *packets) serve(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 256<<10)
	var request []byte
	var sizes []int
	for !bytes.Contains(request, []byte("\r\n\r\n")) {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		request, sizes = append(request, buf[:n]...), append(sizes, n)
	}
	p.mu.Lock()
	p.sizes = sizes
	p.mu.Unlock()
	const header = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %5d\r\n\r\n"
	length := p.answer - len(fmt.Sprintf(header, 0))
	fmt.Fprintf(conn, header+"%s", length, strings.Repeat("x", length))
}

func checkBuffers(t *testing.T, m *mission) {
	var fields []string
	for i := range 240 { // 18 kB
		fields = append(fields, fmt.Sprintf("X-Field-%03d: %s", i, strings.Repeat("v", 60)))
	}
	for _, tt := range []struct {
		edit           []string
		written, fits  int
		answer, status int
	}{
		{nil, 8192, 8192, 8192, 200},
		{nil, 8192, 8192, 8300, 502},
		{[]string{"read_buffer_size 8192", "read_buffer_size 16384"}, 8192, 16384, 16384, 200},
		{[]string{"write_buffer_size 8192", "write_buffer_size 16384"}, 16384, 8192, 8192, 200},
	} {
		p := newPackets(t, tt.answer)
		m.places["localhost:3000"] = p.address
		m.edit(t, tt.edit...)
		res, err := m.ask(t, http.MethodGet, "/", nil, fields...)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		p.mu.Lock()
		if len(p.sizes) == 0 || p.sizes[0] != tt.written {
			t.Errorf("%v: parts of %v bytes are written, want %d", tt.edit, p.sizes, tt.written)
		}
		p.mu.Unlock()
		if whole := res.StatusCode == 200 && err == nil && len(body) > tt.answer-100; whole != (tt.answer <= tt.fits) {
			t.Errorf("%v: an answer of %d bytes at once is read whole: %t (%d, %d bytes, %v)", tt.edit, tt.answer, whole, res.StatusCode, len(body), err)
		}
	}
}

// counted is an upstream that knows its connections.
type counted struct {
	*httptest.Server
	mu    sync.Mutex
	conns map[net.Conn]http.ConnState
}

func newCounted(t *testing.T, h http.HandlerFunc) *counted {
	t.Helper()
	c := &counted{conns: map[net.Conn]http.ConnState{}}
	c.Server = httptest.NewUnstartedServer(h)
	c.Config.ConnState = func(conn net.Conn, s http.ConnState) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.conns[conn] = s
	}
	c.Start()
	t.Cleanup(c.Close)
	return c
}

// are waits until so many connections are idle, and so many are closed.
func (c *counted) are(t *testing.T, idle, closed int) {
	t.Helper()
	poll(t, fmt.Sprintf("%d idle connections and %d closed ones", idle, closed), func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		count := map[http.ConnState]int{}
		for _, s := range c.conns {
			count[s]++
		}
		if count[http.StateIdle] != idle || count[http.StateClosed] != closed || len(c.conns) != idle+closed {
			return fmt.Errorf("%v", count)
		}
		return nil
	})
}

func checkIdle(t *testing.T, m *mission) {
	for _, tt := range []struct {
		edit []string
		kept int
	}{{nil, 100}, {[]string{"max_idle_conns 100", "max_idle_conns 7"}, 7}} {
		const n = 120
		var all sync.WaitGroup
		all.Add(n)
		c := newCounted(t, func(http.ResponseWriter, *http.Request) {
			all.Done() // nobody is answered before all are here
			all.Wait()
		})
		m.places["localhost:3000"] = c.Listener.Addr().String()
		m.edit(t, tt.edit...)
		done := make(chan error, n)
		for range n {
			go func() {
				res, err := m.ask(t, http.MethodGet, "/", nil)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				done <- err
			}()
		}
		for range n {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		c.are(t, tt.kept, n-tt.kept)
	}
}

func checkIdleTime(t *testing.T, m *mission) {
	c := newCounted(t, func(http.ResponseWriter, *http.Request) {})
	m.places["localhost:3000"] = c.Listener.Addr().String()
	m.load(t, m.file)
	for range 3 {
		m.status(t)
	}
	c.are(t, 1, 0) // and used again
	m.edit(t, "idle_conn_timeout 60s", "idle_conn_timeout 300ms")
	c.are(t, 0, 1) // with the last use of the other settings
	begun := time.Now()
	m.status(t)
	c.are(t, 0, 2)
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("closed after %v, want 300ms", took)
	}
}
