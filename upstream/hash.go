package upstream

import "github.com/cespare/xxhash/v2"

// Score is the weight of an upstream for a key in rendezvous hashing: XXH64 with seed 0 of the dial text followed by the
// key (SEL-3). The upstream with the highest score serves the key; among equals the earlier one. Taking one away moves
// only its own keys.
func Score(dial, key string) uint64 {
	var room [256]byte
	text := append(append(room[:0], dial...), key...)
	return xxhash.Sum64(text)
}
