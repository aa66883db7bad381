package reverseproxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
	"github.com/sluiceproxy/sluice/internal/idleread"
	"github.com/sluiceproxy/sluice/upstream"
)

// switchProtocols relays a 101 and joins the two connections (section 11.1). An answer that does not fit what the client
// asked for is a 502 (quirk 30).
func (p *proxying) switchProtocols(res *http.Response) error {
	offered := upgradeType(res.Header)
	if !sameProtocol(p.upgrade, offered) {
		p.log.Debug("upgrade refused", zap.String("requested", p.upgrade), zap.String("offered", offered))
		res.Body.Close()
		return badGateway("the upstream switches to another protocol than the one requested")
	}
	back, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		res.Body.Close()
		return badGateway("the transport cannot switch protocols")
	}
	front, err := p.takeOver(res)
	if err != nil {
		back.Close()
		p.abort(err)
	}
	p.log.Debug("upgrading connection", zap.String("protocol", p.upgrade))
	p.tunnel(front, back)
	return nil
}

// takeOver sends the 101 and returns the client's end of the tunnel.
func (p *proxying) takeOver(res *http.Response) (io.ReadWriteCloser, error) {
	to := p.w.Header()
	if res.Header["Server"] != nil {
		delete(to, "Server")
	}
	for name, values := range endToEnd(res.Header, nil).fields {
		to[name] = append(to[name][:len(to[name]):len(to[name])], values...)
	}
	if p.extended {
		return p.takeOverStream(to)
	}
	to["Connection"], to["Upgrade"] = []string{"Upgrade"}, []string{upgradeType(res.Header)}
	spellWebSocket(to)
	p.w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(p.w).Hijack()
	if err != nil {
		return nil, err
	}
	if err := buffered.Flush(); err != nil {
		conn.Close()
		return nil, err
	}
	front := &client{Conn: conn}
	if n := buffered.Reader.Buffered(); n > 0 { // sent ahead of the 101 (UP-3)
		ahead, _ := buffered.Reader.Peek(n)
		front.ahead = bytes.Clone(ahead) // out of net/http's buffer, which a tunnel does without
	}
	return front, nil
}

// client is a client's connection with the bytes that were read ahead.
type client struct {
	net.Conn
	ahead []byte
}

// RawRead returns what to read from without this connection's help.
func (c *client) RawRead() syscall.RawConn {
	if len(c.ahead) > 0 {
		return nil
	}
	return idleread.RawOf(c.Conn)
}

// Read implements io.Reader.
func (c *client) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// tunnel copies both ways until either side ends, then closes both (UP-4). It holds the two connections and the host's
// count and nothing of the configuration that it was opened under.
func (p *proxying) tunnel(front, back io.ReadWriteCloser) {
	t := &tunnel{front: front, back: back, webSocket: p.upgrade == "websocket"}
	kind := "upgrade"
	if t.webSocket {
		kind = "websocket"
	}
	p.h.tunnels.add(t)
	stream := p.openStream(kind, func() { go t.goAway() })
	p.x.Release()
	_, hijacked := front.(*client)
	rest := func() {
		p.runTunnel(t, stream)
		if hijacked && p.x.Response != nil { // what goes through an HTTP/2 stream is counted by the writer and the body themselves
			p.x.Response.AddSize(stream.Down.Load())
			if p.x.Body == nil {
				p.x.Body = &handlers.CountingBody{}
			}
			p.x.Body.Add(stream.Up.Load())
		}
	}
	// A stream of HTTP/2, on either side, ends with the request's context, and so does not outlive the handler.
	p.detached = hijacked && p.response.ProtoMajor < 2 && p.x.Detach(func() {
		rest()
		p.detached = false
		p.depart()
		p.finish()
	})
	if !p.detached {
		defer context.AfterFunc(p.in.Context(), t.close)() // UP-5
		rest()
		return
	}
	p.w, p.out, p.base, p.choice = nil, nil, nil, selection.Choice{} // a tunnel may last for days
}

