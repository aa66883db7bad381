package expression

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/match"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

var globals = vars.Map{"env.NET": "127.0.0.0/8", "env.UPPER": "/UP", "env.SECRET": "/hidden", "time.now": time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)}

// fileConfig is as much of the matcher file as its callers see.
type fileConfig struct {
	Root      string   `json:"root"`
	TryFiles  []string `json:"try_files"`
	TryPolicy string   `json:"try_policy" check:"enum=|first_exist|largest_size"`
	SplitPath []string `json:"split_path"`
}

type fileMatcher struct {
	cfg   fileConfig
	files []vars.Text
}

// Match finds the files that are called a or have a status.
func (m *fileMatcher) Match(r *http.Request) (bool, error) {
	for _, f := range m.files {
		switch name := f.Expand(handlers.Of(r), vars.All, ""); name {
		case m.cfg.Root + "/a":
			return true, nil
		case "=404":
			return false, handlers.NewError(404, nil)
		}
	}
	return false, nil
}

func fileSpec() module.Spec {
	return module.New("http.matchers.file", "Matches a file.", nil, func(_ *module.Env, c *fileConfig) (handlers.Matcher, error) {
		m := &fileMatcher{cfg: *c}
		if c.TryFiles == nil {
			c.TryFiles = []string{"{http.request.uri.path}"}
		}
		for _, f := range c.TryFiles {
			m.files = append(m.files, vars.Parse(f))
		}
		return m, nil
	})
}

var newTable = sync.OnceValues(func() (*module.Table, error) {
	return module.NewTable(append(match.Specs(), Spec(), fileSpec()), nil)
})

func buildJSON(t testing.TB, name, json string) module.Result {
	t.Helper()
	node, _, err := config.Parse([]byte(json), config.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", json, err)
	}
	table, err := newTable()
	if err != nil {
		t.Fatal(err)
	}
	b := module.Builder{Table: table, Sources: module.Sources{Globals: globals}}
	return b.Build(nil, "http.matchers."+name, node, module.Options{})
}

func build(t testing.TB, text string) module.Result {
	t.Helper()
	return buildJSON(t, "expression", string(config.NewString(text).AppendJSON(nil)))
}

func matcher(t testing.TB, text string) handlers.Matcher {
	t.Helper()
	res := build(t, text)
	if len(res.Problems) > 0 {
		t.Fatalf("%s: %v", text, res.Problems)
	}
	return res.Root.Value().(handlers.Matcher)
}

