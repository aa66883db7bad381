package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/internal/acmetest"
)

// firstRetry is after how long a certificate that could not be had is tried for again; it is certmagic's.
const firstRetry = time.Minute

// What goes wrong with a CA is told in the list and in the log; what there is goes on to be served; and once the CA is well the
// certificates come, without an edit.
func TestACMETroubleGoesBy(t *testing.T) {
	const kept, down, garbage, lost = "kept.example.com", "down.example.com", "garbage.example.com", "lost.example.com"
	c := newCertified(t, acmetest.Options{})
	ports := acmetest.Options{HTTPPort: c.ca.HTTPPort, TLSPort: c.ca.TLSPort}
	var broken atomic.Bool
	broken.Store(true)
	ports.Wrap = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken.Load() {
				_, _ = io.WriteString(w, "<html>Welcome to my new router")
				return
			}
			h.ServeHTTP(w, r)
		})
	}
	second := acmetest.Start(t, ports)
	ports.Wrap = nil
	third := acmetest.Start(t, ports)
	third.DNS.Hide(lost)
	c.others = []*acmetest.CA{second, third}

	policies := []any{object{"subjects": []string{garbage}, "issuers": []any{issuerOf(second, nil)}},
		object{"subjects": []string{lost}, "issuers": []any{issuerOf(third, nil)}}, object{"issuers": []any{issuerOf(c.ca, nil)}}}
	c.start(c.automated(policies, helloRoute("hello", kept)))
	c.serves(fifteen, "hello", kept)
	c.kill()
	c.ca.Down()
	began := time.Now()
	c.start(c.automated(policies, helloRoute("hello", kept, down, garbage, lost)))
	c.serves(fifteen, "hello", kept)
	why := map[string]string{
		down:    "connect: connection refused",
		garbage: "is no ACME directory",
		lost:    "ould not resolve",
	}
	var retry time.Time // of the last
	for host, text := range why {
		within(t, patience, "what is wrong with "+host, func() error {
			l := c.certificates()[host]
			if l.Renewal != "failed" || l.LastError == "" || l.Attempts != 1 || l.NextTry == nil {
				return fmt.Errorf("%+v", l)
			}
			if !strings.Contains(l.LastError, text) {
				t.Fatalf("%s: %+v, want %q", host, l, text)
			}
			if l.NextTry.After(retry) {
				retry = *l.NextTry
			}
			return nil
		})
		if !c.logged(host, text) {
			t.Errorf("the log does not say why %s has no certificate", host)
		}
		if p, err := c.visitor("HTTP/1.1", c.clients()).visit(c.secured, host); err == nil {
			t.Errorf("%s: %s", host, p.Status)
		}
	}
	if wait := time.Until(retry); wait > firstRetry+time.Second {
		t.Errorf("the next attempt is in %v", wait)
	}
	if metrics := c.get("/metrics"); !strings.Contains(metrics, `tls_certificate_failures_total{operation="obtain"} 3`) {
		t.Error("the metrics do not count three failures")
	}
	c.serves(fifteen, "hello", kept)
	c.ca.Up()
	broken.Store(false)
	third.DNS.Show(lost)
	t.Parallel() // others can go on during the minute until the next attempt
	c.serves(max(0, time.Until(retry))+patience, "hello", down, garbage, lost)
	for host := range why {
		leaf, err := c.leaf("HTTP/1.1", host)
		if err != nil {
			t.Fatal(err)
		}
		if late := leaf.NotBefore.Sub(retry); late > patience {
			t.Errorf("the certificate of %s was issued %v after the time that was told", host, late)
		}
		t.Logf("%s: issued %v after the first attempt", host, leaf.NotBefore.Sub(began).Round(time.Second))
	}
	for host, l := range c.certificates() {
		if l.Renewal != "valid" || l.LastError != "" {
			t.Errorf("%s: %+v", host, l)
		}
	}
	if n := c.ca.Issued(); n != 2 {
		t.Errorf("the first CA has issued %d certificates, want 2", n)
	}
	c.noSecrets()
}

// logged reports whether a line of the log, of an error or a warning, has all texts.
func (x *secured) logged(texts ...string) bool {
lines:
	for line := range strings.Lines(x.s.log.String()) {
		if !strings.Contains(line, "error") && !strings.Contains(line, "warn") {
			continue
		}
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue lines
			}
		}
		return true
	}
	return false
}

