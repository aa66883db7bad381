package authentication

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"

	"golang.org/x/sync/singleflight"
)

// maxCached is how many results a cache holds; where it is full, one of ten is
// dropped.
const maxCached = 1000

// cache remembers which passwords fit and which do not. It keeps a keyed digest
// of user, hash and password, and none of these themselves. It is safe for
// concurrent use.
type cache struct {
	secret [32]byte
	flight singleflight.Group
	mu     sync.RWMutex
	result map[digest]bool
}

type digest [sha256.Size]byte

func newCache() *cache {
	c := &cache{result: map[digest]bool{}}
	_, _ = rand.Read(c.secret[:]) // never fails
	return c
}

// digest is the key of a result. It is of the user as well, so that the time for
// an unknown user does not tell whether another one was asked for before.
func (c *cache) digest(user string, hash, password []byte) digest {
	mac := hmac.New(sha256.New, c.secret[:])
	for _, part := range [][]byte{[]byte(user), hash, password} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		mac.Write(n[:])
		mac.Write(part)
	}
	var d digest
	mac.Sum(d[:0])
	return d
}

// get returns the result for d, which compute finds if it is not known; that
// runs once for all who ask at a time. Errors are not remembered, and whoever
// asks still when the request that computes has gone computes itself.
func (c *cache) get(ctx context.Context, d digest, compute func() (bool, error)) (bool, error) {
	for {
		c.mu.RLock()
		same, known := c.result[d]
		c.mu.RUnlock()
		if known {
			return same, nil
		}
		v, err, _ := c.flight.Do(string(d[:]), func() (any, error) {
			same, err := compute()
			if err == nil {
				c.put(d, same)
			}
			return same, err
		})
		if errors.Is(err, context.Canceled) && ctx.Err() == nil {
			continue
		}
		same, _ = v.(bool)
		return same, err
	}
}

func (c *cache) put(d digest, same bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.result) >= maxCached {
		drop := maxCached / 10
		for old := range c.result { // in random order
			delete(c.result, old)
			if drop--; drop == 0 {
				break
			}
		}
	}
	c.result[d] = same
}
