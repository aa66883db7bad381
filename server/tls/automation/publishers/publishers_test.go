package publishers_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/libdns/libdns"
	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/internal/acmetest"
	"github.com/sluiceproxy/sluice/server/tls/automation/publishers"
)

// zones is a provider in memory.
type zones struct {
	mu     sync.Mutex
	zones  map[string][]libdns.Record
	reads  map[string]int
	sets   []string
	broken map[string]error // by zone, or by name of record
}

func (z *zones) GetRecords(_ context.Context, zone string) ([]libdns.Record, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.reads[zone]++
	return z.zones[zone], z.broken[zone]
}

func (z *zones) SetRecords(_ context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.sets = append(z.sets, records[0].RR().Name+" "+zone)
	if err := z.broken[records[0].RR().Name]; err != nil {
		return nil, err
	}
	name := records[0].RR().Name
	z.zones[zone] = slices.DeleteFunc(z.zones[zone], func(r libdns.Record) bool { return r.RR().Name == name && r.RR().Type == "HTTPS" })
	z.zones[zone] = append(z.zones[zone], records...)
	return records, nil
}

func (z *zones) AppendRecords(context.Context, string, []libdns.Record) ([]libdns.Record, error) {
	return nil, errors.New("not to be used")
}

func (z *zones) DeleteRecords(context.Context, string, []libdns.Record) ([]libdns.Record, error) {
	return nil, errors.New("not to be used")
}

func rr(name, kind, data string) libdns.RR { return libdns.RR{Name: name, Type: kind, Data: data} }

// results publishes for domains, all with h2, and returns what became of each.
func results(t *testing.T, z *zones, d *acmetest.DNS, names ...string) (list []string) {
	t.Helper()
	p, err := publishers.NewDNS().With(publishers.Defaults{DNS: publishers.Provider{Value: z, Key: "k"}, Resolvers: []string{d.Address}})
	if err != nil || p.Key() != "k" {
		t.Fatal(err)
	}
	var domains []publishers.Domain
	for _, n := range names {
		domains = append(domains, publishers.Domain{Name: n, ALPN: []string{"h2"}})
	}
	p.Publish(t.Context(), zap.NewNop(), domains, []byte("configs"), func(r publishers.Result) {
		text := r.Domain + " ok"
		if r.Skipped != "" {
			text = r.Domain + " skipped: " + r.Skipped
		}
		if r.Err != nil {
			text = r.Domain + " failed: " + r.Err.Error()
		}
		list = append(list, text)
	})
	return list
}

func newZones(records map[string][]libdns.Record) *zones {
	return &zones{zones: records, reads: map[string]int{}, broken: map[string]error{}}
}

