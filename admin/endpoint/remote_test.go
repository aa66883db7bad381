package endpoint

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/admin/identity"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/internal/acmetest"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/certstore"
	"github.com/sluiceproxy/sluice/server/pki"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
	"go.uber.org/zap"
)

// offline is an issuer that nobody answers.
type offline struct{}

func (offline) Key() string                                     { return "offline" }
func (offline) IssuerKey() string                               { return "offline" }
func (offline) With(issuance.Defaults) (issuance.Issuer, error) { return offline{}, nil }
func (offline) Issuer(*certmagic.Config) certmagic.Issuer       { return offline{} }
func (offline) Issue(context.Context, *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	return nil, errors.New("nobody answers")
}

// addIdentity provides what certificates need.
func (l *loader) addIdentity(services module.Services) {
	l.files = certstore.NewFileSystem(l.t.TempDir())
	authorities := pki.NewAuthorities(pki.Options{Storage: l.files})
	l.t.Cleanup(authorities.Close)
	l.roots = func() *x509.CertPool {
		a, err := authorities.Get(pki.DefaultID)
		if err != nil {
			l.t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AddCert(a.Root())
		return pool
	}
	l.identity = identity.New(identity.Options{Storage: l.files, Default: offline{}, Log: zap.NewNop()})
	l.t.Cleanup(l.identity.Close)
	module.Provide(services, authorities)
	module.Provide(services, l.identity)
}

// person is a client with a certificate, which it has signed itself if by is nil.
type person struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newPerson(t *testing.T, name string, by *person) *person {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: by == nil, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	parent, signer := tmpl, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t, key, cert}
}

// text is the certificate as a document has it.
func (p *person) text() string { return base64.StdEncoding.EncodeToString(p.cert.Raw) }

// shown is what the person shows in handshakes; nobody shows nothing.
func (p *person) shown() []tls.Certificate {
	if p == nil {
		return nil
	}
	return []tls.Certificate{{Certificate: [][]byte{p.cert.Raw}, PrivateKey: p.key}}
}

// rule is an access rule for persons.
func rule(permissions string, who ...*person) string {
	var keys []string
	for _, p := range who {
		keys = append(keys, `"`+p.text()+`"`)
	}
	if permissions != "" {
		permissions = `,"permissions":` + permissions
	}
	return `{"public_keys":[` + strings.Join(keys, ",") + `]` + permissions + `}`
}

const identityJSON = `"identity":{"identifiers":["sluice.test"],"issuers":[{"module":"internal"}]}`

// remoteJSON is an admin object with a remote endpoint at an address.
func remoteJSON(listen, more string, rules ...string) string {
	return `{` + identityJSON + more + `,"remote":{"listen":"` + listen + `","access_control":[` + strings.Join(rules, ",") + `]}}`
}

// remoteWhere is the only remote address, once the certificate is there.
func (l *loader) remoteWhere() string {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	if _, err := l.identity.ClientCertificate(ctx); err != nil {
		l.t.Fatal(err)
	}
	list := l.sockets.RemoteAddresses()
	if len(list) != 1 {
		l.t.Fatalf("open remote addresses: %v", list)
	}
	return strings.TrimPrefix(list[0], "tcp/")
}

// dialTLS connects to a remote endpoint. With TLS 1.3 it does not fail where the
// server refuses the client: the first answer does.
func (l *loader) dialTLS(address string, p *person, change ...func(*tls.Config)) (*client, error) {
	l.t.Helper()
	cfg := &tls.Config{RootCAs: l.roots(), ServerName: "sluice.test", Certificates: p.shown()}
	for _, f := range change {
		f(cfg)
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: cfg}
	conn, err := dialer.DialContext(l.t.Context(), "tcp", address)
	if err != nil {
		return nil, err
	}
	l.t.Cleanup(func() { conn.Close() })
	return &client{l.t, conn, newReader(conn), address}, nil
}

