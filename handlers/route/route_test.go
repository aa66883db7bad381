package route

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/urlpath"
)

// names matches hosts exactly or by a leading "*." label.
type names []string

func (n names) Match(r *http.Request) (bool, error) {
	host := strings.ToLower(urlpath.Host(r.Host))
	return slices.ContainsFunc(n, func(p string) bool {
		if rest, ok := strings.CutPrefix(p, "*."); ok {
			i := strings.IndexByte(host, '.')
			return i >= 0 && host[i+1:] == rest
		}
		return p == host
	}), nil
}

func (n names) Hosts() ([]string, bool) { return n, true }

// under matches paths exactly, or by a trailing "*".
type under []string

func (u under) Match(r *http.Request) (bool, error) {
	path := strings.ToLower(r.URL.Path)
	return slices.ContainsFunc(u, func(p string) bool {
		if prefix, ok := strings.CutSuffix(p, "*"); ok {
			return strings.HasPrefix(path, prefix)
		}
		return p == path
	}), nil
}

func (u under) Paths() (out []handlers.PathPattern, complete bool) {
	for _, p := range u {
		prefix, ok := strings.CutSuffix(p, "*")
		out = append(out, handlers.PathPattern{Text: prefix, Prefix: ok})
	}
	return out, true
}

type method string

func (m method) Match(r *http.Request) (bool, error) { return r.Method == string(m), nil }

// add appends to the X header and goes on.
func add(v string) handlers.Handler {
	return handlers.HandlerFunc(func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
		w.Header().Add("X", v)
		return next.ServeHTTP(w, r)
	})
}

func body(text string) handlers.Handler {
	return handlers.HandlerFunc(func(w http.ResponseWriter, _ *http.Request, _ handlers.Next) error {
		_, err := w.Write([]byte(text))
		return err
	})
}

func sub(l *List) handlers.Handler {
	return handlers.HandlerFunc(func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
		return l.Serve(w, r, next)
	})
}

func rt(hs ...handlers.Handler) *Route {
	return &Route{handlers: hs, names: make([]string, len(hs)), nodes: make([]*config.Node, len(hs)), keys: keysOf(nil)}
}

func (r *Route) on(sets ...matcherSet) *Route { r.sets, r.keys = sets, keysOf(sets); return r }
func (r *Route) end() *Route                  { r.terminal = true; return r }
func (r *Route) in(group string) *Route       { r.group = group; return r }

func run(l *List, r *http.Request) (*httptest.ResponseRecorder, error) {
	rec := httptest.NewRecorder()
	x := &handlers.Exchange{}
	r = x.Begin(r, nil)
	return rec, l.Serve(rec, r, handlers.Next{})
}

// TestEvaluationExamples is the table of the routing rules.
func TestEvaluationExamples(t *testing.T) {
	for _, c := range []struct {
		name   string
		routes []*Route
		path   string
		header string
		body   string
	}{
		{"first handler answers", []*Route{rt(body("a"), body("b")), rt(body("c"))}, "/", "", "a"},
		{"a group runs once", []*Route{rt(add("1")).in("g"), rt(add("2")).in("g"), rt(body("z"))}, "/", "1", "z"},
		{"terminal ends the list", []*Route{rt(add("1")).end(), rt(body("z"))}, "/", "1", ""},
		{"terminal that does not match", []*Route{rt(body("t")).on(matcherSet{under{"/t"}}).end(), rt(body("z"))}, "/", "", "z"},
		{"next called after a nested list", []*Route{rt(sub(NewList(rt(add("in")))), add("after")), rt(body("p"))}, "/", "in,after", "p"},
		{"terminal inside a subroute ends all", []*Route{rt(sub(NewList(rt(add("in")).end())), add("after")), rt(body("p"))}, "/", "in", ""},
		{"groups are request-wide", []*Route{rt(add("1")).in("g"), rt(sub(NewList(rt(add("2")).in("g"), rt(add("3"))))), rt(body("p"))}, "/", "1,3", "p"},
		{"an empty route goes on", []*Route{rt(), rt(body("p"))}, "/", "", "p"},
		{"sets are alternatives", []*Route{rt(body("m")).on(matcherSet{method("PUT")}, matcherSet{under{"/b"}}), rt(body("z"))}, "/b", "", "m"},
	} {
		rec, err := run(NewList(c.routes...), httptest.NewRequest("GET", c.path, nil))
		if got := strings.Join(rec.Header()["X"], ","); err != nil || got != c.header || rec.Body.String() != c.body {
			t.Errorf("%s: X %q body %q err %v, want X %q body %q", c.name, got, rec.Body, err, c.header, c.body)
		}
	}
}

