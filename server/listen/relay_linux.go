package listen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/sluiceproxy/sluice/server/wire"
)

// relay is a UDP socket that processes which follow one another share. One of them reads it. Packets of QUIC connections
// that another one has, told by the tag in their connection IDs, are passed on to it over a pair of unix sockets; to
// send, each uses the socket itself. As long as there is one process it is nothing but the socket.
//
// It implements what quic-go takes for reading in batches, so that all else is done with the socket itself.
type relay struct {
	*net.UDPConn
	batch     *ipv4.PacketConn
	inherited *Inherited

	elders atomic.Pointer[[]*elder] // nil without any
	// source is what is read instead of the socket, once another process reads that.
	source atomic.Pointer[net.UnixConn]

	mu     sync.Mutex
	next   *net.UnixConn // what source will be
	turned chan struct{} // closed when source is what is read; nil if nobody waits for that
	ended  chan struct{} // closed when the reading is to end
	end    func()

	seen *net.UnixConn // what was read last; for the one who reads
}

// elder is a process whose packets are passed on.
type elder struct {
	tag  byte
	conn *net.UnixConn
	raw  interface {
		Write(func(fd uintptr) bool) error
	}
}

// relayed makes a relay of a UDP socket.
func relayed(conn net.PacketConn, i *Inherited) net.PacketConn {
	u, ok := conn.(*net.UDPConn)
	if !ok {
		return conn
	}
	r := &relay{UDPConn: u, batch: ipv4.NewPacketConn(u), inherited: i, ended: make(chan struct{})}
	r.end = sync.OnceFunc(func() { close(r.ended) })
	return r
}

// adopt uses a socket that was handed over.
func (m *Packets) adopt(h Handed) (net.PacketConn, error) {
	conn, err := net.FilePacketConn(h.File)
	if err != nil {
		return nil, fmt.Errorf("using the socket that was handed over: %w", plain(err))
	}
	r, ok := relayed(conn, m.inherited).(*relay)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("using the socket that was handed over: it is no UDP socket")
	}
	var list []*elder
	for _, e := range h.Elders {
		c, err := net.FileConn(e.File)
		if err != nil {
			continue // it has ended
		}
		u, ok := c.(*net.UnixConn)
		if !ok {
			_ = c.Close()
			continue
		}
		raw, err := u.SyscallConn()
		if err != nil {
			_ = u.Close()
			continue
		}
		list = append(list, &elder{e.Tag, u, raw})
	}
	if len(list) > 0 {
		r.elders.Store(&list)
	}
	for _, e := range list {
		go r.await(e)
	}
	return r, nil
}

// await forgets a process when it has ended.
func (r *relay) await(e *elder) {
	_, _ = e.conn.Read(make([]byte, 1)) // it never writes
	_ = e.conn.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.elders.Load()
	if old == nil {
		return
	}
	list := slices.DeleteFunc(slices.Clone(*old), func(o *elder) bool { return o == e })
	if len(list) == 0 {
		r.elders.Store(nil)
		return
	}
	r.elders.Store(&list)
}

// ReadBatch reads packets of this process.
func (r *relay) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	if !r.inherited.Wait(r.ended) {
		return 0, os.ErrDeadlineExceeded
	}
	for {
		from := r.source.Load()
		if from == nil {
			n, err := r.batch.ReadBatch(ms, flags)
			if err != nil && r.source.Load() == nil {
				return 0, err
			}
			if n = r.sort(ms[:max(n, 0)]); n > 0 {
				return n, nil
			}
			continue
		}
		if r.seen != from {
			r.turn(from)
		}
		n, err := readPassed(from, &ms[0])
		if err != nil && r.source.Load() == from {
			return 0, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// turn notes that the socket is not read any more.
func (r *relay) turn(to *net.UnixConn) {
	r.seen = to
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.turned != nil {
		close(r.turned)
		r.turned = nil
	}
}

// sort keeps what is for this process, and passes on the rest.
func (r *relay) sort(ms []ipv4.Message) int {
	elders := r.elders.Load()
	if elders == nil {
		return len(ms)
	}
	kept := 0
	for i := range ms {
		m := &ms[i]
		if e := elderOf(*elders, m.Buffers[0][:m.N]); e != nil {
			e.pass(m)
			continue
		}
		if to := &ms[kept]; to != m { // the buffers stay where they are: whoever reads counts them
			to.N, to.NN, to.Flags, to.Addr = copy(to.Buffers[0], m.Buffers[0][:m.N]), copy(to.OOB, m.OOB[:m.NN]), m.Flags, m.Addr
		}
		kept++
	}
	return kept
}

func elderOf(list []*elder, packet []byte) *elder {
	tag, ok := wire.ProcessTag(packet)
	if !ok {
		return nil
	}
	for _, e := range list {
		if e.tag == tag {
			return e
		}
	}
	return nil
}

// maxPassed is the longest message from one process to another: an address, control data, and a packet.
const maxPassed = 66 << 10

var passBuffers = sync.Pool{New: func() any { return new([maxPassed]byte) }}

// pass sends a packet to the process. If that does not keep up the packet is lost, as it would be in a full socket.
func (e *elder) pass(m *ipv4.Message) {
	a, ok := m.Addr.(*net.UDPAddr)
	if !ok {
		return
	}
	buf := passBuffers.Get().(*[maxPassed]byte)
	defer passBuffers.Put(buf)
	from, err := a.AddrPort().AppendBinary(buf[:1])
	if err != nil {
		return
	}
	buf[0] = byte(len(from) - 1)
	b := binary.BigEndian.AppendUint16(from, uint16(m.NN))
	b = append(append(b, m.OOB[:m.NN]...), m.Buffers[0][:m.N]...)
	_ = e.raw.Write(func(fd uintptr) bool {
		_ = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
		return true
	})
}

var errPassed = errors.New("a malformed packet from another process")

// readPassed reads what pass has sent.
func readPassed(from *net.UnixConn, m *ipv4.Message) (int, error) {
	buf := passBuffers.Get().(*[maxPassed]byte)
	defer passBuffers.Put(buf)
	n, err := from.Read(buf[:])
	if err != nil {
		return 0, err
	}
	b := buf[:n]
	if n == 0 {
		return 0, io.EOF // of a socket with messages it is no error
	}
	var a netip.AddrPort
	if len(b) < 3+int(b[0]) || a.UnmarshalBinary(b[1:1+b[0]]) != nil {
		return 0, errPassed
	}
	b = b[1+b[0]:]
	oob := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < oob {
		return 0, errPassed
	}
	m.Addr, m.Flags = net.UDPAddrFromAddrPort(a), 0
	m.NN = copy(m.OOB, b[:oob])
	m.N = copy(m.Buffers[0], b[oob:])
	return 1, nil
}

// SetReadDeadline is how quic-go ends its reading.
func (r *relay) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		r.end()
	}
	if from := r.source.Load(); from != nil {
		_ = from.SetReadDeadline(t)
	}
	return r.UDPConn.SetReadDeadline(t)
}