// request makes a request from a target and lines: "Name: value" is a header
// field, "name=value" a variable.
func request(t testing.TB, target string, lines ...string) *http.Request {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	r := &http.Request{Method: "GET", URL: u, RequestURI: target, Host: "a.test:8080", Header: http.Header{}, RemoteAddr: "127.0.0.1:4711",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	x := &handlers.Exchange{Globals: globals}
	r = x.Begin(r, nil)
	x.SetVar("client_ip", "10.1.2.3")
	x.SetVar("l", []any{"a", "b"})
	x.SetVar("m", map[string]any{"k": "v", "n": 1.5})
	x.SetVar("flag", true)
	x.SetVar("n", 3)
	x.SetVar("d", 90*time.Second)
	x.SetVar("subject", pkix.Name{CommonName: "c.local"})
	x.SetVar("err", errors.New("broken"))
	x.SetVar("texts", []string{"x", "y"})
	for _, l := range lines {
		if name, value, ok := strings.Cut(l, ": "); ok {
			r.Header.Add(name, value)
		} else if name, value, ok := strings.Cut(l, "="); ok {
			x.SetVar(name, value)
		}
	}
	return r
}

type example struct {
	text, target string
	lines        []string
	want         string // yes, no, or part of an error
}

// try checks each example as it is, as one that needs the interpreter, and as
// one whose steps are counted.
func try(t *testing.T, examples []example) {
	t.Helper()
	for _, e := range examples {
		for _, form := range []string{"%s", "(%s) && 1 == 1", "(%s) && [1].all(x, x == 1)"} {
			text := strings.Replace(form, "%s", e.text, 1)
			res := build(t, text)
			if len(res.Problems) > 0 {
				t.Errorf("%s: %v", text, res.Problems)
				continue
			}
			ok, err := res.Root.Value().(handlers.Matcher).Match(request(t, e.target, e.lines...))
			switch {
			case e.want == "yes" || e.want == "no":
				if err != nil || ok != (e.want == "yes") {
					t.Errorf("%s on %s %q: %v, %v; want %s", text, e.target, e.lines, ok, err, e.want)
				}
			case ok || err == nil || !strings.Contains(err.Error(), e.want):
				t.Errorf("%s on %s %q: %v, %v; want an error with %q", text, e.target, e.lines, ok, err, e.want)
			}
		}
	}
}

func lines(l ...string) []string { return l }

// TestReference is the table of section 4.17.
func TestReference(t *testing.T) {
	try(t, []example{
		{`{http.request.uri.path}.startsWith('/f')`, "/foo", nil, "yes"},
		{`{http.request.header.X}.matches('^[0-9]+$')`, "/", lines("X: 12"), "yes"},
		{`{http.request.header.X}.matches('^[0-9]+$')`, "/", nil, "no"},
		{`int({http.request.header.X}) > 5`, "/", lines("X: q"), "evaluating an expression"},
		{`int({http.request.header.X}) > 5`, "/", lines("X: 6"), "yes"},
		{`{http.vars.undefined} == null`, "/", nil, "yes"},
		{`{nobody.knows} == null`, "/", nil, "yes"},
		{`{http.vars.l}[0] == 'a'`, "/", nil, "yes"},
		{`'b' in {http.vars.l}`, "/", nil, "yes"},
		{`{http.vars.subject} == 'CN=c.local'`, "/", nil, "yes"},
		{`{time.now} > timestamp('2020-01-01T00:00:00Z')`, "/", nil, "yes"},
		{`path('/' + {http.request.uri.query.a})`, "/1?a=1", nil, "yes"},
		{`path('/' + {http.request.uri.query.a})`, "/1?a=2", nil, "no"},
		{`header({'X':'\{http.request.uri.path}'})`, "/foo", lines("X: /foo"), "yes"},
		{`path_regexp('n','^/(f)oo') && {http.regexp.n.1} == 'f'`, "/foo", nil, "yes"},
	})
}

// TestPlaceholders is rules 1 to 3.
func TestPlaceholders(t *testing.T) {
	try(t, []example{
		{`{http.request.port} == 8080`, "/", nil, "yes"},
		{`{http.request.port} == '8080'`, "/", nil, "no"},
		{`{http.request.port} == 8080.0`, "/", nil, "yes"},
		{`{http.request.port} in [80, 8080]`, "/", nil, "yes"},
		{`{http.vars.flag} == true`, "/", nil, "yes"},
		{`{http.vars.flag} && true`, "/", nil, "yes"},
		{`{http.vars.n} >= 3 && {http.vars.n} < 4.5`, "/", nil, "yes"},
		{`{http.vars.d} == duration('1m30s')`, "/", nil, "yes"},
		{`{http.vars.m}.k == 'v' && {http.vars.m}['n'] == 1.5`, "/", nil, "yes"},
		{`{http.vars.m}.none == 'v'`, "/", nil, "no such key"},
		{`has({http.vars.m}.none)`, "/", nil, "no"},
		{`{http.vars.l}[2] == 'a'`, "/", nil, "index out of bounds"},
		{`{http.vars.texts} == ['x', 'y']`, "/", nil, "yes"},
		{`{http.vars.err} == 'broken'`, "/", nil, "yes"},
		{`{time.now}.getFullYear() == 2026 && {time.now}.getHours() == 10`, "/", nil, "yes"},
		{`ph(req, 'http.request.method') == "GET"`, "/", nil, "yes"},
		{`ph(req, 'http.request.' + 'method') == "GET"`, "/", nil, "yes"},
		{`ph(req, "http.request.remote.host/24") == '127.0.0.0/24'`, "/", nil, "yes"},
		{`'\{http.request.method}' == '{' + 'http.request.method}'`, "/", nil, "yes"},
		{`'{a}' == '{' + 'a}'`, "/", nil, "yes"},
		{`{'a': 1}['a'] == 1`, "/", nil, "yes"},
		{`{http.request.method} + {http.request.uri.path} == 'GET/x'`, "/x", nil, "yes"},
		{`{http.request.method} + 1 == 5`, "/", nil, "no such overload"},
		{`{http.vars.undefined} + 'x' == 'x'`, "/", nil, "no such overload"},
		{`{http.vars.undefined}.startsWith('x')`, "/", nil, "no such overload"},
		{`{http.vars.undefined} || true`, "/", nil, "yes"},
		{`false && {http.vars.l}[9] == 1`, "/", nil, "no"},
		{`{http.vars.l}[9] == 1 && false`, "/", nil, "no"},
	})
}

// TestFunctions is rule 6.
func TestFunctions(t *testing.T) {
	try(t, []example{
		{`path('/a', '/b/*')`, "/b/c", nil, "yes"},
		{`path('/A')`, "/a", nil, "yes"},
		{`path({http.request.header.X})`, "/up", lines("X: /UP"), "yes"},
		{`path('\{env.UPPER}')`, "/up", nil, "no"},
		{`path({http.request.header.X})`, "/hidden", lines("X: {env.SECRET}"), "no"},
		{`path({http.request.header.X} + '*')`, "/x{y}z", lines("X: /x{y}"), "yes"},
		{`!path('/a')`, "/b", nil, "yes"},
		{`host('a.test', 'b.test')`, "/", nil, "yes"},
		{`host('*.test')`, "/", nil, "yes"},
		{`host({http.request.header.X}, {http.request.header.X})`, "/", lines("X: A.test"), "yes"},
		{`method('GET', 'HEAD')`, "/", nil, "yes"},
		{`method('get')`, "/", nil, "no"},
		{`method({http.request.header.X})`, "/", lines("X: GET"), "yes"},
		{`protocol('HTTP')`, "/", nil, "yes"},
		{`protocol('HTTPS')`, "/", nil, "no"},
		{`protocol('http/1.1+')`, "/", nil, "yes"},
		{`remote_ip('127.0.0.0/8')`, "/", nil, "yes"},
		{`remote_ip('\{env.NET}')`, "/", nil, "yes"},
		{`remote_ip({http.request.header.X})`, "/", lines("X: 127.0.0.1"), "yes"},
		{`remote_ip({http.request.header.X})`, "/", lines("X: nonsense"), "remote_ip cannot be set up"},
		{`client_ip('10.0.0.0/8', '::1')`, "/", nil, "yes"},
		{`client_ip('192.0.2.0/24')`, "/", nil, "no"},
		{`header({'x-key': ['a', 'b*']})`, "/", lines("X-Key: bc"), "yes"},
		{`header({'X': '1', 'Y': '2'})`, "/", lines("X: 1"), "no"},
		{`header({'X': []})`, "/", lines("X: 1"), "yes"},
		{`header({'X': '*' + {http.request.method} + '*'})`, "/", lines("X: aGETb"), "yes"},
		{`header({'X': {http.request.header.Y}})`, "/", lines("X: /hidden", "Y: {env.SECRET}"), "no"},
		{`header({'X': {http.request.header.Y}})`, "/", lines("X: {env.SECRET}", "Y: {env.SECRET}"), "yes"},
		{`query({'debug': ['1', '2'], 'x': '*'})`, "/?debug=2&x", nil, "yes"},
		{`query({{http.request.header.K}: '1'})`, "/?a=1", lines("K: a"), "yes"},
		{`query({{http.request.header.K}: '1'})`, "/?a=1", lines("K: {http.request.uri.path}"), "no"},
		{`vars({'n': '3'})`, "/", nil, "yes"},
		{`vars({'n': '4', 'flag': ['true']})`, "/", nil, "yes"},
		{`vars({'\{http.request.method}': 'GET'})`, "/", nil, "yes"},
		{`path_regexp('^/(?P<id>[0-9]+)$') && {http.regexp.id} == '7'`, "/7", nil, "yes"},
		{`path_regexp({http.request.header.X})`, "/abc", lines("X: b.$"), "yes"},
		{`path_regexp({http.request.header.X})`, "/abc", lines("X: ("), "path_regexp cannot be set up"},
		{`path_regexp({http.request.header.X})`, "/abc", lines("X: " + strings.Repeat("a", 1100)), "path_regexp cannot be set up"},
		{`path({http.request.header.X})`, "/abc", lines("X: " + strings.Repeat("a", 9000)), "more than 8192"},
		{`header_regexp('X', '^a(.)') && {http.regexp.1} == 'b'`, "/", lines("X: abc"), "yes"},
		{`header_regexp('n', 'X', '^a(.)') && {http.regexp.n.1} == 'b'`, "/", lines("X: abc"), "yes"},
		{`vars_regexp('n', '^[0-9]$')`, "/", nil, "yes"},
		{`vars_regexp('r', '\{http.request.method}', '^(G)') && {http.regexp.r.1} == 'G'`, "/", nil, "yes"},
		{`url_pattern('/b/:id') && {http.url_pattern.pathname.id} == '7'`, "/b/7", nil, "yes"},
		{`url_pattern('/b', 'http://a.test:8080')`, "/b", nil, "yes"},
		{`url_pattern('/b', 'http://a.test')`, "/b", nil, "no"},
		{`url_pattern({http.request.header.X})`, "/b", lines("X: /:x"), "yes"},
		{`file()`, "/a", nil, "yes"},
		{`file()`, "/b", nil, "no"},
		{`file('/b', '/a')`, "/", nil, "yes"},
		{`file({http.request.header.X})`, "/", lines("X: /a"), "yes"},
		{`file({'root': '/r', 'try_files': ['/r/' + {http.request.header.X}], 'try_policy': 'first_exist'})`, "/", lines("X: a"), "yes"},
		{`file({'try_files': []})`, "/a", nil, "no"},
		{`file({'split_path': ['.php']})`, "/a", nil, "yes"},
		{`file('=404')`, "/", nil, "HTTP 404"},
		{`['a', 'b'].exists(x, path('/b') && x == 'b')`, "/b", nil, "yes"},
	})
	ok, err := matcher(t, `file('=404') || false`).Match(request(t, "/"))
	if ok || handlers.StatusOf(err) != 404 {
		t.Errorf("a matcher's error: %v, %v", ok, err)
	}
	var herr *handlers.Error
	if _, err = matcher(t, `int({http.request.header.X}) > 1`).Match(request(t, "/")); err == nil || errors.As(err, &herr) {
		t.Errorf("the error of an evaluation has a status: %v", err)
	}
	r := request(t, "/")
	r.TLS = &tls.ConnectionState{}
	if _, err = matcher(t, `remote_ip('127.0.0.1')`).Match(r); handlers.StatusOf(err) != http.StatusTooEarly {
		t.Errorf("remote_ip during a handshake: %v", err)
	}
}

// TestErrorsHideValues: what a client sends does not come into errors.
func TestErrorsHideValues(t *testing.T) {
	for _, text := range []string{
		`int({http.request.header.X}) > 1`, `timestamp({http.request.header.X}) > {time.now}`, `'a'.matches({http.request.header.X})`, `{http.vars.m}[{http.request.header.X}] == 1`,
		`duration({http.request.header.X}) > duration('1s')`, `{time.now}.getHours({http.request.header.X}) == 1`, `path_regexp({http.request.header.X})`, `remote_ip({http.request.header.X})`,
		`{http.vars.l}[{http.request.header.X}] == 1`, `'%d'.format([{http.request.header.X}]) == ''`,
	} {
		if _, err := matcher(t, text).Match(request(t, "/", "X: secr(et")); err == nil || strings.Contains(err.Error(), "secr") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestErrorStatus is what handle_errors is adapted to.
func TestErrorStatus(t *testing.T) {
	const text = `{http.error.status_code} >= 500 && {http.error.status_code} <= 599 || {http.error.status_code} in [403, 404]`
	for status, want := range map[int]bool{502: true, 500: true, 599: true, 403: true, 404: true, 401: false, 200: false} {
		r := request(t, "/")
		handlers.Of(r).Fail(handlers.NewError(status, nil))
		if ok, err := matcher(t, text).Match(r); ok != want || err != nil {
			t.Errorf("%d: %v, %v", status, ok, err)
		}
	}
}

// TestJoins: what is decided is so even if one side fails.
func TestJoins(t *testing.T) {
	const fails = `remote_ip({http.request.header.X})`
	try(t, []example{
		{fails + ` || path('/a')`, "/a", nil, "yes"},
		{fails + ` || path('/b')`, "/a", nil, "remote_ip cannot be set up"},
		{fails + ` && path('/b')`, "/a", nil, "no"},
		{fails + ` && path('/a')`, "/a", nil, "remote_ip cannot be set up"},
		{`path('/a') || ` + fails, "/a", nil, "yes"},
		{`path('/b') && ` + fails, "/a", nil, "no"},
		{`path('/a') && ` + fails, "/a", nil, "remote_ip cannot be set up"},
		{`!` + fails, "/a", nil, "remote_ip cannot be set up"},
		{`!(path('/b') || {http.request.method} != 'GET') && 'GET' == {http.request.method}`, "/a", nil, "yes"},
		{`{http.vars.n} == 3 && {http.vars.n} != 4 && 3.0 == {http.vars.n} && {http.vars.n} != '3' && {http.vars.undefined} == null && {http.vars.flag} == true`, "/a", nil, "yes"},
		{`{http.vars.undefined} == '' || {http.vars.n} == null`, "/a", nil, "no"},
	})
	if e := matcher(t, `!path('/a') && {http.request.method} != 'GET'`).(*Expression); e.plain == nil {
		t.Error("matchers and comparisons need the interpreter")
	}
}

// TestLibrary is rule 7.
func TestLibrary(t *testing.T) {
	yes := []string{
		`size('héllo') == 5`, `'abc'.contains('b') && 'abc'.endsWith('c')`, `int('3') + 1 == 4`, `uint(3) == 3u`, `double('1.5') == 1.5`, `string(3) == '3'`, `bytes('a') == b'a'`,
		`bool('true')`, `type(1) == int`, `dyn(1) == 1.0`, `duration('1h').getMinutes() == 60`, `timestamp('2024-02-29T12:00:00Z').getDayOfMonth() == 28`,
		`[1, 2].all(x, x > 0) && [1, 2].exists(x, x == 2) && [1, 2].exists_one(x, x == 2)`, `[1, 2].map(x, x * 2) == [2, 4]`, `[1, 2].filter(x, x > 1) == [2]`,
		`true ? true : false`, `has({'a': 1}.a)`, `'a' in {'a': 1}`,
		`'abc'.charAt(1) == 'b'`, `'héhé'.indexOf('é') == 1 && 'héhé'.indexOf('é', 2) == 3 && 'a'.indexOf('x') == -1 && 'abc'.indexOf('', 9) == 3 && 'abc'.indexOf('a', 3) == -1`,
		`'héhé'.lastIndexOf('é') == 3 && 'héhé'.lastIndexOf('é', 2) == 1 && 'hello mellow'.lastIndexOf('ello', 6) == 1 && 'a'.lastIndexOf('x') == -1 && 'hello mellow'.lastIndexOf(' ', -1 + 6) == 5`,
		`['a', '', 'b'].join('-') == 'a--b' && ['', 'a'].join() == 'a'`, `'Ab'.lowerAscii() == 'ab' && 'Ab'.upperAscii() == 'AB'`,
		`'aXbXc'.replace('X', '-') == 'a-b-c' && 'aXbXc'.replace('X', '-', 1) == 'a-bXc' && 'aX'.replace('X', '', -1) == 'a' && 'aX'.replace('X', 'y', 0) == 'aX'`,
		`'a,b'.split(',') == ['a', 'b'] && 'a,b,c'.split(',', 2) == ['a', 'b,c']`, `'abc'.substring(1) == 'bc' && 'abc'.substring(1, 2) == 'b'`, `' a '.trim() == 'a'`, `'abc'.reverse() == 'cba'`,
		`'%s-%d'.format(['a', 3]) == 'a-3'`, `strings.quote('a"') == '"a\\""'`,
		`[1, 2, 3].slice(1, 3) == [2, 3]`, `[[1], [2]].flatten() == [1, 2]`, `[2, 1].sort() == [1, 2]`, `['bb', 'a'].sortBy(x, size(x)) == ['a', 'bb']`,
		`['a', 'a', 'b'].distinct() == ['a', 'b'] && [1, 1.0, 2u, 'x', 2].distinct() == [1, 2u, 'x']`, `[1, 2].reverse() == [2, 1]`, `lists.range(3) == [0, 1, 2]`,
		`math.greatest(1, 2) == 2 && math.least([3, 2]) == 2`, `math.ceil(1.2) == 2.0 && math.floor(1.8) == 1.0 && math.round(1.5) == 2.0 && math.trunc(1.9) == 1.0`,
		`math.abs(-1) == 1 && math.sign(-3) == -1 && math.sqrt(4) == 2.0`, `math.isInf(1.0/0.0) && math.isNaN(0.0/0.0) && math.isFinite(1.0)`,
		`math.bitAnd(6, 3) == 2 && math.bitOr(6, 3) == 7 && math.bitXor(6, 3) == 5 && math.bitNot(0) == -1 && math.bitShiftLeft(1, 3) == 8 && math.bitShiftRight(8, 3) == 1`,
		`cel.bind(x, 'a', x + x == 'aa')`, `cel.bind(p, {http.request.uri.path}, p == '/' && p.size() == 1)`,
	}
	for _, text := range yes {
		ok, err := matcher(t, text).Match(request(t, "/"))
		if !ok || err != nil {
			t.Errorf("%s: %v, %v", text, ok, err)
		}
	}
	for _, text := range []string{
		`sets.contains([1], [1])`, `base64.encode(b'a') == ''`, `regex.replace('a', 'a', 'b') == 'b'`, `optional.of(1).hasValue()`, `[1].hasAny([1])`, `[1].first() == 1`,
		`ip('127.0.0.1') == ip('127.0.0.1')`, `proto.hasExt(req, x)`, `tls()`, `not(path('/'))`, `expression('true')`, `cel.block([1], true)`, `file2()`,
	} {
		if res := build(t, text); len(res.Problems) == 0 {
			t.Errorf("%s loads", text)
		}
	}
}
