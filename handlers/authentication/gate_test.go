package authentication

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
)

// slowHash takes a second for each comparison and counts how many run.
type slowHash struct {
	running, most, total *atomic.Int64
	fails                error
}

func newSlowHash() slowHash {
	return slowHash{new(atomic.Int64), new(atomic.Int64), new(atomic.Int64), nil}
}

func (h slowHash) Compare(hash, password []byte) (bool, error) {
	h.total.Add(1)
	n := h.running.Add(1)
	defer h.running.Add(-1)
	for old := h.most.Load(); n > old && !h.most.CompareAndSwap(old, n); old = h.most.Load() {
	}
	time.Sleep(time.Second)
	return string(hash) == string(password), h.fails
}
func (slowHash) Check([]byte) error  { return nil }
func (slowHash) Dummy([]byte) []byte { return []byte("-") }

func slowBasic(gate *Gate, h Hash, c *cache) *basic {
	return &basic{gate: gate, hash: h, accounts: map[string][]byte{"ann": []byte("right")}, dummies: [][]byte{[]byte("-")}, cache: c, seed: maphash.MakeSeed()}
}

// login asks as the client with the address.
func login(ctx context.Context, b *basic, ip, name, password string) (bool, error) {
	r, rec := newRequest(name, password)
	x := &handlers.Exchange{Client: client(ip)}
	_, ok, err := b.Authenticate(rec, x.Begin(r.WithContext(ctx), nil))
	return ok, err
}

type client string

func (c client) ClientOf(*http.Request) (string, bool) { return string(c), false }

func TestGateBoundsComputations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSlowHash()
		b := slowBasic(NewGate(2), h, nil)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if ok, err := login(t.Context(), b, fmt.Sprint("192.0.2.", i), "ann", "wrong"); ok || err != nil {
					t.Error(ok, err)
				}
			})
		}
		all.Wait()
		if h.most.Load() != 2 || h.total.Load() != 20 {
			t.Errorf("%d at a time, %d in all; want 2 and 20", h.most.Load(), h.total.Load())
		}
	})
}

// TestWrongPasswordsDoNotStarveOthers: a client that asks once waits for one
// computation of each client before it, not for all that another one wants.
func TestWrongPasswordsDoNotStarveOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slowBasic(NewGate(1), newSlowHash(), nil)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { _, _ = login(t.Context(), b, "198.51.100.66", "ann", "wrong") })
		}
		synctest.Wait()
		start := time.Now()
		if ok, err := login(t.Context(), b, "192.0.2.1", "ann", "right"); !ok || err != nil {
			t.Error(ok, err)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("it took %v; want to wait for the one that runs, and one more", took)
		}
		all.Wait()
	})
}

func TestGateRefusesTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slowBasic(NewGate(1), newSlowHash(), nil)
		var busy atomic.Int64
		var all sync.WaitGroup
		try := func(ip string) {
			all.Go(func() {
				if _, err := login(t.Context(), b, ip, "ann", "wrong"); errors.Is(err, errBusy) {
					busy.Add(1)
				}
			})
		}
		for range maxLine + 6 {
			try("198.51.100.66")
		}
		synctest.Wait()
		if busy.Load() != 5 { // one runs and maxLine wait
			t.Errorf("%d of one client are refused, want 5", busy.Load())
		}
		for i := range maxWaiting {
			try(fmt.Sprintf("10.0.%d.%d", i/250, i%250))
		}
		synctest.Wait()
		if got := busy.Load(); got != 5+maxLine {
			t.Errorf("%d are refused in all, want %d", got, 5+maxLine)
		}
		all.Wait()
		g := b.gate
		if g.waiting != 0 || len(g.lines) != 0 || len(g.turn) != 0 || g.free != 1 {
			t.Errorf("%d still wait, %d lines, %d turns, %d free", g.waiting, len(g.lines), len(g.turn), g.free)
		}
	})
}

func TestGateForgetsThoseWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSlowHash()
		b := slowBasic(NewGate(1), h, nil)
		var all sync.WaitGroup
		all.Go(func() { _, _ = login(t.Context(), b, "192.0.2.1", "ann", "wrong") })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 10 {
			all.Go(func() {
				if _, err := login(ctx, b, fmt.Sprint("192.0.2.", i/2), "ann", "wrong"); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
		if g := b.gate; h.total.Load() != 1 || g.waiting != 0 || len(g.lines) != 0 || len(g.turn) != 0 || g.free != 1 {
			t.Errorf("%d computed, %d wait, %d lines, %d turns, %d free", h.total.Load(), g.waiting, len(g.lines), len(g.turn), g.free)
		}
	})
}

