package server

import "net/http"

// ServeNamed lets benchmarks send a request to a server without a socket.
func (e *Engine) ServeNamed(name string, w http.ResponseWriter, r *http.Request) bool {
	p := e.pin()
	b := p.gen.root.app.servers[name]
	if b == nil {
		p.Release()
		return false
	}
	b.serve(w, r, p, e.opt.Globals, e.opt.Now())
	return true
}
