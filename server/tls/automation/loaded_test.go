package automation

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/tls/automation/ech"
	"github.com/sluiceproxy/sluice/server/tls/automation/managers"
	"golang.org/x/crypto/ocsp"
)

func loadPEM(pairs ...string) string {
	type pair struct {
		Certificate string   `json:"certificate"`
		Key         string   `json:"key"`
		Tags        []string `json:"tags,omitempty"`
	}
	var list []pair
	for i := 0; i+2 < len(pairs); i += 3 {
		p := pair{Certificate: pairs[i], Key: pairs[i+1]}
		if pairs[i+2] != "" {
			p.Tags = strings.Split(pairs[i+2], ",")
		}
		list = append(list, p)
	}
	text, _ := json.Marshal(map[string]any{"certificates": map[string]any{"load_pem": list}})
	return string(text)
}

func TestLoadedCertificates(t *testing.T) {
	r := newRig(t, newMemory())
	cert, key := r.other.fresh("loaded.example", "*.wild.example")
	second, secondKey := r.other.fresh("second.example")
	r.load(loadPEM(cert, key, "a,b"))
	if by := r.issuer("loaded.example"); by != "other" {
		t.Fatalf("at once after the load: %q", by)
	}
	c := r.status("loaded.example")
	if len(c) != 1 || c[0].Source != SourceLoaded || c[0].Renewal != RenewalNone || strings.Join(c[0].Tags, " ") != "a b" || c[0].Issuer != "CA other" {
		t.Errorf("status: %+v", c)
	}
	if got := r.m.cache.AllMatchingCertificates("loaded.example"); len(got) != 1 || !got[0].HasTag("b") {
		t.Errorf("tags in the cache: %v", got)
	}
	for name, want := range map[string]bool{"loaded.example": true, "A.Wild.example": true, "b.a.wild.example": false, "second.example": false} {
		if got := r.m.Covers(name); got != want {
			t.Errorf("Covers(%s) = %v", name, got)
		}
	}
	if n := r.bus.count("tls/cached_unmanaged_cert"); n != 1 {
		t.Fatalf("%d events cached_unmanaged_cert", n)
	}
	r.load(loadPEM(cert, key, "a,b", second, secondKey, "")) // the first is recognised
	if n := r.bus.count("tls/cached_unmanaged_cert"); n != 2 {
		t.Errorf("%d events cached_unmanaged_cert, want 2: one for each certificate", n)
	}
	r.load(loadPEM(cert, key, "c", second, secondKey, ""))
	if got := r.m.cache.AllMatchingCertificates("loaded.example"); len(got) != 1 || got[0].HasTag("a") || !got[0].HasTag("c") {
		t.Errorf("tags after they changed: %v", got)
	}
	r.load(loadPEM(second, secondKey, ""))
	if r.issuer("loaded.example") != "" || r.issuer("second.example") != "other" {
		t.Error("what no document holds serves on, or what one holds does not")
	}
}

func TestLoadedSpareNames(t *testing.T) {
	r := newRig(t, newMemory())
	r.m.Manage([]string{"a.example"}, nil)
	r.m.ManageAlways([]string{"always.example"}, nil)
	r.served("a.example", "public")
	cert, key := r.other.fresh("a.example", "always.example")
	r.load(loadPEM(cert, key, ""))
	if got := strings.Join(r.managedNames(), " "); got != "always.example" {
		t.Errorf("with a loaded certificate %s is managed", got)
	}
	if by := r.issuer("a.example"); by != "other" {
		t.Errorf("%q serves", by)
	}
	r.load(`{}`)
	r.served("a.example", "public")
	if r.public.times("a.example") != 1 {
		t.Error("obtained again although the storage has it")
	}
}

// TestLoadedIsTheManagedOne loads the file of a managed certificate and takes it away again.
func TestLoadedIsTheManagedOne(t *testing.T) {
	s := newMemory()
	r := newRig(t, s)
	r.load(`{"certificates":{"automate":["same.example"]}}`)
	r.served("same.example", "public")
	pairs := `{"pairs":[{"certificate":"certificates/public/same.example/same.example.crt","key":"certificates/public/same.example/same.example.key"}]}`
	r.load(`{"certificates":{"automate":["same.example"],"load_storage":` + pairs + `}}`)
	if by := r.issuer("same.example"); by != "public" {
		t.Fatalf("%q serves", by)
	}
	r.load(`{"certificates":{"automate":["same.example"]}}`)
	r.served("same.example", "public")
}

