package reverseproxy

import (
	"errors"
	"net/http"

	"golang.org/x/net/http/httpguts"

	"github.com/sluiceproxy/sluice/handlers"
)

var (
	errConnect = errors.New("a reverse proxy opens no tunnels: the method CONNECT is not passed on")
	errHost    = errors.New("the host of the request has characters that no host has")
)

// refuse finds what the next server may take for something else than we do. What is wrong with a request for whoever
// answers it, the server has refused already.
func refuse(r *http.Request) error {
	switch {
	case r.Method == http.MethodConnect && r.Header[protocolField] == nil:
		// To whom it is passed on it would be a request for a tunnel, after which what we take for requests is none.
		return handlers.NewError(http.StatusMethodNotAllowed, errConnect)
	case !httpguts.ValidHostHeader(r.Host):
		// Handlers may have made it of what the client says. net/http sends what comes before the first space or slash:
		// another host than the one that routes have seen.
		return handlers.NewError(http.StatusBadRequest, errHost)
	}
	return nil
}
