package xconnect

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// What the first frame of a server says against an extended CONNECT.
var (
	errNotHTTP2  error = refusal("it does not speak HTTP/2")
	errNoConnect error = refusal("it speaks HTTP/2 without extended CONNECT (RFC 8441), on which WebSockets depend there")
)

type refusal string

// Error implements error.
func (r refusal) Error() string { return string(r) }

// IsRefusal reports whether err is what an upstream is: one that does not speak HTTP/2, or speaks it without extended
// CONNECT.
func IsRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// ErrNoSettings is an upstream that has not begun to speak HTTP/2, for whatever reason.
var ErrNoSettings = errors.New("no SETTINGS frame came from the upstream")

// settingsPeek is a connection to a server of HTTP/2. While it is read it learns from the first SETTINGS frame whether the
// server takes extended CONNECT (RFC 8441 section 3).
type settingsPeek struct {
	net.Conn
	known   chan struct{}
	verdict error // valid when known is closed
	gone    func()

	end  sync.Once
	shut atomic.Bool

	// Used by the one goroutine that reads.
	done bool
	head []byte // of the first frame
}

const (
	frameHeaderSize = 9
	settingSize     = 6
	maxSettings     = 16 << 10 // the largest frame before another size is agreed upon
)

// Read implements io.Reader.
func (c *settingsPeek) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.done {
		c.look(p[:n], err)
	}
	return n, err
}

func (c *settingsPeek) look(p []byte, err error) {
	whole := len(c.head) == 0
	c.head = append(c.head, p[:min(len(p), frameHeaderSize+maxSettings-len(c.head))]...)
	verdict, ok := judgeSettings(c.head)
	if !ok && err != nil {
		verdict, ok = ErrNoSettings, true
	}
	if ok {
		if verdict == nil && whole {
			limitFrames(p)
		}
		c.decide(verdict)
	}
}

// streamFrame is how much goes into one frame. http2 keeps a buffer of that size for each stream, however silent it is, and
// would make it half a MiB for a server that takes that much.
const streamFrame = 16 << 10

// limitFrames lowers the largest frame that the server takes. p begins with its first frame. Where that comes in pieces
// it stays as it is.
func limitFrames(p []byte) {
	const value = 2 // behind the identifier
	end := frameHeaderSize + (int(p[1])<<8 | int(p[2]))
	for at := frameHeaderSize; at < end; at += settingSize {
		s := p[at:]
		if http2.SettingID(binary.BigEndian.Uint16(s)) == http2.SettingMaxFrameSize && binary.BigEndian.Uint32(s[value:]) > streamFrame {
			binary.BigEndian.PutUint32(s[value:], streamFrame)
		}
	}
}

func (c *settingsPeek) decide(verdict error) {
	c.done, c.head, c.verdict = true, nil, verdict
	close(c.known)
}

// judgeSettings reads the beginning of what a server sends. It reports false if more is needed.
func judgeSettings(b []byte) (verdict error, ok bool) {
	if len(b) < frameHeaderSize {
		return nil, false
	}
	size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	if size > maxSettings || size%settingSize != 0 || http2.FrameType(b[3]) != http2.FrameSettings || b[4] != 0 ||
		b[5]|b[6]|b[7]|b[8] != 0 {
		return errNotHTTP2, true
	}
	if len(b) < frameHeaderSize+size {
		return nil, false
	}
	verdict = errNoConnect
	for s := b[frameHeaderSize : frameHeaderSize+size]; len(s) > 0; s = s[settingSize:] {
		if http2.SettingID(binary.BigEndian.Uint16(s)) == http2.SettingEnableConnectProtocol {
			if verdict = nil; binary.BigEndian.Uint32(s[2:]) != 1 {
				verdict = errNoConnect
			}
		}
	}
	return verdict, true
}

// wait returns the verdict.
func (c *settingsPeek) wait(ctx context.Context, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.known:
		return c.verdict
	case <-timer.C:
		return ErrNoSettings
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *settingsPeek) closed() bool { return c.shut.Load() }

// Close implements io.Closer.
func (c *settingsPeek) Close() error {
	c.shut.Store(true)
	c.end.Do(c.gone)
	return c.Conn.Close()
}
