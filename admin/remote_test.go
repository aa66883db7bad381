package admin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/admin/access"
	"github.com/sluiceproxy/sluice/config"
)

// remoteCaller makes requests as the client of a certificate, for which there is
// a rule.
func remoteCaller(t *testing.T, f *fixture, permissions ...access.Permission) func(method, path, body string, header ...string) (int, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ada lovelace"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := access.New([]access.Rule{{Certificates: []*x509.Certificate{cert}, Permissions: permissions}})
	if err != nil {
		t.Fatal(err)
	}
	guard, err := NewGuard(GuardOptions{Remote: rules})
	if err != nil {
		t.Fatal(err)
	}
	state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
	return func(method, path, body string, header ...string) (int, string) {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.TLS = state
		r.Header.Set("Content-Type", "application/json")
		for _, h := range header {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		f.api.Serve(w, r, guard)
		text, err := io.ReadAll(w.Result().Body)
		if err != nil {
			t.Fatal(err)
		}
		return w.Code, string(text)
	}
}

// TestRemoteObjectThatMoves: whether an object may be reached by its @id is
// decided where it is when the change has its turn.
func TestRemoteObjectThatMoves(t *testing.T) {
	const where, elsewhere = `{"x":{"open":{"@id":"o","n":1}}}`, `{"x":{"closed":{"@id":"o","n":1}}}`
	f := newFixture(t, where)
	call := remoteCaller(t, f, access.Permission{Paths: []string{"/id/o", "/config/x/open"}})
	if code, text := call("PATCH", "/id/o/n", "2"); code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	f.engine.hold = func() {
		n, _, err := config.Parse([]byte(elsewhere), config.Limits{})
		if err != nil {
			t.Error(err)
			return
		}
		doc, err := config.NewDoc(n)
		if err != nil {
			t.Error(err)
		}
		f.engine.mu.Lock()
		f.engine.doc = doc
		f.engine.mu.Unlock()
	}
	for _, method := range []string{"PATCH", "POST", "DELETE"} {
		f.engine.mu.Lock()
		f.engine.doc, _ = config.NewDoc(mustParse(t, where))
		f.engine.mu.Unlock()
		if code, text := call(method, "/id/o/n", "3"); code != 403 || !strings.Contains(text, "not authorized to access this path") {
			t.Errorf("%s: %d %s", method, code, text)
		}
	}
	f.engine.hold = nil
	if code, text := call("GET", "/id/o", ""); code != 403 {
		t.Errorf("%d %s", code, text)
	}
	if doc, _ := f.engine.Document(); !config.Equal(doc.Root(), mustParse(t, elsewhere)) {
		t.Error("it was changed")
	}
}

func mustParse(t *testing.T, text string) *config.Node {
	t.Helper()
	n, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRemoteOriginAndLog(t *testing.T) {
	f := newFixture(t, `{}`)
	call := remoteCaller(t, f)
	if code, text := call("PUT", "/config/x", "1"); code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	if seen := f.engine.changes(); len(seen) != 1 || seen[0].Origin != "ada_lovelace@192.0.2.1:1234" {
		t.Errorf("%+v", seen)
	}
	entry := f.logs.FilterMessage("received request").All()[0].ContextMap()
	if entry["secure"] != true || entry["verified_chains"] != int64(1) {
		t.Errorf("logged %v", entry)
	}
	f.do("GET", "/config/", nil)
	if entry := f.logs.FilterMessage("received request").All()[1].ContextMap(); entry["secure"] != nil || entry["verified_chains"] != nil {
		t.Errorf("logged %v", entry)
	}
}

// TestRemoteWithoutTLS: nobody is let in by a guard of a remote endpoint who has
// shown no certificate.
func TestRemoteWithoutTLS(t *testing.T) {
	f := newFixture(t, `{}`)
	rules, err := access.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	guard, err := NewGuard(GuardOptions{Remote: rules})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/config/", "/healthz", "/none"} {
		w := httptest.NewRecorder()
		f.api.Serve(w, httptest.NewRequest(http.MethodGet, path, nil), guard)
		if w.Code != 401 || w.Header().Get("Connection") != "close" || w.Body.String() != `{"error":"client identity not authorized"}`+"\n" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
