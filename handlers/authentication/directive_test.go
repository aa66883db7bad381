package authentication_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirective(t *testing.T) {
	const ann = `"accounts":[{"username":"ann","password":"H"}]`
	handler := func(basic string) string {
		return `[{"handle":[{"handler":"authentication","providers":{"http_basic":{` + basic + `}}}]}]`
	}
	for _, c := range []struct{ name, text, want, warning string }{
		{"the reference's example", "basic_auth /in/* argon2id \"My Realm\" {\n\tbob HASH1\n\teve HASH2\n}",
			`[{"match":[{"path":["/in/*"]}],"handle":[{"handler":"authentication","providers":{"http_basic":{"accounts":[{"username":"bob","password":"HASH1"},{"username":"eve","password":"HASH2"}],"hash":{"algorithm":"argon2id"},"hash_cache":{},"realm":"My Realm"}}}]}]`, ""},
		{"the default", "basic_auth {\n\tann H\n}", handler(ann + `,"hash":{"algorithm":"bcrypt"},"hash_cache":{}`), ""},
		{"bcrypt", "basic_auth bcrypt {\n\tann H\n}", handler(ann + `,"hash":{"algorithm":"bcrypt"},"hash_cache":{}`), ""},
		{"no accounts", "basic_auth", handler(`"hash":{"algorithm":"bcrypt"},"hash_cache":{}`), ""},
		{"a user twice is not seen here", "basic_auth {\n\tann H\n\tann H\n}", handler(`"accounts":[{"username":"ann","password":"H"},{"username":"ann","password":"H"}],"hash":{"algorithm":"bcrypt"},"hash_cache":{}`), ""},
		{"the older spelling", "basicauth {\n\tann H\n}", handler(ann + `,"hash":{"algorithm":"bcrypt"},"hash_cache":{}`), "basic_auth"},
		{"before what follows", "respond hi\nbasic_auth {\n\tann H\n}", `[{"handle":[{"handler":"authentication","providers":{"http_basic":{` + ann + `,"hash":{"algorithm":"bcrypt"},"hash_cache":{}}}},{"handler":"static_response","body":"hi"}]}]`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc, err := adapttest.Site(t, c.text)
			if err != nil {
				t.Fatal(err)
			}
			adapttest.Same(t, adapttest.RoutesOf(doc), c.want)
			if got := len(doc.Warnings) > 0; got != (c.warning != "") || (got && !strings.Contains(doc.Warnings[0].Message, c.warning)) {
				t.Errorf("warnings %v, want %q", doc.Warnings, c.warning)
			}
		})
	}
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"an algorithm", "basic_auth md5 {\n\tann H\n}", "parsing caddyfile tokens for 'basic_auth': unrecognized hash algorithm: md5, at"},
		{"an algorithm that is nearly one", "basic_auth bcript", "did you mean 'bcrypt'?"},
		{"too many arguments", "basic_auth bcrypt realm more", "wrong argument count or unexpected line ending after 'more'"},
		{"no hash", "basic_auth {\n\tann\n}", "username and password cannot be empty or missing, at"},
		{"an empty hash", "basic_auth {\n\tann \"\"\n}", "username and password cannot be empty or missing, at"},
		{"an empty name", "basic_auth {\n\t\"\" H\n}", "username and password cannot be empty or missing, at"},
		{"something more", "basic_auth {\n\tann H x\n}", "wrong argument count or unexpected line ending after 'x'"},
		{"a block", "basic_auth {\n\tann H {\n\t}\n}", "unexpected token '{'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := adapttest.Site(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}
