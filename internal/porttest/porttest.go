// Package porttest finds ports for tests. A port that the system chose (":0")
// may be given to an outgoing connection of another test the moment it is
// closed; these lie below the range from which the system chooses.
package porttest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

var given struct {
	sync.Mutex
	ports map[int]bool
}

// Free returns n ports on which nobody listens, none of them twice within a
// process. It is safe for concurrent use.
func Free(t testing.TB, n int) []int {
	t.Helper()
	given.Lock()
	defer given.Unlock()
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	var out []int
	for range 2000 {
		if len(out) == n {
			return out
		}
		port := 10_000 + rand.IntN(21_000)
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil || given.ports[port] {
			if err == nil {
				_ = l.Close()
			}
			continue
		}
		_ = l.Close()
		given.ports[port] = true
		out = append(out, port)
	}
	t.Fatalf("found only %d of %d free ports", len(out), n)
	return nil
}
