package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// slowClient holds something of the server and asks for nothing.
type slowClient struct {
	began time.Time
	cut   chan struct{} // closed when the server has ended it; nil where it cannot tell
	more  func() error  // sends a little more; nil: silence
	close func()
}

// slowKind is a way to be slow.
type slowKind struct {
	name string
	open func(w *slowWorld) (*slowClient, error)
	// cut is which time-out ends it.
	cut slowLimit
}

type slowLimit int

const (
	byHeader   slowLimit = iota // read_header_timeout
	byIdle                      // idle_timeout
	bySettings                  // 2 seconds of net/http for the SETTINGS that follow
	unseen                      // whoever sends to a server of QUIC without listening is not told
)

// slowWorld is what slow clients know.
type slowWorld struct {
	address string
	trust   *tls.Config
}

func (w *slowWorld) dial() (net.Conn, error) {
	return (&net.Dialer{Timeout: patience}).Dial("tcp", w.address)
}

// tls returns a connection after its handshake.
func (w *slowWorld) tls(proto string) (*tls.Conn, error) {
	c, err := w.dial()
	if err != nil {
		return nil, err
	}
	config := w.trust.Clone()
	config.NextProtos = []string{proto}
	t := tls.Client(c, config)
	_ = t.SetDeadline(time.Now().Add(patience))
	if err := t.Handshake(); err != nil {
		_ = c.Close()
		return nil, err
	}
	if got := t.ConnectionState().NegotiatedProtocol; got != proto {
		_ = c.Close()
		return nil, fmt.Errorf("the protocol is %q, want %q", got, proto)
	}
	_ = t.SetDeadline(time.Time{})
	return t, nil
}

// hold makes a client of a connection that is as far as it will go. It reads, so that it notices its end.
func hold(c net.Conn, more func() error) *slowClient {
	s := &slowClient{began: time.Now(), cut: make(chan struct{}), more: more, close: func() { _ = c.Close() }}
	go func() {
		_, _ = io.Copy(io.Discard, c)
		close(s.cut)
	}()
	return s
}

// recorded is a connection on which nothing comes, and which keeps what is sent.
type recorded struct {
	net.Conn
	sent bytes.Buffer
}

func (r *recorded) Read([]byte) (int, error)    { return 0, io.EOF }
func (r *recorded) Write(p []byte) (int, error) { return r.sent.Write(p) }
func (r *recorded) Close() error                { return nil }

func (w *slowWorld) clientHello() []byte {
	r := &recorded{}
	_ = tls.Client(r, w.trust).Handshake() // fails when it wants the answer
	return r.sent.Bytes()
}

// recordedPackets is a socket on which nothing comes, and which tells what is sent.
type recordedPackets struct {
	net.PacketConn
	sent chan []byte
	end  chan struct{}
	once sync.Once
}

func (r *recordedPackets) ReadFrom([]byte) (int, net.Addr, error) {
	<-r.end
	return 0, nil, net.ErrClosed
}

func (r *recordedPackets) WriteTo(p []byte, _ net.Addr) (int, error) {
	select {
	case r.sent <- bytes.Clone(p):
	case <-r.end:
	}
	return len(p), nil
}

func (r *recordedPackets) Close() error {
	r.once.Do(func() { close(r.end) })
	return nil
}
func (r *recordedPackets) LocalAddr() net.Addr {
	return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
}
func (r *recordedPackets) SetDeadline(time.Time) error      { return nil }
func (r *recordedPackets) SetReadDeadline(time.Time) error  { return nil }
func (r *recordedPackets) SetWriteDeadline(time.Time) error { return nil }

