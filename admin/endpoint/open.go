package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// probeTime is how long another process may take to accept on a unix socket
// that is found in place.
const probeTime = time.Second

// open opens an address. It may overlap with those of our own listeners, as
// :2019 does with localhost:2019.
func open(k kind, a netaddr.Addr, own []net.Listener) (net.Listener, error) {
	switch {
	case a.IsFD():
		return inherit(a)
	case a.IsUnix():
		return listenUnix(a)
	}
	ln, err := net.Listen(a.Network, a.JoinHostPort(0))
	if errors.Is(err, syscall.EADDRINUSE) {
		if shared := listenBeside(a, own); shared != nil {
			return shared, nil
		}
		return nil, fmt.Errorf("the address is in use, by another program or by a server of this document; choose another in %s: %w", k.field(), err)
	}
	return ln, err
}

// listenBeside opens an address that one of our own listeners is in the way of,
// by letting it be shared for the moment of the opening. It returns nil if that
// is not the reason or does not help.
func listenBeside(a netaddr.Addr, own []net.Listener) net.Listener {
	ours := false
	for _, ln := range own {
		tcp, ok := ln.(*net.TCPListener)
		if !ok || uint(tcp.Addr().(*net.TCPAddr).Port) != a.StartPort {
			continue
		}
		raw, err := tcp.SyscallConn()
		if err != nil || share(raw, true) != nil {
			continue
		}
		ours = true
		defer share(raw, false)
	}
	if !ours {
		return nil
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return share(c, true) }}
	ln, err := lc.Listen(context.Background(), a.Network, a.JoinHostPort(0))
	if err != nil {
		return nil
	}
	if raw, err := ln.(*net.TCPListener).SyscallConn(); err != nil || share(raw, false) != nil {
		_ = ln.Close()
		return nil
	}
	return ln
}

// inherit takes over a descriptor that the process was started with. The
// descriptor itself stays open for the next time.
func inherit(a netaddr.Addr) (net.Listener, error) {
	fd, err := a.FD()
	if err != nil {
		return nil, err
	}
	own, err := duplicate(fd)
	if err != nil {
		return nil, fmt.Errorf("duplicating the descriptor: %w", err)
	}
	f := os.NewFile(own, a.String())
	if f == nil {
		return nil, errors.New("the descriptor is not valid")
	}
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("the descriptor is not that of a listening socket: %w", err)
	}
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // it is not ours
	}
	return ln, nil
}

// listenUnix opens a unix socket, removing one that a dead process left.
func listenUnix(a netaddr.Addr) (net.Listener, error) {
	if !a.IsAbstract() {
		if err := removeStale(a); err != nil {
			return nil, err
		}
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		if a.IsAbstract() {
			return nil
		}
		// The mode is set before the socket has a name, so that it is never
		// open to more than it should be.
		return withMode(c, a.Mode.Perm())
	}}
	ln, err := lc.Listen(context.Background(), a.Network, a.Host)
	if err != nil {
		return nil, err
	}
	if a.IsAbstract() {
		return ln, nil
	}
	if err := os.Chmod(a.Host, a.Mode.Perm()); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("setting the mode of the socket: %w", err)
	}
	return ln, nil
}

func removeStale(a netaddr.Addr) error {
	info, err := os.Lstat(a.Host)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is not a socket; remove it or choose another path", a.Host)
	}
	conn, err := net.DialTimeout(a.Network, a.Host, probeTime)
	if err == nil {
		_ = conn.Close()
		return errors.New("the socket is in use by another program")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("finding out whether the socket is in use: %w", err)
	}
	if err := os.Remove(a.Host); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a socket that was left behind: %w", err)
	}
	return nil
}
