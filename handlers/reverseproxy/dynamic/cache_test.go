package dynamic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/handlers/vars"
)

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, false)) })
}

// pass lets time go by, and what it sets going come to an end.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

var errDown = errors.New("the server does not answer")

const plainSRV = `{"source":"srv","name":"_api._tcp.example.com"}`

// SRV-1 and SRV-2.
func TestSRVNamesAndDials(t *testing.T) {
	for _, tt := range []struct{ config, asked, want string }{
		{`{"source":"srv","service":"api","proto":"tcp","name":"example.com"}`, "_api._tcp.example.com", "one.:8080"},
		{`{"source":"srv","name":"_api._tcp.example.com"}`, "_api._tcp.example.com", "one.:8080"},
		{`{"source":"srv","name":"{x}.example.com"}`, "_api._tcp.example.com", "one.:8080"},
		{`{"source":"srv","service":"{s}","proto":"tcp","name":"example.com","dial_network":"tcp4"}`, "_api._tcp.example.com", "tcp4/one.:8080"},
		{`{"source":"srv","name":"{unknown}plain.example.com"}`, "plain.example.com", "one.:8080"},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			w.dns.set(tt.asked, "one.:8080")
			s, end := w.source(tt.config)
			defer end()
			list, err := w.ask(s, "x", "_api._tcp", "s", "api")
			w.want(list, err, tt.want, "")
		})
	}
}

// SRV-2: priority first, then at random by weight.
func TestSRVOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dns.set("_api._tcp.example.com", "late.:1/20/1 heavy.:1/10/90 light.:1/10/10 none.:1/10/0 first.:1/1/0")
		s, end := w.source(`{"source":"srv","name":"_api._tcp.example.com","refresh":"1ns"}`)
		defer end()
		heavy := 0
		const rounds = 1000
		for range rounds {
			pass(time.Second)
			list, err := w.again(s)
			if err != nil || len(list.Dials) != 5 {
				t.Fatal(list, err)
			}
			if list.Dials[0] != "first.:1" || list.Dials[4] != "late.:1" {
				t.Fatalf("the order is %v", list.Dials)
			}
			switch list.Dials[1] {
			case "heavy.:1":
				heavy++
			case "light.:1":
			default:
				t.Fatalf("the order is %v", list.Dials)
			}
		}
		if heavy < rounds*85/100 || heavy > rounds*95/100 {
			t.Errorf("the record with 9 of 10 parts of the weight was first %d of %d times", heavy, rounds)
		}
	})
}

// SRV-3: what is good of an answer is used; what a dial text would take for something else is not.
func TestSRVPartsOfAnAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dns.set("_api._tcp.example.com", "bad:1 good.:2 {env.SECRET}.evil.:3 unix.:4 .:5")
		s, end := w.source(plainSRV)
		defer end()
		for range 3 {
			list, err := w.ask(s)
			w.want(list, err, "good.:2 unix.:4", "")
		}
		if n := w.logs.FilterMessage("a part of a DNS answer cannot be used").Len(); n != 1 {
			t.Errorf("%d warnings, want 1", n)
		}
		w.dns.set("_api._tcp.example.com", "bad:1")
		list, err := w.again(s)
		w.want(list, err, "good.:2 unix.:4", "a record is malformed")
		w.dns.set("_api._tcp.example.com", ".:0") // the service is decidedly not available
		pass(time.Minute)
		_, _ = w.ask(s)
		synctest.Wait()
		list, err = w.ask(s)
		w.want(list, err, "", "")
	})
}

