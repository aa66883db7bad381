package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"golang.org/x/net/http2"
)

const (
	floodClients = 4   // at a time
	floodStreams = 250 // that a client may have open
	floodHeap    = 256 << 20
)

// floodTime is how long a flood lasts that the server need not end.
func floodTime() time.Duration {
	if os.Getenv("SLUICE_SLOW") != "" {
		return 5 * time.Second
	}
	return 300 * time.Millisecond
}

// flooder is a client of HTTP/2 that keeps no rule.
type flooder struct {
	*http2.Framer
	ctx    context.Context
	conn   net.Conn
	out    *bufio.Writer
	stream uint32
	sent   int // frames
	resets atomic.Int64
	goAway atomic.Int64 // code plus 1
}

// Write implements io.Writer, for the framer.
func (f *flooder) Write(p []byte) (int, error) {
	f.sent++
	return f.out.Write(p)
}

// next is the number of a stream that is new.
func (f *flooder) next() uint32 {
	f.stream += 2
	return f.stream
}

// request opens a stream.
func (f *flooder) request(method, path string, end bool) error {
	block := headerBlock(method, "localhost")
	if path != "/" {
		block = append(block[:len(block)-1], append([]byte{0x04, byte(len(path))}, path...)...) // for the indexed path /
	}
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.next(), BlockFragment: block, EndStream: end, EndHeaders: true})
}

// listen reads what comes, and counts what matters.
func (f *flooder) listen() {
	r := http2.NewFramer(io.Discard, f.conn)
	for {
		frame, err := r.ReadFrame()
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame:
			f.resets.Add(1)
		case *http2.GoAwayFrame:
			f.goAway.Store(int64(frame.ErrCode) + 1)
		}
		var stream http2.StreamError
		if err != nil && !errors.As(err, &stream) {
			return
		}
	}
}

// flood is a way to overwhelm a server.
type flood struct {
	name string
	deaf bool                   // the client does not read
	ends bool                   // the server must end it
	once func(f *flooder) error // before
	more func(f *flooder) error // again and again
	wait func(f *flooder) error // afterwards: nil once it is as it should be
}

var floods = []flood{
	{name: "rapid reset", more: func(f *flooder) error {
		return errors.Join(f.request("GET", "/slow", true), f.WriteRSTStream(f.stream, http2.ErrCodeCancel))
	}},
	{name: "streams", once: func(f *flooder) error { return f.WriteSettings() },
		more: func(f *flooder) error { return f.request("POST", "/slow", false) }},
	{name: "CONTINUATION", ends: true,
		once: func(f *flooder) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.next(), BlockFragment: headerBlock("GET", "localhost"), EndStream: true})
		},
		more: func(f *flooder) error {
			block := append([]byte{0, 1, 'x', 0x7f, 0x81, 0x7b}, strings.Repeat("y", 16_000)...) // 127 + 1 + 123<<7
			return f.WriteContinuation(f.stream, false, block[:6+127+1+123<<7])
		}},
	{name: "empty CONTINUATION",
		once: func(f *flooder) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: f.next(), BlockFragment: headerBlock("GET", "localhost"), EndStream: true})
		},
		more: func(f *flooder) error { return f.WriteContinuation(f.stream, false, nil) }},
	{name: "PING", deaf: true, ends: true, more: func(f *flooder) error { return f.WritePing(false, [8]byte{1}) }},
	{name: "SETTINGS", deaf: true, more: func(f *flooder) error {
		return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 70_000})
	}},
	{name: "requests whose answers are not read", deaf: true, more: func(f *flooder) error { return f.request("GET", "/", true) }},
	{name: "PRIORITY", more: func(f *flooder) error { return f.WritePriority(f.next(), http2.PriorityParam{Weight: 1}) }},
	{name: "empty DATA", once: func(f *flooder) error { return f.request("POST", "/slow", false) },
		more: func(f *flooder) error { return f.WriteData(f.stream, false, nil) }},
	{name: "zero window",
		once: func(f *flooder) error {
			err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			for range floodStreams {
				err = errors.Join(err, f.request("GET", "/big", true))
			}
			return err
		},
		wait: func(f *flooder) error {
			if n := f.resets.Load(); n < floodStreams {
				return fmt.Errorf("%d of %d streams are reset", n, floodStreams)
			}
			return nil
		}},
}

