package reverseproxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/health"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/internal/idleread"
	"github.com/sluiceproxy/sluice/upstream"
)

// LoggerName is the logger of all that the handler reports.
const LoggerName = "http.handlers.reverse_proxy"

// statusClientGone is what the access log shows for a request whose client left before the response header.
const statusClientGone = 499

// Handler is a compiled reverse_proxy. It is immutable but for what its upstreams count.
type Handler struct {
	transport upstream.Transport
	traits    upstream.Traits
	policy    selection.Policy
	hosts     *upstream.Pool
	upstreams []*selection.Upstream
	trusted   []netip.Prefix
	retry     retryRules
	ops       operations
	tunnels   *tunnels
	dynamic   *discovery // nil if the document lists the upstreams
	responses route.Responses
	health    *health.Plan          // nil if nothing is found out
	blind     []*selection.Upstream // the upstreams when health does not count; nil if it always does

	flushInterval   time.Duration
	requestBuffers  int64
	responseBuffers int64
	streamTimeout   time.Duration
	streamBuffers   *idleread.Buffers
	place           *upstream.Place
	succession      *succession
	verbose         bool
}

// ServeHTTP sends the request to an upstream and relays the answer. Its errors are of type [*handlers.Error] and leave the
// response untouched. When the answer breaks off after its header was sent, it panics with http.ErrAbortHandler, so that
// the client sees a broken connection and not a complete answer (RESP-17).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	p := &proxying{h: h, w: w, in: r, x: handlers.Of(r), next: next, start: time.Now()}
	p.log = p.x.Server.Logger(LoggerName)
	p.x.AddScope(p)
	defer p.finish()
	switch err := p.prepare(); {
	case err == errClientGone: //nolint:errorlint // never wrapped
		return p.clientGone()
	case err != nil:
		return err
	}
	return p.loop()
}

// proxying is one request on its way. It is also the scope of the placeholders http.reverse_proxy.*, see scope.go.
type proxying struct {
	h     *Handler
	w     http.ResponseWriter
	in    *http.Request // the client's
	out   *http.Request // the outgoing copy
	x     *handlers.Exchange
	log   *zap.Logger
	next  handlers.Next // what follows the proxy
	start time.Time

	// The outgoing copy as every attempt begins with it (LIFE-2.5). base is nil where no attempt changes it.
	base     http.Header
	baseHost string

	upgrade  string // the protocol that the client asks to switch to, in lower case
	extended bool   // by an extended CONNECT (RFC 8441)
	body     *source
	buffered []byte // the whole body, if it was read before the first attempt
	spooled  *spool // the same in a file
	replay   bool   // buffered or spooled is the whole body

	informational informational
	trace         httptrace.ClientTrace
	placeholders
	lazy  bool // see publish
	visit health.Visit
	left  bool // the attempt has given back what it claimed
	// detached: a tunnel goes on when the handler has returned, and ends the attempt.
	detached bool

	// In one piece of memory with the rest:
	choice   selection.Choice
	location url.URL
	room     [spareFields]string
	viaRoom  [1]string
}

// outcome is how an attempt ended.
type outcome uint8

const (
	finished    outcome = iota // relayed, or failed for good
	unavailable                // no upstream could be chosen
	undialled                  // no connection could be made
	broken                     // the round trip failed in another way
	unwanted                   // the response is one that retry_match wants tried again
)

// loop tries until an attempt is finished or the budget is used up.
func (p *proxying) loop() error {
	for {
		err, how := p.attempt()
		if how == finished {
			return err
		}
		if p.in.Context().Err() != nil {
			return p.clientGone()
		}
		if !p.mayRetry(how) {
			return err
		}
		p.logRetry(how, err)
		if !p.pause() {
			return p.clientGone()
		}
		p.retries++
		if err := p.succeed(); err != nil {
			return err
		}
	}
}

// finish sets what is known when the handler ends (LIFE-4). It also runs when the handler panics.
func (p *proxying) finish() {
	p.spooled.close()
	if p.detached {
		return
	}
	p.ended = time.Now()
	p.informational.stop()
}

