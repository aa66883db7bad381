package headerops

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

var scope = vars.Map{
	"name": "x-From-Var", "value": "val", "search": "b", "re": "b+", "badre": "b(", "star": "*", "prefix": "pre-*",
	"braces": "{value}", "host": "Host",
}

func mustCompile(t testing.TB, o Ops) *Compiled {
	t.Helper()
	c, err := Compile(&o, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type fields = map[string][]string

func TestApply(t *testing.T) {
	tests := []struct {
		name   string
		ops    Ops
		before http.Header
		want   http.Header
	}{
		{"add appends", Ops{Add: fields{"a": {"1", "2"}}}, http.Header{"A": {"0"}}, http.Header{"A": {"0", "1", "2"}}},
		{"add to none", Ops{Add: fields{"x-a": {"1"}}}, http.Header{}, http.Header{"X-A": {"1"}}},
		{"add nothing", Ops{Add: fields{"A": {}}}, http.Header{}, http.Header{}},
		{"set joins", Ops{Set: fields{"B": {"x", "y"}}}, http.Header{"B": {"0", "1"}}, http.Header{"B": {"x,y"}}},
		{"set joins expanded values", Ops{Set: fields{"B": {"{value}", "{no", "}"}}}, http.Header{}, http.Header{"B": {"val,{no,}"}}},
		{"set empty list", Ops{Set: fields{"B": {}}}, http.Header{"B": {"0"}}, http.Header{"B": {""}}},
		{"delete", Ops{Delete: []string{"gone"}}, http.Header{"Gone": {"1"}, "Gone2": {"1"}}, http.Header{"Gone2": {"1"}}},
		{"delete patterns", Ops{Delete: []string{"*-suffix", "pre-*", "*_*"}},
			http.Header{"Header-Suffix": {"1"}, "Pre-X": {"1"}, "A_b": {"1"}, "Keep": {"1"}, "Suffix-X": {"1"}, "X-Pre-": {"1"}},
			http.Header{"Keep": {"1"}, "Suffix-X": {"1"}, "X-Pre-": {"1"}}},
		{"delete of * comes first", Ops{Add: fields{"A": {"1"}}, Set: fields{"C": {"2"}}, Delete: []string{"*"}},
			http.Header{"B": {"1"}}, http.Header{"A": {"1"}, "C": {"2"}}},
		{"set then deleted", Ops{Set: fields{"A": {"1"}}, Delete: []string{"a"}}, http.Header{}, http.Header{}},
		{"added then set", Ops{Add: fields{"A": {"1"}}, Set: fields{"A": {"2"}}}, http.Header{}, http.Header{"A": {"2"}}},
		{"deleted then replaced", Ops{Delete: []string{"A"}, Replace: map[string][]Replacement{"A": {{Search: "1", Replace: "2"}}}},
			http.Header{"A": {"1"}}, http.Header{}},
		{"set then replaced", Ops{Set: fields{"A": {"1"}}, Replace: map[string][]Replacement{"a": {{Search: "1", Replace: "2"}}}},
			http.Header{}, http.Header{"A": {"2"}}},
		{"placeholders", Ops{Set: fields{"{name}": {"<{value}>"}}, Delete: []string{"{prefix}"}}, http.Header{"Pre-1": {"1"}},
			http.Header{"X-From-Var": {"<val>"}}},
		{"unknown placeholders stay", Ops{Set: fields{"X-{nope}": {"{nope}"}}, Add: fields{"Y": {"{nope}"}}}, http.Header{},
			http.Header{"X-{nope}": {"{nope}"}, "Y": {"{nope}"}}},
		{"inserted text is not expanded", Ops{Set: fields{"A": {"{braces}"}}}, http.Header{}, http.Header{"A": {"{value}"}}},
		{"expanded * deletes nothing", Ops{Delete: []string{"{star}"}}, http.Header{"A": {"1"}}, http.Header{"A": {"1"}}},
		{"replace text", Ops{Replace: map[string][]Replacement{"A": {{Search: "b", Replace: "-"}}}},
			http.Header{"A": {"abba", "x"}, "B": {"b"}}, http.Header{"A": {"a--a", "x"}, "B": {"b"}}},
		{"replace in all", Ops{Replace: map[string][]Replacement{"*": {{Search: "b", Replace: "-"}}}},
			http.Header{"A": {"abba"}, "B": {"b"}}, http.Header{"A": {"a--a"}, "B": {"-"}}},
		{"replacements follow each other", Ops{Replace: map[string][]Replacement{"A": {{Search: "a", Replace: "b"}, {Search: "b", Replace: "c"}}}},
			http.Header{"A": {"ab"}}, http.Header{"A": {"cc"}}},
		{"replace in absent field", Ops{Replace: map[string][]Replacement{"A": {{Search: "", Replace: "b"}}}}, http.Header{}, http.Header{}},
		{"regexp with groups", Ops{Replace: map[string][]Replacement{"A": {{SearchRegexp: "(a)(b)", Replace: "$2${1}"}}}},
			http.Header{"A": {"xab"}}, http.Header{"A": {"xba"}}}, // {1} is no known placeholder and stays
		{"replace placeholders", Ops{Replace: map[string][]Replacement{"{name}": {{Search: "{search}", Replace: "{value}"}}}},
			http.Header{"X-From-Var": {"abc"}}, http.Header{"X-From-Var": {"avalc"}}},
		{"dynamic regexp", Ops{Replace: map[string][]Replacement{"A": {{SearchRegexp: "{re}$", Replace: "-"}}}},
			http.Header{"A": {"abbb"}}, http.Header{"A": {"a-"}}},
		{"invalid dynamic regexp is skipped", Ops{Replace: map[string][]Replacement{"A": {{SearchRegexp: "{badre}", Replace: "-"}, {Search: "a", Replace: "c"}}}},
			http.Header{"A": {"abbb"}}, http.Header{"A": {"cbbb"}}},
		{"quantifier", Ops{Replace: map[string][]Replacement{"A": {{SearchRegexp: "a{2}", Replace: "-"}}}},
			http.Header{"A": {"aaaaa"}}, http.Header{"A": {"--a"}}},
		{"neither search", Ops{Replace: map[string][]Replacement{"A": {{Replace: "-"}}}},
			http.Header{"A": {"ab"}}, http.Header{"A": {"-a-b-"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := mustCompile(t, tt.ops)
			before := tt.before.Clone()
			shared := map[string][]string{}
			for k, v := range tt.before {
				shared[k] = v
			}
			for range 2 { // compiled once, applied often
				h := http.Header{}
				for k, v := range shared {
					h[k] = v
				}
				c.Apply(h, scope)
				if !reflect.DeepEqual(h, tt.want) {
					t.Errorf("got %v, want %v", h, tt.want)
				}
			}
			if !reflect.DeepEqual(http.Header(shared), before) {
				t.Errorf("values were changed in place: %v", shared)
			}
		})
	}
}

func TestApplyToRequest(t *testing.T) {
	tests := []struct {
		name string
		ops  Ops
		host string
	}{
		{"set", Ops{Set: fields{"Host": {"b.test"}}}, "b.test"},
		{"set in another case", Ops{Set: fields{"hOST": {"b.test:1"}}}, "b.test:1"},
		{"set by placeholder", Ops{Set: fields{"{host}": {"{value}"}}}, "val"},
		{"add", Ops{Add: fields{"Host": {"b.test", "c.test"}}}, "c.test"},
		{"replace", Ops{Replace: map[string][]Replacement{"Host": {{Search: "a.", Replace: "z."}}}}, "z.test"},
		{"replace in all", Ops{Replace: map[string][]Replacement{"*": {{SearchRegexp: "^a", Replace: "y"}}}}, "y.test"},
		{"delete", Ops{Delete: []string{"host"}}, ""},
		{"delete all", Ops{Add: fields{"A": {"1"}}, Delete: []string{"*"}}, ""},
		{"delete by prefix", Ops{Delete: []string{"ho*"}}, ""},
		{"delete by placeholder", Ops{Delete: []string{"{host}"}}, ""},
		{"other fields", Ops{Set: fields{"A": {"b.test"}}, Delete: []string{"b*"}}, "a.test"},
		{"other field by placeholder", Ops{Set: fields{"{name}": {"1"}}}, "a.test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := mustCompile(t, tt.ops)
			for _, own := range [][]string{nil, {"literal"}} {
				r := httptest.NewRequest("GET", "/", nil)
				r.Host = "a.test"
				if own != nil {
					r.Header["Host"] = own
				}
				c.ApplyToRequest(r, scope)
				if r.Host != tt.host {
					t.Errorf("host = %q, want %q", r.Host, tt.host)
				}
				if got := r.Header["Host"]; !reflect.DeepEqual(got, own) {
					t.Errorf("literal Host entry = %v, want %v", got, own)
				}
			}
		})
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = http.Header{"B": {"1"}}
	mustCompile(t, Ops{Add: fields{"A": {"1"}}, Delete: []string{"*"}}).ApplyToRequest(r, scope)
	if want := (http.Header{"A": {"1"}}); !reflect.DeepEqual(r.Header, want) {
		t.Errorf("header = %v, want %v", r.Header, want)
	}
}

func TestCompileProblems(t *testing.T) {
	both := Replacement{Search: "a", SearchRegexp: "b"}
	tests := []struct {
		name    string
		ops     Ops
		opts    Options
		pointer string
	}{
		{"both searches", Ops{Replace: map[string][]Replacement{"A/b": {{}, both}}}, Options{}, "/replace/A~1b/1/search_regexp"},
		{"bad regexp", Ops{Replace: map[string][]Replacement{"A": {{SearchRegexp: "("}}}}, Options{}, "/replace/A/0/search_regexp"},
		{"bad regexp with empty braces", Ops{Replace: map[string][]Replacement{"A": {{SearchRegexp: "({}"}}}}, Options{}, "/replace/A/0/search_regexp"},
		{"bad regexp where both are allowed", Ops{Replace: map[string][]Replacement{"A": {{Search: "x", SearchRegexp: "("}}}}, Options{AllowBoth: true}, "/replace/A/0/search_regexp"},
	}
	for _, tt := range tests {
		c, err := Compile(&tt.ops, tt.opts)
		var ps schema.Problems
		if !errors.As(err, &ps) || len(ps) != 1 || ps[0].Pointer != tt.pointer || c != nil {
			t.Errorf("%s: %v, %v; want a problem at %s", tt.name, c, err, tt.pointer)
		}
	}
	bad := map[string][]Replacement{"A": {both, {SearchRegexp: "("}}, "B": {both}}
	if _, err := Compile(&Ops{Replace: bad}, Options{}); len(err.(schema.Problems)) != 3 {
		t.Errorf("not all problems are reported: %v", err)
	}
	c, err := Compile(&Ops{Replace: map[string][]Replacement{"A": {both}}}, Options{AllowBoth: true})
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{"A": {"ab"}}
	if c.Apply(h, scope); h.Get("A") != "a" {
		t.Errorf("A = %q; where both are given the regular expression counts", h.Get("A"))
	}
}

func TestNothingToDo(t *testing.T) {
	for _, o := range []*Ops{nil, {}, {Add: fields{}}} {
		c, err := Compile(o, Options{})
		if c != nil || err != nil {
			t.Errorf("Compile(%v) = %v, %v", o, c, err)
		}
		c.Apply(http.Header{}, scope)
		c.ApplyToRequest(httptest.NewRequest("GET", "/", nil), scope)
	}
}

func TestDynamicRegexpFollowsItsPlaceholder(t *testing.T) {
	c := mustCompile(t, Ops{Replace: map[string][]Replacement{"A": {{SearchRegexp: "{p}", Replace: "-"}}}})
	for p, want := range map[string]string{"a": "-bc", "[bc]": "a--", "(": "abc"} {
		h := http.Header{"A": {"abc"}}
		c.Apply(h, vars.Map{"p": p})
		if h.Get("A") != want {
			t.Errorf("with %q: %q, want %q", p, h.Get("A"), want)
		}
	}
}

func TestSetAllocatesOnlyTheEntry(t *testing.T) {
	c := mustCompile(t, Ops{Set: fields{"X-A": {"1"}}})
	h := http.Header{}
	if n := testing.AllocsPerRun(100, func() { c.Apply(h, scope) }); n > 1 {
		t.Errorf("%v allocations, want the value slice only", n)
	}
	r := httptest.NewRequest("GET", "/", nil)
	if n := testing.AllocsPerRun(100, func() { c.ApplyToRequest(r, scope) }); n > 1 {
		t.Errorf("%v allocations for a request, want the value slice only", n)
	}
}

func BenchmarkSetOne(b *testing.B) {
	c := mustCompile(b, Ops{Set: fields{"X-A": {"1"}}})
	h := http.Header{}
	b.ReportAllocs()
	for b.Loop() {
		c.Apply(h, scope)
	}
}

func TestPatternIgnoresCase(t *testing.T) {
	for text, names := range map[string]string{
		"x-*": "X-A x-b", "*-ID": "Request-Id", "*oo*": "Foo fOo oo", "same": "Same", "**": "Any",
	} {
		p := patternOf(text)
		for name := range strings.SplitSeq(names, " ") {
			if !p.matches(name) {
				t.Errorf("%s does not match %s", text, name)
			}
		}
		if p.matches("") && text != "**" {
			t.Errorf("%s matches nothing at all", text)
		}
	}
}
