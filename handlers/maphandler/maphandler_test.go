package maphandler

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

func TestSpec(t *testing.T) { handlertest.CheckSpec(t, Spec()) }

// ask runs the maps for a request and returns what a text with their names
// becomes.
func ask(t testing.TB, maps, target, text string, lines ...string) string {
	t.Helper()
	var got string
	s := handlertest.New(t, `{"routes": [{"handle": [`+maps+`, {"handler": "f"}]}]}`, Spec(),
		handlertest.FuncSpec("f", func(_ http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			got = vars.Parse(text).Expand(handlers.Of(r), vars.Known, "")
			return nil
		}))
	s.Get(target, lines...)
	return got
}

const reference = `{"handler": "map", "source": "{http.request.uri.path}", "destinations": ["{a}", "{b}"], "mappings": [
	{"input": "/x", "outputs": ["{http.request.method}", null]},
	{"input_regexp": "^/x", "outputs": ["r", "from-re"]},
	{"input_regexp": "^/(y+)$", "outputs": ["re-$1-{http.request.method}", 7]}],
	"defaults": ["da", "db-{http.request.method}"]}`

func one(mapping string) string {
	return `{"handler": "map", "source": "{http.request.uri.path}", "destinations": ["{a}"], "mappings": [` + mapping + `]}`
}

