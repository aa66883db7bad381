package server

import "net/http"

// ServeNamed lets benchmarks send a request to a server without a socket.
func (e *Engine) ServeNamed(name string, w http.ResponseWriter, r *http.Request) bool {
	return e.serveNamed(name, w, r)
}
