package pki

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const day = 24 * time.Hour

// bubble runs a test on a clock of its own, with a process.
func bubble(t *testing.T, f func(t *testing.T, p *process, storage *memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		storage := newMemory()
		p := newProcess(t, storage, nil)
		defer p.Close()
		f(t, p, storage)
		for _, e := range p.logs.All() {
			for _, field := range e.Context {
				if err, ok := field.Interface.(error); strings.Contains(field.String, "PRIVATE KEY") || (ok && strings.Contains(err.Error(), "-----BEGIN")) {
					t.Errorf("a key is logged: %s", e.Message)
				}
			}
		}
	})
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestRenewal(t *testing.T) {
	bubble(t, func(t *testing.T, p *process, storage *memory) {
		p.load(doc("a", ""))
		synctest.Wait() // made without anyone asking
		if storage.count("intermediate.crt") != 1 || storage.count("root.crt") != 1 {
			t.Fatal("the authority is not made in the background")
		}
		a := p.get("a")
		first, root := a.Intermediate(), a.Root()
		verify(t, mustSign(t, a), root)
		pass(7*day*8/10 - 20*time.Minute)
		if !a.Intermediate().Equal(first) {
			t.Fatal("the intermediate is renewed before its window")
		}
		pass(40 * time.Minute)
		second := a.Intermediate()
		if second.Equal(first) || storage.count("intermediate.crt") != 2 || p.get("a") != a {
			t.Fatal("the intermediate is not renewed in its window")
		}
		if bytes.Equal(second.SubjectKeyId, first.SubjectKeyId) {
			t.Error("the new intermediate has the old key")
		}
		if !bytes.Equal(storage.copy()["pki/authorities/a/intermediate.crt"], encode(second)) {
			t.Error("the new intermediate is not stored in the old one's place")
		}
		verify(t, mustSign(t, a), root)
		pass(20 * day)
		if got := storage.count("intermediate.crt"); got != 5 {
			t.Errorf("%d intermediates in 25.6 days, want one each 5.6 days", got)
		}
		if !a.Root().Equal(root) || storage.count("root.crt") != 1 {
			t.Error("the root has changed")
		}
		verify(t, mustSign(t, a), root)
	})
}

func mustSign(t testing.TB, a *Authority) [][]byte {
	t.Helper()
	chain, err := a.Sign(context.Background(), request(t, nil, nil), 0, false)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// The settings say when to look and how early to renew.
func TestRenewalSettings(t *testing.T) {
	bubble(t, func(t *testing.T, p *process, storage *memory) {
		p.load(doc("a", `"intermediate_lifetime":"10d","renewal_window_ratio":0.5,"maintenance_interval":"1d"`))
		synctest.Wait()
		pass(5*day - time.Hour)
		if storage.count("intermediate.crt") != 1 {
			t.Error("renewed too early")
		}
		pass(day)
		if storage.count("intermediate.crt") != 2 {
			t.Error("renewed too late")
		}
		// An edit of the settings has its effect, and what it replaces ends.
		p.load(doc("a", `"intermediate_lifetime":"4d","maintenance_interval":"1h"`))
		pass(time.Hour)
		if storage.count("intermediate.crt") != 2 {
			t.Error("an edit renews what is not due")
		}
		pass(10 * day)
		if c := p.get("a").Intermediate(); c.NotAfter.Sub(c.NotBefore) != 4*day {
			t.Error("the new lifetime does not count")
		}
	})
}

// Of processes with one storage one renews, and the others take over.
func TestRenewalOfManyProcesses(t *testing.T) {
	bubble(t, func(t *testing.T, p *process, storage *memory) {
		q := newProcess(t, storage, nil)
		defer q.Close()
		p.load(doc("a", ""))
		q.load(doc("a", ""))
		synctest.Wait()
		pass(6 * day)
		if storage.count("root.crt") != 1 || storage.count("intermediate.crt") != 2 {
			t.Errorf("%d roots and %d intermediates were made, want 1 and 2", storage.count("root.crt"), storage.count("intermediate.crt"))
		}
		if !p.get("a").Intermediate().Equal(q.get("a").Intermediate()) {
			t.Error("the processes have different intermediates")
		}
	})
}

// A process that starts with an intermediate that has expired signs with a new one.
func TestExpiredIntermediate(t *testing.T) {
	bubble(t, func(t *testing.T, p *process, storage *memory) {
		a := p.get("local")
		root := a.Root()
		p.Close()
		pass(30 * day)
		q := newProcess(t, storage, nil)
		defer q.Close()
		if err := q.dryRun(doc("local", "")); err != nil {
			t.Errorf("an expired intermediate is a reason to refuse the document: %v", err)
		}
		verify(t, mustSign(t, q.get("local")), root)
		// So does one whose background work has ended.
		verify(t, mustSign(t, a), root)
		if got := storage.count("intermediate.crt"); got != 2 {
			t.Errorf("%d intermediates were made, want 2", got)
		}
	})
}

// Near its end the root is warned of, each day, and intermediates end with it.
func TestRootNearItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, p *process, storage *memory) {
		p.load(doc("a", `"maintenance_interval":"12h"`))
		synctest.Wait()
		a := p.get("a")
		root := a.Root()
		pass(2870 * day)
		if n := p.logged("root certificate expires soon"); n != 0 {
			t.Fatalf("%d warnings before the last fifth of its life", n)
		}
		pass(20 * day)
		if n := p.logged("root certificate expires soon"); n < 9 || n > 11 {
			t.Errorf("%d warnings in 10 days", n)
		}
		pass(time.Until(root.NotAfter) - time.Hour)
		if !a.Root().Equal(root) || storage.count("root.crt") != 1 {
			t.Error("the root was renewed")
		}
		if a.Intermediate().NotAfter.After(root.NotAfter) || time.Until(a.Intermediate().NotAfter) <= 0 {
			t.Errorf("the last intermediate ends at %s, the root at %s", a.Intermediate().NotAfter, root.NotAfter)
		}
		verify(t, mustSign(t, a), root)
		if err := p.dryRun(doc("a", `"name":"x"`)); err == nil || !strings.Contains(err.Error(), `certificate authority "a": intermediate certificate lifetime must be less than actual root certificate lifetime (1h0m`) {
			t.Errorf("a lifetime beyond the root's: %v", err)
		}
		count := storage.count("intermediate.crt")
		pass(2 * time.Hour)
		if _, err := a.Sign(t.Context(), request(t, nil, nil), 0, false); err == nil {
			t.Error("an authority that has expired signs")
		}
		if storage.count("intermediate.crt") != count {
			t.Error("an expired root has signed")
		}
	})
}