// initial returns the datagrams with which a client of QUIC begins, which differ each time.
func (w *slowWorld) initial(n int) (list [][]byte, err error) {
	r := &recordedPackets{sent: make(chan []byte), end: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	config := w.trust.Clone()
	config.NextProtos = []string{"h3"}
	var dialing sync.WaitGroup
	dialing.Go(func() {
		if c, err := quic.Dial(ctx, r, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}, config, nil); err == nil {
			_ = c.CloseWithError(0, "")
		}
	})
	for len(list) < n && err == nil {
		select {
		case p := <-r.sent:
			list = append(list, p)
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	_ = r.Close()
	cancel()
	dialing.Wait()
	return list, err
}

// quiet sends the first n datagrams of QUIC and no more.
func (w *slowWorld) quiet(n int) (*slowClient, error) {
	packets, err := w.initial(n)
	if err != nil {
		return nil, err
	}
	c, err := net.Dial("udp", w.address)
	if err != nil {
		return nil, err
	}
	for _, p := range packets {
		if _, err := c.Write(p); err != nil {
			return nil, err
		}
	}
	return &slowClient{began: time.Now(), close: func() { _ = c.Close() }}, nil
}

// http2 returns a framer behind a handshake, with the preface and SETTINGS sent.
func (w *slowWorld) http2() (net.Conn, *http2.Framer, error) {
	c, err := w.tls("h2")
	if err != nil {
		return nil, nil, err
	}
	f := http2.NewFramer(c, nil)
	f.AllowIllegalWrites = true
	_, err = io.WriteString(c, http2.ClientPreface)
	return c, f, errors.Join(err, f.WriteSettings())
}

// headerBlock is a request in HPACK.
func headerBlock(method, host string, more ...[2]string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range append([][2]string{{":method", method}, {":scheme", "https"}, {":authority", host}, {":path", "/"}}, more...) {
		_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // into memory
	}
	return b.Bytes()
}

// drip returns what sends the next byte of a text at each call.
func drip(text []byte, send func([]byte) error) func() error {
	return func() error {
		if len(text) < 2 {
			return nil // never all of it
		}
		p := text[:1]
		text = text[1:]
		return send(p)
	}
}

var slowKinds = []slowKind{
	{"no byte", func(w *slowWorld) (*slowClient, error) {
		c, err := w.dial()
		if err != nil {
			return nil, err
		}
		return hold(c, nil), nil
	}, byHeader},
	{"half a ClientHello", func(w *slowWorld) (*slowClient, error) {
		c, err := w.dial()
		if err != nil {
			return nil, err
		}
		hello := w.clientHello()
		_, err = c.Write(hello[:len(hello)/2])
		return hold(c, nil), err
	}, byHeader},
	{"a ClientHello", func(w *slowWorld) (*slowClient, error) {
		c, err := w.dial()
		if err != nil {
			return nil, err
		}
		_, err = c.Write(w.clientHello())
		return hold(c, nil), err
	}, byHeader},
	{"a header of HTTP/1.1, byte by byte", func(w *slowWorld) (*slowClient, error) {
		c, err := w.tls("http/1.1")
		if err != nil {
			return nil, err
		}
		text := "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + strings.Repeat("x", 4000)
		return hold(c, drip([]byte(text), func(p []byte) error { _, err := c.Write(p); return err })), nil
	}, byHeader},
	{"a handshake for HTTP/2", func(w *slowWorld) (*slowClient, error) {
		c, err := w.tls("h2")
		if err != nil {
			return nil, err
		}
		return hold(c, nil), nil
	}, byHeader},
	{"the preface of HTTP/2", func(w *slowWorld) (*slowClient, error) {
		c, err := w.tls("h2")
		if err != nil {
			return nil, err
		}
		_, err = io.WriteString(c, http2.ClientPreface)
		return hold(c, nil), err
	}, bySettings},
	{"the preface and SETTINGS of HTTP/2", func(w *slowWorld) (*slowClient, error) {
		c, _, err := w.http2()
		if err != nil {
			return nil, err
		}
		return hold(c, nil), nil
	}, byIdle},
	{"a header of HTTP/2, byte by byte", func(w *slowWorld) (*slowClient, error) {
		c, f, err := w.http2()
		if err != nil {
			return nil, err
		}
		block := headerBlock("GET", "localhost", [2]string{"x-slow", strings.Repeat("x", 4000)})
		err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1], EndStream: true})
		return hold(c, drip(block[1:], func(p []byte) error { return f.WriteContinuation(1, false, p) })), err
	}, byIdle},
	{"half of an Initial of QUIC", func(w *slowWorld) (*slowClient, error) { return w.quiet(1) }, unseen},
	{"an Initial of QUIC", func(w *slowWorld) (*slowClient, error) { return w.quiet(2) }, unseen},
	{"a header of HTTP/3, byte by byte", func(w *slowWorld) (*slowClient, error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		config := w.trust.Clone()
		config.NextProtos = []string{"h3"}
		c, err := quic.DialAddr(ctx, w.address, config, &quic.Config{KeepAlivePeriod: time.Second})
		if err != nil {
			return nil, err
		}
		s := &slowClient{began: time.Now(), cut: make(chan struct{}), close: func() { _ = c.CloseWithError(0, "") }}
		str, err := c.OpenStreamSync(ctx)
		if err != nil {
			return nil, err
		}
		frame := append([]byte{1, 0x4f, 0xa0}, make([]byte, 4000)...) // HEADERS of 4000 bytes
		s.more = drip(frame, func(p []byte) error { _, err := str.Write(p); return err })
		context.AfterFunc(c.Context(), func() { close(s.cut) })
		return s, s.more()
	}, byIdle},
}

