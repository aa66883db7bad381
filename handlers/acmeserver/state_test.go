package acmeserver

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"go.etcd.io/bbolt"

	"github.com/sluiceproxy/sluice/config/module"
)

// TestRestart: accounts, orders and what was issued are there after the process
// was started again, and a check that was under way is made again.
func TestRestart(t *testing.T) {
	w := newWorld(t, "")
	c := w.newClient()
	leaf, _, valid := c.issue("a.internal")
	o, pending := c.order("b.internal")
	var authz struct {
		Challenges []challengeView `json:"challenges"`
	}
	if err := json.Unmarshal(c.send(w.path(o.Authorizations[0]), nil).body, &authz); err != nil {
		t.Fatal(err)
	}
	web := newHTTPSolver(t, w.httpPort)
	thumb := w.thumb(c)
	web.mu.Lock()
	web.tokens["b.internal:"+w.httpPort+"/.well-known/acme-challenge/"+authz.Challenges[0].Token] = authz.Challenges[0].Token + "." + thumb
	web.mu.Unlock()
	s := w.handler.Load().state
	id := pending[strings.LastIndexByte(pending, '/')+1:]
	if err := s.store.update(func(t tx) error {
		o, err := t.order(id)
		if err != nil {
			return err
		}
		o.Authz[0].Challenges[0].Status = statusProcessing
		return t.putOrder(o)
	}); err != nil {
		t.Fatal(err)
	}
	nonce := w.nonce()

	w.unload()
	if len(w.databases.open) != 0 {
		t.Fatal("the database is still open")
	}
	w.start()
	w.load("")

	w.post("/acme/local/new-order", signed{key: c.key, kid: c.kid, nonce: nonce, payload: names("c.internal")}).want(t, "old nonce", "badNonce", 400)
	if got := c.send(valid, nil).order(t); got.Status != statusValid {
		t.Errorf("%+v", got)
	}
	deadline := time.Now().Add(20 * time.Second)
	for c.send(pending, nil).order(t).Status != statusReady {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", c.send(pending, nil).order(t))
		}
	}
	if r := c.send("/acme/local/revoke-cert", object{"certificate": encode(leaf.Raw)}); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// thumb is the thumbprint of an account's key.
