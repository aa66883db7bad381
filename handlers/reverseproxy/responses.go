package reverseproxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// pass relays a response, or does with it what the first entry of handle_response says that matches it (RESP-6).
func (p *proxying) pass(res *http.Response) (error, outcome) { //nolint:revive // as attempt
	entry := p.h.responses.Find(res.StatusCode, res.Header)
	if entry == nil {
		return p.relay(res, res.StatusCode), finished
	}
	if e := p.log.Check(zap.DebugLevel, "handling response"); e != nil {
		e.Write(zap.Int("handler", entry.Index), zap.Int("status", res.StatusCode), zap.Bool("routes", !entry.HasStatus))
	}
	if !entry.HasStatus {
		return p.interrupt(entry, res), finished
	}
	status, err := p.newStatus(entry.Status, res.StatusCode)
	if err != nil { // it counts like a failed round trip (RESP-9)
		res.Body.Close()
		p.visit.Strike()
		return handlers.NewError(http.StatusInternalServerError, err), broken
	}
	return p.relay(res, status), finished
}

// newStatus is the status that replaces the original one, which 0 leaves alone (RESP-7).
func (p *proxying) newStatus(t vars.Text, original int) (int, error) {
	text := t.Expand(p.x, vars.All, "")
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n != 0 && (n < 200 || n > 999):
		return 0, fmt.Errorf("handle_response: status_code %q is not a status; want 200 to 999, or 0 for the one of the upstream", text)
	case n == 0:
		return original, nil
	}
	return n, nil
}

// interrupt runs routes with the client's request instead of relaying the response. What follows them is what follows the
// proxy (RESP-8).
func (p *proxying) interrupt(entry *route.Response, res *http.Response) error {
	i := &interrupted{p: p, res: res}
	outer := p.x.Upstream
	p.x.Upstream = i
	defer func() {
		p.x.Upstream = outer
		i.end()
		i.settle()
	}()
	p.handBack()
	next := handlers.NextFunc(func(w http.ResponseWriter, r *http.Request) error {
		// The upstream is not needed any more, and what follows may take long.
		i.end()
		p.leaveEarly()
		p.x.Upstream = outer
		defer func() { p.x.Upstream = i }()
		return p.next.ServeHTTP(w, r)
	})
	return entry.Routes.Serve(p.w, p.in, next)
}

// handBack gives the client's request its body again: all of it if it was buffered, otherwise what no attempt has begun to
// read. A part of it would be taken for the whole.
func (p *proxying) handBack() {
	switch {
	case p.replay:
		p.in.Body = p.replayed()
	case p.body != nil:
		p.in.Body = p.body.attempt()
	}
}

// interrupted is a response that routes have instead of the client.
type interrupted struct {
	p      *proxying
	res    *http.Response
	header http.Header
	ended  bool // its body is somebody else's, or closed
	// discarded is closed when the body was read to no end; nil if it is not.
	discarded chan struct{}
}

var errEnded = errors.New("the response of the upstream was copied already, or is over")

// Header implements [handlers.UpstreamResponse] (quirk 29).
func (i *interrupted) Header() http.Header {
	if i.header == nil {
		i.header = endToEnd(i.res.Header, nil).fields
		delete(i.header, "Content-Length")
	}
	return i.header
}

// Copy implements [handlers.UpstreamResponse] (CR-1).
func (i *interrupted) Copy(w http.ResponseWriter, _ *http.Request, status int) error {
	if i.ended {
		return handlers.NewError(http.StatusInternalServerError, errEnded)
	}
	i.ended = true
	if status == 0 {
		status = i.res.StatusCode
	}
	p := i.p
	outer := p.w
	p.w = w
	defer func() { p.w = outer }()
	return p.relay(i.res, status)
}

const (
	// maxDiscard is how many bytes of a body are read to no end, so that its connection can be used again.
	maxDiscard = 16 << 10
	// settling is how long the end of a request waits for that.
	settling = 20 * time.Millisecond
)

// end closes the response if nobody has copied it. A short body is read to its end meanwhile.
func (i *interrupted) end() {
	if i.ended {
		return
	}
	i.ended = true
	res := i.res
	if res.StatusCode == http.StatusSwitchingProtocols || res.Body == http.NoBody || res.ContentLength == 0 || res.ContentLength > maxDiscard {
		res.Body.Close()
		return
	}
	i.discarded = make(chan struct{})
	go func() {
		defer close(i.discarded)
		_, _ = io.CopyN(io.Discard, res.Body, maxDiscard+1)
		res.Body.Close()
	}()
}

// settle waits a little for the body, which breaks off with the request, and with it the connection.
func (i *interrupted) settle() {
	if i.discarded == nil {
		return
	}
	timer := time.NewTimer(settling)
	defer timer.Stop()
	select {
	case <-i.discarded:
	case <-timer.C:
	}
}

// withoutBody reports whether a status has no body in any response.
func withoutBody(status int) bool {
	return status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
}

// restate adapts a response to the status that it gets instead of its own, where only one of the two has a body.
func restate(res *http.Response, status int) *http.Response {
	if status == res.StatusCode || withoutBody(status) == withoutBody(res.StatusCode) {
		return res
	}
	changed := *res
	if res.Body != http.NoBody {
		res.Body.Close()
	}
	changed.Body, changed.ContentLength, changed.Trailer = http.NoBody, 0, nil
	changed.Header = endToEnd(res.Header, nil).fields
	delete(changed.Header, "Content-Length")
	return &changed
}