// runTunnel copies until the tunnel ends.
func (p *proxying) runTunnel(t *tunnel, stream *upstream.Stream) {
	defer p.h.tunnels.remove(t)
	defer t.close()
	defer stream.Done()
	if timeout := p.h.streamTimeout; timeout > 0 {
		timer := time.AfterFunc(timeout, func() {
			p.log.Debug("stream timed out")
			t.close()
		})
		defer timer.Stop()
	}
	buffers := p.h.streamBuffers
	var wg sync.WaitGroup
	wg.Go(func() {
		defer t.close()
		p.logStream(copyTunnel(gated{&t.up, t.back}, t.front, buffers, &stream.Up))
	})
	p.logStream(copyTunnel(gated{&t.down, t.front}, t.back, buffers, &stream.Down))
	t.close()
	wg.Wait()
	p.duration = time.Since(p.sent)
	p.log.Debug("connection closed")
}

// defaultStreamBuffers is for handlers that do not say how large theirs are.
var defaultStreamBuffers = idleread.NewBuffers(copySize)

func copyTunnel(to io.Writer, from io.Reader, buffers *idleread.Buffers, count *atomic.Int64) error {
	r := idleread.NewReader(from, buffers)
	for {
		b, err := r.Next()
		if len(b) > 0 {
			if _, werr := to.Write(b); werr != nil {
				r.Free()
				return werr
			}
			count.Add(int64(len(b)))
		}
		r.Free()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// tunnel is one upgraded connection.
type tunnel struct {
	front, back io.ReadWriteCloser
	webSocket   bool
	once        sync.Once
	up, down    gate
}

// gate stands before one end of a tunnel. Nothing is passed on to an end that was told goodbye: no frame may follow a
// close frame (RFC 6455, section 5.5.1).
type gate struct {
	mu     sync.Mutex
	closed bool
}

// last writes what is to be the last that the end gets.
func (g *gate) last(to io.Writer, p []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	_, _ = to.Write(p) // a peer that cannot be told is closed all the same
}

// gated is an end behind its gate.
type gated struct {
	gate *gate
	to   io.Writer
}

// Write implements io.Writer. Behind a closed gate it drops what it gets, so that the tunnel lasts until both ends are
// told.
func (w gated) Write(p []byte) (int, error) {
	w.gate.mu.Lock()
	defer w.gate.mu.Unlock()
	if w.gate.closed {
		return len(p), nil
	}
	return w.to.Write(p)
}

// close closes both ends at once.
func (t *tunnel) close() {
	t.once.Do(func() {
		t.front.Close()
		t.back.Close()
	})
}

// farewell bounds the time for the close frames of one tunnel.
const farewell = time.Second

// goAway closes the tunnel because its handler went (UP-9). The ends of a WebSocket are told with a close frame of code
// 1001; it may land inside another frame.
func (t *tunnel) goAway() {
	if t.webSocket {
		timer := time.AfterFunc(farewell, t.close)
		defer timer.Stop()
		t.down.last(t.front, []byte{0x88, 0x02, 0x03, 0xe9})
		t.up.last(t.back, maskedGoingAway())
	}
	t.close()
}

// tunnels is the tunnels of one handler whose stream_close_delay is set. A nil value keeps none: they have no end but
// their own.
type tunnels struct {
	delay time.Duration

	mu    sync.Mutex
	open  map[*tunnel]struct{}
	gone  bool // the handler was removed or changed
	timer *time.Timer
}

func (s *tunnels) add(t *tunnel) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*tunnel]struct{}{}
	}
	s.open[t] = struct{}{}
	if s.gone && len(s.open) == 1 { // it was opened by a request from before
		s.timer = time.AfterFunc(s.delay, s.closeAll)
	}
}

func (s *tunnels) remove(t *tunnel) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, t)
	if s.gone && len(s.open) == 0 && s.timer != nil {
		s.timer.Stop() // nothing is left to close (UP-10)
	}
}

// unload closes the tunnels after the delay. It returns at once.
func (s *tunnels) unload() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	if len(s.open) > 0 {
		s.timer = time.AfterFunc(s.delay, s.closeAll)
	}
}

func (s *tunnels) closeAll() {
	s.mu.Lock()
	list := make([]*tunnel, 0, len(s.open))
	for t := range s.open {
		list = append(list, t)
	}
	s.mu.Unlock()
	for _, t := range list {
		go t.goAway()
	}
}
