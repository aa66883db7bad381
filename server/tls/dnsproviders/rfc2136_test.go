package dnsproviders_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/acmetest"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
)

// holder is a config with a provider in it.
type holder struct {
	DNS module.Ref[dnsproviders.Provider] `json:"dns" module:"dns.providers" inline:"name"`
}

func build(t *testing.T, provider string, globals vars.Map) module.Result {
	t.Helper()
	table, err := module.NewTable(append(dnsproviders.Specs(), module.New("holder", "Holds a provider.", nil,
		func(_ *module.Env, c *holder) (dnsproviders.Provider, error) { return c.DNS.Value(), nil })), nil)
	if err != nil {
		t.Fatal(err)
	}
	node, _, err := config.Parse([]byte(`{"dns":`+provider+`}`), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b := &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Globals: globals}}
	return b.Build(nil, "holder", node, module.Options{})
}

func provider(t *testing.T, text string) dnsproviders.Provider {
	t.Helper()
	res := build(t, text, nil)
	if len(res.Problems) > 0 {
		t.Fatal(res.Problems)
	}
	return res.Root.Value().(dnsproviders.Provider)
}

func of(t *testing.T, d *acmetest.DNS) dnsproviders.Provider {
	t.Helper()
	return provider(t, fmt.Sprintf(`{"name":"rfc2136","server":%q,"key_name":%q,"key_alg":%q,"key":%q}`, d.Address, d.KeyName, d.KeyAlg, d.Key))
}

func rr(name, kind, data string) libdns.Record {
	return libdns.RR{Name: name, Type: kind, Data: data, TTL: 5 * time.Minute}
}

// asText is the records of a zone, sorted, without its head.
func asText(t *testing.T, p dnsproviders.Provider, zone string) (list []string) {
	t.Helper()
	records, err := p.GetRecords(t.Context(), zone)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r := r.RR(); r.Type != "SOA" {
			list = append(list, fmt.Sprint(r.Name, " ", int(r.TTL.Seconds()), " ", r.Type, " ", r.Data))
		}
	}
	slices.Sort(list)
	return list
}

func TestRecords(t *testing.T) {
	d := acmetest.StartDNS(t)
	p := of(t, d)
	ctx := t.Context()
	long := strings.Repeat("0123456789", 30)
	odd := "say \"hi\" \\ to\tall; ümlaut"
	steps := []struct {
		name string
		do   func(context.Context, string, []libdns.Record) ([]libdns.Record, error)
		in   []libdns.Record
		want []string
	}{
		{"append", p.AppendRecords, []libdns.Record{rr("_acme-challenge.www", "TXT", "one"), rr("@", "A", "192.0.2.1"),
			libdns.RR{Name: "www", Type: "CNAME", Data: "zone.test."}},
			[]string{"@ 300 A 192.0.2.1", "_acme-challenge.www 300 TXT one", "www 60 CNAME zone.test."}},
		{"append beside", p.AppendRecords, []libdns.Record{rr("_acme-challenge.www", "TXT", "two"), rr("a", "txt", long), rr("b", "TXT", odd)},
			[]string{"@ 300 A 192.0.2.1", "_acme-challenge.www 300 TXT one", "_acme-challenge.www 300 TXT two", "a 300 TXT " + long, "b 300 TXT " + odd, "www 60 CNAME zone.test."}},
		{"delete one", p.DeleteRecords, []libdns.Record{rr("_acme-challenge.www", "TXT", "one"), rr("a", "TXT", long), rr("b", "TXT", odd), rr("gone", "TXT", "x")},
			[]string{"@ 300 A 192.0.2.1", "_acme-challenge.www 300 TXT two", "www 60 CNAME zone.test."}},
		{"set", p.SetRecords, []libdns.Record{rr("@", "A", "192.0.2.2"), rr("@", "A", "192.0.2.3"), rr("@", "HTTPS", `2 . alpn="h2"`)},
			[]string{`@ 300 A 192.0.2.2`, `@ 300 A 192.0.2.3`, `@ 300 HTTPS 2 . alpn=h2`, "_acme-challenge.www 300 TXT two", "www 60 CNAME zone.test."}},
		{"delete a type", p.DeleteRecords, []libdns.Record{libdns.RR{Name: "@", Type: "A"}},
			[]string{`@ 300 HTTPS 2 . alpn=h2`, "_acme-challenge.www 300 TXT two", "www 60 CNAME zone.test."}},
		{"delete a name", p.DeleteRecords, []libdns.Record{libdns.RR{Name: "@"}, libdns.RR{Name: "www"}},
			[]string{"_acme-challenge.www 300 TXT two"}},
	}
	for _, s := range steps {
		out, err := s.do(ctx, "zone.test.", s.in)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if len(out) != len(s.in) {
			t.Errorf("%s returns %d of %d records", s.name, len(out), len(s.in))
		}
		if got := asText(t, p, "zone.test"); !slices.Equal(got, s.want) {
			t.Errorf("after %s:\n%q\nwant\n%q", s.name, got, s.want)
		}
	}
	if got := d.Updates(); got != len(steps) {
		t.Errorf("%d updates for %d calls; each is to be one", got, len(steps))
	}
	if out, err := p.AppendRecords(ctx, "zone.test", nil); err != nil || len(out) != 0 || d.Updates() != len(steps) {
		t.Errorf("nothing to do: %v %v", out, err)
	}
	// What comes back is of libdns' types.
	out, err := p.AppendRecords(ctx, "zone.test", []libdns.Record{libdns.TXT{Name: "t", Text: "x y"}})
	if err != nil {
		t.Fatal(err)
	}
	if txt, ok := out[0].(libdns.TXT); !ok || txt.Text != "x y" || !slices.Contains(asText(t, p, "zone.test"), "t 60 TXT x y") {
		t.Errorf("a text comes back as %#v", out[0])
	}
}

