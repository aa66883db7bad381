package route

import (
	"net/http"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/match/respmatch"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

// ResponseConfig is what to do with some of the responses that a handler gets
// from further on.
type ResponseConfig struct {
	// Match says which responses are meant. Default: all.
	Match *respmatch.Config `json:"match,omitempty"`
	// StatusCode replaces the status of the response; it may hold placeholders.
	// It is for entries without routes. Default: the status stays.
	StatusCode module.WeakString `json:"status_code,omitempty"`
	// Routes run instead of passing the response on.
	Routes module.Ref[*List] `json:"routes,omitempty" module:"=http.routes"`
}

// Response is a compiled ResponseConfig.
type Response struct {
	// Index is its place in the list.
	Index int
	// HasStatus reports whether there is a status; Status is it.
	HasStatus bool
	Status    vars.Text
	// HasRoutes reports whether there are routes, be it none in a list.
	HasRoutes bool
	Routes    *List

	match *respmatch.Matcher
}

// Responses is a list of them, of which the first that matches is taken. It is
// immutable and safe for concurrent use.
type Responses []Response

// CompileResponses prepares a list.
func CompileResponses(list []ResponseConfig) Responses {
	out := make(Responses, len(list))
	for i := range list {
		c := &list[i]
		out[i] = Response{
			Index:     i,
			HasStatus: c.StatusCode != "", Status: vars.Parse(string(c.StatusCode)),
			HasRoutes: c.Routes.Set(), Routes: c.Routes.Value(),
			match: respmatch.Compile(c.Match),
		}
	}
	return out
}

// Find returns the first entry for a response, nil if there is none.
func (rs Responses) Find(status int, h http.Header) *Response {
	for i := range rs {
		if rs[i].match.Match(status, h) {
			return &rs[i]
		}
	}
	return nil
}

// StatusFor is the status to send for an exchange. Without one of its own, or
// with 0, the original stays; what is not a final status becomes 500.
func (r *Response) StatusFor(x *handlers.Exchange, original int) int {
	if !r.HasStatus {
		return original
	}
	text := r.Status.Expand(x, vars.All, "")
	if text == "" {
		return original
	}
	n := 0
	for _, c := range []byte(text) {
		if c < '0' || c > '9' || n > 999 {
			return http.StatusInternalServerError
		}
		n = n*10 + int(c-'0')
	}
	if n == 0 {
		return original
	}
	if n < 200 || n > 999 {
		return http.StatusInternalServerError
	}
	return n
}
