package expression

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers"
)

// TestRefused: what does not load says why, and where in the expression.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{``, "line 1, column 1 of the expression: Syntax error"},
		{`{http.request.uri.query}`, "is of type dyn, not bool"},
		{`'x'`, "is of type string, not bool"},
		{`1 +`, "line 1, column 4 of the expression: Syntax error"},
		{`true && nope == 1`, "line 1, column 9 of the expression: undeclared reference to 'nope'"},
		{`{http.request.method} == 'GET' && nope`, "line 1, column 35 of the expression: undeclared reference"},
		{"{http.request.method} ==\n  {http.request.host} && nope", "line 2, column 26 of the expression: undeclared reference"},
		{`{http.request.method} && {http.request.host}.size(1)`, "found no matching overload for 'size'"},
		{`'é' == {ab} && ü`, "line 1, column 16 of the expression"},
		{`{http.request.remote.host/24} == 'x'`, "Syntax error"},
		{`{a} == 'x'`, "Syntax error"},
		{`req.method == 'GET'`, "does not support field selection"},
		{`'a' > 1`, "no matching overload"},
		{`int('q') > 1`, "planning the expression"},
		{`'x'.matches('(')`, "missing closing"},
		{`host(80)`, "line 1, column 6 of the expression: arguments of host must be texts"},
		{`host({http.request.host} + 1)`, "arguments of host must be texts"},
		{`host(['a'])`, "arguments of host must be texts"},
		{`['/a'].exists(p, path(p))`, "arguments of path must be texts"},
		{`method()`, "line 1, column 7 of the expression: method takes at least 1 text, found 0"},
		{`query({"a":1})`, "arguments of query must be texts"},
		{`query({"a":['b', 1]})`, "arguments of query must be texts"},
		{`vars('a','b')`, "vars takes one object"},
		{`header('x')`, "header takes one object"},
		{`header({'X': 'a', 'X': 'b'})`, `the key "X" is there twice`},
		{`protocol('a','b')`, "protocol takes 1 text, found 2"},
		{`path_regexp('a', 'b', 'c')`, "path_regexp takes 1 to 2 texts, found 3"},
		{`header_regexp('a')`, "header_regexp takes 2 to 3 texts, found 1"},
		{`true || path_regexp('n', '(')`, "path_regexp: compiling the regular expression"},
		{`path_regexp('--', 'a')`, "path_regexp: invalid regular expression name"},
		{`remote_ip('forwarded')`, "'forwarded' is no longer supported"},
		{`remote_ip('private_ranges')`, "remote_ip: "},
		{`client_ip('1.2.3')`, "client_ip: "},
		{`host('a.test', 'A.test')`, "host: host at index 0 is repeated"},
		{`url_pattern('/{a')`, "url_pattern: compiling the URL pattern"},
		{`url_pattern('/a', 'x')`, "must be absolute"},
		{`file({'fs': 'x'})`, `unknown key "fs"`},
		{`file({'root': ['a', 'b']})`, "root must be one text"},
		{`file({'try_policy': 'nope'})`, `file: "nope" is not one of`},
		{`file({'split_path': {http.vars.x}})`, "split_path cannot hold placeholders"},
		{`file('\{ab}' + {http.vars.x})`, "cannot join placeholders with texts that hold a brace"},
		{strings.Repeat("(", 150) + "true" + strings.Repeat(")", 150), "recursion"},
		{strings.Repeat(" ", MaxLen) + "true", "more than 32768"},
		{"true" + strings.Repeat("||1", 5), "column"},
	} {
		res := build(t, c.text)
		if len(res.Problems) == 0 {
			t.Errorf("%.60s loads", c.text)
			continue
		}
		if len(res.Problems) > maxReports {
			t.Errorf("%.60s has %d problems", c.text, len(res.Problems))
		}
		if got := res.Problems[0]; got.Pointer != "" || !strings.Contains(got.Message, c.want) || got.Expected == "" {
			t.Errorf("%.60s: %+v; want %q", c.text, got, c.want)
		}
	}
}

func TestForms(t *testing.T) {
	for _, c := range []struct{ json, pointer, problem string }{
		{`"true"`, "", ""},
		{`{"expr": "true", "name": "x"}`, "", ""},
		{`{"expr": "true", "name": ""}`, "", ""},
		{`{"expr": "true"}`, "", ""},
		{`{"expr": "true", "other": 1}`, "", ""},
		{`{"name": "x"}`, "", "expr must be a string"},
		{`{}`, "", "expr must be a string"},
		{`{"expr": 1, "name": "x"}`, "/expr", "expr must be a string"},
		{`{"expr": "true", "name": 1}`, "/name", "name must be a string"},
		{`{"expr": "nope", "name": "x"}`, "/expr", "undeclared reference"},
		{`{"expr": "{http.vars.x}"}`, "/expr", "not bool"},
		{`["true"]`, "", "expected an expression"},
		{`1`, "", "expected an expression"},
	} {
		res := buildJSON(t, "expression", c.json)
		node, _, err := config.Parse([]byte(c.json), config.Limits{})
		table, terr := newTable()
		if err != nil || terr != nil {
			t.Fatal(err, terr)
		}
		if d, v := table.Inspect("http.matchers.expression", node); (len(d) > 0) != (len(v) > 0) {
			t.Errorf("%s: the decoder says %v, the schema %v", c.json, d, v)
		}
		switch {
		case c.problem == "" && len(res.Problems) > 0:
			t.Errorf("%s: %v", c.json, res.Problems)
		case c.problem != "" && (len(res.Problems) != 1 || res.Problems[0].Pointer != c.pointer || !strings.Contains(res.Problems[0].Message, c.problem)):
			t.Errorf("%s: %v; want %q at %q", c.json, res.Problems, c.problem, c.pointer)
		}
	}
}