// The last intermediate of a root ends with it, and is the last.
func TestLastIntermediate(t *testing.T) {
	bubble(t, func(t *testing.T, p *process, storage *memory) {
		root := issue(t, nil, "root", 8*day, nil)
		p.load(doc("a", `"maintenance_interval":"1h","root":`+pairOf(t, root)))
		pass(8*day - time.Minute)
		if c := p.get("a").Intermediate(); !c.NotAfter.Equal(root.cert.NotAfter) || storage.count("intermediate.crt") != 2 {
			t.Errorf("%d intermediates; the last ends at %s, the root at %s", storage.count("intermediate.crt"), c.NotAfter, root.cert.NotAfter)
		}
	})
}

// Given pairs are warned of and not renewed.
func TestGivenPairsExpire(t *testing.T) {
	bubble(t, func(t *testing.T, p *process, storage *memory) {
		root := issue(t, nil, "root", 100*day, nil)
		p.load(doc("a", `"root":`+pairOf(t, root)+`,"intermediate":`+pairOf(t, issue(t, root, "i", 10*day, nil))))
		pass(7 * day)
		if n := p.logged("intermediate certificate expires soon"); n != 0 {
			t.Errorf("%d warnings too early", n)
		}
		pass(2 * day)
		if n := p.logged("intermediate certificate expires soon"); n < 1 || n > 2 {
			t.Errorf("%d warnings in a day", n)
		}
		verify(t, mustSign(t, p.get("a")), root.cert)
		pass(2 * day)
		if _, err := p.Get("a"); err == nil || !strings.Contains(err.Error(), "has expired") {
			t.Errorf("an intermediate that has expired: %v", err)
		}
		if len(storage.copy()) > 0 {
			t.Error("something was generated")
		}
	})
}

// A storage that fails is an error where the authority is needed, and mended by itself.
func TestStorageFails(t *testing.T) {
	for _, at := range []string{"root.crt", "root.key", "intermediate.crt", "intermediate.key", ""} {
		bubble(t, func(t *testing.T, p *process, storage *memory) {
			broken := errors.New("the disk is broken")
			storage.setFault(broken, at)
			if _, err := p.Get("local"); !errors.Is(err, broken) || !strings.Contains(err.Error(), "pki/authorities/local/") || !strings.Contains(err.Error(), "memory") {
				t.Errorf("%s: %v", at, err)
			}
			if at == "" || at == "root.crt" {
				if err := p.dryRun(doc("local", "")); !errors.Is(err, broken) {
					t.Errorf("a document whose storage cannot be read: %v", err)
				}
			}
			storage.setFault(nil, "")
			a := p.get("local")
			verify(t, mustSign(t, a), a.Root())
			// What is in memory goes on while the storage fails, and renewal is made up for.
			first := a.Intermediate()
			storage.setFault(broken, at)
			pass(6 * day)
			if at != "root.key" && p.logged("maintaining the certificate authority") == 0 {
				t.Error("the failure is not logged")
			}
			verify(t, mustSign(t, a), a.Root())
			storage.setFault(nil, "")
			pass(20 * time.Minute)
			if a.Intermediate().Equal(first) {
				t.Error("not renewed after the storage was mended")
			}
			verify(t, mustSign(t, a), a.Root())
		})
	}
}

