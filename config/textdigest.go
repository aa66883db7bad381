package config

import (
	"github.com/cespare/xxhash/v2"
)

// DigestText is the digest of the node that Parse would make of a text, without
// making it. The text must be as AppendJSON prints it: keys sorted, each once.
// For another text, or one that is not JSON, the error or the digest says so
// by being another.
func DigestText(text []byte) (uint64, error) {
	p := &parser{text: text, lim: Limits{MaxNodes: 1 << 30}.withDefaults(), recent: make([]*Node, 64)}
	d, ok := p.digest(0)
	if ok && p.space() >= 0 {
		ok = p.bad("after top-level value")
	}
	if !ok {
		return 0, p.err
	}
	return d, nil
}

func (p *parser) digest(depth int) (uint64, bool) {
	if depth > p.lim.MaxDepth {
		return 0, p.fail(p.pos, "nested deeper than %d levels", p.lim.MaxDepth) != nil
	}
	switch c := p.space(); c {
	case '{':
		return p.digestMembers(depth + 1)
	case '[':
		return p.digestElements(depth + 1)
	case '"':
		b, ok := p.str()
		return digestBytes(b), ok
	}
	n := p.value(depth)
	if n == nil {
		return 0, false
	}
	return n.digest, true
}

func (p *parser) digestElements(depth int) (uint64, bool) {
	p.pos++
	var poly uint64
	n := 0
	for p.space() != ']' {
		if n > 0 && !p.pass(',', "after array element") {
			return 0, false
		}
		d, ok := p.digest(depth)
		if !ok {
			return 0, false
		}
		poly = mod61(mul61(poly, polyBase) + mod61(d))
		n++
	}
	p.pos++
	return digestArray(poly, n), true
}

func (p *parser) digestMembers(depth int) (uint64, bool) {
	p.pos++
	var poly, keys uint64
	n := 0
	for p.space() != '}' {
		if n > 0 && !p.pass(',', "after object key:value pair") {
			return 0, false
		}
		if p.space() != '"' {
			return 0, p.bad("looking for beginning of object key string")
		}
		key, ok := p.str()
		if !ok {
			return 0, false
		}
		keys = mod61(mul61(keys, polyBase) + mod61(mix(xxhash.Sum64(key))))
		if !p.pass(':', "after object key") {
			return 0, false
		}
		d, ok := p.digest(depth)
		if !ok {
			return 0, false
		}
		poly = mod61(mul61(poly, polyBase) + mod61(d))
		n++
	}
	p.pos++
	return digestObject(poly, keys^uint64(n)<<61), true
}

// pass goes past one character.
func (p *parser) pass(c byte, context string) bool {
	if p.space() != int(c) {
		return p.bad(context)
	}
	p.pos++
	return true
}
