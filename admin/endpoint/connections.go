package endpoint

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/admin/access"
	"github.com/sluiceproxy/sluice/internal/netaddr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// kind is what a listener is for.
type kind uint8

const (
	localKind kind = iota
	remoteKind
)

// String names the endpoint in messages.
func (k kind) String() string {
	if k == remoteKind {
		return "the remote admin endpoint"
	}
	return "the admin endpoint"
}

// field is where a document has the address.
func (k kind) field() string {
	if k == remoteKind {
		return "admin.remote.listen"
	}
	return "admin.listen"
}

// listener is what the server accepts from.
func (k *socket) listener(server *http.Server) net.Listener {
	ln := newCapped(draining{held{k.ln, k.sockets.inherited, k.ended}, k}, k.sockets.options.Connections, k.log)
	if k.kind == localKind {
		return ln
	}
	server.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return access.OnConnection(ctx) }
	// No protocol is negotiated, so that it is HTTP/1.1.
	return tls.NewListener(ln, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.tls.Load(), nil }})
}

// setMode gives a unix socket the mode that the document in use asks for.
func (k *socket) setMode(a netaddr.Addr) {
	if !a.IsUnix() || a.IsAbstract() {
		return
	}
	if err := os.Chmod(a.Host, a.Mode.Perm()); err != nil {
		k.log.Error("setting the mode of the admin socket", zap.String("address", a.String()), zap.Error(err))
	}
}

// capped is a listener with a limit on its open connections. Those that are too
// many are closed at once, so that whoever has made them learns of it.
type capped struct {
	net.Listener
	max  int64
	open atomic.Int64
	log  *zap.Logger
}

func newCapped(ln net.Listener, limit int, log *zap.Logger) *capped {
	log = log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return zapcore.NewSamplerWithOptions(c, time.Minute, 1, 0) }))
	return &capped{Listener: ln, max: int64(limit), log: log}
}

// Accept returns the next connection that there is room for.
func (c *capped) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c.open.Add(1) <= c.max {
			return &counted{Conn: conn, release: sync.OnceFunc(func() { c.open.Add(-1) })}, nil
		}
		c.open.Add(-1)
		_ = conn.Close()
		c.log.Warn("too many connections; new ones are closed", zap.Int64("limit", c.max))
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	release func()
}

// Close closes the connection.
func (c *counted) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// CloseWrite ends what is written, so that a client which still sends can read
// its answer.
func (c *counted) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
