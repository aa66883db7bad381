package automation

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/internal/acmetest"
	"github.com/sluiceproxy/sluice/server/tls/automation/ech"
	"github.com/sluiceproxy/sluice/server/tls/automation/publishers"
)

// rfc2136 is the config of a provider at the name server.
func rfc2136(d *acmetest.DNS) string {
	return fmt.Sprintf(`{"name":"rfc2136","server":%q,"key_name":%q,"key_alg":%q,"key":%q}`, d.Address, d.KeyName, d.KeyAlg, d.Key)
}

// serving is a sequence as servers give it.
func serving(pairs ...string) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		for i := 0; i < len(pairs); i += 2 {
			if !yield(pairs[i], strings.Fields(pairs[i+1])) {
				return
			}
		}
	}
}

// httpsRecords asks for the HTTPS records of a name, as a browser would.
func httpsRecords(t *testing.T, d *acmetest.DNS, name string) (list []*dns.HTTPS) {
	t.Helper()
	answer, err := dns.Exchange(new(dns.Msg).SetQuestion(name+".", dns.TypeHTTPS), d.Address)
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range answer.Answer {
		if h, ok := rr.(*dns.HTTPS); ok {
			list = append(list, h)
		}
	}
	return list
}

// param is a parameter of a record, as text.
func param(h *dns.HTTPS, key dns.SVCBKey) string {
	for _, kv := range h.Value {
		if kv.Key() == key {
			return kv.String()
		}
	}
	return ""
}

// configsOf is the ECHConfigList of the only record of a name.
func configsOf(t *testing.T, d *acmetest.DNS, name string) []byte {
	t.Helper()
	list := httpsRecords(t, d, name)
	if len(list) != 1 {
		return nil
	}
	for _, kv := range list[0].Value {
		if e, ok := kv.(*dns.SVCBECHConfig); ok {
			return e.ECH
		}
	}
	return nil
}

// TestPublication publishes at a name server, and connects with what is found there.
func TestPublication(t *testing.T) {
	d := acmetest.StartDNS(t)
	d.Add(t, "plain.ech.test. 60 IN A 127.0.0.1",
		"rich.ech.test. 60 IN A 127.0.0.1",
		`rich.ech.test. 60 IN HTTPS 1 . alpn="h2" ipv4hint=192.0.2.1,192.0.2.2 port=8443 key65333="a b,c\"d"`,
		"alias.ech.test. 60 IN CNAME plain.ech.test.",
		"elsewhere.ech.test. 60 IN HTTPS 0 plain.ech.test.",
		"ech.test. 60 IN A 127.0.0.1",
		"*.wild.ech.test. 60 IN A 127.0.0.1")
	s := newMemory()
	r := newRig(t, s)
	r.load(`{"dns":` + rfc2136(d) + `,"resolvers":["` + d.Address + `"],"encrypted_client_hello":{"configs":[{"public_name":"outer.ech.test"}]}}`)
	r.m.Manage([]string{"plain.ech.test"}, nil)
	r.served("plain.ech.test", "public")
	r.served("outer.ech.test", "public")
	r.m.Serves(serving("Plain.ech.test", "h2 http/1.1", "plain.ech.test", "h3", "rich.ech.test", "http/1.1 h2", "ech.test", "", "alias.ech.test", "h2",
		"elsewhere.ech.test", "h2", "nothing.ech.test", "h2", "127.0.0.1", "h2", "*.wild.ech.test", "h2", "site.localhost", "h2"))
	for _, name := range []string{"plain.ech.test", "rich.ech.test", "ech.test", "*.wild.ech.test"} {
		until(t, name+" is published", func() bool { return len(configsOf(t, d, name)) > 0 })
	}
	configs, err := ech.Load(t.Context(), s)
	if err != nil || len(configs) != 1 {
		t.Fatalf("%v, %v", configs, err)
	}
	plain := httpsRecords(t, d, "plain.ech.test")[0]
	if plain.Priority != 2 || plain.Target != "." || plain.Hdr.Ttl != 300 || param(plain, dns.SVCB_ALPN) != "h3,h2,http/1.1" {
		t.Errorf("a new record: %s", plain)
	}
	rich := httpsRecords(t, d, "rich.ech.test")
	if len(rich) != 1 {
		t.Fatalf("%d records, want the one that was there: %v", len(rich), rich)
	}
	was, _ := dns.NewRR(`rich.ech.test. 60 IN HTTPS 1 . key65333="a b,c\"d"`)
	for key, want := range map[dns.SVCBKey]string{dns.SVCB_ALPN: "h2,http/1.1", dns.SVCB_IPV4HINT: "192.0.2.1,192.0.2.2", dns.SVCB_PORT: "8443", 65333: param(was.(*dns.HTTPS), 65333)} {
		if got := param(rich[0], key); got != want {
			t.Errorf("the parameter %s is %q, want %q", key, got, want)
		}
	}
	if rich[0].Priority != 1 || rich[0].Hdr.Ttl != 300 || !bytes.Equal(configsOf(t, d, "rich.ech.test"), ech.List(configs)) {
		t.Errorf("a record that was there: %s", rich[0])
	}
	if apex := httpsRecords(t, d, "ech.test"); param(apex[0], dns.SVCB_ALPN) != "" {
		t.Errorf("protocols that nobody knows are advertised: %s", apex[0])
	}
	until(t, "the round has ended", func() bool {
		p, err := ech.Published(t.Context(), s, configs[0])
		return err == nil && len(p) == 1
	})
	for _, line := range d.Records() {
		if strings.Contains(line, "HTTPS") && (strings.HasPrefix(line, "alias") || strings.HasPrefix(line, "nothing") || strings.HasPrefix(line, "elsewhere") && strings.Contains(line, "ech=")) {
			t.Errorf("published although it should not: %s", line)
		}
	}

	// A client that has only what is in DNS.
	client, server := net.Pipe()
	defer client.Close()
	names := make(chan string, 4)
	go func() {
		defer server.Close()
		c := tls.Server(server, &tls.Config{GetEncryptedClientHelloKeys: r.m.ECHKeys, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			names <- h.ServerName
			return r.m.Config(h.ServerName).GetCertificate(h)
		}})
		_ = c.Handshake()
		_, _ = io.Copy(io.Discard, c)
	}()
	pool := x509.NewCertPool()
	pool.AddCert(r.public.cert)
	c := tls.Client(client, &tls.Config{ServerName: "plain.ech.test", RootCAs: pool, EncryptedClientHelloConfigList: configsOf(t, d, "plain.ech.test"), MinVersion: tls.VersionTLS13})
	if err := c.Handshake(); err != nil || !c.ConnectionState().ECHAccepted || <-names != "plain.ech.test" {
		t.Errorf("accepted: %v, %v", c.ConnectionState().ECHAccepted, err)
	}
}

