package netaddr

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

func tcp(host string, ports ...uint) Addr { return on("tcp", host, ports...) }

func on(network, host string, ports ...uint) Addr {
	a := Addr{Network: network, Host: host}
	if len(ports) > 0 {
		a.StartPort, a.EndPort = ports[0], ports[len(ports)-1]
	}
	return a
}

func unix(path string, mode fs.FileMode) Addr { return Addr{Network: "unix", Host: path, Mode: mode} }

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Addr
	}{
		// http-json.md 1.6
		{"", tcp("")},
		{":8081", tcp("", 8081)},
		{"web", tcp("web")},
		{"::", tcp("::")},
		{"[::]", tcp("::")},
		{"[::1]:9000", tcp("::1", 9000)},
		{"web:7000-7002", tcp("web", 7000, 7002)},
		{"TCP6/:9000", on("tcp6", "", 9000)},
		{"udp/host:53", on("udp", "host", 53)},
		{"udp/", on("udp", "")},
		{"unix//run/s.sock", unix("/run/s.sock", 0o200)},
		{"unix//run/s.sock|0660", unix("/run/s.sock", 0o660)},
		{"unix/./s.sock:0666", unix("./s.sock:0666", 0o200)},
		{"fd/3", on("fd", "3")},
		// admin-api.md 13
		{"foo", tcp("foo")},
		{":", tcp("")},
		{":1234", tcp("", 1234)},
		{"foo:1234-5678", tcp("foo", 1234, 5678)},
		{"udp/foo:1234", on("udp", "foo", 1234)},
		{"tcp6/foo:1234-5678", on("tcp6", "foo", 1234, 5678)},
		{"unix//foo/bar", unix("/foo/bar", 0o200)},
		// cli.md 14
		{"unix/rel/path", unix("rel/path", 0o200)},
		{"unix/@abstract", unix("@abstract", 0)},
		{"unix/@abstract|0660", unix("@abstract", 0)},
		{"unixpacket//run/p|660", Addr{Network: "unixpacket", Host: "/run/p", Mode: 0o660}},
		{"unixgram//run/g", Addr{Network: "unixgram", Host: "/run/g", Mode: 0o200}},
		{"fdgram/0x4", on("fdgram", "0x4")},
		{"tcp4/127.0.0.1:80", on("tcp4", "127.0.0.1", 80)},
		{"udp4/:53", on("udp4", "", 53)},
		{"udp6/[::]:53", on("udp6", "::", 53)},
		{"ip/host", on("ip", "host")},
		// reverse-proxy.md DIAL-1, DIAL-2
		{"10.20.0.1:8080", tcp("10.20.0.1", 8080)},
		{"[2001:db8::5]:80", tcp("2001:db8::5", 80)},
		{"tcp4/app.internal:8080", on("tcp4", "app.internal", 8080)},
		{" TCP4 /app.internal:8080", on("tcp4", "app.internal", 8080)},
		{"unix//run/app.sock", unix("/run/app.sock", 0o200)},
		{"app.internal", tcp("app.internal")},
		{"app.internal:", tcp("app.internal")},
		{"10.20.0.1:8080-8083", tcp("10.20.0.1", 8080, 8083)},
		{`unix/c:\run\a.sock`, unix(`c:\run\a.sock`, 0o200)},
		{"unix/c:/run/a.sock", unix("c:/run/a.sock", 0o200)},
		// More.
		{"2001:db8::5", tcp("2001:db8::5")},
		{"[fe80::1%eth0]:80", tcp("fe80::1%eth0", 80)},
		{"[::1]:", tcp("::1")},
		{"[localhost]", tcp("localhost")},
		{"localhost:0-65535", tcp("localhost", 0, 65535)},
		{"h:5-5", tcp("h", 5)},
		{"quux/any:thing:5", Addr{Network: "quux", Host: "any:thing:5"}}, // unknown networks fail when bound
	} {
		got, err := Parse(c.in)
		if err != nil || got != c.want {
			t.Errorf("%q: got %+v, %v; want %+v", c.in, got, err, c.want)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%q: %q reads back as %+v, %v", c.in, got.String(), again, err)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ in, reason string }{
		// The rows of the tables.
		{"unix//run/s.sock|0522", "0200"},
		{"unix//run/s.sock|888", "octal"},
		{"unix//run/s.sock|u=rw", "octal"},
		{"unix//run/s.sock|1|2", "octal"},
		{"h:2-1", "want 1-2"},
		{"localhost:2-1", "want 1-2"},
		{"h:1-99999999", "65535"},
		{"h:99999", "65535"},
		{"h:http", "65535"},
		// More.
		{"unix//run/s.sock|", "octal"},
		{"unix//run/s.sock|0o660", "octal"},
		{"unix//run/s.sock|+660", "octal"},
		{"unix//run/s.sock|2660", "0777"},
		{"unix/", "unix//run/"},
		{"unix/|0660", "unix//run/"},
		{"fd/", "fd/3"},
		{"/run/s.sock", "unix//run/s.sock"},
		{"/", "missing"},
		{"  /x", "missing"},
		{"http://host:80", "scheme"},
		{"host:80/path", "no network"},
		{"ip4:icmp/1.2.3.4", "no network"},
		{"a:b:80", "IPv6"},
		{"[a:b]:80", "IPv6"},
		{"[::1", ""},
		{"[::1]x", "brackets"},
		{"x[::1]:80", "brackets"},
		{"[[::1]]", "brackets"},
		{"h:-", "65535"},
		{"h:1-", "65535"},
		{"h:-1", "65535"},
		{"h:1-2-3", "65535"},
		{"h:+1", "65535"},
		{"h: 1", "65535"},
		{"h:1_0", "65535"},
		{"h:0x10", "65535"},
		{"h\x00:1", "NUL"},
		{strings.Repeat("x", MaxLen+1), "longer"},
		{"unix//x|" + strings.Repeat("9", 4000), "octal"},
	} {
		a, err := Parse(c.in)
		if c.reason == "" { // an outer bracket alone is removed
			if err != nil || a.Host != "::1" {
				t.Errorf("%q: got %+v, %v", c.in, a, err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: got %+v, %v; want an error", c.in, a, err)
			continue
		}
		if !strings.Contains(e.Reason, c.reason) || len(err.Error()) > 600 {
			t.Errorf("%q: the error says %q, want %q in it", clip(c.in), err, c.reason)
		}
		if a != (Addr{}) {
			t.Errorf("%q: an address next to the error: %+v", c.in, a)
		}
	}
}

func TestParseDefault(t *testing.T) {
	for in, want := range map[string]Addr{
		"": on("udp", "", 2019), "h": on("udp", "h", 2019), "h:": on("udp", "h", 2019), "h:0": on("udp", "h", 0),
		"tcp/h": tcp("h", 2019), "h:1-2": on("udp", "h", 1, 2), "unix//s": unix("/s", 0o200), "fd/3": on("fd", "3"),
	} {
		if got, err := ParseDefault(in, "udp", 2019); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", in, got, err)
		}
	}
}

func TestRange(t *testing.T) {
	for in, want := range map[string][]string{
		":80":             {":80"},
		"":                {":0"},
		"web:7000-7002":   {"web:7000", "web:7001", "web:7002"},
		"[::1]:1-2":       {"[::1]:1", "[::1]:2"},
		"unix//s|0666":    {"/s"},
		"fd/3":            {"3"},
		"udp/[fe80::1%a]": {"[fe80::1%a]:0"},
	} {
		a, err := Parse(in)
		if err != nil || a.Count() != len(want) {
			t.Errorf("%q: %d sockets, %v", in, a.Count(), err)
			continue
		}
		for i := range want {
			one := a.At(i)
			if a.JoinHostPort(i) != want[i] || one.Count() != 1 || one.JoinHostPort(0) != want[i] || one.Mode != a.Mode {
				t.Errorf("%q: socket %d is %q, %+v", in, i, a.JoinHostPort(i), one)
			}
		}
		for _, i := range []int{-1, len(want)} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%q: At(%d) did not panic", in, i)
					}
				}()
				a.At(i)
			}()
		}
	}
}

