package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/sluiceproxy/sluice/internal/acmetest"
)

// renewed waits until new clients of all protocols are shown another certificate than one.
func (c *certified) renewed(host string, old *x509.Certificate) *x509.Certificate {
	c.t.Helper()
	var now *x509.Certificate
	for _, proto := range protocols {
		within(c.t, patience, "another certificate over "+proto, func() (err error) {
			if now, err = c.leaf(proto, host); err == nil && now.SerialNumber.Cmp(old.SerialNumber) == 0 {
				err = errors.New("it is the old one")
			}
			return err
		})
	}
	return now
}

// Certificates are renewed, again and again, and no connection and no request is lost by it.
func TestACMERenewalDropsNothing(t *testing.T) {
	t.Parallel()
	const host, renewals, clients = "busy.example.com", 2, 2
	c := newCertified(t, acmetest.Options{Profiles: map[string]uint64{"brief": 90}})
	source := newStreamSource(t)
	sockets := ownRoute("gen", source.dial())
	sockets["match"] = []any{object{"path": []string{"/streams/*"}, "host": []string{host}}}
	doc := c.automated([]any{object{"issuers": []any{issuerOf(c.ca, object{"profile": "brief"})}, "renewal_window_ratio": 0.98}}, sockets, helloRoute("hello", host))
	automation(doc)["renew_interval"] = "500ms"
	c.start(doc)
	c.serves(fifteen, "hello", host)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	var done [3]atomic.Int64
	var visitors []*visitor
	for k, proto := range protocols {
		for range clients {
			v := c.visitor(proto, c.clients())
			v.expect(c.secured, host, "hello "+proto)
			visitors = append(visitors, v)
			running.Go(func() {
				pause := time.NewTicker(2 * time.Millisecond)
				defer pause.Stop()
				for ctx.Err() == nil {
					p, err := v.visit(c.secured, host)
					if err != nil || p.StatusCode != 200 || p.text != "hello "+proto {
						t.Errorf("%s: %v %+v", proto, err, p)
						return
					}
					done[k].Add(1)
					<-pause.C
				}
			})
		}
	}
	ws, err := c.secureStream(host)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	first := make([]int64, len(visitors))
	for i, v := range visitors {
		first[i] = v.dials.Load()
	}
	old, err := c.leaf("HTTP/1.1", host)
	if err != nil {
		t.Fatal(err)
	}
	for i := range renewals {
		old = c.renewed(host, old)
		if err := ws.echo(fmt.Sprintf("after renewal %d", i)); err != nil {
			t.Errorf("the WebSocket: %v", err)
		}
		before := [3]int64{done[0].Load(), done[1].Load(), done[2].Load()}
		poll(t, "requests after the renewal", func() error {
			for k, proto := range protocols {
				if done[k].Load() == before[k] && !t.Failed() {
					return errors.New(proto)
				}
			}
			return nil
		})
	}
	cancel()
	running.Wait()
	for i, v := range visitors {
		if n := v.dials.Load(); n != first[i] {
			t.Errorf("%s: a client has needed %d connections, and had %d before", v.proto, n, first[i])
		}
	}
	t.Logf("%d certificates; requests: %d %d %d", c.ca.Issued(), done[0].Load(), done[1].Load(), done[2].Load())
	if l := c.certificates()[host]; l.LastError != "" {
		t.Errorf("%+v", l)
	}
	c.noSecrets()
}

// A revoked certificate is replaced, as soon as the OCSP responder of its CA says so.
func TestACMERevokedOverOCSP(t *testing.T) {
	t.Parallel()
	const kept, plain, leaked = "kept.example.com", "plain.example.com", "leaked.example.com"
	c := newCertified(t, acmetest.Options{OCSP: true})
	doc := c.automated([]any{object{"issuers": []any{issuerOf(c.ca, nil)}}}, helloRoute("hello", kept, plain, leaked))
	automation(doc)["ocsp_interval"] = "300ms"
	c.start(doc)
	c.serves(fifteen, "hello", kept, plain, leaked)
	old := map[string]*x509.Certificate{}
	for _, host := range []string{kept, plain, leaked} {
		within(t, patience, "an OCSP response with the handshake for "+host, func() error {
			v := c.visitor("HTTP/2.0", c.clients())
			defer v.CloseIdleConnections()
			p, err := v.visit(c.secured, host)
			if err != nil {
				return err
			}
			old[host] = p.TLS.PeerCertificates[0]
			answer, err := ocsp.ParseResponseForCert(p.TLS.OCSPResponse, old[host], p.TLS.PeerCertificates[1])
			if err == nil && answer.Status != ocsp.Good {
				err = fmt.Errorf("its status is %d", answer.Status)
			}
			return err
		})
	}
	began := time.Now()
	c.ca.Revoke(old[plain], acmetest.Unspecified)
	c.ca.Revoke(old[leaked], acmetest.KeyCompromise)
	for _, host := range []string{plain, leaked} {
		c.renewed(host, old[host])
		t.Logf("%s was replaced in %v", host, time.Since(began).Round(time.Millisecond))
	}
	now, err := c.leaf("HTTP/1.1", leaked)
	if err != nil {
		t.Fatal(err)
	}
	if now.PublicKey.(*ecdsa.PublicKey).Equal(old[leaked].PublicKey) {
		t.Error("the new certificate has the key that leaked")
	}
	if now, err = c.leaf("HTTP/1.1", kept); err != nil || !bytes.Equal(now.Raw, old[kept].Raw) {
		t.Errorf("the certificate that was not revoked is another one: %v", err)
	}
	poll(t, "a list without faults", func() error {
		list := c.certificates()
		if len(list) != len(old) {
			return fmt.Errorf("%d are listed", len(list))
		}
		for host, l := range list {
			if l.Renewal != "valid" || l.LastError != "" {
				return fmt.Errorf("%s: %+v", host, l)
			}
		}
		return nil
	})
	if metrics := c.get("/metrics"); !strings.Contains(metrics, `tls_certificate_failures_total{operation="revoked"} 2`) {
		t.Error("the metrics do not count two revoked certificates")
	}
	if !strings.Contains(c.s.log.String(), "OCSP status for managed certificate is REVOKED") {
		t.Error("the log does not tell of it")
	}
	// The key that leaked is kept aside, and as secret as before.
	found := 0
	_ = filepath.WalkDir(c.h.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".compromised") {
			found++
			if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v %v", path, info.Mode(), err)
			}
		}
		return err
	})
	if found != 1 {
		t.Errorf("%d keys are set aside", found)
	}
	c.noSecrets()
}