func TestValues(t *testing.T) {
	for _, c := range []struct{ name, maps, target, text, want string }{
		{"an output that is null is skipped", reference, "/x", "{a} {b}", "GET from-re"},
		{"outputs of an expression are not expanded", reference, "/yy", "{a} {b}", "re-yy-{http.request.method} 7"},
		{"defaults", reference, "/z", "{a} {b}", "da db-GET"},
		{"no mapping and no default is known and empty", one(`{"input": "/x", "outputs": ["v"]}`), "/y", "[{a}]", "[]"},
		{"an input is the whole text", one(`{"input": "/x", "outputs": ["v"]}`), "/xx", "[{a}]", "[]"},
		{"an input has its case", one(`{"input": "/X", "outputs": ["v"]}`), "/x", "[{a}]", "[]"},
		{"an expression is not tied to the ends", one(`{"input_regexp": "b", "outputs": ["v"]}`), "/abc", "[{a}]", "[v]"},
		{"groups by name and in braces", one(`{"input_regexp": "/(?P<first>.)(.)", "outputs": ["${first}-$first-${2}x$2"]}`), "/ab", "[{a}]", "[a-a-bxb]"},
		{"a group that there is not", one(`{"input_regexp": "/(.)", "outputs": ["<$2$x>"]}`), "/ab", "[{a}]", "[<>]"},
		{"a dollar", one(`{"input_regexp": "/", "outputs": ["$$1"]}`), "/", "[{a}]", "[$1]"},
		{"the first that fits: expression before input", one(`{"input_regexp": "^/", "outputs": ["re"]}, {"input": "/x", "outputs": ["in"]}`), "/x", "{a}", "re"},
		{"the first that fits: input before expression", one(`{"input": "/x", "outputs": ["in"]}, {"input_regexp": "^/", "outputs": ["re"]}`), "/x", "{a}", "in"},
		{"numbers and bools", `{"handler": "map", "source": "x", "destinations": ["{a}", "{b}", "{c}"], "mappings": [{"input": "x", "outputs": [1.5, true, 1000000]}]}`, "/", "{a} {b} {c}", "1.5 true 1000000"},
		{"a list", one(`{"input": "/", "outputs": [["a", 1]]}`), "/", "{a}", "[a 1]"},
		{"the empty input", `{"handler": "map", "source": "{http.vars.none}", "destinations": ["{a}"], "mappings": [{"outputs": ["empty"]}]}`, "/", "{a}", "empty"},
		{"a map of nothing", `{"handler": "map"}`, "/", "[{a}]", "[{a}]"},
		{"a destination without its brace", `{"handler": "map", "destinations": ["{a"], "defaults": ["v"]}`, "/", "[{a}]", "[v]"},
		{"built-in names win", `{"handler": "map", "destinations": ["{http.request.method}"], "defaults": ["mine"]}`, "/", "{http.request.method}", "GET"},
		{"global names win", `{"handler": "map", "destinations": ["{system.slash}"], "defaults": ["mine"]}`, "/", "{system.slash}", "/"},
		{"a name that is not built in after all", `{"handler": "map", "destinations": ["{http.request.cookie.none}"], "defaults": ["mine"]}`, "/", "{http.request.cookie.none}", "mine"},
		{"the first of two maps wins", `{"handler": "map", "destinations": ["{a}"], "defaults": ["first"]}, {"handler": "map", "destinations": ["{a}", "{b}"], "defaults": ["second", "b"]}`, "/", "{a} {b}", "first b"},
		{"a map that uses another one", `{"handler": "map", "source": "{http.request.uri.path}", "destinations": ["{a}"], "mappings": [{"input": "/x", "outputs": ["ex"]}]},
			{"handler": "map", "source": "{a}", "destinations": ["{b}"], "mappings": [{"input": "ex", "outputs": ["{a}!"]}]}`, "/x", "{b}", "ex!"},
		{"a map that uses itself", `{"handler": "map", "source": "{a}", "destinations": ["{a}"], "defaults": ["<{a}>"]}`, "/", "{a}", "<>"},
		{"maps that use each other", `{"handler": "map", "source": "{b}", "destinations": ["{a}"], "defaults": ["a{b}{b}"]}, {"handler": "map", "source": "{a}", "destinations": ["{b}"], "defaults": ["b{a}{a}"]}`, "/", "{a}", "abb"},
		{"a map that runs twice", one(`{"input": "/", "outputs": ["v"]}`) + `, {"handler": "map", "destinations": ["{b}"], "defaults": ["{a}"]}`, "/", "{b}", "v"},
		{"the value as it came in is not scanned again", `{"handler": "map", "source": "{http.request.header.X}", "destinations": ["{a}"], "mappings": [{"input_regexp": "(.*)", "outputs": ["$1"]}]}`, "/", "{a}", "{http.request.method}$1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ask(t, c.maps, c.target, c.text, "X: {http.request.method}$1"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestLazy: the value is computed when it is used.
func TestLazy(t *testing.T) {
	var early, late, twice string
	s := handlertest.New(t, `{"routes": [{"handle": [`+one(`{"input_regexp": "(.*)", "outputs": ["$1"]}`)+`, {"handler": "f"}]}]}`, Spec(),
		handlertest.FuncSpec("f", func(_ http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			x := handlers.Of(r)
			early = vars.Parse("{a}").Expand(x, vars.All, "")
			r.URL.Path = "/later"
			late = vars.Parse("{a}").Expand(x, vars.All, "")
			x.Set("a", "set")
			twice = vars.Parse("{a}").Expand(x, vars.All, "")
			return nil
		}))
	s.Get("/first")
	if early != "/first" || late != "/later" || twice != "set" {
		t.Errorf("%q, %q, %q; want the path as it is at each use, and what was set before both", early, late, twice)
	}
}

func TestNilIsTyped(t *testing.T) {
	s := handlertest.New(t, `{"routes": [{"handle": [`+one(`{"input": "/x", "outputs": ["v"]}`)+`, {"handler": "f"}]}]}`, Spec(),
		handlertest.FuncSpec("f", func(_ http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			if v, known := handlers.Of(r).Lookup("a"); v != nil || !known {
				t.Errorf("without a default: %v, %v; want nil, known", v, known)
			}
			return nil
		}))
	s.Get("/y")
}

func TestProblems(t *testing.T) {
	for _, c := range []struct{ name, cfg, at string }{
		{"no brace", `"destinations": ["a"]`, "/destinations/0"},
		{"two braces", `"destinations": ["{ok}", "{{a}}"]`, "/destinations/1"},
		{"text behind a brace elsewhere", `"destinations": ["x{a}"]`, "/destinations/0"},
		{"an empty destination", `"destinations": [""]`, "/destinations/0"},
		{"too few defaults", `"destinations": ["{a}", "{b}"], "defaults": ["x"]`, "/defaults"},
		{"defaults without destinations", `"defaults": ["x"]`, "/defaults"},
		{"too few outputs", `"destinations": ["{a}", "{b}"], "mappings": [{"input": "x", "outputs": ["y"]}]`, "/mappings/0/outputs"},
		{"too many outputs", `"destinations": ["{a}"], "mappings": [{"input": "x", "outputs": ["y", null]}]`, "/mappings/0/outputs"},
		{"no outputs", `"destinations": ["{a}"], "mappings": [{"input": "x"}]`, "/mappings/0/outputs"},
		{"both inputs", `"destinations": ["{a}"], "mappings": [{"input": "x", "input_regexp": "y", "outputs": ["y"]}]`, "/mappings/0"},
		{"an input twice", `"destinations": ["{a}"], "mappings": [{"input": "x", "outputs": ["y"]}, {"input": "x", "outputs": ["z"]}]`, "/mappings/1/input"},
		{"the empty input twice", `"destinations": ["{a}"], "mappings": [{"outputs": ["y"]}, {"input": "", "outputs": ["z"]}]`, "/mappings/1/input"},
		{"an expression like an input", `"destinations": ["{a}"], "mappings": [{"input": "x", "outputs": ["y"]}, {"input_regexp": "x", "outputs": ["z"]}]`, "/mappings/1/input_regexp"},
		{"a bad expression", `"destinations": ["{a}"], "mappings": [{"input_regexp": "(", "outputs": ["y"]}]`, "/mappings/0/input_regexp"},
		{"an unknown field", `"destination": ["{a}"]`, "/destination"},
		{"braces without end", `"source": "` + strings.Repeat("{", 200) + `"`, "/source"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "map", `+c.cfg+`}]}]}`, Spec())
			if len(ps) != 1 || ps[0].Pointer != "/routes/0/handle/0"+c.at {
				t.Errorf("problems %v, want one at %s", ps, c.at)
			}
		})
	}
	ps := handlertest.Problems(t, `{"routes": [{"handle": [{"handler": "map", "destinations": ["a"], "defaults": ["1", "2"], "mappings": [{"input_regexp": "(", "outputs": [1]}, {"outputs": []}]}]}]}`, Spec())
	if len(ps) != 4 {
		t.Errorf("problems %v, want all four together", ps)
	}
}

// FuzzMap compares lookups with trying one mapping after the other.
func FuzzMap(f *testing.F) {
	f.Add("/x", "^/(.)", "$1", "/x", "{http.request.method}", byte(0))
	f.Add("", "", "", "", "", byte(1))
	f.Add("{a}", "(a)|b", "${1}{b}", "a", "{a}{b}", byte(2))
	f.Fuzz(func(t *testing.T, source, re, out, input, plain string, order byte) {
		mappings := []Mapping{{InputRegexp: re, Outputs: []any{out}}, {Input: input, Outputs: []any{plain}}}
		if order%2 == 1 {
			slices.Reverse(mappings)
		}
		cfg := &Config{Source: "{http.vars.source}", Destinations: []string{"{a}"}, Mappings: mappings, Defaults: []string{"{b}{a}"}}
		h, err := compile(nil, cfg)
		if err != nil {
			return
		}
		x := &handlers.Exchange{}
		r, _ := http.NewRequest("GET", "/", nil)
		r = x.Begin(r, nil)
		x.SetVar("source", source)
		next := handlers.NextFunc(func(_ http.ResponseWriter, r *http.Request) error {
			x := handlers.Of(r)
			got := fmt.Sprint(x.Lookup("a"))
			if want := fmt.Sprint(slow(h.(*handler), cfg, source, x), true); got != want {
				t.Errorf("%+v for %q: %q, want %q", cfg, source, got, want)
			}
			return nil
		})
		if err := h.ServeHTTP(nil, r, next); err != nil {
			t.Fatal(err)
		}
	})
}

func slow(h *handler, cfg *Config, source string, x *handlers.Exchange) any {
	v, _ := x.Lookup(self)
	s := v.(*scope)
	s.active = append(s.active, "a")
	defer func() { s.active = s.active[:len(s.active)-1] }()
	for i, m := range cfg.Mappings {
		if m.InputRegexp == "" {
			if m.Input == source {
				return vars.Parse(m.Outputs[0].(string)).Expand(x, vars.All, "")
			}
			continue
		}
		for _, p := range h.dests[0].patterns {
			if p.at == i {
				if found := p.re.FindStringSubmatchIndex(source); found != nil {
					return string(p.re.ExpandString(nil, p.text, source, found))
				}
			}
		}
	}
	return vars.Parse("{b}{a}").Expand(x, vars.All, "")
}

func BenchmarkLookup(b *testing.B) {
	var mappings []string
	for i := range 1000 {
		mappings = append(mappings, fmt.Sprintf(`{"input": "/%d", "outputs": ["%d"]}`, i, i))
	}
	s := handlertest.New(b, `{"routes": [{"handle": [`+one(strings.Join(mappings, ","))+`, {"handler": "f"}]}]}`, Spec(),
		handlertest.FuncSpec("f", func(_ http.ResponseWriter, r *http.Request, _ handlers.Next) error {
			if v, _ := handlers.Of(r).Lookup("a"); v != "999" {
				b.Fatal(v)
			}
			return nil
		}))
	r, _ := http.NewRequest("GET", "/999", nil)
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(nil, r)
	}
}
