package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// open opens the socket of w. Manager.mu is held.
func (m *Manager) open(ctx context.Context, w *want) (*Socket, error) {
	if s, err := m.adopt(w); s != nil || err != nil {
		return s, err
	}
	switch w.kind {
	case kindUnix:
		return m.openUnix(ctx, w)
	case kindFD:
		ln, err := inherit(w.fd)
		if err != nil {
			return nil, err
		}
		return newSocket(m, w, ln), nil
	}
	ln, err := m.openTCP(ctx, w.target)
	if err != nil {
		return nil, err
	}
	return newSocket(m, w, ln), nil
}

// openTCP binds t alone, or together with our own overlapping sockets.
func (m *Manager) openTCP(ctx context.Context, t *target) (listener, error) {
	lc := net.ListenConfig{KeepAlive: -1} // set per connection, as its server says
	lc.SetMultipathTCP(false)
	own := m.overlapping(t)
	if len(own) > 0 {
		if h := m.stranger(ctx, t); h != "" {
			return nil, inUse(h)
		}
		for _, s := range own {
			if err := control(s.ln, func(fd uintptr) error { return setReusePort(fd, true) }); err != nil && !errors.Is(err, net.ErrClosed) {
				return nil, fmt.Errorf("letting %s be shared for the hand-over: %w", s.target.text(), err)
			}
			defer control(s.ln, func(fd uintptr) error { return setReusePort(fd, false) })
		}
		lc.Control = func(_, _ string, c syscall.RawConn) error {
			return rawControl(c, func(fd uintptr) error { return setReusePort(fd, true) })
		}
	}
	l, err := lc.Listen(ctx, t.bindNetwork(), t.bindAddress())
	if err != nil {
		if isInUse(err) {
			return nil, inUse(foreignHolder(t, m.inodes(), true))
		}
		return nil, plain(err)
	}
	ln := l.(*net.TCPListener)
	if len(own) > 0 {
		if err := control(ln, func(fd uintptr) error { return setReusePort(fd, false) }); err != nil {
			ln.Close()
			return nil, fmt.Errorf("ending the sharing of the address: %w", err)
		}
	}
	return ln, nil
}

// inodes identifies our own TCP sockets in the system's list.
func (m *Manager) inodes() map[uint64]bool {
	own := make(map[uint64]bool, len(m.sockets)+len(m.leaving))
	for _, s := range m.sockets {
		own[s.inode] = true
	}
	for s := range m.leaving {
		own[s.inode] = true
	}
	return own
}

// stranger looks for somebody else on an address that we are about to share
// with ourselves. A child of ours that has not come to its exec holds our
// closed sockets for a moment, so it looks more than once.
func (m *Manager) stranger(ctx context.Context, t *target) (holder string) {
	own := m.inodes()
	for range 5 {
		if holder = foreignHolder(t, own, false); holder == "" || ctx.Err() != nil {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return holder
}

// inUse is the error for an address that someone else holds.
func inUse(holder string) error {
	if holder == "" {
		holder = "another socket"
	}
	return fmt.Errorf("the address is in use by %s; stop that, or listen on another address", holder)
}

// plain strips package net's "listen tcp 1.2.3.4:80:", which our own messages
// say already.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// openUnix binds a unix socket. A stale file is removed, a live one or one of
// another type is an error. The file never has more permissions than asked
// for, also not before they are set.
func (m *Manager) openUnix(ctx context.Context, w *want) (*Socket, error) {
	lc := net.ListenConfig{}
	abstract := w.addr.IsAbstract()
	if err := m.awaitLeaving(ctx, w.key); err != nil {
		return nil, err
	}
	if !abstract {
		if err := removeStale(ctx, w.target); err != nil {
			return nil, err
		}
		lc.Control = func(_, _ string, c syscall.RawConn) error {
			return rawControl(c, func(fd uintptr) error { return presetMode(fd, w.addr.Mode) })
		}
	}
	l, err := lc.Listen(ctx, w.bindNetwork(), w.bindAddress())
	if err != nil {
		if isInUse(err) {
			return nil, inUse("")
		}
		return nil, plain(err)
	}
	ln := l.(*net.UnixListener)
	ln.SetUnlinkOnClose(false)
	s := newSocket(m, w, ln)
	if abstract {
		return s, nil
	}
	if err := os.Chmod(w.path, w.addr.Mode); err == nil {
		s.file, err = os.Lstat(w.path)
	} else {
		os.Remove(w.path)
		ln.Close()
		return nil, fmt.Errorf("setting the mode of the socket: %w", err)
	}
	return s, nil
}

// awaitLeaving waits until a unix socket of ours with the same name that is
// being drained has closed, which takes no time worth mentioning.
func (m *Manager) awaitLeaving(ctx context.Context, key Key) error {
	for s := range m.leaving {
		if s.target.key != key {
			continue
		}
		select {
		case <-s.shut:
		case <-ctx.Done():
			return fmt.Errorf("waiting for our old socket of that name: %w", ctx.Err())
		}
	}
	return nil
}

// removeStale makes way for a bind to t's path.
func removeStale(ctx context.Context, t *target) error {
	fi, err := os.Lstat(t.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.Mode()&fs.ModeSocket == 0:
		return errors.New("there is a file that is no socket; remove it, or choose another path")
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, t.bindNetwork(), t.path)
	switch {
	case err == nil:
		c.Close()
		return inUse("another process")
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(t.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the stale socket: %w", err)
		}
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("there is a socket and whether it is in use cannot be told; remove it if it is stale: %w", plain(err))
}

// removeFile removes the socket's file if it is still the one that was bound.
func (s *Socket) removeFile() {
	if s.file == nil {
		return
	}
	if fi, err := os.Lstat(s.target.path); err == nil && os.SameFile(fi, s.file) {
		os.Remove(s.target.path) // nobody could do more about a failure
	}
}

// inherit duplicates a descriptor that the process was started with.
func inherit(fd uintptr) (listener, error) {
	f, err := dupListener(fd)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("using descriptor %d: %w", fd, plain(err))
	}
	switch ln := l.(type) {
	case *net.TCPListener:
		return ln, nil
	case *net.UnixListener:
		ln.SetUnlinkOnClose(false)
		return ln, nil
	}
	l.Close()
	return nil, fmt.Errorf("descriptor %d is neither a TCP nor a unix socket", fd)
}

// control runs f on the descriptor of ln.
func control(ln listener, f func(fd uintptr) error) error {
	c, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	return rawControl(c, f)
}

func rawControl(c syscall.RawConn, f func(fd uintptr) error) error {
	var inner error
	if err := c.Control(func(fd uintptr) { inner = f(fd) }); err != nil {
		return err
	}
	return inner
}
