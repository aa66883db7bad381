package upstream

import (
	"context"
	"net"
	"time"
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
}

func newDialer(o HTTPOptions, dial DialFunc) (*dialer, error) {
	d := &dialer{
		dial:  dial,
		plain: net.Dialer{Timeout: o.DialTimeout, FallbackDelay: o.DialFallbackDelay, KeepAlive: o.ProbeInterval},
		read:  o.ReadTimeout,
		write: o.WriteTimeout,
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

// DialContext has the signature net/http wants. authority is an encoded host, or host:port.
func (d *dialer) DialContext(ctx context.Context, _, authority string) (net.Conn, error) {
	network, address, err := decodeHost(authority)
	if err != nil {
		return nil, err
	}
	conn, err := d.dial(ctx, d.choose(network), network, address)
	if err != nil {
		return nil, &DialError{Network: network, Address: address, Err: err}
	}
	if (d.read > 0 || d.write > 0) && isTCP(network) {
		conn = &timedConn{Conn: conn, read: d.read, write: d.write}
	}
	return conn, nil
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