func TestRefusals(t *testing.T) {
	d := acmetest.StartDNS(t)
	other := base64.StdEncoding.EncodeToString([]byte("another key, also of 32 bytes...."))
	config := func(name, alg, key string) string {
		return fmt.Sprintf(`{"name":"rfc2136","server":%q,"key_name":%q,"key_alg":%q,"key":%q}`, d.Address, name, alg, key)
	}
	good := config(d.KeyName, d.KeyAlg, d.Key)
	txt := []libdns.Record{rr("a", "TXT", "x")}
	for _, tt := range []struct {
		name, provider, zone string
		records              []libdns.Record
		want                 string
	}{
		{"wrong key", config(d.KeyName, d.KeyAlg, other), "zone.test", txt, "BADSIG"},
		{"wrong algorithm", config(d.KeyName, "hmac-sha512", d.Key), "zone.test", txt, "key_alg"},
		{"unknown key", config("nobody", d.KeyAlg, d.Key), "zone.test", txt, "BADKEY"},
		{"no key", fmt.Sprintf(`{"name":"rfc2136","server":%q}`, d.Address), "zone.test", txt, "REFUSED"},
		{"not its zone", good, "zone.example", txt, "has not this zone"},
		{"outside", good, "zone.test", []libdns.Record{rr("ok", "TXT", "x"), rr("a.other.test.", "TXT", "x")}, "outside of zone"},
		{"bad data", good, "zone.test", []libdns.Record{rr("ok", "TXT", "x"), rr("b", "A", "no address")}, "record b.zone.test."},
		{"bad type", good, "zone.test", []libdns.Record{rr("a", "NOPE", "x")}, "type"},
		{"bad name", good, "zone.test", []libdns.Record{rr("a b", "TXT", "x")}, "name"},
		{"control", good, "zone.test", []libdns.Record{rr("a", "A", "192.0.2.1\nb.zone.test. A 192.0.2.2")}, "line break"},
		{"no data", good, "zone.test", []libdns.Record{rr("a", "A", "")}, "no data"},
		{"nobody there", `{"name":"rfc2136","server":"127.0.0.1:1","key_name":"k","key":"` + other + `"}`, "zone.test", txt, "127.0.0.1:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := provider(t, tt.provider)
			_, err := p.AppendRecords(t.Context(), tt.zone, tt.records)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("appending: %v, want %s", err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), d.Key) || strings.Contains(err.Error(), other)) {
				t.Errorf("the key is in the error: %v", err)
			}
		})
	}
	if got := d.Records(); len(got) > 0 {
		t.Errorf("records came in: %q", got)
	}
	for name, text := range map[string]string{"wrong key": config(d.KeyName, d.KeyAlg, other), "no key": fmt.Sprintf(`{"name":"rfc2136","server":%q}`, d.Address),
		"nobody there": `{"name":"rfc2136","server":"127.0.0.1:1"}`} {
		if _, err := provider(t, text).GetRecords(t.Context(), "zone.test"); err == nil || !strings.Contains(err.Error(), "zone.test.") {
			t.Errorf("%s: reading: %v", name, err)
		}
	}
}

