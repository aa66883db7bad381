package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/upstream/h3"
	"github.com/sluiceproxy/sluice/upstream/proxyheader"
)

// DialFunc opens a connection with the settings of d. The default is d.DialContext; tests put a network of their own in
// its place.
type DialFunc func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error)

// dialer opens the connections of one transport.
type dialer struct {
	dial    DialFunc
	plain   net.Dialer // without a local address
	local   *net.Dialer
	network string // of the local address: "tcp", "tcp4", "tcp6" or "unix"
	read    time.Duration
	write   time.Duration
	track   func(address string) (done func())

	tls           *tls.Config // what all connections have in common; nil for clear text
	handshake     time.Duration
	http1Only     bool
	proxyProtocol int
	quic          *h3.Dialer // nil unless HTTP/3 is spoken
}

func newDialer(o HTTPOptions, dial DialFunc, connections *Connections) (*dialer, error) {
	d := &dialer{
		dial:  dial,
		plain: net.Dialer{Timeout: o.DialTimeout, FallbackDelay: o.DialFallbackDelay, KeepAlive: o.ProbeInterval},
		read:  o.ReadTimeout,
		write: o.WriteTimeout,
		track: connections.Track,

		tls:           o.TLS.base(),
		handshake:     o.TLS.HandshakeTimeout,
		http1Only:     o.HTTP1Only,
		proxyProtocol: o.ProxyProtocol,
	}
	if o.Resolvers != "" {
		d.plain.Resolver = NewResolver(ResolverOptions{
			Addresses: strings.Split(o.Resolvers, ","), DialTimeout: o.DialTimeout, DialFallbackDelay: o.DialFallbackDelay, Dial: dial,
		})
	}
	if o.LocalAddress == "" {
		return d, nil
	}
	network, address, err := resolveLocal(o.LocalAddress)
	if err != nil {
		return nil, err
	}
	local := d.plain
	local.LocalAddr = address
	d.local, d.network = &local, network
	return d, nil
}

// DialContext has the signature net/http wants. The authority is an encoded way, or host:port.
func (d *dialer) DialContext(ctx context.Context, _, authority string) (net.Conn, error) {
	w, err := decodeWay(authority)
	if err != nil {
		return nil, err
	}
	return d.open(ctx, &w)
}

// DialHTTP1 is DialContext for connections that speak HTTP/1.
func (d *dialer) DialHTTP1(ctx context.Context, network, authority string) (net.Conn, error) {
	conn, err := d.DialContext(ctx, network, authority)
	if err != nil {
		return nil, err
	}
	return newGuard(conn), nil
}

// DialTLS is DialContext with a handshake.
func (d *dialer) DialTLS(ctx context.Context, _, authority string) (net.Conn, error) {
	w, err := decodeWay(authority)
	if err != nil {
		return nil, err
	}
	conn, err := d.open(ctx, &w)
	if err != nil {
		return nil, err
	}
	return d.secure(ctx, conn, &w)
}

// open makes the connection that a way describes, as far as the upstream's own protocol begins. Its errors are of type
// [*DialError], unless it is the request that lacks something.
func (d *dialer) open(ctx context.Context, w *way) (net.Conn, error) {
	var header []byte
	if d.proxyProtocol != 0 {
		var err error
		if header, err = proxyheader.Of(d.proxyProtocol, w.client); err != nil {
			return nil, err
		}
	}
	conn, err := d.reach(ctx, w)
	if err == nil && header != nil {
		err = d.sendHeader(conn, header)
	}
	if err != nil {
		return nil, &DialError{Network: w.network, Address: w.address, Err: err}
	}
	if (d.read > 0 || d.write > 0) && isTCP(w.network) {
		conn = &timedConn{Conn: conn, read: d.read, write: d.write}
	}
	return conn, nil
}

// reach makes a connection, which is counted.
func (d *dialer) reach(ctx context.Context, w *way) (net.Conn, error) {
	conn, err := d.connect(ctx, w)
	if err != nil {
		return nil, err
	}
	return &trackedConn{conn, d.track(w.address)}, nil
}

func (d *dialer) connect(ctx context.Context, w *way) (net.Conn, error) {
	if w.proxy != "" && !w.has(modeAbsolute) {
		return d.tunnel(ctx, w.proxy, w.address)
	}
	return d.dial(ctx, d.choose(w.network), w.network, w.address)
}

// sendHeader sends what comes before all else. The connection is closed when that fails.
func (d *dialer) sendHeader(conn net.Conn, header []byte) error {
	var by time.Time
	if d.plain.Timeout > 0 {
		by = time.Now().Add(d.plain.Timeout)
	}
	err := conn.SetWriteDeadline(by)
	if err == nil {
		_, err = conn.Write(header)
	}
	if err == nil {
		err = conn.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		return fmt.Errorf("sending the header of the PROXY protocol: %w", err)
	}
	return nil
}

// choose returns the dialer with the local address where that address can be used with network.
func (d *dialer) choose(network string) *net.Dialer {
	if d.local == nil || isTCP(network) != isTCP(d.network) {
		return &d.plain
	}
	return d.local
}

func isTCP(network string) bool {
	return network == "tcp" || network == "tcp4" || network == "tcp6"
}

// timedConn limits the time of every single read and write, so that a connection that makes progress lives (HT 12.1).
// A write also gives a waiting read its whole time again: what is read is the answer to what was written last.
type timedConn struct {
	net.Conn
	read, write time.Duration
}

func (c *timedConn) Read(b []byte) (int, error) {
	if c.read > 0 {
		if err := c.SetReadDeadline(time.Now().Add(c.read)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(b)
}

func (c *timedConn) Write(b []byte) (int, error) {
	now := time.Now()
	if c.write > 0 {
		if err := c.SetWriteDeadline(now.Add(c.write)); err != nil {
			return 0, err
		}
	}
	if c.read > 0 {
		if err := c.SetReadDeadline(now.Add(c.read)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}
