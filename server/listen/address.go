package listen

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// Key is the identity of a socket: two addresses with one key are the same
// socket, however they were written. ":80", "0.0.0.0:80" and "[::]:80" share
// one (every interface, both families), as do a relative and an absolute path.
type Key string

// Resolver finds the addresses of a host name. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

type kind uint8

const (
	kindTCP kind = iota
	kindUnix
	kindFD
)

// target is one wanted socket in canonical form.
type target struct {
	key  Key
	kind kind
	addr netaddr.Addr // as wanted, one port

	// TCP. An invalid ip is every interface of the families.
	v4, v6 bool
	ip     netip.Addr
	port   uint16

	path string // unix: absolute and clean, or "@name"
	fd   uintptr
}

// text is the address for messages: what the reader wrote, less what is
// understood.
func (t *target) text() string { return addrText(t.addr) }

func addrText(a netaddr.Addr) string { return strings.TrimPrefix(a.String(), "tcp/") }

// wildcard reports whether t is every interface.
func (t *target) wildcard() bool { return t.kind == kindTCP && !t.ip.IsValid() }

// dual reports whether t is every interface of both families.
func (t *target) dual() bool { return t.wildcard() && t.v4 && t.v6 }

// overlaps reports whether a connection to one address could reach both
// sockets, which is when the kernel lets them be bound together only if both
// say so (SO_REUSEPORT).
func (t *target) overlaps(o *target) bool {
	if t.kind != kindTCP || o.kind != kindTCP || t.port == 0 || t.port != o.port {
		return false
	}
	if !(t.v4 && o.v4) && !(t.v6 && o.v6) {
		return false
	}
	return t.wildcard() || o.wildcard() || t.ip == o.ip
}

// covers reports whether connections to ip:port may be accepted by t.
func (t *target) covers(ip netip.Addr, port uint16) bool {
	if t.kind != kindTCP || t.port != port {
		return false
	}
	if ip.Is4() && !t.v4 || ip.Is6() && !t.v6 {
		return false
	}
	return t.wildcard() || t.ip == ip
}

// bindNetwork is the network name that makes package net open exactly t.
func (t *target) bindNetwork() string {
	switch {
	case t.kind == kindUnix:
		return t.addr.Network
	case t.v4 && t.v6:
		return "tcp"
	case t.v4:
		return "tcp4"
	}
	return "tcp6"
}

func (t *target) bindAddress() string {
	if t.kind == kindUnix {
		return t.path
	}
	host := ""
	if t.ip.IsValid() {
		host = t.ip.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(t.port)))
}

// canonical resolves one single-port address. open says which keys are open
// already: of several addresses of a name the one in use stays in use.
func (m *Manager) canonical(ctx context.Context, a netaddr.Addr, open func(Key) bool) (*target, error) {
	t := &target{addr: a}
	switch {
	case a.IsDatagram():
		return nil, fmt.Errorf("%s carries datagrams and HTTP/1 and HTTP/2 need a stream; want tcp, tcp4, tcp6, unix or fd", a.Network)
	case a.IsFD() && a.Network == "fd":
		n, err := a.FD()
		if err != nil {
			return nil, err
		}
		t.kind, t.fd = kindFD, n
		t.key = Key("fd/" + strconv.FormatUint(uint64(n), 10))
		return t, nil
	case a.Network == "unix" || a.Network == "unixpacket":
		return t, t.unix()
	case a.Network == "tcp" || a.Network == "tcp4" || a.Network == "tcp6":
		return t, m.canonicalTCP(ctx, t, open)
	}
	return nil, fmt.Errorf("unknown network %q; want tcp, tcp4, tcp6, unix or fd", a.Network)
}

func (t *target) unix() error {
	t.kind, t.path = kindUnix, t.addr.Host
	if !t.addr.IsAbstract() {
		if t.addr.Mode == 0 {
			t.addr.Mode = netaddr.DefaultUnixMode
		}
		abs, err := filepath.Abs(t.path)
		if err != nil {
			return fmt.Errorf("finding the socket's folder: %w", err)
		}
		// Two spellings of one folder are one socket.
		if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
			abs = filepath.Join(dir, filepath.Base(abs))
		}
		t.path = abs
	}
	if len(t.path) > maxUnixPath {
		return fmt.Errorf("the path has %d bytes and the system allows %d", len(t.path), maxUnixPath)
	}
	t.key = Key(t.addr.Network + "/" + t.path)
	return nil
}

func (m *Manager) canonicalTCP(ctx context.Context, t *target, open func(Key) bool) error {
	a := t.addr
	t.port = uint16(a.StartPort)
	t.v4, t.v6 = a.Network != "tcp6", a.Network != "tcp4"
	if a.IsWildcard() {
		if a.Host != "" {
			ip, err := netip.ParseAddr(a.Host)
			if err == nil && (a.Network == "tcp4" && !ip.Unmap().Is4() || a.Network == "tcp6" && ip.Unmap().Is4()) {
				return fmt.Errorf("%s is no address of %s", a.Host, a.Network)
			}
		}
		if t.v4 && t.v6 && !m.dualStack {
			t.v6 = false
		}
		t.key = t.tcpKey()
		return nil
	}
	ips, err := m.lookup(ctx, a.Host)
	if err != nil {
		return fmt.Errorf("looking up host %q: %w", a.Host, err)
	}
	var first, best netip.Addr
	for _, ip := range ips {
		ip = ip.Unmap()
		if ip.Is4() && !t.v4 || ip.Is6() && !t.v6 {
			continue
		}
		if !first.IsValid() || first.Is6() && ip.Is4() {
			first = ip
		}
		c := target{kind: kindTCP, v4: ip.Is4(), v6: ip.Is6(), ip: ip, port: t.port}
		if !best.IsValid() && open(c.tcpKey()) {
			best = ip
		}
	}
	if !best.IsValid() {
		best = first
	}
	if !best.IsValid() {
		return fmt.Errorf("host %q has no address of %s", a.Host, a.Network)
	}
	t.ip, t.v4, t.v6 = best, best.Is4(), best.Is6()
	t.key = t.tcpKey()
	return nil
}

func (m *Manager) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	return m.resolver.LookupNetIP(ctx, "ip", host)
}

func (t *target) tcpKey() Key {
	host := "*"
	switch {
	case t.ip.IsValid():
		host = t.ip.String()
	case !t.v6:
		host = "0.0.0.0"
	case !t.v4:
		host = "::"
	}
	return Key("tcp/" + net.JoinHostPort(host, strconv.Itoa(int(t.port))))
}