// A server that does not sign its answer could be anybody.
func TestUnsignedAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetReply(r)) })}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ActivateAndServe() }()
	defer func() { l.Close(); <-done }()
	p := provider(t, fmt.Sprintf(`{"name":"rfc2136","server":%q,"key_name":"k","key":"c2VjcmV0"}`, l.Addr()))
	if _, err := p.AppendRecords(t.Context(), "zone.test", []libdns.Record{rr("a", "TXT", "x")}); err == nil || !strings.Contains(err.Error(), "not signed") {
		t.Errorf("an answer without a signature: %v", err)
	}
}

// A caller that gives up does not wait for a server that says nothing.
func TestCancel(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := provider(t, fmt.Sprintf(`{"name":"rfc2136","server":%q,"key_name":"k","key":"c2VjcmV0"}`, l.Addr()))
	for name, call := range map[string]func(context.Context) error{
		"append": func(ctx context.Context) error {
			_, err := p.AppendRecords(ctx, "zone.test", []libdns.Record{rr("a", "TXT", "x")})
			return err
		},
		"get": func(ctx context.Context) error { _, err := p.GetRecords(ctx, "zone.test"); return err },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if c, err := l.Accept(); err == nil {
				defer c.Close()
				_, _ = c.Read(make([]byte, 1)) // it has asked
			}
			cancel()
		}()
		began := time.Now()
		if err := call(ctx); err == nil || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(began))
		}
		cancel()
	}
}

func TestProblems(t *testing.T) {
	globals := vars.Map{"env.KEY": "c2VjcmV0", "env.BAD": "top secret"}
	for text, want := range map[string]string{
		`{"name":"rfc2136"}`:                                                                       "/dns",
		`{"name":"rfc2136","server":"a:b:c"}`:                                                      "/dns/server",
		`{"name":"rfc2136","server":"https://ns.test"}`:                                            "/dns/server",
		`{"name":"rfc2136","server":"{env.NONE}"}`:                                                 "/dns/server",
		`{"name":"rfc2136","server":"ns.test","key_name":"k"}`:                                     "/dns/key",
		`{"name":"rfc2136","server":"ns.test","key":"c2VjcmV0"}`:                                   "/dns/key_name",
		`{"name":"rfc2136","server":"ns.test","key_name":"k","key":"{env.BAD}"}`:                   "/dns/key",
		`{"name":"rfc2136","server":"ns.test","key_name":"k","key":"{env.KEY}","key_alg":"md5"}`:   "/dns/key_alg",
		`{"name":"rfc2136","server":"ns.test","key_name":"a..b","key":"{env.KEY}"}`:                "/dns/key_name",
		`{"name":"rfc2136","server":"ns.test","key_name":"k","key":"{env.KEY}","ttl":3}`:           "/dns/ttl",
		`{"name":"rfc2136","server":"2001:db8::1","key_name":"k","key":"{env.KEY}"}`:               "",
		`{"name":"rfc2136","server":"ns.test","key_name":"K.","key":"{env.KEY}"}`:                  "",
		`{"name":"rfc2136","server":"ns.test","key_name":"k","key_alg":"HMAC-SHA512.","key":"AA"}`: "/dns/key",
	} {
		res := build(t, text, globals)
		if want == "" {
			if len(res.Problems) > 0 {
				t.Errorf("%s: %v", text, res.Problems)
			}
			continue
		}
		found := false
		for _, p := range res.Problems {
			found = found || p.Pointer == want
			if strings.Contains(fmt.Sprint(p), "top secret") {
				t.Errorf("%s: the key is in the problem: %v", text, p)
			}
		}
		if !found {
			t.Errorf("%s: %v, want one at %s", text, res.Problems, want)
		}
	}
}
