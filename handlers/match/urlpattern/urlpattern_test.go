package urlpattern

import (
	"strings"
	"testing"
)

// parse makes the URL of a text without user and password.
func parse(text string) (u URL) {
	scheme, rest, _ := strings.Cut(text, "://")
	u[Protocol] = scheme
	rest, u[Hash], _ = strings.Cut(rest, "#")
	rest, u[Search], _ = strings.Cut(rest, "?")
	host, path, _ := strings.Cut(rest, "/")
	u[Pathname] = "/" + path
	u[Hostname] = host
	if i := strings.LastIndexByte(host, ':'); i > 0 && host[len(host)-1] != ']' {
		u[Hostname], u[Port] = host[:i], host[i+1:]
	}
	return u
}

func TestMatch(t *testing.T) {
	type o = Options
	for _, c := range []struct {
		pattern string
		options Options
		url     string
		groups  string // "component.name=value", or "-" for no match
	}{
		{"", o{}, "https://a.test:8/x?y#z", "pathname.0=/x hostname.0=a.test"},
		{"/b/:id/*", o{}, "http://a.test/b/7/x/y", "pathname.id=7 pathname.0=x/y search.0="},
		{"/b/:id", o{}, "http://a.test/b", "-"},
		{"/b/:id", o{}, "http://a.test/b/", "-"},
		{"/b/:id", o{}, "http://a.test/b/1/2", "-"},
		{"/files/*", o{}, "http://a.test/files/a/b/c", "pathname.0=a/b/c"},
		{"/files/*", o{}, "http://a.test/files", "-"},
		{"/files/*", o{}, "http://a.test/files/", "pathname.0="},
		{"/foo", o{}, "http://a.test/FOO", "-"},
		{"/foo", o{IgnoreCase: true}, "http://a.test/FOO", ""},
		{"/foo/:x", o{IgnoreCase: true}, "http://a.test/Foo/Bar", "pathname.x=Bar"},
		{"/b?q=:v", o{}, "http://a.test/b?q=1", "search.v=1"},
		{"/b?q=:v", o{}, "http://a.test/b", "-"},
		{"/b?q=:v&*", o{}, "http://a.test/b?q=1&x=2", "search.v=1 search.0=x=2"},
		{"/b?", o{}, "http://a.test/b", ""},
		{"/b?", o{}, "http://a.test/b?x", "-"},
		{"?x=1", o{}, "http://a.test/any?x=1", "search="},
		{"#x", o{}, "http://a.test/any#x", ""},
		{"#x", o{}, "http://a.test/any", "-"},
		{`/:n(\d+)`, o{}, "http://a.test/12", "pathname.n=12"},
		{`/:n(\d+)`, o{}, "http://a.test/ab", "-"},
		{`/(\d+)-(\d+)`, o{}, "http://a.test/1-2", "pathname.0=1 pathname.1=2"},
		{`/:n((?<year>\d+)-(?:\d+))/:m`, o{}, "http://a.test/1-2/3", "pathname.n=1-2 pathname.m=3"},
		{"/a{/b}?", o{}, "http://a.test/a", ""},
		{"/a{/b}?", o{}, "http://a.test/a/b", ""},
		{"/a/:x?", o{}, "http://a.test/a", "pathname.x="},
		{"/a/:x?", o{}, "http://a.test/a/b", "pathname.x=b"},
		{"/a/:x+", o{}, "http://a.test/a/b/c", "pathname.x=b/c"},
		{"/a/:x+", o{}, "http://a.test/a", "-"},
		{"/a/:x*", o{}, "http://a.test/a", "pathname.x="},
		{"/a{-:x}*", o{}, "http://a.test/a-b-c", "pathname.x=b-c"},
		{"/a{:x-y}", o{}, "http://a.test/ab-y", "pathname.x=b"},
		{"/:a-:b", o{}, "http://a.test/x-y", "pathname.a=x pathname.b=y"},
		{"/:a.html", o{}, "http://a.test/x.html", "pathname.a=x"},
		{"/x{y}z", o{}, "http://a.test/xyz", ""},
		{`/\:x\*`, o{}, "http://a.test/:x*", ""},
		{"/*/x/*", o{}, "http://a.test/a/b/x/c", "pathname.0=a/b pathname.1=c"},
		{"*.php", o{}, "http://a.test/a/b.php", "pathname.0=a/b"},
		{"*", o{}, "http://a.test/a", "pathname.0=a"},
		{"foo", o{}, "http://a.test/foo", ""},
		{"/a b/ü", o{}, "http://a.test/a%20b/%C3%BC", ""},
		{"/a%20b", o{}, "http://a.test/a%20b", ""},
		{"/a/../b/./c", o{}, "http://a.test/b/c", ""},
		{"http://a.test/b", o{}, "http://a.test/b", ""},
		{"http://A.TEST/b", o{}, "http://a.test/b", ""},
		{"http://a.test:80/b", o{}, "http://a.test/b", ""},
		{"http://a.test/b", o{}, "http://a.test:8080/b", "-"},
		{"http://a.test:8080/b", o{}, "http://a.test:8080/b", ""},
		{"http://a.test:*/b", o{}, "http://a.test:8080/b", "port.0=8080"},
		{"http://a.test/b", o{}, "https://a.test/b", "-"},
		{"http{s}?://a.test/b", o{}, "https://a.test/b", ""},
		{"*://a.test/b", o{}, "https://a.test/b", "protocol.0=https"},
		{"https://{:sub.}?a.test/*", o{}, "https://x.a.test/q", "hostname.sub=x pathname.0=q"},
		{"https://{:sub.}?a.test/*", o{}, "https://a.test/q", "hostname.sub="},
		{"https://*.a.test/", o{}, "https://x.y.a.test/", "hostname.0=x.y"},
		{"https://:sub.a.test/", o{}, "https://x.y.a.test/", "-"},
		{"https://:sub.a.test/", o{}, "https://x.a.test/", "hostname.sub=x"},
		{"https://a.test", o{}, "https://a.test/any?q", "pathname.0=/any search.0=q"},
		{"https://a.test?q", o{}, "https://a.test/?q", ""},
		{"https://a.test#h", o{}, "https://a.test/#h", ""},
		{"https://bücher.test/", o{}, "https://xn--bcher-kva.test/", ""},
		{`http://[\:\:1]:8080/x`, o{}, "http://[::1]:8080/x", ""},
		{`http://[\:\:*\:1]/x`, o{}, "http://[::ab:1]/x", "hostname.0=ab"},
		{"http://u:p@a.test/", o{}, "http://a.test/", "-"},
		{"https://*:*@a.test/", o{}, "https://a.test/", "username.0="},
		{"data:x://y", o{}, "http://a.test/", "-"},
		{"/search", o{BaseURL: "https://example.com"}, "https://example.com/search?q=x", "search.0=q=x"},
		{"/search", o{BaseURL: "https://example.com"}, "https://other.test/search", "-"},
		{"/search", o{BaseURL: "https://example.com"}, "http://example.com/search", "-"},
		{"/search", o{BaseURL: "https://example.com:8443"}, "https://example.com:8443/search", ""},
		{"x/:y", o{BaseURL: "https://example.com/a/b"}, "https://example.com/a/x/1", "pathname.y=1"},
		{"?q", o{BaseURL: "https://example.com/a/b"}, "https://example.com/a/b?q", ""},
		{"#h", o{BaseURL: "https://example.com/a?q"}, "https://example.com/a?q#h", ""},
		{"/x", o{BaseURL: "http://[::1]:81/"}, "http://[::1]:81/x", ""},
		{"/é", o{IgnoreCase: true}, "http://a.test/%c3%a9", ""},
	} {
		p, err := Compile(c.pattern, c.options)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		u := parse(c.url)
		values, ok := p.Match(&u, nil)
		if ok != (c.groups != "-") {
			t.Errorf("%q %+v on %s: match is %v", c.pattern, c.options, c.url, ok)
			continue
		}
		for _, g := range strings.Fields(c.groups) {
			key, want, found := strings.Cut(g, "=")
			component, name, dotted := strings.Cut(key, ".")
			if !found || !dotted {
				continue
			}
			x, _ := ComponentOf(component)
			if got, known := p.Value(&u, values, x, name); !ok || !known || got != want {
				t.Errorf("%q on %s: %s is %q (known: %v), want %q", c.pattern, c.url, key, got, known, want)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ pattern, base, want string }{
		{"/{a", "", `expected "}"`},
		{"/a}", "", "expected the end"},
		{"/:", "", `must be followed by a name`},
		{"(", "", `has no ")"`},
		{"/()", "", "empty"},
		{"/(?x)", "", `has no ")"`},
		{"/{(?x)}", "", `cannot begin with "?"`},
		{"/(a(b))", "", `must begin with "(?:"`},
		{"/(ü)", "", "must be ASCII"},
		{`/(\`, "", "escape"},
		{`/(a(`, "", "must begin"},
		{`/a\`, "", "backslash"},
		{"/{(?=x)}", "", "cannot begin"},
		{"/((?=x))", "", "compiling the regular expression"},
		{"/(a{1001})", "", "compiling the regular expression"},
		{"/:a/:a", "", `"a" is there twice`},
		{"/a**", "", ""},
		{"https://a b/", "", "host name"},
		{"https://[xyz]/", "", "IPv6"},
		{"https://a.test:1x/", "", "port number"},
		{"https://a.test:70000/", "", "port number"},
		{"h ttp://a.test/", "", "part of a scheme"},
		{"/x", "/relative", "must be absolute"},
		{"/x", "http://%zz", "cannot be parsed"},
		{strings.Repeat("a", MaxLen+1), "", "more than 4096"},
		{"/x", "http://" + strings.Repeat("a", MaxLen), "more than 4096"},
	} {
		_, err := Compile(c.pattern, Options{BaseURL: c.base})
		if c.want == "" {
			if err != nil {
				t.Errorf("%q: %v", c.pattern, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q with %q: error %v, want one with %q", c.pattern, c.base, err, c.want)
		}
	}
	// The host of this pattern is not a URL's, but made of what an address has.
	if _, err := Compile("https://[bad", Options{}); err != nil {
		t.Errorf("https://[bad: %v", err)
	}
}

// TestStepsAgree: what is matched without a regular expression gives what the
// regular expression would give.
func TestStepsAgree(t *testing.T) {
	texts := []string{"", "/", "//", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/A/B", "/a//b", "a", "/ab", "/b"}
	for _, pattern := range []string{"/", "/a", "/*", "*", "/:x", "/:x/", "/:x/:y", "/a/:x/*", "/:x/b{/:y}", "/a{/:x/}", "{/:x}/*", "/a:x", "/a*", "{/a:x/c}"} {
		for _, fold := range []bool{false, true} {
			parts, err := parseParts(pattern, "/", canonicalPath)
			if err != nil {
				t.Fatal(err)
			}
			steps, re := &component{fold: fold}, &component{fold: fold}
			for _, p := range parts {
				if p.kind != fixedPart {
					steps.names = append(steps.names, p.name)
				}
			}
			if steps.steps = direct(parts, '/'); steps.steps == nil {
				t.Errorf("%s needs a regular expression", pattern)
				continue
			}
			if err := re.compileRegexp(parts, '/'); err != nil {
				t.Fatal(err)
			}
			for _, text := range texts {
				a, b := make([]string, len(steps.names)), make([]string, len(steps.names))
				x, y := steps.match(text, a), re.match(text, b)
				if x != y || x && strings.Join(a, "|") != strings.Join(b, "|") {
					t.Errorf("%s on %q, fold %v: steps say %v %q, the regular expression %v %q", pattern, text, fold, x, a, y, b)
				}
			}
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	p, err := Compile("/b/:id/*", Options{})
	if err != nil {
		t.Fatal(err)
	}
	u := parse("http://a.test/b/7/x/y")
	var space [8]string
	if n := testing.AllocsPerRun(100, func() { p.Match(&u, space[:0]) }); n != 0 {
		t.Errorf("a match allocates %v times", n)
	}
}

// FuzzCompile: a pattern is refused or can match any URL; where there are steps
// they say what the regular expression says.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		"/b/:id/*", "https://{:sub.}?a.test/*?q=:v#h", `/:n(\d+)`, "/a{/b}?", "/(a|b)+", "http://[::1]:80/", "{(", `\`, "/a/:x+/{-:y-}*", "*://u:p@*.b:*/", "data:x",
		"/a/../%2e/ü", "/:x(.*)", "?a#b?c", "::", "/{:a}{:b}", "/(?:)",
	} {
		f.Add(s, "", "https://a.test/b/7?x#y", false)
	}
	f.Add("x", "https://example.com/a/b?c#d", "https://example.com/a/x", true)
	f.Fuzz(func(t *testing.T, pattern, base, target string, fold bool) {
		p, err := Compile(pattern, Options{BaseURL: base, IgnoreCase: fold})
		if err != nil {
			if p != nil || strings.TrimSpace(err.Error()) == "" {
				t.Errorf("%q: error %q with a pattern", pattern, err)
			}
			return
		}
		u := parse(target)
		u[Pathname] = EncodePath(u[Pathname], true)
		values, ok := p.Match(&u, nil)
		if !ok {
			return
		}
		for c := range count {
			for _, name := range p.components[c].names {
				v, known := p.Value(&u, values, c, name)
				if !known || !strings.Contains(u[c], v) {
					t.Errorf("%q on %q: %s.%s is %q, which is not in %q", pattern, target, c, name, v, u[c])
				}
			}
			x := p.components[c]
			if x.any || x.re != nil {
				continue
			}
			rest := u[c]
			for _, s := range x.steps {
				if !fold && !strings.Contains(rest, s.literal) {
					t.Errorf("%q on %q: %q is not in %q", pattern, target, s.literal, rest)
				}
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, pattern := range []string{"/b/:id/*", `/b/:id(\d+)/*`} {
		p, err := Compile(pattern, Options{})
		if err != nil {
			b.Fatal(err)
		}
		u := parse("http://a.test/b/7/x/y")
		b.Run(pattern, func(b *testing.B) {
			b.ReportAllocs()
			var space [8]string
			for b.Loop() {
				p.Match(&u, space[:0])
			}
		})
	}
}
