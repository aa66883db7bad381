package server

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"

	"github.com/sluiceproxy/sluice/handlers"
)

// protocolField is where net/http keeps the pseudo field :protocol.
const protocolField = ":protocol"

// extendedWebSocket reports whether a request is an extended CONNECT for a
// WebSocket (RFC 8441), and makes it the handshake that it stands for, so that
// routes for WebSockets are the same for all versions of HTTP.
func extendedWebSocket(r *http.Request) bool {
	if r.Method != http.MethodConnect || r.ProtoMajor < 2 {
		return false
	}
	if p := r.Header[protocolField]; len(p) != 1 || p[0] != "websocket" {
		return false
	}
	delete(r.Header, protocolField)
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	r.Method = http.MethodGet
	r.Header["Connection"], r.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	r.Header["Sec-Websocket-Key"] = []string{base64.StdEncoding.EncodeToString(key[:])}
	return true
}

// connectWriter answers an extended CONNECT. To the client any 2xx means that
// the WebSocket is open, so what is no WebSocket is answered with 501.
type connectWriter struct {
	http.ResponseWriter
	exchange *handlers.Exchange
	done     bool
}

// Unwrap is for http.ResponseController.
func (c *connectWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (c *connectWriter) WriteHeader(status int) {
	if status >= 200 && status < 300 && !c.exchange.Joined {
		status = http.StatusNotImplemented
	}
	c.done = c.done || status >= 200
	c.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (c *connectWriter) Write(p []byte) (int, error) {
	if !c.done {
		c.WriteHeader(http.StatusOK)
	}
	return c.ResponseWriter.Write(p)
}

// finish answers where nobody has.
func (c *connectWriter) finish() {
	if !c.done {
		c.WriteHeader(http.StatusOK)
	}
}