// Where there is no OCSP, as with Let's Encrypt, the CA's renewal information says that it is time.
func TestACMERevokedOverRenewalInfo(t *testing.T) {
	t.Parallel()
	const kept, revoked = "kept.example.com", "revoked.example.com"
	c := newCertified(t, acmetest.Options{AskAgain: time.Second})
	doc := c.automated([]any{object{"issuers": []any{issuerOf(c.ca, nil)}}}, helloRoute("hello", kept, revoked))
	automation(doc)["renew_interval"] = "300ms"
	c.start(doc)
	c.serves(fifteen, "hello", kept, revoked)
	old := map[string]*x509.Certificate{}
	for _, host := range []string{kept, revoked} {
		var err error
		if old[host], err = c.leaf("HTTP/1.1", host); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	c.ca.Revoke(old[revoked], acmetest.Unspecified)
	c.renewed(revoked, old[revoked])
	t.Logf("replaced in %v", time.Since(began).Round(time.Millisecond))
	if now, err := c.leaf("HTTP/1.1", kept); err != nil || !bytes.Equal(now.Raw, old[kept].Raw) {
		t.Errorf("the certificate that was not revoked is another one: %v", err)
	}
	if n := c.ca.Issued(); n != 3 {
		t.Errorf("the CA has issued %d certificates, want 3", n)
	}
	if !strings.Contains(c.s.log.String(), "https://pebble.test/revoked") {
		t.Error("the log does not have the CA's explanation")
	}
	c.noSecrets()
}

// A certificate that cannot be replaced does not keep others from being renewed.
func TestACMERevokedWithoutReplacement(t *testing.T) {
	t.Parallel()
	const brief, revoked = "brief.example.com", "revoked.example.com"
	c := newCertified(t, acmetest.Options{OCSP: true, Profiles: map[string]uint64{"brief": 90, "long": 864_000}})
	doc := c.automated([]any{
		object{"subjects": []string{revoked}, "issuers": []any{issuerOf(c.ca, object{"profile": "long"})}},
		object{"issuers": []any{issuerOf(c.ca, object{"profile": "brief"})}, "renewal_window_ratio": 0.98},
	}, helloRoute("hello", brief, revoked))
	automation(doc)["ocsp_interval"], automation(doc)["renew_interval"] = "300ms", "500ms"
	c.start(doc)
	c.serves(fifteen, "hello", brief, revoked)
	old, err := c.leaf("HTTP/1.1", revoked)
	if err != nil {
		t.Fatal(err)
	}
	c.ca.Block(revoked)
	c.ca.Revoke(old, acmetest.Unspecified)
	within(t, patience, "what is wrong", func() error {
		if l := c.certificates()[revoked]; l.Renewal != "failed" || !strings.Contains(l.LastError, "forbidden by policy") {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
	now, err := c.leaf("HTTP/1.1", brief)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		now = c.renewed(brief, now)
	}
	c.serves(fifteen, "hello", revoked)
}

// While the CA is down, certificates that should be renewed go on to be served, and it is told why they are old.
func TestACMERenewalWithoutCA(t *testing.T) {
	t.Parallel()
	const host = "old.example.com"
	c := newCertified(t, acmetest.Options{})
	doc := c.automated([]any{object{"issuers": []any{issuerOf(c.ca, nil)}}}, helloRoute("hello", host))
	c.start(doc)
	c.serves(fifteen, "hello", host)
	before, err := c.leaf("HTTP/1.1", host)
	if err != nil {
		t.Fatal(err)
	}
	c.ca.Down()
	policy := automation(doc)["policies"].([]any)[0].(object)
	policy["renewal_window_ratio"], automation(doc)["renew_interval"] = 1, "300ms"
	c.mustLoad(doc)
	within(t, patience, "what is wrong", func() error {
		if l := c.certificates()[host]; l.Renewal != "failed" || !strings.Contains(l.LastError, "connection refused") || l.Attempts != 1 || time.Until(*l.NextTry) > time.Minute {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
	if !c.logged(host, "connection refused") {
		t.Error("the log does not say why the certificate is not renewed")
	}
	c.serves(fifteen, "hello", host)
	if now, err := c.leaf("HTTP/2.0", host); err != nil || !bytes.Equal(now.Raw, before.Raw) {
		t.Errorf("it is another certificate: %v", err)
	}
	if l := c.certificates()[host]; l.Attempts != 1 {
		t.Errorf("it is tried all the time: %+v", l)
	}
}
