package schema

import (
	"math"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// memoLimit bounds how many digests a validator remembers.
const memoLimit = 4096

// memo is a bounded set of digests. When it is full it begins anew.
type memo struct {
	mu  sync.RWMutex
	set map[uint64]struct{}
}

func (m *memo) has(d uint64) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, ok := m.set[d]
	return ok
}

func (m *memo) add(d uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.set == nil || len(m.set) >= memoLimit {
		m.set = map[uint64]struct{}{}
	}
	m.set[d] = struct{}{}
}

// looksAtContent reports whether a schema constrains more than kinds and keys.
func looksAtContent(s any) bool {
	switch s := s.(type) {
	case Schema:
		return looksAtContent(map[string]any(s))
	case map[string]any:
		for key, v := range s {
			switch key {
			case "enum", "const", "pattern", "format", "minimum", "maximum", "minLength", "maxLength", "multipleOf", "uniqueItems":
				return true
			}
			if looksAtContent(v) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(s, looksAtContent)
	}
	return false
}

// digestOf is a digest of a value made of nil, bool, float64, string, []any and
// map[string]any. With shapeOnly, texts and numbers of one kind are alike, and
// so are lists whose elements are alike.
func digestOf(v any, shapeOnly bool) uint64 {
	switch v := v.(type) {
	case nil:
		return 1
	case bool:
		return 2
	case float64:
		switch {
		case !shapeOnly:
			return mix(3, math.Float64bits(v))
		case v == math.Trunc(v):
			return 3
		}
		return 4
	case string:
		if shapeOnly {
			return 5
		}
		return mix(5, xxhash.Sum64String(v))
	case []any:
		h := uint64(6)
		var last uint64
		for i, e := range v {
			d := digestOf(e, shapeOnly)
			if shapeOnly && i > 0 && d == last {
				continue
			}
			h, last = mix(h, d), d
		}
		return h
	case map[string]any:
		h := uint64(len(v)) + 7
		for key, e := range v {
			h += mix(xxhash.Sum64String(key), digestOf(e, shapeOnly))
		}
		return mix(8, h)
	}
	return 9
}

// mix combines two digests; the order matters.
func mix(a, b uint64) uint64 {
	h := (a ^ 0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd
	h ^= h >> 32
	h = (h + b) * 0xc4ceb9fe1a85ec53
	return h ^ h>>29
}