// An answer is good for refresh; after that it serves while the next lookup is under way, unless it is very old.
func TestRefresh(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dns.set("_api._tcp.example.com", "one.:1")
		s, end := w.source(`{"source":"srv","name":"_api._tcp.example.com","refresh":"10s"}`)
		defer end()
		first, err := w.ask(s)
		w.want(first, err, "one.:1", "")
		w.dns.set("_api._tcp.example.com", "two.:1")
		w.dns.slow(300 * time.Millisecond)
		pass(10*time.Second - 1)
		if list, _ := w.ask(s); list != first || w.dns.lookups() != 1 {
			t.Errorf("%v after %d lookups", list, w.dns.lookups())
		}
		pass(1)
		begun := time.Now()
		for range 100 {
			list, err := w.ask(s)
			w.want(list, err, "one.:1", "")
		}
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("requests waited %v although there was an answer", waited)
		}
		pass(300 * time.Millisecond)
		list, err := w.ask(s)
		w.want(list, err, "two.:1", "")
		if n := w.dns.lookups(); n != 2 {
			t.Errorf("%d lookups, want 2", n)
		}
		w.dns.set("_api._tcp.example.com", "three.:1")
		pass(time.Hour) // nobody asked for long: this is not what there is now
		list, err = w.ask(s)
		w.want(list, err, "three.:1", "")
	})
}

// One lookup serves all that wait, and does not end with any of them (quirk 2). Other names do not wait for it.
func TestLookupsAreSharedAndTheirOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dns.set("_api._tcp.example.com", "one.:1")
		w.dns.set("ip other", "10.0.0.1")
		w.dns.slow(2 * time.Second)
		s, end := w.source(plainSRV)
		defer end()
		var wg sync.WaitGroup
		gone, cancel := context.WithCancel(context.Background())
		wg.Go(func() {
			_, err := s.Upstreams(Query{Context: gone, Scope: vars.Map{}, Log: w.log})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a cancelled request got %v", err)
			}
		})
		synctest.Wait()
		for range 50 {
			wg.Go(func() {
				list, err := w.ask(s)
				w.want(list, err, "one.:1", "")
			})
		}
		synctest.Wait()
		cancel()
		w.dns.slow(0)
		other, endOther := w.source(`{"source":"a","name":"other"}`)
		defer endOther()
		begun := time.Now()
		list, err := w.ask(other)
		w.want(list, err, "10.0.0.1:80", "")
		if time.Since(begun) != 0 {
			t.Error("a name had to wait for another one")
		}
		wg.Wait()
		if n := w.dns.lookups(); n != 2 {
			t.Errorf("%d lookups, want 2", n)
		}
	})
}

// What a source does while the DNS is down: SRV-3, A-3.
func TestFailures(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dns.set("_api._tcp.example.com", "one.:1")
		plain, end := w.source(`{"source":"srv","name":"_api._tcp.example.com","refresh":"10s"}`)
		defer end()
		patient, endPatient := w.source(`{"source":"srv","name":"_api._tcp.example.com","refresh":"10s","grace_period":"30s"}`)
		defer endPatient()
		list, err := w.ask(plain)
		w.want(list, err, "one.:1", "")
		w.dns.fail(errDown)
		pass(10 * time.Second)
		_, _ = w.ask(plain)
		synctest.Wait()
		// Without a grace period the answer comes with the error; with one it is the answer, and one lookup is enough.
		list, err = w.ask(plain)
		w.want(list, err, "one.:1", errDown.Error())
		list, err = w.ask(patient)
		w.want(list, err, "one.:1", "")
		list, err = w.again(patient)
		w.want(list, err, "one.:1", "")
		if n := w.dns.lookups(); n != 2 {
			t.Errorf("%d lookups, want 2", n)
		}
		pass(30*time.Second - 1)
		list, err = w.ask(patient)
		w.want(list, err, "one.:1", "")
		synctest.Wait()
		if n := w.dns.lookups(); n != 2 {
			t.Errorf("%d lookups within the grace period, want 2", n)
		}
		w.dns.fail(nil)
		w.dns.set("_api._tcp.example.com", "two.:1")
		pass(1)
		list, err = w.ask(patient)
		w.want(list, err, "one.:1", "")
		synctest.Wait()
		list, err = w.ask(patient)
		w.want(list, err, "two.:1", "")
		if n := w.logs.FilterMessage("looking up upstreams failed; using those known from before").Len(); n != 1 {
			t.Errorf("%d lines, want 1", n)
		}
	})
}

