package encode

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// chooser offers encodings of these names, which need not exist.
func chooser(offered, prefer string) *handler {
	h := &handler{}
	order := strings.Fields(prefer)
	for _, token := range strings.Fields(offered) {
		rank := slices.Index(order, token)
		if rank < 0 {
			rank = len(order)
		}
		h.offers = append(h.offers, offer{newEncoding(token, nil, nil), rank})
	}
	return h
}

// ranking is the order in which encodings are chosen when those before are not
// offered.
func ranking(h *handler, line string) string {
	var out []string
	r := &http.Request{Header: http.Header{"Accept-Encoding": {line}}}
	for {
		e := h.choose(r)
		if e == nil {
			return strings.Join(out, " ")
		}
		out = append(out, e.token)
		h.offers = slices.DeleteFunc(h.offers, func(o offer) bool { return o.token == e.token })
	}
}

func TestNegotiation(t *testing.T) {
	const all = "br deflate gzip zstd"
	for _, c := range []struct{ offered, prefer, line, want string }{
		{all, "zstd br gzip", "deflate, gzip, br, zstd", "zstd br gzip deflate"},
		{all, "gzip", "deflate;q=0.8, gzip;q=0.4, br;q=0.2, zstd", "zstd deflate gzip br"},
		{all, "", "deflate;q=0.1, gzip;q=0.4, br;q=0.5, zstd;q=0", "br gzip deflate"},
		{all, "zstd deflate gzip br", "deflate;q=0.1, gzip;q=0.4, br;q=0.5, zstd;q=0", "br gzip deflate"},
		{all, "zstd gzip", "br, deflate, gzip;q=2, zstd;q=0.1", "gzip br deflate zstd"},
		{all, "zstd br gzip", "gzip,,zstd", "zstd gzip"},
		{all, "br", "deflate, gzip, br, br", "br deflate gzip"},
		{all, "", "zstd, gzip", "zstd gzip"},
		{all, "", "gzip, zstd", "gzip zstd"},
		{"gzip", "gzip", "", ""},
		{"gzip", "gzip", "br, zstd", ""},
		{"gzip", "gzip", "GZip", "gzip"},
		{"gzip", "gzip", "\t gzip \t", "gzip"},
		{"gzip", "gzip", "x-gzip", ""},
		{"gzip", "gzip", "*", ""},
		{"gzip", "gzip", "*;q=1, gzip;q=0", ""},
		{"gzip", "gzip", "identity;q=1, gzip;q=0.001", "gzip"},
		{"gzip", "gzip", "gzip;q=0", ""},
		{"gzip", "gzip", "gzip;q=0.0", ""},
		{"gzip", "gzip", "gzip;q=0, gzip", "gzip"},
		{"gzip", "gzip", "gzip;q=", "gzip"},
		{"gzip", "gzip", "gzip;q=nan", "gzip"},
		{"gzip", "gzip", "gzip;q=-1", "gzip"},
		{"gzip", "gzip", "gzip;", "gzip"},
		{"gzip", "gzip", "gzip;;q=0", "gzip"},
		{"gzip", "gzip", "gzip;x=1;q=0", "gzip"},
		{"gzip", "gzip", "gzip ; q=0", ""},
		{"gzip", "gzip", "gzip;Q=0", ""},
		{"gzip", "gzip", "gzip;q=0;x=1", ""},
		{"gzip", "gzip", "gzip;q =0", "gzip"},
		{"gzip", "gzip", "\"gzip\"", ""},
		{"zstd", "zstd", "z\u017ftd", ""}, // a long s is no s
		{"gzip zstd", "", "gzip;q=1.1, zstd;q=0.9", "gzip zstd"},
		{"gzip zstd", "", "gzip;q=1e-1, zstd;q=0.2", "zstd gzip"},
		{"gzip zstd", "zstd", "gzip;q=0.5, zstd;q=0.5", "zstd gzip"},
		{"gzip zstd", "zstd", "gzip;q=0.5, zstd;q=0.4, gzip;q=0.1", "gzip zstd"},
	} {
		if got := ranking(chooser(c.offered, c.prefer), c.line); got != c.want {
			t.Errorf("%q with preference %q: %q, want %q", c.line, c.prefer, got, c.want)
		}
	}
}

