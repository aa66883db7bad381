package automation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"go.uber.org/goleak"
)

func TestServedNamesGetCertificates(t *testing.T) {
	s := files(t)
	r := newRig(t, s)
	r.m.Manage([]string{"Site.Example.com", "localhost", "(no name)"}, nil)
	r.served("site.example.com", "public")
	r.served("localhost", "local")
	if got := r.managedNames(); !slices.Equal(got, []string{"localhost", "site.example.com"}) {
		t.Errorf("managed: %v", got)
	}
	if _, err := os.Stat(filepath.Join(s.Path, "certificates", "public", "site.example.com", "site.example.com.key")); err != nil {
		t.Error(err)
	}
	if n := r.bus.count("tls/cert_obtained"); n != 2 {
		t.Errorf("%d events cert_obtained, want 2", n)
	}
	if r.bus.count("tls/tls_get_certificate") == 0 {
		t.Error("no event tls_get_certificate")
	}
	r.m.Manage(nil, []string{"site.example.com"})
	if by := r.issuer("site.example.com"); by != "" {
		t.Errorf("a name that is no longer served has a certificate of %s", by)
	}

	again := newRig(t, s) // the storage has it
	again.m.Manage([]string{"site.example.com"}, nil)
	again.served("site.example.com", "public")
	if again.public.total() != 0 {
		t.Error("a certificate that the storage has was obtained again")
	}
}

func TestOneNameTouchesOneName(t *testing.T) {
	s := newMemory()
	r := newRig(t, s)
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("n%d.example.com", i))
	}
	r.m.Manage(names, nil)
	until(t, "all have certificates", func() bool { return r.bus.count("tls/cached_managed_cert") == 300 })
	s.mu.Lock()
	clear(s.loads)
	s.mu.Unlock()
	r.m.Manage([]string{"new.example.com"}, nil)
	r.served("new.example.com", "public")
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.loads {
		if strings.HasPrefix(key, "certificates/") && !strings.Contains(key, "/new.example.com/") {
			t.Errorf("%s was read", key)
		}
	}
	if n := r.public.total(); n != 301 {
		t.Errorf("%d certificates were issued, want 301", n)
	}
}

func TestWildcardsSpareNames(t *testing.T) {
	automate := func(list string) string { return `{"certificates":{"automate":[` + list + `]}}` }
	for _, c := range []struct {
		automate string
		served   []string
		want     string
	}{
		{`"*.example.com"`, []string{"sub.example.com"}, "*.example.com"},
		{``, []string{"sub.example.com"}, "sub.example.com"},
		{`"*.example.com","sub.example.com"`, []string{"sub.example.com"}, "*.example.com sub.example.com"},
		{`"*.example.com"`, []string{"example.com", "a.b.example.com"}, "*.example.com a.b.example.com example.com"},
		{``, []string{"*.example.com", "sub.example.com"}, "*.example.com"},
		{`"*.*.example.com"`, []string{"a.b.example.com", "b.example.com", "*.c.example.com"}, "*.*.example.com b.example.com"},
	} {
		r := newRig(t, newMemory())
		r.load(automate(c.automate))
		r.m.Manage(c.served, nil)
		if got := strings.Join(r.managedNames(), " "); got != c.want {
			t.Errorf("automate [%s], served %v: %s, want %s", c.automate, c.served, got, c.want)
		}
		r.load(automate(``)) // the same the other way round
		r.load(automate(c.automate))
		if got := strings.Join(r.managedNames(), " "); got != c.want {
			t.Errorf("automate [%s] after served %v: %s, want %s", c.automate, c.served, got, c.want)
		}
	}
}

// TestManagedNamesModel compares what is managed after random changes with what rule 9 says of the end.
func TestManagedNamesModel(t *testing.T) {
	r := newRig(t, newMemory())
	r.public.failing(func(string) error { return errors.New("not today") })
	r.own.failing(func(string) error { return errors.New("not today") })
	rnd := rand.New(rand.NewPCG(3, 4))
	pool := []string{"*.a.test", "x.a.test", "y.a.test", "a.test", "*.*.test", "*.b.test", "z.b.test", "c.z.b.test", "10.0.0.1"}
	listed, served := map[string]bool{}, map[string]bool{}
	for range 400 {
		name := pool[rnd.IntN(len(pool))]
		switch rnd.IntN(3) {
		case 0:
			listed[name] = !listed[name]
			var list []string
			for n, is := range listed {
				if is {
					list = append(list, `"`+n+`"`)
				}
			}
			r.load(`{"certificates":{"automate":[` + strings.Join(list, ",") + `]}}`)
		case 1:
			served[name] = true
			r.m.Manage([]string{name}, nil)
		default:
			served[name] = false
			r.m.Manage(nil, []string{name})
		}
		var want []string
		byStars := slices.Clone(pool)
		slices.SortStableFunc(byStars, func(a, b string) int { return strings.Count(b, "*") - strings.Count(a, "*") })
		for _, n := range byStars {
			covered := slices.ContainsFunc(want, func(w string) bool {
				return w != n && strings.Contains(w, "*") && !isIP(n) && certmagic.MatchWildcard(n, w)
			})
			if listed[n] || served[n] && !covered {
				want = append(want, n)
			}
		}
		slices.Sort(want)
		if got := r.managedNames(); !slices.Equal(got, want) {
			t.Fatalf("managed %v, want %v; listed %v, served %v", got, want, listed, served)
		}
	}
}

