package listen

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

func udp(t *testing.T, text string) netaddr.Addr {
	t.Helper()
	a, err := netaddr.Parse("udp/" + text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// freeUDP is a port that nobody has on any interface.
func freeUDP(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return port
}

func TestPacketsAreKeptOpenedAndClosed(t *testing.T) {
	m := NewPackets()
	port := freeUDP(t)
	var served, left []string
	use := func(wants ...netaddr.Addr) {
		t.Helper()
		plan, err := m.Plan(t.Context(), wants)
		if err == nil {
			err = plan.Commit(func(p *Packet) { served = append(served, p.Addr.Host) }, func(p *Packet, _ bool) {
				left = append(left, p.Addr.Host)
				p.Conn.Close()
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(s, l []string) {
		t.Helper()
		if !slices.Equal(served, s) || !slices.Equal(left, l) {
			t.Fatalf("served %q, left %q; want %q, %q", served, left, s, l)
		}
		served, left = nil, nil
	}
	one, two := udp(t, "127.0.0.1:"+port), udp(t, "127.0.0.2:"+port)
	use(one, one)
	want([]string{"127.0.0.1"}, nil)
	kept := m.open[one.String()]
	use(one, two)
	want([]string{"127.0.0.2"}, nil)
	if m.open[one.String()] != kept {
		t.Error("a socket that both want was opened again")
	}
	use(udp(t, ":"+port)) // overlaps both, which leave
	want([]string{""}, []string{"127.0.0.1", "127.0.0.2"}[:])
	use()
	want(nil, []string{""})
}

func TestPacketPlanThatFailsLeavesAll(t *testing.T) {
	m := NewPackets()
	stranger, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	_, taken, _ := net.SplitHostPort(stranger.LocalAddr().String())
	free := freeUDP(t)
	if _, err := m.Plan(t.Context(), []netaddr.Addr{udp(t, "127.0.0.1:"+free), udp(t, "127.0.0.1:"+taken)}); err == nil {
		t.Fatal("an address that somebody else has was opened")
	}
	plan, err := m.Plan(t.Context(), []netaddr.Addr{udp(t, "127.0.0.1:"+free)})
	if err != nil {
		t.Fatalf("the address of a plan that failed: %v", err)
	}
	plan.Undo()
	c, err := net.ListenPacket("udp", "127.0.0.1:"+free)
	if err != nil {
		t.Fatalf("the address of a plan that was undone: %v", err)
	}
	c.Close()
}

// An inherited descriptor is duplicated for as long as somebody wants it, and stays.
func TestPacketsOfADescriptor(t *testing.T) {
	inherited, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	f, err := inherited.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a := netaddr.Addr{Network: "fdgram", Host: fmt.Sprint(f.Fd())}
	if at, ok := DatagramAddr(a); !ok || at != a {
		t.Errorf("it is for %v %v", at, ok)
	}
	m := NewPackets()
	for range 2 {
		plan, err := m.Plan(t.Context(), []netaddr.Addr{a})
		if err != nil {
			t.Fatal(err)
		}
		if port := inherited.LocalAddr().(*net.UDPAddr).Port; plan.Port(a) != uint(port) {
			t.Errorf("port %d, want %d", plan.Port(a), port)
		}
		var conn net.PacketConn
		if err := plan.Commit(func(p *Packet) { conn = p.Conn }, nil); err != nil {
			t.Fatal(err)
		}
		peer, err := net.Dial("udp", inherited.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if n, _, err := conn.ReadFrom(buf); err != nil || string(buf[:n]) != "hello" {
			t.Errorf("%q %v", buf[:n], err)
		}
		peer.Close()
		if plan, err = m.Plan(t.Context(), nil); err == nil {
			err = plan.Commit(nil, func(p *Packet, _ bool) { p.Conn.Close() })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	stream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	sf, _ := stream.(*net.TCPListener).File()
	defer sf.Close()
	for host, want := range map[string]string{"999999": "not started with", fmt.Sprint(sf.Fd()): "no datagram", "x": "not the number"} {
		if _, err := m.Plan(t.Context(), []netaddr.Addr{{Network: "fdgram", Host: host}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("fdgram/%s: %v, want %q", host, err, want)
		}
	}
}
