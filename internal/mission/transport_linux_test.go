package mission

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// checkTransport: each limit and each time has its effect, and takes as long as the file says.
func checkTransport(t *testing.T, s *site) {
	b := newBackend(t, "up", "localhost:3000")
	s.up(t)
	b.stop()
	t.Run("dial", func(t *testing.T) { checkDial(t, s) })
	t.Run("buffers", func(t *testing.T) { checkBuffers(t, s) })
	t.Run("idle and late", func(t *testing.T) { checkIdle(t, s) })
}

// deaf listens at the port of the backend, and has no room for another connection.
func deaf(t *testing.T) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	must(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
	must(t, syscall.Bind(fd, &syscall.SockaddrInet4{Port: 3000, Addr: [4]byte{127, 0, 0, 1}}))
	must(t, syscall.Listen(fd, 0))
	for range 200 {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:3000", 200*time.Millisecond)
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("this system makes room for any number of connections")
}

// checkDial: who does not answer to the making of a connection is waited for 5 seconds.
func checkDial(t *testing.T, s *site) {
	deaf(t)
	begun := time.Now()
	r := s.get(t, "/")
	if took := time.Since(begun); r.StatusCode != http.StatusBadGateway || took < 5*time.Second || took > 9*time.Second {
		t.Errorf("%d after %v, want 502 after 5s", r.StatusCode, took)
	}
}

// raw answers one request with a text that is written at once. It returns in how many segments the request came: the program
// writes what its buffer holds, and nothing puts that together on its way.
func raw(t *testing.T, text string) (segments func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:3000")
	must(t, err)
	came := make(chan int, 1)
	go func() {
		defer l.Close()
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		var request []byte
		for buf := make([]byte, 64<<10); !bytes.Contains(request, []byte("\r\n\r\n")); {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			request = append(request, buf[:n]...)
		}
		control, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			return
		}
		_ = control.Control(func(fd uintptr) {
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				came <- int(info.Data_segs_in)
			}
		})
		_, _ = io.WriteString(conn, text)
	}()
	return func() int {
		select {
		case n := <-came:
			return n
		case <-time.After(patience):
			t.Error("the backend was not asked")
			return 0
		}
	}
}

// firstChunk asks the site with a large header, and returns how large the first chunk of the answer is, and the whole body.
func (s *site) firstChunk(t *testing.T) (int, string) {
	t.Helper()
	conn := s.dial(t)
	defer conn.Close()
	var request strings.Builder
	request.WriteString("GET / HTTP/1.1\r\nHost: " + host + "\r\n")
	for i := range 240 { // 18 kB
		fmt.Fprintf(&request, "X-Field-%03d: %s\r\n", i, strings.Repeat("v", 60))
	}
	_, err := io.WriteString(conn, request.String()+"\r\n")
	must(t, err)
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		must(t, err)
		if line == "\r\n" {
			break
		}
	}
	var body strings.Builder
	first := -1
	for {
		line, err := r.ReadString('\n')
		must(t, err)
		n, err := strconv.ParseInt(strings.TrimSpace(line), 16, 32)
		must(t, err)
		if first < 0 {
			first = int(n)
		}
		part := make([]byte, n+2)
		_, err = io.ReadFull(r, part)
		must(t, err)
		body.Write(part[:n])
		if n == 0 {
			return first, body.String()
		}
	}
}

// checkBuffers: a header of 18 kB is written to the backend in parts of 8 KiB, and what is read of its answer together with
// the header is 8 KiB, and is passed on when it is read. With other sizes in the file these are others.
func checkBuffers(t *testing.T, s *site) {
	const header = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/octet-stream\r\n\r\n"
	body := strings.Repeat("x", 30_000)
	for _, tt := range []struct {
		from, to       string
		segments, read int
	}{
		{"", "", 3, 8192},
		{"read_buffer_size 8192", "read_buffer_size 16384", 3, 16384},
		{"write_buffer_size 8192", "write_buffer_size 16384", 2, 8192},
		{"write_buffer_size 8192", "write_buffer_size 32768", 1, 8192},
	} {
		if tt.from != "" {
			s.edit(t, tt.from, tt.to)
		}
		segments := raw(t, header+body)
		first, got := s.firstChunk(t)
		if n := segments(); n != tt.segments {
			t.Errorf("%s: the header came in %d segments, want %d", tt.to, n, tt.segments)
		}
		if first != tt.read-len(header) || got != body {
			t.Errorf("%s: the first of %d bytes are %d, want %d", tt.to, len(got), first, tt.read-len(header))
		}
	}
	s.load(t, s.Text)
}