func (w *world) thumb(c *client) (thumb string) {
	w.t.Helper()
	if err := w.handler.Load().state.store.view(func(t tx) error {
		a, err := t.account(c.kid[strings.LastIndexByte(c.kid, '/')+1:])
		if err == nil {
			thumb = a.Thumb
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return thumb
}

// TestEdits: a handler that is edited goes on with the open database; so do
// nonces and orders. A failed change leaves no handle behind.
func TestEdits(t *testing.T) {
	w := newWorld(t, "")
	c := w.newClient()
	before := w.handler.Load().state
	o, path := c.order("a.internal")
	w.approve(path)
	nonce := w.nonce()
	for i := range 5 {
		w.load(fmt.Sprintf(`, "lifetime": "%dh"`, i+1))
	}
	if w.handler.Load().state != before || before.users != 1 {
		t.Errorf("the database was opened again, or has %d users", before.users)
	}
	if r := w.post("/acme/local/new-order", signed{key: c.key, kid: c.kid, nonce: nonce, payload: names("c.internal")}); r.status != 201 {
		t.Errorf("%d %s", r.status, r.body)
	}
	// A change of the policy counts for orders that were made before.
	w.load(`, "policy": {"deny": {"domains": ["a.internal"]}}`)
	c.send(w.path(o.Finalize), object{"csr": csrOf(t, newKeyPair(t), "", "a.internal")}).want(t, "denied by now", "rejectedIdentifier", 403)
	w.load(`, "ca": "lab"`)
	if len(w.databases.open) != 1 || before.ctx.Err() == nil {
		t.Error("the database of another authority is still open")
	}
	w.load("")
	if got := c.send(w.path(o.Finalize), object{"csr": csrOf(t, newKeyPair(t), "", "a.internal")}).order(t); got.Status != statusValid {
		t.Errorf("%+v", got)
	}
	if _, err := w.build(`, "ca": "nobody"`); err == nil || !strings.Contains(err.Error(), "no certificate authority configured with id: nobody") {
		t.Errorf("unknown authority: %v", err)
	}
	for _, cfg := range []string{`, "lifetime": "168h"`, `, "lifetime": "8760h"`} {
		if _, err := w.build(cfg); err == nil || !strings.Contains(err.Error(), "must be less than the lifetime of the intermediates") {
			t.Errorf("%s: %v", cfg, err)
		}
	}
	if w.handler.Load().state.users != 1 {
		t.Errorf("%d users", w.handler.Load().state.users)
	}
}

// TestFile: the file is for the user alone, is that of one process, and leaves
// alone what another program has put there.
func TestFile(t *testing.T) {
	w := newWorld(t, "")
	w.newClient()
	path := filepath.Join(w.dir, "acme_server", "local", "db")
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	if _, err := NewDatabases(Options{Dir: w.dir}).acquire("local"); err == nil || !strings.Contains(err.Error(), "another process has it open") {
		t.Errorf("opened twice: %v", err)
	}
	w.unload()

	other := filepath.Join(w.dir, "acme_server", "lab", "db")
	if err := os.MkdirAll(filepath.Dir(other), 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("acme_accounts"))
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), []byte("v"))
	}); err != nil {
		t.Fatal(err)
	}
	db.Close()
	w.load(`, "ca": "lab"`)
	w.unload()
	if db, err = bbolt.Open(other, 0o600, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.View(func(tx *bbolt.Tx) error {
		if got := string(tx.Bucket([]byte("acme_accounts")).Get([]byte("k"))); got != "v" {
			t.Errorf("what was there is %q", got)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	db.Close()
	garbage := make([]byte, 64<<10)
	_, _ = rand.Read(garbage)
	if err := os.WriteFile(other, garbage, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.build(`, "ca": "lab"`); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("garbage: %v", err)
	}
	if len(w.databases.open) != 0 {
		t.Error("something is open")
	}
}

// TestClean: what has ended is deleted, and what counts it is right.
func TestClean(t *testing.T) {
	w := newWorld(t, "")
	c, idle := w.newClient(), w.newClient()
	_ = idle
	c.issue("a.internal")
	_, open := c.order("b.internal")
	s := w.handler.Load().state
	start := time.Now()
	clean := func(after time.Duration, accounts, orders, certificates int) {
		t.Helper()
		w.setClock(start.Add(after))
		if err := s.clean(); err != nil {
			t.Fatal(err)
		}
		if a, o, n := w.count(bucketAccounts), w.count(bucketOrders), w.count(bucketCertificates); a != accounts || o != orders || n != certificates {
			t.Errorf("after %s: %d accounts, %d orders, %d certificates", after, a, o, n)
		}
	}
	clean(time.Hour, 2, 2, 1)
	if got := c.send(open, nil).order(t); got.Status != statusPending || w.openOrders(c) != 1 {
		t.Errorf("%+v, %d open", got, w.openOrders(c))
	}
	clean(24*time.Hour+time.Minute, 2, 2, 0) // the certificate was valid for 12 hours
	if got := c.send(open, nil).order(t); got.Status != statusInvalid || w.openOrders(c) != 0 {
		t.Errorf("%+v, %d open", got, w.openOrders(c))
	}
	clean(26*time.Hour, 2, 1, 0) // the order that came to nothing
	clean(49*time.Hour, 2, 0, 0)
	clean(31*24*time.Hour, 1, 0, 0) // the other one never ordered anything
	clean(400*24*time.Hour, 0, 0, 0)
	for _, b := range [][]byte{bucketKeys, bucketByAccount} {
		if err := s.store.view(func(tx tx) error {
			return tx.own.Bucket(b).ForEach(func(k, _ []byte) error { return fmt.Errorf("%s has %q", b, k) })
		}); err != nil {
			t.Error(err)
		}
	}
	w.setClock(time.Time{})
	c.send(open, nil).want(t, "deleted account", "accountDoesNotExist", 400)
}

// openOrders is how many orders of an account are counted as open.
func (w *world) openOrders(c *client) (n int) {
	w.t.Helper()
	if err := w.handler.Load().state.store.view(func(t tx) error {
		a, err := t.account(c.kid[strings.LastIndexByte(c.kid, '/')+1:])
		if err == nil {
			n = a.Open
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// TestTight: when there is hardly room left, what came to nothing goes earlier.
func TestTight(t *testing.T) {
	w := newWorld(t, "")
	c, _ := w.newClient(), w.newClient()
	o, path := c.order("a.internal")
	c.send(w.path(o.Authorizations[0]), object{"status": "deactivated"})
	c.order("b.internal")
	s := w.handler.Load().state
	w.setClock(time.Now().Add(tightKept + time.Minute))
	if err := s.clean(); err != nil {
		t.Fatal(err)
	}
	if a, o := w.count(bucketAccounts), w.count(bucketOrders); a != 2 || o != 2 {
		t.Fatalf("%d accounts, %d orders", a, o)
	}
	if err := s.store.update(func(t tx) error {
		if err := t.own.Bucket(bucketAccounts).SetSequence(maxAccounts); err != nil {
			return err
		}
		return t.own.Bucket(bucketOrders).SetSequence(maxOrders)
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.clean(); err != nil {
		t.Fatal(err)
	}
	if err := s.store.update(func(t tx) error {
		if a, o := t.count(bucketAccounts), t.count(bucketOrders); a != maxAccounts-1 || o != maxOrders-1 {
			return fmt.Errorf("%d accounts, %d orders", a, o)
		}
		_, err := t.order(path[strings.LastIndexByte(path, '/')+1:])
		if !errors.Is(err, errGone) {
			return fmt.Errorf("the order that came to nothing: %w", err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestBatches: more records than fit in one transaction are deleted.
func TestBatches(t *testing.T) {
	w := newWorld(t, "")
	s := w.handler.Load().state
	if err := s.store.update(func(t tx) error {
		for i := range 3*cleanBatch + 1 {
			if err := t.putCertificate(fmt.Sprint(i), &certificate{NotAfter: time.Now().Add(time.Duration(i%2*2-1) * time.Hour)}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.clean(); err != nil {
		t.Fatal(err)
	}
	if n := w.count(bucketCertificates); n != (3*cleanBatch+1)/2 {
		t.Errorf("%d are left", n)
	}
}

// TestBounds: an account can not have any number of open orders, nor a server
// any number of anything.
func TestBounds(t *testing.T) {
	w := newWorld(t, "")
	c := w.newClient()
	s := w.handler.Load().state
	id := c.kid[strings.LastIndexByte(c.kid, '/')+1:]
	set := func(f func(t tx) error) {
		t.Helper()
		if err := s.store.update(f); err != nil {
			t.Fatal(err)
		}
	}
	set(func(t tx) error {
		a, err := t.account(id)
		if err != nil {
			return err
		}
		a.Open = maxOpen - 1
		return t.putAccount(a, a.Thumb)
	})
	_, path := c.order("a.internal")
	r := c.send("/acme/local/new-order", names("b.internal"))
	r.want(t, "too many open", "rateLimited", 429)
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	w.approve(path)
	c.send("/acme/local/new-order", names("b.internal")).want(t, "a ready order is open", "rateLimited", 429)
	o := c.send(path, nil).order(t)
	if got := c.send(w.path(o.Finalize), object{"csr": csrOf(t, newKeyPair(t), "", "a.internal")}).order(t); got.Status != statusValid {
		t.Fatalf("%+v", got)
	}
	c.order("b.internal")
	set(func(t tx) error {
		a, err := t.account(id)
		if err != nil {
			return err
		}
		a.Open, a.InHour = 0, maxHourly-1
		return t.putAccount(a, a.Thumb)
	})
	c.order("b.internal")
	c.send("/acme/local/new-order", names("c.internal")).want(t, "too many in an hour", "rateLimited", 429)
	w.setClock(time.Now().Add(time.Hour + time.Minute))
	c.order("c.internal")
	w.setClock(time.Time{})
	for bucket, n := range map[string]uint64{string(bucketOrders): maxOrders, string(bucketCertificates): maxCertificates} {
		var before uint64
		set(func(t tx) error {
			b := t.own.Bucket([]byte(bucket))
			before = b.Sequence()
			return b.SetSequence(n)
		})
		set(func(t tx) error {
			a, err := t.account(id)
			if err != nil {
				return err
			}
			a.Open, a.InHour = 0, 0
			return t.putAccount(a, a.Thumb)
		})
		c.send("/acme/local/new-order", names("c.internal")).want(t, bucket, "rateLimited", 429)
		set(func(t tx) error { return t.own.Bucket([]byte(bucket)).SetSequence(before) })
	}
	set(func(t tx) error { return t.own.Bucket(bucketAccounts).SetSequence(maxAccounts) })
	w.post("/acme/local/new-account", signed{key: newKeyPair(t), payload: object{}}).want(t, "accounts", "rateLimited", 429)
	if r := w.post("/acme/local/new-account", signed{key: c.key, payload: object{}}); r.status != 200 {
		t.Errorf("an account that is there: %d %s", r.status, r.body)
	}
}

// TestExpiry: an order that is not finished in time is invalid.
func TestExpiry(t *testing.T) {
	w := newWorld(t, "")
	c := w.newClient()
	o, path := c.order("a.internal")
	w.approve(path)
	w.setClock(time.Now().Add(orderLife + time.Minute))
	if got := c.send(path, nil).order(t); got.Status != statusInvalid {
		t.Errorf("%+v", got)
	}
	c.send(w.path(o.Finalize), object{"csr": csrOf(t, newKeyPair(t), "", "a.internal")}).want(t, "too late", "orderNotReady", 403)
	if r := c.send(w.path(o.Authorizations[0]), nil); !strings.Contains(string(r.body), `"status":"expired"`) {
		t.Errorf("%s", r.body)
	}
}

func TestNonces(t *testing.T) {
	n, err := newNonces()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	first, second := n.issue(now), n.issue(now)
	number, ok := n.check(first, now)
	if !ok || !n.use(number) || n.use(number) {
		t.Error("the first can not be used, or twice")
	}
	if _, ok := n.check(first, now); ok {
		t.Error("the first is good after its use")
	}
	if _, ok := n.check(second, now.Add(nonceLife+2*time.Second)); ok {
		t.Error("the second is good for ever")
	}
	if _, ok := n.check(second, now.Add(nonceLife-time.Minute)); !ok {
		t.Error("the second is not good")
	}
	for range nonceWindow {
		n.issue(now)
	}
	if _, ok := n.check(second, now); ok {
		t.Error("the second is good after so many others")
	}
	third := n.issue(now)
	if _, ok := n.check(third, now); !ok {
		t.Error("the third, which has the place of the first, is not good")
	}
	other, err := newNonces()
	if err != nil {
		t.Fatal(err)
	}
	other.issue(now)
	for _, text := range []string{"", "x", third[:len(third)-1], third + "A", "B" + third[1:], other.issue(now)} {
		if _, ok := n.check(text, now); ok {
			t.Errorf("%q is good", text)
		}
	}
	// One of many at once can use it.
	fourth, _ := n.check(n.issue(now), now)
	var wg sync.WaitGroup
	wins := make(chan bool, 16)
	for range 16 {
		wg.Go(func() { wins <- n.use(fourth) })
	}
	wg.Wait()
	close(wins)
	used := 0
	for won := range wins {
		if won {
			used++
		}
	}
	if used != 1 {
		t.Errorf("used %d times", used)
	}
}

// TestManyAtOnce: several clients at once do not disturb each other, and of many
// requests to finalize one order one is served.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t, "")
	web := hostless{newHTTPSolver(t, w.httpPort), w.httpPort}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c := w.raw(map[string]acmez.Solver{http01: web})
			a, err := c.NewAccount(t.Context(), acme.Account{PrivateKey: newKeyPair(t)})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := c.ObtainCertificateForSANs(t.Context(), a, newKeyPair(t), []string{fmt.Sprintf("n%d.internal", i), fmt.Sprintf("m%d.internal", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if a, o, n := w.count(bucketAccounts), w.count(bucketOrders), w.count(bucketCertificates); a != 8 || o != 8 || n != 8 {
		t.Errorf("%d accounts, %d orders, %d certificates", a, o, n)
	}
	c := w.newClient()
	o, path := c.order("one.internal")
	w.approve(path)
	csr := csrOf(t, newKeyPair(t), "", "one.internal")
	done := make(chan int, 8)
	for range 8 {
		go func() { done <- c.send(w.path(o.Finalize), object{"csr": csr}).status }()
	}
	var ok int
	for range 8 {
		switch status := <-done; status {
		case 200:
			ok++
		case 403:
		default:
			t.Errorf("status %d", status)
		}
	}
	if n := w.count(bucketCertificates); ok != 1 || n != 9 {
		t.Errorf("%d were served, %d certificates", ok, n)
	}
}

func TestPolicy(t *testing.T) {
	for _, c := range []struct {
		policy      string
		allow, deny []string
	}{
		{`null`, []string{"a.example", "*.a.example", "10.0.0.1"}, nil},
		{`{}`, []string{"a.example", "*.a.example", "10.0.0.1"}, nil},
		{`{"allow": {}, "deny": {"domains": []}}`, []string{"a.example", "*.a.example", "10.0.0.1"}, nil},
		{`{"allow_wildcard_names": true}`, []string{"a.example", "*.a.example"}, nil},
		{`{"allow": {"domains": ["in.example"]}}`, []string{"in.example"}, []string{"a.in.example", "example", "*.in.example", "10.0.0.1", "xin.example"}},
		{`{"allow": {"domains": ["*.In.Example "]}}`, []string{"a.in.example"}, []string{"in.example", "a.b.in.example", "*.in.example"}},
		{`{"allow": {"domains": ["*.in.example"]}, "allow_wildcard_names": true}`, []string{"a.in.example", "*.in.example"}, []string{"in.example", "*.b.in.example", "*.example"}},
		{`{"allow": {"ip_ranges": ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]}}`, []string{"10.1.2.3", "192.0.2.7", "2001:db8::1"}, []string{"192.0.2.8", "a.example", "2001:db9::1"}},
		{`{"deny": {"domains": ["secret.example", "*.secret.example"]}}`, []string{"a.example", "10.0.0.1", "a.b.secret.example"}, []string{"secret.example", "a.secret.example", "*.a.example"}},
		{`{"deny": {"domains": ["secret.in.example"]}, "allow": {"domains": ["*.in.example"]}, "allow_wildcard_names": true}`, []string{"a.in.example"}, []string{"secret.in.example", "*.in.example", "b.example"}},
		{`{"deny": {"ip_ranges": ["10.1.0.0/16"]}, "allow": {"ip_ranges": ["10.0.0.0/8"]}}`, []string{"10.2.0.1"}, []string{"10.1.0.1", "11.0.0.1"}},
		{`{"deny": {"domains": ["x.example"]}, "allow": {"ip_ranges": ["10.0.0.0/8"]}}`, []string{"10.2.0.1"}, []string{"x.example", "y.example"}},
		{`{"allow": {"domains": ["bücher.example", "my_host"]}}`, []string{"xn--bcher-kva.example", "my_host"}, []string{"bucher.example"}},
	} {
		var cfg *Policy
		if err := json.Unmarshal([]byte(c.policy), &cfg); err != nil {
			t.Fatal(err)
		}
		p, problems := newPolicy(cfg)
		if len(problems) > 0 {
			t.Errorf("%s: %v", c.policy, problems)
			continue
		}
		for _, list := range [][]string{c.allow, c.deny} {
			for _, name := range list {
				id := identifier{typeDNS, name}
				if !strings.ContainsAny(name, "ghijklmnopqrstuvwxyz*") {
					id.Type = typeIP
				}
				if got, want := p.allows(id) == nil, slices.Contains(c.allow, name); got != want {
					t.Errorf("%s: %s is allowed: %t", c.policy, name, got)
				}
			}
		}
	}
	w := newWorld(t, `, "policy": {"allow": {"domains": ["*.in.example"], "ip_ranges": ["10.0.0.0/8"]}}, "challenges": ["http-01"]`)
	c := w.newClient()
	c.order("a.in.example", "10.0.0.1")
	r := c.send("/acme/local/new-order", names("a.in.example", "out.example"))
	r.want(t, "policy", "rejectedIdentifier", 403)
	if r.problem.Identifier == nil || r.problem.Identifier.Value != "out.example" {
		t.Errorf("%s", r.body)
	}
	w.load(`, "challenges": ["http-01"]`)
	c.send("/acme/local/new-order", names("*.a.example")).want(t, "a wildcard without dns-01", "rejectedIdentifier", 403)
	w.load(`, "challenges": [" DNS-01", "dns-01"]`)
	c.order("*.a.example")
	c.send("/acme/local/new-order", names("10.0.0.1")).want(t, "an address with dns-01", "rejectedIdentifier", 403)
}

// TestProblems: what is wrong with a config is said at its place.
func TestProblems(t *testing.T) {
	w := newWorld(t, "")
	for cfg, want := range map[string]string{
		`, "lifetime": "4m"`:                                   "/handle/lifetime",
		`, "lifetime": "366d"`:                                 "/handle/lifetime",
		`, "lifetime": "-1h"`:                                  "/handle/lifetime",
		`, "challenges": ["http-01", "http-02"]`:               "/handle/challenges/1",
		`, "challenges": [""]`:                                 "/handle/challenges/0",
		`, "resolvers": ["9.9.9.9", "http/9.9.9.9"]`:           "/handle/resolvers/1",
		`, "resolvers": ["9.9.9.9:x"]`:                         "/handle/resolvers/0",
		`, "resolvers": [""]`:                                  "/handle/resolvers/0",
		`, "host": "https://a"`:                                "/handle/host",
		`, "policy": {"allow": {"domains": ["a", "b c"]}}`:     "/handle/policy/allow/domains/1",
		`, "policy": {"deny": {"domains": ["*"]}}`:             "/handle/policy/deny/domains/0",
		`, "policy": {"deny": {"domains": ["a.*.b"]}}`:         "/handle/policy/deny/domains/0",
		`, "policy": {"deny": {"domains": [".a"]}}`:            "/handle/policy/deny/domains/0",
		`, "policy": {"deny": {"domains": ["10.0.0.1"]}}`:      "/handle/policy/deny/domains/0",
		`, "policy": {"deny": {"ip_ranges": ["10.0.0.0/33"]}}`: "/handle/policy/deny/ip_ranges/0",
		`, "policy": {"deny": {"ip_ranges": ["a"]}}`:           "/handle/policy/deny/ip_ranges/0",
		`, "policy": {"permit": {}}`:                           "/handle/policy/permit",
	} {
		res, err := w.build(cfg)
		if err == nil || len(res.Problems) != 1 || res.Problems[0].Pointer != want {
			t.Errorf("%s: %v", cfg, err)
		}
	}
	for cfg, want := range map[string]int{``: 1, `, "policy": {"allow_wildcard_names": true}`: 1, `, "policy": {"deny": {"domains": ["a"]}}`: 0, `, "policy": {"allow": {"ip_ranges": ["10.0.0.0/8"]}}`: 0} {
		w.unload()
		res, err := w.build(cfg)
		if err != nil || len(res.Warnings) != want {
			t.Errorf("%s: %v, %v", cfg, err, res.Warnings)
		}
		closeAll(res.New)
	}
	for text, want := range map[string]dnsServer{
		"9.9.9.9": {"udp", "9.9.9.9:53"}, "udp/9.9.9.9:54": {"udp", "9.9.9.9:54"}, "tcp/1.1.1.1": {"tcp", "1.1.1.1:53"}, "dns.internal": {"udp", "dns.internal:53"},
		"2620:fe::fe": {"udp", "[2620:fe::fe]:53"}, "[2620:fe::fe]": {"udp", "[2620:fe::fe]:53"}, "udp6/[2620:fe::fe]:5353": {"udp6", "[2620:fe::fe]:5353"},
	} {
		if got, err := readServer(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

// TestDefaultResolvers: a handler that names none has those of the app tls.
func TestDefaultResolvers(t *testing.T) {
	w := newWorld(t, "")
	names := newDNSSolver(t)
	w.databases.options.Resolvers = func() []string { return []string{"tcp/" + names.address} }
	client := w.raw(map[string]acmez.Solver{dns01: names})
	if _, err := client.ObtainCertificateForSANs(t.Context(), w.account(client.Client), newKeyPair(t), []string{"a.internal"}); err != nil {
		t.Fatal(err)
	}
	names.mu.Lock()
	defer names.mu.Unlock()
	if names.tcp == 0 {
		t.Error("it was not asked over TCP")
	}
}

// TestRedirects: a web server may send the check elsewhere, not for ever and not
// to other ports.
func TestRedirects(t *testing.T) {
	w := newWorld(t, "")
	newTLSSolver(t, w.tlsPort)
	web := newHTTPSolver(t, freePort(t))
	c := w.databases.checker
	check := func(location func(r *http.Request) string) *problem {
		t.Helper()
		port := freePort(t)
		c := newChecker(checks{httpPort: port, tlsPort: w.tlsPort, dial: c.dial, waits: []time.Duration{}})
		serve(t, port, func(rw http.ResponseWriter, r *http.Request) {
			web.mu.Lock()
			web.asked = append(web.asked, r.URL.Path)
			web.mu.Unlock()
			if to := location(r); to != "" {
				http.Redirect(rw, r, strings.ReplaceAll(to, "PORT", port), http.StatusFound)
				return
			}
			_, _ = rw.Write([]byte("token.thumb\n"))
		})
		return c.check(t.Context(), target{kind: http01, name: identifier{typeDNS, "a.internal"}, token: "token", keyAuth: "token.thumb"})
	}
	if p := check(func(r *http.Request) string {
		if r.URL.Path == "/elsewhere" {
			return ""
		}
		return "http://b.internal:PORT/elsewhere"
	}); p != nil {
		t.Errorf("a redirect: %v", p)
	}
	web.asked = nil
	if p := check(func(*http.Request) string { return "/again" }); p == nil || len(web.asked) != maxRedirects {
		t.Errorf("a loop: %v after %d requests", p, len(web.asked))
	}
	for _, to := range []string{"http://b.internal:1/", "ftp://b.internal/", "https://b.internal:1/"} {
		if p := check(func(*http.Request) string { return to }); p == nil || !strings.Contains(p.Detail, "a redirect to something else") {
			t.Errorf("%s: %v", to, p)
		}
	}
}

// TestLongAnswer: no more is read of an answer than it may have.
func TestLongAnswer(t *testing.T) {
	w := newWorld(t, "")
	sent := make(chan int, 1)
	serve(t, w.httpPort, func(rw http.ResponseWriter, _ *http.Request) {
		n, block := 0, make([]byte, 64<<10)
		for {
			m, err := rw.Write(block)
			if n += m; err != nil || n > 1<<30 {
				sent <- n
				return
			}
		}
	})
	c := newChecker(checks{httpPort: w.httpPort, dial: w.databases.checker.dial, waits: []time.Duration{}})
	p := c.check(t.Context(), target{kind: http01, name: identifier{typeDNS, "a.internal"}, token: "token", keyAuth: "token.thumb"})
	if p == nil || p.Type != problemNamespace+"incorrectResponse" || strings.Contains(p.Detail, "\x00") {
		t.Errorf("%v", p)
	}
	if n := <-sent; n > 64<<20 {
		t.Errorf("%d bytes were read", n)
	}
}

// serve answers at a port.
func serve(t *testing.T, port string, f http.HandlerFunc) {
	t.Helper()
	l := listenAt(t, port)
	server := &http.Server{Handler: f, ErrorLog: discard, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
}

func TestSpec(t *testing.T) {
	w := newWorld(t, "")
	s := Spec()
	if s.Summary == "" || len(s.Examples) == 0 {
		t.Error("no summary or example")
	}
	for _, e := range s.Examples {
		w.unload()
		var cfg map[string]json.RawMessage
		if err := json.Unmarshal([]byte(e.JSON), &cfg); err != nil {
			t.Fatal(err)
		}
		delete(cfg, "handler")
		var text strings.Builder
		for k, v := range cfg {
			fmt.Fprintf(&text, `, %q: %s`, k, v)
		}
		res, err := w.build(text.String())
		if err != nil || len(res.Warnings) > 0 {
			t.Errorf("%s: %v, %v", e.Title, err, res.Warnings)
		}
		closeAll(res.New)
	}
	var _ module.Spec = s
}