// crowd is many slow clients, of all kinds in turn.
type crowd struct {
	clients []*slowClient
	stop    context.CancelFunc
	running sync.WaitGroup
}

// openCrowd opens n clients. Those that send byte by byte do so every interval.
func openCrowd(t *testing.T, w *slowWorld, n int, interval time.Duration) *crowd {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{clients: make([]*slowClient, n), stop: stop}
	onAll(t, "slow clients", n, func(i int) (err error) {
		c.clients[i], err = slowKinds[i%len(slowKinds)].open(w)
		return err
	})
	c.running.Go(func() {
		tick := time.NewTicker(interval / 10)
		defer tick.Stop()
		for k := 0; ; k++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for i := k % 10; i < n; i += 10 { // a tenth at a time
				if s := c.clients[i]; s.more != nil {
					if s.more() != nil {
						s.more = nil // it was cut
					}
				}
			}
		}
	})
	return c
}

// streams is how many clients have a connection over TCP for longer than a window.
func (c *crowd) streams() (n int) {
	for i := range c.clients {
		if kind := slowKinds[i%len(slowKinds)]; kind.cut != bySettings && !strings.Contains(kind.name, "QUIC") && !strings.Contains(kind.name, "HTTP/3") {
			n++
		}
	}
	return n
}

func (c *crowd) close() {
	c.stop()
	c.running.Wait()
	for _, s := range c.clients {
		s.close()
	}
}

// metric is a figure that the server tells about itself.
func (x *secured) metric(name string) int {
	x.t.Helper()
	for line := range strings.Lines(x.get("/metrics")) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				x.t.Fatal(err)
			}
			return int(f)
		}
	}
	x.t.Fatalf("no metric %s", name)
	return 0
}

// heap is what of the server's memory is in use.
func (x *secured) heap() int {
	x.t.Helper()
	for line := range strings.Lines(x.get("/debug/pprof/heap?gc=1&debug=1")) {
		if value, ok := strings.CutPrefix(line, "# HeapAlloc = "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				x.t.Fatal(err)
			}
			return n
		}
	}
	x.t.Fatal("the heap is not told")
	return 0
}

// footprint is what clients have cost.
type footprint struct{ goroutines, heap int }

func (x *secured) footprint() footprint {
	x.t.Helper()
	return footprint{x.metric("go_goroutines"), x.heap()}
}

const (
	spareGoroutines = 40
	spareHeap       = 6 << 20
)

