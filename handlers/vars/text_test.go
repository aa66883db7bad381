package vars

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestTable holds the rows of the table in section 8.1.
func TestTable(t *testing.T) {
	known := Map{"known": "v", "1": "w", "http.request.method": "GET", "e": "", "n": nil, "brace": "{1}"}
	same := "\x00same"
	for _, c := range []struct{ text, all, known string }{
		{"", same, same},
		{"plain", same, same},
		{"{", same, same},
		{"foo{", same, same},
		{"foo{bar", same, same},
		{"}", same, same},
		{"{{", same, same},
		{`\{`, "{", "{"},
		{`\}`, "}", "}"},
		{"foo{bar}", "foo", "foo{bar}"},
		{`foo\{bar\}`, "foo{bar}", "foo{bar}"},
		{"{}", "", "{}"},
		{"{{}", "", "{{}"},
		{`{"json": "object"}`, "", same},
		{`\{"json": "object"}`, `{"json": "object"}`, `{"json": "object"}`},
		{`\{"json": "object{bar}"\}`, `{"json": "object"}`, `{"json": "object{bar}"}`},
		{`\{"a": \{"b": "{bar}"\}\}`, `{"a": {"b": ""}}`, `{"a": {"b": "{bar}"}}`},
		{`{"json": "object"\}`, "", `{"json": "object"}`},
		{`<{"json": "object"\}>`, `<{"json": "object"}>`, `<{"json": "object"}>`},
		{`in {with \} brace} name`, "in  name", "in {with } brace} name"},
		{`\\}`, `\}`, `\}`},
		{`back\slash`, same, same},
		{`a\\b`, same, same},
		{"{te{known}{1}", "w", "{tevw"},
		{"[{http.request.header.{http.request.method}}]", "[}]", "[{http.request.header.GET}]"},
		// More of the rules.
		{"{known}", "v", "v"},
		{"a{known}b{1}c", "avbwc", "avbwc"},
		{"{e}{n}{u}", "", "{u}"},
		{"{brace}", "{1}", "{1}"}, // values are not scanned again
		{`\{known}{1}`, "{known}w", "{known}w"},
		{`{known}\`, `v\`, `v\`},
		{`{known} a\b {`, `v a\b {`, `v a\b {`},
		{"{a.{b}}", "}", same},
		{"{KNOWN}", "", same},
		{"{known}}", "v}", "v}"},
		{"{known}{", "v{", "v{"},
	} {
		if c.all == same {
			c.all = c.text
		}
		if c.known == same {
			c.known = c.text
		}
		text := Parse(c.text)
		if got := text.Expand(known, All, ""); got != c.all {
			t.Errorf("All %q: got %q, want %q", c.text, got, c.all)
		}
		if got := text.Expand(known, Known, ""); got != c.known {
			t.Errorf("Known %q: got %q, want %q", c.text, got, c.known)
		}
		if got := string(text.AppendExpand([]byte("x"), known, All, "")); got != "x"+c.all {
			t.Errorf("AppendExpand %q: got %q", c.text, got)
		}
		if text.Source() != c.text {
			t.Errorf("Source of %q: %q", c.text, text.Source())
		}
	}
}

// TestNestedName is the last row of the table: header names are always known.
func TestNestedName(t *testing.T) {
	s := Func(func(name string) (any, bool) { return "", strings.HasPrefix(name, "http.request.header.") })
	for _, m := range []Mode{All, Known} {
		if got := Parse("[{http.request.header.{http.request.method}}]").Expand(s, m, ""); got != "[}]" {
			t.Errorf("mode %d: got %q", m, got)
		}
	}
}

func TestEmptyInPlace(t *testing.T) {
	s := Map{"x": nil, "e": "", "v": "v", "z": 0}
	for text, want := range map[string]string{
		"/srv/{x}": "/srv/.", "{x}": ".", "{e}": ".", "{u}": ".", "{x}{v}{e}": ".v.", "": "", "{z}": "0", `\{{x}`: "{.",
	} {
		if got := Parse(text).Expand(s, All, "."); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := Parse("a{e}{x}{u}").Expand(s, Known, "."); got != "a{u}" {
		t.Errorf("Known: got %q", got)
	}
}

func TestStrict(t *testing.T) {
	s := Map{"v": "v", "e": "", "n": nil}
	for _, c := range []struct {
		text, want, name string
		known            bool
	}{
		{":80", ":80", "", false},
		{"{v}:{v}", "v:v", "", false},
		{`\{{v}`, "{v", "", false},
		{"{v}{u.x}", "", "u.x", false},
		{"{e}", "", "e", true},
		{"a{n}", "", "n", true},
		{`\{{n}`, "", "n", true},
		{"{", "{", "", false},
	} {
		text := Parse(c.text)
		got, err := text.ExpandStrict(s)
		var pe *PlaceholderError
		if c.name == "" {
			if err != nil || got != c.want || text.Expand(s, Strict, "") != c.want {
				t.Errorf("%q: got %q, %v", c.text, got, err)
			}
			continue
		}
		if !errors.As(err, &pe) || pe.Name != c.name || pe.Known != c.known || got != "" {
			t.Errorf("%q: got %q, %v", c.text, got, err)
		} else if !strings.Contains(err.Error(), "{"+c.name+"}") {
			t.Errorf("%q: the error does not name the placeholder: %v", c.text, err)
		}
		if got := string(text.AppendExpand([]byte("x"), s, Strict, "")); got != "x" {
			t.Errorf("%q: AppendExpand left %q", c.text, got)
		}
	}
}

func TestUnclosedLimit(t *testing.T) {
	s := Map{"v": "v"}
	for _, prefix := range []string{"", "{v}", `\{{v}`} {
		ok := Parse(prefix + strings.Repeat("{", MaxUnclosed))
		if got := ok.Expand(s, All, ""); !strings.HasSuffix(got, strings.Repeat("{", MaxUnclosed)) || ok.Err() != nil {
			t.Errorf("%q: at the limit: %q, %v", prefix, got, ok.Err())
		}
		bad := Parse(prefix + strings.Repeat("{", MaxUnclosed+1))
		if got := bad.Expand(s, Known, "x"); got != "" || bad.Err() == nil {
			t.Errorf("%q: beyond the limit: %q, %v", prefix, got, bad.Err())
		}
		if _, err := bad.ExpandStrict(s); err == nil {
			t.Errorf("%q: no error in strict mode", prefix)
		}
	}
	// Escaped and closed ones do not count.
	if text := Parse(strings.Repeat(`\{`, 500) + strings.Repeat("{v}", 500)); text.Err() != nil || len(text.Expand(s, All, "")) != 1000 {
		t.Errorf("escaped and closed braces count as unclosed")
	}
}

func TestLiteral(t *testing.T) {
	for text, want := range map[string]string{"": "", "a": "a", "{": "{", `a\{b\}`: "a{b}", `\x}`: `\x}`} {
		if got, ok := Parse(text).Literal(); !ok || got != want {
			t.Errorf("%q: got %q, %v", text, got, ok)
		}
	}
	for _, text := range []string{"{}", "a{b}", `\{{a}`, "{a{b}", `{\}`} {
		if got, ok := Parse(text).Literal(); ok {
			t.Errorf("%q is not literal, got %q", text, got)
		}
	}
	if got, ok := (Text{}).Literal(); got != "" || !ok {
		t.Error("the zero Text is not the empty text")
	}
}

func TestValue(t *testing.T) {
	s := Map{"n": 7, "a{b": "odd"}
	for _, c := range []struct {
		text string
		want any
		ok   bool
	}{
		{"{n}", 7, true}, {"{u}", nil, true}, {"{a{b}", "odd", true},
		{" {n}", nil, false}, {"{n}{n}", nil, false}, {"{n}x", nil, false}, {"", nil, false}, {"n", nil, false},
		{`{a{b}x`, nil, false}, {`\{a{b}`, nil, false},
	} {
		if got, ok := Parse(c.text).Value(s); got != c.want || ok != c.ok {
			t.Errorf("%q: got %v, %v", c.text, got, ok)
		}
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string][]string{
		"": {}, "x": {}, "{a}b{c}{a}": {"a", "c", "a"}, "{te{known}{1}": {"te{known", "known", "1"},
		`\{{a}\}`: {"a"}, "{": {},
	} {
		if got := Parse(text).Names(); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// stringScope answers without boxing.
type stringScope struct{ value string }

func (s *stringScope) Lookup(name string) (any, bool) { return s.value, name == "v" }
func (s *stringScope) LookupString(name string) (string, bool, bool) {
	return s.value, name == "v", true
}

func TestAllocations(t *testing.T) {
	boxed := any("value of some length")
	s := Func(func(string) (any, bool) { return boxed, true })
	ss := Chain(Map{}, &stringScope{"another value"})
	dst := make([]byte, 0, 1024)
	for name, f := range map[string]func(){
		"literal":              func() { literalText.Expand(s, All, "") },
		"one placeholder":      func() { one.Expand(s, All, "") },
		"one, without boxing":  func() { one.Expand(ss, All, "") },
		"append":               func() { dst = many.AppendExpand(dst[:0], s, All, "") },
		"append, odd":          func() { dst = odd.AppendExpand(dst[:0], ss, Known, "") },
		"append, from a chain": func() { dst = many.AppendExpand(dst[:0], ss, All, "") },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { many.Expand(s, All, "") }); n > 1 {
		t.Errorf("many: %v allocations, want only the result", n)
	}
}

var (
	literalText = Parse(`a\{b`)
	one         = Parse("{v}")
	many        = Parse("a{v}b{v}c{u}d")
	odd         = Parse(`\{a{v}b{{v}`)
)

// FuzzExpand compares both ways of expansion with a plain model of the rules.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "{a}", `\{a\}{b}`, "{te{a}{b}", `{x\}`, "}{", `a\\{b}{`, "{{}", `{\}\}`} {
		f.Add(s)
	}
	scope := Map{"a": "A", "b": "{a}", "e": "", "": "nil", `\`: "back"}
	f.Fuzz(func(t *testing.T, s string) {
		text := Parse(s)
		for _, m := range []Mode{All, Known} {
			want := model(s, scope, m)
			if got := text.Expand(scope, m, ""); got != want {
				t.Fatalf("mode %d, %q: got %q, want %q", m, s, got, want)
			}
			if text.Err() != nil {
				continue
			}
			if got, _ := scan(nil, s, scope, m, ""); string(got) != want {
				t.Fatalf("scan, mode %d, %q: got %q, want %q", m, s, got, want)
			}
		}
	})
}

// model is the rules of section 8.1, byte by byte.
func model(s string, scope Map, m Mode) string {
	var out strings.Builder
	unclosed := 0
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (s[i+1] == '{' || s[i+1] == '}') {
			i++
			out.WriteByte(s[i])
			continue
		}
		if s[i] != '{' {
			out.WriteByte(s[i])
			continue
		}
		end := -1
		for j := i + 1; j < len(s) && end < 0; j++ {
			if s[j] == '}' && (s[j-1] != '\\' || j == len(s)-1) {
				end = j
			}
		}
		if end < 0 {
			if unclosed++; unclosed > MaxUnclosed {
				return ""
			}
			out.WriteByte('{')
			continue
		}
		v, known := scope[s[i+1:end]]
		if !known && m == Known {
			out.WriteByte('{')
			continue
		}
		if known {
			out.WriteString(v.(string))
		}
		i = end
	}
	return out.String()
}

func BenchmarkExpand(b *testing.B) {
	s := Chain(Map{}, &stringScope{"another value"})
	for name, text := range map[string]Text{"literal": literalText, "one": one, "many": many, "odd": odd} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				text.Expand(s, All, "")
			}
		})
	}
}