func TestString(t *testing.T) {
	for in, want := range map[string]string{
		"": "tcp/:0", ":80": "tcp/:80", "h:1-3": "tcp/h:1-3", "[::1]:2": "tcp/[::1]:2", "UDP/h:5": "udp/h:5",
		"unix//s": "unix//s", "unix//s|0200": "unix//s", "unix//s|660": "unix//s|0660", "unix/@a|0660": "unix/@a", "fd/3": "fd/3",
	} {
		if a, err := Parse(in); err != nil || a.String() != want {
			t.Errorf("%q: got %q, %v; want %q", in, a.String(), err, want)
		}
	}
}

func TestKinds(t *testing.T) {
	const wildcard, loopback, unixKind, fd, abstract, datagram = 1, 2, 4, 8, 16, 32
	for in, want := range map[string]int{
		"": wildcard, ":80": wildcard, "0.0.0.0:80": wildcard, "[::]:80": wildcard, "[::ffff:0.0.0.0]:1": wildcard,
		"udp/:53":    wildcard | datagram,
		"h:80":       0,
		"10.0.0.1:1": 0, "localhost:1": loopback, "LocalHost": loopback, "127.9.9.9:1": loopback, "[::1]:1": loopback,
		"[::ffff:127.0.0.1]:1": loopback, "localhost.example:1": 0,
		"unix//s": unixKind, "unix/@s": unixKind | abstract, "unixgram//s": unixKind | datagram, "unixpacket//s": unixKind,
		"unix/localhost": unixKind, "fd/3": fd, "fdgram/3": fd | datagram, "ip/h": datagram,
	} {
		a, err := Parse(in)
		if err != nil {
			t.Error(err)
			continue
		}
		got := 0
		for bit, is := range map[int]bool{wildcard: a.IsWildcard(), loopback: a.IsLoopback(), unixKind: a.IsUnix(), fd: a.IsFD(), abstract: a.IsAbstract(), datagram: a.IsDatagram()} {
			if is {
				got |= bit
			}
		}
		if got != want {
			t.Errorf("%q: got %06b, want %06b", in, got, want)
		}
	}
}