func (l *loader) mustDial(address string, p *person, change ...func(*tls.Config)) *client {
	l.t.Helper()
	c, err := l.dialTLS(address, p, change...)
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// answer is what came back.
type answer struct {
	status int
	text   string
	close  bool
	header http.Header
}

// try makes a request on the connection; an error is for one that is refused.
func (c *client) try(method, path, body string, header ...string) (answer, error) {
	_ = c.conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c.conn, "%s %s HTTP/1.1\r\nHost: anything\r\nContent-Length: %d\r\n", method, path, len(body))
	for _, h := range header {
		fmt.Fprintf(c.conn, "%s\r\n", h)
	}
	fmt.Fprintf(c.conn, "\r\n%s", body)
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return answer{}, err
	}
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(text), resp.Close, resp.Header}, err
}

func (c *client) want(status int, part, method, path, body string, header ...string) answer {
	c.t.Helper()
	a, err := c.try(method, path, body, header...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	if a.status != status || !strings.Contains(a.text, part) {
		c.t.Errorf("%s %s: %d %s, want %d with %q", method, path, a.status, a.text, status, part)
	}
	return a
}

// refused requires that the connection gives no answer at all.
func (l *loader) refused(what, address string, p *person) {
	l.t.Helper()
	c, err := l.dialTLS(address, p)
	if err != nil {
		return
	}
	if a, err := c.try("GET", "/config/", ""); err == nil {
		l.t.Errorf("%s: %d %s", what, a.status, a.text)
	}
}

func TestRemoteClients(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	ada, ca := newPerson(t, "ada", nil), newPerson(t, "ca", nil)
	bob, eve := newPerson(t, "bob", ca), newPerson(t, "eve", nil)
	l.must(remoteJSON("127.0.0.1:0", "", rule("", ada), rule(`[{"methods":["GET"]}]`, ca)))
	at := l.remoteWhere()
	l.mustDial(at, ada).want(200, "", "PUT", "/config/new", "1", "Content-Type: application/json")
	byCA := l.mustDial(at, bob)
	byCA.want(200, "1", "GET", "/config/new", "")
	byCA.want(403, "not authorized to use this method", "DELETE", "/config/new", "")
	l.refused("no certificate", at, nil)
	l.refused("an unlisted certificate", at, eve)
	l.refused("a certificate without its key", at, &person{t, eve.key, ada.cert})
	c := l.mustDial(at, ada, func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} })
	if p := c.conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; p != "" {
		t.Errorf("negotiated %q", p)
	}
	c.want(200, "", "GET", "/config/", "")
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		_, err := l.dialTLS(at, ada, func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version })
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
	// Another server name, and none, gets the certificate all the same.
	l.mustDial(at, ada, func(c *tls.Config) { c.ServerName, c.InsecureSkipVerify = "other.test", true }).want(200, "", "GET", "/config/", "")
	l.mustDial(at, ada, func(c *tls.Config) { c.ServerName, c.InsecureSkipVerify = "", true }).want(200, "", "GET", "/config/", "")
	plain := dial(t, "tcp", at)
	if a, err := plain.try("GET", "/config/", ""); err == nil && a.status != 400 {
		t.Errorf("without TLS: %d %s", a.status, a.text)
	}
	// The local endpoint is what it was.
	if r := dial(t, "tcp", l.where()).get("/config/"); r.StatusCode != 200 {
		t.Errorf("local: %d", r.StatusCode)
	}
}

