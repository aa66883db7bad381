package proxyprotocol_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

// adapted adapts a site with listener wrappers.
func adapted(t *testing.T, wrappers string) (string, error) {
	t.Helper()
	text := "{\n\tservers {\n\t\tlistener_wrappers {\n" + wrappers + "\n\t\t}\n\t}\n}\nhttp://a.test {\n}\n"
	doc, err := adapttest.Adapt(t, text)
	if err != nil {
		return "", err
	}
	return string(doc.Root.Get("apps").Get("http").Get("servers").Get("srv0").Get("listener_wrappers").AppendJSON(nil)), nil
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"proxy_protocol", `[{"wrapper":"proxy_protocol"}]`},
		{"proxy_protocol {\n\ttimeout 2s\n\tfallback_policy require\n}\ntls", `[{"wrapper":"proxy_protocol","timeout":2000000000,"fallback_policy":"REQUIRE"},{"wrapper":"tls"}]`},
		{"proxy_protocol {\n\tallow 10.0.0.0/8 ::1/128\n\tallow 192.0.2.0/24\n\tdeny 10.1.0.0/16\n\tfallback_policy Use\n}",
			`[{"wrapper":"proxy_protocol","allow":["10.0.0.0/8","::1/128","192.0.2.0/24"],"deny":["10.1.0.0/16"],"fallback_policy":"USE"}]`},
		{"proxy_protocol {\n\tfallback_policy IGNORE\n}", `[{"wrapper":"proxy_protocol"}]`},
	} {
		got, err := adapted(t, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		adapttest.Same(t, got, c.want)
	}
	for _, c := range []struct{ text, want string }{
		{"proxy_protocol {\n\tfallback_policy maybe\n}", "maybe is invalid policy"},
		{"proxy_protocol {\n\ttimeout\n}", "wrong argument count"},
		{"proxy_protocol {\n\tallow\n}", "wrong argument count"},
		{"proxy_protocol {\n\ttimeout soon\n}", "bad duration value"},
		{"proxy_protocol {\n\ttimeouts 1s\n}", "unrecognized proxy_protocol option 'timeouts'"},
		{"proxy_protocol now", "wrong argument count"},
		{"tls now", "wrong argument count"},
		{"tls {\n\tnow\n}", "wrong argument count"},
	} {
		if got, err := adapted(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %s, %v; want %s", c.text, got, err, c.want)
		}
	}
}