// What the storage holds is checked; an intermediate that does not fit is replaced, a root never.
func TestStoredContent(t *testing.T) {
	const root, rootKey, crt, key = "pki/authorities/local/root.crt", "pki/authorities/local/root.key", "pki/authorities/local/intermediate.crt", "pki/authorities/local/intermediate.key"
	bubble(t, func(t *testing.T, p *process, storage *memory) {
		p.get("local")
		whole := storage.copy()
		leaf := issue(t, nil, "leaf", day, func(c *x509.Certificate) { c.IsCA = false })
		stranger := issue(t, nil, "stranger", 100*day, nil)
		for _, tt := range []struct {
			name   string
			change map[string][]byte // nil removes
			err    string            // or else a new intermediate
		}{
			{"no intermediate", map[string][]byte{crt: nil}, ""},
			{"no key of the intermediate", map[string][]byte{key: nil}, ""},
			{"another key", map[string][]byte{key: stranger.keyPEM(t)}, ""},
			{"an intermediate of another root", map[string][]byte{crt: encode(stranger.cert), key: stranger.keyPEM(t)}, ""},
			{"garbage for a root", map[string][]byte{root: []byte("x")}, root},
			{"nothing for a root", map[string][]byte{root: {}}, root},
			{"a leaf for a root", map[string][]byte{root: encode(leaf.cert)}, root},
			{"garbage for an intermediate", map[string][]byte{crt: []byte("x")}, crt},
			{"garbage for a key", map[string][]byte{key: []byte("-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n")}, key},
			{"no root key when it is needed", map[string][]byte{crt: nil, rootKey: nil}, rootKey},
			{"another root key", map[string][]byte{crt: nil, rootKey: stranger.keyPEM(t)}, rootKey},
			{"garbage for a root key", map[string][]byte{crt: nil, rootKey: []byte("x")}, rootKey},
		} {
			shared := newMemory()
			for k, v := range whole {
				shared.values[k] = v
			}
			for k, v := range tt.change {
				if shared.values[k] = v; v == nil {
					delete(shared.values, k)
				}
			}
			q := newProcess(t, shared, nil)
			a, err := q.Get("local")
			switch {
			case tt.err != "":
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "c2VjcmV0") {
					t.Errorf("%s: %v, want one that names %s", tt.name, err, tt.err)
				}
				if !bytes.Equal(shared.values[root], whole[root]) && tt.change[root] == nil {
					t.Errorf("%s: the root was replaced", tt.name)
				}
			case err != nil:
				t.Errorf("%s: %v", tt.name, err)
			default:
				if !bytes.Equal(encode(a.Root()), whole[root]) || bytes.Equal(encode(a.Intermediate()), whole[crt]) || shared.count("intermediate.crt") != 1 {
					t.Errorf("%s: the intermediate alone should be new", tt.name)
				}
				verify(t, mustSign(t, a), a.Root())
			}
			q.Close()
		}
	})
}

// A root that is replaced in the storage is taken over, and said.
func TestRootReplacedInStorage(t *testing.T) {
	bubble(t, func(t *testing.T, p *process, storage *memory) {
		a := p.get("local")
		other := newMemory()
		q := newProcess(t, other, nil)
		root := q.get("local").Root()
		q.Close()
		for k, v := range other.copy() {
			if err := storage.Store(t.Context(), k, v); err != nil {
				t.Fatal(err)
			}
		}
		pass(11 * time.Minute)
		if !a.Root().Equal(root) || p.logged("another root than before") != 1 {
			t.Error("the new root is not used")
		}
		verify(t, mustSign(t, a), root)
	})
}

// Who waits for a lock that another process holds is freed by its context.
func TestWaitingForTheLock(t *testing.T) {
	bubble(t, func(t *testing.T, p *process, storage *memory) {
		if err := storage.Lock(t.Context(), lockName("local")); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := p.Get("local"); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != useTimeout {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		if err := storage.Unlock(t.Context(), lockName("local")); err != nil {
			t.Fatal(err)
		}
		p.get("local")
	})
}