// While the DNS hangs, requests with an answer wait a second once and not each.
func TestHangingDNS(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dns.set("_api._tcp.example.com", "one.:1")
		s, end := w.source(`{"source":"srv","name":"_api._tcp.example.com","refresh":"10s"}`)
		defer end()
		list, err := w.ask(s)
		w.want(list, err, "one.:1", "")
		w.dns.slow(time.Hour)
		pass(time.Hour)
		begun := time.Now()
		for range 100 {
			list, err := w.ask(s)
			w.want(list, err, "one.:1", "")
		}
		if waited := time.Since(begun); waited != patience {
			t.Errorf("100 requests waited %v", waited)
		}
		pass(lookupTimeout)
		for range 100 {
			list, err := w.ask(s)
			w.want(list, err, "one.:1", "deadline")
		}
		if waited := time.Since(begun); waited != patience+lookupTimeout {
			t.Errorf("with a lookup that failed, 100 requests waited %v", waited-patience-lookupTimeout)
		}
		// And without an answer: as long as the lookup takes, and then not before a second is over.
		other, endOther := w.source(`{"source":"a","name":"other"}`)
		defer endOther()
		begun = time.Now()
		for range 100 {
			list, err = w.ask(other)
			w.want(list, err, "", "deadline")
		}
		if waited := time.Since(begun); waited != lookupTimeout {
			t.Errorf("100 requests waited %v", waited)
		}
		pass(lookupTimeout)
	})
}

// A name that is not there is not the same as a DNS that is down: what was known is over, but for a grace period.
func TestAbsentName(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dns.set("_api._tcp.example.com", "one.:1")
		plain, end := w.source(plainSRV)
		defer end()
		patient, endPatient := w.source(`{"source":"srv","name":"_api._tcp.example.com","grace_period":"5s"}`)
		defer endPatient()
		_, _ = w.ask(plain)
		w.dns.mu.Lock()
		delete(w.dns.records, "_api._tcp.example.com")
		w.dns.mu.Unlock()
		list, err := w.again(plain)
		w.want(list, err, "", "no such host")
		list, err = w.ask(patient)
		w.want(list, err, "one.:1", "")
		w.dns.fail(errDown)
		pass(2 * time.Second)
		list, err = w.ask(plain)
		w.want(list, err, "", errDown.Error())
		w.dns.fail(nil)
		w.dns.set("_api._tcp.example.com", "two.:1")
		pass(time.Second)
		list, err = w.ask(plain) // waits, for there is nothing else
		w.want(list, err, "two.:1", "")
	})
}

// DYN-2: a retry asks anew, but for the source a.
func TestRetryAsksAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dns.set("_api._tcp.example.com", "one.:1")
		w.dns.set("ip app", "10.0.0.1")
		for _, tt := range []struct {
			config string
			want   int
		}{
			{plainSRV, 2},
			{`{"source":"a","name":"app"}`, 1},
			{`{"source":"multi","sources":[` + plainSRV + `]}`, 0}, // the answer of the first one is good still
		} {
			before := w.dns.lookups()
			s, end := w.source(tt.config)
			_, _ = w.ask(s)
			if _, err := w.again(s); err != nil {
				t.Error(err)
			}
			if n := w.dns.lookups() - before; n != tt.want {
				t.Errorf("%s: %d lookups, want %d", tt.config, n, tt.want)
			}
			end()
		}
	})
}

