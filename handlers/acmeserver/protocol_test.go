package acmeserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

type object = map[string]any

// client is an account whose requests are made by hand.
type client struct {
	*world
	key *ecdsa.PrivateKey
	kid string
}

func (w *world) newClient() *client {
	w.t.Helper()
	c := &client{world: w, key: newKeyPair(w.t)}
	r := w.post("/acme/local/new-account", signed{key: c.key, payload: object{"termsOfServiceAgreed": true}})
	if r.status != http.StatusCreated {
		w.t.Fatalf("%d %s", r.status, r.body)
	}
	c.kid = r.header.Get("Location")
	return c
}

// send signs with the account.
func (c *client) send(path string, payload any) reply {
	c.t.Helper()
	return c.post(path, signed{key: c.key, kid: c.kid, payload: payload})
}

// path is the path of a URL of the server.
func (w *world) path(text string) string {
	w.t.Helper()
	u, err := url.Parse(text)
	if err != nil || u.Host != w.host() || u.Scheme != "https" {
		w.t.Fatalf("%q is no URL of the server", text)
	}
	return u.RequestURI()
}

type orderView struct {
	Status         string       `json:"status"`
	Expires        time.Time    `json:"expires"`
	Identifiers    []identifier `json:"identifiers"`
	Authorizations []string     `json:"authorizations"`
	Finalize       string       `json:"finalize"`
	Certificate    string       `json:"certificate"`
	Error          *problem     `json:"error"`
}

