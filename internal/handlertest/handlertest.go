// Package handlertest runs handler modules in tests as a server would, without
// its sockets and logs.
package handlertest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"go.uber.org/zap"
)

// Site is a server made of routes, error routes and named routes. It is an
// http.Handler and, for its requests, a handlers.Server.
type Site struct {
	// Errors gets each error that the chain returned, and then that of the error
	// routes if they failed too. It may be nil. Set it before the first request.
	Errors func(first, second error)
	// Exchanges gets each exchange when its request is done. It may be nil.
	Exchanges func(*handlers.Exchange)

	routes, errors *route.List
	named          map[string]*route.Route
	warnings       schema.Problems
}

type siteConfig struct {
	Routes module.Ref[*route.List] `json:"routes" module:"=http.routes"`
	Errors struct {
		Routes module.Ref[*route.List] `json:"routes" module:"=http.routes"`
	} `json:"errors"`
	Named map[string]module.Ref[*route.Route] `json:"named_routes" module:"=http.route"`
}

// New builds a site from a JSON object with the keys routes, errors and
// named_routes, as those of a server.
func New(t testing.TB, doc string, specs ...module.Spec) *Site {
	t.Helper()
	s, problems := build(t, doc, specs)
	if len(problems) > 0 {
		t.Fatalf("%s: %v", doc, problems)
	}
	return s
}

// Problems builds a site that must not load and returns why, pointers relative
// to the document.
func Problems(t testing.TB, doc string, specs ...module.Spec) schema.Problems {
	t.Helper()
	_, problems := build(t, doc, specs)
	return problems
}

// CheckSpec builds every example of the first spec, and fails for one that does
// not load or warns.
func CheckSpec(t *testing.T, specs ...module.Spec) {
	t.Helper()
	if specs[0].Summary == "" || len(specs[0].Examples) == 0 {
		t.Errorf("%s lacks a summary or an example", specs[0].ID)
	}
	for _, e := range specs[0].Examples {
		s, problems := build(t, `{"routes": [{"handle": [`+e.JSON+`]}]}`, specs)
		if len(problems) > 0 {
			t.Errorf("example %q: %v", e.Title, problems)
		} else if len(s.warnings) > 0 {
			t.Errorf("example %q warns: %v", e.Title, s.warnings)
		}
	}
}

// Warnings is what the build warned of.
func (s *Site) Warnings() schema.Problems { return s.warnings }

func build(t testing.TB, doc string, specs []module.Spec) (*Site, schema.Problems) {
	t.Helper()
	root := module.New("site", "A site.", nil, func(_ *module.Env, c *siteConfig) (*Site, error) {
		s := &Site{routes: c.Routes.Value(), errors: c.Errors.Routes.Value(), named: map[string]*route.Route{}}
		for name, r := range c.Named {
			s.named[name] = r.Value()
		}
		return s, nil
	})
	all := append([]module.Spec{root}, route.Specs()...)
	table, err := module.NewTable(append(all, specs...), nil)
	if err != nil {
		t.Fatal(err)
	}
	node, _, err := config.Parse([]byte(doc), config.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	b := &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Globals: vars.NewGlobal()}}
	res := b.Build(nil, "site", node, module.Options{})
	if len(res.Problems) > 0 {
		return nil, res.Problems
	}
	s := res.Root.Value().(*Site)
	s.warnings = res.Warnings
	return s, nil
}

// ServeHTTP runs the routes, and the error routes if they fail.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rw := handlers.NewResponseWriter(w)
	end := handlers.NextFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	x := &handlers.Exchange{Server: s, Start: time.Now(), Response: rw, Globals: vars.NewGlobal(), End: end}
	r = x.Begin(r, nil)
	if s.Exchanges != nil {
		defer s.Exchanges(x)
	}
	if err := s.routes.Serve(rw, r, end); err != nil {
		s.fail(rw, r, x, err)
	}
}

func (s *Site) fail(w http.ResponseWriter, r *http.Request, x *handlers.Exchange, err error) {
	r = x.Restore(r)
	x.Fail(err)
	x.End = handlers.NextFunc(handlers.ErrorEnd)
	second := s.errors.Serve(w, r, x.End)
	if second != nil {
		x.Fail(handlers.Answer(err, second))
		_ = handlers.ErrorEnd(w, r)
	}
	if s.Errors != nil {
		s.Errors(err, second)
	}
}

// Get sends a GET through the site, with header lines as "Name: value".
func (s *Site) Get(target string, lines ...string) *httptest.ResponseRecorder {
	return s.Do("GET", target, lines...)
}

// Do sends a request through the site.
func (s *Site) Do(method, target string, lines ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Add(name, value)
	}
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r)
	return rec
}

// Name implements handlers.Server.
func (s *Site) Name() string { return "test" }

// NamedRoute implements handlers.Server.
func (s *Site) NamedRoute(name string, w http.ResponseWriter, r *http.Request, next handlers.Next) (bool, error) {
	n := s.named[name]
	if n == nil {
		return false, nil
	}
	return true, n.Serve(w, r, next)
}

// LogCredentials implements handlers.Server.
func (s *Site) LogCredentials() bool { return false }

// Logger implements handlers.Server.
func (s *Site) Logger(string) *zap.Logger { return zap.NewNop() }

// ShutdownAt implements handlers.Server.
func (s *Site) ShutdownAt() time.Time { return time.Time{} }

// ErrHandler is returned by the handler of FailSpec.
var ErrHandler = errors.New("failed on purpose")

// FailSpec describes a handler "fail" whose error has no status.
func FailSpec() module.Spec {
	return module.New("http.handlers.fail", "Fails.", nil, func(*module.Env, *struct{}) (handlers.Handler, error) {
		return handlers.HandlerFunc(func(http.ResponseWriter, *http.Request, handlers.Next) error { return ErrHandler }), nil
	})
}

// FuncSpec describes a handler with the module name that is f.
func FuncSpec(name string, f handlers.HandlerFunc) module.Spec {
	return module.New("http.handlers."+name, "Calls a function.", nil, func(*module.Env, *struct{}) (handlers.Handler, error) { return f, nil })
}
