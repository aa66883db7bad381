package listen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

// says makes a server that answers with a name.
func says(name string) Serve {
	return func(_ *Socket, c net.Conn) {
		fmt.Fprintf(c, "%s\n", name)
		c.Close()
	}
}

// TestHandOver: the sockets go from one manager to the next and one that gives up in between, with what waits in their
// queues.
func TestHandOver(t *testing.T) {
	dir, err := os.MkdirTemp("", "ho")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	first := manager(t)
	list := wants(t, "a", fmt.Sprintf(":%d", freePort(t, 1)), "localhost:0", "unix/"+path+"|0222", "unix/@handover"+filepath.Base(dir))
	bindings := apply(t, first, says("first"), list).Bindings()
	inherited := func() *Inherited {
		handed, err := first.Hand()
		if err != nil || len(handed) != len(list) {
			t.Fatalf("%d handed over, %v", len(handed), err)
		}
		return NewInherited(append(handed, Handed{Key: "tcp/unused", File: otherSocket(t)}))
	}
	dial := func(i int) net.Conn {
		t.Helper()
		a := bindings[i].Socket.Addr()
		c, err := net.Dial(a.Network(), strings.Replace(a.String(), "[::]", "127.0.0.1", 1))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	answers := func(c net.Conn, want string) {
		t.Helper()
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		buf := make([]byte, 64)
		if n, err := c.Read(buf); string(buf[:n]) != want+"\n" {
			t.Errorf("answer %q %v, want %q", buf[:n], err, want)
		}
	}
	// One that takes them and closes them again does no harm, whichever way it does.
	for range 2 {
		i := inherited()
		m := NewManager(Options{Inherited: i})
		p, err := m.Plan(t.Context(), list)
		if err == nil {
			err = p.Prepare(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		p.Undo()
		apply(t, m, says("never"), list)
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for k := range list {
			answers(dial(k), "first")
		}
		i.Begin()
	}

	i := inherited()
	second := NewManager(Options{Inherited: i})
	heirs := apply(t, second, says("second"), list).Bindings()
	for k := range list {
		if heirs[k].Key != bindings[k].Key || heirs[k].Socket.Addr().String() != bindings[k].Socket.Addr().String() {
			t.Errorf("%v became %v", bindings[k].Socket.Addr(), heirs[k].Socket.Addr())
		}
		answers(dial(k), "first")
	}
	if err := first.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	var waiting []net.Conn
	for k := range list {
		waiting = append(waiting, dial(k)) // nobody accepts now
	}
	if unused := i.Begin(); !slices.Equal(unused, []string{"tcp/unused"}) {
		t.Errorf("unused: %q", unused)
	}
	for k, c := range waiting {
		answers(c, "second")
		answers(dial(k), "second")
	}
	if _, err := first.Plan(t.Context(), list); err != nil {
		t.Error(err)
	} else if p, _ := first.Plan(t.Context(), list); p.Prepare(t.Context()) != ErrClosed {
		t.Error("the first manager opens sockets again")
	}
	// From now on they are its own.
	apply(t, second, says("second"), list[:2])
	for _, b := range heirs[2:] {
		select {
		case <-b.Socket.Done():
		case <-time.After(10 * time.Second):
			t.Fatal("a socket does not leave")
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of a socket that has left: %v", err)
	}
	answers(dial(0), "second")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := second.Close(ctx); err != nil {
		t.Error(err)
	}
}

func otherSocket(t *testing.T) *os.File {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// udpProcess is one of the processes that share a UDP socket.
type udpProcess struct {
	*Packets
	conn *relay
	got  chan string
}

// share is a process that serves an address and notes what it gets.
func share(t *testing.T, a netaddr.Addr, i *Inherited) *udpProcess {
	t.Helper()
	p := &udpProcess{Packets: InheritPackets(i), got: make(chan string, 64)}
	plan, err := p.Plan(t.Context(), []netaddr.Addr{a})
	if err == nil {
		err = plan.Commit(func(packet *Packet) { p.conn = packet.Conn.(*relay) }, func(*Packet, bool) {})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.conn.Close() })
	go func() {
		ms := make([]ipv4.Message, 8)
		for i := range ms {
			ms[i].Buffers, ms[i].OOB = [][]byte{make([]byte, 2048)}, make([]byte, 128)
		}
		for {
			n, err := p.conn.ReadBatch(ms, 0)
			if err != nil {
				close(p.got)
				return
			}
			for _, m := range ms[:n] {
				p.got <- fmt.Sprintf("%s from %s", m.Buffers[0][8:m.N], m.Addr)
			}
		}
	}()
	return p
}

// gets wants packets, in this order.
func (p *udpProcess) gets(t *testing.T, from net.Addr, texts ...string) {
	t.Helper()
	for _, text := range texts {
		select {
		case got := <-p.got:
			if want := fmt.Sprintf("%s from %s", text, from); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q does not come", text)
		}
	}
}

// TestPacketsFindTheirProcess: of three processes that follow one another each gets the packets of its own connections, and
// the last one those that begin a connection.
func TestPacketsFindTheirProcess(t *testing.T) {
	a := udp(t, "127.0.0.1:"+freeUDP(t))
	first := share(t, a, nil)
	client, err := net.Dial("udp", first.conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	me := client.LocalAddr()
	send := func(tag byte, text string) {
		t.Helper()
		if _, err := client.Write(append([]byte{0x40, tag, 1, 2, 3, 4, 5, 6}, text...)); err != nil {
			t.Fatal(err)
		}
	}
	begin := func(text string) { // a long header with 8 bytes for a connection ID
		t.Helper()
		if _, err := client.Write(append([]byte{0xc0, 0, 0, 0, 1, 8, first.Tag(), 0}, text...)); err != nil {
			t.Fatal(err)
		}
	}
	next := func(p *udpProcess) (*udpProcess, *Inherited) {
		t.Helper()
		list, err := p.Hand()
		if err != nil || len(list) != 1 {
			t.Fatalf("%v %v", list, err)
		}
		i := NewInherited(list)
		return share(t, a, i), i
	}
	send(first.Tag(), "one")
	begin("two")
	first.gets(t, me, "one", "two")

	// A process that does not come to serve changes nothing.
	failed, _ := next(first)
	first.Divert()
	send(first.Tag(), "three") // waits in the socket
	first.Restore()
	failed.conn.Close()
	first.gets(t, me, "three")

	second, i := next(first)
	if second.Tag() == first.Tag() {
		t.Fatal("two processes with one tag")
	}
	first.Divert()
	begin("four")
	send(first.Tag(), "five")
	i.Begin()
	second.gets(t, me, "four")
	first.gets(t, me, "five")

	third, i := next(second)
	second.Divert()
	i.Begin()
	for k, p := range []*udpProcess{first, second, third} {
		send(p.Tag(), fmt.Sprint("six ", k))
		p.gets(t, me, fmt.Sprint("six ", k))
	}
	begin("seven")
	third.gets(t, me, "seven")
	long := bytes.Repeat([]byte("x"), 1400)
	for range 20 { // mixed in one batch
		send(first.Tag(), string(long))
		send(third.Tag(), string(long))
	}
	for range 20 {
		first.gets(t, me, string(long))
		third.gets(t, me, string(long))
	}

	// One that has ended is forgotten, and its tag is free again.
	first.conn.Close()
	second.conn.Close()
	deadline := time.Now().Add(10 * time.Second)
	for third.conn.elders.Load() != nil {
		if time.Now().After(deadline) {
			t.Fatal("processes that have ended are kept")
		}
		<-time.After(time.Millisecond)
	}
	send(first.Tag(), "eight") // nobody's
	third.gets(t, me, "eight")
	fourth, i := next(third)
	if fourth.Tag() == third.Tag() {
		t.Error("two processes with one tag")
	}
	third.Divert()
	i.Begin()
	send(third.Tag(), "nine")
	third.gets(t, me, "nine")
	// Without the one that reads the socket there is nothing to wait for.
	fourth.conn.Close()
	select {
	case got, open := <-third.got:
		if open {
			t.Errorf("got %q", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("reading goes on for ever")
	}
}