// counted is a backend that knows when its connections became idle and when they were closed.
type counted struct {
	mu           sync.Mutex
	idle, closed map[net.Conn]time.Time
	conns        map[net.Conn]http.ConnState
}

func newCounted(t *testing.T, h http.HandlerFunc) *counted {
	t.Helper()
	c := &counted{idle: map[net.Conn]time.Time{}, closed: map[net.Conn]time.Time{}, conns: map[net.Conn]http.ConnState{}}
	l, err := net.Listen("tcp", "localhost:3000")
	must(t, err)
	server := &http.Server{Handler: h, ConnState: func(conn net.Conn, s http.ConnState) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.conns[conn] = s
		switch s {
		case http.StateIdle:
			c.idle[conn] = time.Now()
		case http.StateClosed:
			c.closed[conn] = time.Now()
		}
	}}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return c
}

// are waits until so many connections are idle, and so many are closed.
func (c *counted) are(t *testing.T, limit time.Duration, idle, closed int) {
	t.Helper()
	within(t, limit, fmt.Sprintf("%d idle connections and %d closed ones", idle, closed), func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		count := map[http.ConnState]int{}
		for _, s := range c.conns {
			count[s]++
		}
		if count[http.StateIdle] != idle || count[http.StateClosed] != closed {
			return fmt.Errorf("%v", count)
		}
		return nil
	})
}

// checkIdle: of 120 connections 100 are kept, for a minute. Meanwhile a request waits 30 seconds for a header, and another
// gets its header at once and the rest after that time.
func checkIdle(t *testing.T, s *site) {
	const n, kept = 120, 100
	var all sync.WaitGroup
	all.Add(n)
	ended := make(chan struct{})
	c := newCounted(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/never":
			hang(w, r)
			close(ended)
		case "/late":
			w.Header().Set("Connection", "close")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(31 * time.Second):
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(w, "late")
		default:
			all.Done() // nobody is answered before all are here
			all.Wait()
		}
	})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			if r, err := s.try(protocols[1+i%2], s.request(t, "GET", "/", nil)); err != nil || r.StatusCode != http.StatusOK {
				t.Errorf("%v %v", r.Response, err)
			}
		})
	}
	running.Wait()
	c.are(t, patience, kept, n-kept)
	running.Go(func() {
		begun := time.Now()
		r, err := s.try("HTTP/2.0", s.request(t, "GET", "/never", nil))
		if took := time.Since(begun); err != nil || r.StatusCode != http.StatusGatewayTimeout || took < 30*time.Second || took > 35*time.Second {
			t.Errorf("no header: %v, %v after %v, want 504 after 30s", r.Response, err, took)
		}
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the backend does not learn that nobody waits any more")
		}
	})
	running.Go(func() {
		if r, err := s.try("HTTP/1.1", s.request(t, "GET", "/late", nil)); err != nil || r.StatusCode != http.StatusOK || r.text != "late" {
			t.Errorf("a late body: %v %q %v", r.Response, r.text, err)
		}
	})
	running.Wait()
	c.are(t, time.Second, kept-2, n-kept+2) // those two are not kept, all others still are
	c.are(t, time.Minute, 0, n)
	c.mu.Lock()
	defer c.mu.Unlock()
	var minute int
	for conn, at := range c.closed {
		if rest := at.Sub(c.idle[conn]); rest > 59*time.Second && rest < 70*time.Second {
			minute++
		}
	}
	if minute != kept-2 {
		t.Errorf("%d connections were closed after a minute, want %d", minute, kept-2)
	}
}
