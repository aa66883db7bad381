package listen

import (
	"net"
	"slices"
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