func TestNameOfExpression(t *testing.T) {
	for _, call := range []string{`path_regexp('^/(.)')`, `path_regexp('', '^/(.)')`, `vars_regexp('{}', '^/(.)')`} {
		call = strings.Replace(call, "{}", `\\{http.request.uri.path}`, 1)
		res := buildJSON(t, "expression", `{"expr": "`+call+` && {http.regexp.n.1} == 'x'", "name": "n"}`)
		if len(res.Problems) > 0 {
			t.Fatal(call, res.Problems)
		}
		if ok, err := res.Root.Value().(handlers.Matcher).Match(request(t, "/x")); !ok || err != nil {
			t.Errorf("%s: %v, %v", call, ok, err)
		}
	}
}

func TestWarnsOfQuotedPlaceholder(t *testing.T) {
	res := build(t, `path('{http.vars.x}/*')`)
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0].Message, "inside quotes") {
		t.Errorf("warnings: %v", res.Warnings)
	}
	if res = build(t, `path('\{http.vars.x}/*') && {http.vars.x} == 'a'`); len(res.Warnings) != 0 {
		t.Errorf("warnings: %v", res.Warnings)
	}
}

// TestBounded: expressions that would take very long, or make very long texts,
// of what a client sends, fail soon.
func TestBounded(t *testing.T) {
	long := strings.Repeat("a,", 200_000)
	for _, c := range []struct{ text, want string }{
		{`{http.request.header.X}.split(',').all(a, {http.request.header.X}.split(',').all(b, a == b || a != b))`, "cost limit"},
		{`lists.range(100000).all(a, lists.range(100000).all(b, a + b >= 0))`, "cost limit"},
		{`lists.range(1000000).size() == 1`, "range"},
		{`size({http.request.header.X}.replace(',', {http.request.header.X})) > 0`, "too long"},
		{`size({http.request.header.X}.split(',').join({http.request.header.X})) > 0`, "too long"},
		{`'a'.matches({http.request.header.X})`, "more than 1024"},
		{`{http.request.header.X}.split(',').distinct().size() == 2`, "cost limit"},
		{`lists.range(2000).distinct().size() == 2000`, "cost limit"},
		{`{http.request.header.X}.indexOf({http.request.header.X}.substring(3) + 'b') == -1`, ""},
		{`lists.range(1000).all(i, {http.request.header.X}.replace('a', 'b') != '')`, "cost limit"},
		{`cel.bind(a, {http.request.header.X} + {http.request.header.X}, cel.bind(b, a + a, cel.bind(c, b + b, cel.bind(d, c + c, d + d != ''))))`, ""},
	} {
		m := matcher(t, c.text)
		start := time.Now()
		ok, err := m.Match(request(t, "/", "X: "+long))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %v", c.text, took)
		}
		if c.want == "" && (!ok || err != nil) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, %v; want %q", c.text, ok, err, c.want)
		}
	}
}

func TestConcurrent(t *testing.T) {
	var wg sync.WaitGroup
	for _, text := range []string{
		`path({http.request.header.X}) && {http.request.method} == 'GET'`, `{http.request.method} > 3`, `['a'].all(x, {http.vars.undefined} < x)`, `path_regexp({http.request.header.X}) || 1/0 > 1`,
	} {
		m := matcher(t, text)
		for i := range 4 {
			wg.Go(func() {
				for range 50 {
					r := request(t, "/a", "X: /"+string(rune('a'+i)))
					ok, err := m.Match(r)
					if err == nil && ok != (i == 0) {
						t.Errorf("%s for %d: %v", text, i, ok)
					}
				}
			})
		}
	}
	wg.Wait()
}

// TestNoHints: an expression tells the index of routes nothing.
func TestNoHints(t *testing.T) {
	m := any(matcher(t, `path('/a') && host('a.test')`))
	if _, ok := m.(handlers.HostMatcher); ok {
		t.Error("an expression names hosts")
	}
	if _, ok := m.(handlers.PathMatcher); ok {
		t.Error("an expression names paths")
	}
}

func TestExamples(t *testing.T) {
	for _, e := range Spec().Examples {
		if res := buildJSON(t, "expression", e.JSON); len(res.Problems) > 0 || len(res.Warnings) > 0 {
			t.Errorf("example %q: %v %v", e.Title, res.Problems, res.Warnings)
		}
	}
}
