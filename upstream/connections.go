package upstream

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/sluiceproxy/sluice/internal/idleread"
)

// Connections counts the open connections to each address that transports have dialled. Safe for concurrent use.
type Connections struct {
	mu   sync.Mutex
	open map[string]int64
}

// Count returns the number of open connections to an address, host:port or path.
func (c *Connections) Count(address string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[address]
}

func (c *Connections) add(address string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[string]int64{}
	}
	if c.open[address] += n; c.open[address] == 0 {
		delete(c.open, address)
	}
}

// Track counts one connection to an address in, and returns what counts it out; that may be called more than once.
func (c *Connections) Track(address string) (done func()) {
	var ended atomic.Bool
	c.add(address, 1)
	return func() {
		if !ended.Swap(true) {
			c.add(address, -1)
		}
	}
}

// trackedConn is a connection that is counted until it is closed.
type trackedConn struct {
	net.Conn
	done func()
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.done()
	return c.Conn.Close()
}

// CloseWrite ends the sending direction, where the connection can.
func (c *trackedConn) CloseWrite() error { return closeWrite(c.Conn) }

// RawRead returns what to read from without this connection's help.
func (c *trackedConn) RawRead() syscall.RawConn { return idleread.RawOf(c.Conn) }

// NetConn returns the connection below.
func (c *trackedConn) NetConn() net.Conn { return c.Conn }
