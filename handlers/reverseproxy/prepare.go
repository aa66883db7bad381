package reverseproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"sync"

	"golang.org/x/net/http/httpguts"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/selection"
	"github.com/sluiceproxy/sluice/upstream"
)

// spareFields is how many fields prepare may add to a header: three X-Forwarded, Via, Te, Connection, Upgrade, Early-Data
// and Content-Length.
const spareFields = 9

// prepare makes the outgoing copy of the request (LIFE-1).
func (p *proxying) prepare() error {
	in := p.in
	if err := refuse(in); err != nil {
		return err
	}
	p.trace.Got1xxResponse = p.got1xx
	return p.copyRequest(httptrace.WithClientTrace(in.Context(), &p.trace), &p.location, p.room[:])
}

// copyRequest makes the outgoing copy, from nothing but the client's request and what was read of its body.
func (p *proxying) copyRequest(ctx context.Context, location *url.URL, room []string) error {
	in, before := p.in, p.out
	out := in.WithContext(ctx)
	p.out = out
	*location = *in.URL
	location.Scheme, location.Host, location.User, location.Opaque = "", "", nil, ""
	out.URL = location
	out.RequestURI, out.Close = "", false
	h := endToEnd(in.Header, room)
	out.Header = h.fields
	if err := p.translateConnect(); err != nil {
		return err
	}
	p.h.ops.rewriteCopy(p)
	if before != nil {
		out.Body, out.ContentLength = nil, before.ContentLength // each attempt has a body of its own
	} else if err := p.readBody(); err != nil {
		return err
	}
	if in.TLS != nil && !in.TLS.HandshakeComplete {
		h.set("Early-Data", "1")
	}
	p.keepUpgrade(&h)
	if httpguts.HeaderValuesContainsToken(in.Header["Te"], "trailers") {
		h.set("Te", "trailers")
	}
	trusted, _ := p.x.Var("trusted_proxy").(bool)
	p.h.forwarded(&h, out, trusted)
	if prior := out.Header["Via"]; prior != nil {
		out.Header["Via"] = append(prior, via(in.ProtoMajor, in.ProtoMinor))
	} else if !blocked(out.Header, "Via") {
		h.set("Via", via(in.ProtoMajor, in.ProtoMinor))
	}
	p.base = nil
	if p.h.ops.any() && p.h.retry.possible() {
		p.base, p.baseHost = out.Header, out.Host
	}
	return nil
}

// keepUpgrade restores what asks for another protocol after the hop-by-hop fields were removed (REQ-7, UP-13).
func (p *proxying) keepUpgrade(h *header) {
	if !p.extended {
		p.upgrade = lowerASCII(upgradeType(p.in.Header))
		if httpguts.HeaderValuesContainsToken(p.in.Header["Upgrade"], "h2c") {
			p.upgrade = "" // its requests would pass unseen; the upstream's HTTP/1.1 is as good (RFC 9113 section 3.1)
		}
	}
	if p.upgrade != "" {
		h.set("Connection", "Upgrade")
		h.set("Upgrade", p.upgrade)
	}
}

// readBody applies request_buffers and guards what is left of the body.
func (p *proxying) readBody() error {
	out := p.out
	if out.ContentLength == 0 || out.Body == nil || out.Body == http.NoBody {
		out.Body, out.ContentLength = nil, 0
		return nil
	}
	limit := p.h.requestBuffers
	if limit == 0 {
		p.body = &source{body: out.Body, done: p.in.Context().Done()}
		if wait := p.h.traits.ExpectContinue; wait > 0 && httpguts.HeaderValuesContainsToken(out.Header["Expect"], "100-continue") {
			p.body.wait = wait
		}
		return nil
	}
	head, whole, err := readAhead(out.Body, limit)
	if err != nil {
		if p.in.Context().Err() != nil {
			return errClientGone
		}
		return handlers.NewError(http.StatusBadGateway, fmt.Errorf("reading the request body into its buffer: %w", err))
	}
	if !whole && p.spools() {
		return p.spoolBody(head)
	}
	if !whole {
		p.body = &source{body: rest{io.MultiReader(bytes.NewReader(head), out.Body), out.Body}, done: p.in.Context().Done()}
		return nil
	}
	p.buffered, p.replay = head, true
	if p.in.ProtoMajor >= 2 || p.h.traits.NeedsLength {
		out.ContentLength = int64(len(head)) // HTTP/1.1 requests stay chunked (BUF-3)
	}
	return nil
}

// rest reads from one place and closes another.
type rest struct {
	io.Reader
	io.Closer
}

// readAhead reads up to limit bytes, all if it is negative. It reports whether that was the whole; a body of exactly
// limit bytes does not count as such (BUF-1). An error of the reader is an error in every case (BUF-5).
func readAhead(r io.Reader, limit int64) (head []byte, whole bool, err error) {
	if limit > 0 {
		r = io.LimitReader(r, limit)
	}
	head, err = io.ReadAll(r)
	if err != nil {
		return nil, false, err
	}
	return head, limit < 0 || int64(len(head)) < limit, nil
}

