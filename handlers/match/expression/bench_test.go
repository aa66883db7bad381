package expression

import (
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
)

// BenchmarkMatch compares expressions with the matchers that say the same.
func BenchmarkMatch(b *testing.B) {
	run := func(name string, m handlers.Matcher, target string, lines ...string) {
		b.Run(name, func(b *testing.B) {
			r := request(b, target, lines...)
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := m.Match(r); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
	native := func(name, json string) handlers.Matcher {
		return buildJSON(b, name, json).Root.Value().(handlers.Matcher)
	}
	run("path/native", native("path", `["/api/*"]`), "/api/x")
	run("path/expression", matcher(b, `path('/api/*')`), "/api/x")
	run("path/started", matcher(b, `{http.request.uri.path}.startsWith('/api/')`), "/api/x")
	run("method/native", native("method", `["GET"]`), "/")
	run("method/expression", matcher(b, `method('GET')`), "/")
	run("method/compared", matcher(b, `{http.request.method} == 'GET'`), "/")
	run("header/native", native("header", `{"X": ["a*"]}`), "/", "X: abc")
	run("header/expression", matcher(b, `header({'X': 'a*'})`), "/", "X: abc")
	run("both", matcher(b, `path('/api/*') && method('GET') && !header({'X': '*'})`), "/api/x")
	run("placeholder/native", native("path", `["/{http.request.header.X}/*"]`), "/a/b", "X: a")
	run("placeholder/expression", matcher(b, `path('/' + {http.request.header.X} + '/*')`), "/a/b", "X: a")
	run("regexp/native", native("path_regexp", `{"pattern": "^/api/(.)"}`), "/api/x")
	run("regexp/expression", matcher(b, `path_regexp('^/api/(.)')`), "/api/x")
	run("status", matcher(b, `{http.request.port} >= 8000 && {http.request.port} <= 8999 || {http.request.port} in [80]`), "/")
	run("loop", matcher(b, `['/a', '/b'].exists(p, {http.request.uri.path} == p)`), "/b")
}
