package upstreamaddr

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/upstream"
)

func TestParse(t *testing.T) {
	tests := []struct {
		text   string
		scheme string
		dials  []string
	}{
		// without a scheme
		{"orders", "", []string{"orders:80"}},
		{"orders:9000", "", []string{"orders:9000"}},
		{"orders:443", "", []string{"orders:443"}},
		{"orders:", "", []string{"orders:80"}},
		{"Orders.Example", "", []string{"Orders.Example:80"}},
		{":9000", "", []string{":9000"}},
		{"10.20.0.7", "", []string{"10.20.0.7:80"}},
		{"2001:db8::7", "", []string{"[2001:db8::7]:80"}},
		{"[2001:db8::7]", "", []string{"[2001:db8::7]:80"}},
		{"[2001:db8::7]:9000", "", []string{"[2001:db8::7]:9000"}},
		{"[orders]:9000", "", []string{"orders:9000"}},
		{"fe80::7%eth1", "", []string{"[fe80::7%eth1]:80"}},
		{"[fe80::7%eth1]:9000", "", []string{"[fe80::7%eth1]:9000"}},
		{"_orders._tcp.example.com:80", "", []string{"_orders._tcp.example.com:80"}},

		// networks
		{"tcp4/orders", "", []string{"tcp4/orders:80"}},
		{"TCP6/[2001:db8::7]:9000", "", []string{"tcp6/[2001:db8::7]:9000"}},
		{"unix//run/orders.sock", "", []string{"unix//run/orders.sock"}},
		{"unix/orders:1.sock", "", []string{"unix/orders:1.sock"}},
		{"unix/@orders", "", []string{"unix/@orders"}},
		{"unix+h2c//run/orders.sock", "h2c", []string{"unix//run/orders.sock"}},
		{`unix/c:\run\orders.sock`, "", []string{`unix/c:\run\orders.sock`}},
		{"unix/c:/run/orders.sock", "", []string{"unix/c:/run/orders.sock"}},
		{"fd/4", "", []string{"fd/4"}},
		{"orders/v1", "", []string{"orders/v1:80"}},

		// placeholders
		{"{env.ORDERS}", "", []string{"{env.ORDERS}"}},
		{"{env.ORDERS}:9000", "", []string{"{env.ORDERS}:9000"}},
		{"{env.ORDERS}:{env.PORT}", "", []string{"{env.ORDERS}:{env.PORT}"}},
		{"orders:{env.PORT}", "", []string{"orders:{env.PORT}"}},
		{"orders:9{http.regexp.n.1}", "", []string{"orders:9{http.regexp.n.1}"}},
		{"orders:9001-{env.LAST}", "", []string{"orders:9001-{env.LAST}"}},
		{"orders-{env.ZONE}.example", "", []string{"orders-{env.ZONE}.example"}},
		{"tcp/{env.ORDERS}", "", []string{"tcp/{env.ORDERS}"}},
		{"tcp/{env.ORDERS}:9000", "", []string{"tcp/{env.ORDERS}:9000"}},
		{"unix/{env.SOCKET}", "", []string{"unix/{env.SOCKET}"}},
		{"unix//run/{http.request.host}.sock", "", []string{"unix//run/{http.request.host}.sock"}},
		{"{file./run/orders}:9000", "", []string{"{file./run/orders}:9000"}},
		{`{file.c:\orders}`, "", []string{`{file.c:\orders}`}},
		{"[{env.IPV6}]:9000", "", []string{"[{env.IPV6}]:9000"}},
		{"2001:db8::{env.ORDERS}", "", []string{"2001:db8::{env.ORDERS}"}},

		// ranges
		{"orders:9001-9003", "", []string{"orders:9001", "orders:9002", "orders:9003"}},
		{"orders:9001-9001", "", []string{"orders:9001"}},
		{"orders:0-1", "", []string{"orders:0", "orders:1"}},
		{"orders:65534-65535", "", []string{"orders:65534", "orders:65535"}},
		{"tcp4/orders:9001-9002", "", []string{"orders:9001", "orders:9002"}},
		{"[2001:db8::7]:9001-9002", "", []string{"[2001:db8::7]:9001", "[2001:db8::7]:9002"}},
		{"{http.request.host}:9001-9002", "", []string{"{http.request.host}:9001", "{http.request.host}:9002"}},
		{"http://orders:9001-9002", "http", []string{"orders:9001", "orders:9002"}},

		// with a scheme
		{"http://orders", "http", []string{"orders:80"}},
		{"http://orders:", "http", []string{"orders:80"}},
		{"http://orders:80", "http", []string{"orders:80"}},
		{"HTTP://orders:9000", "http", []string{"orders:9000"}},
		{"http://:9000", "http", []string{":9000"}},
		{"http://[2001:db8::7]", "http", []string{"[2001:db8::7]:80"}},
		{"h2c://orders", "h2c", []string{"orders:80"}},
		{"H2C://[2001:db8::7]:9000", "h2c", []string{"[2001:db8::7]:9000"}},
		{"https://orders", "https", []string{"orders:443"}},
		{"https://orders:443", "https", []string{"orders:443"}},
		{"https://orders:9443", "https", []string{"orders:9443"}},
		{"https://orders:443-444", "https", []string{"orders:443", "orders:444"}},
	}
	for _, tt := range tests {
		a, err := Parse(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if got := a.Dials(); a.Scheme != tt.scheme || !slices.Equal(got, tt.dials) || a.Count() != len(got) {
			t.Errorf("%s: scheme %q, %d upstreams %q; want scheme %q and %q", tt.text, a.Scheme, a.Count(), got, tt.scheme, tt.dials)
		}
	}
}

func TestParseErrors(t *testing.T) {
	const (
		components   = "for now, URLs for proxy upstreams only support scheme, host, and port components"
		placeholders = "due to parsing difficulties, placeholders are not allowed when an upstream address contains a scheme"
	)
	tests := []struct{ text, want string }{
		{"", "the address is empty"},
		{strings.Repeat("o", 5000), "longer than 4096 bytes"},
		{"or\x00ders", "control character"},
		{"or\xffders", "not UTF-8"},
		{"orders\n", "control character"},

		{"http://orders/", components},
		{"http://orders/v1", components},
		{"http://orders?v=1", components},
		{"http://orders#v", components},
		{"http://me@orders", components},
		{"h2c://orders:9001-9002/", components},
		{"http://orders:9001-9002#v", components},
		{"https://orders/v1", components},
		{"http://{env.ORDERS}", placeholders},
		{"http://orders:{env.PORT}", placeholders},
		{"{env.SCHEME}://orders", placeholders},
		{"ws://orders", "the scheme ws:// is only supported in browsers; use http:// instead"},
		{"WSS://orders", "the scheme wss:// is only supported in browsers; use https:// instead"},
		{"ftp://orders", "unsupported URL scheme ftp://"},
		{"://orders", "unsupported URL scheme ://"},
		{"unix+h2c://orders", "unsupported URL scheme unix+h2c://"},
		{"http://orders:443", "upstream address has conflicting scheme (http://) and port (:443, the HTTPS port)"},
		{"h2c://orders:443", "upstream address has conflicting scheme (h2c://) and port (:443, the HTTPS port)"},
		{"https://orders:80", "upstream address has conflicting scheme (https://) and port (:80, the HTTP port)"},
		{"http:// :80", "the host of a URL cannot contain"},
		{"http://[fe80::7%eth1]:80", "the host of a URL cannot contain"},
		{"http://2001:db8::7", "an IPv6 address with a scheme needs brackets"},

		{"orders:web", "invalid start port: "},
		{"orders:-1", "invalid start port: "},
		{"orders:+1", "invalid start port: "},
		{"orders:65536", "invalid start port: "},
		{"http://orders:web", "invalid start port: "},
		{"orders:9001-", "invalid end port: "},
		{"orders:9001-web", "invalid end port: "},
		{"orders:9001-65536", "invalid end port: "},
		{"http://orders:1-2-3", "invalid end port: "},
		{"orders:9002-9001", "end port must not be less than start port"},
		{"{env.ORDERS}:9002-9001", "end port must not be less than start port"},

		{"[2001:db8::7", "the brackets are not around the host"},
		{"[2001:db8::7]9000", "the brackets are not around the host"},
		{"orders:9000:9001", "too many colons"},
		{"orders:9000/v1", "no network"},
		{"orders.example/v1", "no network"},
		{"İ/orders", "no network"},
		{"tcp/orders/v1", "an upstream address has no path"},
		{"/run/orders.sock", "the network before the / is missing"},
		{"unix/", "path of the socket is missing"},
		{"fd/", "number of the descriptor is missing"},
	}
	for _, tt := range tests {
		a, err := Parse(tt.text)
		if err == nil {
			t.Errorf("%.40q: got %q, want an error with %q", tt.text, a.Dials(), tt.want)
		} else if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q: %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestIsSRV(t *testing.T) {
	for text, want := range map[string]bool{
		"_orders._tcp.example.com":        true,
		"_orders._tcp.{env.DOMAIN}":       true,
		"_orders._tcp.example.com:80":     false,
		"http://_orders._tcp.example.com": false,
		"tcp/_orders._tcp.example.com":    false,
		"_orders._tcp":                    false,
		"_orders._tcp.":                   false,
		"_orders.tcp.example.com":         false,
		"orders._tcp.example.com":         false,
		"":                                false,
	} {
		if got := IsSRV(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

// What parses can be dialled, if it has no placeholders, and parses to itself.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"orders", "orders:9000", ":9000", "2001:db8::7", "[2001:db8::7]:1-3", "[fe80::7%eth1]:80", "tcp4/orders:1-2", "unix//run/o.sock|0660", "unix+h2c//o",
		"fd/4", "{env.O}:{env.P}", "{file./o}:1", "[{env.O}]:1", "http://orders:80", "https://[::1]", "h2c://orders:1-2", "http://{env.O}", "orders:0-0", "://", "[]:1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		IsSRV(text)
		a, err := Parse(text)
		if err != nil {
			return
		}
		list := a.Dials()
		if len(list) != a.Count() || len(list) == 0 || len(list) > 1<<16 {
			t.Fatalf("%q makes %d upstreams and counts %d", text, len(list), a.Count())
		}
		for _, dial := range []string{list[0], list[len(list)-1]} {
			again, err := Parse(dial)
			if err != nil {
				t.Fatalf("%q makes %q, and that: %v", text, dial, err)
			}
			if got := again.Dials(); again.Scheme != "" || len(got) != 1 || got[0] != dial {
				t.Fatalf("%q makes %q, and that makes %q", text, dial, got)
			}
			if strings.Contains(dial, "{") {
				continue
			}
			to, err := upstream.ParseDial(dial)
			if err != nil {
				t.Fatalf("%q makes %q: %v", text, dial, err)
			}
			if ip, err := netip.ParseAddr(to.Host); err == nil && ip.Is6() && a.Network == "" && !strings.HasPrefix(dial, "[") {
				t.Fatalf("%q makes %q, an IPv6 address without brackets", text, dial)
			}
		}
	})
}
