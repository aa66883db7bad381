package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
)

// Connection is one TLS connection policy.
type Connection struct {
	// SNI is the names that it is for; nil is all handshakes. The list belongs to
	// the policy.
	SNI []string
	// Fields is its fields besides match.
	Fields map[string]*config.Node
	// Origin is for the caller.
	Origin any

	tags *tags // of the certificates to choose from, while policies are joined
}

// tags is a list without repetitions.
type tags struct {
	list []string
	seen map[string]struct{}
}

func (t *tags) add(list *config.Node) {
	for _, e := range list.Elements() {
		if _, has := t.seen[e.Str()]; !has {
			t.seen[e.Str()] = struct{}{}
			t.list = append(t.list, e.Str())
		}
	}
}

// Node is the policy in the document.
func (c *Connection) Node() *config.Node {
	m := make(map[string]*config.Node, len(c.Fields)+1)
	for k, v := range c.Fields {
		m[k] = v
	}
	if c.SNI != nil {
		m["match"] = config.NewObject(map[string]*config.Node{"sni": config.NewStrings(c.SNI)})
	}
	return config.NewObject(m)
}

// Fields that are looked into.
const (
	clientAuth = "client_authentication"
	selection  = "certificate_selection"
	anyTag     = "any_tag"
)

// Shield keeps the client authentication of wildcards from hosts that have no
// policy of their own: before a policy that asks clients for certificates it
// puts one that does not, for those of the hosts that a wildcard of it covers.
func Shield(list []*Connection, hosts []string) []*Connection {
	asking := map[string]int{} // the first policy with client authentication, by name
	for i, c := range list {
		if c.Fields[clientAuth] == nil {
			continue
		}
		for _, name := range c.SNI {
			if _, ok := asking[strings.ToLower(name)]; !ok {
				asking[strings.ToLower(name)] = i
			}
		}
	}
	if len(asking) == 0 {
		return list
	}
	covered := map[*Connection][]string{}
	for _, host := range hosts {
		if i, ok := shadow(asking, strings.ToLower(host)); ok {
			covered[list[i]] = append(covered[list[i]], host)
		}
	}
	var out []*Connection
	for _, c := range list {
		if names := covered[c]; len(names) > 0 {
			slices.Sort(names)
			s := &Connection{SNI: slices.Compact(names), Fields: map[string]*config.Node{}, Origin: c.Origin}
			for k, v := range c.Fields {
				if k != clientAuth {
					s.Fields[k] = v
				}
			}
			out = append(out, s)
		}
		out = append(out, c)
	}
	return out
}

// shadow is the first policy that has a host through a wildcard. A host that one
// of them names itself has none.
func shadow(asking map[string]int, host string) (position int, ok bool) {
	if _, named := asking[host]; named || host == "" {
		return 0, false
	}
	wildcards(host, func(w string) bool {
		if i, has := asking[w]; has && (!ok || i < position) {
			position, ok = i, true
		}
		return true
	})
	return position, ok
}

// Consolidate makes as few policies as there can be, those without a matcher
// last. It changes the policies that it is given.
func Consolidate(list []*Connection) ([]*Connection, error) {
	var out, last []*Connection
	for _, c := range list {
		if c.SNI == nil {
			last = append(last, c)
		} else {
			out = append(out, c)
		}
	}
	out = append(out, last...)
	for {
		before := len(out)
		var err error
		if out, err = sameMatch(out); err != nil {
			return nil, err
		}
		if out = neighbours(out); len(out) == before {
			return out, nil
		}
	}
}

// sameMatch joins policies for the same names, of which only the first would
// ever count.
func sameMatch(list []*Connection) ([]*Connection, error) {
	first := map[string]*Connection{}
	out := list[:0]
	for _, c := range list {
		key := fmt.Sprintf("%v %q", c.SNI == nil, c.SNI)
		if f := first[key]; f != nil {
			if err := f.take(c); err != nil {
				return nil, err
			}
			continue
		}
		first[key] = c
		out = append(out, c)
	}
	for _, c := range out {
		if c.tags != nil {
			c.Fields[selection] = config.NewObject(map[string]*config.Node{anyTag: config.NewStrings(c.tags.list)})
			c.tags = nil
		}
	}
	return out, nil
}

// neighbours joins policies that differ only in their names.
func neighbours(list []*Connection) []*Connection {
	out := list[:0]
	for _, c := range list {
		if n := len(out); n > 0 && c.SNI != nil && out[n-1].SNI != nil && sameFields(out[n-1], c) {
			out[n-1].SNI = append(out[n-1].SNI, c.SNI...)
			continue
		}
		out = append(out, c)
	}
	return out
}

func sameFields(a, b *Connection) bool {
	return config.Equal(config.NewObject(a.Fields), config.NewObject(b.Fields))
}

// fieldNames is what errors call the fields, in the order in which they are
// compared.
var fieldNames = []struct{ field, name string }{
	{"alpn", "ALPN"}, {selection, "cert selections"}, {"cipher_suites", "cipher suites"},
	{clientAuth, "client auth configuration"}, {"curves", "curves"}, {"default_sni", "default SNI"}, {"fallback_sni", "fallback SNI"},
	{"protocol_min", "min protocol"}, {"protocol_max", "max protocol"}, {"insecure_secrets_log", "secrets logs"},
}

// take adds the fields of another policy.
func (c *Connection) take(other *Connection) error {
	for _, f := range fieldNames {
		a, b := c.Fields[f.field], other.Fields[f.field]
		switch {
		case b == nil, config.Equal(a, b):
		case a == nil:
			c.Fields[f.field] = b
		case f.field == selection && onlyTags(a) && onlyTags(b):
			if c.tags == nil {
				c.tags = &tags{seen: map[string]struct{}{}}
				c.tags.add(a.Get(anyTag))
			}
			c.tags.add(b.Get(anyTag))
		default:
			return fmt.Errorf("two policies with same match criteria have conflicting %s: %s vs. %s", f.name, show(a), show(b))
		}
	}
	return nil
}

func onlyTags(n *config.Node) bool { return n.Len() == 1 && n.Get(anyTag) != nil }

// show writes a value for an error.
func show(n *config.Node) string {
	switch n.Kind() {
	case config.String:
		return n.Str()
	case config.Array:
		var list []string
		for _, e := range n.Elements() {
			list = append(list, show(e))
		}
		return "[" + strings.Join(list, " ") + "]"
	}
	const most = 300
	text := string(n.AppendJSON(nil))
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}