func TestLoadFromStorageFails(t *testing.T) {
	r := newRig(t, newMemory())
	res := r.build(`{"certificates":{"load_storage":{"pairs":[{"certificate":"x.crt","key":"x.key"}]}}}`)
	var err error
	for _, b := range res.New {
		for _, o := range b.Owned() {
			if e := o.Prepare(); e != nil {
				err = e
			}
		}
	}
	var problems schema.Problems
	if !errors.As(err, &problems) || len(problems) != 1 || problems[0].Pointer != "/apps/tls/certificates/load_storage/pairs/0/certificate" || !strings.Contains(err.Error(), "x.crt") {
		t.Errorf("a certificate that is not there: %v", err)
	}
}

// responder answers OCSP requests.
func responder(t *testing.T, a *authority, status *atomic.Int64, asked *atomic.Int64) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked.Add(1)
		body, _ := io.ReadAll(req.Body)
		q, err := ocsp.ParseRequest(body)
		if err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		res := ocsp.Response{Status: int(status.Load()), SerialNumber: q.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Minute)} // asked again at once
		if res.Status == ocsp.Revoked {
			res.RevokedAt = time.Now().Add(-time.Minute)
		}
		der, err := ocsp.CreateResponse(a.cert, a.cert, res, crypto.Signer(a.priv))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/ocsp-response")
		_, _ = w.Write(der)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestStapling(t *testing.T) {
	r := newRig(t, newMemory())
	var status, asked atomic.Int64
	server := responder(t, r.other, &status, &asked)
	priv, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(77), DNSNames: []string{"stapled.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0), OCSPServer: []string{server.URL},
	}, r.other.cert, priv.Public(), r.other.priv)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := x509.MarshalPKCS8PrivateKey(priv)
	chain := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.other.cert.Raw}))
	doc := loadPEM(chain, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})), "tag")
	r.load(strings.TrimSuffix(doc, "}") + `,"disable_ocsp_stapling":true}`)
	if _, err := r.hello("stapled.example"); err != nil {
		t.Fatal(err)
	}
	r.load(`{}`)
	if asked.Load() != 0 {
		t.Error("the OCSP server was asked although stapling is off")
	}
	r.load(doc)
	if _, err := r.hello("stapled.example"); err != nil {
		t.Errorf("not served at once: %v", err)
	}
	until(t, "a response is stapled", func() bool {
		c := r.m.cache.AllMatchingCertificates("stapled.example")
		return len(c) == 1 && len(c[0].OCSPStaple) > 0 && c[0].HasTag("tag")
	})
	r.load(`{}`)
	if _, err := r.hello("stapled.example"); err == nil {
		t.Error("served on after it left the document")
	}
}

func permissionServer(t *testing.T, asked *atomic.Int64) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked.Add(1)
		if q := req.URL.Query(); q.Get("keep") != "1" || len(q["domain"]) != 1 || !strings.HasPrefix(q.Get("domain"), "good") {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL + "/allowed?keep=1&domain=nobody"
}

func TestOnDemand(t *testing.T) {
	var asked atomic.Int64
	url := permissionServer(t, &asked)
	for name, permission := range map[string]string{
		"permission": `"permission":{"module":"http","endpoint":"` + url + `"}`,
		"ask":        `"ask":"` + url + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, newMemory())
			r.load(`{"automation":{"on_demand":{` + permission + `},"policies":[{"on_demand":true}]}}`)
			r.m.Manage([]string{"good-host.example"}, nil)
			if c := r.status("good-host.example"); len(c) != 1 || c[0].Renewal != RenewalWaiting || r.public.total() != 0 {
				t.Errorf("before a client asks: %+v", c)
			}
			if by := r.issuer("good.example"); by != "public" {
				t.Fatalf("an allowed name: %q", by)
			}
			if by := r.issuer("bad.example"); by != "" {
				t.Errorf("a denied name is served by %q", by)
			}
			if r.public.times("bad.example") != 0 {
				t.Error("a certificate was obtained for a denied name")
			}
			if c := r.status("good.example"); len(c) != 1 || c[0].Source != SourceOnDemand || c[0].NotAfter == nil {
				t.Errorf("status: %+v", c)
			}
			if by := r.issuer("good-host.example"); by != "public" {
				t.Errorf("a managed name: %q", by)
			}
			before := asked.Load()
			r.load(`{"automation":{"on_demand":{` + permission + `},"policies":[{"on_demand":true,"key_type":"p384"}]}}`)
			if by := r.issuer("good.example"); by != "public" || asked.Load() != before || r.public.times("good.example") != 1 {
				t.Error("the cache does not outlive an edit")
			}
		})
	}
}

