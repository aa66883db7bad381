package reverseproxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
	"github.com/sluiceproxy/sluice/upstream"
)

// bench is a policy with a pool to choose from.
type bench struct {
	t      *testing.T
	policy selection.Policy
	choice selection.Choice
}

func newBench(t *testing.T, policy string, dials ...string) *bench {
	t.Helper()
	w := newWorld(t)
	g := w.build(nil, `{"load_balancing":{"selection_policy":`+policy+`}}`)
	b := &bench{t: t, policy: g.policy, choice: selection.Choice{
		Request:  httptest.NewRequest("GET", "/", nil),
		Response: http.Header{},
		Exchange: &handlers.Exchange{},
	}}
	for _, dial := range dials {
		u := selection.New(dial, 0)
		u.Host = w.pool.Acquire(dial)
		b.choice.Upstreams = append(b.choice.Upstreams, u)
	}
	return b
}

func abc(t *testing.T, policy string) *bench {
	return newBench(t, policy, "10.20.0.1:8080", "10.20.0.2:8080", "10.20.0.3:8080")
}

func (b *bench) host(i int) *upstream.Host { return b.choice.Upstreams[i].Host }

// down makes a member full.
func (b *bench) down(i int) { b.choice.Upstreams[i].MaxRequests = 1; b.host(i).Begin(0) }
func (b *bench) up(i int)   { b.choice.Upstreams[i].MaxRequests = 0; b.host(i).End() }

func (b *bench) load(counts ...int) {
	for i, n := range counts {
		for range n {
			b.host(i).Begin(0)
		}
	}
}

func (b *bench) picks(n int) []int {
	var list []int
	for range n {
		list = append(list, b.policy.Select(&b.choice))
	}
	return list
}

// shares counts what many picks give.
func (b *bench) shares() map[int]int {
	m := map[int]int{}
	for range 9000 {
		m[b.policy.Select(&b.choice)]++
	}
	return m
}

func (b *bench) want(picks ...int) {
	b.t.Helper()
	if got := b.picks(len(picks)); !slices.Equal(got, picks) {
		b.t.Errorf("picked %v, want %v", got, picks)
	}
}

// even reports whether exactly these members are picked, all about as often.
func (b *bench) even(members ...int) {
	b.t.Helper()
	shares := b.shares()
	for _, m := range members {
		if n, each := shares[m], 9000/len(members); n < each*8/10 || n > each*12/10 {
			b.t.Errorf("member %d was picked %d times of 9000, want about %d", m, n, each)
		}
		delete(shares, m)
	}
	if len(shares) > 0 {
		b.t.Errorf("picked besides %v: %v", members, shares)
	}
}

func TestRoundRobin(t *testing.T) {
	b := abc(t, `{"policy":"round_robin"}`)
	b.want(1, 2, 0, 1, 2, 0)
	b = abc(t, `{"policy":"round_robin"}`)
	b.want(1, 2, 0)
	b.down(1)
	b.want(2, 0, 2, 0)
	b.down(0)
	b.down(2)
	b.want(-1)
	newBench(t, `{"policy":"round_robin"}`, "a:1").want(0, 0)
}

func TestRoundRobinIsTheDefault(t *testing.T) {
	got, want := newWorld(t).build(nil, `{}`).policy, newBench(t, `{"policy":"round_robin"}`).policy
	if reflect.TypeOf(got) != reflect.TypeOf(want) {
		t.Errorf("the default is %T", got)
	}
}

func TestRoundRobinPositionOutlivesEdits(t *testing.T) {
	for _, balancing := range []string{`"load_balancing":{"selection_policy":{"policy":"round_robin"}},`, ``} {
		w := newWorld(t)
		config := func(n int) string {
			return fmt.Sprintf(`{%s"flush_interval":%d,"upstreams":[{"dial":"a:1"},{"dial":"b:1"},{"dial":"c:1"}]}`, balancing, n)
		}
		g := w.build(nil, config(1))
		c := selection.Choice{Upstreams: g.upstreams}
		var got []int
		for i := range 6 {
			got = append(got, g.policy.Select(&c))
			next := w.build(g, config(i+2))
			g.retire(next)
			g, c.Upstreams = next, next.upstreams
		}
		if want := []int{1, 2, 0, 1, 2, 0}; !slices.Equal(got, want) {
			t.Errorf("%q picked %v, want %v", balancing, got, want)
		}
	}
}

func TestRandom(t *testing.T) {
	b := abc(t, `{"policy":"random"}`)
	b.even(0, 1, 2)
	b.down(0)
	b.even(1, 2)
	b.down(1)
	b.want(2, 2, 2)
	b.down(2)
	b.want(-1)
}

func TestFirst(t *testing.T) {
	b := abc(t, `{"policy":"first"}`)
	b.want(0, 0)
	b.down(0)
	b.want(1, 1)
	b.up(0)
	b.want(0)
}

