package authentication

import (
	"maps"
	"net/http"
)

// maxReply is how much of a provider's answer is kept, in bytes.
const maxReply = 1 << 20

// reply is what one of several providers answers, until it is clear whose answer
// counts.
type reply struct {
	header http.Header
	status int
	body   []byte
}

// Header implements http.ResponseWriter.
func (p *reply) Header() http.Header { return p.header }

// WriteHeader keeps the first final status.
func (p *reply) WriteHeader(status int) {
	if p.status == 0 && status >= 200 {
		p.status = status
	}
}

// Write keeps the beginning of the body.
func (p *reply) Write(b []byte) (int, error) {
	if p.status == 0 {
		p.status = http.StatusOK
	}
	room := maxReply - len(p.body)
	p.body = append(p.body, b[:min(len(b), room)]...)
	return len(b), nil
}

func (p *reply) copyHeader(w http.ResponseWriter) { maps.Copy(w.Header(), p.header) }

// replay sends what providers that all refuse have answered: a redirect if there
// is one, and reports that it did; else only the header of the first that set
// one.
func replay(all []*reply, w http.ResponseWriter) bool {
	for _, p := range all {
		if p.status >= 300 && p.status < 400 {
			p.copyHeader(w)
			w.WriteHeader(p.status)
			_, _ = w.Write(p.body)
			return true
		}
	}
	for _, p := range all {
		if len(p.header) > 0 {
			p.header.Del("Content-Length") // of a body that is not sent
			p.copyHeader(w)
			break
		}
	}
	return false
}
