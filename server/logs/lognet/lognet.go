// Package lognet is the connection to a log server: made when a configuration
// takes effect, and made again in the background when it breaks. Who logs never
// waits for it.
package lognet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// Settings say where the log server is.
type Settings struct {
	// Network and Address are what package net dials.
	Network, Address string
	// Packets says that the network carries packets: each entry is one.
	Packets bool
	// Timeout bounds dialling; 0 leaves that to the system.
	Timeout time.Duration
	// Soft says that a server which cannot be reached is no error.
	Soft bool
}

const (
	// redialEvery is how often a new connection is tried, at most.
	redialEvery = 10 * time.Second
	// redialWait is how long entries wait for it when a write has failed.
	redialWait = time.Second
	// writeTimeout is how long the server may take nothing.
	writeTimeout = 30 * time.Second
)

var errClosed = errors.New("the connection to the log server is closed")

// dialFunc makes a connection, as net.Dialer.DialContext does.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Conn sends entries to a log server. While there is no connection they go to
// the fallback. It is safe for concurrent use.
type Conn struct {
	s        Settings
	fallback io.Writer
	report   func(error)
	dial     dialFunc
	stop     context.CancelFunc
	ctx      context.Context

	mu      sync.Mutex
	conn    net.Conn      // nil while there is none
	dialing chan struct{} // closed when the attempt under way has ended; nil if there is none
	tried   time.Time     // when the last attempt began
	closed  bool
}

// Open connects to the log server. Report is told of broken connections, from
// any goroutine.
func Open(s Settings, fallback io.Writer, report func(error)) (*Conn, error) {
	return open(s, fallback, report, new(net.Dialer).DialContext)
}

func open(s Settings, fallback io.Writer, report func(error), dial dialFunc) (*Conn, error) {
	c := &Conn{s: s, fallback: fallback, report: report, dial: dial}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.tried = time.Now()
	conn, err := c.connect()
	if err != nil {
		if !s.Soft {
			c.stop()
			return nil, err
		}
		report(err)
		return c, nil
	}
	c.conn = conn
	return c, nil
}

func (c *Conn) connect() (net.Conn, error) {
	ctx := c.ctx
	c.mu.Lock()
	timeout := c.s.Timeout
	c.mu.Unlock()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	conn, err := c.dial(ctx, c.s.Network, c.s.Address)
	if err != nil {
		return nil, fmt.Errorf("connecting to log server %s/%s: %w", c.s.Network, c.s.Address, err)
	}
	return conn, nil
}

// SetTimeout bounds further dialling.
func (c *Conn) SetTimeout(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.Timeout = d
}

// Write sends one entry.
func (c *Conn) Write(p []byte) (int, error) { return c.WriteEntries(p, []int{len(p)}) }

// WriteEntries sends entries of which the i-th ends at ends[i]. What cannot be
// sent is written to the fallback.
func (c *Conn) WriteEntries(p []byte, ends []int) (int, error) {
	sent, err := c.try(p, ends, 0)
	if err != nil && c.redial(true) {
		// What the server has of the entry that broke off is not used.
		sent, err = c.try(p, ends, sent)
	}
	if err == nil {
		return len(p), nil
	}
	if errors.Is(err, errClosed) {
		return sent, err
	}
	n, err := c.fallback.Write(p[sent:])
	return sent + n, err
}

var errNoConnection = errors.New("there is no connection")

// try sends what follows the first bytes, and returns where the last entry that
// was sent ends.
func (c *Conn) try(p []byte, ends []int, from int) (int, error) {
	c.mu.Lock()
	conn, closed := c.conn, c.closed
	c.mu.Unlock()
	if closed {
		return from, errClosed
	}
	if conn == nil {
		return from, errNoConnection
	}
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	sent, err := c.send(conn, p, ends, from)
	if err == nil {
		return sent, nil
	}
	c.report(fmt.Errorf("sending entries to log server %s/%s: %w", c.s.Network, c.s.Address, err))
	c.mu.Lock()
	if c.conn == conn {
		c.conn = nil
		_ = conn.Close()
	}
	c.mu.Unlock()
	return sent, err
}

func (c *Conn) send(conn net.Conn, p []byte, ends []int, from int) (int, error) {
	if !c.s.Packets {
		n, err := conn.Write(p[from:])
		if err == nil {
			return len(p), nil
		}
		sent := from
		for _, end := range ends {
			if end <= from+n && end > sent {
				sent = end
			}
		}
		return sent, err
	}
	for _, end := range ends {
		if end <= from {
			continue
		}
		if _, err := conn.Write(p[from:end]); err != nil {
			if !tooLong(err) {
				return from, err
			}
			c.report(fmt.Errorf("an entry of %d bytes does not fit into a packet to log server %s/%s and goes to standard error: %w", end-from, c.s.Network, c.s.Address, err))
			_, _ = c.fallback.Write(p[from:end])
		}
		from = end
	}
	return from, nil
}

// redial starts an attempt to connect, unless the last was not long ago, and
// reports whether there is a connection now. With wait it gives an attempt some
// time to succeed.
func (c *Conn) redial(wait bool) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	fresh := false
	if c.conn == nil && c.dialing == nil && time.Since(c.tried) >= redialEvery {
		c.tried = time.Now()
		c.dialing = make(chan struct{})
		fresh = true
		go c.attempt(c.dialing)
	}
	done := c.dialing
	c.mu.Unlock()
	if fresh && wait {
		timer := time.NewTimer(redialWait)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn != nil
}

func (c *Conn) attempt(done chan struct{}) {
	conn, err := c.connect()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialing = nil
	close(done)
	switch {
	case c.closed && err == nil:
		_ = conn.Close()
	case c.closed:
	case err != nil:
		c.report(err)
	default:
		c.conn = conn
	}
}

// Close ends the connection.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	c.closed = true
	c.stop()
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	c.conn = nil
	return err
}

// tooLong reports whether a packet was refused for its length.
func tooLong(err error) bool { return errors.Is(err, syscall.EMSGSIZE) }