// settles waits until the server has given back what it had before.
func (x *secured) settles(before footprint) {
	x.t.Helper()
	poll(x.t, "goroutines and memory to go back", func() error {
		if now := x.footprint(); now.goroutines > before.goroutines+spareGoroutines || now.heap > before.heap+spareHeap {
			return fmt.Errorf("they are %+v, and were %+v", now, before)
		}
		return nil
	})
}

// ways are the ways in which ordinary requests are made.
var ways = []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0", "HTTP/1.1 with a handshake for each"}

// measure makes ordinary requests in turn for a while and returns the median latency of each way.
func (x *secured) measure(visitors []*visitor, d time.Duration) (medians [4]time.Duration) {
	x.t.Helper()
	var took [4][]time.Duration
	for end := time.Now().Add(d); time.Now().Before(end); {
		for k, v := range visitors {
			began := time.Now()
			p, err := v.visit(x, "localhost")
			if err != nil || p.StatusCode != 200 {
				x.t.Fatalf("%s: %v %+v", ways[k], err, p)
			}
			took[k] = append(took[k], time.Since(began))
		}
	}
	for k := range took {
		slices.Sort(took[k])
		medians[k] = took[k][len(took[k])/2]
	}
	return medians
}

// slowSize is how many slow clients there are, and how long it is measured.
func slowSize(t *testing.T) (n, rounds int, window time.Duration, most float64) {
	n, rounds, window, most = 330, 3, 250*time.Millisecond, 2
	if s := os.Getenv("SLUICE_SLOW"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < len(slowKinds) {
			t.Fatalf("SLUICE_SLOW is %q, want a number of clients", s)
		}
		rounds, window, most = 12, 1500*time.Millisecond, 1.1
	}
	openFiles(t, uint64(n+200))
	return n, rounds, window, most
}

func (x *secured) ordinary() (list []*visitor) {
	for k, proto := range []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0", "HTTP/1.1"} {
		v := x.visitor(proto, x.trust())
		if k == 3 {
			v.Transport.(*http.Transport).DisableKeepAlives = true
		}
		v.expect(x, "localhost", "hello "+proto)
		list = append(list, v)
	}
	return list
}

func newSlowWorld(x *secured) *slowWorld {
	x.t.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true") // recordedPackets has none
	config := x.trust()
	config.ServerName = "localhost"
	return &slowWorld{x.https, config}
}

// Slow clients of all kinds do not slow the others down, and cost nothing once they are gone.
func TestSlowClientsBesideOthers(t *testing.T) {
	n, rounds, window, most := slowSize(t)
	x := newSecured(t, func(x *secured) object {
		doc := x.config(helloRoute("hello", "localhost"))
		doc["logging"] = object{"logs": object{"default": object{"level": "WARN"}}}
		return doc
	})
	w, visitors := newSlowWorld(x), x.ordinary()
	openCrowd(t, w, len(slowKinds), time.Second).close()
	x.measure(visitors, window) // warm
	before := x.footprint()
	var ratios [4][]float64
	var quiet, held [][4]time.Duration
	quiet = append(quiet, x.measure(visitors, window))
	for range rounds {
		c := openCrowd(t, w, n, time.Second)
		if got, want := x.metric("process_open_fds"), c.streams(); got < want {
			t.Errorf("the server has %d files open and %d clients over TCP", got, want)
		}
		held = append(held, x.measure(visitors, window))
		c.close()
		x.settlesFiles()
		quiet = append(quiet, x.measure(visitors, window))
	}
	for i := range held {
		for k := range ways {
			ratios[k] = append(ratios[k], 2*float64(held[i][k])/float64(quiet[i][k]+quiet[i+1][k]))
		}
	}
	for k, way := range ways {
		slices.Sort(ratios[k])
		ratio := (ratios[k][(rounds-1)/2] + ratios[k][rounds/2]) / 2
		t.Logf("%s: median latency %v without, %v with %d slow clients; %+.1f %% (median of %d rounds)",
			way, middle(quiet, k), middle(held, k), n, 100*(ratio-1), rounds)
		if ratio > most {
			t.Errorf("%s: %d slow clients make requests take %.2f times as long, want at most %.2f; rounds %.2f", way, n, ratio, most, ratios[k])
		}
	}
	x.settles(before)
}

