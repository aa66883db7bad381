package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Each setting gets where it has its effect.
func TestDialerSettings(t *testing.T) {
	var got net.Dialer
	ts := NewTransports(TransportsConfig{Dial: func(_ context.Context, d *net.Dialer, _, _ string) (net.Conn, error) {
		got = *d
		return nil, errors.New("no")
	}})
	o := DefaultHTTPOptions()
	o.DialTimeout, o.DialFallbackDelay, o.ProbeInterval, o.LocalAddress, o.Resolvers = 7*time.Second, -1, 11*time.Second, "127.0.0.9:1234", "udp/127.0.0.1:53"
	h := acquireHTTP(t, ts, o)
	defer ts.Release(h)
	if _, err := send(t, h, "a:1", Route{}); !IsDialError(err) {
		t.Fatal(err)
	}
	if got.Timeout != 7*time.Second || got.FallbackDelay != -1 || got.KeepAlive != 11*time.Second || got.LocalAddr.String() != "127.0.0.9:1234" || got.Resolver == nil {
		t.Errorf("%+v", &got)
	}
}

// watched notes the sizes of reads and writes, and when it is closed.
type watched struct {
	net.Conn
	reads, writes *atomic.Int64 // the largest
	open          *atomic.Int64
	once          sync.Once
}

func (c *watched) Read(p []byte) (int, error) {
	c.reads.Store(max(c.reads.Load(), int64(len(p))))
	return c.Conn.Read(p)
}
func (c *watched) Write(p []byte) (int, error) {
	c.writes.Store(max(c.writes.Load(), int64(len(p))))
	return c.Conn.Write(p)
}
func (c *watched) Close() error { c.once.Do(func() { c.open.Add(-1) }); return c.Conn.Close() }

// inMemory is a network of pipes to one server.
type inMemory struct {
	reads, writes, open, dialled atomic.Int64
	serve                        func(net.Conn)
}

func (m *inMemory) dial(context.Context, *net.Dialer, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	go func() {
		defer there.Close()
		m.serve(there)
	}()
	m.open.Add(1)
	m.dialled.Add(1)
	return &watched{Conn: here, reads: &m.reads, writes: &m.writes, open: &m.open}, nil
}

// answerAll answers each request of a connection with a text.
func answerAll(text string) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

