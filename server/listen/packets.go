package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// Packets holds the process's UDP sockets. An address that the old and the new generation want keeps its very socket, so
// that QUIC connections live through every edit. Safe for concurrent use; plans are made one after the other.
type Packets struct {
	inherited *Inherited
	tag       byte

	mu     sync.Mutex
	open   map[string]*Packet
	listen func(ctx context.Context, network, address string) (net.PacketConn, error)
}

// Packet is one UDP socket.
type Packet struct {
	// Addr is the address as it was asked for.
	Addr netaddr.Addr
	// Conn is the socket. Whoever is given it by [PacketPlan.Commit] closes it.
	Conn net.PacketConn
}

// Key is the same for equal addresses.
func (p *Packet) Key() Key { return Key(p.Addr.String()) }

// NewPackets returns a manager that holds nothing.
func NewPackets() *Packets { return InheritPackets(nil) }

// InheritPackets is NewPackets for a process that was handed sockets.
func InheritPackets(i *Inherited) *Packets {
	var config net.ListenConfig
	m := &Packets{inherited: i, open: map[string]*Packet{}, listen: config.ListenPacket}
	for elders := i.elders(); elders[m.tag]; {
		m.tag++
	}
	return m
}

// Tag is the first byte of the QUIC connection IDs that this process chooses. No other one that serves the same sockets
// has it.
func (m *Packets) Tag() byte { return m.tag }

// openOne opens an address, or takes the socket that was handed over.
func (m *Packets) openOne(ctx context.Context, a netaddr.Addr) (net.PacketConn, error) {
	if h, ok := m.inherited.Take(Key(a.String())); ok {
		return m.adopt(h)
	}
	conn, err := m.bind(ctx, a)
	if err != nil {
		return nil, err
	}
	return relayed(conn, nil), nil
}

// PacketPlan is what has to be done for a new generation.
type PacketPlan struct {
	of     *Packets
	fresh  []*Packet
	late   []*Packet // can be opened only when what leaves is closed
	leaves []*Packet
}

// DatagramAddr is the UDP address of a stream address: that of HTTP/3 beside HTTP/1 and 2. It reports false where there is
// none, as for unix sockets. A descriptor has none either, but one for datagrams is itself one.
func DatagramAddr(a netaddr.Addr) (netaddr.Addr, bool) {
	switch a.Network {
	case "tcp", "tcp4", "tcp6":
		a.Network = "udp" + strings.TrimPrefix(a.Network, "tcp")
		return a, true
	}
	return a, a.Network == "udp" || a.Network == "udp4" || a.Network == "udp6" || a.Network == "fdgram"
}

// Plan opens what wants has and is not open. It may be undone until it is committed. The error names every address that
// cannot be opened.
func (m *Packets) Plan(ctx context.Context, wants []netaddr.Addr) (*PacketPlan, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	plan := &PacketPlan{of: m}
	wanted := map[string]bool{}
	for _, a := range wants {
		wanted[a.String()] = true
	}
	for key, p := range m.open {
		if !wanted[key] {
			plan.leaves = append(plan.leaves, p)
		}
	}
	slices.SortFunc(plan.leaves, func(a, b *Packet) int { return strings.Compare(string(a.Key()), string(b.Key())) })
	var errs []error
	for _, a := range wants {
		key := a.String()
		if m.open[key] != nil || !wanted[key] {
			continue
		}
		wanted[key] = false // once
		p := &Packet{Addr: a}
		var err error
		p.Conn, err = m.openOne(ctx, a)
		switch {
		case err == nil:
			plan.fresh = append(plan.fresh, p)
		case errors.Is(err, syscall.EADDRINUSE) && plan.makesRoom(a):
			plan.late = append(plan.late, p)
		default:
			errs = append(errs, fmt.Errorf("listening for HTTP/3 on %s: %w", a, err))
		}
	}
	if len(errs) > 0 {
		plan.Undo()
		return nil, errors.Join(errs...)
	}
	return plan, nil
}

// bind opens a socket, or duplicates one that the process was started with.
func (m *Packets) bind(ctx context.Context, a netaddr.Addr) (net.PacketConn, error) {
	if !a.IsFD() {
		return m.listen(ctx, a.Network, a.JoinHostPort(0))
	}
	n, err := a.FD()
	if err != nil {
		return nil, err
	}
	f, err := dupPacket(n)
	if err != nil {
		return nil, err
	}
	defer f.Close() // FilePacketConn has one of its own
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("using descriptor %d: %w", n, err)
	}
	if _, ok := conn.(*net.UDPConn); !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("descriptor %d is no UDP socket, which HTTP/3 needs", n)
	}
	return conn, nil
}

// Port is the UDP port of an address that the plan wants, 0 if it is not open yet: a descriptor does not tell it.
func (p *PacketPlan) Port(a netaddr.Addr) uint {
	key := Key(a.String())
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	socket := p.of.open[string(key)]
	for _, f := range p.fresh {
		if f.Key() == key {
			socket = f
		}
	}
	if socket == nil {
		return a.StartPort
	}
	if at, ok := socket.Conn.LocalAddr().(*net.UDPAddr); ok {
		return uint(at.Port)
	}
	return a.StartPort
}

// makesRoom reports whether a socket that leaves has the port.
func (p *PacketPlan) makesRoom(a netaddr.Addr) bool {
	return slices.ContainsFunc(p.leaves, func(l *Packet) bool { return l.Addr.StartPort == a.StartPort })
}

// givesRoom reports whether a socket that comes has the port.
func (p *PacketPlan) givesRoom(a netaddr.Addr) bool {
	return slices.ContainsFunc(p.late, func(l *Packet) bool { return l.Addr.StartPort == a.StartPort })
}

// Leaving is the sockets that are open and not wanted any more.
func (p *PacketPlan) Leaving() []*Packet { return p.leaves }

// Undo closes what the plan has opened.
func (p *PacketPlan) Undo() {
	for _, f := range p.fresh {
		_ = f.Conn.Close() // nothing came over it
	}
	p.fresh = nil
}

// Commit carries the plan out. gone is given what leaves, and closes it, before it returns if now is true; serve is given what
// has come. An address that one of ours had until now is opened last; where that fails it is an error, and nothing listens
// there.
func (p *PacketPlan) Commit(serve func(*Packet), gone func(p *Packet, now bool)) error {
	m := p.of
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range p.leaves {
		delete(m.open, string(l.Key()))
		gone(l, p.givesRoom(l.Addr))
	}
	var errs []error
	for _, l := range p.late {
		var err error
		if l.Conn, err = m.openOne(context.Background(), l.Addr); err != nil {
			errs = append(errs, fmt.Errorf("listening for HTTP/3 on %s: %w", l.Addr, err))
			continue
		}
		p.fresh = append(p.fresh, l)
	}
	for _, f := range p.fresh {
		m.open[string(f.Key())] = f
		serve(f)
	}
	return errors.Join(errs...)
}