// TestRemoteChecks: the checks of all endpoints apply after access control.
func TestRemoteChecks(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	ada := newPerson(t, "ada", nil)
	l.env["T"] = "a-long-enough-token"
	l.must(remoteJSON("127.0.0.1:0", `,"tokens":[{"env":"T"}],"origins":["a.test"]`, rule(`[{"paths":["/config"]}]`, ada)))
	c := l.mustDial(l.remoteWhere(), ada)
	c.want(200, "", "GET", "/config/", "")
	c.want(400, "WebSocket", "GET", "/config/", "", "Upgrade: websocket")
	c.want(403, "not authorized to access this path", "GET", "/stop", "", "Upgrade: websocket")
	c.want(403, "client is not allowed to access from origin 'http://a.test'", "GET", "/config/", "", "Origin: http://a.test")
	c.want(403, "from origin ''", "GET", "/config/", "", "Sec-Fetch-Mode: cors")
	c.want(403, "this path", "GET", "/healthz", "")
	c.want(431, "", "GET", "/config/", "", "X-Long: "+strings.Repeat("a", 80<<10))
}

func TestRemotePermissions(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	l.engine = newEngine(t, `{"apps":{"a":{"@id":"one","x":{"y":1}},"b":{"@id":"two"},"a/x":{"@id":"slash"}},"list":[{"@id":"first"}]}`)
	l.sockets.Serve(admin.New(admin.Deps{Engine: l.engine}))
	ada, bob := newPerson(t, "ada", nil), newPerson(t, "bob", nil)
	l.must(remoteJSON("127.0.0.1:0", "",
		rule(`[{"methods":["GET","PATCH"]},{"paths":["/config/apps/a","/id/one","/id/two","/id/slash"]}]`, ada),
		rule("", ada), // never reached
		rule(`[{"paths":["/config/apps/a/x"]},{"methods":[]}]`, bob)))
	c := l.mustDial(l.remoteWhere(), ada)
	const noPath, noMethod = "not authorized to access this path", "not authorized to use this method"
	const js = "Content-Type: application/json"
	c.want(200, `{"y":1}`, "GET", "/config/apps/a/x", "")
	c.want(200, "one", "GET", "/config/apps/a", "")
	c.want(403, noPath, "GET", "/config/apps", "")
	c.want(403, noPath, "GET", "/config/", "")
	c.want(403, noPath, "GET", "/config/apps/ab", "")
	c.want(403, noPath, "GET", "/config/apps/b", "")
	c.want(403, noMethod, "PUT", "/config/apps/a/z", "1", js)
	c.want(403, noMethod, "POST", "/load", "{}", js)
	c.want(403, noPath, "GET", "/load", "")
	c.want(403, noPath, "GET", "/config/apps/a/../b", "")
	c.want(403, noPath, "GET", "/config/apps/a/%2e%2e/b", "")
	c.want(403, noPath, "GET", "/config/apps/a/%2e%2e%2fb", "")
	c.want(200, "", "PATCH", "/config/apps/a/x/y", "2", js)
	// By @id, both paths must be permitted.
	c.want(200, `{"y":2}`, "GET", "/id/one/x", "")
	c.want(200, "", "PATCH", "/id/one/x/y", "3", js)
	c.want(403, noPath, "GET", "/id/two", "")
	c.want(403, noPath, "PATCH", "/id/two", "{}", js)
	c.want(403, noPath, "GET", "/id/first", "")
	c.want(403, noPath, "GET", "/id/slash", "") // its key has a slash
	c.want(403, noPath, "GET", "/id/one/../nobody", "")
	// The value at another path is not to be found out by guessing.
	etag := c.want(200, "", "GET", "/config/apps/a/x", "").header.Get("Etag")
	c.want(200, "", "PATCH", "/config/apps/a/x/y", "4", js, "If-Match: "+etag)
	for _, tag := range []string{`"/config/apps/b 0000000000000000"`, `"config/apps/b 0"`, `"/config/apps/b` + "\t" + `0"`, `" /config/apps/b 0"`, `"/config/apps/a/../b 0"`} {
		c.want(403, noPath, "PATCH", "/config/apps/a/x/y", "5", js, "If-Match: "+tag)
	}
	c.want(200, "4", "GET", "/config/apps/a/x/y", "")
	b := l.mustDial(l.remoteWhere(), bob)
	b.want(403, noMethod, "GET", "/config/apps/a/x", "")
	b.want(403, noPath, "GET", "/config/apps/a", "")
	// Who did it is in the history.
	if l.engine.origins[0] == "" || !strings.HasPrefix(l.engine.origins[0], "ada@127.0.0.1:") {
		t.Errorf("origins %q", l.engine.origins)
	}
}

