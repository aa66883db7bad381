package reverseproxy

import (
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/sluiceproxy/sluice/handlers"
)

// relay sends a response to the client, with a status that may be another than its own (RESP-12). Its error means that nothing was sent yet.
func (p *proxying) relay(res *http.Response, status int) error {
	if res.StatusCode == http.StatusSwitchingProtocols && status == http.StatusSwitchingProtocols {
		return p.switchProtocols(res)
	}
	res = restate(res, status)
	defer res.Body.Close()
	p.sendHeader(res, status)
	announced := len(res.Trailer)
	if announced > 0 {
		p.announce(res.Trailer)
		if p.in.ProtoMajor == 1 && p.in.ProtoMinor > 0 && p.in.Method != http.MethodHead {
			delete(p.w.Header(), "Content-Length") // in HTTP/1 only chunks have room for trailers
		}
	}
	p.body.answer()
	p.w.WriteHeader(status)
	if err := p.copyResponse(res); err != nil {
		p.abort(err)
	}
	if len(res.Trailer) > 0 {
		if err := p.sendTrailers(res.Trailer, announced); err != nil {
			p.abort(err)
		}
	}
	p.duration = time.Since(p.sent)
	return nil
}

// sendHeader adds the upstream's fields to those that earlier handlers have set (RESP-13).
func (p *proxying) sendHeader(res *http.Response, status int) {
	to := p.w.Header()
	delete(to, "Server")
	line := via(res.ProtoMajor, res.ProtoMinor)
	if prior := to["Via"]; prior != nil {
		to["Via"] = append(prior[:len(prior):len(prior)], line)
	} else {
		p.viaRoom[0] = line
		to["Via"] = p.viaRoom[:1:1]
	}
	from := res.Header
	if p.h.ops.down() {
		from = endToEnd(from, nil).fields
		p.h.ops.applyDown(p, status, from)
	} else if connection := from["Connection"]; connection != nil && !onlyKnown(connection) {
		from = endToEnd(from, nil).fields
	}
	for name, values := range from {
		if hopByHop(name) {
			continue
		}
		if prior := to[name]; prior != nil {
			to[name] = append(prior[:len(prior):len(prior)], values...)
		} else {
			to[name] = values[:len(values):len(values)]
		}
	}
}

// onlyKnown reports whether Connection lines name no fields but those that are dropped anyway.
func onlyKnown(lines []string) bool {
	if len(lines) > 1 {
		return false
	}
	switch lines[0] {
	case "keep-alive", "Keep-Alive", "close", "Close", "upgrade", "Upgrade":
		return true
	}
	return false
}

// announce names the trailers that are known in advance (RESP-16).
func (p *proxying) announce(trailer http.Header) {
	names := make([]string, 0, len(trailer))
	for name := range trailer {
		names = append(names, name)
	}
	p.w.Header().Add("Trailer", strings.Join(names, ", "))
}

// sendTrailers sends the trailers. The flush makes sure that the body was not sent with a length, which leaves no room
// for them.
func (p *proxying) sendTrailers(trailer http.Header, announced int) error {
	if err := http.NewResponseController(p.w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return writeError{err}
	}
	to := p.w.Header()
	prefix := ""
	if len(trailer) != announced { // some were not announced
		prefix = http.TrailerPrefix
	}
	for name, values := range trailer {
		if !httpguts.ValidTrailerHeader(name) { // one that frames or routes must not come late (RFC 9110 section 6.5.1)
			continue
		}
		for _, v := range values {
			to.Add(prefix+name, v)
		}
	}
	return nil
}

// copyResponse copies the body. A stream lets go of its generation first, so that an event stream of hours, or the rest of
// a long download, keeps no configuration in memory.
func (p *proxying) copyResponse(res *http.Response) error {
	if res.Body == http.NoBody || res.ContentLength == 0 {
		return nil
	}
	interval := p.flushIntervalFor(res)
	p.logCopied(res.ContentLength, interval)
	switch {
	case interval > 0 && p.in.ProtoMajor == 3:
		return copyHolding(p.w, res.Body, interval, p.x)
	case interval >= 0:
		return copyBody(p.w, res.Body, interval, p.x)
	}
	long := &longResponse{p: p, body: res.Body}
	defer long.done()
	return copyBody(p.w, long, interval, long)
}

// flushIntervalFor applies FLUSH-1.
func (p *proxying) flushIntervalFor(res *http.Response) time.Duration {
	if res.ContentLength < 0 && !p.h.traits.FlushesLate {
		return -1
	}
	if contentType := res.Header["Content-Type"]; len(contentType) > 0 && strings.HasPrefix(contentType[0], "text/e") {
		if media, _, _ := mime.ParseMediaType(contentType[0]); media == "text/event-stream" {
			return -1
		}
	}
	return p.h.flushInterval
}

// abort breaks the client's connection: the header is sent, so there is no other way to say that the rest is missing.
func (p *proxying) abort(err error) {
	p.log.Warn("aborting with incomplete response", zap.String("upstream", p.address.HostPort), zap.Error(err))
	panic(http.ErrAbortHandler)
}

func badGateway(text string) error {
	return handlers.NewError(http.StatusBadGateway, errors.New(text))
}
