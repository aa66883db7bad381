package automation

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sluiceproxy/sluice/server/tls/automation/ech"
)

// full is a storage whose disk is full, for keys that begin with something.
type full struct {
	*memory
	prefix atomic.Pointer[string] // nil while there is room
}

func (s *full) Store(ctx context.Context, key string, value []byte) error {
	if p := s.prefix.Load(); p != nil && strings.HasPrefix(key, *p) {
		return fmt.Errorf("writing %s: %w", key, syscall.ENOSPC)
	}
	return s.memory.Store(ctx, key, value)
}

func (s *full) fill(prefix string) { s.prefix.Store(&prefix) }

// counted is the sum of failures of an operation.
func counted(t *testing.T, reg *metrics.Registry, operation string) (sum float64) {
	t.Helper()
	families, err := reg.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if strings.HasSuffix(f.GetName(), "certificate_failures_total") && m.GetLabel()[0].GetValue() == operation {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// TestFullDisk: the certificates there are serve on, it is said what is wrong, and attempts become rarer.
func TestFullDisk(t *testing.T) {
	for _, tt := range []struct{ prefix, want string }{
		{"", "failed storage check"},
		{"certificates/", "saving assets"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &full{memory: newMemory()}
			core, logs := observer.New(zap.ErrorLevel)
			reg, err := metrics.New(metrics.Config{})
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t, s, func(o *Options) { o.Log, o.Metrics = zap.New(core), reg })
			defer r.m.Close()
			r.public.life = 24 * time.Hour
			r.load(`{"automation":{"renew_interval":"1m"}}`)
			old := "old" + fmt.Sprint(len(tt.prefix)) + ".example" // certmagic remembers retries by name for the whole process
			r.m.Manage([]string{old}, nil)
			synctest.Wait()
			first, err := r.hello(old)
			if err != nil {
				t.Fatal(err)
			}
			s.fill(tt.prefix)
			r.m.Manage([]string{"new.example"}, nil)
			time.Sleep(16*time.Hour + 10*time.Minute)
			synctest.Wait()
			for name, renewal := range map[string]string{old: "renew", "new.example": "obtain"} {
				c := r.status(name)
				if len(c) != 1 || c[0].Renewal != RenewalFailed || !strings.Contains(c[0].LastError, tt.want) || !strings.Contains(c[0].LastError, "no space left on device") || c[0].NextTry == nil {
					t.Errorf("%s: %+v", name, c)
				}
				if (c[0].NotAfter != nil) != (name == old) {
					t.Errorf("%s: valid until %v", name, c[0].NotAfter)
				}
				if counted(t, reg, renewal) == 0 {
					t.Errorf("no failures to %s are counted", renewal)
				}
			}
			if c, err := r.hello(old); err != nil || !c.Equal(first) {
				t.Errorf("the certificate that is there does not serve on: %v", err)
			}
			if logs.FilterMessage("job failed").Len() == 0 {
				t.Error("nothing is logged of the renewal")
			}
			issued := r.public.times(old)
			time.Sleep(time.Hour)
			synctest.Wait()
			if n := r.public.times(old) - issued; n > 6 {
				t.Errorf("%d certificates were ordered within an hour and could not be stored", n)
			}
			s.prefix.Store(nil)
			time.Sleep(40 * time.Minute)
			synctest.Wait()
			c, err := r.hello(old)
			if err != nil || c.Equal(first) {
				t.Errorf("not renewed when there is room again: %v", err)
			}
			time.Sleep(6 * time.Hour) // as far apart as attempts come
			synctest.Wait()
			for _, name := range []string{old, "new.example"} {
				if c := r.status(name); len(c) != 1 || c[0].Renewal != RenewalValid || c[0].LastError != "" {
					t.Errorf("afterwards %s: %+v", name, c)
				}
			}
		})
	}
}

// TestVetoIsShown: that a handler of an event forbids a certificate can be seen.
func TestVetoIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newMemory())
		defer r.m.Close()
		r.bus.veto = func(name string, _ map[string]any) error {
			if name == "cert_obtaining" {
				return fmt.Errorf("not on Fridays")
			}
			return nil
		}
		r.m.Manage([]string{"veto.example"}, nil)
		synctest.Wait()
		if c := r.status("veto.example"); len(c) != 1 || c[0].Renewal != RenewalFailed || c[0].LastError != "not on Fridays" || c[0].Attempts != 1 {
			t.Errorf("%+v", c)
		}
	})
}

