package policies

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
)

func on(subjects ...string) *Automation { return &Automation{Subjects: subjects} }

func issued(by string, subjects ...string) *Automation {
	return &Automation{Subjects: subjects, Issuers: []*config.Node{Issuer(by)}}
}

func managed(subjects ...string) *Automation {
	return &Automation{Subjects: subjects, Managers: []*config.Node{config.NewObject(map[string]*config.Node{"via": config.NewString("tailscale")})}}
}

func split(subjects ...string) *Automation {
	p := issued("internal", subjects...)
	p.Local = true
	return p
}

func brief(list []*Automation) string {
	var out []string
	for _, p := range list {
		s := strings.Join(p.Subjects, "+")
		if s == "" {
			s = "all"
		}
		if len(p.Issuers) > 0 {
			s += "/" + p.Issuers[0].Get("module").Str()
		}
		if len(p.Managers) > 0 {
			s += "/managed"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestMerge(t *testing.T) {
	keyed := func(p *Automation, kind string) *Automation { p.KeyType = kind; return p }
	shared := issued("internal")
	for _, c := range []struct {
		name string
		in   []*Automation
		want string
	}{
		{"nothing", nil, ""},
		{"all empty", []*Automation{on("a.com"), on("b.com", "c.com")}, ""},
		{"an empty last one goes", []*Automation{issued("x", "a.com", "b.com"), on("c.com")}, "a.com+b.com/x"},
		{"an empty one before others stays", []*Automation{on("c.com", "d.com"), issued("x", "a.com")}, "c.com+d.com a.com/x"},
		{"an empty one that a wildcard with managers covers goes", []*Automation{managed("*.a.com"), on("x.a.com"), issued("x", "b.com")}, "*.a.com/managed b.com/x"},
		{"an empty one that an issuer covers stays", []*Automation{issued("x", "*.a.com"), on("x.a.com")}, "x.a.com *.a.com/x"},
		{"the first that covers counts", []*Automation{on("x.a.com"), issued("x", "*.a.com"), managed("*.*.com")}, "x.a.com *.a.com/x *.*.com/managed"},
		{"the same issuer", []*Automation{issued("x", "a.com"), issued("y", "b.com"), issued("x", "c.com", "a.com")}, "a.com+c.com/x b.com/y"},
		{"what is for all names takes the others", []*Automation{issued("x"), issued("x", "a.com"), issued("y", "b.com")}, "b.com/y all/x"},
		{"unless another one is in between", []*Automation{issued("x"), issued("x", "w.a.com"), issued("y", "*.a.com")}, "w.a.com/x *.a.com/y all/x"},
		{"one policy twice", []*Automation{shared, shared, issued("x", "a.com")}, "a.com/x all/internal"},
		{"classes without issuers", []*Automation{keyed(on("a.com"), "k"), keyed(on("b.local"), "k"), keyed(on("c.com"), "k")}, "a.com+c.com b.local"},
		{"all names have every class", []*Automation{keyed(on("a.com"), "k"), keyed(on("b.local"), "k"), keyed(on(), "k")}, "all"},
		{"split off and implied", []*Automation{split("a.local"), on("b.local", "c.local"), issued("x", "d.com")}, "b.local+c.local+a.local d.com/x"},
		{"split off is not what tls says, but has its issuer", []*Automation{split("a.local"), issued("internal", "b.com")}, "a.local+b.com/internal"},
		{"more subjects first", []*Automation{issued("x", "a.com"), issued("y", "b.com", "c.com")}, "b.com+c.com/y a.com/x"},
	} {
		got, err := Merge(c.in)
		if err != nil || brief(got) != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, brief(got), err, c.want)
		}
	}
}

func TestMergeKeepsSettingsApart(t *testing.T) {
	for name, change := range map[string]func(p *Automation){
		"key type": func(p *Automation) { p.KeyType = "k" }, "ratio": func(p *Automation) { p.RenewalWindowRatio = 0.5 },
		"on demand": func(p *Automation) { p.OnDemand = true }, "keys": func(p *Automation) { p.ReusePrivateKeys = true },
		"managers": func(p *Automation) { p.Managers = managed().Managers },
	} {
		p, q := issued("x", "a.com"), issued("x", "b.com")
		change(q)
		if got, err := Merge([]*Automation{p, q}); err != nil || len(got) != 2 {
			t.Errorf("%s: %s, %v", name, brief(got), err)
		}
	}
	p, q := issued("x", "a.com"), issued("x", "b.com")
	q.DisableOCSPStapling = true
	if got, _ := Merge([]*Automation{p, q}); brief(got) != "a.com+b.com/x" {
		t.Errorf("OCSP: %s", brief(got))
	}
}

func TestMergeFindsAmbiguity(t *testing.T) {
	_, err := Merge([]*Automation{issued("x", "a.com"), issued("y", "b.com", "a.com")})
	var twice *AmbiguousError
	if !errors.As(err, &twice) || twice.Subject != "a.com" {
		t.Errorf("got %v", err)
	}
}

// TestMergeOfMany: what sites make of a large file ends soon.
func TestMergeOfMany(t *testing.T) {
	const n = 20000
	var list []*Automation
	for i := range n {
		switch i % 4 {
		case 0:
			list = append(list, on(fmt.Sprintf("a%d.com", i), fmt.Sprintf("b%d.com", i)))
		case 1:
			list = append(list, issued("internal", fmt.Sprintf("*.c%d.com", i)))
		case 2:
			list = append(list, split(fmt.Sprintf("d%d.local", i)))
		default:
			list = append(list, issued(fmt.Sprint("x", i), fmt.Sprintf("e%d.com", i)))
		}
	}
	start := time.Now()
	got, err := Merge(list)
	if err != nil || len(got) < n/4 {
		t.Fatal(len(got), err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestClasses(t *testing.T) {
	for name, want := range map[string]bool{
		"a.com": true, "ab": true, "*.a.com": true, "*.*.a.com": false, "localhost": false, "x.localhost": false, "x.local": false,
		"x.internal": false, "x.home.arpa": false, "127.0.0.1": false, "8.8.8.8": false, "::1": false, "2001:db8::1": false,
	} {
		if got := Public(name, false); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !Public("*.*.a.com", true) {
		t.Error("several wildcards are public on demand")
	}
	if on("a.com", "b.ts.net").AllPublic() || !on("a.com").AllPublic() || !on().AllPublic() {
		t.Error("AllPublic")
	}
	p := on("a.com", "b.local", "c.TS.net", "10.0.0.1")
	rest := p.Divide(Issuer("internal"))
	if rest == nil || !slices.Equal(p.Subjects, []string{"a.com"}) || !slices.Equal(rest.Subjects, []string{"b.local", "10.0.0.1"}) || !rest.Local {
		t.Errorf("divided into %v and %v", p, rest)
	}
	if on("a.com", "x.ts.net").Divide(Issuer("internal")) != nil || on("b.local").Divide(Issuer("internal")) != nil {
		t.Error("there is nothing to divide")
	}
}

func TestWildcards(t *testing.T) {
	for name, want := range map[string]string{
		"a": "*", "a.b": "*.b *.*", "a..c": "*..c *..*", "": "", "*.b": "*.b *.*",
	} {
		var got []string
		wildcards(name, func(w string) bool { got = append(got, w); return true })
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func parse(t *testing.T, text string) *config.Node {
	t.Helper()
	n, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestComplete(t *testing.T) {
	all := &ACME{Email: "e", CA: "c", CARoot: "r", HTTPPort: 1, TLSALPNPort: 2, BindHost: "b", CertificateLifetime: 3, Resolvers: []string{"d"},
		ExternalAccount: parse(t, `{"key_id":"k"}`), PreferredChains: parse(t, `{"smallest":true}`)}
	withDNS := *all
	withDNS.DNS, withDNS.Provider = true, parse(t, `{"name":"p"}`)
	naked := ACME{DNS: true, Resolvers: []string{"d"}}
	for _, c := range []struct {
		acme     *ACME
		in, want string
	}{
		{all, `{"module":"internal"}`, `{"module":"internal"}`},
		{all, `{"module":"acme"}`, `{"ca":"c","certificate_lifetime":3,"challenges":{"bind_host":"b","http":{"alternate_port":1},"tls-alpn":{"alternate_port":2}},"email":"e","external_account":{"key_id":"k"},"module":"acme","preferred_chains":{"smallest":true},"trusted_roots_pem_files":["r"]}`},
		{&ACME{Email: "e", CA: "c", CARoot: "r", CertificateLifetime: 3}, `{"module":"acme","email":"own","ca":"o","trusted_roots_pem_files":["a"],"certificate_lifetime":9}`,
			`{"ca":"o","certificate_lifetime":9,"email":"own","module":"acme","trusted_roots_pem_files":["a","r"]}`},
		{&ACME{CARoot: "r"}, `{"module":"acme","trusted_roots_pem_files":["r"]}`, `{"module":"acme","trusted_roots_pem_files":["r"]}`},
		{&withDNS, `{"module":"acme"}`, `{"ca":"c","certificate_lifetime":3,"challenges":{"dns":{"provider":{"name":"p"},"resolvers":["d"]}},"email":"e","external_account":{"key_id":"k"},"module":"acme","preferred_chains":{"smallest":true},"trusted_roots_pem_files":["r"]}`},
		{&naked, `{"module":"acme"}`, `{"challenges":{"dns":{"resolvers":["d"]}},"module":"acme"}`},
		{&naked, `{"module":"acme","challenges":{"dns":{"resolvers":["own"],"provider":{"name":"q"}}}}`, `{"challenges":{"dns":{"provider":{"name":"q"},"resolvers":["own"]}},"module":"acme"}`},
		{&ACME{Resolvers: []string{"d"}}, `{"module":"acme","challenges":{"dns":{"ttl":1}}}`, `{"challenges":{"dns":{"ttl":1}},"module":"acme"}`},
	} {
		in := parse(t, c.in)
		got := c.acme.Complete(in)
		if !config.Equal(got, parse(t, c.want)) {
			t.Errorf("%s became\n%s, want\n%s", c.in, got.AppendJSON(nil), c.want)
		}
		if again := c.acme.Complete(got); !config.Equal(again, got) {
			t.Errorf("%s changes when it is completed again", c.in)
		}
	}
}

func TestOverlay(t *testing.T) {
	got := Overlay(parse(t, `{"module":"acme","ca":"a","challenges":{"http":{"disabled":true},"dns":{"ttl":1,"provider":{"name":"a","x":1}}}}`),
		parse(t, `{"ca":"b","challenges":{"dns":{"provider":{"name":"b"}}}}`))
	if want := parse(t, `{"module":"acme","ca":"b","challenges":{"http":{"disabled":true},"dns":{"ttl":1,"provider":{"name":"b"}}}}`); !config.Equal(got, want) {
		t.Errorf("got %s", got.AppendJSON(nil))
	}
}

func conn(t *testing.T, fields string, sni ...string) *Connection {
	t.Helper()
	c := &Connection{SNI: sni, Fields: map[string]*config.Node{}}
	for k, v := range parse(t, fields).Members() {
		c.Fields[k] = v
	}
	return c
}

func nodes(list []*Connection) string {
	var out []string
	for _, c := range list {
		out = append(out, string(c.Node().AppendJSON(nil)))
	}
	return strings.Join(out, " ")
}

func TestConsolidate(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []*Connection
		want string // or the end of the error
	}{
		{"those for all names last, as one", []*Connection{conn(t, `{"alpn":["a"]}`), conn(t, `{"curves":["c"]}`, "x"), conn(t, `{"curves":["d"]}`)},
			`{"curves":["c"],"match":{"sni":["x"]}} {"alpn":["a"],"curves":["d"]}`},
		{"neighbours only", []*Connection{conn(t, `{"alpn":["a"]}`, "x"), conn(t, `{"alpn":["b"]}`, "y"), conn(t, `{"alpn":["a"]}`, "z")},
			`{"alpn":["a"],"match":{"sni":["x"]}} {"alpn":["b"],"match":{"sni":["y"]}} {"alpn":["a"],"match":{"sni":["z"]}}`},
		{"the same names before neighbours", []*Connection{conn(t, `{"alpn":["a"]}`, "x"), conn(t, `{"alpn":["a"]}`, "y"), conn(t, `{"curves":["c"]}`, "y")},
			`{"alpn":["a"],"match":{"sni":["x"]}} {"alpn":["a"],"curves":["c"],"match":{"sni":["y"]}}`},
		{"tags", []*Connection{conn(t, `{"certificate_selection":{"any_tag":["a","b"]}}`, "x"), conn(t, `{"certificate_selection":{"any_tag":["b","c"]}}`, "x")},
			`{"certificate_selection":{"any_tag":["a","b","c"]},"match":{"sni":["x"]}}`},
		{"once more after they were joined", []*Connection{conn(t, `{}`, "x"), conn(t, `{}`, "y"), conn(t, `{"alpn":["a"]}`, "x", "y")},
			`{"alpn":["a"],"match":{"sni":["x","y"]}}`},
		{"ALPN", []*Connection{conn(t, `{"alpn":["a","b"]}`, "x"), conn(t, `{"alpn":["b"]}`, "x")}, "conflicting ALPN: [a b] vs. [b]"},
		{"cipher suites", []*Connection{conn(t, `{"cipher_suites":["a"]}`, "x"), conn(t, `{"cipher_suites":["b"]}`, "x")}, "conflicting cipher suites: [a] vs. [b]"},
		{"client auth", []*Connection{conn(t, `{"client_authentication":{"mode":"a"}}`, "x"), conn(t, `{"client_authentication":{"mode":"b"}}`, "x")}, `conflicting client auth configuration: {"mode":"a"} vs. {"mode":"b"}`},
		{"SNI", []*Connection{conn(t, `{"default_sni":"a"}`), conn(t, `{"default_sni":"b"}`)}, "conflicting default SNI: a vs. b"},
		{"versions", []*Connection{conn(t, `{"protocol_max":"a"}`), conn(t, `{"protocol_max":"b"}`)}, "conflicting max protocol: a vs. b"},
		{"logs", []*Connection{conn(t, `{"insecure_secrets_log":"a"}`), conn(t, `{"insecure_secrets_log":"b"}`)}, "conflicting secrets logs: a vs. b"},
	} {
		got, err := Consolidate(c.in)
		switch {
		case err != nil && !strings.HasSuffix(err.Error(), c.want):
			t.Errorf("%s: %v", c.name, err)
		case err == nil && nodes(got) != c.want:
			t.Errorf("%s: %s\nwant %s", c.name, nodes(got), c.want)
		}
	}
}

func TestShield(t *testing.T) {
	const auth = `{"alpn":["h"],"client_authentication":{"mode":"m"}}`
	for _, c := range []struct {
		name  string
		in    []*Connection
		hosts []string
		want  []string // the names of the shields, in the order of the policies behind them
	}{
		{"covered", []*Connection{conn(t, auth, "*.a")}, []string{"y.a", "x.a", "y.a", "z.b", ""}, []string{"x.a y.a"}},
		{"named itself", []*Connection{conn(t, auth, "*.a", "x.a")}, []string{"x.a"}, nil},
		{"the wildcard itself", []*Connection{conn(t, auth, "*.a")}, []string{"*.a"}, nil},
		{"nothing is asked", []*Connection{conn(t, `{"alpn":["h"]}`, "*.a")}, []string{"x.a"}, nil},
		{"for all names", []*Connection{conn(t, auth)}, []string{"x.a"}, nil},
		{"two wildcards", []*Connection{conn(t, auth, "*.a"), conn(t, auth, "*.b")}, []string{"x.b", "x.a"}, []string{"x.a", "x.b"}},
		{"the first that covers", []*Connection{conn(t, auth, "*.b.a"), conn(t, auth, "*.*.a")}, []string{"x.b.a"}, []string{"x.b.a"}},
		{"a wildcard in a wider one", []*Connection{conn(t, auth, "*.*.a")}, []string{"*.b.a"}, []string{"*.b.a"}},
	} {
		var want []string
		shields := c.want
		for _, p := range c.in {
			if len(shields) > 0 {
				names := strings.Fields(shields[0])
				want = append(want, string(conn(t, `{"alpn":["h"]}`, names...).Node().AppendJSON(nil)))
				shields = shields[1:]
			}
			want = append(want, string(p.Node().AppendJSON(nil)))
		}
		if got := nodes(Shield(c.in, c.hosts)); got != strings.Join(want, " ") {
			t.Errorf("%s: %s\nwant %s", c.name, got, strings.Join(want, " "))
		}
	}
}
