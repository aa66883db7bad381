package reverseproxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/sluiceproxy/sluice/server/trust/trusttest"
)

// quicBackend is an upstream that speaks HTTP/3.
type quicBackend struct {
	addr  string
	conns atomic.Int64 // accepted

	t      testing.TB
	config *tls.Config
	h      http.Handler
	sock   net.PacketConn
	over   *quic.Transport
	server *http3.Server
	done   sync.WaitGroup
}

// backend3 starts one with a certificate that nobody trusts.
func backend3(t testing.TB, h http.HandlerFunc) *quicBackend {
	t.Helper()
	return backend3TLS(t, h, &tls.Config{Certificates: []tls.Certificate{trusttest.New(t).Issue("127.0.0.1")}})
}

func backend3TLS(t testing.TB, h http.HandlerFunc, config *tls.Config) *quicBackend {
	t.Helper()
	b := &quicBackend{addr: "127.0.0.1:0", t: t, config: config, h: h}
	b.start()
	t.Cleanup(b.stop)
	return b
}

// start serves, after a stop at the address of before.
func (b *quicBackend) start() {
	b.t.Helper()
	var err error
	if b.sock, err = net.ListenPacket("udp", b.addr); err != nil {
		b.t.Fatal(err)
	}
	b.addr, b.over = b.sock.LocalAddr().String(), &quic.Transport{Conn: b.sock}
	b.server = &http3.Server{Handler: b.h, ConnContext: func(ctx context.Context, _ *quic.Conn) context.Context {
		b.conns.Add(1)
		return ctx
	}}
	ln, err := b.over.ListenEarly(http3.ConfigureTLSConfig(b.config), &quic.Config{})
	if err != nil {
		b.t.Fatal(err)
	}
	server := b.server
	b.done.Go(func() { _ = server.ServeListener(ln) })
}

// stop ends it, as a process that is told to does.
func (b *quicBackend) stop() {
	_ = b.server.Close()
	b.done.Wait()
	_ = b.over.Close()
	_ = b.sock.Close()
}