// TestBusyAnswer: too many is not the same as wrong.
func TestBusyAnswer(t *testing.T) {
	h := &handler{names: []string{"http_basic"}, providers: []Provider{providerFunc(func(http.ResponseWriter, *http.Request) (User, bool, error) {
		return User{}, false, fmt.Errorf("wrapped: %w", errBusy)
	})}}
	rec := serve(t, h).Get("/")
	if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
}

func TestClientKey(t *testing.T) {
	for ip, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "2001:db8:1:2::9%eth0": "2001:db8:1:2::/64",
		"::ffff:192.0.2.1": "::ffff:192.0.2.1", "": "", "@": "@",
	} {
		if got := clientKey(ip); got != want {
			t.Errorf("%q: %q, want %q", ip, got, want)
		}
	}
}

func TestCacheComputesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSlowHash()
		b := slowBasic(NewGate(4), h, newCache())
		for round := range 2 {
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					if ok, err := login(t.Context(), b, "192.0.2.1", "ann", "right"); !ok || err != nil {
						t.Error(ok, err)
					}
					if ok, err := login(t.Context(), b, "192.0.2.1", "ann", "wrong"); ok || err != nil {
						t.Error(ok, err)
					}
				})
			}
			all.Wait()
			if h.total.Load() != 2 {
				t.Errorf("round %d: %d computations, want one for each password", round, h.total.Load())
			}
		}
	})
}

// TestCacheDoesNotTellUsers: for an unknown user a password is computed anew, as
// it is for a known one, although it was tried for another unknown one.
func TestCacheDoesNotTellUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slowBasic(NewGate(1), newSlowHash(), newCache())
		for _, name := range []string{"eve", "mallory", "ann"} {
			start := time.Now()
			if ok, err := login(t.Context(), b, "192.0.2.1", name, "guess"); ok || err != nil {
				t.Error(ok, err)
			}
			if took := time.Since(start); took != time.Second {
				t.Errorf("%s: %v, want 1s as for any", name, took)
			}
		}
	})
}

// TestCacheSurvivesLeaving: a request that waits for the computation of another
// one, which leaves, makes it itself.
func TestCacheSurvivesLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSlowHash()
		b := slowBasic(NewGate(1), h, newCache())
		var all sync.WaitGroup
		all.Go(func() { _, _ = login(t.Context(), b, "192.0.2.9", "x", "x") }) // takes the gate
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		all.Go(func() {
			if _, err := login(ctx, b, "192.0.2.1", "ann", "right"); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if ok, err := login(t.Context(), b, "192.0.2.1", "ann", "right"); !ok || err != nil {
				t.Error(ok, err)
			}
		})
		synctest.Wait()
		cancel()
		all.Wait()
	})
}

func TestCacheDoesNotKeepErrors(t *testing.T) {
	c := newCache()
	calls := 0
	for range 2 {
		_, err := c.get(t.Context(), digest{1}, func() (bool, error) { calls++; return true, errors.New("x") })
		if err == nil {
			t.Error("no error")
		}
	}
	if calls != 2 || len(c.result) != 0 {
		t.Errorf("%d calls, %d results", calls, len(c.result))
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache()
	for i := range 5 * maxCached {
		c.put(c.digest("u", []byte("h"), fmt.Append(nil, i)), i%2 == 0)
		if len(c.result) > maxCached {
			t.Fatalf("%d results after %d", len(c.result), i)
		}
	}
	if len(c.result) < maxCached*8/10 {
		t.Errorf("only %d are kept", len(c.result))
	}
}

// TestDigest: what is next to each other is told apart.
func TestDigest(t *testing.T) {
	c := newCache()
	a := c.digest("ab", []byte("c"), []byte("d"))
	for _, d := range []digest{c.digest("a", []byte("bc"), []byte("d")), c.digest("ab", []byte("cd"), nil), newCache().digest("ab", []byte("c"), []byte("d"))} {
		if d == a {
			t.Error("two different things have one digest")
		}
	}
	if c.digest("ab", []byte("c"), []byte("d")) != a {
		t.Error("one thing has two digests")
	}
}