func TestLeastConn(t *testing.T) {
	b := abc(t, `{"policy":"least_conn"}`)
	b.even(0, 1, 2)
	b.load(5, 3, 3)
	b.even(1, 2)
	b.load(0, 1, 0)
	b.want(2, 2)
	b.down(2)
	b.want(1, 1)
}

func TestRandomChoose(t *testing.T) {
	b := abc(t, `{"policy":"random_choose","choose":3}`)
	b.load(30, 20, 20)
	b.even(1, 2) // quirk 9: never the one with 30
	b = abc(t, `{"policy":"random_choose"}`)
	b.load(3, 2, 1)
	shares := b.shares()
	if shares[0] != 0 || shares[1] < 2500 || shares[2] < 5000 {
		t.Errorf("two of three: %v", shares)
	}
	b.down(2)
	b.want(1, 1)
}

func TestWeightedRoundRobin(t *testing.T) {
	two := newBench(t, `{"policy":"weighted_round_robin","weights":[4,1]}`, "a:1", "b:1")
	two.want(0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
	abc(t, `{"policy":"weighted_round_robin","weights":[2,0,3]}`).want(0, 2, 2, 2, 0, 0, 2, 2, 2, 0)
	b := abc(t, `{"policy":"weighted_round_robin","weights":[1,2,1]}`)
	b.down(1)
	b.want(2, 2, 0, 0, 2, 2, 0, 0)
	b = newBench(t, `{"policy":"weighted_round_robin","weights":[3]}`, "a:1")
	b.want(0, 0)
	b.down(0)
	b.want(-1) // quirk 7
	b = abc(t, `{"policy":"weighted_round_robin","weights":[1,1]}`)
	b.down(0)
	b.want(1, 1) // quirk 8
	b.down(1)
	b.want(-1)
}

// The vectors of section 24.1.
func TestHashPolicies(t *testing.T) {
	byKey := map[string]int{
		"203.0.113.7": 2, "203.0.113.8": 0, "203.0.113.9": 0, "2001:db8::5": 0,
		"/shop?id=7": 0, "/shop?id=8": 2, "alpha": 1, "beta": 2, "red,blue": 2,
	}
	set := func(policy string, set func(*selection.Choice)) *bench {
		b := abc(t, policy)
		set(&b.choice)
		return b
	}
	for _, ip := range []string{"203.0.113.7", "203.0.113.8", "203.0.113.9", "2001:db8::5"} {
		withPort := ip + ":4711"
		if strings.Contains(ip, "::") {
			withPort = "[" + ip + "]:4711"
		}
		for _, peer := range []string{ip, withPort} {
			set(`{"policy":"ip_hash"}`, func(c *selection.Choice) { c.Request.RemoteAddr = peer }).want(byKey[ip])
		}
		set(`{"policy":"client_ip_hash"}`, func(c *selection.Choice) { c.Exchange.SetVar("client_ip", ip) }).want(byKey[ip])
	}
	for _, uri := range []string{"/shop?id=7", "/shop?id=8"} {
		set(`{"policy":"uri_hash"}`, func(c *selection.Choice) { c.Request = httptest.NewRequest("GET", uri, nil) }).want(byKey[uri])
	}
	for _, key := range []string{"alpha", "beta"} {
		set(`{"policy":"header","field":"x-key"}`, func(c *selection.Choice) { c.Request.Header["X-Key"] = []string{key, "other"} }).want(byKey[key])
		set(`{"policy":"header","field":"Host"}`, func(c *selection.Choice) { c.Request.Host = key }).want(byKey[key])
		set(`{"policy":"query","key":"k"}`, func(c *selection.Choice) { c.Request.URL.RawQuery = "k=" + key }).want(byKey[key])
	}
	set(`{"policy":"query","key":"k"}`, func(c *selection.Choice) { c.Request.URL.RawQuery = "k=red&k=blue" }).want(byKey["red,blue"])
	for _, policy := range []string{`{"policy":"header","field":"X","fallback":{"policy":"first"}}`, `{"policy":"query","key":"k","fallback":{"policy":"first"}}`} {
		abc(t, policy).want(0, 0)
	}
	abc(t, `{"policy":"header","field":"X"}`).even(0, 1, 2)
}

func TestHashMovesOnlyTheKeysOfTheLostMember(t *testing.T) {
	b := abc(t, `{"policy":"header","field":"X"}`)
	pick := func(i int) int {
		b.choice.Request.Header.Set("X", fmt.Sprint("key", i))
		return b.policy.Select(&b.choice)
	}
	before := map[int]int{}
	for i := range 300 {
		before[i] = pick(i)
	}
	b.down(1)
	for i := range 300 {
		if got := pick(i); got != before[i] && before[i] != 1 || got == 1 {
			t.Fatalf("key %d moved from %d to %d", i, before[i], got)
		}
	}
	b.up(1)
	for i := range 300 {
		if got := pick(i); got != before[i] {
			t.Fatalf("key %d did not come back to %d but to %d", i, before[i], got)
		}
	}
}

// The vectors of section 24.2.
func TestCookieValues(t *testing.T) {
	for _, tt := range []struct{ secret, dial, want string }{
		{"", "10.20.0.1:8080", "889cf3da65c3575cd4a49797dfc27f43b56d29649f41d7c7c7b0c7fc0647e9c5"},
		{"pepper", "10.20.0.1:8080", "cf6ec142939378f0957a0ee918e153a670b432ba62efdc3241e3c0a78db44ed6"},
		{"pepper", "unix//run/app.sock", "d8ff0641b31072d8f0cb69d77218e3fd02a3c901cee94ecf6def5fcef9284dce"},
	} {
		b := newBench(t, fmt.Sprintf(`{"policy":"cookie","secret":%q}`, tt.secret), tt.dial)
		b.want(0)
		if got := b.choice.Response.Get("Set-Cookie"); got != "lb="+tt.want+"; Path=/; HttpOnly; SameSite=Lax" {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

func TestCookieStickiness(t *testing.T) {
	b := abc(t, `{"policy":"cookie","name":"node","secret":"s","max_age":"90s","fallback":{"policy":"first"}}`)
	cookieOf := func(i int) string {
		mac := hmac.New(sha256.New, []byte("s"))
		mac.Write([]byte(b.choice.Upstreams[i].Dial))
		return hex.EncodeToString(mac.Sum(nil))
	}
	b.choice.Response["Set-Cookie"] = []string{"other=1"}
	b.want(0, 0)
	if got := b.choice.Response["Set-Cookie"]; len(got) != 2 || got[0] != "other=1" || !strings.Contains(got[1], "; Max-Age=90; ") {
		t.Errorf("after two selections: %q", got) // quirk 10
	}
	b.choice.Response = http.Header{}
	b.choice.Request.Header.Set("Cookie", "x=y; node="+cookieOf(2))
	b.want(2)
	if len(b.choice.Response) != 0 {
		t.Errorf("a known client got %v", b.choice.Response)
	}
	b.down(2)
	b.want(0)
	if got := b.choice.Response.Get("Set-Cookie"); !strings.HasPrefix(got, "node="+cookieOf(0)+";") {
		t.Errorf("after the upstream was lost: %q", got)
	}
	b.down(0)
	b.down(1)
	b.choice.Response = http.Header{}
	b.want(-1)
	if len(b.choice.Response) != 0 {
		t.Errorf("without a choice the client got %v", b.choice.Response)
	}
}

func TestCookieOverSecureConnections(t *testing.T) {
	tests := []struct {
		tls, trusted bool
		proto        []string
		secure       bool
	}{
		{true, false, nil, true},
		{false, true, []string{"http", "https"}, true},
		{false, true, []string{"https", "http"}, false},
		{false, false, []string{"https"}, false},
		{false, false, nil, false},
	}
	for i, tt := range tests {
		b := newBench(t, `{"policy":"cookie"}`, "a:1")
		target := "http://a.test/"
		if tt.tls {
			target = "https://a.test/"
		}
		b.choice.Request = httptest.NewRequest("GET", target, nil)
		b.choice.Request.Header[forwardedProto] = tt.proto
		b.choice.Exchange.SetVar("trusted_proxy", tt.trusted)
		b.want(0)
		set := b.choice.Response.Get("Set-Cookie")
		if got := strings.HasSuffix(set, "; HttpOnly; Secure; SameSite=None"); got != tt.secure {
			t.Errorf("%d: %s", i, set)
		}
	}
}

// quirk 11, and SEL-10.
func TestCookieAsFallback(t *testing.T) {
	b := abc(t, `{"policy":"header","field":"X-Shard","fallback":{"policy":"query","key":"k","fallback":
		{"policy":"cookie","name":"shard","secret":"pepper","fallback":{"policy":"first"}}}}`)
	b.want(0)
	if got := b.choice.Response.Get("Set-Cookie"); !strings.HasPrefix(got, "shard=") {
		t.Errorf("Set-Cookie: %q", got)
	}
}

func TestPoliciesWithAnEmptyPool(t *testing.T) {
	for _, p := range []string{
		`"round_robin"`, `"random"`, `"first"`, `"least_conn"`, `"random_choose"`, `"ip_hash"`, `"client_ip_hash"`, `"uri_hash"`, `"cookie"`,
		`"header","field":"X"`, `"query","key":"k"`, `"weighted_round_robin","weights":[1]`,
	} {
		newBench(t, `{"policy":`+p+`}`).want(-1)
	}
}
