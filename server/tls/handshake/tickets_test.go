package handshake_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"github.com/sluiceproxy/sluice/server/trust/trusttest"
)

// resumes reports whether a client with the session cache resumes, and that its handshake works.
func (s *site) resumes(cache tls.ClientSessionCache, version uint16) bool {
	s.t.Helper()
	c := s.client("a.test")
	c.ClientSessionCache, c.MaxVersion = cache, version
	o := s.shake(c)
	if !o.ok() {
		s.t.Fatalf("%v, %v", o.serverErr, o.clientErr)
	}
	return o.client.DidResume
}

func TestResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := newSite(t)
		s.policy(`{}`)
		cache := tls.NewLRUClientSessionCache(8)
		if s.resumes(cache, version) {
			t.Error("a new client resumes")
		}
		if !s.resumes(cache, version) {
			t.Error("no resumption")
		}
		// The keys outlive the policy, the settings, and the list.
		for _, doc := range []string{
			`{"policies":[{"alpn":["h2"]}]}`,
			`{"policies":[{"match":{"sni":["a.test"]}},{}]}`,
			`{"policies":[{}],"session_tickets":{"rotation_interval":"1h","max_keys":2}}`,
			`{"policies":[{}],"session_tickets":{"key_source":{"provider":"standard"},"disable_rotation":true}}`,
			`{"policies":[{}]}`,
		} {
			if s.load(doc); !s.resumes(cache, version) {
				t.Errorf("%s: no resumption", doc)
			}
		}
		s.load(`{"policies":[{}],"session_tickets":{"disabled":true}}`)
		if s.resumes(cache, version) || !s.tickets.Disabled() {
			t.Error("resumption without tickets")
		}
		if fresh := tls.NewLRUClientSessionCache(8); s.resumes(fresh, version) || s.resumes(fresh, version) {
			t.Error("tickets are handed out though they are disabled")
		}
		s.policy(`{}`)
		if s.tickets.Disabled() || s.resumes(cache, version) && !s.resumes(cache, version) {
			t.Error("tickets do not come back")
		}
		// Another process has other keys.
		other := newSite(t)
		other.ca, other.source = s.ca, s.source
		other.policy(`{}`)
		if other.resumes(cache, version) {
			t.Error("a ticket of another process is good")
		}
	}
}

// With client authentication there are no tickets, and a ticket of another policy does not get around it.
func TestClientAuthHasNoTickets(t *testing.T) {
	s := newSite(t)
	alice := trusttest.New(t).Issue("alice")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(8)
		s.policy(`{}`)
		s.resumes(cache, version)
		s.policy(`{"client_authentication":{"mode":"request"}}`)
		if s.resumes(cache, version) {
			t.Error("a session of another policy is resumed")
		}
		c := s.client("a.test", alice)
		c.ClientSessionCache, c.MaxVersion = tls.NewLRUClientSessionCache(8), version
		for range 2 {
			if o := s.shake(c); !o.ok() || o.client.DidResume || len(o.server.PeerCertificates) != 1 {
				t.Errorf("%v, resumed %v", o.serverErr, o.client.DidResume)
			}
		}
		s.policy(`{"client_authentication":{"mode":"require"}}`)
		c = s.client("a.test")
		c.ClientSessionCache, c.MaxVersion = cache, version
		if o := s.shake(c); o.ok() {
			t.Error("a session of another policy gets around the certificate")
		}
	}
}

func TestRotation(t *testing.T) {
	session(t)
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			settings string
			alive    time.Duration // how long after it was made a key is still known
			gone     time.Duration // and when no more; 0 for never
		}{
			{`{}`, 47 * time.Hour, 49 * time.Hour},
			{`{"rotation_interval":"1h","max_keys":2}`, 119 * time.Minute, 121 * time.Minute},
			{`{"rotation_interval":"1h","max_keys":1}`, 59 * time.Minute, 61 * time.Minute},
			{`{"rotation_interval":"1h","disable_rotation":true}`, 100 * time.Hour, 0},
			{`{"key_source":{"provider":"standard"},"max_keys":3}`, 35 * time.Hour, 37 * time.Hour},
		} {
			tickets, err := handshake.NewTickets(handshake.TicketsOptions{})
			if err != nil {
				t.Fatal(err)
			}
			b := with(t, tickets)
			b.load(`{"policies":[{}],"session_tickets":` + tt.settings + `}`)
			first := keyOf(t, b)
			start := time.Now()
			time.Sleep(tt.alive)
			synctest.Wait()
			if !known(t, b, first) {
				t.Errorf("%s: the key is gone after %v", tt.settings, time.Since(start))
			}
			if tt.gone > 0 {
				time.Sleep(tt.gone - tt.alive)
				synctest.Wait()
				if known(t, b, first) {
					t.Errorf("%s: the key is there after %v", tt.settings, time.Since(start))
				}
			}
			tickets.Close()
			before := keyOf(t, b)
			time.Sleep(1000 * time.Hour)
			if !known(t, b, before) {
				t.Errorf("%s: keys rotate after the end", tt.settings)
			}
		}
	})
}