// Close closes the descriptors of this process.
func (r *relay) Close() error {
	r.end()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range []*net.UnixConn{r.source.Load(), r.next} {
		if c != nil {
			_ = c.Close()
		}
	}
	if list := r.elders.Load(); list != nil {
		for _, e := range *list {
			_ = e.conn.Close()
		}
	}
	return r.UDPConn.Close()
}

// hand returns descriptors for another process, with a way to pass packets back.
func (r *relay) hand(key Key, tag byte) (h Handed, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.Key = key
	if h.File, err = r.UDPConn.File(); err != nil {
		return h, err
	}
	if list := r.elders.Load(); list != nil {
		for _, e := range *list {
			if f, err := e.conn.File(); err == nil { // else it has just ended
				h.Elders = append(h.Elders, Elder{e.tag, f})
			}
		}
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		h.Close()
		return h, err
	}
	for _, fd := range fds { // as much as a UDP socket holds
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	}
	ours := os.NewFile(uintptr(fds[0]), "packets")
	defer ours.Close()
	h.Elders = append(h.Elders, Elder{tag, os.NewFile(uintptr(fds[1]), "packets")})
	c, err := net.FileConn(ours)
	if err != nil {
		h.Close()
		return h, err
	}
	if r.next != nil {
		_ = r.next.Close()
	}
	r.next = c.(*net.UnixConn)
	return h, nil
}

// turnTime is how long who reads the socket may take to notice that it should not.
const turnTime = time.Second

// divert makes packets come from the process that hand was for, and not from the socket any more.
func (r *relay) divert() {
	r.mu.Lock()
	if r.next == nil {
		r.mu.Unlock()
		return
	}
	turned := make(chan struct{})
	r.turned = turned
	r.source.Store(r.next)
	r.next = nil
	_ = r.UDPConn.SetReadDeadline(time.Unix(1, 0))
	r.mu.Unlock()
	select {
	case <-turned:
	case <-r.ended:
	case <-time.After(turnTime):
	}
}

// restore undoes hand, and divert.
func (r *relay) restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r.source.Swap(nil)
	select {
	case <-r.ended:
	default:
		_ = r.UDPConn.SetReadDeadline(time.Time{})
	}
	for _, c := range []*net.UnixConn{from, r.next} {
		if c != nil {
			_ = c.Close()
		}
	}
	r.next = nil
}

// Hand returns the open sockets for another process to inherit. They stay open here.
func (m *Packets) Hand() ([]Handed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Handed
	for key, p := range m.open {
		r, ok := p.Conn.(*relay)
		if !ok {
			continue
		}
		h, err := r.hand(Key(key), m.tag)
		if err != nil {
			closeHanded(list)
			return nil, fmt.Errorf("handing %s over: %w", p.Addr, err)
		}
		list = append(list, h)
	}
	return list, nil
}

// Divert stops reading the sockets that Hand has returned: the other process does, and passes on what is for this one.
func (m *Packets) Divert() {
	m.each((*relay).divert)
}

// Restore is for when the other process did not get so far: all is as it was before Hand.
func (m *Packets) Restore() { m.each((*relay).restore) }

func (m *Packets) each(f func(*relay)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.open {
		if r, ok := p.Conn.(*relay); ok {
			f(r)
		}
	}
}
