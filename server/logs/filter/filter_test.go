package filter

import (
	"regexp"
	"strings"
	"testing"
)

var three = []Action{{ReplaceValue, "foo", "REDACTED"}, {DeleteValue, "bar", ""}, {HashValue, "hash", ""}}

func TestText(t *testing.T) {
	mask, v4 := IPMask(16, 32), IPMask(24, 0)
	query, cookie, set := Query(three), Cookie(three), SetCookie(three)
	multi := MultiRegexp([]Operation{{regexp.MustCompile("secret"), "REDACTED"}, {regexp.MustCompile(`\d+`), "NUM"}})
	const dropped = "(dropped)"
	cases := []struct {
		name     string
		f        *Filter
		in, want string
	}{
		{"delete", Delete(), "x", dropped},
		{"rename", Rename("y"), "x", "x"},
		{"replace", Replace("y"), "x", "y"},
		{"hash", Hash(), "foo", "2c26b46b"},
		{"hash", Hash(), "", "e3b0c442"},
		{"mask", mask, "255.255.255.255, 244.244.244.244", "255.255.0.0, 244.244.0.0"},
		{"mask", mask, "255.255.255.255,244.244.244.244", "255.255.0.0, 244.244.0.0"},
		{"mask", mask, "1.2.3.4, unknown,ffff:ffff:ffff::1", "1.2.0.0, unknown, ffff:ffff::"},
		{"mask", mask, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff::"},
		{"mask", mask, "not-an-ip", "not-an-ip"},
		{"mask", mask, "", ""},
		{"mask", mask, "a,b", "a, b"},
		{"mask", mask, "1.2.3.4:8080", "1.2.0.0:8080"},
		{"mask", mask, "[2001:db8:1::1]:443", "[2001:db8::]:443"},
		{"mask", mask, "[2001:db8:1::1]", "[2001:db8::]"},
		{"mask", mask, "fe80:1:2::3%eth0", "fe80:1::"},
		{"mask", mask, "::ffff:1.2.3.4", "1.2.0.0"},
		{"mask", mask, "example.com:80", "example.com:80"},
		{"mask without bits", v4, "2001:db8::1", "::"},
		{"mask without bits", v4, "1.2.3.4", "1.2.3.0"},
		{"query", query, "/path?foo=a&foo=b&bar=c&baz=e&hash=hashed", "/path?baz=e&foo=REDACTED&foo=REDACTED&hash=1a06df82"},
		{"query", query, "/path", "/path"},
		{"query", query, "/path?", "/path"},
		{"query", query, "/path?bar=1", "/path"},
		{"query", query, "/p%2Fq?f%6fo=a", "/p%2Fq?foo=REDACTED"},
		{"query", query, "/p?foo=a&x=%zz", "/p?foo=REDACTED"},
		{"query", query, "http://a.test/p?foo#frag?foo=b", "http://a.test/p?foo=REDACTED#frag?foo=b"},
		{"query", query, "::bad::?foo=secret", "::bad::?foo=REDACTED"},
		{"query in order", Query([]Action{{ReplaceValue, "a", "1"}, {HashValue, "a", ""}}), "/?a=x", "/?a=" + Sum("1")},
		{"cookie", cookie, "foo=a; foo=b; bar=c; baz=e; hash=hashed", "foo=REDACTED; foo=REDACTED; baz=e; hash=1a06df82"},
		{"cookie", cookie, "bar=c", ""},
		{"cookie", cookie, `foo="a b";baz=1;;Foo=x`, `foo="REDACTED"; baz=1; Foo=x`},
		{"cookie", cookie, "foo; baz", "foo=REDACTED; baz"},
		{"cookie", cookie, " foo = a ", "foo=REDACTED"},
		{"cookie", cookie, "REDACTED", "REDACTED"},
		{"first cookie action", Cookie([]Action{{ReplaceValue, "a", "1"}, {DeleteValue, "a", ""}}), "a=x", "a=1"},
		{"set_cookie", set, `foo="a"; Path=/`, `foo="REDACTED"; Path=/`},
		{"set_cookie", set, "bar=c; Secure", dropped},
		{"set_cookie", set, "hash=hashed; HttpOnly", "hash=1a06df82; HttpOnly"},
		{"set_cookie", SetCookie([]Action{{HashValue, "session", ""}}), "session=; Max-Age=0", "session=e3b0c442; Max-Age=0"},
		{"set_cookie", set, "Foo=a; foo=b", "Foo=a; foo=b"},
		{"set_cookie", set, "bar", "bar"},
		{"set_cookie", set, "", ""},
		{"regexp", Regexp(regexp.MustCompile(`(\w)=(\w)`), "$2-$1"), "a=b c=d", "b-a d-c"},
		{"multi_regexp", multi, "foo-secret-123", "foo-REDACTED-NUM"},
		{"multi_regexp", multi, strings.Repeat("x", MaxInput) + "secret", strings.Repeat("x", MaxInput)},
		{"multi_regexp", multi, strings.Repeat("x", MaxInput-1) + "é", strings.Repeat("x", MaxInput-1)},
		{"growing", MultiRegexp([]Operation{{regexp.MustCompile("x"), "yy"}}), strings.Repeat("x", MaxInput), strings.Repeat("y", MaxInput)},
	}
	for _, c := range cases {
		got, keep := c.f.Text(c.in)
		if !keep {
			got = dropped
		}
		if got != c.want {
			t.Errorf("%s of %.80q: got %.80q, want %.80q", c.name, c.in, got, c.want)
		}
	}
}