// middle is the median of medians.
func middle(list [][4]time.Duration, k int) time.Duration {
	var l []time.Duration
	for _, m := range list {
		l = append(l, m[k])
	}
	slices.Sort(l)
	return l[len(l)/2].Round(time.Microsecond)
}

// settlesFiles waits until the server has closed what its clients have.
func (x *secured) settlesFiles() {
	x.t.Helper()
	poll(x.t, "the server to close files", func() error {
		if n := x.metric("process_open_fds"); n > 100 {
			return fmt.Errorf("%d are open", n)
		}
		return nil
	})
}

// Time-outs cut slow clients of all kinds, and not before their time.
func TestSlowClientsAreCut(t *testing.T) {
	const header, idle = 3 * time.Second, 5 * time.Second
	n, _, _, _ := slowSize(t)
	x := newSecured(t, func(x *secured) object {
		doc := x.config(helloRoute("hello", "localhost"))
		doc["logging"] = object{"logs": object{"default": object{"level": "WARN"}}}
		server := doc["apps"].(object)["http"].(object)["servers"].(object)["s"].(object)
		server["read_header_timeout"], server["idle_timeout"] = header.String(), idle.String()
		return doc
	})
	w := newSlowWorld(x)
	x.visitor("HTTP/2.0", x.trust()).expect(x, "localhost", "hello HTTP/2.0")
	openCrowd(t, w, len(slowKinds), time.Second).close()
	before := x.footprint()
	c := openCrowd(t, w, n, 500*time.Millisecond)
	defer c.close()
	during := x.footprint()
	var mu sync.Mutex
	cut := make([][]time.Duration, len(slowKinds))
	var left atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var waiting sync.WaitGroup
	for i, s := range c.clients {
		if s.cut == nil {
			continue
		}
		waiting.Go(func() {
			select {
			case <-s.cut:
				mu.Lock()
				cut[i%len(slowKinds)] = append(cut[i%len(slowKinds)], time.Since(s.began))
				mu.Unlock()
			case <-ctx.Done():
				left.Add(1)
			}
		})
	}
	waiting.Wait()
	if k := left.Load(); k > 0 {
		t.Errorf("%d of %d clients are not cut", k, n)
	}
	limits := map[slowLimit]time.Duration{byHeader: header, byIdle: idle, bySettings: 2 * time.Second}
	for k, kind := range slowKinds {
		if kind.cut == unseen || len(cut[k]) == 0 {
			continue
		}
		least, most := slices.Min(cut[k]), slices.Max(cut[k])
		t.Logf("%s: %d cut after %v to %v", kind.name, len(cut[k]), least.Round(time.Millisecond), most.Round(time.Millisecond))
		// The client looks at its clock later than the server does.
		if want := limits[kind.cut]; least < want*2/3 || most > want+patience {
			t.Errorf("%s: cut after %v to %v, want %v", kind.name, least, most, want)
		}
	}
	x.settles(before)
	after := x.footprint()
	t.Logf("%d slow clients: before %+v, with them %+v (%d bytes of heap each), afterwards %+v", n, before, during, (during.heap-before.heap)/n, after)
	if during.goroutines < before.goroutines+n/2 {
		t.Errorf("with %d clients the server has %d goroutines, and %d without: it holds nothing for them", n, during.goroutines, before.goroutines)
	}
	if x.visitor("HTTP/3.0", x.trust()).expect(x, "localhost", "hello HTTP/3.0"); t.Failed() {
		t.Logf("%s", x.s.log)
	}
}