func TestOnePolicyTouchesItsNames(t *testing.T) {
	r := newRig(t, newMemory())
	doc := func(a, b string) string {
		return `{"automation":{"policies":[{"subjects":["a.example"],"issuers":[{"module":"` + a + `"}]},{"subjects":["b.example"],"issuers":[{"module":"` + b + `"}]}]}}`
	}
	r.load(doc("acme", "acme"))
	r.m.Manage([]string{"a.example", "b.example", "c.example"}, nil)
	for _, n := range []string{"a.example", "b.example", "c.example"} {
		r.served(n, "public")
	}
	before := r.m.Config("b.example")
	r.load(doc("other", "acme"))
	r.served("a.example", "other")
	if r.m.Config("b.example") != before {
		t.Error("the config of a policy that has not changed is another one")
	}
	if r.public.total() != 3 || r.other.total() != 1 {
		t.Errorf("%d and %d certificates were issued, want 3 and 1", r.public.total(), r.other.total())
	}
	if n := len(r.status("a.example")); n != 1 {
		t.Errorf("%d certificates for a.example, want only the new one", n)
	}
	r.load(doc("acme", "acme")) // back: the storage still has that
	r.served("a.example", "public")
	if r.public.total() != 3 {
		t.Error("a certificate that the storage has was obtained again")
	}
}

func TestOldServesUntilNewIsThere(t *testing.T) {
	r := newRig(t, newMemory())
	r.m.Manage([]string{"a.example"}, nil)
	r.served("a.example", "public")
	r.other.gate = make(chan struct{})
	r.load(`{"automation":{"policies":[{"issuers":[{"module":"other"}]}]}}`)
	until(t, "the new issuer is asked", func() bool { return r.other.times("a.example") == 1 })
	if by := r.issuer("a.example"); by != "public" {
		t.Errorf("while the new certificate is obtained %q serves, want the old one", by)
	}
	close(r.other.gate)
	r.served("a.example", "other")
	until(t, "the old one is gone", func() bool { return len(r.status("a.example")) == 1 })
}

func TestNoGapAroundWildcards(t *testing.T) {
	r := newRig(t, newMemory())
	r.m.Manage([]string{"a.w.example", "b.w.example"}, nil)
	r.served("a.w.example", "public")
	r.served("b.w.example", "public")
	gate := make(chan struct{})
	r.public.mu.Lock()
	r.public.gate = gate
	r.public.mu.Unlock()
	r.m.Manage([]string{"*.w.example"}, nil)
	until(t, "the wildcard is asked for", func() bool { return r.public.times("*.w.example") == 1 })
	if r.issuer("a.w.example") == "" {
		t.Error("the name has no certificate before the wildcard has one")
	}
	close(gate)
	until(t, "the wildcard serves", func() bool {
		c, err := r.hello("a.w.example")
		return err == nil && c.DNSNames[0] == "*.w.example"
	})
	if n := r.m.lingering.count.Load(); n != 0 {
		t.Errorf("%d names linger", n)
	}

	// And back: other names than those in storage have to be obtained while the wildcard is leaving.
	gate = make(chan struct{})
	r.public.mu.Lock()
	r.public.gate = gate
	r.public.mu.Unlock()
	r.m.Manage([]string{"c.w.example"}, nil)
	r.m.Manage(nil, []string{"*.w.example"})
	until(t, "the name is asked for", func() bool { return r.public.times("c.w.example") == 1 })
	if r.issuer("c.w.example") == "" {
		t.Error("the wildcard is gone before the name has a certificate")
	}
	close(gate)
	until(t, "the name serves", func() bool {
		c, err := r.hello("c.w.example")
		return err == nil && c.DNSNames[0] == "c.w.example"
	})
	until(t, "the wildcard is gone", func() bool { return r.issuer("d.w.example") == "" })
}

