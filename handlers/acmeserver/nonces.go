package acmeserver

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

const (
	// nonceWindow is how many nonces are good at a time: a new one takes the place of the oldest.
	nonceWindow = 1 << 18
	// nonceLife is how long a nonce is good.
	nonceLife = time.Hour
	// nonceBytes: the number, the sealed time, the tag.
	nonceBytes = 8 + 8 + 16
)

// nonces makes nonces and knows which were used. It takes the same memory whatever clients do: a nonce is its number and a
// seal, and there is a bit for each number that may still come. It is safe for concurrent use.
type nonces struct {
	seal cipher.AEAD

	mu   sync.Mutex
	next uint64 // number of the next nonce
	used [nonceWindow / 64]uint64
}

func newNonces() (*nonces, error) {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &nonces{seal: seal}, nil
}

// issue makes a nonce.
func (n *nonces) issue(now time.Time) string {
	n.mu.Lock()
	number := n.next
	n.next++
	n.used[number%nonceWindow/64] &^= 1 << (number % 64)
	n.mu.Unlock()
	var text, until [8]byte
	binary.BigEndian.PutUint64(text[:], number)
	binary.BigEndian.PutUint64(until[:], uint64(now.Add(nonceLife).Unix()))
	out := make([]byte, 8, nonceBytes)
	copy(out, text[:])
	return base64.RawURLEncoding.EncodeToString(n.seal.Seal(out, sealNonce(number), until[:], nil))
}

// sealNonce is the nonce of the seal: the number, which never comes again with the same key.
func sealNonce(number uint64) []byte {
	var out [12]byte
	binary.BigEndian.PutUint64(out[4:], number)
	return out[:]
}

// check reports whether a nonce is good, and returns its number for use.
func (n *nonces) check(text string, now time.Time) (number uint64, good bool) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != nonceBytes {
		return 0, false
	}
	number = binary.BigEndian.Uint64(raw)
	until, err := n.seal.Open(nil, sealNonce(number), raw[8:], nil)
	if err != nil || now.Unix() > int64(binary.BigEndian.Uint64(until)) {
		return 0, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return number, n.fresh(number)
}

// use reports whether a nonce with the number can be used; it can be once.
func (n *nonces) use(number uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.fresh(number) {
		return false
	}
	n.used[number%nonceWindow/64] |= 1 << (number % 64)
	return true
}

func (n *nonces) fresh(number uint64) bool {
	return number < n.next && n.next-number <= nonceWindow && n.used[number%nonceWindow/64]&(1<<(number%64)) == 0
}
