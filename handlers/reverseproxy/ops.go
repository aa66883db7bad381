package reverseproxy

import (
	"errors"
	"net/http"

	"github.com/sluiceproxy/sluice/handlers/headerops"
	"github.com/sluiceproxy/sluice/handlers/match/respmatch"
	"github.com/sluiceproxy/sluice/handlers/rewriteops"
	"github.com/sluiceproxy/sluice/schema"
)

// Headers is the header operations of the proxy.
type Headers struct {
	// Request changes the header of what is sent to the upstream, for each attempt anew. Host is treated as a field.
	Request *headerops.Ops `json:"request"`
	// Response changes the header of the upstream's answer before it is added to the response.
	Response *ResponseHeaders `json:"response"`
}

// ResponseHeaders is the operations on an answer.
type ResponseHeaders struct {
	headerops.Ops
	// Require is the answers that are changed. Default: all.
	Require *respmatch.Config `json:"require"`
	// Deferred has no effect here: the operations always run when the answer is there.
	Deferred bool `json:"deferred"`
}

// operations is what a handler changes on the way up and down.
type operations struct {
	request  *headerops.Compiled
	response *headerops.Compiled
	rewrite  *rewriteops.Compiled
	require  *respmatch.Matcher // of the response operations; nil matches all
	method   bool               // rewrite has a method
}

func compileOperations(c *Config) (operations, schema.Problems) {
	var o operations
	var problems schema.Problems
	var err error
	if o.rewrite, err = rewriteops.Compile(c.Rewrite); err != nil {
		problems = append(problems, problemsUnder("/rewrite", err)...)
	}
	o.method = c.Rewrite != nil && c.Rewrite.Method != ""
	if c.Headers == nil {
		return o, problems
	}
	both := headerops.Options{AllowBoth: true} // REQ-17
	if o.request, err = headerops.Compile(c.Headers.Request, both); err != nil {
		problems = append(problems, problemsUnder("/headers/request", err)...)
	}
	if r := c.Headers.Response; r != nil {
		if o.response, err = headerops.Compile(&r.Ops, both); err != nil {
			problems = append(problems, problemsUnder("/headers/response", err)...)
		}
		o.require = respmatch.Compile(r.Require)
	}
	return o, problems
}

func problemsUnder(pointer string, err error) schema.Problems {
	var ps schema.Problems
	if errors.As(err, &ps) {
		return ps.Under(pointer)
	}
	return schema.Problems{{Pointer: pointer, Message: err.Error()}}
}

// any reports whether attempts change the outgoing header.
func (o *operations) any() bool { return o.request != nil }

// down reports whether answers are changed.
func (o *operations) down() bool { return o.response != nil }

// rewriteCopy applies rewrite to the outgoing copy (REQ-3). A method of GET or HEAD takes the body from it, which stays
// unread for later handlers (REQ-4).
func (o *operations) rewriteCopy(p *proxying) {
	if o.rewrite == nil {
		return
	}
	out := p.out
	shown := p.x.Request()
	p.x.SetRequest(out)
	changed := o.rewrite.Apply(out, p.x)
	p.x.SetRequest(shown)
	out.RequestURI = ""
	if changed && o.method && (out.Method == http.MethodGet || out.Method == http.MethodHead) {
		out.Body, out.ContentLength = nil, 0
	}
}

// up applies the operations to the outgoing copy (REQ-15, REQ-16).
func (o *operations) up(p *proxying) { o.request.ApplyToRequest(p.out, p.x) }

// applyDown applies the operations to an answer's header, if require matches it.
func (o *operations) applyDown(p *proxying, status int, h http.Header) {
	if o.require == nil || o.require.Match(status, h) {
		o.response.Apply(h, p.x)
	}
}