func TestBufferSizes(t *testing.T) {
	m := &inMemory{serve: answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")}
	ts := NewTransports(TransportsConfig{Dial: m.dial})
	for _, want := range []struct{ read, write int64 }{{1000, 2000}, {9000, 6000}, {4096, 4096}} {
		m.reads.Store(0)
		m.writes.Store(0)
		o := DefaultHTTPOptions()
		if want.read != 4096 {
			o.ReadBufferSize, o.WriteBufferSize = int(want.read), int(want.write)
		}
		h := acquireHTTP(t, ts, o)
		if got, err := send(t, h, "a:1", Route{}, "X-Long", strings.Repeat("a", 20000), "X-Longer", strings.Repeat("a", 3000)); got != "ok" {
			t.Fatal(got, err)
		}
		// A field longer than the buffer is written by itself; so the others show its size.
		if m.reads.Load() != want.read || m.writes.Load() > 20100 {
			t.Errorf("reads of %d, writes of %d; want %+v", m.reads.Load(), m.writes.Load(), want)
		}
		ts.Release(h)
	}
}

func TestWriteBufferSize(t *testing.T) {
	for _, size := range []int{1000, 7000} {
		m := &inMemory{serve: answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")}
		ts := NewTransports(TransportsConfig{Dial: m.dial})
		o := DefaultHTTPOptions()
		o.WriteBufferSize = size
		h := acquireHTTP(t, ts, o)
		var header []string
		for i := range 300 {
			header = append(header, "X-"+strings.Repeat("a", i), strings.Repeat("v", 20))
		}
		if got, err := send(t, h, "a:1", Route{}, header...); got != "ok" {
			t.Fatal(got, err)
		}
		if got := m.writes.Load(); got != int64(size) {
			t.Errorf("the largest write has %d bytes, want %d", got, size)
		}
		ts.Release(h)
	}
}

func TestMaxResponseHeaderSize(t *testing.T) {
	long := "HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("a", 20000) + "\r\nContent-Length: 2\r\n\r\nok"
	for _, limit := range []int64{10000, 30000, 0} {
		m := &inMemory{serve: answerAll(long)}
		ts := NewTransports(TransportsConfig{Dial: m.dial})
		o := DefaultHTTPOptions()
		o.MaxResponseHeaderSize = limit
		h := acquireHTTP(t, ts, o)
		got, err := send(t, h, "a:1", Route{})
		if fits := limit != 10000; fits != (err == nil) || fits != (got == "ok") {
			t.Errorf("limit %d: %q, %v", limit, got, err)
		}
		ts.Release(h)
	}
}

func TestWriteTimeout(t *testing.T) {
	for _, timeout := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			m := &inMemory{serve: func(c net.Conn) { // reads nothing for a minute
				time.Sleep(time.Minute)
				answerAll("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")(c)
			}}
			ts := NewTransports(TransportsConfig{Dial: m.dial})
			o := DefaultHTTPOptions()
			o.WriteTimeout = timeout
			h := acquireHTTP(t, ts, o)
			begin := time.Now()
			_, err := send(t, h, "a:1", Route{})
			took := time.Since(begin)
			if timeout == 0 && (err != nil || took != time.Minute) {
				t.Errorf("without a timeout: %v after %v", err, took)
			}
			var late net.Error
			if timeout > 0 && (!errors.As(err, &late) || !late.Timeout() || took != timeout) {
				t.Errorf("with a timeout of %v: %v after %v", timeout, err, took)
			}
			ts.Release(h)
			time.Sleep(2 * time.Minute) // the upstream wakes
		})
	}
}

func TestIdleConnections(t *testing.T) {
	tests := []struct {
		name   string
		change func(o *HTTPOptions)
		after  time.Duration
		want   int64 // open connections of the 6 to two addresses
	}{
		{"all", func(*HTTPOptions) {}, time.Minute, 6},
		{"per host", func(o *HTTPOptions) { o.MaxIdleConnsPerHost = 1 }, 0, 2},
		{"in total", func(o *HTTPOptions) { o.MaxIdleConns = 4 }, 0, 4},
		{"idle time", func(o *HTTPOptions) { o.IdleTimeout = 10 * time.Second }, 11 * time.Second, 0},
		{"idle time to come", func(o *HTTPOptions) { o.IdleTimeout = 10 * time.Second }, 9 * time.Second, 6},
		{"none", func(o *HTTPOptions) { o.KeepAlive = false }, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &inMemory{}
				m.serve = func(c net.Conn) {
					r := bufio.NewReader(c)
					for {
						if _, err := http.ReadRequest(r); err != nil {
							return
						}
						time.Sleep(time.Second) // all of them at once
						io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					}
				}
				ts := NewTransports(TransportsConfig{Dial: m.dial})
				o := DefaultHTTPOptions()
				tt.change(&o)
				h := acquireHTTP(t, ts, o)
				var wg sync.WaitGroup
				for i := range 6 {
					wg.Go(func() {
						if got, err := send(t, h, []string{"a:1", "b:1"}[i%2], Route{}); got != "ok" {
							t.Error(got, err)
						}
					})
				}
				wg.Wait()
				time.Sleep(tt.after)
				synctest.Wait()
				if got := m.open.Load(); got != tt.want {
					t.Errorf("%d connections are open, want %d", got, tt.want)
				}
				ts.Release(h)
				synctest.Wait()
				if got := m.open.Load(); got != 0 {
					t.Errorf("%d connections are open in the end", got)
				}
			})
		})
	}
}