// TestRemoteRulesOnOpenConnections: another document's rules are in force for
// the next request of a connection.
func TestRemoteRulesOnOpenConnections(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	ada, bob := newPerson(t, "ada", nil), newPerson(t, "bob", nil)
	at := "127.0.0.1:" + freePort(t)
	l.must(remoteJSON(at, "", rule("", ada)))
	l.remoteWhere()
	serial := certificateOf(l)
	c, idle := l.mustDial(at, ada), l.mustDial(at, ada)
	c.want(200, "", "GET", "/config/", "")
	idle.want(200, "", "GET", "/config/", "")
	l.must(remoteJSON(at, "", rule(`[{"paths":["/id"]}]`, ada)))
	if a := c.want(403, "path", "GET", "/config/", ""); a.close {
		t.Error("the connection is closed")
	}
	l.must(remoteJSON(at, "", rule("", bob, ada)))
	if a := c.want(200, "", "GET", "/config/", ""); a.close {
		t.Error("the connection is closed")
	}
	l.refused("nobody yet", at, newPerson(t, "carl", nil))
	l.must(remoteJSON(at, "", rule("", bob)))
	if a := c.want(401, "client identity not authorized", "GET", "/config/", ""); !a.close || !c.closed() {
		t.Error("the connection of a client that may do nothing is left open")
	}
	idle.want(401, "client identity not authorized", "GET", "/config/", "")
	l.refused("ada", at, ada)
	l.mustDial(at, bob).want(200, "", "GET", "/config/", "")
	if certificateOf(l) != serial {
		t.Error("there is another certificate")
	}
	if n := l.logs.FilterMessage("remote admin endpoint started").Len(); n != 1 {
		t.Errorf("started %d times", n)
	}
}