// with is a site with tickets of a bubble: without certificates and without handshakes, which need sockets.
func with(t *testing.T, tickets *handshake.Tickets) *site {
	b := bareSite(t)
	b.tickets = tickets
	module.Provide(b.builder.Sources.Services, tickets)
	return b
}

// encrypted is a ticket.
type encrypted []byte

// keyOf is a ticket that is encrypted with the newest key.
func keyOf(t *testing.T, s *site) encrypted {
	t.Helper()
	c, err := s.bound.ConfigForClient(hello("a.test"))
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := c.EncryptTicket(tls.ConnectionState{}, session(t))
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// known reports whether a ticket can be decrypted.
func known(t *testing.T, s *site, e encrypted) bool {
	t.Helper()
	c, err := s.bound.ConfigForClient(hello("a.test"))
	if err != nil {
		t.Fatal(err)
	}
	state, err := c.DecryptTicket(e, tls.ConnectionState{})
	return err == nil && state != nil
}

// session is any session.
var session = func() func(t *testing.T) *tls.SessionState {
	var once sync.Once
	var state *tls.SessionState
	return func(t *testing.T) *tls.SessionState {
		once.Do(func() {
			s := newSite(t)
			s.policy(`{}`)
			var cache keeper
			c := s.client("a.test")
			c.ClientSessionCache = &cache
			s.shake(c)
			if cache.state == nil {
				t.Fatal("no session")
			}
			var err error
			if _, state, err = cache.state.ResumptionState(); err != nil {
				t.Fatal(err)
			}
		})
		return state
	}
}()

// keeper is a session cache of one session.
type keeper struct{ state *tls.ClientSessionState }

func (k *keeper) Get(string) (*tls.ClientSessionState, bool)  { return k.state, k.state != nil }
func (k *keeper) Put(_ string, state *tls.ClientSessionState) { k.state = state }

func TestDistributed(t *testing.T) {
	session(t)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		process := func() *site {
			tickets, err := handshake.NewTickets(handshake.TicketsOptions{OnError: func(err error) { t.Errorf("tickets: %v", err) }})
			if err != nil {
				t.Fatal(err)
			}
			s := with(t, tickets)
			s.storage.Use(&certmagic.FileStorage{Path: dir})
			return s
		}
		const settings = `{"policies":[{}],"session_tickets":{"key_source":{"provider":"distributed"},"max_keys":2}}`
		a, b := process(), process()
		a.load(`{"policies":[{}]}`)
		local := keyOf(t, a)
		a.load(settings)
		synctest.Wait()
		b.load(strings.Replace(settings, `"distributed"`, `"distributed","storage":{"module":"file_system","root":"`+dir+`"}`, 1))
		synctest.Wait()
		first := keyOf(t, a)
		if !known(t, b, first) || !known(t, a, keyOf(t, b)) {
			t.Error("two processes do not share their keys")
		}
		if !known(t, a, local) {
			t.Error("tickets from before the keys were shared are lost")
		}
		if known(t, b, local) {
			t.Error("a key of one process got to the other")
		}
		time.Sleep(12*time.Hour + time.Minute)
		synctest.Wait()
		second := keyOf(t, b)
		if !known(t, a, second) || !known(t, a, first) || !known(t, b, first) {
			t.Error("the keys after a rotation differ")
		}
		if known(t, a, local) {
			t.Error("more keys than there may be")
		}
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if known(t, a, first) || known(t, b, first) || !known(t, a, second) {
			t.Error("a key is not given up")
		}
		c := process()
		c.load(settings)
		synctest.Wait()
		if !known(t, c, second) || !known(t, a, keyOf(t, c)) {
			t.Error("a new process does not have the keys")
		}
		var ring handshake.Ring
		data, err := (&certmagic.FileStorage{Path: dir}).Load(context.Background(), "stek/stek.bin")
		if err != nil || gob.NewDecoder(bytes.NewReader(data)).Decode(&ring) != nil || len(ring.Keys) != 2 || ring.NextRotation.Sub(ring.LastRotation) != 12*time.Hour {
			t.Errorf("what is stored: %v, %v", ring, err)
		}
		for _, s := range []*site{a, b, c} {
			s.tickets.Close()
		}
		time.Sleep(time.Minute) // what keeps locks alive ends
	})
}

