package maphandler_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirective(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"the reference's example", "map {path} {kind} {n} {\n\t/a     first 1\n\t~^/b   \"2\"   -\n\t/c     true\n\tdefault none\n}",
			`[{"handle":[{"handler":"map","source":"{http.request.uri.path}","destinations":["{kind}","{n}"],"mappings":[{"input":"/a","outputs":["first",1]},{"input_regexp":"^/b","outputs":["2",null]},{"input":"/c","outputs":[true,null]}],"defaults":["none",""]}]}]`},
		{"a matcher", "map /x {host} {a} {\n\tb c\n}", `[{"match":[{"path":["/x"]}],"handle":[{"handler":"map","source":"{http.request.host}","destinations":["{a}"],"mappings":[{"input":"b","outputs":["c"]}]}]}]`},
		{"without a block", "map {host} {a}", `[{"handle":[{"handler":"map","source":"{http.request.host}","destinations":["{a}"]}]}]`},
		{"a pattern shorthand is not checked", "map {host} {vars.x}", `[{"handle":[{"handler":"map","source":"{http.request.host}","destinations":["{http.vars.x}"]}]}]`},
		{"a quoted dash", "map x {a} {\n\tb \"-\"\n}", `[{"handle":[{"handler":"map","source":"x","destinations":["{a}"],"mappings":[{"input":"b","outputs":[null]}]}]}]`},
		{"types", "map x {a} {b} {c} {d} {\n\ty 1.5 \"1\" t 1e3\n}", `[{"handle":[{"handler":"map","source":"x","destinations":["{a}","{b}","{c}","{d}"],"mappings":[{"input":"y","outputs":[1.5,"1",true,1000]}]}]}]`},
		{"no outputs", "map x {a} {b} {\n\ty\n}", `[{"handle":[{"handler":"map","source":"x","destinations":["{a}","{b}"],"mappings":[{"input":"y","outputs":[null,null]}]}]}]`},
		{"it comes first", "vars a b\nmap x {a}", `[{"handle":[{"handler":"map","source":"x","destinations":["{a}"]},{"handler":"vars","a":"b"}]}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := adapttest.Routes(t, c.text)
			if err != nil {
				t.Fatal(err)
			}
			adapttest.Same(t, got, c.want)
		})
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "map", "wrong argument count or unexpected line ending after 'map', at"},
		{"no destination", "map {host}", "parsing caddyfile tokens for 'map': missing destination argument(s), at"},
		{"no destination but a block", "map {host} {\n\ta b\n}", "missing destination argument(s), at"},
		{"too many outputs", "map x {a} {\n\ty 1 2\n}", "too many outputs"},
		{"defaults twice", "map x {a} {\n\tdefault 1\n\tdefault 2\n}", "defaults already defined, at"},
		{"too many defaults", "map x {a} {\n\tdefault 1 2\n}", "too many defaults"},
		{"a short name", "map x {host}", "conflicts with a Caddyfile placeholder shorthand, at"},
		{"a long name", "map x {a} {http.request.uri.path}", "destination {path} conflicts with a Caddyfile placeholder shorthand, at"},
		{"a short name without braces", "map x host", "destination {host} conflicts with a Caddyfile placeholder shorthand, at"},
		{"a block in a line", "map x {a} {\n\ty 1 {\n\t}\n}", "unexpected token '{'"},
		{"not a number", "map x {a} {\n\ty NaN\n}", "NaN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := adapttest.Routes(t, c.text)
			if err == nil {
				t.Fatalf("no error but %s", got)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want %q in it", err, c.want)
			}
		})
	}
}