func (r reply) order(t testing.TB) (o orderView) {
	t.Helper()
	if r.status >= 300 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if err := json.Unmarshal(r.body, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func names(list ...string) object {
	ids := []object{}
	for _, name := range list {
		kind := "dns"
		if net.ParseIP(name) != nil {
			kind = "ip"
		}
		ids = append(ids, object{"type": kind, "value": name})
	}
	return object{"identifiers": ids}
}

func (c *client) order(list ...string) (o orderView, path string) {
	c.t.Helper()
	r := c.send("/acme/local/new-order", names(list...))
	return r.order(c.t), c.path(r.header.Get("Location"))
}

// approve has all that an order asks for be shown, without asking.
func (w *world) approve(path string) {
	w.t.Helper()
	s := w.handler.Load().state
	id := path[strings.LastIndexByte(path, '/')+1:]
	var o *order
	if err := s.store.update(func(t tx) (err error) {
		if o, err = t.order(id); err != nil {
			return err
		}
		for i := range o.Authz {
			o.Authz[i].Challenges[0].Status = statusProcessing
		}
		return t.putOrder(o)
	}); err != nil {
		w.t.Fatal(err)
	}
	for i := range o.Authz {
		if err := s.checked(id, i, o.Authz[i].Challenges[0].Type, nil); err != nil {
			w.t.Fatal(err)
		}
	}
}

func csrOf(t testing.TB, key any, cn string, sans ...string) string {
	t.Helper()
	req := &x509.CertificateRequest{Subject: pkix.Name{CommonName: cn}}
	for _, s := range sans {
		switch ip := net.ParseIP(s); {
		case ip != nil:
			req.IPAddresses = append(req.IPAddresses, ip)
		case strings.Contains(s, "@"):
			req.EmailAddresses = append(req.EmailAddresses, s)
		default:
			req.DNSNames = append(req.DNSNames, s)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, req, key)
	if err != nil {
		t.Fatal(err)
	}
	return encode(der)
}

// issue gets a certificate.
func (c *client) issue(list ...string) (leaf *x509.Certificate, key *ecdsa.PrivateKey, orderPath string) {
	c.t.Helper()
	o, path := c.order(list...)
	c.approve(path)
	key = newKeyPair(c.t)
	o = c.send(c.path(o.Finalize), object{"csr": csrOf(c.t, key, "", list...)}).order(c.t)
	if o.Status != statusValid {
		c.t.Fatalf("the order is %s", o.Status)
	}
	r := c.send(c.path(o.Certificate), nil)
	if r.status != 200 || r.header.Get("Content-Type") != "application/pem-certificate-chain" {
		c.t.Fatalf("%d %s", r.status, r.body)
	}
	return parseChain(c.t, r.body)[0], key, path
}

func TestDirectory(t *testing.T) {
	w := newWorld(t, "")
	r := w.do(http.MethodGet, "/acme/local/directory", "", nil)
	base := w.server.URL + "/acme/local/"
	want := fmt.Sprintf(`{"newNonce":"%[1]snew-nonce","newAccount":"%[1]snew-account","newOrder":"%[1]snew-order","revokeCert":"%[1]srevoke-cert","keyChange":"%[1]skey-change"}`+"\n", base)
	if r.status != 200 || string(r.body) != want || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", r.status, r.body)
	}
	for method, status := range map[string]int{http.MethodHead: 200, http.MethodGet: 204} {
		if r := w.do(method, "/acme/local/new-nonce", "", nil); r.status != status || r.header.Get("Replay-Nonce") == "" || r.header.Get("Cache-Control") != "no-store" ||
			r.header.Get("Link") != "<"+base+`directory>;rel="index"` {
			t.Errorf("%s: %d %v", method, r.status, r.header)
		}
	}
	for path, want := range map[string]int{"/": 418, "/acme": 418, "/acmex/local/directory": 418, "/acme/": 404, "/acme/local": 404, "/acme/other/directory": 404,
		"/acme/local/": 404, "/acme/local/nothing": 404, "/acme/local/account": 404, "/acme/local/order/a/b": 404, "/acme/local/order/a/finalize/x": 404, "/acme/local/order//finalize": 404,
		"/acme/local/new-order": 405, "/acme/local/order/x": 405, "/acme/local/certificate/x": 405} {
		r := w.do(http.MethodGet, path, "", nil)
		if r.status != want {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
		if want == 404 && r.problem.Type != problemNamespace+"notFound" {
			t.Errorf("%s: %s", path, r.body)
		}
	}
	for _, path := range []string{"/acme/local/directory", "/acme/local/new-nonce"} {
		if r := w.do(http.MethodPut, path, "", nil); r.status != 405 || r.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("PUT %s: %d", path, r.status)
		}
	}

	w.load(`, "host": "ca.example.com:8443", "path_prefix": "pki/x", "ca": "lab"`)
	if r := w.do(http.MethodGet, "/pki/x/lab/directory", "", nil); !strings.Contains(string(r.body), `"newNonce":"https://ca.example.com:8443/pki/x/lab/new-nonce"`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.do(http.MethodGet, "/acme/lab/directory", "", nil); r.status != 418 {
		t.Errorf("%d", r.status)
	}
	// What is signed for the configured host is good, whatever the request says.
	nonce := w.do(http.MethodHead, "/pki/x/lab/new-nonce", "", nil).header.Get("Replay-Nonce")
	if r := w.post("/pki/x/lab/new-account", signed{key: newKeyPair(t), nonce: nonce, url: "https://ca.example.com:8443/pki/x/lab/new-account", payload: object{}}); r.status != 201 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestRequests: what is not a proper JWS is refused, each with its error.
func TestRequests(t *testing.T) {
	w := newWorld(t, "")
	c := w.newClient()
	old := w.nonce()
	if r := w.post("/acme/local/new-order", signed{key: c.key, kid: c.kid, nonce: old, payload: names("a.internal")}); r.status != 201 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	rsaKey := func(bits int) *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	part := func(name string, f func(old json.RawMessage) any) func([]byte) []byte {
		return func(body []byte) []byte {
			var m map[string]json.RawMessage
			if err := json.Unmarshal(body, &m); err != nil {
				t.Fatal(err)
			}
			out := map[string]any{}
			for k, v := range m {
				out[k] = v
			}
			if v := f(m[name]); v != nil {
				out[name] = v
			} else {
				delete(out, name)
			}
			text, _ := json.Marshal(out)
			return text
		}
	}
	set := func(name string, v any) func([]byte) []byte {
		return part(name, func(json.RawMessage) any { return v })
	}
	const order, account = "/acme/local/new-order", "/acme/local/new-account"
	body := names("b.internal")
	for name, x := range map[string]struct {
		path   string
		s      signed
		kind   string
		status int
	}{
		"replay":            {order, signed{key: c.key, kid: c.kid, nonce: old, payload: body}, "badNonce", 400},
		"made-up nonce":     {order, signed{key: c.key, kid: c.kid, nonce: "abc", payload: body}, "badNonce", 400},
		"long nonce":        {order, signed{key: c.key, kid: c.kid, nonce: strings.Repeat("A", 43), payload: body}, "badNonce", 400},
		"other key":         {order, signed{key: newKeyPair(t), kid: c.kid, payload: body}, "malformed", 400},
		"other url":         {order, signed{key: c.key, kid: c.kid, url: w.server.URL + "/acme/local/new-account", payload: body}, "unauthorized", 403},
		"url of http":       {order, signed{key: c.key, kid: c.kid, url: strings.Replace(w.server.URL, "https", "http", 1) + order, payload: body}, "unauthorized", 403},
		"url of other host": {order, signed{key: c.key, kid: c.kid, url: "https://other.example.com" + order, payload: body}, "unauthorized", 403},
		"url with query":    {order, signed{key: c.key, kid: c.kid, url: w.server.URL + order + "?a", payload: body}, "unauthorized", 403},
		"jwk for order":     {order, signed{key: c.key, payload: body}, "malformed", 400},
		"kid for account":   {account, signed{key: c.key, kid: c.kid, payload: object{}}, "malformed", 400},
		"unknown kid":       {order, signed{key: c.key, kid: w.server.URL + "/acme/local/account/nobody", payload: body}, "accountDoesNotExist", 400},
		"kid of other kind": {order, signed{key: c.key, kid: w.server.URL + "/acme/local/order/nobody", payload: body}, "accountDoesNotExist", 400},
		"kid of nothing":    {order, signed{key: c.key, kid: "%zz", payload: body}, "accountDoesNotExist", 400},
		"hmac":              {order, signed{key: bytes.Repeat([]byte{1}, 32), kid: c.kid, alg: jose.HS256, payload: body}, "badSignatureAlgorithm", 400},
		"ps256":             {account, signed{key: rsaKey(2048), alg: jose.PS256, payload: object{}}, "badSignatureAlgorithm", 400},
		"small rsa":         {account, signed{key: rsaKey(1536), alg: jose.RS256, payload: object{}}, "badPublicKey", 400},
		"unknown crit":      {order, signed{key: c.key, kid: c.kid, extra: map[jose.HeaderKey]any{"crit": []string{"exp"}, "exp": 1}, payload: body}, "malformed", 400},
		"b64":               {order, signed{key: c.key, kid: c.kid, extra: map[jose.HeaderKey]any{"b64": true}, payload: body}, "malformed", 400},
		"content type":      {order, signed{key: c.key, kid: c.kid, kind: "application/json", payload: body}, "malformed", 415},
		"not json":          {order, signed{key: c.key, kid: c.kid, change: func([]byte) []byte { return []byte("hello") }}, "malformed", 400},
		"empty":             {order, signed{key: c.key, kid: c.kid, change: func([]byte) []byte { return nil }}, "malformed", 400},
		"compact": {order, signed{key: c.key, kid: c.kid, payload: body, change: func(b []byte) []byte {
			var m message
			_ = json.Unmarshal(b, &m)
			return []byte(m.Protected + "." + *m.Payload + "." + m.Signature)
		}}, "malformed", 400},
		"deep":              {order, signed{key: c.key, kid: c.kid, change: func([]byte) []byte { return bytes.Repeat([]byte("["), 100_000) }}, "malformed", 400},
		"too long":          {order, signed{key: c.key, kid: c.kid, change: func(b []byte) []byte { return append(b, bytes.Repeat([]byte(" "), maxBody)...) }}, "malformed", 413},
		"header":            {order, signed{key: c.key, kid: c.kid, payload: body, change: set("header", object{"x": 1})}, "malformed", 400},
		"signatures":        {order, signed{key: c.key, kid: c.kid, payload: body, change: set("signatures", []object{{}})}, "malformed", 400},
		"no payload":        {order, signed{key: c.key, kid: c.kid, payload: body, change: set("payload", nil)}, "malformed", 400},
		"no signature":      {order, signed{key: c.key, kid: c.kid, payload: body, change: set("signature", nil)}, "malformed", 400},
		"changed payload":   {order, signed{key: c.key, kid: c.kid, payload: body, change: set("payload", encode([]byte(`{"identifiers":[]}`)))}, "malformed", 400},
		"no protected":      {order, signed{key: c.key, kid: c.kid, payload: body, change: set("protected", "")}, "malformed", 400},
		"bad protected":     {order, signed{key: c.key, kid: c.kid, payload: body, change: set("protected", "!!")}, "malformed", 400},
		"protected no json": {order, signed{key: c.key, kid: c.kid, payload: body, change: set("protected", encode([]byte("x")))}, "malformed", 400},
		"private jwk": {account, signed{key: c.key, payload: object{}, change: func(b []byte) []byte {
			key, _ := json.Marshal(jose.JSONWebKey{Key: c.key})
			return set("protected", encode([]byte(`{"alg":"ES256","nonce":"x","url":"x","jwk":`+string(key)+`}`)))(b)
		}}, "malformed", 400},
		"payload no json":   {order, signed{key: c.key, kid: c.kid, payload: "hello"}, "malformed", 400},
		"payload of types":  {order, signed{key: c.key, kid: c.kid, payload: object{"identifiers": "a"}}, "malformed", 400},
		"payload for get":   {strings.TrimPrefix(c.kid, w.server.URL) + "/orders", signed{key: c.key, kid: c.kid, payload: object{}}, "malformed", 400},
		"someone's account": {"/acme/local/account/other", signed{key: c.key, kid: c.kid}, "unauthorized", 403},
		"unknown order":     {"/acme/local/order/other", signed{key: c.key, kid: c.kid}, "notFound", 404},
		"unknown authz":     {"/acme/local/authz/other.0", signed{key: c.key, kid: c.kid}, "notFound", 404},
		"authz of no form":  {"/acme/local/authz/other", signed{key: c.key, kid: c.kid}, "notFound", 404},
		"unknown challenge": {"/acme/local/challenge/other.0/http-01", signed{key: c.key, kid: c.kid, payload: object{}}, "notFound", 404},
		"unknown cert":      {"/acme/local/certificate/other", signed{key: c.key, kid: c.kid}, "notFound", 404},
	} {
		r := w.post(x.path, x.s)
		r.want(t, name, x.kind, x.status)
		if x.kind == "badSignatureAlgorithm" && !slices.Contains(r.problem.Algorithms, "ES256") {
			t.Errorf("%s: the algorithms are not listed: %s", name, r.body)
		}
	}
	if n := w.count(bucketOrders); n != 1 {
		t.Errorf("%d orders", n)
	}
	// A nonce that an error has given is as good as any.
	r := w.post(order, signed{key: c.key, kid: c.kid, nonce: "x", payload: body})
	if r := w.post(order, signed{key: c.key, kid: c.kid, nonce: r.header.Get("Replay-Nonce"), payload: body}); r.status != 201 {
		t.Errorf("%d %s", r.status, r.body)
	}
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	for alg, key := range map[jose.SignatureAlgorithm]any{jose.EdDSA: ed, jose.ES384: p384, jose.ES512: p521, jose.RS256: rsaKey(2048)} {
		r := w.post(account, signed{key: key, alg: alg, payload: object{}})
		if r.status != 201 {
			t.Errorf("%s: %d %s", alg, r.status, r.body)
			continue
		}
		if r := w.post(w.path(r.header.Get("Location")), signed{key: key, alg: alg, kid: r.header.Get("Location")}); r.status != 200 {
			t.Errorf("%s: %d %s", alg, r.status, r.body)
		}
	}
}

func TestAccounts(t *testing.T) {
	w := newWorld(t, "")
	key := newKeyPair(t)
	const path = "/acme/local/new-account"
	w.post(path, signed{key: key, payload: object{"onlyReturnExisting": true}}).want(t, "none yet", "accountDoesNotExist", 400)
	for contact, kind := range map[string]string{"mailto:": "invalidContact", "mailto:a@b,c@d": "invalidContact", "mailto:a@b.c?subject=x": "invalidContact", "mailto:Name <a@b.c>": "invalidContact",
		"tel:123": "unsupportedContact", "a@b.c": "unsupportedContact", "%": "invalidContact", "mailto:" + strings.Repeat("a", 400) + "@b.c": "invalidContact"} {
		w.post(path, signed{key: key, payload: object{"contact": []string{contact}}}).want(t, contact, kind, 400)
	}
	w.post(path, signed{key: key, payload: object{"contact": slices.Repeat([]string{"mailto:a@b.c"}, 11)}}).want(t, "many", "invalidContact", 400)
	if n := w.count(bucketAccounts); n != 0 {
		t.Fatalf("%d accounts", n)
	}
	// An account of a CA with external accounts may come here too: it is not needed.
	made := w.post(path, signed{key: key, payload: object{"contact": []string{"mailto:a@b.c"}, "termsOfServiceAgreed": true, "externalAccountBinding": object{"payload": "x"}}})
	kid := made.header.Get("Location")
	if made.status != 201 || !strings.HasPrefix(string(made.body), `{"status":"valid","contact":["mailto:a@b.c"],"termsOfServiceAgreed":true,"orders":"`+kid+`/orders"}`) {
		t.Fatalf("%d %s", made.status, made.body)
	}
	for _, payload := range []object{{}, {"onlyReturnExisting": true}, {"contact": []string{"mailto:other@b.c"}}} {
		if r := w.post(path, signed{key: key, payload: payload}); r.status != 200 || r.header.Get("Location") != kid || !bytes.Equal(r.body, made.body) {
			t.Errorf("%v: %d %s", payload, r.status, r.body)
		}
	}
	c := &client{w, key, kid}
	if r := c.send(w.path(kid), object{"contact": []string{"mailto:new@b.c"}}); r.status != 200 || !strings.Contains(string(r.body), "new@b.c") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := c.send(w.path(kid), nil); r.status != 200 || !strings.Contains(string(r.body), "new@b.c") {
		t.Errorf("%d %s", r.status, r.body)
	}
	c.send(w.path(kid), object{"status": "revoked"}).want(t, "other status", "malformed", 400)
	c.send(w.path(kid), object{"contact": []string{"x"}}).want(t, "bad contact", "unsupportedContact", 400)

	// The key can be another, and then the first one is free.
	other, taken := newKeyPair(t), w.newClient()
	inner := func(key any, url string, payload object) any {
		s := signed{key: key, payload: payload}
		return string(s.sign(t, url, ""))
	}
	change := w.server.URL + "/acme/local/key-change"
	right := object{"account": kid, "oldKey": jose.JSONWebKey{Key: key.Public()}}
	for name, x := range map[string]struct {
		payload any
		status  int
	}{
		"no jws":        {object{}, 400},
		"other url":     {inner(other, w.server.URL+path, right), 400},
		"other account": {inner(other, change, object{"account": taken.kid, "oldKey": right["oldKey"]}), 400},
		"other old key": {inner(other, change, object{"account": kid, "oldKey": jose.JSONWebKey{Key: other.Public()}}), 400},
		"no old key":    {inner(other, change, object{"account": kid}), 400},
		"taken":         {inner(taken.key, change, right), 409},
	} {
		r := c.send("/acme/local/key-change", x.payload)
		r.want(t, name, "malformed", x.status)
		if x.status == 409 && r.header.Get("Location") != taken.kid {
			t.Errorf("%s: %v", name, r.header)
		}
	}
	if r := c.send("/acme/local/key-change", inner(other, change, right)); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	c.send(w.path(kid), nil).want(t, "old key", "malformed", 400)
	w.post(path, signed{key: key, payload: object{"onlyReturnExisting": true}}).want(t, "the first key", "accountDoesNotExist", 400)
	c.key = other
	o, _ := c.order("a.internal")
	// The client library does the same.
	lib := w.raw(nil).Client
	rolled, err := lib.AccountKeyRollover(t.Context(), acme.Account{Location: kid, PrivateKey: other}, key)
	if err != nil || rolled.Location != kid {
		t.Errorf("%+v, %v", rolled, err)
	}
	c.key = key

	if r := c.send(w.path(kid), object{"status": "deactivated"}); r.status != 200 || !strings.Contains(string(r.body), `"status":"deactivated"`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	c.send(w.path(kid), nil).want(t, "deactivated", "unauthorized", 403)
	c.send(w.path(o.Finalize), object{}).want(t, "deactivated", "unauthorized", 403)
	w.post(path, signed{key: key, payload: object{}}).want(t, "deactivated", "unauthorized", 403)
}

func TestOrders(t *testing.T) {
	w := newWorld(t, "")
	c, stranger := w.newClient(), w.newClient()
	o, path := c.order("A.internal", "*.internal", "a.internal", "2001:DB8:0::1")
	if want := []identifier{{"dns", "a.internal"}, {"dns", "*.internal"}, {"ip", "2001:db8::1"}}; !slices.Equal(o.Identifiers, want) || o.Status != statusPending ||
		len(o.Authorizations) != 3 || o.Expires.Before(time.Now().Add(time.Hour)) {
		t.Fatalf("%+v", o)
	}
	for i, want := range []string{
		`{"identifier":{"type":"dns","value":"a.internal"},"status":"pending","expires":"E","challenges":[http-01 dns-01 tls-alpn-01]}`,
		`{"identifier":{"type":"dns","value":"internal"},"status":"pending","expires":"E","challenges":[dns-01],"wildcard":true}`,
		`{"identifier":{"type":"ip","value":"2001:db8::1"},"status":"pending","expires":"E","challenges":[http-01 tls-alpn-01]}`,
	} {
		r := c.send(w.path(o.Authorizations[i]), nil)
		var v struct {
			Challenges []challengeView `json:"challenges"`
		}
		if err := json.Unmarshal(r.body, &v); err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, ch := range v.Challenges {
			kinds = append(kinds, ch.Type)
			if ch.Status != statusPending || len(ch.Token) < 22 || ch.URL != w.server.URL+"/acme/local/challenge/"+o.Authorizations[i][strings.LastIndexByte(o.Authorizations[i], '/')+1:]+"/"+ch.Type {
				t.Errorf("%+v", ch)
			}
		}
		got := strings.Replace(string(r.body), o.Expires.Format(time.RFC3339), "E", 1)
		a, b := strings.Index(got, `"challenges":[`)+len(`"challenges":[`), strings.LastIndex(got, "]")
		if got = got[:a] + strings.Join(kinds, " ") + got[b:]; got != want+"\n" {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		stranger.send(w.path(o.Authorizations[i]), nil).want(t, "stranger", "unauthorized", 403)
	}
	for _, p := range []string{path, w.path(o.Finalize)} {
		stranger.send(p, map[bool]any{true: object{"csr": ""}}[p != path]).want(t, "stranger", "unauthorized", 403)
	}
	c.send("/acme/local/authz/"+path[strings.LastIndexByte(path, '/')+1:]+".3", nil).want(t, "authz 3", "notFound", 404)
	c.send("/acme/local/challenge/"+path[strings.LastIndexByte(path, '/')+1:]+".1/http-01", nil).want(t, "challenge that is not offered", "notFound", 404)
	c.send(w.path(o.Finalize), object{"csr": csrOf(t, newKeyPair(t), "", "a.internal")}).want(t, "not ready", "orderNotReady", 403)

	for name, x := range map[string]struct {
		payload any
		kind    string
		status  int
	}{
		"none":        {object{}, "malformed", 400},
		"many":        {names(slices.Repeat([]string{"a.internal"}, 101)...), "malformed", 400},
		"type":        {object{"identifiers": []object{{"type": "email", "value": "a@b"}}}, "unsupportedIdentifier", 400},
		"empty":       {names(""), "rejectedIdentifier", 403},
		"dot":         {names("a.internal."), "rejectedIdentifier", 403},
		"space":       {names("a b"), "rejectedIdentifier", 403},
		"unicode":     {names("bücher.internal"), "rejectedIdentifier", 403},
		"long":        {names(strings.Repeat("a", 10_000)), "rejectedIdentifier", 403},
		"label":       {names(strings.Repeat("a", 64) + ".internal"), "rejectedIdentifier", 403},
		"dash":        {names("-a.internal"), "rejectedIdentifier", 403},
		"two stars":   {names("*.*.internal"), "rejectedIdentifier", 403},
		"star":        {names("*"), "rejectedIdentifier", 403},
		"middle star": {names("a.*.internal"), "rejectedIdentifier", 403},
		"ip as dns":   {object{"identifiers": []object{{"type": "dns", "value": "10.0.0.1"}}}, "rejectedIdentifier", 403},
		"dns as ip":   {object{"identifiers": []object{{"type": "ip", "value": "a.internal"}}}, "rejectedIdentifier", 403},
		"zone":        {object{"identifiers": []object{{"type": "ip", "value": "fe80::1%eth0"}}}, "rejectedIdentifier", 403},
		"mapped":      {object{"identifiers": []object{{"type": "ip", "value": "::ffff:10.0.0.1"}}}, "rejectedIdentifier", 403},
	} {
		r := c.send("/acme/local/new-order", x.payload)
		r.want(t, name, x.kind, x.status)
		if x.kind == "rejectedIdentifier" && (r.problem.Identifier == nil || len(r.body) > 1000) {
			t.Errorf("%s: %s", name, r.body)
		}
	}
	r := c.send("/acme/local/new-order", names("fine.internal", "-a", "b c"))
	r.want(t, "two", "rejectedIdentifier", 403)
	if len(r.problem.Subproblems) != 2 || r.problem.Subproblems[1].Identifier.Value != "b c" || r.problem.Identifier != nil {
		t.Errorf("%s", r.body)
	}
}

func TestFinalize(t *testing.T) {
	w := newWorld(t, "")
	c := w.newClient()
	key := newKeyPair(t)
	o, path := c.order("a.internal", "10.0.0.1")
	w.approve(path)
	if got := c.send(path, nil).order(t); got.Status != statusReady || got.Certificate != "" {
		t.Fatalf("%+v", got)
	}
	tiny, err := rsa.GenerateKey(rand.Reader, 1536)
	if err != nil {
		t.Fatal(err)
	}
	broken := []byte(csrOf(t, key, "", "a.internal", "10.0.0.1"))
	broken[len(broken)-6] ^= 1
	for name, x := range map[string]struct{ csr, kind string }{
		"nothing":       {"", "badCSR"},
		"padding":       {"AA==", "badCSR"},
		"no csr":        {encode([]byte("hello")), "badCSR"},
		"fewer":         {csrOf(t, key, "", "a.internal"), "badCSR"},
		"more":          {csrOf(t, key, "", "a.internal", "10.0.0.1", "b.internal"), "badCSR"},
		"other cn":      {csrOf(t, key, "b.internal", "a.internal", "10.0.0.1"), "badCSR"},
		"e-mail":        {csrOf(t, key, "", "a.internal", "10.0.0.1", "a@b.c"), "badCSR"},
		"account's key": {csrOf(t, c.key, "", "a.internal", "10.0.0.1"), "badCSR"},
		"signature":     {string(broken), "badCSR"},
		"small key":     {csrOf(t, tiny, "", "a.internal", "10.0.0.1"), "badPublicKey"},
	} {
		c.send(w.path(o.Finalize), object{"csr": x.csr}).want(t, name, x.kind, 400)
	}
	c.send("/acme/local/certificate/"+path[strings.LastIndexByte(path, '/')+1:], nil).want(t, "too early", "notFound", 404)
	got := c.send(w.path(o.Finalize), object{"csr": csrOf(t, key, "A.internal", "10.0.0.1")}).order(t)
	if got.Status != statusValid || got.Certificate == "" {
		t.Fatalf("%+v", got)
	}
	c.send(w.path(o.Finalize), object{"csr": csrOf(t, key, "", "a.internal", "10.0.0.1")}).want(t, "again", "orderNotReady", 403)
	w.newClient().send(w.path(got.Certificate), nil).want(t, "stranger", "unauthorized", 403)
	c.send(w.path(got.Certificate), object{}).want(t, "payload", "malformed", 400)
	if n := w.count(bucketCertificates); n != 1 {
		t.Errorf("%d certificates", n)
	}
}

// TestTimes: a client may ask for a time of validity.
func TestTimes(t *testing.T) {
	w := newWorld(t, "")
	c := w.newClient()
	now := time.Now().Truncate(time.Second)
	for name, x := range map[string]struct {
		from, until time.Duration // 0 for none
		ok          bool
	}{
		"a day":    {0, 24 * time.Hour, true},
		"tomorrow": {24 * time.Hour, 26 * time.Hour, true},
		"from":     {time.Hour, 0, true},
		"short":    {0, 4 * time.Minute, false},
		"years":    {0, 2 * maxLifetime, false},
		"beyond":   {0, 8 * 24 * time.Hour, false}, // the intermediate has 7 days
		"inverted": {2 * time.Hour, time.Hour, false},
		"past":     {-48 * time.Hour, -24 * time.Hour, false},
		"old":      {-48 * time.Hour, 24 * time.Hour, false},
	} {
		payload := names("a.internal")
		if x.from != 0 {
			payload["notBefore"] = now.Add(x.from).Format(time.RFC3339)
		}
		if x.until != 0 {
			payload["notAfter"] = now.Add(x.until).Format(time.RFC3339)
		}
		r := c.send("/acme/local/new-order", payload)
		if !x.ok {
			r.want(t, name, "malformed", 400)
			continue
		}
		o := r.order(t)
		w.approve(w.path(r.header.Get("Location")))
		o = c.send(w.path(o.Finalize), object{"csr": csrOf(t, newKeyPair(t), "", "a.internal")}).order(t)
		leaf := parseChain(t, c.send(w.path(o.Certificate), nil).body)[0]
		if x.from != 0 && !leaf.NotBefore.Equal(now.Add(x.from)) || x.until != 0 && !leaf.NotAfter.Equal(now.Add(x.until)) {
			t.Errorf("%s: from %s to %s", name, leaf.NotBefore, leaf.NotAfter)
		}
		if x.until == 0 && leaf.NotAfter.Sub(leaf.NotBefore) != 12*time.Hour {
			t.Errorf("%s: for %s", name, leaf.NotAfter.Sub(leaf.NotBefore))
		}
	}
}

func TestRevoke(t *testing.T) {
	w := newWorld(t, "")
	c, stranger := w.newClient(), w.newClient()
	const path = "/acme/local/revoke-cert"
	revoke := func(leaf *x509.Certificate) object { return object{"certificate": encode(leaf.Raw), "reason": 1} }
	first, key, _ := c.issue("a.internal", "b.internal")
	second, _, _ := c.issue("a.internal")
	third, _, _ := c.issue("10.0.0.1")
	c.send(path, object{"certificate": "AA=="}).want(t, "padding", "malformed", 400)
	c.send(path, object{"certificate": encode([]byte("x"))}).want(t, "no certificate", "malformed", 400)
	for _, reason := range []int{-1, 2, 6, 7, 10} {
		c.send(path, object{"certificate": encode(first.Raw), "reason": reason}).want(t, "reason", "badRevocationReason", 400)
	}
	c.send(path, revoke(w.server.Certificate())).want(t, "of another", "notFound", 404)
	stranger.send(path, revoke(first)).want(t, "stranger", "unauthorized", 403)
	w.post(path, signed{key: newKeyPair(t), payload: revoke(first)}).want(t, "another key", "unauthorized", 403)
	if r := w.post(path, signed{key: key, payload: revoke(first)}); r.status != 200 || len(r.body) > 0 {
		t.Errorf("with its key: %d %s", r.status, r.body)
	}
	c.send(path, revoke(first)).want(t, "again", "alreadyRevoked", 400)
	// Who has all the names may revoke.
	_, half := stranger.order("b.internal")
	w.approve(half)
	stranger.send(path, revoke(second)).want(t, "with another name", "unauthorized", 403)
	_, whole := stranger.order("x.internal", "a.internal")
	w.approve(whole)
	if r := stranger.send(path, revoke(second)); r.status != 200 {
		t.Errorf("with the names: %d %s", r.status, r.body)
	}
	if r := c.send(path, revoke(third)); r.status != 200 {
		t.Errorf("by its account: %d %s", r.status, r.body)
	}
}

// TestDeactivateAuthz: what was shown can be taken back.
func TestDeactivateAuthz(t *testing.T) {
	w := newWorld(t, "")
	c := w.newClient()
	o, path := c.order("a.internal")
	w.approve(path)
	c.send(w.path(o.Authorizations[0]), object{"status": "valid"}).want(t, "other status", "malformed", 400)
	if r := c.send(w.path(o.Authorizations[0]), object{"status": "deactivated"}); r.status != 200 || !strings.Contains(string(r.body), `"status":"deactivated"`) {
		t.Errorf("%d %s", r.status, r.body)
	}
	c.send(w.path(o.Authorizations[0]), object{"status": "deactivated"}).want(t, "again", "malformed", 400)
	if got := c.send(path, nil).order(t); got.Status != statusInvalid || got.Error == nil {
		t.Errorf("%+v", got)
	}
	c.send(w.path(o.Finalize), object{"csr": csrOf(t, newKeyPair(t), "", "a.internal")}).want(t, "finalize", "orderNotReady", 403)
}

// TestOrdersList reads the list of orders in pages.
func TestOrdersList(t *testing.T) {
	w := newWorld(t, "")
	c, other := w.newClient(), w.newClient()
	var all []string
	for range ordersPage + 5 {
		o, path := c.order("a.internal")
		_ = o
		all = append(all, w.server.URL+path)
	}
	_, foreign := other.order("a.internal")
	list := func(path string) (orders []string, next string) {
		r := c.send(path, nil)
		var v struct{ Orders []string }
		if err := json.Unmarshal(r.body, &v); err != nil || r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		for _, l := range r.header.Values("Link") {
			if target, ok := strings.CutSuffix(l, `>;rel="next"`); ok {
				next = target[1:]
			}
		}
		return v.Orders, next
	}
	first, next := list(w.path(c.kid + "/orders"))
	second, end := list(w.path(next))
	if got := slices.Concat(first, second); !slices.Equal(got, all) || len(first) != ordersPage || end != "" {
		t.Errorf("%d and %d orders", len(first), len(second))
	}
	c.send(w.path(c.kid+"/orders?cursor="+foreign[strings.LastIndexByte(foreign, '/')+1:]), nil).want(t, "foreign cursor", "notFound", 404)
	c.send(w.path(other.kid+"/orders"), nil).want(t, "of another", "unauthorized", 403)
}

// TestSignWithRoot: the chain is the leaf alone.
func TestSignWithRoot(t *testing.T) {
	w := newWorld(t, "")
	w.load(`, "sign_with_root": true, "lifetime": "720h"`)
	web := hostless{newHTTPSolver(t, w.httpPort), w.httpPort}
	c := w.raw(map[string]acmez.Solver{http01: web})
	certs, err := c.ObtainCertificateForSANs(t.Context(), w.account(c.Client), newKeyPair(t), []string{"a.internal"})
	if err != nil {
		t.Fatal(err)
	}
	chain := parseChain(t, certs[0].ChainPEM)
	if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: "a.internal", Roots: w.roots("local")}); err != nil || len(chain) != 1 {
		t.Errorf("%d certificates, %v", len(chain), err)
	}
	if d := time.Until(chain[0].NotAfter); d < 719*time.Hour || d > 721*time.Hour {
		t.Errorf("valid for %s", d)
	}
}