func TestRecords(t *testing.T) {
	d := acmetest.StartDNS(t)
	d.Add(t, "sub.own.test. 60 IN SOA ns.own.test. admin.own.test. 1 1 1 1 1")
	params := libdns.SvcParams{"ipv6hint": {"2001:db8::1"}, "alpn": {"h3"}}
	typed := libdns.ServiceBinding{Scheme: "https", Name: "typed", Priority: 7, Target: "other.test.", Params: params}
	z := newZones(map[string][]libdns.Record{
		"own.test.": {rr("@", "A", "192.0.2.1"), rr("WWW", "A", "192.0.2.1"), rr("sub", "NS", "ns.other.test."),
			rr("two", "HTTPS", "1 . port=1"), rr("two", "HTTPS", "3 b.test. port=2"), typed,
			rr("bad", "HTTPS", "what is this"), rr("alias", "CNAME", "www"), rr("to", "HTTPS", "0 www.own.test."), rr("absolute.own.test.", "A", "192.0.2.1")},
		"sub.own.test.": {rr("x", "AAAA", "2001:db8::1")},
	})
	got := results(t, z, d, "own.test", "www.own.test", "two.own.test", "typed.own.test", "bad.own.test", "alias.own.test", "to.own.test", "none.own.test", "absolute.own.test", "x.sub.own.test", "x.y")
	want := []string{"own.test ok", "www.own.test ok", "two.own.test ok", "typed.own.test ok", "bad.own.test skipped: the HTTPS record that is there cannot be read",
		"alias.own.test skipped: the name is an alias (CNAME)", "to.own.test skipped: the HTTPS record is an alias, to www.own.test.",
		"none.own.test skipped: there is no record of this name in zone own.test.", "absolute.own.test ok", "x.sub.own.test ok", "x.y failed: finding the zone of x.y."}
	for i, w := range want {
		if i >= len(got) || !strings.HasPrefix(got[i], w) {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if z.reads["own.test."] != 1 || z.reads["sub.own.test."] != 1 {
		t.Errorf("zones were read %v times", z.reads)
	}
	ech := base64.StdEncoding.EncodeToString([]byte("configs"))
	var set []string
	for _, zone := range []string{"own.test.", "sub.own.test."} {
		for _, r := range z.zones[zone] {
			if b, ok := r.(libdns.ServiceBinding); ok && len(b.Params["ech"]) == 1 && b.Params["ech"][0] == ech {
				set = append(set, fmt.Sprint(b.Name, " ", int(b.TTL.Seconds()), " ", b.Priority, " ", b.Target, " ", b.Params["alpn"], b.Params["port"], b.Params["ipv6hint"]))
			}
		}
	}
	if text := strings.Join(set, "\n"); text != `@ 300 2 . [h2] [] []
www 300 2 . [h2] [] []
two 300 1 . [h2] [1] []
two 300 3 b.test. [h2] [2] []
typed 300 7 other.test. [h2] [] [2001:db8::1]
absolute 300 2 . [h2] [] []
x 300 2 . [h2] [] []` {
		t.Errorf("records:\n%s", text)
	}
	if len(params) != 2 || params["alpn"][0] != "h3" {
		t.Errorf("the parameters that the provider gave have changed: %v", params)
	}
	z.sets = nil
	if again := results(t, z, d, "own.test", "two.own.test"); strings.Join(again, " ") != "own.test ok two.own.test ok" || len(z.sets) != 0 {
		t.Errorf("again: %v, set %v", again, z.sets)
	}
}

// A zone that does not work hinders no other, and is not asked for each of its names.
func TestBrokenZones(t *testing.T) {
	d := acmetest.StartDNS(t)
	var names []string
	list := map[string][]libdns.Record{"full.test.": nil, "gone.test.": nil, "well.test.": {rr("a", "A", "192.0.2.1")}}
	for i := range 6 {
		list["full.test."] = append(list["full.test."], rr(fmt.Sprintf("n%d", i), "A", "192.0.2.1"))
		names = append(names, fmt.Sprintf("n%d.full.test", i), fmt.Sprintf("n%d.gone.test", i))
	}
	z := newZones(list)
	for i := range 6 {
		z.broken[fmt.Sprintf("n%d", i)] = errors.New("quota exceeded")
	}
	z.broken["gone.test."] = errors.New("no such zone")
	got := results(t, z, d, append(names, "a.well.test")...)
	if len(got) != 13 || got[12] != "a.well.test ok" || len(z.sets) != 4 || z.reads["gone.test."] != 1 {
		t.Errorf("%s\nset %v, read %v", strings.Join(got, "\n"), z.sets, z.reads)
	}
	for _, line := range got[:12] {
		if !strings.Contains(line, "quota exceeded") && !strings.Contains(line, "no such zone") {
			t.Error(line)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, _ := publishers.NewDNS().With(publishers.Defaults{DNS: publishers.Provider{Value: z}})
	p.Publish(ctx, zap.NewNop(), []publishers.Domain{{Name: "a.well.test"}}, nil, func(r publishers.Result) { t.Errorf("reported after the end: %v", r) })
	if _, err := publishers.NewDNS().With(publishers.Defaults{}); err == nil {
		t.Error("without a provider")
	}
}
