package filter

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/zap"
)

var anyDigit = regexp.MustCompile(`\d`)

const hidden = "hunter2sesame"

// FuzzText: whatever a value is, no filter panics, what is deleted is not in the
// result, masked addresses are masked, and filtering twice is filtering once.
func FuzzText(f *testing.F) {
	for _, s := range []string{"/p?token=a&token=b&c=d#token=e", "token=a; b=c;token", `token="a"; Path=/`, "1.2.3.4, [::1]:80,x", "%zz?token=%zz;token=1", "?#?", "=;=,"} {
		f.Add(s)
	}
	actions := []Action{{DeleteValue, "token", ""}, {HashValue, "user", ""}, {ReplaceValue, "name", hidden}}
	query, cookie, set, mask := Query(actions), Cookie(actions), SetCookie(actions), IPMask(8, 16)
	multi := MultiRegexp([]Operation{{anyDigit, "#"}, {regexp.MustCompile(`(?i)token(.)`), "$1"}})
	f.Fuzz(func(t *testing.T, s string) {
		q, _ := query.Text(s)
		_, raw, _ := strings.Cut(strings.SplitN(q, "#", 2)[0], "?")
		values, err := url.ParseQuery(raw)
		if err != nil || values.Has("token") {
			t.Errorf("query of %q: %q: %v", s, q, err)
		}
		c, _ := cookie.Text(s)
		for part := range strings.SplitSeq(c, ";") {
			name, value, _ := strings.Cut(part, "=")
			switch strings.TrimSpace(name) {
			case "token":
				t.Errorf("cookie of %q: %q", s, c)
			case "name":
				if strings.Trim(strings.TrimSpace(value), `"`) != hidden {
					t.Errorf("cookie of %q: %q", s, c)
				}
			}
		}
		if again, _ := Cookie(actions[:1]).Text(c); again != c {
			t.Errorf("cookie of %q: %q, and then %q", s, c, again)
		}
		if out, keep := set.Text(s); keep {
			name, _, ok := strings.Cut(strings.SplitN(out, ";", 2)[0], "=")
			if ok && strings.TrimSpace(name) == "token" {
				t.Errorf("set_cookie of %q: %q", s, out)
			}
		}
		m, _ := mask.Text(s)
		if again, _ := mask.Text(m); again != m {
			t.Errorf("mask of %q: %q, and then %q", s, m, again)
		}
		for part := range strings.SplitSeq(m, ",") {
			if a, err := netip.ParseAddr(strings.TrimSpace(part)); err == nil {
				bits := 16
				if a.Is4() {
					bits = 8
				}
				if p, err := a.Prefix(bits); err != nil || p.Addr() != a {
					t.Errorf("mask of %q: %q", s, m)
				}
			}
		}
		if out, _ := multi.Text(s); anyDigit.MatchString(out) || len(out) > MaxInput {
			t.Errorf("multi_regexp of %q: %q", s, out)
		}
	})
}

// FuzzEncoder: whatever is in the document behind a field, and whatever is
// filtered in it, the line is JSON and does not hold what was deleted.
func FuzzEncoder(f *testing.F) {
	f.Add(`{"a":{"b":["`+hidden+`",1]},"`+hidden+`":2}`, "x>a>b")
	f.Add(`["`+hidden+`"]`, "x")
	f.Add(`{"a":[{"b":"`+hidden+`"},{"b":[["`+hidden+`"]]}]}`, "x>a>b")
	f.Fuzz(func(t *testing.T, doc, path string) {
		var v any
		if json.Unmarshal([]byte(doc), &v) != nil {
			return
		}
		for _, fl := range []*Filter{Delete(), Replace("r"), Hash(), Rename("n"), IPMask(8, 8), Query(three), Cookie(three), SetCookie(three), Regexp(anyDigit, "")} {
			line := encode(t, NewTree(map[string]*Filter{path: fl, "y": Hash()}).Encoder(jsonEncoder()), zap.Reflect("x", v), zap.Any("y", v))
			if path == "x" && fl.kind == remove && strings.Contains(line, `"x":`) && !strings.Contains(line, `{"y":`) {
				t.Errorf("deleted: %s", line)
			}
			if path == "x" && fl.kind != rename && (fl.kind == remove || fl.kind == replace || fl.kind == digest) && strings.Contains(line, hidden) {
				t.Errorf("shown: %s", line)
			}
		}
	})
}