// TestPublishedOnce: not again by the process, nor by the next one, nor where there is nothing to change; but for new names
// and protocols.
func TestPublishedOnce(t *testing.T) {
	d := acmetest.StartDNS(t)
	d.Add(t, "a.ech.test. 60 IN A 127.0.0.1", "b.ech.test. 60 IN A 127.0.0.1")
	s := newMemory()
	doc := `{"resolvers":["` + d.Address + `"],"encrypted_client_hello":{"configs":[{"public_name":"outer.ech.test"}],"publication":[{"publishers":{"dns":{"provider":` + rfc2136(d) + `}}}]}}`
	r := newRig(t, s)
	r.load(doc)
	r.m.Serves(serving("a.ech.test", "h2"))
	until(t, "it is published", func() bool { return d.Updates() == 1 })
	r.m.Serves(serving("a.ech.test", "h2", "b.ech.test", "h2"))
	until(t, "the other is published", func() bool { return d.Updates() == 2 })
	if list := configsOf(t, d, "b.ech.test"); len(list) == 0 || !bytes.Equal(list, configsOf(t, d, "a.ech.test")) {
		t.Error("the two have not the same configs")
	}
	r.m.Serves(serving("a.ech.test", "h2 h3", "b.ech.test", "h2"))
	until(t, "other protocols are published", func() bool { return param(httpsRecords(t, d, "a.ech.test")[0], dns.SVCB_ALPN) == "h3,h2" })
	r.load(doc + " ")
	quiet := func(r *rig) {
		t.Helper()
		until(t, "nothing is left to do", func() bool {
			p := &r.m.publishing
			p.mu.Lock()
			defer p.mu.Unlock()
			return !p.running && p.due.IsZero() && len(p.done) == 2
		})
	}
	quiet(r)
	r.m.Close()
	before := d.Updates()
	again := newRig(t, s)
	again.load(doc)
	again.m.Serves(serving("b.ech.test", "h2", "a.ech.test", "h2 h3"))
	quiet(again)
	if n := d.Updates(); n != before {
		t.Errorf("another process has published again: %d updates, want %d", n, before)
	}
}