// A CA that takes good nonces for bad ones is asked again.
func TestACMERejectedNonces(t *testing.T) {
	t.Parallel()
	var rejected atomic.Int64
	c := newCertified(t, acmetest.Options{RejectNonces: 20, Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&sniffed{w, "badNonce", &rejected}, r) })
	}})
	c.start(nil)
	var names []string // so many that it is hardly possible that all nonces are accepted
	for i := range 10 {
		names = append(names, fmt.Sprintf("n%d.example.com", i))
	}
	c.mustLoad(c.automated([]any{object{"issuers": []any{issuerOf(c.ca, nil)}}}, helloRoute("hello", names...)))
	within(t, patience, "all certificates", func() error {
		list := c.certificates()
		if len(list) != len(names) {
			return fmt.Errorf("%d are listed", len(list))
		}
		for name, l := range list {
			if l.Renewal != "valid" || l.LastError != "" {
				return fmt.Errorf("%s: %+v", name, l)
			}
		}
		return nil
	})
	c.serves(fifteen, "hello", names[0])
	t.Logf("%d of %d requests were rejected", rejected.Load(), c.ca.Requests("/"))
	if rejected.Load() == 0 || c.ca.Issued() != len(names) {
		t.Errorf("%d nonces were rejected, %d certificates issued", rejected.Load(), c.ca.Issued())
	}
}

// sniffed counts responses with a text.
type sniffed struct {
	http.ResponseWriter
	text string
	n    *atomic.Int64
}

func (s *sniffed) Write(p []byte) (int, error) {
	if strings.Contains(string(p), s.text) {
		s.n.Add(1)
	}
	return s.ResponseWriter.Write(p)
}

// A server that is killed while certificates are issued gets them when it runs again.
func TestACMEKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	checking, finalizing := make(chan struct{}), make(chan struct{})
	var first, other atomic.Bool
	var over atomic.Bool // after the kill
	c := newCertified(t, acmetest.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// One name is held up while it is checked, the other while its certificate is made.
			var held chan struct{}
			switch {
			case over.Load():
			case strings.HasPrefix(r.URL.Path, acmetest.Check) && first.CompareAndSwap(false, true):
				held = checking
			case strings.HasPrefix(r.URL.Path, acmetest.Finalize) && other.CompareAndSwap(false, true):
				held = finalizing
			}
			if held == nil {
				h.ServeHTTP(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body) // or nobody sees the connection end
			close(held)
			<-r.Context().Done()
		})
	}})
	c.start(nil)
	c.mustLoad(c.automated([]any{object{"issuers": []any{issuerOf(c.ca, nil)}}}, helloRoute("hello", "a.example.com", "b.example.com")))
	for what, held := range map[string]chan struct{}{"a check": checking, "an order that is finalized": finalizing} {
		within(t, patience, what, func() error {
			select {
			case <-held:
				return nil
			default:
				return errors.New("not yet")
			}
		})
	}
	if locks, _ := filepath.Glob(filepath.Join(c.h.dir, ".local/share/sluice/locks/*")); len(locks) == 0 {
		t.Error("there is no lock that the kill could leave behind")
	}
	c.kill()
	over.Store(true)
	began := time.Now()
	c.start(nil)
	c.serves(patience, "hello", "a.example.com", "b.example.com")
	t.Logf("served %v after the kill", time.Since(began).Round(time.Millisecond))
	c.challengesGone()
	if n := c.ca.Issued(); n != 2 {
		t.Errorf("the CA has issued %d certificates", n)
	}
	c.noSecrets()
}

// Processes that share a storage get one certificate for each name, and answer challenges for each other.
func TestACMESharedStorage(t *testing.T) {
	t.Parallel()
	a := newCertified(t, acmetest.Options{})
	b := &certified{secured: newPlace(t), ca: a.ca}
	b.root = a.root
	shared := object{"module": "file_system", "root": t.TempDir()}
	doc := func(c *certified, names ...string) object {
		// The CA asks at the ports of the first.
		doc := c.automated([]any{object{"issuers": []any{issuerOf(a.ca, nil)}}}, helloRoute("hello", names...))
		doc["storage"] = shared
		return doc
	}
	const remote = "remote.example.com"
	names := []string{"n0.example.com", "n1.example.com", "n2.example.com", "n3.example.com"}
	a.start(doc(a, "localhost"))
	b.start(doc(b, remote))
	b.serves(fifteen, "hello", remote)
	if n := a.ca.Issued(); n != 1 {
		t.Fatalf("the CA has issued %d certificates for the first name", n)
	}
	loads := make(chan string, 2)
	for _, c := range []*certified{a, b} {
		go func() {
			status, answer := c.load(doc(c, append([]string{remote}, names...)...), false)
			if status == http.StatusOK {
				answer = ""
			}
			loads <- answer
		}()
	}
	for range 2 {
		if answer := <-loads; answer != "" {
			t.Fatal(answer)
		}
	}
	for _, c := range []*certified{a, b} {
		c.serves(patience, "hello", append([]string{remote}, names...)...)
	}
	ofA, ofB := a.certificates(), b.certificates()
	for _, name := range append([]string{remote}, names...) {
		if ofA[name].Serial == "" || ofA[name].Serial != ofB[name].Serial {
			t.Errorf("%s: serial numbers %q and %q", name, ofA[name].Serial, ofB[name].Serial)
		}
	}
	if n := a.ca.Issued(); n != 1+len(names) {
		t.Errorf("the CA has issued %d certificates for %d names", n, 1+len(names))
	}
	if n := a.ca.Requests(acmetest.Account); n != 1 {
		t.Errorf("%d accounts were made", n)
	}
	a.noSecrets()
	b.noSecrets()
}
