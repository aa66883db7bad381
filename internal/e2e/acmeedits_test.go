package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sluiceproxy/sluice/internal/acmetest"
)

// gate holds up the orders of a CA just before certificates are issued.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed if it is
	held int
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, acmetest.Finalize) {
			g.mu.Lock()
			open := g.open
			g.held++
			g.mu.Unlock()
			select {
			case <-open:
			case <-r.Context().Done():
			}
		}
		h.ServeHTTP(w, r)
	})
}

// wait waits until so many requests have come to the gate.
func (g *gate) wait(t *testing.T, n int) {
	t.Helper()
	poll(t, "an order", func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.held < n {
			return errors.New("there is none")
		}
		return nil
	})
}

// Edits while a certificate is issued neither end that nor begin it again.
func TestACMEEditsDuringIssuance(t *testing.T) {
	t.Parallel()
	const host, edits = "slow.example.com", 12
	g := newGate()
	c := newCertified(t, acmetest.Options{Wrap: g.wrap})
	c.start(c.automated([]any{
		object{"subjects": []string{"other.localhost"}, "key_type": "p256", "issuers": []any{object{"module": "internal"}}},
		object{"issuers": []any{issuerOf(c.ca, nil)}},
	}, helloRoute("hello", host), helloRoute("spare", "spare.localhost")))
	g.wait(t, 1)
	for i := range edits {
		switch i % 4 {
		case 0:
			c.e.do("POST", streamRoutes, helloRoute("new", fmt.Sprintf("n%d.localhost", i)))
		case 1:
			c.e.do("PATCH", "/config/apps/tls/automation/policies/0/key_type", []string{"p384", "p256"}[i/4%2])
		case 2:
			c.e.do("PATCH", streamRoutes+"/1/handle/0/body", fmt.Sprintf("edit %d", i))
		case 3:
			c.e.do("POST", "/config/apps/tls/cache", object{"capacity": 5000 + i})
		}
	}
	close(g.open)
	c.serves(fifteen, "hello", host)
	if orders, issued := c.ca.Requests(acmetest.Order), c.ca.Issued(); orders != 1 || issued != 1 {
		t.Errorf("%d orders, %d certificates", orders, issued)
	}
	c.challengesGone()
}

// A name that goes while its certificate is ordered is forgotten, and can come back.
func TestACMENameGoesDuringIssuance(t *testing.T) {
	t.Parallel()
	const host, gone = "stays.example.com", "gone.example.com"
	g := newGate()
	close(g.open)
	c := newCertified(t, acmetest.Options{Wrap: g.wrap})
	c.start(c.automated([]any{object{"issuers": []any{issuerOf(c.ca, nil)}}}, helloRoute("hello", host)))
	c.serves(fifteen, "hello", host)
	g.mu.Lock()
	before := g.held
	g.open = make(chan struct{})
	g.mu.Unlock()
	c.e.do("PATCH", streamRoutes+"/0/match/0/host", []string{host, gone})
	g.wait(t, before+1)
	if l := c.certificates()[gone]; l.Renewal != "obtaining" || l.LastError != "" {
		t.Errorf("%+v", l)
	}
	c.e.do("PATCH", streamRoutes+"/0/match/0/host", []string{host})
	c.challengesGone()
	if list := c.certificates(); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	close(g.open)
	c.serves(fifteen, "hello", host)
	if p, err := c.visitor("HTTP/1.1", c.clients()).visit(c.secured, gone); err == nil {
		t.Errorf("%s for a name that is gone", p.Status)
	}
	c.e.do("PATCH", streamRoutes+"/0/match/0/host", []string{gone, host})
	c.serves(fifteen, "hello", gone, host)
	for name, l := range c.certificates() {
		if l.Renewal != "valid" || l.LastError != "" {
			t.Errorf("%s: %+v", name, l)
		}
	}
	c.challengesGone()
}
