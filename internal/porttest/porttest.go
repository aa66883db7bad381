// Package porttest finds ports for tests. A port that the system chose (":0")
// may be given to an outgoing connection of another test the moment it is
// closed; these lie below the range from which the system chooses. And each
// belongs to one test process: it holds a UDP port that stands for it until it
// ends, which no other process can do then.
package porttest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// held are the UDP sockets by which this process owns its ports. They are
// closed when it ends.
var held struct {
	sync.Mutex
	sockets []net.PacketConn
}

// Free returns n TCP ports on which nobody listens. No port is given out
// twice, in this process or in another that asks this package. It is safe for
// concurrent use. The UDP ports of the same numbers are not free.
func Free(t testing.TB, n int) []int {
	t.Helper()
	return free(t, n, 10_000, 31_000, 0, "tcp")
}

// FreeBoth returns n ports on which nobody listens, neither with TCP nor with
// UDP, as a server of HTTP/3 needs them. It promises what Free promises.
func FreeBoth(t testing.TB, n int) []int {
	t.Helper()
	// The ports that stand for them lie above those that systems choose.
	return free(t, n, 31_100, 32_700, 30_000, "tcp", "udp")
}

// free finds ports from first to before end. The UDP port that stands for one is
// distance away.
func free(t testing.TB, n, first, end, distance int, networks ...string) []int {
	t.Helper()
	held.Lock()
	defer held.Unlock()
	var out []int
	for range 5000 {
		if len(out) == n {
			return out
		}
		if port := first + rand.IntN(end-first); take(port, port+distance, networks) {
			out = append(out, port)
		}
	}
	t.Fatalf("found only %d of %d free ports", len(out), n)
	return nil
}

// take holds the UDP port that stands for a port, if nobody listens there.
func take(port, stands int, networks []string) bool {
	lock, err := net.ListenPacket("udp", fmt.Sprintf(":%d", stands))
	if err != nil {
		return false
	}
	for _, network := range networks {
		if !unused(network, fmt.Sprintf(":%d", port)) {
			_ = lock.Close()
			return false
		}
	}
	held.sockets = append(held.sockets, lock)
	return true
}

func unused(network, address string) bool {
	var c io.Closer
	var err error
	if network == "udp" {
		c, err = net.ListenPacket(network, address)
	} else {
		c, err = net.Listen(network, address)
	}
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}
