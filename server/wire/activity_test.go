package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// twoClient is the client's end of a connection of HTTP/2.
type twoClient struct {
	*http2.Framer
	net.Conn
	began  time.Time
	events chan twoEvent // what came; closed at the end
	ended  time.Duration // when
}

type twoEvent struct {
	kind   http2.FrameType
	stream uint32
	text   string // :status, the code of a GOAWAY, or data
}

// twoPipe begins HTTP/2 and listens.
func twoPipe(h *host) *twoClient {
	c := &twoClient{Conn: h.pipe(), began: time.Now(), events: make(chan twoEvent, 1000)}
	c.Framer = http2.NewFramer(c.Conn, c.Conn)
	c.Framer.AllowIllegalWrites = true
	go c.listen()
	io.WriteString(c.Conn, preface)
	c.WriteSettings()
	return c
}

func (c *twoClient) listen() {
	defer close(c.events)
	d := hpack.NewDecoder(4096, nil)
	for {
		f, err := c.ReadFrame()
		if err != nil {
			c.ended = time.Since(c.began)
			return
		}
		e := twoEvent{kind: f.Header().Type, stream: f.Header().StreamID}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			if fields, err := d.DecodeFull(f.HeaderBlockFragment()); err == nil && len(fields) > 0 {
				e.text = fields[0].Value
			}
		case *http2.GoAwayFrame:
			e.text = f.ErrCode.String()
		case *http2.DataFrame:
			e.text = string(f.Data())
		}
		c.events <- e
	}
}

func (c *twoClient) block(fields ...[2]string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range append([][2]string{{":method", "GET"}, {":path", "/"}, {":scheme", "http"}, {":authority", "x"}}, fields...) {
		e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return b.Bytes()
}

func (c *twoClient) request(id uint32, end bool, fields ...[2]string) error {
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(fields...), EndStream: end, EndHeaders: true})
}

// saw reports whether an event came before the end.
func (c *twoClient) saw(want twoEvent) (found bool) {
	for e := range c.events {
		found = found || e == want
	}
	return found
}

// A client of HTTP/2 that has no request running is told to go after the idle time-out, and not before.
func TestIdleHTTP2(t *testing.T) {
	const idle = 10 * time.Second
	for name, c := range map[string]struct {
		do     func(c *twoClient)
		after  time.Duration
		goAway bool
	}{
		"nothing":       {func(c *twoClient) {}, idle + time.Second, true},
		"a request":     {func(c *twoClient) { time.Sleep(idle / 2); c.request(1, true) }, idle/2 + time.Minute + idle + time.Second, true},
		"pings":         {func(c *twoClient) { time.Sleep(idle - 1); c.WritePing(false, [8]byte{1}) }, idle + time.Second, true},
		"half a frame":  {func(c *twoClient) { c.Write([]byte{0, 0, 8, 6, 0}) }, idle, false},
		"half a ping":   {func(c *twoClient) { c.Write([]byte{0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3}) }, idle, false},
		"half a header": {func(c *twoClient) { c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block()}) }, idle, false},
		"half a block": {func(c *twoClient) {
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block()[:3]})
			c.WriteContinuation(1, false, c.block()[3:])
		}, idle, false},
		"all of it": {func(c *twoClient) {
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block()[:3], EndStream: true})
			c.WriteContinuation(1, true, c.block()[3:])
		}, time.Minute + idle + time.Second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(Config{IdleTimeout: idle}, func(w http.ResponseWriter, r *http.Request) { time.Sleep(time.Minute) })
			client := twoPipe(h)
			c.do(client)
			if got := client.saw(twoEvent{http2.FrameGoAway, 0, "NO_ERROR"}); got != c.goAway || client.ended != c.after {
				t.Errorf("%s: ended after %v, told %v; want %v, %v", name, client.ended, got, c.after, c.goAway)
			}
			client.Close()
			synctest.Wait()
			if n := h.Stats().Open; n != 0 {
				t.Errorf("%s: %d connections are left", name, n)
			}
		})
	}
}

// Without a limit it may stay, and whoever does not read what it is told is closed.
func TestIdleHTTP2Ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(Config{IdleTimeout: -1}, okHandler)
		client := twoPipe(h)
		time.Sleep(1000 * time.Hour)
		if n := h.Stats().Open; n != 1 {
			t.Errorf("%d connections are left", n)
		}
		client.Close()
		h.set.Store(NewSettings(Config{IdleTimeout: time.Second}))
		deaf := h.pipe()
		go io.WriteString(deaf, preface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		time.Sleep(time.Second + farewellTime + time.Second)
		if n := h.Stats().Open; n != 0 {
			t.Errorf("%d connections are left", n)
		}
		deaf.Close()
	})
}

