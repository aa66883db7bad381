package config

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Digests. A node's digest is a 64-bit hash of its content whose three lowest bits are its kind. Sequences are hashed as
// polynomials modulo the prime 2^61-1, so that the hash of a long array can be put together from those of its parts,
// however it is cut into parts.

const (
	kindBits = 7
	prime61  = 1<<61 - 1
	polyBase = 0x1b2e4f6a8c35d917 % prime61
	tagArray = 0x9e3779b97f4a7c15
	tagObj   = 0xc2b2ae3d27d4eb4f
	tagStr   = 0x165667b19e3779f9
	tagNum   = 0x27d4eb2f165667c5
)

// mix spreads x over all 64 bits.
func mix(x uint64) uint64 {
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}

func seal(x uint64, k Kind) uint64 { return mix(x)&^kindBits | uint64(k) }

func digestString(s string) uint64      { return seal(xxhash.Sum64String(s)^tagStr, String) }
func digestBytes(s []byte) uint64       { return seal(xxhash.Sum64(s)^tagStr, String) }
func digestNumberBytes(s []byte) uint64 { return seal(xxhash.Sum64(s)^tagNum, Number) }

func digestNumber(s string) uint64 { return seal(xxhash.Sum64String(s)^tagNum, Number) }

func digestArray(poly uint64, n int) uint64 { return seal(poly^mix(uint64(n)+tagArray), Array) }
func digestObject(poly, shape uint64) uint64 {
	return seal(poly^mix(shape+tagObj), Object)
}

func mod61(x uint64) uint64 {
	x = x&prime61 + x>>61
	if x >= prime61 {
		x -= prime61
	}
	return x
}

func mul61(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return mod61(lo&prime61 + (lo>>61 | hi<<3))
}

// polyOf is the polynomial hash of the digests of nodes.
func polyOf(nodes []*Node) uint64 {
	var h uint64
	for _, n := range nodes {
		h = mod61(mul61(h, polyBase) + mod61(n.digest))
	}
	return h
}

// polyPow is polyBase to the n-th power.
func polyPow(n int) uint64 {
	r, b := uint64(1), uint64(polyBase)
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			r = mul61(r, b)
		}
		b = mul61(b, b)
	}
	return r
}
