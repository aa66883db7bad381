package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestParsePrints(t *testing.T) {
	for _, c := range [][2]string{
		{`null`, `null`}, {` true `, `true`}, {"\t\r\nfalse\n", `false`},
		{`9007199254740993`, `9007199254740992`}, {`1e3`, `1000`}, {`-0`, `-0`}, {`0`, `0`}, {`-0.0`, `-0`}, {`1.50`, `1.5`},
		{`1e21`, `1e+21`}, {`1E-7`, `1e-7`}, {`1e-400`, `0`}, {`100000000000000000000`, `100000000000000000000`},
		{`999999999999999`, `999999999999999`}, {`-123456789012345678`, `-123456789012345680`},
		{`"a<b>&c"`, `"a\u003cb\u003e\u0026c"`}, {"\"\u2028\u2029\"", `"\u2028\u2029"`}, {`"\u2028\/\b\f\n\r\t\u0001\u007f"`, "\"\\u2028/\\b\\f\\n\\r\\t\\u0001\u007f\""},
		{`"\ud83d\ude00"`, `"😀"`}, {`"\ud83d"`, `"�"`}, {`"\ud83dx"`, `"�x"`}, {`"\ud83d\u0041"`, `"�A"`}, {`"\ude00\ud83d"`, `"��"`},
		{"\"\xff\xc3\"", `"��"`}, {"\"\xe2\x80\"", `"��"`}, {"{\"\xff\":1}", `{"�":1}`}, {"\"\\n\xffé\"", `"\n�é"`},
		{`[]`, `[]`}, {`{}`, `{}`}, {`[ 1 , [ ] , { } ]`, `[1,[],{}]`},
		{`{"b":1,"a":{"d":null,"c":[]}}`, `{"a":{"c":[],"d":null},"b":1}`}, {`{"a":1,"b":2,"a":3}`, `{"a":3,"b":2}`},
		{`{"":1,"a\u0062":2}`, `{"":1,"ab":2}`},
	} {
		n := parse(t, c[0])
		if got := string(n.AppendJSON(nil)); got != c[1] {
			t.Errorf("%s is printed %s, want %s", c[0], got, c[1])
		}
		if std := compact(t, c[0]); std != c[1] {
			t.Errorf("%s: encoding/json says %s, the table %s", c[0], std, c[1])
		}
		checkTree(t, n)
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		text, msg    string
		offset       int64
		line, column int
	}{
		{``, "unexpected end of JSON input", 0, 1, 1},
		{`{"apps":`, "unexpected end of JSON input", 8, 1, 8},
		{`{bad`, "invalid character 'b' looking for beginning of object key string", 2, 1, 2},
		{"{\n \"é\": x}", "invalid character 'x' looking for beginning of value", 10, 2, 7},
		{"\xef\xbb\xbf{}", "invalid character 'ï' looking for beginning of value", 1, 1, 1},
		{`{} {}`, "invalid character '{' after top-level value", 4, 1, 4},
		{`[1,]`, "invalid character ']' looking for beginning of value", 4, 1, 4},
		{`{"a":1,}`, "invalid character '}' looking for beginning of object key string", 8, 1, 8},
		{`{"a" 1}`, "invalid character '1' after object key", 6, 1, 6},
		{`{"a":1 "b"}`, "invalid character '\"' after object key:value pair", 8, 1, 8},
		{`[1 2]`, "invalid character '2' after array element", 4, 1, 4},
		{`// c`, "invalid character '/' looking for beginning of value", 1, 1, 1},
		{`'a'`, `invalid character '\'' looking for beginning of value`, 1, 1, 1},
		{`trux`, "invalid character 'x' in literal true (expecting 'e')", 4, 1, 4},
		{`nul`, "unexpected end of JSON input", 3, 1, 3},
		{`01`, "invalid character '1' after top-level value", 2, 1, 2},
		{`-`, "unexpected end of JSON input", 1, 1, 1},
		{`-x`, "invalid character 'x' in numeric literal", 2, 1, 2},
		{`1.x`, "invalid character 'x' after decimal point in numeric literal", 3, 1, 3},
		{`1e+x`, "invalid character 'x' in exponent of numeric literal", 4, 1, 4},
		{`NaN`, "invalid character 'N' looking for beginning of value", 1, 1, 1},
		{"\"a\nb\"", `invalid character '\n' in string literal`, 3, 1, 3},
		{`"\x"`, "invalid character 'x' in string escape code", 3, 1, 3},
		{`"\u12g4"`, `invalid character 'g' in \u hexadecimal character escape`, 6, 1, 6},
		{`"abc`, "unexpected end of JSON input", 4, 1, 4},
		{`"\`, "unexpected end of JSON input", 2, 1, 2},
		{`"\u1`, "unexpected end of JSON input", 4, 1, 4},
	} {
		_, _, err := Parse([]byte(c.text), Limits{})
		var se *SyntaxError
		if !errors.As(err, &se) {
			t.Errorf("%s: no error", c.text)
			continue
		}
		if *se != (SyntaxError{c.offset, c.line, c.column, c.msg}) {
			t.Errorf("%s: %+v, want %+v", c.text, *se, c)
		}
		var std *json.SyntaxError
		if errors.As(json.Unmarshal([]byte(c.text), new(any)), &std); std == nil || !sameSyntax(c.text, c.msg, c.offset, std) {
			t.Errorf("%s: encoding/json says %v, the table %q", c.text, std, c.msg)
		}
	}
	_, _, err := Parse([]byte(`{"apps":`), Limits{})
	if want := "unexpected end of JSON input, at offset 8"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestParseLimits(t *testing.T) {
	for _, open := range []string{"[", `{"a":`} {
		_, _, err := Parse([]byte(strings.Repeat(open, 100_000)), Limits{})
		if err == nil || !strings.Contains(err.Error(), "nested deeper than 1000 levels") {
			t.Errorf("100,000 of %s: %v", open, err)
		}
	}
	if n := parse(t, strings.Repeat("[", 1000)+strings.Repeat("]", 1000)); n.height() != 1000 {
		t.Errorf("height %d, want 1000", n.height())
	}
	if _, _, err := Parse([]byte(`[[[]]]`), Limits{MaxDepth: 2}); err == nil {
		t.Error("three levels pass a limit of two")
	}
	if _, _, err := Parse([]byte(`[1,2]`), Limits{MaxNodes: 3}); err != nil {
		t.Error(err)
	}
	if _, _, err := Parse([]byte(`[1,2]`), Limits{MaxNodes: 2}); err == nil {
		t.Error("three values pass a limit of two")
	}
	for _, text := range []string{`1e400`, `-1e400`, `{"a":[1e9999]}`} {
		_, _, err := Parse([]byte(text), Limits{})
		if err == nil || !strings.Contains(err.Error(), "out of the range of 64-bit floats") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestParseWarnings(t *testing.T) {
	text := lines(`{`, ` "a/b": [0, {"k": 1,`, `   "x": {"k": 1, "k": "é"}, "k":2}],`, ` "é": 1, "é":`, `  2 }`)
	n, warnings, err := Parse([]byte(text), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(n.AppendJSON(nil)); got != compact(t, text) {
		t.Errorf("got %s", got)
	}
	want := map[string][2]int{"/a~1b/1/x/k": {3, 23}, "/a~1b/1/k": {3, 33}, "/é": {5, 3}}
	if len(warnings) != len(want) {
		t.Errorf("%d warnings, want %d: %+v", len(warnings), len(want), warnings)
	}
	for _, w := range warnings {
		if want[w.Pointer] != [2]int{w.Line, w.Column} || !strings.Contains(w.Message, "more than once") {
			t.Errorf("warning %+v", w)
		}
		// The place is that of the value which counts.
		if line, column, ok := Locate([]byte(text), w.Pointer); !ok || line != w.Line || column != w.Column {
			t.Errorf("%s is located at %d:%d, %v", w.Pointer, line, column, ok)
		}
	}
	_, warnings, _ = Parse([]byte("["+strings.Repeat(`{"a":1,"a":2},`, 100)+"0]"), Limits{})
	if len(warnings) != maxWarnings {
		t.Errorf("%d warnings of 100, want %d", len(warnings), maxWarnings)
	}
}

// TestParseManyKeys reads objects with more members than layouts take, with duplicates.
func TestParseManyKeys(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"z":0`)
	for i := range 500 {
		fmt.Fprintf(&b, `,"k%d":{"b":%d,"a":[%d]}`, i*7919%401, i, i)
	}
	b.WriteString(`}`)
	n, warnings, err := Parse([]byte(b.String()), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(n.AppendJSON(nil)); got != compact(t, b.String()) {
		t.Errorf("got %s", got)
	}
	if len(warnings) != maxWarnings {
		t.Errorf("%d warnings", len(warnings))
	}
	checkTree(t, n)
}

// TestParseKeepsNothingOfText changes the text after parsing.
func TestParseKeepsNothingOfText(t *testing.T) {
	text := large(3)
	n := parse(t, string(text))
	m, _, _ := Parse(text, Limits{})
	for i := range text {
		text[i] = 'x'
	}
	if !bytes.Equal(n.AppendJSON(nil), m.AppendJSON(nil)) {
		t.Error("the tree changed with the text")
	}
}

func TestLocate(t *testing.T) {
	text := []byte(lines(`{"a": {"é": [1,`, `  {"x~/": "]\"{" , "y": null}], "b":2},`, `  "a":  [true, {"q": "ü", "p": 3}]`, ` }`))
	for _, c := range []struct {
		pointer      string
		line, column int
	}{
		{"", 1, 1}, {"/a", 3, 9}, {"/a/0", 3, 10}, {"/a/1", 3, 16}, {"/a/1/q", 3, 22}, {"/a/1/p", 3, 32},
		{"/a/2", 0, 0}, {"/a/01", 0, 0}, {"/b", 0, 0}, {"/a/0/x", 0, 0}, {"a", 0, 0}, {"/~2", 0, 0},
	} {
		line, column, ok := Locate(text, c.pointer)
		if line != c.line || column != c.column || ok != (c.line > 0) {
			t.Errorf("%q is at %d:%d, %v; want %d:%d", c.pointer, line, column, ok, c.line, c.column)
		}
	}
	if line, column, ok := Locate([]byte("\n [ [\n1,2],{\"x~/\":\n  [5]}]"), "/1/x~0~1/0"); !ok || line != 4 || column != 4 {
		t.Errorf("at %d:%d, %v", line, column, ok)
	}
	for _, bad := range []string{"", " ", "{", `{"a"`, `{"a":`, `{"a":1`, `[`, `[1`, `["`, `{1:2}`, `[[}`, `{"a":"\`} {
		Locate([]byte(bad), "/a/b")
		Locate([]byte(bad), "/1/b")
	}
}

// sameSyntax compares an error with that of encoding/json, which takes the end of the text within a word for a space.
func sameSyntax(text, msg string, offset int64, std *json.SyntaxError) bool {
	if std.Error() == "exceeded max depth" {
		return strings.Contains(msg, "nested deeper")
	}
	if strings.Contains(msg, "out of the range") { // encoding/json looks at that after all syntax
		return true
	}
	if offset != std.Offset {
		return false
	}
	atEnd := msg == "unexpected end of JSON input" && offset == int64(len(text))
	return msg == std.Error() || atEnd && strings.HasPrefix(std.Error(), "invalid character ' ' ")
}

// stdMatches compares Parse with encoding/json: what is accepted, the errors and the values.
func stdMatches(t *testing.T, text []byte) {
	var v any
	stdErr := json.Unmarshal(text, &v)
	n, _, err := Parse(text, Limits{MaxDepth: 10_000})
	if (stdErr == nil) != (err == nil) {
		t.Fatalf("%q: error %v, encoding/json %v", text, err, stdErr)
	}
	if err != nil {
		var std *json.SyntaxError
		se := err.(*SyntaxError)
		if errors.As(stdErr, &std) && !sameSyntax(string(text), se.Msg, se.Offset, std) {
			t.Fatalf("%q: %q at %d, encoding/json %q at %d", text, se.Msg, se.Offset, std, std.Offset)
		}
		return
	}
	want, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	got := n.AppendJSON(nil)
	if !bytes.Equal(got, want) {
		t.Fatalf("%q: printed %s, encoding/json %s", text, got, want)
	}
	again, _, err := Parse(got, Limits{MaxDepth: 10_000})
	if err != nil || !Equal(n, again) || n.Digest() != again.Digest() {
		t.Fatalf("%q: what is printed doesn't read back: %v", text, err)
	}
	if fromGo := mustFromGo(t, v); !Equal(n, fromGo) {
		t.Fatalf("%q: not equal to the one made of Go values", text)
	}
	if back, _ := json.Marshal(n.ToGo()); !bytes.Equal(back, want) {
		t.Fatalf("%q: as Go values %s", text, back)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,-0,1.5e3,true,null,"\ud83d\ude00\ud800"],"b":{"a":{}}}`, `{"a":1,"a":2}`, "\"\xff\"", `[1,]`,
		`{"@id":1}`, `1e400`, ` [ ] x`, "{\"\\u0061\":\"\x00\"}", `"\u00e9\u2028<>&"`, `nulL`, `-`, `0.`, `1E+`, string(large(1))} {
		f.Add([]byte(s))
	}
	f.Fuzz(stdMatches)
}

// TestParseMutated runs the comparison of FuzzParse over small changes of a document.
func TestParseMutated(t *testing.T) {
	text := []byte(`{"a":[1,-0.5,1e3,true,false,null,"\ud83d\ude00\u00e9 é\n"],"b":{"c":{},"c":[]}}`)
	for i := range text {
		for _, c := range []byte("\"\\{}[],:0-.eutx \x00\x80\xc3") {
			m := bytes.Clone(text)
			m[i] = c
			stdMatches(t, m)
		}
		stdMatches(t, text[:i])
		stdMatches(t, append(bytes.Clone(text[:i]), text[i+1:]...))
	}
}

func FuzzLocate(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"c"}]}`), "/a/1/b")
	f.Fuzz(func(t *testing.T, text []byte, pointer string) {
		line, column, ok := Locate(text, pointer)
		n, _, err := Parse(text, Limits{})
		if err != nil {
			return
		}
		p, valid := SplitPointer(pointer)
		for _, seg := range p {
			next := n.Get(seg)
			if i, err := parseIndex(seg); n.Kind() == Array && err == nil && i >= 0 && i < n.Len() {
				next = n.Index(i)
			}
			if n = next; n == nil {
				break
			}
		}
		if ok != (valid && n != nil) || ok && (line < 1 || column < 1) {
			t.Fatalf("%q in %q: %d:%d, %v", pointer, text, line, column, ok)
		}
	})
}

func TestNodeAccess(t *testing.T) {
	var none *Node
	if none.Kind() != Null || none.Bool() || none.Number() != 0 || none.Str() != "" || none.Len() != 0 || none.Get("a") != nil ||
		none.Digest() != NewNull().Digest() || string(none.AppendJSON(nil)) != "null" || none.ToGo() != nil || !Equal(none, NewNull()) {
		t.Error("a nil node doesn't behave as null")
	}
	for range none.Elements() {
		t.Error("elements of nil")
	}
	for range none.Members() {
		t.Error("members of nil")
	}
	n := parse(t, `{"b":[true,"x",1.5],"a":null}`)
	if n.Len() != 2 || n.Key(0) != "a" || n.Value(0).Kind() != Null || n.Value(0) == nil || n.Get("c") != nil || n.Get("a") == nil {
		t.Error("members are wrong")
	}
	b := n.Get("b")
	if b.Len() != 3 || !b.Index(0).Bool() || b.Index(1).Str() != "x" || b.Index(2).Number() != 1.5 || b.Index(2).Str() != "" ||
		b.Index(1).Number() != 0 || b.Index(1).Bool() {
		t.Error("elements are wrong")
	}
	if NewNumber(math.Inf(1)).Kind() != Null || NewNumber(-2).Number() != -2 || NewBool(false).Bool() {
		t.Error("scalars are wrong")
	}
	if got := string(NewString("a\xffb").AppendJSON(nil)); got != `"a�b"` {
		t.Errorf("got %s", got)
	}
	if got := string(NewObject(map[string]*Node{"\xff": nil, "a": NewArray([]*Node{nil})}).AppendJSON(nil)); got != `{"a":[null],"�":null}` {
		t.Errorf("got %s", got)
	}
	if b, err := json.Marshal(struct{ N *Node }{n}); err != nil || string(b) != `{"N":{"a":null,"b":[true,"x",1.5]}}` {
		t.Errorf("marshalled %s, %v", b, err)
	}
	for _, bad := range []any{math.NaN(), struct{}{}, []any{make(chan int)}, map[string]any{"a": math.Inf(-1)}, json.Number("x")} {
		if _, err := FromGo(bad); err == nil {
			t.Errorf("%v has a JSON form", bad)
		}
	}
	if n := mustFromGo(t, []any{1, int8(-1), uint64(7), float32(0.5), json.Number("1e2"), b}); string(n.AppendJSON(nil)) != `[1,-1,7,0.5,100,[true,"x",1.5]]` {
		t.Errorf("got %s", n.AppendJSON(nil))
	}
	c := n.Clone()
	if c == n || !Equal(c, n) || c.Get("b") == b {
		t.Error("clone is not one")
	}
	for _, f := range []func(){func() { none.Index(0) }, func() { n.Label(0) }, func() { b.Key(0) }, func() { b.Value(0) }, func() { b.Index(3) }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		}()
	}
}

// failAfter is a writer that takes a few writes only.
type failAfter int

func (f *failAfter) Write(p []byte) (int, error) {
	if *f--; *f < 0 {
		return 0, errors.New("full")
	}
	return len(p), nil
}

func TestWriteJSON(t *testing.T) {
	n := parse(t, string(large(1000)))
	var b bytes.Buffer
	if err := n.WriteJSON(&b); err != nil || !bytes.Equal(b.Bytes(), n.AppendJSON(nil)) {
		t.Errorf("written differs from appended: %v", err)
	}
	w := failAfter(3)
	if err := n.WriteJSON(&w); err == nil || err.Error() != "full" {
		t.Errorf("error of the writer is %v", err)
	}
}
