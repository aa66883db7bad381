package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

// include executes a file and returns what it prints.
func (p *program) include(name string, args ...any) (string, error) {
	inner, err := p.current.include(name, args)
	if err != nil {
		return "", err
	}
	text, err := inner.readFile(name)
	if err != nil {
		return "", err
	}
	return p.engine.inline(name, text, inner)
}

// inline executes a text for what includes it.
func (e *Engine) inline(name, text string, c *Context) (string, error) {
	var b strings.Builder
	if err := e.execute(&limited{out: &b, context: c}, name, text, c, c); err != nil {
		return "", err
	}
	return b.String(), nil
}

// imports adds the definitions of a file to the template that is executed.
func (p *program) imports(name string) (string, error) {
	inner, err := p.current.include(name, nil)
	if err != nil {
		return "", err
	}
	text, err := inner.readFile(name)
	if err != nil {
		return "", err
	}
	q, err := p.engine.program(name, text)
	if err != nil {
		return "", err
	}
	defer p.engine.done(q)
	trees := treesOf(q.template)
	definitions := make([]*tree, 0, len(trees))
	for _, t := range trees {
		if t.name != name { // what is outside of definitions is not for anyone
			definitions = append(definitions, t)
		}
	}
	p.changed = true
	return "", p.add(definitions, "")
}

// Includer is a server that can answer a request which one of its handlers
// makes, in the generation that this one is served by. See handlers.Exchange for
// the server of a request.
type Includer interface {
	// Include answers r, with routes, error routes and access log like a request
	// from outside. The context of r is that of the request which is being served.
	Include(w http.ResponseWriter, r *http.Request)
}

const (
	// maxHTTPIncludes is how deep requests for inclusion may be nested.
	maxHTTPIncludes = 3
	// includeHeader tells the included page how deep it is.
	includeHeader = "Caddy-Templates-Include"
	// includePeer is where requests for inclusion seem to come from.
	includePeer = "127.0.0.1:10000"
)

// levelKey is where a context has the number of requests for inclusion around
// it. The header is not asked, since a client may send it.
type levelKey struct{}

// aboutPart is the fields of a request for a part of a page, or for a page only
// if it is new. An included page is needed as a whole.
var aboutPart = []string{"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
	"Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Connection", "Upgrade", "Expect", "Te", "Trailer"}

// httpInclude executes what the server answers to a GET.
func (p *program) httpInclude(uri string) (string, error) {
	c, err := p.current.include(uri, nil)
	if err != nil {
		return "", err
	}
	server, ok := c.exchange.Server.(Includer)
	if !ok {
		return "", fmt.Errorf("including %s: the server can no longer be asked", uri)
	}
	level, _ := c.ctx.Value(levelKey{}).(int)
	if level++; level > maxHTTPIncludes {
		return "", fmt.Errorf("including %s: requests for inclusion are nested more than %d deep", uri, maxHTTPIncludes)
	}
	r, err := http.NewRequestWithContext(context.WithValue(c.ctx, levelKey{}, level), http.MethodGet, uri, nil)
	if err != nil {
		return "", fmt.Errorf("including %s: %w", uri, err)
	}
	r.Host, r.RemoteAddr, r.RequestURI, r.TLS = c.Req.Host, includePeer, uri, c.Req.TLS
	r.Body = http.NoBody
	r.Header = c.Req.Header.Clone()
	for _, name := range aboutPart {
		r.Header.Del(name)
	}
	r.Header.Set(includeHeader, strconv.Itoa(level))
	r.Header.Set("Accept-Encoding", "identity")
	var answer recorder
	server.Include(&answer, r)
	if err := answer.failure(); err != nil {
		return "", fmt.Errorf("including %s: %w", uri, err)
	}
	return p.engine.inline(uri, answer.body.String(), c)
}

// recorder keeps the answer to a request for inclusion.
type recorder struct {
	header  http.Header
	status  int
	body    strings.Builder
	tooLong bool
}

// Header implements http.ResponseWriter.
func (a *recorder) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

// WriteHeader keeps the first final status.
func (a *recorder) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
}

// Write implements io.Writer.
func (a *recorder) Write(b []byte) (int, error) {
	if a.body.Len()+len(b) > MaxText {
		a.tooLong = true
		return 0, errText
	}
	return a.body.Write(b)
}

func (a *recorder) failure() error {
	switch {
	case a.status >= 400:
		return fmt.Errorf("the answer has status %d", a.status)
	case a.tooLong:
		return fmt.Errorf("the answer has more than %d bytes", MaxText)
	}
	return nil
}

// maybe calls a plugged-in function if there is one of the name.
func (p *program) maybe(name string, args ...any) (any, error) {
	f, ok := p.engine.plugged[name]
	if !ok {
		p.current.warn("template function could not be found; ignoring invocation", zap.String("name", name))
		return "", nil
	}
	return call(name, reflect.ValueOf(f), args)
}

var errorType = reflect.TypeFor[error]()

// call calls a function of a template.FuncMap.
func call(name string, f reflect.Value, args []any) (any, error) {
	t := f.Type()
	fixed := t.NumIn()
	if t.IsVariadic() {
		fixed--
	}
	if len(args) < fixed || (len(args) > fixed && !t.IsVariadic()) {
		return nil, fmt.Errorf("calling %s: wrong number of arguments: it wants %d and got %d", name, fixed, len(args))
	}
	in := make([]reflect.Value, len(args))
	for i, a := range args {
		want := t.In(min(i, t.NumIn()-1))
		if i >= fixed {
			want = want.Elem()
		}
		v := reflect.ValueOf(a)
		switch {
		case !v.IsValid():
			v = reflect.Zero(want)
		case v.Type().AssignableTo(want):
		case v.CanConvert(want) && want.Kind() != reflect.String:
			v = v.Convert(want)
		default:
			return nil, fmt.Errorf("calling %s: argument %d is a %s and should be a %s", name, i+1, v.Type(), want)
		}
		in[i] = v
	}
	out := f.Call(in)
	if n := len(out); n == 0 || n > 2 {
		return nil, errors.New("calling " + name + ": it must return one value, and an error if it likes")
	}
	if len(out) == 2 && t.Out(1).Implements(errorType) && !out[1].IsNil() {
		return nil, out[1].Interface().(error)
	}
	return out[0].Interface(), nil
}