func TestRequestsThatAreLeftAlone(t *testing.T) {
	for _, c := range []struct {
		name   string
		header http.Header
		want   bool
	}{
		{"plain", http.Header{"Accept-Encoding": {"gzip"}}, true},
		{"no header", http.Header{}, false},
		{"no value", http.Header{"Accept-Encoding": {}}, false},
		{"only the first line", http.Header{"Accept-Encoding": {"br", "gzip"}}, false},
		{"websocket", http.Header{"Accept-Encoding": {"gzip"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}, false},
		{"no-transform", http.Header{"Accept-Encoding": {"gzip"}, "Cache-Control": {"max-age=0,no-transform"}}, false},
		{"no-transform in capitals", http.Header{"Accept-Encoding": {"gzip"}, "Cache-Control": {"x", "No-Transform"}}, false},
		{"other cache control", http.Header{"Accept-Encoding": {"gzip"}, "Cache-Control": {"no-cache"}}, true},
	} {
		if got := chooser("gzip", "gzip").choose(&http.Request{Header: c.header}) != nil; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	h := chooser("br gzip zstd", "zstd br gzip")
	h.prepare()
	for line, e := range h.known {
		if want := slowChoice(line, []string{"zstd", "br", "gzip"}); e.token != want {
			t.Errorf("%q is known as %s, want %s", line, e.token, want)
		}
	}
	r := &http.Request{Header: http.Header{"Accept-Encoding": {"gzip, deflate;q=0.3, br;q=0.8, zstd"}}}
	if n := testing.AllocsPerRun(100, func() { h.choose(r) }); n != 0 {
		t.Errorf("negotiation allocates %v times", n)
	}
}

// FuzzAcceptEncoding compares the choice with a slow and obvious one.
func FuzzAcceptEncoding(f *testing.F) {
	for _, s := range []string{"gzip", "gzip, deflate, br, zstd", "deflate;q=0.8, gzip;q=0.4, br;q=0.2, zstd", "gzip;q=2, zstd;q=0.1", "gzip,,zstd;", "br;q=0, *;q=1", "gzip;x;q=0", " GZIP\t;\tQ=0.5 ,zstd ; q=nan"} {
		f.Add(s, "zstd gzip")
	}
	f.Fuzz(func(t *testing.T, line, prefer string) {
		h := chooser("br gzip zstd", prefer)
		got := ""
		if e := h.choose(&http.Request{Header: http.Header{"Accept-Encoding": {line}}}); e != nil {
			got = e.token
		}
		if want := slowChoice(line, strings.Fields(prefer)); got != want {
			t.Errorf("%q with preference %q: %q, want %q", line, prefer, got, want)
		}
	})
}

// slowChoice sorts all elements and takes the first that is offered.
func slowChoice(line string, prefer []string) string {
	type element struct {
		name   string
		weight float64
		rank   int
	}
	var list []element
	for _, part := range strings.Split(line, ",") {
		params := strings.Split(part, ";")
		e := element{name: strings.TrimSpace(params[0]), weight: 1, rank: slices.Index(prefer, strings.ToLower(strings.TrimSpace(params[0])))}
		if e.rank < 0 {
			e.rank = len(prefer)
		}
		if len(params) > 1 {
			e.weight = weightOf(params[1])
		}
		if e.weight > 0 {
			list = append(list, e)
		}
	}
	slices.SortStableFunc(list, func(a, b element) int {
		switch {
		case a.weight != b.weight && a.weight > b.weight:
			return -1
		case a.weight != b.weight:
			return 1
		}
		return a.rank - b.rank
	})
	for _, e := range list {
		for _, token := range []string{"br", "gzip", "zstd"} {
			if len(e.name) == len(token) && strings.ToLower(e.name) == token {
				return token
			}
		}
	}
	return ""
}

func FuzzRestoreTags(f *testing.F) {
	for _, s := range []string{`"a-gzip"`, `W/"a-gzip"`, `"a-gzip", "b-gzip"`, `"a,b-gzip", *`, `"`, `"-gzip"`, `a-gzip"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		e := newEncoding("gzip", nil, nil)
		got := e.restore(line)
		if strings.Count(got, `"`) != strings.Count(line, `"`) || len(got) > len(line) {
			t.Errorf("%q became %q", line, got)
		}
		if !strings.Contains(line, e.suffix) && got != line {
			t.Errorf("%q became %q without need", line, got)
		}
	})
}