// Who agrees on HTTP/2 and begins with it too late, or not at all, is cut as one that sends no header.
func TestHTTP2PrefaceTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 7 * time.Second, preface[:10]: 7 * time.Second, preface: 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(Config{ReadHeaderTimeout: 7 * time.Second}, okHandler)
			client, server := net.Pipe()
			h.succeed(&conn{srv: h.Server, core: &core{}}, &conn{raw: server, srv: h.Server, id: &Conn{local: server.LocalAddr(), remote: server.RemoteAddr()}, h2: true})
			go io.WriteString(client, text)
			began := time.Now()
			_, _ = io.Copy(io.Discard, client)
			// net/http tells a client that has sent no SETTINGS for 2 seconds to go, and closes within one.
			if took := time.Since(began); took < want || took > want+time.Second {
				t.Errorf("after %q: closed after %v, want %v", text, took, want)
			}
			client.Close()
		})
	}
}

// What belongs to a connection is free when it is closed, even if streams were open.
func TestNothingIsKeptOfHTTP2(t *testing.T) {
	kept := make(chan weak.Pointer[conn], 1)
	h := newHost(Config{}, func(w http.ResponseWriter, r *http.Request) {
		kept <- weak.Make(r.Context().Value(connKey{}).(*conn))
		<-r.Context().Done()
	})
	client := twoPipe(h)
	client.request(1, false)
	p := <-kept
	client.Close()
	poll(t, func() error {
		runtime.GC()
		if p.Value() != nil {
			return errors.New("the connection is kept")
		}
		return nil
	})
}

// Frames are passed in any pieces.
func TestFrames(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(preface)
	f := http2.NewFramer(&b, nil)
	f.AllowIllegalWrites = true
	var between []int
	mark := func() { between = append(between, b.Len()) }
	f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	mark()
	f.WriteSettingsAck()
	mark()
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: make([]byte, 300), EndHeaders: true})
	mark()
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: make([]byte, 3)})
	f.WriteContinuation(3, false, nil)
	f.WriteContinuation(3, true, make([]byte, 70_000))
	mark()
	f.WriteData(1, true, make([]byte, 1000))
	mark()
	for _, size := range []int{1, 2, 7, 9, 24, 1000, b.Len()} {
		var g frames
		at := map[int]bool{len(preface): true}
		for _, n := range between {
			at[n] = true
		}
		for n := 0; n < b.Len(); {
			m := min(n+size, b.Len())
			g.pass(b.Bytes()[n:m])
			if n = m; g.between() != at[n] {
				t.Errorf("in pieces of %d: at %d of %d: between is %v", size, n, b.Len(), g.between())
			}
		}
	}
}

// A tunnel through a stream may be silent for longer than a body.
func TestTunnelOverHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(Config{ReadIdleTimeout: time.Second, WriteIdleTimeout: time.Second, IdleTimeout: time.Second}, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodConnect {
				w.WriteHeader(http.StatusOK)
				http.NewResponseController(w).Flush()
			}
			b := make([]byte, 10)
			n, err := r.Body.Read(b)
			if r.Method != http.MethodConnect {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("a body that stalls: %q, %v", b[:n], err)
				}
				return
			}
			if err != nil || string(b[:n]) != "late" {
				t.Errorf("a tunnel that is silent: %q, %v", b[:n], err)
			}
			w.Write(b[:n])
		})
		client := twoPipe(h)
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		for _, f := range [][2]string{{":method", "CONNECT"}, {":authority", "x"}} {
			e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		client.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b.Bytes(), EndHeaders: true})
		client.request(3, false)
		time.Sleep(time.Hour)
		client.WriteData(1, true, []byte("late"))
		for e := range client.events {
			if e == (twoEvent{http2.FrameData, 1, "late"}) {
				client.Close()
				return
			}
		}
		t.Error("the connection ends before the tunnel")
	})
}

// A request with fields that belong to a connection reaches no handler.
func TestHTTP2ConnectionFields(t *testing.T) {
	for _, field := range [][2]string{{"connection", "keep-alive"}, {"te", "trailers, deflate"}, {"upgrade", "h2c"}, {"transfer-encoding", "chunked"}, {"proxy-connection", "close"}} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(Config{IdleTimeout: time.Second}, func(http.ResponseWriter, *http.Request) { t.Errorf("%v: a handler runs", field) })
			client := twoPipe(h)
			client.request(1, true, field)
			if !client.saw(twoEvent{http2.FrameHeaders, 1, "400"}) {
				t.Errorf("%v: no answer 400", field)
			}
			client.Close()
		})
	}
}

func TestActivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var expired []time.Duration
		excess := make(chan bool, 1)
		a := &activity{idle: time.Minute, most: 2, expired: func() { expired = append(expired, time.Since(began)) }, excess: func() { excess <- true }}
		a.start()
		time.Sleep(30 * time.Second)
		if !a.begin() || !a.begin() || a.begin() {
			t.Error("the third of two")
		}
		<-excess
		time.Sleep(time.Hour)
		a.end()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(expired) > 0 || a.quiet() {
			t.Errorf("expired after %v while a request runs", expired)
		}
		a.end()
		time.Sleep(time.Minute + 1)
		synctest.Wait()
		if want := 2*time.Hour + 90*time.Second; len(expired) != 1 || expired[0] != want || !a.quiet() {
			t.Errorf("expired after %v, want %v", expired, want)
		}
		a.begin()
		a.stop()
		a.end()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(expired) != 1 || a.quiet() {
			t.Errorf("expired after %v, and after the end", expired)
		}
	})
}