//
func TestAddresses(t *testing.T) {
	for _, tt := range []struct{ versions, want string }{
		{``, "both"}, {`"ipv4":true`, "4"}, {`"ipv4":true,"ipv6":false`, "4"}, {`"ipv6":true`, "6"}, {`"ipv4":false,"ipv6":true`, "6"},
		{`"ipv4":true,"ipv6":true`, "both"}, {`"ipv4":false`, "both"}, {`"ipv6":false`, "both"}, {`"ipv4":false,"ipv6":false`, "both"},
	} {
		inBubble(t, func(t *testing.T, w *world) {
			w.dns.set("ip app", "10.0.0.1 2001:db8::1")
			w.dns.set("ip4 app", "::ffff:10.0.0.1")
			w.dns.set("ip6 app", "2001:db8::1")
			want := map[string]string{"both": "10.0.0.1:8080 [2001:db8::1]:8080", "4": "10.0.0.1:8080", "6": "[2001:db8::1]:8080"}[tt.want]
			for _, names := range []string{`"name":"app","port":"8080"`, `"name":"{host}","port":"{port}"`} {
				s, end := w.source(`{"source":"a",` + names + `,"versions":{` + tt.versions + `}}`)
				list, err := w.ask(s, "host", "app", "port", "8080")
				w.want(list, err, want, "")
				end()
			}
		})
	}
}

// Names are made of requests, so what makes no name is refused before it is looked up.
func TestNamesOfStrangers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		srv, end := w.source(`{"source":"srv","name":"{x}"}`)
		defer end()
		a, endA := w.source(`{"source":"a","name":"{x}","port":"{p}"}`)
		defer endA()
		for _, name := range []string{"", strings.Repeat("a", 256), "a b", "a\x00b", "a/b", "{env.X}"} {
			list, err := w.ask(srv, "x", name)
			w.want(list, err, "", "looked up")
			list, err = w.ask(a, "x", name, "p", "80")
			w.want(list, err, "", "looked up")
		}
		for _, port := range []string{"", "0", "65536", "http", "-1"} {
			list, err := w.ask(a, "x", "app", "p", port)
			w.want(list, err, "", "no port")
		}
		if n := w.dns.lookups(); n != 0 {
			t.Errorf("%d lookups: %q", n, w.dns.asked)
		}
	})
}

// What is known is bounded, and names of the document stay.
func TestBounds(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dns.set("ip fixed", "10.0.0.1")
		fixed, endFixed := w.source(`{"source":"a","name":"fixed"}`)
		_, _ = w.ask(fixed)
		any, end := w.source(`{"source":"a","name":"{x}"}`)
		defer end()
		for i := range 3 * maxLoose {
			name := fmt.Sprintf("n%d", i)
			w.dns.set("ip "+name, "10.0.0.2")
			if _, err := w.ask(any, "x", name); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(w.cache.loose); n != maxLoose {
			t.Errorf("%d names are known, want %d", n, maxLoose)
		}
		before := w.dns.lookups()
		_, _ = w.ask(fixed)
		if w.dns.lookups() != before {
			t.Error("a name of the document was forgotten")
		}
		endFixed()
		again, endAgain := w.source(`{"source":"a","name":"fixed","refresh":"2m"}`)
		defer endAgain()
		_, _ = w.ask(again)
		if w.dns.lookups() != before {
			t.Error("an answer did not survive the edit of its source")
		}
		if len(w.cache.held) != 1 || len(w.cache.loose) > maxLoose {
			t.Errorf("%d held, %d loose", len(w.cache.held), len(w.cache.loose))
		}
	})
}

// Not more lookups at a time than are bounded, whatever the names.
func TestManyNamesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dns.slow(time.Hour)
		any, end := w.source(`{"source":"a","name":"{x}"}`)
		defer end()
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() { _, _ = w.ask(any, "x", fmt.Sprintf("n%d", i)) })
		}
		synctest.Wait()
		if n := w.dns.lookups(); n != maxLookups {
			t.Errorf("%d lookups run, want %d", n, maxLookups)
		}
		wg.Wait()
	})
}