func TestOnDemandWithoutPermission(t *testing.T) {
	r := newRig(t, newMemory())
	r.load(`{"automation":{"policies":[{"subjects":["one.example"],"on_demand":true},{"subjects":["*.internal"],"on_demand":true}]}}`)
	for name, want := range map[string]string{"one.example": "public", "any.internal": "local", "two.example": ""} {
		if by := r.issuer(name); by != want {
			t.Errorf("%s is served by %q, want %q", name, by, want)
		}
	}
}

func TestManagers(t *testing.T) {
	var query atomic.Value
	r := newRig(t, newMemory())
	cert, key := r.other.fresh("managed.example")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		query.Store(req.URL.Query())
		switch req.URL.Query().Get("server_name") {
		case "managed.example":
			_, _ = io.WriteString(w, key+cert)
		case "broken.example":
			w.WriteHeader(http.StatusInternalServerError)
		case "rubbish.example":
			_, _ = io.WriteString(w, "rubbish")
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer s.Close()
	policy := `{"get_certificate":[{"via":"http","url":"` + s.URL + `?who=me"}]}`
	r.load(`{"automation":{"policies":[` + policy + `]}}`)
	for name, want := range map[string]string{"managed.example": "other", "broken.example": "", "rubbish.example": "", "nobody.example": ""} {
		if by := r.issuer(name); by != want {
			t.Errorf("%s is served by %q, want %q", name, by, want)
		}
	}
	if r.public.total() != 0 {
		t.Error("a certificate was obtained for a name that managers do not have")
	}
	q := query.Load().(interface{ Get(string) string })
	if q.Get("who") != "me" || q.Get("cipher_suites") == "" || !strings.Contains(q.Get("signature_schemes"), "403") {
		t.Errorf("asked with %v", q)
	}
	var asked atomic.Int64
	r.load(`{"automation":{"on_demand":{"ask":"` + permissionServer(t, &asked) + `"},"policies":[` + policy + `]}}`)
	if by := r.issuer("good.example"); by != "public" {
		t.Errorf("with a permission a name that managers do not have is served by %q", by)
	}
}

func TestTailscale(t *testing.T) {
	a := newAuthority("tailscale")
	cert, key := a.fresh("host.tail.ts.net")
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Host != "local-tailscaled.sock" || req.URL.Path != "/localapi/v0/cert/host.tail.ts.net" || req.URL.Query().Get("type") != "pair" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, key+cert)
	})}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	m := managers.NewTailscale(socket)
	get := func(name string) (*tls.Certificate, error) {
		return m.GetCertificate(context.Background(), &tls.ClientHelloInfo{ServerName: name})
	}
	if c, err := get("Host.tail.ts.net"); err != nil || c == nil || c.Leaf.DNSNames[0] != "host.tail.ts.net" {
		t.Errorf("%v, %v", c, err)
	}
	if c, err := get("example.com"); c != nil || err != nil {
		t.Errorf("another name: %v, %v", c, err)
	}
	if _, err := get("other.tail.ts.net"); err == nil {
		t.Error("a refusal is no error")
	}
}

func TestECH(t *testing.T) {
	s := newMemory()
	r := newRig(t, s)
	r.load(`{"encrypted_client_hello":{"configs":[{"public_name":"outer.example"}]}}`)
	r.m.Manage([]string{"inner.example"}, nil)
	r.served("inner.example", "public")
	r.served("outer.example", "public")
	until(t, "there is a key", func() bool { k, _ := r.m.ECHKeys(nil); return len(k) == 1 })
	configs, err := ech.Load(context.Background(), s)
	if err != nil || len(configs) != 1 {
		t.Fatalf("%v, %v", configs, err)
	}
	for _, f := range []string{"key.bin", "config.bin", "meta.json"} {
		if !s.Exists(context.Background(), fmt.Sprintf("ech/configs/%d/%s", configs[0].ID, f)) {
			t.Errorf("%s is missing", f)
		}
	}
	handshake := func(list []byte) (tls.ConnectionState, error) {
		client, server := net.Pipe()
		defer client.Close()
		go func() {
			defer server.Close()
			c := tls.Server(server, &tls.Config{GetEncryptedClientHelloKeys: r.m.ECHKeys, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
				return r.m.Config(h.ServerName).GetCertificate(h)
			}})
			_ = c.Handshake()
			_, _ = io.Copy(io.Discard, c)
		}()
		pool := x509.NewCertPool()
		pool.AddCert(r.public.cert)
		c := tls.Client(client, &tls.Config{ServerName: "inner.example", RootCAs: pool, EncryptedClientHelloConfigList: list, MinVersion: tls.VersionTLS13})
		err := c.Handshake()
		return c.ConnectionState(), err
	}
	state, err := handshake(ech.List(configs))
	if err != nil || !state.ECHAccepted || state.PeerCertificates[0].DNSNames[0] != "inner.example" {
		t.Errorf("accepted %v, %v", state.ECHAccepted, err)
	}
	// A client with an old key is told the new one, under the certificate of the outer name.
	stale, err := ech.New(configs[0].ID+1, "outer.example", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, err = handshake(ech.List([]*ech.Config{stale}))
	var rejected *tls.ECHRejectionError
	if !errors.As(err, &rejected) || !bytes.Equal(rejected.RetryConfigList, ech.List(configs)) {
		t.Errorf("with an old key: %v", err)
	}
	again := newRig(t, s) // keys outlive the process
	again.load(`{"encrypted_client_hello":{"configs":[{"public_name":"outer.example"}]}}`)
	until(t, "the key is read", func() bool { k, _ := again.m.ECHKeys(nil); return len(k) == 1 })
	if k, _ := again.m.ECHKeys(nil); !bytes.Equal(k[0].Config, configs[0].Raw) {
		t.Error("a new key was made although there is one")
	}
	again.load(`{}`)
	if k, _ := again.m.ECHKeys(nil); len(k) != 0 {
		t.Error("keys without a document")
	}
}

