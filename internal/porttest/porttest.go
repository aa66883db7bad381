// Package porttest finds ports for tests. A port that the system chose (":0")
// may be given to an outgoing connection of another test the moment it is
// closed; these lie below the range from which the system chooses. And each
// belongs to one test process: it holds the UDP port of the same number until
// it ends, which no other process can do then.
package porttest

import (
	"fmt"
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
// concurrent use.
func Free(t testing.TB, n int) []int {
	t.Helper()
	held.Lock()
	defer held.Unlock()
	var out []int
	for range 5000 {
		if len(out) == n {
			return out
		}
		if port := 10_000 + rand.IntN(21_000); take(port) {
			out = append(out, port)
		}
	}
	t.Fatalf("found only %d of %d free ports", len(out), n)
	return nil
}

func take(port int) bool {
	lock, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		_ = lock.Close()
		return false
	}
	_ = l.Close()
	held.sockets = append(held.sockets, lock)
	return true
}
