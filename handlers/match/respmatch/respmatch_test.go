package respmatch

import (
	"net/http"
	"testing"
)

func TestMatch(t *testing.T) {
	type headers = map[string][]string
	h := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Add(kv[i], kv[i+1])
		}
		return h
	}
	tests := []struct {
		name   string
		cfg    *Config
		status int
		header http.Header
		want   bool
	}{
		{"nil", nil, 200, h(), true},
		{"empty", &Config{}, 503, h("A", "b"), true},
		{"class", &Config{StatusCode: []int{2}}, 200, h(), true},
		{"class end", &Config{StatusCode: []int{2}}, 299, h(), true},
		{"other class", &Config{StatusCode: []int{2}}, 301, h(), false},
		{"class 3", &Config{StatusCode: []int{3}}, 301, h(), true},
		{"class 3 end", &Config{StatusCode: []int{3}}, 399, h(), true},
		{"class 3 over", &Config{StatusCode: []int{3}}, 400, h(), false},
		{"class or code: class", &Config{StatusCode: []int{3, 401}}, 302, h(), true},
		{"class or code: code", &Config{StatusCode: []int{3, 401}}, 401, h(), true},
		{"class or code: none", &Config{StatusCode: []int{3, 401}}, 400, h(), false},
		{"exact", &Config{StatusCode: []int{201}}, 200, h(), false},
		{"exact 100", &Config{StatusCode: []int{100}}, 100, h(), true},
		{"no status at all", &Config{StatusCode: []int{}}, 200, h(), false},
		{"OR over values", &Config{Headers: headers{"Foo": {"bar", "baz"}}}, 200, h("Foo", "baz"), true},
		{"OR over lines", &Config{Headers: headers{"Foo": {"bar"}}}, 200, h("Foo", "x", "Foo", "bar"), true},
		{"per line, not per element", &Config{Headers: headers{"Foo": {"bar"}}}, 200, h("Foo", "x,bar"), false},
		{"case of the name", &Config{Headers: headers{"foo-x": {"bar"}}}, 200, h("Foo-X", "bar"), true},
		{"case of the value", &Config{Headers: headers{"Foo": {"BAR"}}}, 200, h("Foo", "bar"), false},
		{"AND over fields", &Config{Headers: headers{"Foo": {"bar"}, "Foo2": {"baz"}}}, 200, h("Foo", "bar"), false},
		{"AND over fields, both", &Config{Headers: headers{"Foo": {"bar"}, "Foo2": {"baz"}}}, 200, h("Foo", "bar", "Foo2", "baz"), true},
		{"prefix", &Config{Headers: headers{"Foo": {"foo*"}}}, 200, h("Foo", "foobar"), true},
		{"prefix, not", &Config{Headers: headers{"Foo": {"foo*"}}}, 200, h("Foo", "afoo"), false},
		{"suffix", &Config{Headers: headers{"Foo": {"*bar"}}}, 200, h("Foo", "foobar"), true},
		{"suffix, not", &Config{Headers: headers{"Foo": {"*bar"}}}, 200, h("Foo", "bara"), false},
		{"middle", &Config{Headers: headers{"Foo": {"*ob*"}}}, 200, h("Foo", "foobar"), true},
		{"middle, not", &Config{Headers: headers{"Foo": {"*OB*"}}}, 200, h("Foo", "foobar"), false},
		{"any value", &Config{Headers: headers{"Foo": {"*"}}}, 200, h("Foo", ""), true},
		{"any value, absent", &Config{Headers: headers{"Foo": {"*"}}}, 200, h(), false},
		{"star inside is literal", &Config{Headers: headers{"Foo": {"a*c"}}}, 200, h("Foo", "abc"), false},
		{"star inside is itself", &Config{Headers: headers{"Foo": {"a*c"}}}, 200, h("Foo", "a*c"), true},
		{"no placeholders", &Config{Headers: headers{"Foo": {"{x}"}}}, 200, h("Foo", "{x}"), true},
		{"present", &Config{Headers: headers{"Foo": {}}}, 200, h("Foo", ""), true},
		{"present, not", &Config{Headers: headers{"Foo": {}}}, 200, h(), false},
		{"absent", &Config{Headers: headers{"Foo": nil}}, 200, h(), true},
		{"absent, not", &Config{Headers: headers{"Foo": nil}}, 200, h("Foo", ""), false},
		{"suppressed counts as absent", &Config{Headers: headers{"Foo": nil}}, 200, http.Header{"Foo": nil}, true},
		{"removed counts as absent", &Config{Headers: headers{"Foo": {}}}, 200, http.Header{"Foo": {}}, false},
		{"Host is a field like others", &Config{Headers: headers{"Host": nil}}, 200, h(), true},
		{"both parts", &Config{StatusCode: []int{2}, Headers: headers{"Foo": {"a"}}}, 404, h("Foo", "a"), false},
	}
	for _, tt := range tests {
		if got := Compile(tt.cfg).Match(tt.status, tt.header); got != tt.want {
			t.Errorf("%s: %v on %d %v = %v", tt.name, tt.cfg, tt.status, tt.header, got)
		}
	}
	m := Compile(&Config{StatusCode: []int{2, 404}, Headers: headers{"foo": {"*a*"}}})
	hdr := h("Foo", "bar")
	if n := testing.AllocsPerRun(100, func() { m.Match(404, hdr) }); n != 0 {
		t.Errorf("a match allocates %v times", n)
	}
}
