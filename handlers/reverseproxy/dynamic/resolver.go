package dynamic

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/upstream"
)

// ResolverConfig is the DNS servers to ask.
type ResolverConfig struct {
	// Addresses is the DNS servers, each as [network/]host[:port] with network udp and port 53 as defaults. Each connection
	// goes to one of them, picked at random. Default: the servers of the system.
	Addresses []string `json:"addresses"`
}

// server is how the DNS is asked: part of the meaning of a question.
type server struct {
	resolver Resolver
	key      string
}

// dnsConfig is what all sources that ask the DNS have in common.
type dnsConfig struct {
	resolver      *ResolverConfig
	timeout       module.Duration
	fallbackDelay module.Duration
}

func (c *Cache) server(env *module.Env, d dnsConfig) (server, schema.Problems) {
	var problems schema.Problems
	o := upstream.ResolverOptions{DialTimeout: time.Duration(d.timeout), DialFallbackDelay: time.Duration(d.fallbackDelay)}
	if d.resolver != nil {
		for i, text := range d.resolver.Addresses {
			address, err := upstream.ParseResolver(text)
			if err != nil {
				problems = append(problems, schema.Problem{Pointer: "/resolver/addresses/" + strconv.Itoa(i), Found: text, Message: err.Error()})
			}
			o.Addresses = append(o.Addresses, address)
		}
	}
	if len(problems) > 0 {
		return server{}, problems
	}
	if len(o.Addresses) == 0 {
		if d.timeout != 0 {
			env.Warn("/dial_timeout", "dial_timeout does nothing without resolver: the system knows how to reach its servers")
		}
		if d.fallbackDelay != 0 {
			env.Warn("/dial_fallback_delay", "dial_fallback_delay does nothing without resolver: the system knows how to reach its servers")
		}
		return server{c.resolver(upstream.ResolverOptions{}), ""}, nil
	}
	return server{c.resolver(o), fmt.Sprintf("%s %s %s", strings.Join(o.Addresses, ","), o.DialTimeout, o.DialFallbackDelay)}, nil
}

// asker is a source that asks one question of the DNS. If its names have no placeholders it holds the entry of the answer.
type asker struct {
	cache *Cache
	terms terms
	entry *entry // of a question without placeholders, from Prepare on
	look  lookup // of that question
}

const defaultRefresh = time.Minute

func newAsker(c *Cache, refresh, grace module.Duration) asker {
	t := terms{refresh: time.Duration(refresh), grace: time.Duration(grace)}
	if t.refresh == 0 {
		t.refresh = defaultRefresh
	}
	return asker{cache: c, terms: t}
}

// own holds the entry of a question as long as the source is in use.
func (a *asker) own(env *module.Env, key string, look lookup) {
	a.look = look
	env.Own(module.Acquired(
		func() error { a.entry = a.cache.hold(key); return nil },
		func() { a.cache.drop(a.entry) }, // entry stays in place for requests that let go of their generation
	))
}

// fixed reports whether the question is the same for all requests.
func (a *asker) fixed() bool { return a.look != nil }

// Known implements [Source].
func (a *asker) Known() *List {
	if a.entry == nil {
		return nil
	}
	list, _ := a.entry.state.Load().result(a.terms, nop)
	return list
}

// literal reports whether none of the texts has placeholders.
func literal(texts ...vars.Text) bool {
	for _, t := range texts {
		if _, ok := t.Literal(); !ok {
			return false
		}
	}
	return true
}

// nothing is the scope of texts without placeholders.
var nothing vars.Scope = vars.Map(nil)

// maxName is the length of the longest name that the DNS knows.
const maxName = 255

// checkName refuses what cannot be a name, before it is part of a key.
func checkName(name string) error {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("a name of %d bytes cannot be looked up; want 1 to %d", len(name), maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' || r == '{' }):
		return fmt.Errorf("%q is no name that can be looked up", name)
	}
	return nil
}