func TestChangedHostOrPathIsLookedUpAgain(t *testing.T) {
	rewrite := handlers.HandlerFunc(func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
		r.URL.Path, r.Host = "/new", "other.test"
		return next.ServeHTTP(w, r)
	})
	l := NewList(
		rt(rewrite).on(matcherSet{names{"a.test"}, under{"/old"}}),
		rt(body("old")).on(matcherSet{names{"a.test"}}),
		rt(body("new")).on(matcherSet{names{"other.test"}, under{"/new"}}))
	rec, err := run(l, httptest.NewRequest("GET", "http://a.test/old", nil))
	if err != nil || rec.Body.String() != "new" {
		t.Errorf("got %q, %v", rec.Body, err)
	}
}

func TestNextTwiceRunsTheRestTwice(t *testing.T) {
	twice := handlers.HandlerFunc(func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
		return errors.Join(next.ServeHTTP(w, r), next.ServeHTTP(w, r))
	})
	rec, err := run(NewList(rt(twice), rt(add("n"), body("p"))), httptest.NewRequest("GET", "/", nil))
	if err != nil || rec.Body.String() != "pp" || len(rec.Header()["X"]) != 2 {
		t.Errorf("body %q, X %q, %v", rec.Body, rec.Header()["X"], err)
	}
}

// TestGoroutineThatOutlivesTheCursor: it gets its own request's position or an
// error, never another request's.
func TestGoroutineThatOutlivesTheCursor(t *testing.T) {
	var wg sync.WaitGroup
	release := make(chan struct{})
	late := make(chan error, 10)
	stray := handlers.HandlerFunc(func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
		wg.Go(func() {
			<-release
			late <- next.ServeHTTP(httptest.NewRecorder(), r)
		})
		return nil
	})
	mark := handlers.HandlerFunc(func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		return errors.New("late " + r.URL.Path)
	})
	l := NewList(rt(stray).on(matcherSet{under{"/stray"}}), rt(mark).on(matcherSet{under{"/stray"}}), rt(body("fine")))
	if _, err := run(l, httptest.NewRequest("GET", "/stray", nil)); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if rec, err := run(l, httptest.NewRequest("GET", "/x", nil)); err != nil || rec.Body.String() != "fine" {
			t.Fatalf("%v %q", err, rec.Body)
		}
	}
	close(release)
	wg.Wait()
	if err := <-late; err == nil || err.Error() != "late /stray" {
		t.Errorf("the late call got %v", err)
	}
}

func TestReleasedExchangeRefusesNext(t *testing.T) {
	var got error
	h := handlers.HandlerFunc(func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
		x := handlers.Of(r)
		for _, c := range x.Chains {
			c.Drop()
		}
		got = next.ServeHTTP(w, r)
		return nil
	})
	if _, err := run(NewList(rt(h, body("no"))), httptest.NewRequest("GET", "/", nil)); err != nil || !errors.Is(got, handlers.ErrOver) {
		t.Errorf("next after release: %v", got)
	}
}

func TestEndlessNestingIsAnError(t *testing.T) {
	var l *List
	l = NewList(rt(handlers.HandlerFunc(func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
		return l.Serve(w, r, next)
	})))
	if _, err := run(l, httptest.NewRequest("GET", "/", nil)); err == nil || !strings.Contains(err.Error(), "nested too deeply") {
		t.Errorf("err %v", err)
	}
	var many []*Route
	for range 500 {
		many = append(many, rt(sub(NewList(rt()))))
	}
	if rec, err := run(NewList(append(many, rt(body("end")))...), httptest.NewRequest("GET", "/", nil)); err != nil || rec.Body.String() != "end" {
		t.Errorf("500 subroutes one after the other: %v", err)
	}
}

// TestIndexAgainstLoop compares random lists, changed at random, with trying
// every route in order.
func TestIndexAgainstLoop(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for round := range 60 {
		var model []module.Item[*Route]
		var l *List
		next := int64(0)
		for step := range 20 {
			d := module.Delta[*Route]{Reset: l == nil}
			for range r.IntN(20) {
				if len(model) > 0 && r.IntN(3) == 0 {
					i := r.IntN(len(model))
					d.Removed = append(d.Removed, model[i])
					model = slices.Delete(model, i, i+1)
				}
			}
			for range r.IntN(30) {
				next++
				it := module.Item[*Route]{Label: next * (1 - 2*int64(r.IntN(2))), Value: randomRoute(r, fmt.Sprint(next))}
				d.Added = append(d.Added, it)
				model = append(model, it)
			}
			l = l.update(d)
			slices.SortFunc(model, func(a, b module.Item[*Route]) int { return int(a.Label - b.Label) })
			if l.Len() != len(model) {
				t.Fatalf("round %d step %d: length %d, want %d", round, step, l.Len(), len(model))
			}
			for range 30 {
				compareWithLoop(t, r, l, model)
			}
		}
	}
}

func randomRoute(r *rand.Rand, name string) *Route {
	route := rt(add(name))
	var sets []matcherSet
	for range r.IntN(3) {
		var s matcherSet
		if r.IntN(2) == 0 {
			s = append(s, names{[]string{"a.test", "b.test", "*.test", "x.a.test", "*.a.test"}[r.IntN(5)], "z.test"}[:1+r.IntN(2)])
		}
		if r.IntN(2) == 0 {
			s = append(s, under{[]string{"/", "/*", "/a", "/a/*", "/a/b*", "/a/b/c"}[r.IntN(6)], "/zz"}[:1+r.IntN(2)])
		}
		if r.IntN(4) == 0 {
			s = append(s, method("GET"))
		}
		sets = append(sets, s)
	}
	route.on(sets...)
	route.terminal = r.IntN(12) == 0
	return route
}