// flaky is a storage that may fail, and that counts its locks.
type flaky struct {
	certmagic.Storage
	mu    sync.Mutex
	fail  error
	locks []string
}

func (f *flaky) Load(ctx context.Context, key string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	return f.Storage.Load(ctx, key)
}

func (f *flaky) Lock(ctx context.Context, name string) error {
	f.mu.Lock()
	f.locks = append(f.locks, name)
	f.mu.Unlock()
	return f.Storage.Lock(ctx, name)
}

func TestDistributedFails(t *testing.T) {
	session(t)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var errs []error
		tickets, err := handshake.NewTickets(handshake.TicketsOptions{OnError: func(err error) { errs = append(errs, err) }})
		if err != nil {
			t.Fatal(err)
		}
		s := with(t, tickets)
		storage := &flaky{Storage: &certmagic.FileStorage{Path: dir}, fail: errors.New("out of reach")}
		s.storage.Use(storage)
		s.load(`{"policies":[{}],"session_tickets":{"key_source":{"provider":"distributed"}}}`)
		local := keyOf(t, s)
		synctest.Wait()
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), "out of reach") || !known(t, s, local) {
			t.Errorf("a storage that fails: %v", errs)
		}
		storage.mu.Lock()
		storage.fail = nil
		storage.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if _, err := storage.Load(context.Background(), "stek/stek.bin"); err != nil || len(errs) != 1 {
			t.Errorf("not tried again: %v, %v", err, errs)
		}
		if !slices.Equal(storage.locks, []string{"stek_check"}) {
			t.Errorf("locks: %v", storage.locks)
		}
		// Something else in the place of the keys is replaced.
		if err := storage.Store(context.Background(), "stek/stek.bin", []byte("something else")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(13 * time.Hour)
		synctest.Wait()
		if data, err := storage.Load(context.Background(), "stek/stek.bin"); err != nil || string(data) == "something else" || len(errs) != 1 {
			t.Errorf("not replaced: %v, %v", err, errs)
		}
		tickets.Close()
		time.Sleep(time.Minute)
	})
}

// A storage that is named and out of reach is a reason to refuse the document.
func TestDistributedIsChecked(t *testing.T) {
	s := bareSite(t)
	file := write(t, "x", t.TempDir(), "file")
	res := s.try(`{"policies":[{}],"session_tickets":{"key_source":{"provider":"distributed","storage":{"module":"file_system","root":"`+filepath.Join(file, "below")+`"}}}}`, module.Options{})
	failed := error(nil)
	for _, b := range res.New {
		for _, r := range b.Owned() {
			if err := r.Prepare(); err != nil {
				failed = err
			}
		}
	}
	if len(res.Problems) > 0 || failed == nil || errors.Is(failed, fs.ErrNotExist) {
		t.Errorf("%v, %v", res.Problems, failed)
	}
}

// Keys change while many make handshakes.
func TestRotationUnderLoad(t *testing.T) {
	s := bareSite(t)
	s.load(`{"policies":[{}],"session_tickets":{"rotation_interval":"1h"}}`)
	bound := s.bound
	state := session(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 300 {
				c, err := bound.ConfigForClient(hello("a.test"))
				if err != nil {
					t.Error(err)
					return
				}
				if !c.SessionTicketsDisabled {
					if _, err := c.EncryptTicket(tls.ConnectionState{}, state); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for i := range 100 {
		s.load(fmt.Sprintf(`{"policies":[{}],"session_tickets":{"rotation_interval":"%dns","disabled":%v}}`, i%3+1, i%2 == 0))
	}
	wg.Wait()
	s.load(`{"policies":[{}]}`)
	first := keyOf(t, s)
	if !known(t, s, first) {
		t.Error("the config has other keys than the process")
	}
}
