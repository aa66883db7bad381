package selection

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"

	"github.com/sluiceproxy/sluice/config/module"
)

// Namespace is that of the policies.
const Namespace = "http.reverse_proxy.selection_policies"

// NoConfig is the config of a module that has no fields.
type NoConfig struct{}

// Specs describes the selection policies.
func Specs() []module.Spec {
	return []module.Spec{
		module.New(Namespace+".round_robin", "Takes the upstreams in turn.", nil, compileRoundRobin,
			example(`{"policy":"round_robin"}`), module.Words(plainWords)),
		module.New(Namespace+".random", "Takes any upstream, all with the same chance.", nil, plain(random{}),
			example(`{"policy":"random"}`), module.Words(plainWords)),
		module.New(Namespace+".random_choose", "Takes the least busy of a few upstreams picked at random.",
			&RandomChoose{Choose: 2}, compileRandomChoose, example(`{"policy":"random_choose","choose":3}`), module.Words(randomChooseWords)),
		module.New(Namespace+".least_conn", "Takes the upstream with the fewest running requests.", nil, plain(leastConn{}),
			example(`{"policy":"least_conn"}`), module.Words(plainWords)),
		module.New(Namespace+".first", "Takes the first upstream of the list that is available.", nil, plain(first{}),
			example(`{"policy":"first"}`), module.Words(plainWords)),
		module.New(Namespace+".weighted_round_robin", "Takes the upstreams in turn, some more often than others.", nil,
			compileWeighted, example(`{"policy":"weighted_round_robin","weights":[3,1]}`), module.Words(weightedWords)),
		module.New(Namespace+".ip_hash", "Sends the requests of one peer address to one upstream.", nil, plain(ipHash{}),
			example(`{"policy":"ip_hash"}`), module.Words(plainWords)),
		module.New(Namespace+".client_ip_hash", "Sends the requests of one client address to one upstream.", nil,
			plain(clientIPHash{}), example(`{"policy":"client_ip_hash"}`), module.Words(plainWords)),
		module.New(Namespace+".uri_hash", "Sends the requests for one path and query to one upstream.", nil, plain(uriHash{}),
			example(`{"policy":"uri_hash"}`), module.Words(plainWords)),
		module.New(Namespace+".query", "Sends the requests with one value of a query key to one upstream.", nil, compileQuery,
			example(`{"policy":"query","key":"user"}`), module.Words(queryWords)),
		module.New(Namespace+".header", "Sends the requests with one value of a header field to one upstream.", nil,
			compileHeader, example(`{"policy":"header","field":"X-Shard","fallback":{"policy":"first"}}`), module.Words(headerWords)),
		module.New(Namespace+".cookie", "Sends a client to the upstream that it was sent to before.", nil, compileCookie,
			example(`{"policy":"cookie","name":"lb","secret":"{env.LB_SECRET}"}`), module.Words(cookieWords)),
	}
}

func example(json string) module.Option {
	return module.Examples(module.Example{Title: "Use the policy.", JSON: json})
}

func plain(p Policy) func(*module.Env, *NoConfig) (Policy, error) {
	return func(*module.Env, *NoConfig) (Policy, error) { return p, nil }
}

// roundRobin counts before use, so a fresh one of several upstreams begins with the second (SEL-4).
type roundRobin struct{ counter *atomic.Uint32 }

// compileRoundRobin keeps the counter over edits of the handler.
func compileRoundRobin(env *module.Env, _ *NoConfig) (Policy, error) {
	return RoundRobin(env), nil
}

// RoundRobin returns the policy that takes the upstreams in turn. Its counter outlives edits of the module that env is of.
func RoundRobin(env *module.Env) Policy {
	return roundRobin{env.State("round_robin", func() any { return new(atomic.Uint32) }).(*atomic.Uint32)}
}

// Select implements [Policy].
func (p roundRobin) Select(c *Choice) int {
	n := uint32(len(c.Upstreams))
	for range n {
		i := int(p.counter.Add(1) % n)
		if c.Upstreams[i].Available() {
			return i
		}
	}
	return -1
}

type random struct{}

// Select implements [Policy].
func (random) Select(c *Choice) int {
	n := len(c.Upstreams)
	if n == 0 {
		return -1
	}
	if i := rand.IntN(n); c.Upstreams[i].Available() {
		return i
	}
	return pickUniform(c, func(*Upstream) bool { return true })
}

