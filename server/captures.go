package server

import (
	"net/http"

	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"github.com/sluiceproxy/sluice/server/wire"
)

// captures is the placeholders {tls.regexp.*} of a request: what a matcher
// sni_regexp found in the name of its handshake.
type captures struct {
	policies *handshake.Policies
	request  *http.Request
}

// Lookup implements vars.Scope.
func (c captures) Lookup(name string) (any, bool) {
	client := handshake.Client{ServerName: c.request.TLS.ServerName}
	if conn := wire.FromContext(c.request.Context()); conn != nil {
		client.Remote, client.Local = conn.RemoteAddr(), conn.LocalAddr()
	}
	value, known := c.policies.Capture(client, name)
	return value, known
}