func TestMaxConnsPerHost(t *testing.T) {
	var now, most atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		<-time.After(5 * time.Millisecond)
		now.Add(-1)
	}))
	defer s.Close()
	ts := NewTransports(TransportsConfig{})
	o := DefaultHTTPOptions()
	o.MaxConnsPerHost = 2
	h := acquireHTTP(t, ts, o)
	defer ts.Release(h)
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if _, err := send(t, h, s.Listener.Addr().String(), Route{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() != 2 {
		t.Errorf("%d requests ran at the same time, want 2", most.Load())
	}
}

// What an upstream does wrong is an error, and says nothing of the next request (issue 5).
func TestFaultsOfUpstreams(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name, answer string
		want         string // the body; empty for none
		cut          bool   // the body breaks off, if there is a response at all
	}{
		{name: "garbage", answer: "SSH-2.0-OpenSSH_9.6\r\n"},
		{name: "conflicting lengths", answer: ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc"},
		{name: "equal lengths", answer: ok + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", want: "ab"},
		{name: "length with a sign", answer: ok + "Content-Length: +2\r\n\r\nab"},
		{name: "list of lengths", answer: ok + "Content-Length: 2, 2\r\n\r\nab"},
		{name: "both", answer: ok + "Content-Length: 90\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", want: "ab"},
		{name: "two codings", answer: ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\nab\r\n0\r\n\r\n"},
		{name: "unknown coding", answer: ok + "Transfer-Encoding: xchunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"},
		{name: "coding of HTTP/1.0", answer: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n2\r\nab\r\n0\r\n\r\n"},
		{name: "bad chunk", answer: ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\nZZ\r\n", cut: true},
		{name: "chunk without its end", answer: ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nabcdef", cut: true},
		{name: "bare LF in chunks", answer: ok + "Transfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n", cut: true},
		{name: "chunk extension", answer: ok + "Transfer-Encoding: chunked\r\n\r\n2;x=\"y\"\r\nab\r\n0\r\n\r\n", want: "ab"},
		{name: "folded field", answer: ok + "X-A: 1\r\n b\r\nContent-Length: 2\r\n\r\nab", want: "ab"},
		{name: "folded length", answer: ok + "Content-Length:\r\n 2\r\n\r\nab"},
		{name: "bare LF", answer: "HTTP/1.1 200 OK\nContent-Length: 2\n\nab", want: "ab"},
		{name: "space before the colon", answer: ok + "Content-Length : 2\r\n\r\nab"},
		{name: "NUL in a field", answer: ok + "X-A: a\x00b\r\nContent-Length: 2\r\n\r\nab"},
		{name: "early end", answer: ok + "Content-Length: 20\r\n\r\nab", cut: true},
		{name: "early end of the header", answer: ok + "Content-Le"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The first connection does wrong, the others do as they should, and the same request is sent to both.
			var conns atomic.Int64
			m := &inMemory{serve: func(c net.Conn) {
				if conns.Add(1) > 1 {
					answerAll(ok + "Content-Length: 4\r\n\r\nnext")(c)
					return
				}
				r := bufio.NewReader(c)
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				go io.Copy(io.Discard, r)
				io.WriteString(c, tt.answer)
			}}
			ts := NewTransports(TransportsConfig{Dial: m.dial})
			o := DefaultHTTPOptions()
			h := acquireHTTP(t, ts, o)
			defer ts.Release(h)
			res, err := get(t, h, "a:1")
			got := ""
			if err == nil {
				var text []byte
				text, err = io.ReadAll(res.Body)
				got = string(text)
				res.Body.Close()
				if tt.cut != (err != nil) {
					t.Errorf("body %q, %v", got, err)
				}
			} else if tt.want != "" {
				t.Errorf("no response: %v", err)
			}
			if !tt.cut && got != tt.want {
				t.Errorf("body %q, %v; want %q", got, err, tt.want)
			}
			for range 3 {
				if got, err := send(t, h, "a:1", Route{}); got != "next" {
					t.Errorf("the next request got %q, %v", got, err)
				}
			}
		})
	}
}