// bufferResponse applies response_buffers (BUF-6).
func bufferResponse(res *http.Response, limit int64) error {
	head, whole, err := readAhead(res.Body, limit)
	switch {
	case err != nil:
		return fmt.Errorf("reading the response body into its buffer: %w", err)
	case whole:
		res.Body = rest{bytes.NewReader(head), res.Body}
	default:
		res.Body = rest{io.MultiReader(bytes.NewReader(head), res.Body), res.Body}
	}
	return nil
}

// beginAttempt forgets the attempt before, so that nothing of its response is seen any more (LB-13, quirk 4). The transport
// may still be reading the request of that attempt, so another one takes its place.
func (p *proxying) beginAttempt() {
	p.placeholders = placeholders{retries: p.retries}
	if p.retries == 0 {
		return
	}
	location := *p.out.URL
	p.out = p.out.WithContext(p.out.Context())
	p.out.URL, p.out.Header = &location, maps.Clone(p.out.Header)
}

// aim points the outgoing copy at an upstream: dial address, URL, body.
func (p *proxying) aim(u *selection.Upstream) error {
	p.upstream = u
	a, literal, err := u.Address(p.x)
	if err != nil {
		return err
	}
	p.address, p.literal, p.aimed = a, literal, true
	p.out.URL.Scheme, p.out.URL.Host = "http", p.address.URLHost
	switch {
	case p.replay:
		p.out.Body = p.replayed()
		p.out.GetBody = p.getBody // for net/http, where a kept connection turns out to be closed
	case p.body != nil:
		p.out.Body = p.body.attempt()
	}
	return nil
}

func (p *proxying) getBody() (io.ReadCloser, error) { return p.replayed(), nil }

// replayed is the body that was read as a whole.
func (p *proxying) replayed() io.ReadCloser {
	if p.spooled != nil {
		return io.NopCloser(p.spooled.reader())
	}
	return io.NopCloser(bytes.NewReader(p.buffered))
}

// dress gives the attempt its header: the saved one, then the operations of the user (LIFE-2.5).
func (p *proxying) dress() {
	if p.base != nil {
		p.out.Header, p.out.Host = maps.Clone(p.base), p.baseHost
	}
	if p.h.traits.HostOfUpstream {
		p.out.Host = p.address.HostPort
	}
	p.h.ops.up(p)
	h := p.out.Header
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // else net/http sends one of its own (REQ-13)
	}
	if p.upgrade != "" {
		spellWebSocket(h)
	}
	if p.out.Host == "" && !isPlain(p.address) {
		p.out.Host = "localhost" // the URL's host is encoded and no name
	}
	p.informational.start()
}

func isPlain(a upstream.Address) bool { return a.URLHost == a.HostPort }

// informational relays 1xx responses while a round trip is under way (RESP-1). net/http calls it from its own goroutine.
type informational struct {
	mu     sync.Mutex
	active bool
	size   int // of all in this attempt
}

// maxInformational bounds the bytes of all informational responses before a final one.
const maxInformational = 1 << 20

var errInformational = errors.New("the upstream sent more than 1 MiB of informational responses")

// take counts one, and reports whether it may go to the client.
func (i *informational) take(status int, fields textproto.MIMEHeader) (bool, error) {
	i.size += len("HTTP/1.1 103 \r\n\r\n") + len(http.StatusText(status))
	for name, values := range fields {
		for _, v := range values {
			i.size += len(name) + len(v) + len(": \r\n")
		}
	}
	if i.size > maxInformational {
		return false, errInformational
	}
	return i.active, nil
}

func (i *informational) start() {
	i.mu.Lock()
	i.active, i.size = true, 0
	i.mu.Unlock()
}

func (i *informational) stop() {
	i.mu.Lock()
	i.active = false
	i.mu.Unlock()
}

// got1xx sends an informational response on, and leaves the header of the final one as it was.
func (p *proxying) got1xx(status int, fields textproto.MIMEHeader) error {
	i := &p.informational
	i.mu.Lock()
	defer i.mu.Unlock()
	if status == http.StatusContinue {
		p.body.release()
	}
	wanted, err := i.take(status, fields)
	if !wanted || err != nil || !p.in.ProtoAtLeast(1, 1) || p.extended { // HTTP/1.0 has none (RFC 9110 section 15.2)
		return err
	}
	h := p.w.Header()
	saved := maps.Clone(h)
	for name, values := range endToEnd(http.Header(fields), nil).fields {
		h[name] = append(h[name][:len(h[name]):len(h[name])], values...)
	}
	p.w.WriteHeader(status)
	clear(h)
	maps.Copy(h, saved)
	return nil
}
