// Package http2connect makes net/http serve the extended CONNECT of HTTP/2 (RFC 8441), by which a WebSocket runs over one
// stream of a connection that is there already.
//
// net/http and golang.org/x/net/http2 serve it only if GODEBUG has http2xconnect=1 when they are initialised; there is
// neither a field nor a go:debug line for it. So this package puts it there while it is initialised itself. Go initialises
// packages in the order of their import paths as soon as what they import is initialised (language specification,
// "Program initialization"), and this one needs nothing but os and strings, so its turn comes before theirs in every
// program that it is linked into. Import it where HTTP is served or spoken.
package http2connect

import (
	"os"
	"strings"
)

const (
	variable = "GODEBUG"
	setting  = "http2xconnect="
)

// Enabled reports whether extended CONNECT is served. It is, unless the operator's own GODEBUG has http2xconnect=0.
var Enabled = enable()

func enable() bool {
	value, ok := wanted(os.Getenv(variable))
	if !ok {
		// It cannot fail: name and value have neither NUL nor "=" where they must not.
		_ = os.Setenv(variable, value)
		return true
	}
	return strings.Contains(value, setting+"1") // as net/http looks for it
}

// wanted returns the value that GODEBUG should have, and whether it is the one that it has: what the operator says about
// the setting stays.
func wanted(value string) (string, bool) {
	switch {
	case strings.Contains(value, setting):
		return value, true
	case value == "":
		return setting + "1", false
	}
	return value + "," + setting + "1", false
}
