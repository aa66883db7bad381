package expression

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/handlers/match"
)

// FuzzExpression: any text is refused with a place, or can be evaluated for any
// request in bounded time without a panic.
func FuzzExpression(f *testing.F) {
	for _, s := range []string{
		`{http.request.method} == "GET"`, `path('/a*') && !header({'X': ['a', {http.vars.n}]})`, `'a,b'.split(',').map(x, x + 'c').exists(y, y == {http.request.header.X})`,
		`path_regexp('n', '^/(.)') || {http.regexp.n.1}.matches({http.request.header.X})`, `cel.bind(a, {http.request.header.X}, a + a == '')`, `size({http.vars.l}) > 1 ? has({http.vars.m}.k) : 1/0 == 1`,
		`lists.range(9).distinct().sort().size() == 9`, `'%s %.3e'.format([{http.vars.d}, 1.0]) == ''`, `timestamp('2020-01-01T00:00:00Z') < {time.now}`, `{{http.request.uri.path}: [1, 2u, 3.0, b'x', null]} != {}`,
		`url_pattern('/:a(\\d+)') || remote_ip({http.request.header.X}) || vars({'\{ab}': '\{cd}'})`, `'x'.replace('x', {http.request.header.X}).indexOf('y', 2) < math.greatest(1, 2)`, "\\{", "{ab}", "é{ab}\n{cd", "[[1],[2]].flatten()",
		`'abc'.lastIndexOf('b', 7) == -1 && 'a'.substring(0, 1) == ['a'].join('-')`,
	} {
		f.Add(s, "/a/b?c=d", "x,y")
	}
	setup := match.Setup{}
	functions := match.Functions()
	f.Fuzz(func(t *testing.T, text, target, header string) {
		start := time.Now()
		// Without the environment of a load there are no files.
		if strings.Contains(text, "file") {
			return
		}
		src := rewrite(text)
		if l, c := src.position(1+len(text)%3, len(header)); l < 1 || c < 1 {
			t.Errorf("%q: place %d:%d", text, l, c)
		}
		e, err := Compile(setup, "/p", text, functions)
		if err != nil {
			if err.Error() == "" || !strings.Contains(err.Error(), "/p") {
				t.Errorf("%q: error %q", text, err)
			}
			return
		}
		if _, err := url.ParseRequestURI(target); err != nil {
			target = "/a"
		}
		r := request(t, target)
		r.Header["X"] = []string{header}
		_, err = e.Match(r)
		if err != nil && strings.Contains(err.Error(), "internal error") {
			t.Errorf("%q: %v", text, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%q took %v", text, took)
		}
	})
}