func TestStorageOfPolicyAndOfDocument(t *testing.T) {
	first := newMemory()
	r := newRig(t, first)
	r.load(`{"automation":{"policies":[{"subjects":["own.example"],"storage":{"module":"second"}}]}}`)
	r.m.Manage([]string{"own.example", "a.example"}, nil)
	r.served("own.example", "public")
	r.served("a.example", "public")
	ctx := context.Background()
	if !r.second.Exists(ctx, "certificates/public/own.example") || first.Exists(ctx, "certificates/public/own.example") {
		t.Error("the certificate is not in the storage of its policy")
	}
	if !first.Exists(ctx, "certificates/public/a.example") {
		t.Error("the certificate is not in the storage of the document")
	}
	first.mu.Lock()
	clear(first.data) // as if there were another one
	first.mu.Unlock()
	r.m.StorageChanged()
	until(t, "the name is obtained again", func() bool { return r.public.times("a.example") == 2 })
	until(t, "there is one certificate", func() bool { return len(r.status("a.example")) == 1 })
	if r.public.times("own.example") != 1 {
		t.Error("a name with a storage of its own was obtained again")
	}
}

func TestFailuresBackOffAndAreShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemory())
		defer r.m.Close()
		r.public.failing(func(string) error { return errors.New("the authority is down") })
		start := time.Now()
		r.m.Manage([]string{"fails.example"}, nil)
		synctest.Wait()
		c := r.status("fails.example")
		if len(c) != 1 || c[0].Renewal != RenewalFailed || !strings.Contains(c[0].LastError, "the authority is down") || c[0].Attempts != 1 {
			t.Fatalf("status: %+v", c)
		}
		if next := c[0].NextTry.Sub(start); next != time.Minute {
			t.Errorf("the next attempt is said to be after %v, want 1m", next)
		}
		for _, step := range []time.Duration{time.Minute, 2 * time.Minute, 2 * time.Minute, 5 * time.Minute} {
			before := r.public.times("fails.example")
			next := r.status("fails.example")[0].NextTry
			time.Sleep(step - time.Second)
			synctest.Wait()
			if r.public.times("fails.example") != before {
				t.Fatalf("tried again before %v", step)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if r.public.times("fails.example") != before+1 || time.Until(*next) > 0 {
				t.Fatalf("not tried again after %v", step)
			}
		}
		if n := r.bus.count("tls/cert_failed"); n != 5 {
			t.Errorf("%d events cert_failed, want 5", n)
		}
		r.public.failing(nil)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if c := r.status("fails.example"); c[0].Renewal != RenewalValid || c[0].LastError != "" || c[0].NotAfter == nil {
			t.Errorf("status after success: %+v", c)
		}
	})
}

func TestBrokenStorageIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		r := newRig(t, s)
		defer r.m.Close()
		r.m.Manage([]string{"here.example"}, nil)
		synctest.Wait()
		s.failing(errBroken)
		r.m.Manage([]string{"late.example"}, nil)
		synctest.Wait()
		c := r.status("late.example")
		if len(c) != 1 || c[0].Renewal != RenewalFailed || !strings.Contains(c[0].LastError, "disk is broken") {
			t.Fatalf("status: %+v", c)
		}
		r.m.StorageChanged() // to something that is as broken
		time.Sleep(30 * time.Second)
		if by := r.issuer("here.example"); by != "public" {
			t.Errorf("with a broken storage the old certificate does not serve: %q", by)
		}
		s.failing(nil)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if by := r.issuer("late.example"); by != "public" {
			t.Errorf("after the storage is back there is no certificate: %q", by)
		}
		if c := r.status("here.example"); len(c) != 1 || c[0].LastError != "" {
			t.Errorf("status: %+v", c)
		}
	})
}

