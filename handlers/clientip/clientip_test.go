package clientip

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
)

func prefixes(t *testing.T, list ...string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	for _, s := range list {
		p, err := ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// fields makes a header of lines "Name: value".
func fields(lines ...string) http.Header {
	h := http.Header{}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		h.Add(name, value)
	}
	return h
}

// TestForwarded is the table of section 2.7.
func TestForwarded(t *testing.T) {
	trusted := prefixes(t, "127.0.0.0/8", "10.0.0.0/8")
	xff, ab := []string{"x-forwarded-for"}, []string{"A", "B"}
	for _, c := range []struct {
		headers     []string
		lines       []string
		lax, strict string
	}{
		{xff, []string{"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.0.0.9"}, "1.1.1.1", "2.2.2.2"},
		{xff, []string{"X-Forwarded-For: 1.1.1.1:99, bad"}, "1.1.1.1", "1.1.1.1"},
		{xff, []string{"X-Forwarded-For: [2001:db8::1]:99"}, "2001:db8::1", "2001:db8::1"},
		{xff, []string{"X-Forwarded-For: 2001:db8::1%eth0"}, "2001:db8::1", "2001:db8::1"},
		{xff, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2"}, "1.1.1.1", "2.2.2.2"},
		{xff, []string{"X-Forwarded-For: unknown"}, "127.0.0.1", "127.0.0.1"},
		{ab, []string{"A: 10.0.0.1, 10.0.0.2", "B: 30.0.0.1, 45.0.0.1, 10.0.0.4"}, "10.0.0.1", "45.0.0.1"},
		{ab, []string{"A: 10.0.0.1, 90.0.0.1, 10.0.0.2", "B: 45.0.0.1"}, "10.0.0.1", "90.0.0.1"},
		{ab, []string{"A: not an ip", "B: 3.3.3.3, bad"}, "3.3.3.3", "3.3.3.3"},
		// More of the rules.
		{nil, []string{"X-Forwarded-For: 1.1.1.1"}, "127.0.0.1", "127.0.0.1"},
		{xff, nil, "127.0.0.1", "127.0.0.1"},
		{xff, []string{"X-Forwarded-For: "}, "127.0.0.1", "127.0.0.1"},
		{xff, []string{"X-Forwarded-For: 10.0.0.3"}, "10.0.0.3", "127.0.0.1"},
		{xff, []string{"X-Forwarded-For: bad, [2001:DB8:0::1]:99 "}, "2001:db8::1", "2001:db8::1"},
		{xff, []string{"X-Forwarded-For: bad, 1.1.1.1"}, "1.1.1.1", "1.1.1.1"},
		{xff, []string{"X-Forwarded-For: ::ffff:10.0.0.1, 10.0.0.1"}, "::ffff:10.0.0.1", "::ffff:10.0.0.1"},
		{xff, []string{"X-Forwarded-For: [fe80::1%eth0]:80"}, "fe80::1", "fe80::1"},
		{xff, []string{"X-Forwarded-For: ,,1.2.3.4,,"}, "1.2.3.4", "1.2.3.4"},
		{xff, []string{"X-Forwarded-For: " + strings.Repeat("9", 10000)}, "127.0.0.1", "127.0.0.1"},
	} {
		for _, strict := range []bool{false, true} {
			want := c.lax
			if strict {
				want = c.strict
			}
			got, ok := Find("127.0.0.1:4711", fields(c.lines...), trusted, Options{Headers: c.headers, Strict: strict})
			if got != want || !ok {
				t.Errorf("%q of %v, strict %v: got %q, %v; want %q", c.lines, c.headers, strict, got, ok, want)
			}
		}
	}
}

// TestPeers holds rules 1 to 3 of section 2.7.
func TestPeers(t *testing.T) {
	trusted := prefixes(t, "127.0.0.0/8", "fe80::/10")
	for _, c := range []struct {
		remote  string
		unix    bool
		trusted []netip.Prefix
		client  string
		ok      bool
	}{
		{"@", true, nil, "9.9.9.9", true},
		{"@", false, trusted, "", false},
		{"192.0.2.1:80", true, trusted, "192.0.2.1", false},
		{"127.0.0.1:80", false, nil, "127.0.0.1", false},
		{"127.0.0.1:80", false, trusted, "9.9.9.9", true},
		{"127.0.0.1", false, trusted, "9.9.9.9", true},
		{"[::ffff:127.0.0.1]:80", false, trusted, "::ffff:127.0.0.1", false},
		{"[fe80::1%eth0]:80", false, trusted, "9.9.9.9", true},
		{"[fd00::1%eth0]:80", false, trusted, "fd00::1", false},
		{"[2001:DB8:0:0::1]:80", false, trusted, "2001:db8::1", false},
		{"", true, trusted, "", false},
		{"nonsense:1", true, trusted, "", false},
	} {
		h := fields("X-Forwarded-For: 9.9.9.9")
		got, ok := Find(c.remote, h, c.trusted, Options{Headers: []string{"X-Forwarded-For"}, Unix: c.unix})
		if got != c.client || ok != c.ok {
			t.Errorf("%q, unix %v: got %q, %v; want %q, %v", c.remote, c.unix, got, ok, c.client, c.ok)
		}
	}
	if got, ok := Find("@", http.Header{}, nil, Options{Unix: true, Headers: []string{"X"}}); got != "@" || !ok {
		t.Errorf("a Unix peer without header: %q, %v", got, ok)
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	trusted := prefixes(t, "10.0.0.0/8")
	h := fields("X-Forwarded-For: 1.1.1.1, 10.2.3.4")
	for _, strict := range []bool{false, true} {
		o := Options{Headers: []string{"X-Forwarded-For"}, Strict: strict}
		if n := testing.AllocsPerRun(100, func() { Find("10.0.0.1:1234", h, trusted, o) }); n != 0 {
			t.Errorf("strict %v: %v allocations", strict, n)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add("127.0.0.1:80", "1.1.1.1, [::1]:80, x%y", true)
	f.Add("[::1%lo]:1", ",,:,[", false)
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	f.Fuzz(func(t *testing.T, remote, xff string, strict bool) {
		got, ok := Find(remote, http.Header{"X": {xff, xff}}, trusted, Options{Headers: []string{"X"}, Strict: strict})
		if got == "" && !ok {
			return
		}
		ip, err := netip.ParseAddr(got)
		if err != nil || ip.String() != got || ip.Zone() != "" {
			t.Fatalf("%q, %q: got %q", remote, xff, got)
		}
	})
}

func build(t *testing.T, json string) (module.Result, error) {
	t.Helper()
	table, err := module.NewTable(Specs(), nil)
	if err != nil {
		t.Fatal(err)
	}
	node, _, err := config.Parse([]byte(json), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b := module.Builder{Table: table, Sources: module.Sources{Globals: vars.Map{}}}
	res := b.Build(nil, "http.ip_sources.static", node, module.Options{})
	if len(res.Problems) > 0 {
		return res, res.Problems
	}
	return res, nil
}

func TestStatic(t *testing.T) {
	res, err := build(t, `{"ranges": ["192.0.2.7", "10.1.2.3/8", "2001:db8::/32", "::1"]}`)
	if err != nil {
		t.Fatal(err)
	}
	got := res.Root.Value().(Source).Prefixes(nil)
	want := prefixes(t, "192.0.2.7/32", "10.0.0.0/8", "2001:db8::/32", "::1/128")
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: got %v, want %v", i, got[i], want[i])
		}
	}
	if res, err := build(t, `{}`); err != nil || len(res.Root.Value().(Source).Prefixes(nil)) != 0 {
		t.Errorf("no ranges: %v", err)
	}
	for _, bad := range []string{"private_ranges", "", "10.0.0.0/33", "10.0.0", "10.0.0.0/", "{env.X}", "fe80::1%eth0", "fe80::%eth0/10", " 10.0.0.1", "example.com"} {
		_, err := build(t, `{"ranges": ["10.0.0.1", "`+bad+`"]}`)
		if err == nil || !strings.Contains(err.Error(), "/ranges/1") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{`{"range": []}`, `{"ranges": "10.0.0.1"}`, `{"ranges": [1]}`, `[]`} {
		if _, err := build(t, bad); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
