package handshake

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/sluiceproxy/sluice/config/module"
)

// Policies is the compiled policies of a server. It is immutable, shares its structure with those it was made from, and is safe
// for concurrent use. A nil Policies has no policy.
type Policies struct {
	index *iradix.Tree[bucket] // policies that name all names they are for
	rest  bucket
	n     int
	auth  int // policies that ask for certificates
	regex int // policies whose captures are placeholders
}

// entry is a policy with its place among the others.
type entry struct {
	label  int64
	policy *Policy
}

// bucket is entries in their order.
type bucket []entry

// NewPolicies makes a list of policies, as a document with these would.
func NewPolicies(list ...*Policy) *Policies {
	items := make([]module.Item[*Policy], len(list))
	for i, p := range list {
		items[i] = module.Item[*Policy]{Label: int64(i), Value: p}
	}
	return (*Policies)(nil).update(module.Delta[*Policy]{Reset: true, Added: items})
}

// update derives the next list. It does not change l.
func (l *Policies) update(d module.Delta[*Policy]) *Policies {
	if l == nil || d.Reset {
		l = &Policies{index: iradix.New[bucket]()}
	}
	out := &Policies{n: l.n + len(d.Added) - len(d.Removed), auth: l.auth, regex: l.regex}
	var rest change
	named := map[string]*change{}
	file := func(items []module.Item[*Policy], sign int, add func(*change, entry)) {
		for _, it := range items {
			p := it.Value
			if p.client != nil {
				out.auth += sign
			}
			if p.regexp != nil {
				out.regex += sign
			}
			if !p.indexed {
				add(&rest, entry{it.Label, p})
			}
			for _, key := range p.keys {
				c := named[key]
				if c == nil {
					c = &change{}
					named[key] = c
				}
				add(c, entry{it.Label, p})
			}
		}
	}
	file(d.Removed, -1, func(c *change, e entry) { c.gone = append(c.gone, e) })
	file(d.Added, 1, func(c *change, e entry) { c.came = append(c.came, e) })
	out.rest = rest.apply(l.rest)
	txn := l.index.Txn()
	for key, c := range named {
		old, _ := txn.Get([]byte(key))
		if b := c.apply(old); len(b) > 0 {
			txn.Insert([]byte(key), b)
		} else {
			txn.Delete([]byte(key))
		}
	}
	out.index = txn.Commit()
	return out
}

// change is what happens to a bucket.
type change struct{ gone, came bucket }

func byLabel(a, b entry) int { return cmp.Compare(a.label, b.label) }

// apply returns the bucket after the change. It does not change b.
func (c *change) apply(b bucket) bucket {
	if len(c.gone)+len(c.came) == 0 {
		return b
	}
	gone := make(map[int64]bool, len(c.gone))
	for _, e := range c.gone {
		gone[e.label] = true
	}
	out := make(bucket, 0, max(0, len(b)+len(c.came)-len(c.gone)))
	for _, e := range b {
		if !gone[e.label] {
			out = append(out, e)
		}
	}
	out = append(out, c.came...)
	slices.SortFunc(out, byLabel)
	return out
}

// Len is the number of policies.
func (l *Policies) Len() int {
	if l == nil {
		return 0
	}
	return l.n
}

// NeedsStrictSNI reports whether a policy asks clients for certificates, so that a request must be for the name that was wanted
// in the handshake: otherwise a client could make its connection under another policy.
func (l *Policies) NeedsStrictSNI() bool { return l != nil && l.auth > 0 }

// Captures reports whether [Policies.Capture] can know any name.
func (l *Policies) Captures() bool { return l != nil && l.regex > 0 }

// find returns the first policy that is for the client, nil if none is.
func (l *Policies) find(c *Client) *Policy {
	if l == nil {
		return nil
	}
	c.name = normalName(c.ServerName)
	var buckets [3]bucket
	buckets[0] = l.rest
	if l.index.Len() > 0 && len(c.name) <= maxName {
		var space [64]byte
		buckets[1], _ = l.index.Get(append(append(space[:0], exactKey), c.name...))
		if suffix, ok := wildSuffix(c.name); ok {
			buckets[2], _ = l.index.Get(append(append(space[:0], wildKey), suffix...))
		}
	}
	for {
		first := -1
		for i, b := range buckets {
			if len(b) > 0 && (first < 0 || b[0].label < buckets[first][0].label) {
				first = i
			}
		}
		if first < 0 {
			return nil
		}
		if p := buckets[first][0].policy; p.match(c) {
			return p
		}
		buckets[first] = buckets[first][1:]
	}
}

// Capture resolves a placeholder {tls.regexp.*} on a connection of the client: a capture of a matcher sni_regexp of the policy
// that is for it. The name is without braces.
func (l *Policies) Capture(c Client, name string) (value string, known bool) {
	name, ok := strings.CutPrefix(name, "tls.regexp.")
	if !ok {
		return "", false
	}
	p := l.find(&c)
	if p == nil || p.regexp == nil {
		return "", false
	}
	if p.regexp.name != "" {
		if group, ok := strings.CutPrefix(name, p.regexp.name+"."); ok {
			return p.regexp.capture(c.ServerName, group)
		}
	}
	return p.regexp.capture(c.ServerName, name)
}

// ErrDropped is why a handshake fails that a policy drops.
var ErrDropped = errors.New("the TLS connection policy drops this connection")

// Bound is policies in use at a listener. It is safe for concurrent use.
type Bound struct {
	policies *Policies
	key      variantKey
}

// Bind puts the policies to use. The protocols are what the listener speaks, of h2 and http/1.1, the preferred ones first; they
// are the ALPN of policies that name none. The source must be comparable; with one source and the same protocols, what was made
// of a policy is found again.
func (l *Policies) Bind(source Source, protocols []string) *Bound {
	return &Bound{l, variantKey{source, strings.Join(protocols, ",")}}
}

// ConfigForClient returns the config of the first policy that is for the client. It has the type of
// [crypto/tls.Config.GetConfigForClient]. The config must not be changed; it may be cloned.
func (b *Bound) ConfigForClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	c := ClientOf(hello)
	p := b.policies.find(&c)
	switch {
	case p == nil:
		return nil, noPolicy(&c, hello)
	case p.drop:
		return nil, ErrDropped
	}
	v := p.variant(b.key)
	if v.challenge != nil && isChallenge(hello) {
		return v.challenge, nil
	}
	return v.config(p.tickets), nil
}

// isChallenge reports whether a certificate authority asks, which has no certificate to show (RFC 8737 section 3).
func isChallenge(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmeALPN && hello.ServerName != ""
}

func noPolicy(c *Client, hello *tls.ClientHelloInfo) error {
	name := c.ServerName
	if len(name) > 255 {
		name = name[:255] + "..."
	}
	return fmt.Errorf("no server TLS configuration available for ClientHello: server name %q, client %v, at %v, protocols %.255q: no connection policy matches it",
		name, c.Remote, c.Local, strings.Join(hello.SupportedProtos, ","))
}