func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemory())
		defer r.m.Close()
		r.load(`{"automation":{"renew_interval":"1m"}}`)
		r.public.life = 24 * time.Hour
		r.m.Manage([]string{"renews.example"}, nil)
		synctest.Wait()
		old, err := r.hello("renews.example")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Hour)
		synctest.Wait()
		if r.public.times("renews.example") != 1 {
			t.Fatal("renewed before two thirds of its life")
		}
		r.public.failing(func(string) error { return errors.New("rate limited") })
		time.Sleep(time.Hour + 5*time.Minute)
		synctest.Wait()
		if c := r.status("renews.example"); len(c) != 1 || c[0].Renewal != RenewalFailed || !strings.Contains(c[0].LastError, "rate limited") || c[0].NotAfter == nil {
			t.Fatalf("status: %+v", c)
		}
		if c, err := r.hello("renews.example"); err != nil || !c.Equal(old) {
			t.Errorf("the old certificate does not serve on: %v", err)
		}
		r.public.failing(nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		c, err := r.hello("renews.example")
		if err != nil || c.Equal(old) {
			t.Errorf("not renewed: %v", err)
		}
		if c := r.status("renews.example"); c[0].Renewal != RenewalValid || c[0].LastError != "" {
			t.Errorf("status: %+v", c)
		}
		// The interval of a running process changes.
		r.load(`{"automation":{"renew_interval":"10s"}}`)
		r.public.life = 10 * time.Minute
		r.m.Manage([]string{"short.example"}, nil)
		synctest.Wait()
		time.Sleep(9*time.Minute + 11*time.Second)
		synctest.Wait()
		if r.public.times("short.example") < 2 {
			t.Error("not renewed at the new interval")
		}
	})
}

func TestOverdueIsRenewedAtStart(t *testing.T) {
	s := newMemory()
	r := newRig(t, s)
	r.public.life = 20 * 24 * time.Hour
	r.m.Manage([]string{"overdue.example"}, nil)
	r.served("overdue.example", "public")
	// Issued long ago, as far as the renewal window goes.
	cert, key := r.public.pair(time.Now().Add(-80*24*time.Hour), time.Now().Add(10*24*time.Hour), "overdue.example")
	s.mu.Lock()
	s.data["certificates/public/overdue.example/overdue.example.crt"], s.data["certificates/public/overdue.example/overdue.example.key"] = []byte(cert), []byte(key)
	s.mu.Unlock()
	again := newRig(t, s, func(o *Options) { o.Public = []Issuer{r.public} })
	again.m.Manage([]string{"overdue.example"}, nil)
	until(t, "it is renewed", func() bool {
		c, err := again.hello("overdue.example")
		return err == nil && time.Until(c.NotAfter) > 15*24*time.Hour
	})
}

func TestSpoiledCertificateIsReplaced(t *testing.T) {
	s := newMemory()
	r := newRig(t, s)
	cert, _ := r.public.fresh("spoiled.example")
	_, key := r.public.fresh("spoiled.example")
	for ext, text := range map[string]string{"crt": cert, "key": key, "json": `{"sans":["spoiled.example"]}`} {
		_ = s.Store(context.Background(), "certificates/public/spoiled.example/spoiled.example."+ext, []byte(text))
	}
	r.m.Manage([]string{"spoiled.example"}, nil)
	r.served("spoiled.example", "public")
}

func TestVeto(t *testing.T) {
	r := newRig(t, newMemory())
	r.bus.veto = func(name string, data map[string]any) error {
		if name == "cert_obtaining" {
			return errors.New("not this one")
		}
		return nil
	}
	r.m.Manage([]string{"veto.example"}, nil)
	until(t, "it is asked for permission", func() bool { return r.bus.count("tls/cert_obtaining") > 0 })
	if r.public.total() != 0 {
		t.Error("obtained although a handler has said no")
	}
}

func TestConfigIsCheap(t *testing.T) {
	r := newRig(t, newMemory())
	r.load(`{"automation":{"policies":[{"subjects":["*.example.com","a.test"]},{"subjects":["*.*.test"]},{}]}}`)
	r.m.Manage([]string{"managed.test"}, nil)
	for _, name := range []string{"x.example.com", "a.test", "q.b.test", "unknown.org", "10.1.2.3", "managed.test", ""} {
		if n := testing.AllocsPerRun(100, func() { _ = r.m.Config(name) }); n != 0 {
			t.Errorf("Config(%q) allocates %v times", name, n)
		}
	}
}

func TestMetrics(t *testing.T) {
	reg, err := metrics.New(metrics.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, newMemory(), func(o *Options) { o.Metrics = reg })
	r.own.failing(func(string) error { return errors.New("no") })
	r.m.Manage([]string{"metrics.example", "metrics.localhost"}, nil)
	r.served("metrics.example", "public")
	until(t, "the other has failed", func() bool { return r.bus.count("tls/cert_failed") == 1 })
	families, err := reg.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "sluice_tls") {
			text.WriteString(f.String() + "\n")
		}
	}
	for _, want := range []string{"sluice_tls_certificate_not_after_timestamp_seconds", "metrics.example", `value:"managed"`, "sluice_tls_certificate_failures_total", `value:"obtain"`, `value:"failed"`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s is missing in\n%s", want, text.String())
		}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := newRig(t, newMemory())
	r.public.failing(func(string) error { return errors.New("no") })
	r.load(`{"automation":{"policies":[{"key_type":"p384"}]},"encrypted_client_hello":{"configs":[{"public_name":"outer.example"}]}}`)
	r.m.Manage([]string{"a.example", "b.example"}, nil)
	until(t, "both have failed", func() bool { return r.bus.count("tls/cert_failed") >= 2 })
	r.m.Close()
	r.m.Manage([]string{"after.example"}, nil) // without effect
}