func compareWithLoop(t *testing.T, r *rand.Rand, l *List, model []module.Item[*Route]) {
	t.Helper()
	host := []string{"a.test", "B.test:80", "x.a.test", "q.test", "y.x.a.test", "z.test"}[r.IntN(6)]
	path := []string{"/", "/a", "/A/", "/a/b", "/a/b/c", "/a/bc", "/zz"}[r.IntN(7)]
	req := httptest.NewRequest([]string{"GET", "PUT"}[r.IntN(2)], path, nil)
	req.Host = host
	var want []string
	for _, it := range model {
		if ok, _ := it.Value.Match(req); ok {
			rec := httptest.NewRecorder()
			_ = it.Value.handlers[0].ServeHTTP(rec, req, handlers.Next{})
			want = append(want, rec.Header().Get("X"))
			if it.Value.terminal {
				break
			}
		}
	}
	rec, err := run(l, req)
	if got := rec.Header()["X"]; err != nil || !slices.Equal(got, want) {
		t.Fatalf("%s %s%s ran %v, want %v (%v)", req.Method, host, path, got, want, err)
	}
}

func BenchmarkServeAmong10k(b *testing.B) {
	for _, kind := range []string{"hosts", "paths"} {
		var routes []*Route
		for i := range 10_000 {
			m := matcherSet{under{fmt.Sprintf("/svc%d/*", i)}}
			if kind == "hosts" {
				m = matcherSet{names{fmt.Sprintf("app%d.test", i)}, under{"/api/*"}}
			}
			routes = append(routes, rt(body("x")).on(m).end())
		}
		l := NewList(routes...)
		for _, i := range []int{0, 9999} {
			b.Run(fmt.Sprintf("%s/%d", kind, i), func(b *testing.B) {
				path := "/api/x"
				if kind == "paths" {
					path = fmt.Sprintf("/svc%d/x", i)
				}
				req := httptest.NewRequest("GET", path, nil)
				req.Host = fmt.Sprintf("app%d.test", i)
				w := discard{}
				x := &handlers.Exchange{}
				req = x.Begin(req, nil)
				b.ReportAllocs()
				for b.Loop() {
					x.Chains = x.Chains[:0]
					if err := l.Serve(w, req, handlers.Next{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

type discard struct{}

func (discard) Header() http.Header         { return nil }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

// Two routes that are laid over a list run behind the last route that names a host, and at the end; the list stays as it was.
func TestOverlays(t *testing.T) {
	host := func(h string) *Route { return rt(add(h)).on(matcherSet{names{h}}) }
	for _, tt := range []struct {
		routes []*Route
		want   string // for a.test
	}{
		{nil, "< >"},
		{[]*Route{rt(add("1"))}, "< 1 >"},
		{[]*Route{host("a.test")}, "a.test < >"},
		{[]*Route{host("a.test"), rt(add("1"))}, "a.test < 1 >"},
		{[]*Route{rt(add("1")), host("b.test"), rt(add("2"))}, "1 < 2 >"},
		{[]*Route{rt(add("1")), host("*.x.test"), rt(add("2")), host("a.test"), rt(add("3")), rt(add("4"))}, "1 2 a.test < 3 4 >"},
	} {
		l := NewList(tt.routes...)
		laid := l.Overlaid(rt(add("<")), rt(add(">")))
		plain := strings.NewReplacer("< ", "", ">", "").Replace(tt.want)
		for of, want := range map[*List]string{laid: tt.want, l: strings.TrimSpace(plain)} {
			rec, err := run(of, httptest.NewRequest("GET", "http://a.test/", nil))
			if got := strings.Join(rec.Header()["X"], " "); err != nil || got != want {
				t.Errorf("%d routes: %q, %v; want %q", len(tt.routes), got, err, want)
			}
		}
	}
	var none *List
	rec, err := run(none.Overlaid(rt(add("<")), rt(add(">"))), httptest.NewRequest("GET", "/", nil))
	if got := strings.Join(rec.Header()["X"], " "); err != nil || got != "< >" {
		t.Errorf("over nothing: %q, %v", got, err)
	}
	many := make([]*Route, 40)
	for i := range many {
		many[i] = rt(add("p")).on(matcherSet{names{"a.test"}, under{fmt.Sprint("/", i)}})
	}
	rec, err = run(NewList(append(many, rt(add("end")))...).Overlaid(rt(add("<")), rt(add(">"))), httptest.NewRequest("GET", "http://a.test/7", nil))
	if got := strings.Join(rec.Header()["X"], " "); err != nil || got != "p < end >" {
		t.Errorf("over a split host: %q, %v", got, err)
	}
}