// TestPublicationIsTriedAgain: what fails waits longer and longer, and hinders nothing else.
func TestPublicationIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		r := newRig(t, s)
		defer r.m.Close()
		p := &fakePublisher{fail: map[string]bool{"bad.test": true}, skip: map[string]bool{"left.test": true}, last: map[string]time.Time{}}
		r.m.Use(&App{manager: r.m, options: defaultOptions(), ech: []string{"outer.test"}, publications: []publication{{publishers: []publishers.Publisher{p}}}})
		r.m.Serves(serving("bad.test", "h2", "good.test", "h2", "left.test", "h2"))
		time.Sleep(time.Second)
		synctest.Wait()
		if got := p.take(); got != "bad.test good.test left.test" {
			t.Fatalf("first %q", got)
		}
		r.m.Serves(serving("bad.test", "h2", "good.test", "h2", "new.test", "h2", "left.test", "h2"))
		time.Sleep(time.Second)
		synctest.Wait()
		if got := p.take(); got != "new.test" {
			t.Fatalf("with another name %q", got)
		}
		for _, wait := range []time.Duration{time.Minute, 2 * time.Minute, 2 * time.Minute, 5 * time.Minute} {
			time.Sleep(time.Until(p.last["bad.test"].Add(wait - time.Second)))
			synctest.Wait()
			if got := p.take(); got != "" {
				t.Fatalf("%q, before %v are over", got, wait)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := p.take(); got != "bad.test" {
				t.Fatalf("after %v %q", wait, got)
			}
		}
		p.mu.Lock()
		p.fail = nil
		p.mu.Unlock()
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if got := p.take(); got != "bad.test" {
			t.Fatalf("at last %q", got)
		}
		time.Sleep(time.Hour) // what was left out is looked at again
		synctest.Wait()
		if got := p.take(); got != "left.test" {
			t.Errorf("after an hour %q", got)
		}
		time.Sleep(ech.Fresh)
		synctest.Wait()
		if got := p.take(); !strings.Contains(got, "bad.test good.test left.test new.test") {
			t.Errorf("with a new key %q", got)
		}
	})
}

// fakePublisher notes what it is asked for.
type fakePublisher struct {
	mu         sync.Mutex
	asked      []string
	fail, skip map[string]bool
	last       map[string]time.Time
}

func (p *fakePublisher) Key() string                                            { return "fake" }
func (p *fakePublisher) With(publishers.Defaults) (publishers.Publisher, error) { return p, nil }

func (p *fakePublisher) Publish(_ context.Context, _ *zap.Logger, domains []publishers.Domain, _ []byte, report func(publishers.Result)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range domains {
		p.asked, p.last[d.Name] = append(p.asked, d.Name), time.Now()
		res := publishers.Result{Domain: d.Name}
		if p.fail[d.Name] {
			res.Err = errors.New("not now")
		}
		if p.skip[d.Name] {
			res.Skipped = "not this one"
		}
		report(res)
	}
}

func (p *fakePublisher) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.asked)
	text := strings.Join(slices.Compact(p.asked), " ")
	p.asked = nil
	return text
}

func TestPublicationProblems(t *testing.T) {
	r := newRig(t, newMemory())
	const provider = `"dns":{"name":"rfc2136","server":"192.0.2.53"},`
	for doc, want := range map[string]string{
		`{"encrypted_client_hello":{"configs":[{"public_name":"o.test"}],"publication":[{}]}}`:                                           "/encrypted_client_hello/publication/0: there is no DNS provider",
		`{"encrypted_client_hello":{"configs":[{"public_name":"o.test"}],"publication":[{"publishers":{"dns":{}}}]}}`:                    "/encrypted_client_hello/publication/0/publishers/dns: there is no DNS provider",
		`{` + provider + `"encrypted_client_hello":{"configs":[{"public_name":"o.test"}],"publication":[{"configs":["other.test"]}]}}`:   "/encrypted_client_hello/publication/0/configs/0: no config has this public name",
		`{` + provider + `"encrypted_client_hello":{"configs":[{"public_name":"o.test"}],"publication":[{"domains":["10.0.0.1"]}]}}`:     "/encrypted_client_hello/publication/0/domains/0: this is no domain",
		`{` + provider + `"encrypted_client_hello":{"configs":[{"public_name":""}]}}`:                                                    "public name length (0) must be in the range 1-255",
		`{` + provider + `"encrypted_client_hello":{"configs":[{"public_name":"o.test"}],"publication":[{"publishers":{"pigeon":{}}}]}}`: "pigeon",
		`{` + provider + `"encrypted_client_hello":{"configs":[{"public_name":"` + strings.Repeat("a", 256) + `"}]}}`:                    "public name length (256)",
	} {
		res := r.build(doc)
		if len(res.Problems) != 1 || !strings.Contains(res.Problems[0].Pointer+": "+res.Problems[0].String(), want) && !strings.Contains(res.Problems[0].Pointer+": "+res.Problems[0].Message, want) {
			t.Errorf("%s: %v, want %s", doc, res.Problems, want)
		}
	}
	for doc, want := range map[string]int{
		`{` + provider + `"encrypted_client_hello":{"configs":[{"public_name":"o.test"}]}}`:                                                                 1,
		`{` + provider + `"encrypted_client_hello":{"configs":[{"public_name":"o.test"}],"publication":[]}}`:                                                0,
		`{"encrypted_client_hello":{"configs":[{"public_name":"o.test"}]}}`:                                                                                 0,
		`{` + provider + `"encrypted_client_hello":{"configs":[{"public_name":"o.test"}],"publication":[{"configs":["O.test"],"domains":["A.test."]},{}]}}`: 2,
	} {
		res := r.build(doc)
		if len(res.Problems) > 0 {
			t.Fatalf("%s: %v", doc, res.Problems)
		}
		if got := len(res.Root.Value().(*App).publications); got != want {
			t.Errorf("%s: %d publications, want %d", doc, got, want)
		}
	}
}
