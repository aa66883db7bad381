package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"time"
)

// TLS says how a listener speaks TLS.
type TLS struct {
	// Config is what handshakes begin with; its GetConfigForClient gives each the
	// one that holds now. Required.
	Config *tls.Config
	// RedirectLimit, if positive, answers a request in clear text with a redirect
	// to the same in TLS, instead of with 400, and reads so many bytes of it.
	RedirectLimit int64
	// Inside read what stands between TLS and HTTP, in their order.
	Inside []Opener
}

// Protocol names of ALPN (RFC 7301), and of the ACME challenge (RFC 8737).
const (
	alpnHTTP2 = "h2"
	alpnACME  = "acme-tls/1"
)

// secure does the handshake of a connection and serves what the two sides have
// agreed on. The header time-out bounds it.
func (s *Server) secure(c *conn, beginning []byte) {
	set := c.set.Load()
	if d := after(time.Now(), set.ReadHeaderTimeout, set.ReadTimeout); !d.IsZero() {
		_ = c.raw.SetDeadline(d)
	}
	under := &handshaking{opened: opened{Conn: c.raw, local: c.id.local, remote: c.id.remote, rest: beginning}, keep: set.TLS.RedirectLimit}
	t := tls.Server(under, set.TLS.Config)
	if err := t.HandshakeContext(context.Background()); err != nil {
		s.refuse(c, under, err)
		return
	}
	under.keep, under.seen = 0, nil
	_ = c.raw.SetDeadline(time.Time{})
	state := t.ConnectionState()
	if state.NegotiatedProtocol == alpnACME { // the handshake is all that there is to it
		_ = t.Close()
		_ = c.forceClose()
		return
	}
	next := &conn{raw: t, srv: s, id: c.id, tls: &state, h2: state.NegotiatedProtocol == alpnHTTP2}
	next.guard.protocols = Protocols{HTTP1: true}
	if len(set.TLS.Inside) > 0 {
		o, err := runOpeners(&opened{Conn: t, local: c.id.local, remote: c.id.remote}, set.TLS.Inside)
		if err != nil {
			s.unopened(c, err)
			return
		}
		c.id.local, c.id.remote, next.replay = o.local, o.remote, o.rest
	}
	s.succeed(c, next)
}

// refuse ends a connection whose handshake failed. Who spoke HTTP in clear text
// is told so.
func (s *Server) refuse(c *conn, under *handshaking, err error) {
	var clear tls.RecordHeaderError
	if errors.As(err, &clear) && clear.Conn != nil && looksLikeHTTP(clear.RecordHeader) {
		under.answer()
	} else if s.opt.ErrorLog != nil && !c.closed.Load() && !errors.Is(err, io.EOF) {
		s.opt.ErrorLog.Printf("http: TLS handshake error from %s: %v", c.id.remote, err)
	}
	_ = c.forceClose()
}

// looksLikeHTTP reports whether the first bytes of a connection begin a request.
func looksLikeHTTP(b [5]byte) bool {
	switch string(b[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		return true
	}
	return false
}

const clearTextAnswer = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"

// handshaking is a connection during its handshake. It can keep what it has
// read, since crypto/tls does not give that back.
type handshaking struct {
	opened
	keep int64 // so many bytes
	seen []byte
}

// Read implements io.Reader.
func (h *handshaking) Read(p []byte) (int, error) {
	n, err := h.opened.Read(p)
	if int64(len(h.seen)+n) <= h.keep {
		h.seen = append(h.seen, p[:n]...)
	}
	return n, err
}

// answer answers a request in clear text.
func (h *handshaking) answer() {
	text := clearTextAnswer
	if h.keep > 0 {
		rest := io.MultiReader(bytes.NewReader(h.seen), &h.opened)
		r, err := http.ReadRequest(bufio.NewReader(io.LimitReader(rest, h.keep)))
		if err == nil && r.Host != "" {
			text = "HTTP/1.0 308 Permanent Redirect\r\nLocation: https://" + r.Host + r.URL.RequestURI() +
				"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
		}
	}
	_, _ = io.WriteString(h.Conn, text) // a client that is gone needs no answer
}