// clientGone ends a request whose client left: no error, no strike, status 499 for the log (ERR-2).
func (p *proxying) clientGone() error {
	p.w.WriteHeader(statusClientGone)
	return nil
}

var (
	errNoUpstream = errors.New("no upstreams available")
	errClientGone = errors.New("the client left")
)

// attempt is one trip: choose an upstream, claim it, send the request, relay the answer. The error is what the handler
// returns if this was the last attempt.
func (p *proxying) attempt() (error, outcome) { //nolint:revive // the outcome says what the error means
	p.beginAttempt()
	u, before := p.choose()
	if u == nil {
		return handlers.NewError(http.StatusServiceUnavailable, errNoUpstream), unavailable
	}
	defer p.depart()
	p.upstream, p.before = u, before
	if err := p.aim(u); err != nil {
		return handlers.NewError(http.StatusBadGateway, err), finished
	}
	if !p.literal {
		p.h.hosts.Enter(p.address.HostPort)
		p.counted = true
	}
	p.dress()
	p.logSelected(u)
	sent := time.Now()
	res, err := p.h.transport.RoundTrip(p.out)
	p.informational.stop()
	p.latency = time.Since(sent)
	p.logRoundTrip(u, res, err)
	p.visit.Done(res, err, p.latency, err != nil && (p.excused() || upstream.IsUnsupported(err)))
	if err != nil {
		return p.failed(err)
	}
	u.Host.Answered(res.StatusCode, sent, p.latency)
	p.sent = sent
	return p.answer(res)
}

// choose asks the policy until it gives an upstream that can be claimed. The claim decides, not the policy's look, so a
// burst never exceeds max_requests.
func (p *proxying) choose() (*selection.Upstream, int64) {
	p.choice = selection.Choice{Request: p.out, Upstreams: p.candidates(), Response: p.w.Header(), Exchange: p.x}
	for range maxClaims {
		i := p.h.policy.Select(&p.choice)
		if i < 0 {
			return nil, 0
		}
		u := p.choice.Upstreams[i]
		if before, ok := u.Host.Begin(u.MaxRequests); ok {
			if !u.Host.Drained() && p.visit.Enter(u.Watch, u.Blind) {
				return u, before
			}
			u.Host.End()
		}
	}
	return nil, 0
}

// maxClaims bounds how often a request may lose the race for an upstream's last place.
const maxClaims = 64

// failed sorts the error of a round trip.
func (p *proxying) failed(err error) (error, outcome) { //nolint:revive // as attempt
	if p.in.Context().Err() != nil {
		return p.clientGone(), finished
	}
	p.failure = err
	if !upstream.IsUnsupported(err) {
		p.upstream.Host.Unanswered()
	}
	how := broken
	if upstream.IsDialError(err) {
		how = undialled
	}
	return handlers.NewError(statusOf(err), err), how
}

// answer judges a response and relays it.
func (p *proxying) answer(res *http.Response) (error, outcome) { //nolint:revive // as attempt
	p.response, p.responseHeader = res, res.Header
	if p.h.responseBuffers != 0 && res.StatusCode != http.StatusSwitchingProtocols {
		if err := bufferResponse(res, p.h.responseBuffers); err != nil {
			res.Body.Close()
			if !p.excused() {
				p.visit.Strike()
			}
			return p.failed(err)
		}
	}
	if p.wantsRetry() {
		res.Body.Close()
		err := errors.New("the upstream answered " + res.Status + ", which retry_match does not want")
		return handlers.NewError(res.StatusCode, err), unwanted
	}
	return p.pass(res)
}

// statusOf is the status for a round trip that failed (section 16).
func statusOf(err error) int {
	if upstream.IsDialError(err) {
		return http.StatusBadGateway
	}
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.Canceled):
		return statusClientGone
	case errors.As(err, &timeout) && timeout.Timeout():
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}