func certificateOf(l *loader) string {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	c, err := l.identity.ClientCertificate(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	return c.Leaf.SerialNumber.String()
}

// TestRemoteLeaves: a request is answered though its listener moves, and then
// goes.
func TestRemoteLeaves(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	ada := newPerson(t, "ada", nil)
	l.must(remoteJSON("127.0.0.1:"+freePort(t), "", rule("", ada)))
	first := l.remoteWhere()
	busy, idle := l.mustDial(first, ada), l.mustDial(first, ada)
	idle.want(200, "", "GET", "/config/", "")
	begin := func(c *client) {
		fmt.Fprintf(c.conn, "POST /load HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
		c.arrived()
		fmt.Fprint(c.conn, "{")
	}
	end := func(c *client) {
		fmt.Fprint(c.conn, "}")
		_ = c.conn.SetDeadline(time.Now().Add(20 * time.Second))
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil || resp.StatusCode != 200 || !resp.Close {
			t.Fatalf("%v %v", resp, err)
		}
	}
	begin(busy)
	l.must(remoteJSON("127.0.0.1:"+freePort(t), "", rule("", ada)))
	second := l.remoteWhere()
	if second == first || !idle.closed() {
		t.Errorf("%s after %s", second, first)
	}
	if _, err := net.DialTimeout("tcp", first, time.Second); err == nil {
		t.Error("the old address still accepts")
	}
	end(busy)
	busy = l.mustDial(second, ada)
	begin(busy)
	l.must(`null`)
	if list := l.sockets.RemoteAddresses(); len(list) != 0 {
		t.Errorf("open: %v", list)
	}
	if _, err := l.identity.ClientCertificate(t.Context()); !errors.Is(err, identity.ErrNone) {
		t.Errorf("identity: %v", err)
	}
	end(busy)
	if r := dial(t, "tcp", l.where()).get("/config/"); r.StatusCode != 200 {
		t.Errorf("local: %d", r.StatusCode)
	}
	l.must(`{"disabled": true, ` + remoteJSON("127.0.0.1:0", "", rule("", ada))[1:])
	if list := l.sockets.Addresses(); len(list) != 0 {
		t.Errorf("open: %v", list)
	}
	l.mustDial(l.remoteWhere(), ada).want(200, "", "GET", "/config/", "")
}

// TestRemoteRefused: a document whose remote endpoint cannot be opened leaves
// nothing behind.
func TestRemoteRefused(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	l.must(`null`)
	local := l.where()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct{ listen, more, message string }{
		{taken.Addr().String(), `,"listen":"127.0.0.1:` + freePort(t) + `"`, "choose another in admin.remote.listen"},
		{local, `,"listen":"127.0.0.1:` + freePort(t) + `"`, "the address is that of the admin endpoint"},
	} {
		err = l.load(remoteJSON(c.listen, c.more, rule("", newPerson(t, "ada", nil))))
		var ps schema.Problems
		if !errors.As(err, &ps) || len(ps) != 1 || ps[0].Pointer != "/admin/remote/listen" || !strings.Contains(ps[0].Message, c.message) {
			t.Errorf("%v", err)
		}
		if l.where() != local || len(l.sockets.RemoteAddresses()) != 0 {
			t.Errorf("open: %v %v", l.sockets.Addresses(), l.sockets.RemoteAddresses())
		}
		if _, err := l.identity.ClientCertificate(t.Context()); !errors.Is(err, identity.ErrNone) {
			t.Errorf("identity: %v", err)
		}
	}
	if list, _ := l.files.List(t.Context(), "certificates", true); len(list) > 0 {
		t.Errorf("obtained for a refused document: %v", list)
	}
}

func TestRemoteConfig(t *testing.T) {
	ada := newPerson(t, "ada", nil)
	der, err := x509.MarshalPKIXPublicKey(ada.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	remote := func(more string) string { return `{` + identityJSON + `,"remote":{` + more + `}}` }
	key := func(text string) string { return remote(`"access_control":[{},{"public_keys":["` + text + `"]}]`) }
	for _, c := range []struct{ text, pointer, message string }{
		{`{"remote":{}}`, "/remote", "cannot enable remote admin without a certificate cache; configure identity management"},
		{`{"remote":{},"identity":{"issuers":[{"module":"internal"}]}}`, "/remote", "cannot enable remote admin without a certificate cache"},
		{`{"identity":{"identifiers":["ok.test","a b"]}}`, "/identity/identifiers/1", "cannot be the name"},
		{`{"identity":{"identifiers":["{env.MISSING}"]}}`, "/identity/identifiers/0", "env.MISSING"},
		{`{"identity":{"identifiers":["a.test"],"issuers":[{"module":"nope"}]}}`, "/identity/issuers/0/module", "unknown module"},
		{`{"identity":{"identifiers":["a.test"],"issuers":[{"module":"internal","nope":1}]}}`, "/identity/issuers/0/nope", "unknown field"},
		{`{"identity":{"identifiers":["a.test"],"issuers":[{"module":"internal"},{"module":"acme","challenges":{"dns":{}}}]}}`, "/identity/issuers/1/challenges/dns", "a DNS provider of its own"},
		{`{"identity":{"names":["a.test"]}}`, "/identity/names", "unknown field"},
		{remote(`"listen":":2021-2022"`), "/remote/listen", "exactly one listener address"},
		{remote(`"listen":"udp/:2021"`), "/remote/listen", "datagram"},
		{remote(`"listen":"localhost:2019"`), "/remote/listen", "the endpoint that is not remote"},
		{remote(`"listen":"{env.MISSING}"`), "/remote/listen", "env.MISSING"},
		{key("?"), "/remote/access_control/1/public_keys/0", "not base64"},
		{key("AAAA"), "/remote/access_control/1/public_keys/0", "no certificate"},
		{key(base64.StdEncoding.EncodeToString(der)), "/remote/access_control/1/public_keys/0", "a public key alone"},
		{remote(`"access_control":[{"public_key":[]}]`), "/remote/access_control/0/public_key", "unknown field"},
	} {
		l := newLoader(t, "")
		r := l.build(c.text, false)
		if len(r.Problems) != 1 || r.Problems[0].Pointer != c.pointer || !strings.Contains(r.Problems[0].Message, c.message) {
			t.Errorf("%s: %v, want %s: %s", c.text, r.Problems, c.pointer, c.message)
		}
		if n := len(l.sockets.Addresses()) + len(l.sockets.RemoteAddresses()); n != 0 {
			t.Errorf("%s: compiling opened %d listeners", c.text, n)
		}
	}
	for _, c := range []struct{ text, pointer string }{
		{`{"identity":{}}`, "/identity"},
		{`{"identity":{"identifiers":["localhost"]}}`, "/identity/identifiers/0"},
		{`{"identity":{"identifiers":["a.example.com","A.example.com"]}}`, "/identity/identifiers/1"},
		{remote(``), "/remote"},
		{remote(`"access_control":[{}]`), "/remote/access_control/0"},
		{remote(`"access_control":[` + rule("[]", ada) + `]`), "/remote/access_control/0/permissions"},
		{remote(`"access_control":[` + rule(`[{"methods":["GET","get"]}]`, ada) + `]`), "/remote/access_control/0/permissions/0/methods/1"},
		{remote(`"access_control":[` + rule(`[{"paths":["","/a","a"]}]`, ada) + `]`), "/remote/access_control/0/permissions/0/paths/2"},
	} {
		l := newLoader(t, "")
		r := l.build(c.text, false)
		if len(r.Problems) > 0 || len(r.Warnings) != 1 || r.Warnings[0].Pointer != c.pointer {
			t.Errorf("%s: %v %v, want a warning at %s", c.text, r.Problems, r.Warnings, c.pointer)
		}
	}
	l := newLoader(t, "")
	r := l.build(remote(`"access_control":[`+rule("", ada)+`]`), false)
	if e := r.Root.Value().(*Endpoint); len(r.Warnings) > 0 || !e.Remote() || e.remote.address.String() != "tcp/:2021" {
		t.Errorf("%v", r.Warnings)
	}
}

// TestNobody: without rules no certificate of the system's authorities passes.
func TestNobody(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	l.must(remoteJSON("127.0.0.1:0", ""))
	at := l.remoteWhere()
	l.refused("without rules", at, newPerson(t, "ada", nil))
	l.refused("without rules and certificate", at, nil)
}

func TestConnectionCap(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	l.sockets.options.Connections = 2
	ada := newPerson(t, "ada", nil)
	l.must(remoteJSON("127.0.0.1:0", "", rule("", ada)))
	for _, at := range []string{l.where(), l.remoteWhere()} {
		one, two, three := dial(t, "tcp", at), dial(t, "tcp", at), dial(t, "tcp", at)
		_ = three.conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := three.r.ReadByte(); err == nil {
			t.Errorf("%s: a third connection is open", at)
		}
		one.conn.Close()
		two.conn.Close()
	}
	// There is room again once the server has seen that they are gone.
	for deadline := time.Now().Add(20 * time.Second); ; {
		c, err := l.dialTLS(l.remoteWhere(), ada)
		if err == nil {
			var a answer
			if a, err = c.try("GET", "/config/", ""); err == nil && a.status == 200 {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if n := l.logs.FilterMessage("too many connections; new ones are closed").Len(); n != 2 {
		t.Errorf("logged %d times", n)
	}
}

// TestIdentityFromACME gets the identity from a certificate authority.
func TestIdentityFromACME(t *testing.T) {
	ca := acmetest.Start(t, acmetest.Options{})
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	ada := newPerson(t, "ada", nil)
	issuer := fmt.Sprintf(`{"module":"acme","ca":%q,"trusted_roots_pem_files":[%q],"email":"ops@example.test","challenges":{"tls-alpn":{"disabled":true}}}`, ca.Directory, ca.RootsFile)
	document := strings.Replace(remoteJSON("127.0.0.1:"+freePort(t), "", rule("", ada)), `{"module":"internal"}`, issuer, 1)
	l.identity.SetPorts(ca.HTTPPort, ca.TLSPort)
	l.must(document)
	at := l.remoteWhere()
	c := l.mustDial(at, ada, func(c *tls.Config) { c.RootCAs = ca.IssuedRoots() })
	c.want(200, "", "GET", "/config/", "")
	serial := certificateOf(l)
	l.must(strings.Replace(document, `"identity"`, `"enforce_origin":false,"origins":[],"identity"`, 1))
	c.want(200, "", "GET", "/config/", "")
	l.must(document)
	if certificateOf(l) != serial {
		t.Error("an edit got another certificate")
	}
	keys, err := l.files.List(t.Context(), "certificates", true)
	if err != nil || len(keys) == 0 {
		t.Errorf("nothing is stored: %v", err)
	}
}

// TestHandshakeBeforeCertificate: the listener is open while the certificate is
// being obtained.
func TestHandshakeBeforeCertificate(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	ada := newPerson(t, "ada", nil)
	l.must(`{"identity":{"identifiers":["a.example.com"]},"remote":{"listen":"127.0.0.1:0","access_control":[` + rule("", ada) + `]}}`)
	list := l.sockets.RemoteAddresses()
	if len(list) != 1 {
		t.Fatalf("open: %v", list)
	}
	at := strings.TrimPrefix(list[0], "tcp/")
	if _, err := l.dialTLS(at, ada); err == nil {
		t.Error("a handshake without a certificate")
	}
	if r := dial(t, "tcp", l.where()).get("/config/"); r.StatusCode != 200 {
		t.Errorf("local: %d", r.StatusCode)
	}
	// The certificate comes, for the connections after it.
	l.must(remoteJSON(at, "", rule("", ada)))
	l.mustDial(l.remoteWhere(), ada).want(200, "", "GET", "/config/", "")
}

// TestRemoteOnUnixSocket: any stream will do.
func TestRemoteOnUnixSocket(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	ada := newPerson(t, "ada", nil)
	dir, err := os.MkdirTemp("", "r")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "s")
	l.must(remoteJSON("unix/"+file+"|0600", "", rule("", ada)))
	l.remoteWhere()
	conn, err := net.Dial("unix", file)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	secure := tls.Client(conn, &tls.Config{RootCAs: l.roots(), ServerName: "sluice.test", Certificates: ada.shown()})
	c := &client{t, secure, newReader(secure), "x"}
	c.want(200, "", "GET", "/config/", "")
	l.must(remoteJSON("unix/"+file+"|0660", "", rule("", ada)))
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v %v", info, err)
	}
	c.want(200, "", "GET", "/config/", "")
}

// TestSecretsStayOut: what the API tells has no private key in it.
func TestSecretsStayOut(t *testing.T) {
	l := newLoader(t, "127.0.0.1:"+freePort(t))
	ada := newPerson(t, "ada", nil)
	text := remoteJSON("127.0.0.1:0", "", rule("", ada))
	l.must(text)
	var value any
	if err := json.Unmarshal([]byte(`{"admin":`+text+`}`), &value); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	c := l.mustDial(l.remoteWhere(), ada)
	c.want(200, "", "POST", "/load", string(body), "Content-Type: application/json")
	a := c.want(200, ada.text(), "GET", "/config/", "")
	if bytes.Contains([]byte(a.text), []byte("PRIVATE")) {
		t.Error(a.text)
	}
}