func TestFD(t *testing.T) {
	for in, want := range map[string]uintptr{"fd/3": 3, "fd/0x10": 16, "fdgram/010": 8, "fd/0": 0} {
		a, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := a.FD(); err != nil || got != want {
			t.Errorf("%q: got %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"fd/x", "fd/-1", "fd/3:80", "fd/99999999999", "3"} {
		a, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := a.FD(); err == nil {
			t.Errorf("%q: got %d, want an error", in, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", ":80", "[::1]:1-2", "unix//s|0660", "fd/3", "udp/h:1", "a:b:c", "[", "unix/@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		if err != nil {
			if a != (Addr{}) || len(err.Error()) > 10<<10 {
				t.Fatalf("%q: %+v, %v", s, a, err)
			}
			return
		}
		if a.StartPort > a.EndPort || a.EndPort > 65535 || a.Count() < 1 || a.Mode&^0o777 != 0 {
			t.Fatalf("%q: %+v", s, a)
		}
		if a.Network != "tcp" && !isIP(a.Network) && !a.IsUnix() && !a.IsFD() {
			return // the hosts of unknown networks follow no rule
		}
		if len(a.String()) > MaxLen {
			return // the network and the port that were left out make it too long
		}
		again, err := Parse(a.String())
		if err != nil || again != a {
			t.Fatalf("%q: %+v is %q, which reads back as %+v, %v", s, a, a.String(), again, err)
		}
	})
}
