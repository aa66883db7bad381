// Package selection is the choice among the upstreams of a handler: what a selection policy gets, and all the policies.
package selection

import (
	"net/http"
	"sync/atomic"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/health"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/upstream"
)

// Policy chooses one of several upstreams. It is what a module of namespace http.reverse_proxy.selection_policies
// compiles to.
//
// Select returns an index into c.Upstreams of one that is available, or -1 if none is. It may be called several times
// for one request: for each retry, and when the chosen upstream became full in the meantime. A policy is shared by all
// requests, so it must be safe for concurrent use, and it keeps nothing sized by the list, which may differ from call to
// call.
type Policy interface {
	Select(c *Choice) int
}

// Choice is what a [Policy] chooses from and by. It is valid during one call of Select.
type Choice struct {
	// Request is the outgoing copy of the request: hop-by-hop fields removed, X-Forwarded fields set, rewritten (SEL-2).
	Request *http.Request
	// Upstreams is what there is to choose from. It must not be changed.
	Upstreams []*Upstream
	// Response is the header of the response that will go to the client.
	Response http.Header
	// Exchange is that of the client's request.
	Exchange *handlers.Exchange
}

// Upstream is one upstream of one handler.
type Upstream struct {
	// Dial is the dial text as it was configured: what hashes and cookies are made from.
	Dial string
	// MaxRequests is the number of requests above which the upstream is full; 0 is no limit.
	MaxRequests int64
	// Host is what is known of the upstream process-wide. It is there from the preparation of the handler to its release.
	Host *upstream.Host
	// Watch is what finds out about its health; nil if nothing does.
	Watch *health.Watch
	// Blind says that its health does not count.
	Blind bool

	text vars.Text
	memo atomic.Pointer[memo]

	// Of a dial text without placeholders:
	literal bool
	address upstream.Address
}

// New returns an upstream that has no host yet.
func New(dial string, maxRequests int64) *Upstream {
	return &Upstream{Dial: dial, MaxRequests: maxRequests, text: vars.Parse(dial)}
}

// Found returns an upstream that a source of upstreams has found, with its host.
func Found(dial string, host *upstream.Host) *Upstream {
	u := &Upstream{Dial: dial}
	u.Attach(host)
	return u
}

// Attach gives the upstream its host.
func (u *Upstream) Attach(host *upstream.Host) {
	u.Host = host
	u.address, u.literal = host.Address()
}

// Blindly returns the upstream as it is seen when health does not count.
func (u *Upstream) Blindly() *Upstream {
	return &Upstream{
		Dial: u.Dial, MaxRequests: u.MaxRequests, Host: u.Host, Watch: u.Watch, Blind: true, text: u.text, literal: u.literal, address: u.address,
	}
}

// Address returns where the upstream is. It reports whether its dial text has no placeholders, which s would expand.
func (u *Upstream) Address(s vars.Scope) (a upstream.Address, literal bool, err error) {
	if u.literal {
		return u.address, true, nil
	}
	a, err = upstream.ParseDial(u.text.Expand(s, vars.All, ""))
	return a, false, err
}

type memo struct {
	owner any
	value string
}

// Available reports whether the upstream may be chosen: it is healthy, not full and not drained (HOST-2).
func (u *Upstream) Available() bool {
	return u.Healthy() && !u.Host.Full(u.MaxRequests) && !u.Host.Drained()
}

// Healthy reports whether health checks and circuit breaker, as far as there are any, have nothing against the upstream.
func (u *Upstream) Healthy() bool { return u.Watch == nil || u.Blind || u.Watch.Healthy() }

// Requests is the number of requests that are running on it, those of other handlers with the same dial text among them.
func (u *Upstream) Requests() int64 { return u.Host.Requests() }

// Memo returns what calculate returned when it was last asked for the same owner, so that a policy can remember one
// text for each upstream without keeping a table of them.
func (u *Upstream) Memo(owner any, calculate func() string) string {
	if m := u.memo.Load(); m != nil && m.owner == owner {
		return m.value
	}
	m := &memo{owner, calculate()}
	u.memo.Store(m)
	return m.value
}