func TestDryRunHasNoEffect(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r := newRig(t, newMemory())
	res := r.build(`{"certificates":{"automate":["a.example"]}}`)
	for _, b := range res.New {
		for _, o := range b.Owned() {
			if err := o.Prepare(); err != nil {
				t.Fatal(err)
			}
			o.Close()
		}
	}
	if r.m.current.Load() != nil {
		t.Error("a document that was only looked at counts")
	}
}

func TestAppLeaves(t *testing.T) {
	r := newRig(t, newMemory())
	r.load(`{"certificates":{"automate":["a.example"]},"automation":{"policies":[{"issuers":[{"module":"other"}]}]}}`)
	r.served("a.example", "other")
	for _, b := range r.built.All() {
		for _, o := range b.Owned() {
			o.Close()
		}
	}
	if got := r.managedNames(); len(got) != 0 {
		t.Errorf("managed without a document: %v", got)
	}
	if r.m.Config("x.example").Issuers[0].IssuerKey() != "public" {
		t.Error("the default does not count again")
	}
}

// TestAppIsGoneAtTheSwap: a document without the app counts at once, although the app is closed later.
func TestAppIsGoneAtTheSwap(t *testing.T) {
	r := newRig(t, newMemory())
	cert, key := r.other.fresh("loaded.example")
	r.load(fmt.Sprintf(`{"certificates":{"automate":["a.example"],"load_pem":[{"certificate":%q,"key":%q}]},"automation":{"policies":[{"issuers":[{"module":"other"}]}]}}`, cert, key))
	r.m.Manage([]string{"served.example"}, nil)
	for _, name := range []string{"a.example", "loaded.example", "served.example"} {
		r.served(name, "other")
	}
	first := r.built.Value().(*App)
	first.Leave()
	if got := r.managedNames(); !slices.Equal(got, []string{"served.example"}) {
		t.Errorf("managed: %v", got)
	}
	if r.m.Config("x.example").Issuers[0].IssuerKey() != "public" {
		t.Error("the default policy does not count")
	}
	if by := r.issuer("loaded.example"); by != "" {
		t.Errorf("a certificate that is no longer loaded serves: %q", by)
	}
	if by := r.issuer("a.example"); by != "" {
		t.Errorf("a name that is no longer managed has a certificate of %q", by)
	}
	if by := r.issuer("served.example"); by == "" {
		t.Error("a name that is still served has no certificate")
	}
	r.served("served.example", "public")
	r.built = nil
	r.load(`{"certificates":{"automate":["b.example"]}}`)
	first.Close() // of long ago
	if got := r.managedNames(); !slices.Equal(got, []string{"b.example", "served.example"}) {
		t.Errorf("managed after the first app has closed: %v", got)
	}
}

// TestUnderChange makes handshakes while names, policies and loaded certificates change.
func TestUnderChange(t *testing.T) {
	r := newRig(t, newMemory())
	cert, key := r.other.fresh("steady.example")
	doc := func(i int) string {
		return fmt.Sprintf(`{"certificates":{"load_pem":[{"certificate":%q,"key":%q}]},"automation":{"policies":[{"subjects":["p%d.example"]},{"key_type":"%s"}]}}`,
			cert, key, i, []string{"p256", "p384"}[i%2])
	}
	r.load(doc(0))
	r.m.Manage([]string{"kept.example"}, nil)
	r.served("kept.example", "public")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, name := range []string{"steady.example", "kept.example"} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := r.hello(name); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				r.m.Certificates()
			}
		})
	}
	for i := range 40 {
		r.load(doc(i))
		name := fmt.Sprintf("n%d.example", i)
		r.m.Manage([]string{name}, nil)
		r.m.Manage(nil, []string{fmt.Sprintf("n%d.example", i-3)})
	}
	close(stop)
	wg.Wait()
	if r.public.times("kept.example") != 1 {
		t.Error("a name that nothing has changed for was obtained again")
	}
}