func TestCleaning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory()
		r := newRig(t, s)
		defer r.m.Close()
		put := func(name string, after time.Duration) string {
			cert, key := r.public.pair(time.Now().Add(-400*24*time.Hour), time.Now().Add(after), name)
			for ext, text := range map[string]string{"crt": cert, "key": key, "json": "{}"} {
				_ = s.Store(t.Context(), "certificates/public/"+name+"/"+name+"."+ext, []byte(text))
			}
			return "certificates/public/" + name
		}
		old, young := put("old.example", -15*24*time.Hour), put("young.example", -24*time.Hour)
		_ = s.Store(t.Context(), "acme/ca/challenge_tokens/left.example.json", []byte("{}"))
		_ = s.Store(t.Context(), "acme/ca/users/default/default.json", []byte("{}"))
		r.load(`{"disable_storage_clean":true,"automation":{"storage_clean_interval":"48h"}}`)
		time.Sleep(50 * time.Hour)
		synctest.Wait()
		if !s.Exists(t.Context(), old) {
			t.Fatal("cleaned although that is off")
		}
		r.load(`{"automation":{"storage_clean_interval":"48h"}}`)
		time.Sleep(49 * time.Hour)
		synctest.Wait()
		if s.Exists(t.Context(), old) {
			t.Error("an old certificate is still there")
		}
		if !s.Exists(t.Context(), young) {
			t.Error("a certificate that has just expired is gone")
		}
		if s.Exists(t.Context(), "acme/ca/challenge_tokens/left.example.json") || !s.Exists(t.Context(), "acme/ca/users/default/default.json") {
			t.Error("an old challenge is still there, or an account is not")
		}
		id, err := s.Load(t.Context(), "instance.uuid")
		if err != nil || len(id) != 36 {
			t.Errorf("instance.uuid: %q, %v", id, err)
		}
		if again, _ := instanceID(t.Context(), s); again != string(id) {
			t.Error("the id has changed")
		}
		if text, err := s.Load(t.Context(), "last_clean.json"); err != nil || !strings.Contains(string(text), string(id)) {
			t.Errorf("last_clean.json: %s, %v", text, err)
		}
	})
}

func TestCapacity(t *testing.T) {
	r := newRig(t, newMemory())
	r.load(`{"cache":{"capacity":3}}`)
	var names []string
	for i := range 8 {
		names = append(names, fmt.Sprintf("c%d.example", i))
	}
	r.m.Manage(names, nil)
	until(t, "all are obtained", func() bool { return r.bus.count("tls/cached_managed_cert") >= 8 })
	for _, n := range names { // those that were pushed out come back from the storage
		if by := r.issuer(n); by != "public" {
			t.Errorf("%s is served by %q", n, by)
		}
	}
	if r.public.total() != 8 {
		t.Errorf("%d certificates were issued, want 8", r.public.total())
	}
	list := r.m.Certificates() // they are told of although they are not in memory
	if len(list) != 8 || slices.ContainsFunc(list, func(c CertificateStatus) bool { return c.Renewal != RenewalValid || c.NotAfter == nil }) {
		t.Errorf("%+v", list)
	}
}
