package porttest

import (
	"fmt"
	"net"
	"testing"
)

func TestFree(t *testing.T) {
	seen := map[int]bool{}
	for name, ports := range map[string][]int{"tcp": Free(t, 3), "udp": FreeBoth(t, 3)} {
		if len(ports) != 3 {
			t.Fatalf("%s: got %d ports", name, len(ports))
		}
		for _, port := range ports {
			if seen[port] {
				t.Errorf("port %d twice", port)
			}
			seen[port] = true
			address := fmt.Sprintf(":%d", port)
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			p, err := net.ListenPacket("udp", address)
			if (err == nil) != (name == "udp") {
				t.Errorf("port %d for UDP: %v", port, err)
			}
			if err == nil {
				defer p.Close()
			}
		}
	}
}

// TestTaken: what somebody listens at, or holds, is not given out.
func TestTaken(t *testing.T) {
	port := FreeBoth(t, 1)[0]
	if take(port, port+30_000, []string{"tcp", "udp"}) {
		t.Error("a port was given out twice")
	}
	for _, network := range []string{"tcp", "udp"} {
		address := fmt.Sprintf(":%d", FreeBoth(t, 1)[0])
		if !unused(network, address) {
			t.Fatalf("%s %s is in use", network, address)
		}
		if network == "tcp" {
			l, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		} else {
			l, err := net.ListenPacket(network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		}
		if unused(network, address) {
			t.Errorf("%s %s is not in use", network, address)
		}
	}
}