// pickUniform takes one of the available upstreams that admit approves, all with the same chance.
func pickUniform(c *Choice, admit func(*Upstream) bool) int {
	best, seen := -1, 0
	for i, u := range c.Upstreams {
		if !u.Available() || !admit(u) {
			continue
		}
		if seen++; rand.IntN(seen) == 0 {
			best = i
		}
	}
	return best
}

type first struct{}

// Select implements [Policy].
func (first) Select(c *Choice) int {
	for i, u := range c.Upstreams {
		if u.Available() {
			return i
		}
	}
	return -1
}

type leastConn struct{}

// Select implements [Policy]. Among equals each has the same chance.
func (leastConn) Select(c *Choice) int {
	best, ties := -1, 0
	var fewest int64
	for i, u := range c.Upstreams {
		if !u.Available() {
			continue
		}
		n := u.Requests()
		switch {
		case best < 0 || n < fewest:
			best, fewest, ties = i, n, 1
		case n == fewest:
			if ties++; rand.IntN(ties) == 0 {
				best = i
			}
		}
	}
	return best
}

// RandomChoose is the config of policy random_choose.
type RandomChoose struct {
	// Choose is how many upstreams are picked at random, of which the one with the fewest running requests is taken. At
	// least 2. Default: 2.
	Choose int `json:"choose"`
}

func compileRandomChoose(_ *module.Env, c *RandomChoose) (Policy, error) {
	if c.Choose < 2 {
		return nil, module.Problem("/choose", fmt.Sprintf("choose is %d; it has to be at least 2", c.Choose))
	}
	return randomChoose(c.Choose), nil
}

type randomChoose int

// Select implements [Policy]: a uniform sample by reservoir, then the smallest of it, uniform among equals.
func (p randomChoose) Select(c *Choice) int {
	var room [8]int
	sample, seen := room[:0], 0
	for i, u := range c.Upstreams {
		if !u.Available() {
			continue
		}
		seen++
		if len(sample) < int(p) {
			sample = append(sample, i)
		} else if j := rand.IntN(seen); j < int(p) {
			sample[j] = i
		}
	}
	best, ties := -1, 0
	var fewest int64
	for _, i := range sample {
		n := c.Upstreams[i].Requests()
		switch {
		case best < 0 || n < fewest:
			best, fewest, ties = i, n, 1
		case n == fewest:
			if ties++; rand.IntN(ties) == 0 {
				best = i
			}
		}
	}
	return best
}

// WeightedRoundRobin is the config of policy weighted_round_robin.
type WeightedRoundRobin struct {
	// Weights says how many of each round of requests go to each upstream, in the order of the upstreams. 0 sends it none;
	// so does a missing one. None may be negative; the sum has to be positive and less than 2^31. Required.
	Weights []int `json:"weights" check:"required"`
}

func compileWeighted(env *module.Env, c *WeightedRoundRobin) (Policy, error) {
	sum := 0
	for i, w := range c.Weights {
		if w < 0 || w > math.MaxInt32-sum {
			return nil, module.Problem(fmt.Sprintf("/weights/%d", i), fmt.Sprintf("weight %d is negative, or makes the sum too large", w))
		}
		sum += w
	}
	if sum == 0 {
		return nil, module.Problem("/weights", "the sum of the weights is 0; at least one has to be positive")
	}
	counter := env.State("round_robin", func() any { return new(atomic.Uint32) }).(*atomic.Uint32)
	return &weighted{weights: c.Weights, sum: uint32(sum), counter: counter}, nil
}

type weighted struct {
	weights []int
	sum     uint32
	counter *atomic.Uint32
}

// Select implements [Policy]. The position among all positive weights is an ordinal, which is counted off among the
// available upstreams with a positive weight (SEL-5).
func (p *weighted) Select(c *Choice) int {
	position := p.counter.Add(1) % p.sum
	ordinal, running := 0, uint32(0)
	for _, w := range p.weights {
		if w <= 0 {
			continue
		}
		if running += uint32(w); running > position {
			break
		}
		ordinal++
	}
	n := 0
	for i := range c.Upstreams {
		if p.eligible(c, i) {
			n++
		}
	}
	if n == 0 {
		return -1
	}
	ordinal %= n
	for i := range c.Upstreams {
		if p.eligible(c, i) {
			if ordinal == 0 {
				return i
			}
			ordinal--
		}
	}
	return -1 // it became full between the two walks; the caller asks again
}

func (p *weighted) eligible(c *Choice, i int) bool {
	return i < len(p.weights) && p.weights[i] > 0 && c.Upstreams[i].Available()
}
