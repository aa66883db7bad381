package address

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/caddyfile"
)

func parse(t *testing.T, text string) Address {
	t.Helper()
	a, err := Parse(caddyfile.Token{Text: text})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return a
}

func TestParse(t *testing.T) {
	for text, want := range map[string]Address{
		"":                          {},
		":80":                       {Port: "80"},
		"One.Example":               {Host: "one.example"},
		"HTTPS://one.example:8443/": {Scheme: "https", Host: "one.example", Port: "8443", Path: "/"},
		"one.example/a/B*":          {Host: "one.example", Path: "/a/B*"},
		"[2001:DB8:0::1]:443":       {Host: "2001:db8::1", Port: "443"},
		"[::1]":                     {Host: "::1"},
		"::FFFF:192.0.2.1":          {Host: "::ffff:192.0.2.1"},
		"{env.Host}.Example:1":      {Host: "{env.Host}.example", Port: "1"},
		"A{b{C}D}E\\{F":             {Host: "a{b{C}D}e\\{f"},
		" one.example ":             {Host: "one.example"},
	} {
		got := parse(t, text)
		if got.Original != text || got.Token.Text != text {
			t.Errorf("%q: the text as written is %q", text, got.Original)
		}
		want.Original, want.Token = got.Original, got.Token
		if got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"a:b":                       "invalid port 'b'",
		"a:65536":                   "port 65536 is out of range",
		"a:-1":                      "port -1 is out of range",
		"ws://a":                    "use http:// instead",
		"wss://a":                   "use https:// instead",
		"ftp://a":                   "unsupported URL scheme ftp://",
		strings.Repeat("a", 4096+1): "address is too long: 4097 bytes",
	} {
		if _, err := Parse(caddyfile.Token{Text: text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
}

func TestListenPort(t *testing.T) {
	ports := Ports{HTTP: "8080", HTTPS: "8443"}
	for text, want := range map[string]string{
		"a": "8443", "http://a": "8080", "https://a": "8443", "a:1": "1", "http://a:1": "1", "a:8080": "8080",
		"http://a:8443": "", "https://a:8080": "",
	} {
		a := parse(t, text)
		got, err := a.ListenPort(ports)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v", text, got, err)
		}
		if err != nil && err.Error() != "["+text+"] scheme and port violate convention" {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestHosts(t *testing.T) {
	keys := []Address{parse(t, "b"), parse(t, "a:1"), parse(t, "http://b")}
	if got := Hosts(keys); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("got %q", got)
	}
	if got := Hosts(append(keys, parse(t, ":80"))); got != nil {
		t.Errorf("a key is for all hosts, got %q", got)
	}
}