// run floods the server with one connection and returns what ended it.
func (w *slowWorld) run(ctx context.Context, kind *flood) (f *flooder, ended bool, err error) {
	c, err := w.tls("h2")
	if err != nil {
		return nil, false, err
	}
	defer c.Close()
	f = &flooder{ctx: ctx, conn: c, out: bufio.NewWriterSize(c, 64<<10)}
	f.stream--
	f.Framer = http2.NewFramer(f, nil)
	f.AllowIllegalWrites = true
	if _, err = io.WriteString(f.out, http2.ClientPreface); err == nil && kind.name != "zero window" {
		err = f.WriteSettings()
	}
	if err != nil {
		return f, false, err
	}
	if !kind.deaf {
		go f.listen()
	}
	if kind.once != nil {
		if err := errors.Join(kind.once(f), f.out.Flush()); err != nil {
			return f, false, err
		}
	}
	most := floodTime()
	if kind.ends {
		most = patience
	}
	stop, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	_ = c.SetWriteDeadline(time.Now().Add(most)) // a server that does not read is fine
	for kind.more != nil && stop.Err() == nil {
		if err := kind.more(f); err != nil {
			var late net.Error
			return f, !(errors.As(err, &late) && late.Timeout()), nil
		}
	}
	if kind.wait != nil {
		for err = kind.wait(f); err != nil && ctx.Err() == nil; err = kind.wait(f) {
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return f, false, err
}

// flooded is a server whose handlers are slow, and its upstream.
type flooded struct {
	*secured
	running, most atomic.Int64
}

func newFlooded(t *testing.T) *flooded {
	d := &flooded{}
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n := d.running.Add(1)
		defer d.running.Add(-1)
		for m := d.most.Load(); n > m && !d.most.CompareAndSwap(m, n); m = d.most.Load() {
		}
		_, _ = io.Copy(io.Discard, r.Body) // only then net/http notices that the client has gone
		<-r.Context().Done()
	}))
	t.Cleanup(upstream.Close)
	d.secured = newSecured(t, func(x *secured) object {
		doc := x.config(
			object{"match": []any{object{"path": []string{"/slow"}}}, "terminal": true,
				"handle": []any{object{"handler": "reverse_proxy", "upstreams": []any{object{"dial": strings.TrimPrefix(upstream.URL, "http://")}},
					"transport": object{"protocol": "http", "keep_alive": object{"enabled": false}}}}},
			object{"match": []any{object{"path": []string{"/big"}}}, "terminal": true, "handle": []any{object{"handler": "file_server", "root": x.h.dir}}},
			helloRoute("hello", "localhost"))
		doc["logging"] = object{"logs": object{"default": object{"level": "FATAL"}}}
		server := doc["apps"].(object)["http"].(object)["servers"].(object)["s"].(object)
		server["write_idle_timeout"] = "2s"
		if err := os.WriteFile(filepath.Join(x.h.dir, "big"), make([]byte, 8<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		return doc
	})
	return d
}

// watch makes ordinary requests until ctx ends, and returns the most that the server has needed.
func (d *flooded) watch(ctx context.Context, what string, visitors []*visitor) (peak footprint, requests int) {
	for ctx.Err() == nil {
		for k, v := range visitors {
			if p, err := v.visit(d.secured, "localhost"); err != nil || p.StatusCode != 200 {
				d.t.Errorf("during %s, %s: %v", what, ways[k], err)
				return peak, requests
			}
			requests++
		}
		peak.goroutines = max(peak.goroutines, d.metric("go_goroutines"))
		peak.heap = max(peak.heap, d.metric("go_memstats_heap_inuse_bytes"))
	}
	return peak, requests
}

// Floods of HTTP/2 cost the server little, and it goes on with the others.
func TestHTTP2Floods(t *testing.T) {
	d := newFlooded(t)
	w, visitors := newSlowWorld(d.secured), d.ordinary()
	before := d.footprint()
	for i := range floods {
		kind := &floods[i]
		d.most.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		watching, unwatch := context.WithCancel(ctx)
		var sent, ended, goAway atomic.Int64
		var attack sync.WaitGroup
		for range floodClients {
			attack.Go(func() {
				f, end, err := w.run(ctx, kind)
				if err != nil {
					t.Errorf("%s: %v", kind.name, err)
					return
				}
				sent.Add(int64(f.sent))
				goAway.Store(f.goAway.Load())
				if end {
					ended.Add(1)
				}
			})
		}
		go func() {
			attack.Wait()
			unwatch()
		}()
		peak, requests := d.watch(watching, kind.name, visitors)
		attack.Wait()
		cancel()
		t.Logf("%s: %d frames by %d clients, of whom %d were cut (GOAWAY %d); at most %d goroutines, %d MB of heap, %d requests upstream; %d ordinary requests",
			kind.name, sent.Load(), floodClients, ended.Load(), goAway.Load()-1, peak.goroutines, peak.heap>>20, d.most.Load(), requests)
		if kind.ends && ended.Load() < floodClients {
			t.Errorf("%s: %d of %d clients are cut", kind.name, ended.Load(), floodClients)
		}
		if most := before.goroutines + spareGoroutines + 8*floodClients*floodStreams; peak.goroutines > most {
			t.Errorf("%s: %d goroutines, want at most %d", kind.name, peak.goroutines, most)
		}
		if peak.heap > before.heap+floodHeap {
			t.Errorf("%s: %d bytes of heap, and %d before", kind.name, peak.heap, before.heap)
		}
		if n := d.most.Load(); n > floodClients*floodStreams {
			t.Errorf("%s: %d requests run at a time, want at most %d", kind.name, n, floodClients*floodStreams)
		}
		d.settles(before)
	}
}

// A client of HTTP/3 that gives up its requests as fast as it makes them has no more of them run than one that does not.
func TestHTTP3RapidReset(t *testing.T) {
	d := newFlooded(t)
	w, visitors := newSlowWorld(d.secured), d.ordinary()
	before := d.footprint()
	var block strings.Builder
	e := qpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/slow"}} {
		_ = e.WriteField(qpack.HeaderField{Name: f[0], Value: f[1]}) // into memory
	}
	frame := append([]byte{1, byte(block.Len())}, block.String()...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watching, unwatch := context.WithCancel(ctx)
	var sent atomic.Int64
	var attack sync.WaitGroup
	for range floodClients {
		attack.Go(func() {
			config := w.trust.Clone()
			config.NextProtos = []string{"h3"}
			c, err := quic.DialAddr(ctx, w.address, config, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.CloseWithError(0, "")
			stop, cancel := context.WithTimeout(ctx, floodTime())
			defer cancel()
			for stop.Err() == nil {
				s, err := c.OpenStreamSync(stop)
				if err != nil {
					return // the end of the time, or of the connection
				}
				_, _ = s.Write(frame)
				s.CancelRead(0x10c)
				s.CancelWrite(0x10c)
				sent.Add(1)
			}
		})
	}
	go func() {
		attack.Wait()
		unwatch()
	}()
	peak, requests := d.watch(watching, "rapid reset", visitors)
	attack.Wait()
	t.Logf("%d requests given up; at most %d goroutines, %d MB of heap, %d requests upstream; %d ordinary requests",
		sent.Load(), peak.goroutines, peak.heap>>20, d.most.Load(), requests)
	if peak.heap > before.heap+floodHeap || d.most.Load() > 4*floodClients*floodStreams {
		t.Errorf("%d bytes of heap, and %d before; %d requests upstream", peak.heap, before.heap, d.most.Load())
	}
	d.settles(before)
}