// MULTI-1.
func TestMulti(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dns.set("_api._tcp.example.com", "one.:1")
		w.dns.set("ip app", "10.0.0.1 10.0.0.2")
		s, end := w.source(`{"source":"multi","sources":[` + plainSRV + `,{"source":"a","name":"nobody"},{"source":"a","name":"app","port":"8080"},{"source":"a","name":"empty"}]}`)
		defer end()
		w.dns.set("ip empty", "")
		first, err := w.ask(s)
		w.want(first, err, "one.:1 10.0.0.1:8080 10.0.0.2:8080", "")
		for range 10 {
			if list, _ := w.ask(s); list != first {
				t.Error("the same answers are another list")
			}
		}
		if known := s.Known(); known != first {
			t.Errorf("known is %v", known)
		}
		if n := w.logs.FilterMessage("upstream source returned error").Len(); n != 1 {
			t.Errorf("%d errors logged, want 1", n)
		}
		if n := w.logs.FilterMessage("upstream source returned no upstreams").Len(); n != 1 {
			t.Errorf("%d warnings logged, want 1", n)
		}
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		w.dns.slow(time.Second)
		pass(time.Hour)
		if _, err := s.Upstreams(Query{Context: gone, Scope: vars.Map{}, Log: w.log}); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled request got %v", err)
		}
		pass(time.Minute)
		all, endAll := w.source(`{"source":"multi","sources":[{"source":"a","name":"nobody"}]}`)
		defer endAll()
		list, err := w.ask(all)
		w.want(list, err, "", "")
	})
}

// Sources that ask the same share what is known; others do not.
func TestMeaning(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.dns.set("ip app", "10.0.0.1")
		w.dns.set("ip4 app", "10.0.0.1")
		for i, tt := range []struct {
			config string
			new    bool
		}{
			{`{"source":"a","name":"app"}`, true},
			{`{"source":"a","name":"app","port":"80","refresh":"3m"}`, false},
			{`{"source":"a","name":"{x}"}`, false},
			{`{"source":"a","name":"app","port":"81"}`, true},
			{`{"source":"a","name":"app","versions":{"ipv4":true}}`, true},
			{`{"source":"a","name":"app","resolver":{"addresses":["10.0.0.53"]}}`, true},
			{`{"source":"a","name":"app","resolver":{"addresses":["udp/10.0.0.53:53"]}}`, false},
			{`{"source":"a","name":"app","resolver":{"addresses":["10.0.0.54"]}}`, true},
		} {
			before := w.dns.lookups()
			s, end := w.source(tt.config)
			if _, err := w.ask(s, "x", "app"); err != nil {
				t.Error(err)
			}
			if asked := w.dns.lookups() > before; asked != tt.new {
				t.Errorf("%d: %s: a lookup was made: %v, want %v", i, tt.config, asked, tt.new)
			}
			end()
		}
	})
}

// HOST-5: hosts that left the lists keep what is remembered of them for an hour.
func TestHostsLinger(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		h := w.cache.Acquire("10.0.0.1:80")
		h.Fail(2 * time.Hour)
		w.cache.Release(h)
		pass(50 * time.Minute)
		again := w.cache.Acquire("10.0.0.1:80")
		if again != h || again.Fails() != 1 {
			t.Errorf("the host that came back has %d failures", again.Fails())
		}
		w.cache.Release(again)
		pass(50 * time.Minute)
		if len(w.pool.Hosts()) != 1 {
			t.Error("the hour did not begin anew")
		}
		pass(20 * time.Minute)
		if n := len(w.pool.Hosts()); n != 0 {
			t.Errorf("%d hosts are held after their time", n)
		}
		for i := range maxLingering + 10 {
			w.cache.Release(w.cache.Acquire(fmt.Sprintf("10.0.0.1:%d", i+1)))
		}
		if n := len(w.pool.Hosts()); n != maxLingering {
			t.Errorf("%d hosts are held", n)
		}
		pass(2 * time.Hour)
		if n := len(w.pool.Hosts()); n != 0 {
			t.Errorf("%d hosts are held after their time", n)
		}
	})
}
