package acmetest

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/core"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/mholt/acmez/v3/acme"
	"golang.org/x/crypto/ocsp"
)

// Reasons of revocations, RFC 5280 section 5.3.1.
const (
	Unspecified   = 0
	KeyCompromise = 1
)

// Revoke revokes a certificate that the CA has issued. The OCSP responder says so, if there is one, and so does renewal
// information: pebble's own window in such a case is of a single second, which clients take for none, so it is given one as
// that of Let's Encrypt.
func (c *CA) Revoke(cert *x509.Certificate, reason uint) {
	c.t.Helper()
	known := c.store.GetCertificateBySerial(cert.SerialNumber)
	if known == nil {
		c.t.Fatalf("the CA has not issued %s for %q", cert.SerialNumber.Text(16), cert.DNSNames)
	}
	c.store.RevokeCertificate(&core.RevokedCertificate{Certificate: known, RevokedAt: time.Now(), Reason: &reason})
	c.RenewNow(cert, "revoked")
}

// RenewNow makes renewal information say that it is time to renew a certificate, with a URL that explains it.
func (c *CA) RenewNow(cert *x509.Certificate, why string) {
	c.t.Helper()
	start := time.Now().Add(-time.Hour).UTC()
	text, err := json.Marshal(map[string]any{
		"suggestedWindow": map[string]string{"start": start.Format(time.RFC3339), "end": start.Add(30 * time.Minute).Format(time.RFC3339)},
		"explanationURL":  "https://pebble.test/" + why,
	})
	var id string
	if err == nil {
		id, err = acme.ARIUniqueIdentifier(cert)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.windows[id] = text
}

// renewals answers requests for renewal information for which there is an answer of our own, and changes after how long clients
// are asked to ask again if a duration is given.
func (c *CA) renewals(h http.Handler, d time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := strings.CutPrefix(r.URL.Path, Renewal)
		if !ok {
			h.ServeHTTP(w, r)
			return
		}
		w = &edited{w, func() {
			if d > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(d.Seconds())))
			}
		}}
		c.mu.Lock()
		own := c.windows[id]
		c.mu.Unlock()
		if own == nil {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(own)
	})
}

// edited is a response whose header is edited before it is sent.
type edited struct {
	http.ResponseWriter
	edit func()
}

// WriteHeader implements [http.ResponseWriter].
func (e *edited) WriteHeader(status int) {
	e.edit()
	e.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (e *edited) Write(p []byte) (int, error) {
	e.edit()
	return e.ResponseWriter.Write(p)
}

// OCSPRequests counts what the OCSP responder was asked.
func (c *CA) OCSPRequests() int { return c.responder.asked() }

// staple is how long an OCSP response is good.
const staple = 2 * time.Second

// responder is an OCSP responder for what a CA has issued.
type responder struct {
	*httptest.Server
	store  *db.MemoryStore
	issuer *x509.Certificate
	key    crypto.Signer
	count  buffer // a byte for each request
}

func newResponder(t testing.TB, store *db.MemoryStore) *responder {
	r := &responder{store: store}
	r.Server = httptest.NewUnstartedServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *responder) url() string { return "http://" + r.Listener.Addr().String() }

// start answers from then on, signed by a CA.
func (r *responder) start(issuer *x509.Certificate, key *rsa.PrivateKey) {
	r.issuer, r.key = issuer, key
	r.Start()
}

func (r *responder) asked() int { return len(r.count.String()) }

// ServeHTTP implements [http.Handler].
func (r *responder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	_, _ = r.count.Write([]byte{'.'})
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	question, err := ocsp.ParseRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := time.Now().Truncate(time.Second) // the format has no parts of a second
	answer := ocsp.Response{Status: ocsp.Unknown, SerialNumber: question.SerialNumber, ThisUpdate: now, NextUpdate: now.Add(staple)}
	if revoked := r.store.GetRevokedCertificateBySerial(question.SerialNumber); revoked != nil {
		answer.Status, answer.RevokedAt = ocsp.Revoked, revoked.RevokedAt
		if revoked.Reason != nil {
			answer.RevocationReason = int(*revoked.Reason)
		}
	} else if r.store.GetCertificateBySerial(question.SerialNumber) != nil {
		answer.Status = ocsp.Good
	}
	text, err := ocsp.CreateResponse(r.issuer, r.issuer, answer, r.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/ocsp-response")
	_, _ = io.Copy(w, bytes.NewReader(text))
}
