package mirror

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"sync"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/upstream"
)

// copied is a request that is to be sent to another server, too.
type copied struct {
	method  string
	url     url.URL
	host    string
	header  http.Header
	body    []byte
	address upstream.Address
}

// copyOf copies all of a request but its body.
func (h *handler) copyOf(r *http.Request) (*copied, error) {
	x := handlers.Of(r)
	address, err := h.pick(x)
	if err != nil {
		return nil, err
	}
	c := &copied{method: r.Method, url: *r.URL, host: r.Host, address: address, header: endToEnd(r.Header)}
	c.url.Scheme, c.url.Host, c.url.User, c.url.Opaque = "http", address.URLHost, nil, ""
	c.forwarded(r, x)
	return c, nil
}

var hopByHop = [...]string{"Alt-Svc", "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Content-Length"}

// endToEnd copies the fields that are not about the client's connection.
func endToEnd(from http.Header) http.Header {
	h := make(http.Header, len(from)+5)
	maps.Copy(h, from) // nobody changes a list of values in place
	for _, line := range from["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // else net/http sends one of its own
	}
	return h
}

// forwarded says whom the request came from, as a proxy does: what a peer says of itself counts only if it is trusted.
func (c *copied) forwarded(r *http.Request, x *handlers.Exchange) {
	_, trusted := x.ClientIP()
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	chain := strings.Join(c.header["X-Forwarded-For"], ", ")
	switch {
	case err != nil:
		delete(c.header, "X-Forwarded-For")
	case trusted && chain != "":
		c.header.Set("X-Forwarded-For", chain+", "+peer)
	default:
		c.header.Set("X-Forwarded-For", peer)
	}
	if !trusted || c.header.Get("X-Forwarded-Proto") == "" {
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		c.header.Set("X-Forwarded-Proto", scheme)
	}
	if !trusted || c.header.Get("X-Forwarded-Host") == "" {
		c.header.Set("X-Forwarded-Host", r.Host)
	}
	c.header["Via"] = append(c.header["Via"][:len(c.header["Via"]):len(c.header["Via"])], via(r))
}

func via(r *http.Request) string {
	if r.ProtoMajor == 1 {
		return "1." + string(rune('0'+r.ProtoMinor)) + " sluice"
	}
	return string(rune('0'+r.ProtoMajor)) + ".0 sluice"
}

// tee is a body that is copied while it is read. The copy is sent when the whole is there.
type tee struct {
	body    io.ReadCloser
	handler *handler
	length  int64 // -1 if it is not known

	mu   sync.Mutex // who reads may do so beyond the end of the handler
	copy *copied    // nil when it was sent or given up
}

// Read implements io.Reader.
func (t *tee) Read(p []byte) (int, error) {
	n, err := t.body.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.copy == nil {
		return n, err
	}
	if n > 0 {
		t.add(p[:n])
	}
	switch {
	case err == nil || t.copy == nil:
	case err == io.EOF:
		t.handler.sender.put(t.copy)
		t.copy = nil
	default:
		t.giveUp(skippedIncomplete)
	}
	return n, err
}

// add copies a part of the body. The caller holds t.mu.
func (t *tee) add(p []byte) {
	h, c := t.handler, t.copy
	switch {
	case int64(len(c.body)+len(p)) > h.maxBody:
		t.giveUp(skippedLarge)
	case !h.copies.hold(len(p)):
		t.giveUp(skippedBusy)
	default:
		c.body = append(c.body, p...)
	}
}

// giveUp makes no copy of the request. The caller holds t.mu.
func (t *tee) giveUp(o outcome) {
	t.handler.copies.free(len(t.copy.body))
	t.handler.copies.count(o)
	t.copy = nil
}

// Close implements io.Closer.
func (t *tee) Close() error { return t.body.Close() }

// end is called when the handlers that follow are done. What they have not read is not there to be copied, but for a body
// that was read up to its length, whose end nobody has looked for.
func (t *tee) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.copy == nil:
	case int64(len(t.copy.body)) == t.length:
		t.handler.sender.put(t.copy)
		t.copy = nil
	default:
		t.giveUp(skippedIncomplete)
	}
}
