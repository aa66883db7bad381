package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestFailureOf(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want Failure
	}{
		{nil, ""},
		{&DialError{Err: syscall.ECONNREFUSED}, FailedDial},
		{&DialError{Err: os.ErrDeadlineExceeded}, FailedDial},
		{&HandshakeError{Address: "a:1", Err: context.DeadlineExceeded}, FailedTLS},
		{fmt.Errorf("x: %w", &tls.RecordHeaderError{}), FailedOther},
		{fmt.Errorf("x: %w", tls.RecordHeaderError{}), FailedTLS},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, FailedTLS},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, FailedTimeout},
		{context.DeadlineExceeded, FailedTimeout},
		{fmt.Errorf("x: %w", io.EOF), FailedClosed},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, FailedClosed},
		{&StaleError{Err: errors.New("x")}, FailedClosed},
		{errors.New("http: server closed idle connection"), FailedClosed},
		{errors.New("malformed HTTP response"), FailedOther},
	} {
		if got := FailureOf(tt.err); got != tt.want {
			t.Errorf("%v is %q, want %q", tt.err, got, tt.want)
		}
	}
}

// speaking is an upstream that answers each request with the same text, and hangs up when a connection was idle for a while.
func speaking(idle time.Duration, conns, cut *atomic.Int64, answer string) DialFunc {
	return pipeDial(func(c net.Conn) {
		conns.Add(1)
		defer c.Close()
		r := bufio.NewReader(c)
		for {
			c.SetReadDeadline(time.Now().Add(idle))
			req, err := http.ReadRequest(r)
			if err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					cut.Add(1)
				}
				return
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, answer)
		}
	})
}

// caddyserver/caddy #6452: a connection is given up a second before the upstream would, where it says when that is, and
// used as long as requests come.
func TestKeepAliveOfTheUpstream(t *testing.T) {
	for _, tt := range []struct {
		field string
		pause time.Duration
		times int
		conns int64
		cut   int64
	}{
		{"Keep-Alive: timeout=5", 3 * time.Second, 5, 1, 0},
		{"Keep-Alive: timeout=5, max=100", 4500 * time.Millisecond, 4, 4, 0},
		{"keep-alive: max=7 , TIMEOUT = 5", 4500 * time.Millisecond, 4, 4, 0},
		{"Keep-Alive: timeout=1", 400 * time.Millisecond, 3, 1, 0},
		{"Keep-Alive: timeout=1", 600 * time.Millisecond, 3, 3, 0},
		{"Keep-Alive: timeout=0", 4500 * time.Millisecond, 3, 1, 0}, // it says nothing
		{"Keep-Alive: timeout=-5", 4500 * time.Millisecond, 3, 1, 0},
		{"Keep-Alive: 5", 4500 * time.Millisecond, 3, 1, 0},
		{"X-Keep-Alive: timeout=1", 4500 * time.Millisecond, 3, 1, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var conns, cut atomic.Int64
			idle := 5 * time.Second
			if strings.Contains(tt.field, "=1") && tt.pause < time.Second {
				idle = time.Second
			}
			ts := NewTransports(TransportsConfig{Dial: speaking(idle, &conns, &cut, "HTTP/1.1 200 OK\r\n"+tt.field+"\r\nContent-Length: 2\r\n\r\nok")})
			h := acquireHTTP(t, ts, DefaultHTTPOptions())
			for range tt.times {
				if got := fetch(t, h, "a:1"); got != "ok" {
					t.Fatal(got)
				}
				time.Sleep(tt.pause)
				synctest.Wait()
			}
			if conns.Load() != tt.conns || cut.Load() != tt.cut {
				t.Errorf("%s, every %v: %d connections, %d of them closed by the upstream", tt.field, tt.pause, conns.Load(), cut.Load())
			}
			ts.Release(h)
		})
	}
}

// A response that takes longer than the time that the one before it has named is not cut.
func TestKeepAliveLeavesRequestsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n int
		ts := NewTransports(TransportsConfig{Dial: pipeDial(func(c net.Conn) {
			defer c.Close()
			r := bufio.NewReader(c)
			for {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				if n++; n == 2 {
					time.Sleep(10 * time.Second)
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=3\r\nContent-Length: 2\r\n\r\no")
				if n == 2 {
					time.Sleep(10 * time.Second)
				}
				io.WriteString(c, "k")
			}
		})})
		h := acquireHTTP(t, ts, DefaultHTTPOptions())
		for range 3 {
			if got := fetch(t, h, "a:1"); got != "ok" {
				t.Fatal(got)
			}
		}
		if n != 3 {
			t.Errorf("%d requests", n)
		}
		ts.Release(h)
	})
}

// What is said of a connection that was kept, and not of others.
func TestStaleConnectionsAreNamed(t *testing.T) {
	refuse := func(after int) DialFunc {
		return pipeDial(func(c net.Conn) {
			defer c.Close()
			r := bufio.NewReader(c)
			for i := 0; ; i++ {
				if _, err := http.ReadRequest(r); err != nil || i == after {
					return
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		})
	}
	for after, stale := range []bool{false, true} {
		ts := NewTransports(TransportsConfig{Dial: refuse(after)})
		h := acquireHTTP(t, ts, DefaultHTTPOptions())
		for range after {
			fetch(t, h, "a:1")
		}
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://a:1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.RoundTrip(r)
		var named *StaleError
		if errors.As(err, &named) != stale || FailureOf(err) != FailedClosed {
			t.Errorf("the connection has served %d requests: %v", after, err)
		}
		if stale && (!strings.Contains(err.Error(), "closed the kept-alive connection") || !strings.Contains(err.Error(), "retry_match")) {
			t.Errorf("%v", err)
		}
		ts.Release(h)
	}
}
