package match

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/urlpath"
)

// TestHost is the table of section 4.1.
func TestHost(t *testing.T) {
	for _, c := range []struct{ entry, yes, no string }{ // hosts separated by spaces
		{"EXAMPLE.com", "example.COM:8443 example.com", "example.org example.com."},
		{"example.com", "example.com", "foo.example.com"},
		{"*.example.com", "foo.example.com FOO.Example.com:80", "example.com a.b.example.com fooexample.com"},
		{"*.*.example.com", "a.b.example.com", "a.example.com"},
		{"sub.*.example.com", "sub.x.example.com", "x.x.example.com sub.example.com"},
		{"www.*.*", "www.example.com", "www.com wwww.example.com"},
		{"*", "localhost [::1]:80", "a.b 1.2.3.4"},
		{"::1", "[::1] [::1]:80 ::1", "[::2]"},
		{"a*.test", "", "ab.test a.test"},
		{"{env.DOMAIN}", "x.test X.TEST:80", "y.test"},
		{"{env.UNSET}", "", "x.test"},
		{"{env.WILD}", "a.w.test", "w.test a.b.w.test"},
		{"*.{env.DOMAIN}", "a.x.test", "x.test a.b.x.test"},
		{"bücher.test", "xn--bcher-kva.test XN--bcher-kva.test", "bucher.test"},
		{"BÜCHER.test", "", "xn--bcher-kva.test"},
		{"*.bücher.test", "a.xn--bcher-kva.test", "xn--bcher-kva.test"},
		{"a.test:80", "", "a.test a.test:80"},
		{"[::1]", "", "[::1] [::1]:80"},
		{"a.test.", "a.test. a.test.:80", "a.test"},
	} {
		json := fmt.Sprintf("[%q]", c.entry)
		for _, host := range strings.Fields(c.yes) {
			check(t, "host", json, request(t, "/", withHost(host)), true)
		}
		for _, host := range strings.Fields(c.no) {
			check(t, "host", json, request(t, "/", withHost(host)), false)
		}
	}
	check(t, "host", `[]`, request(t, "/"), false)
	check(t, "host", `["b.test","A.test"]`, request(t, "/"), true)
}

func TestManyHosts(t *testing.T) {
	var list []string
	for i := range 500 {
		list = append(list, fmt.Sprintf("%q,%q", fmt.Sprintf("H%d.test", i), fmt.Sprintf("*.w%d.test", i)))
	}
	m := build(t, "host", "["+strings.Join(list, ",")+"]")
	for host, want := range map[string]bool{"h0.test": true, "H499.Test:80": true, "h500.test": false, "x.w7.test": true, "w7.test": false, "x.y.w7.test": false} {
		if got, err := m.Match(request(t, "/", withHost(host))); got != want || err != nil {
			t.Errorf("%s: got %v, %v", host, got, err)
		}
	}
}

func TestHosts(t *testing.T) {
	patterns, complete := build(t, "host", `["A.test","*.b.Test","{env.DOMAIN}"]`).(handlers.HostMatcher).Hosts()
	if complete || fmt.Sprint(patterns) != "[a.test *.b.test {env.DOMAIN}]" {
		t.Errorf("got %v, %v", patterns, complete)
	}
	if _, complete := build(t, "host", `["a.test","*.b.test"]`).(handlers.HostMatcher).Hosts(); !complete {
		t.Error("a list without placeholders is not complete")
	}
}

// TestHostsAreComplete is TestPathsAreComplete for hosts.
func TestHostsAreComplete(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	name := func(labels []string) string {
		parts := make([]string, 1+rnd.IntN(3))
		for i := range parts {
			parts[i] = labels[rnd.IntN(len(labels))]
		}
		return strings.Join(parts, ".")
	}
	matched := 0
	for range 3000 {
		seen, entries := map[string]bool{}, []string{}
		for range 1 + rnd.IntN(4) {
			e := name([]string{"a", "B", "*", "c*", "{http.vars.v}", ""}[:3+rnd.IntN(4)])
			if key := strings.ToLower(e); !seen[key] {
				seen[key] = true
				entries = append(entries, fmt.Sprintf("%q", e))
			}
		}
		m := build(t, "host", "["+strings.Join(entries, ",")+"]").(*host)
		patterns, complete := m.Hosts()
		for range 30 {
			r := request(t, "/", withHost(name([]string{"a", "A", "b", "c*", ""})), withVar("v", name([]string{"a", "*"})))
			got, err := m.Match(r)
			want := obviously(entries, r)
			if err != nil || got != want {
				t.Fatalf("%v, host %q: got %v, %v; want %v", entries, r.Host, got, err, want)
			}
			if !got {
				continue
			}
			matched++
			covered := !complete
			for _, p := range patterns {
				covered = covered || matchLabels(p, urlpath.Host(r.Host))
			}
			if !covered {
				t.Fatalf("%v matches %q, which none of %v covers", entries, r.Host, patterns)
			}
		}
	}
	if matched < 1000 {
		t.Errorf("only %d matches", matched)
	}
}

// obviously is rules 1 to 5 of section 4.1, word by word.
func obviously(entries []string, r *http.Request) bool {
	v, _ := handlers.Of(r).Var("v").(string)
	for _, e := range entries {
		e = strings.ReplaceAll(strings.Trim(e, `"`), "{http.vars.v}", v)
		want, have := strings.Split(strings.ToLower(e), "."), strings.Split(strings.ToLower(r.Host), ".")
		same := len(want) == len(have)
		for i := range want {
			same = same && (want[i] == "*" || want[i] == have[i])
		}
		if same {
			return true
		}
	}
	return false
}

// TestAllocations: what most configs have costs nothing.
func TestAllocations(t *testing.T) {
	var hosts []string
	for i := range 1000 {
		hosts = append(hosts, fmt.Sprintf(`"h%d.test"`, i))
	}
	for name, json := range map[string]string{
		"host": `["b.test","a.test"]`, "host ": "[" + strings.Join(hosts, ",") + `,"a.test"]`, "host  ": `["*.b.test","a.*"]`,
		"path": `["/no","/api/v1/*"]`, "path ": `["/api/v1/users.html"]`, "path  ": `["/x/*/z","*.css","*x*"]`, "path   ": `["//no/*"]`, "method": `["POST","GET"]`,
		"query": `{"a":["1"],"b":["2"]}`, "header": `{"X":["b*","c"],"Host":["a.test"]}`, "remote_ip": `{"ranges":["10.0.0.0/8","127.0.0.1"]}`,
		"client_ip": `{"ranges":["10.0.0.0/8"]}`, "protocol": `"http"`, "vars": `{"v":["a","b"],"{http.request.method}":["GET"]}`,
	} {
		m := build(t, strings.TrimSpace(name), json)
		r := request(t, "/api/v1/users.html?a=1&b=2", withHeader("X: a", "X: c"), withVar("v", "b"), withVar("client_ip", "10.1.1.1"))
		if n := testing.AllocsPerRun(100, func() { _, _ = m.Match(r) }); n != 0 {
			t.Errorf("%s %s: %v allocations", name, json[:min(len(json), 40)], n)
		}
	}
}

func BenchmarkHost(b *testing.B) {
	for _, json := range []string{`["a.test"]`, `["b.test","*.test"]`} {
		m, r := build(b, "host", json), request(b, "/", withHost("a.test:8080"))
		b.Run(json, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = m.Match(r)
			}
		})
	}
}