// TestAuthorityInTrouble: with a real client, the state says what the authority says, and what there was serves on.
func TestAuthorityInTrouble(t *testing.T) {
	problem := func(status int, kind, detail string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:%s","detail":%q}`, kind, detail)
		}
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	serve := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	for name, tt := range map[string]struct{ url, want string }{
		"down":    {gone.URL, "connection refused"},
		"limited": {serve(problem(429, "rateLimited", "too many certificates already issued")), "too many certificates already issued"},
		"broken":  {serve(problem(500, "serverInternal", "the database is away")), "the database is away"},
		"garbage": {serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<h1>It works!</h1>") })), "no ACME directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newMemory()
			r := newRig(t, s)
			site := fmt.Sprintf("%s-%d.trouble.test", name, serials.Add(1)) // certmagic remembers names for the whole process
			// Overdue, from an authority that was well then.
			issuer, err := realIssuer(fmt.Sprintf(`{"module":"acme","ca":%q,"email":"ops@example.test"}`, tt.url+"/dir"))
			if err != nil {
				t.Fatal(err)
			}
			cert, key := r.other.pair(time.Now().Add(-80*24*time.Hour), time.Now().Add(5*24*time.Hour), site)
			for ext, text := range map[string]string{"crt": cert, "key": key, "json": `{"sans":["` + site + `"]}`} {
				_ = s.Store(t.Context(), certmagic.StorageKeys.CertsSitePrefix(issuer.Key(), site)+"/"+site+"."+ext, []byte(text))
			}
			core, logs := observer.New(zap.ErrorLevel)
			again := newRig(t, s, func(o *Options) { o.Public, o.Log = []Issuer{issuer}, zap.New(core) })
			again.m.Manage([]string{site, "new-" + site}, nil)
			for _, name := range []string{site, "new-" + site} {
				until(t, "the state of "+name+" says why", func() bool {
					c := again.status(name)
					return len(c) == 1 && c[0].Renewal == RenewalFailed && strings.Contains(c[0].LastError, tt.want) && c[0].NextTry != nil && time.Until(*c[0].NextTry) > 50*time.Second
				})
			}
			if by := again.issuer(site); by != "other" {
				t.Errorf("the old certificate does not serve: %q", by)
			}
			until(t, "the log says why", func() bool {
				for _, e := range logs.All() {
					if text, ok := e.ContextMap()["error"].(string); ok && strings.Contains(text, tt.want) {
						return true
					}
				}
				return false
			})
		})
	}
}

// TestClocks: certificates and keys whose time is far off, as after a jump of the clock, serve, and are renewed where that is
// due.
func TestClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		r := newRig(t, s)
		defer r.m.Close()
		day := 24 * time.Hour
		put := func(name string, from, to time.Duration) {
			cert, key := r.public.pair(time.Now().Add(from), time.Now().Add(to), name)
			for ext, text := range map[string]string{"crt": cert, "key": key, "json": `{"sans":["` + name + `"]}`} {
				_ = s.Store(t.Context(), "certificates/public/"+name+"/"+name+"."+ext, []byte(text))
			}
		}
		put("future.example", 300*day, 390*day) // issued while the clock was ahead
		put("past.example", -400*day, -310*day) // the clock has jumped ahead since
		future, err := ech.Rotate(t.Context(), s, []string{"outer.example"}, time.Now().Add(300*day))
		if err != nil {
			t.Fatal(err)
		}
		r.public.failing(func(string) error { return fmt.Errorf("not now") })
		r.load(`{"encrypted_client_hello":{"configs":[{"public_name":"outer.example"}]}}`)
		r.m.Manage([]string{"future.example", "past.example"}, nil)
		time.Sleep(50 * time.Second)
		synctest.Wait()
		for name, want := range map[string]string{"future.example": RenewalValid, "past.example": RenewalFailed} {
			if by := r.issuer(name); by != "public" {
				t.Errorf("%s is not served", name)
			}
			if c := r.status(name); len(c) != 1 || c[0].Renewal != want {
				t.Errorf("%s: %+v", name, c)
			}
		}
		if n := r.public.times("past.example"); n != 1 {
			t.Errorf("what has expired was asked for %d times within a minute, want 1", n)
		}
		if n := r.public.times("future.example"); n != 0 {
			t.Errorf("what is not valid yet was asked for %d times", n)
		}
		r.public.failing(nil)
		time.Sleep(21 * time.Minute)
		synctest.Wait()
		if c := r.status("past.example"); len(c) != 1 || c[0].Renewal != RenewalValid {
			t.Errorf("past.example: %+v", c)
		}
		// The key is as old as it was when it was found, and so gives way to another in time.
		time.Sleep(ech.Fresh + time.Hour)
		synctest.Wait()
		configs, err := ech.Load(t.Context(), s)
		if err != nil || len(configs) != 2 || configs[1].ID != future[0].ID || configs[0].Created.After(time.Now()) {
			t.Errorf("%+v, %v", configs, err)
		}
	})
}

func TestNamed(t *testing.T) {
	for text, want := range map[string]string{
		"[a.example] Renew: saving assets: x":   "a.example|Renew: saving assets: x",
		"[a.example] [a.example] Renew: x [y] ": "a.example|Renew: x [y] ",
		"[*.a.example] x":                       "*.a.example|x",
		"obtaining certificate aborted":         "-",
		"[a b] x":                               "-",
		"[a.example]":                           "-",
		"[":                                     "-",
		"":                                      "-",
	} {
		name, why, ok := named(text)
		if got := name + "|" + why; ok && got != want || !ok && want != "-" {
			t.Errorf("%q: %q, %v", text, got, ok)
		}
	}
}
