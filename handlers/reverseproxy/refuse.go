package reverseproxy

import (
	"errors"
	"net/http"
	"strconv"

	"golang.org/x/net/http/httpguts"

	"github.com/sluiceproxy/sluice/handlers"
)

var (
	errConnect = errors.New("a reverse proxy opens no tunnels: the method CONNECT is not passed on")
	errPreface = errors.New("the method PRI begins an HTTP/2 connection and is no request")
	errHost    = errors.New("the host of the request has characters that no host has")
	errLength  = errors.New("the Content-Length of the request is not that of its body")
)

// refuse finds what the server lets through and another server may take for something else than we do.
func refuse(r *http.Request) error {
	switch {
	case r.Method == http.MethodConnect && r.Header[protocolField] == nil:
		// To whom it is passed on it would be a request for a tunnel, after which what we take for requests is none.
		return handlers.NewError(http.StatusMethodNotAllowed, errConnect)
	case r.Method == "PRI":
		return handlers.NewError(http.StatusBadRequest, errPreface)
	case !httpguts.ValidHostHeader(r.Host):
		// net/http checks it in HTTP/1 only, and sends what comes before the first space or slash: another host than the one
		// that routes have seen.
		return handlers.NewError(http.StatusBadRequest, errHost)
	case r.ProtoMajor >= 2 && !lengthHolds(r):
		return handlers.NewError(http.StatusBadRequest, errLength)
	}
	return nil
}

// lengthHolds reports whether the Content-Length lines of an HTTP/2 request are what net/http took from them. It takes
// what is no number for 0 and looks at the first line only (RFC 9113 section 8.1.1).
func lengthHolds(r *http.Request) bool {
	for _, line := range r.Header["Content-Length"] {
		if line == "" {
			return false
		}
		for i := range len(line) {
			if line[i] < '0' || line[i] > '9' {
				return false
			}
		}
		if n, err := strconv.ParseInt(line, 10, 64); err != nil || n != r.ContentLength {
			return false
		}
	}
	return true
}
