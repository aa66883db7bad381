package e2e

import (
	"bufio"
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
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	_ "github.com/sluiceproxy/sluice/internal/http2connect"
	"github.com/sluiceproxy/sluice/internal/porttest"
)

// secured is a server whose only certificates are those that it makes or is given.
type secured struct {
	t           *testing.T
	h           *home
	s           *server
	e           *editor
	admin       string // URL of the API
	https, http string // addresses
	port        int    // of https
	root        *x509.Certificate
}

// helloRoute answers requests for hosts with a text that names the protocol.
func helloRoute(text string, hosts ...string) object {
	return object{"match": []any{object{"host": hosts}}, "terminal": true,
		"handle": []any{object{"handler": "static_response", "body": text + " {http.request.proto}"}}}
}

// config is a document with HTTPS for some routes.
func (x *secured) config(routes ...any) object {
	_, httpPort, _ := net.SplitHostPort(x.http)
	return object{
		"admin":   object{"listen": x.h.admin},
		"logging": object{"logs": object{"default": object{"level": "DEBUG"}}},
		"apps": object{
			"pki":  object{"certificate_authorities": object{"local": object{"install_trust": false}}},
			"http": object{"http_port": json.Number(httpPort), "https_port": x.port, "servers": object{"s": object{"listen": []string{x.https}, "routes": routes}}},
		},
	}
}

// newSecured starts a server in an empty home with the document that make returns.
func newSecured(t *testing.T, make func(x *secured) object) *secured {
	t.Helper()
	ports, port := freePorts(t, 2), porttest.FreeBoth(t, 1)[0]
	x := &secured{t: t, h: newHome(t, ports[0]), https: fmt.Sprintf("127.0.0.1:%d", port), http: fmt.Sprintf("127.0.0.1:%d", ports[1]), port: port}
	x.h.env = append(x.h.env, "SLUICE_NO_TRUST_INSTALL=1") // whatever a document says
	x.admin = "http://" + x.h.admin
	x.e = &editor{t, x.admin, &http.Client{Timeout: patience}}
	text, err := json.Marshal(make(x))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(x.h.dir, "sluice.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	x.s = launch(t, x.h, x.h.command(filepath.Join(tools, "sluice"), "run", "--config", file))
	var info struct {
		Root string `json:"root_certificate"`
	}
	if err := json.Unmarshal([]byte(x.get("/pki/ca/local")), &info); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(info.Root))
	if block == nil {
		t.Fatalf("the root is %q", info.Root)
	}
	if x.root, err = x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return x
}

// get asks the API.
func (x *secured) get(path string) string {
	x.t.Helper()
	res, err := x.e.client.Get(x.admin + path)
	if err != nil {
		x.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		x.t.Fatalf("GET %s: %s %v %s", path, res.Status, err, text)
	}
	return string(text)
}

// load replaces the document, or returns why not.
func (x *secured) load(doc any, force bool) (status int, answer string) {
	x.t.Helper()
	text, err := json.Marshal(doc)
	if err != nil {
		x.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(x.t.Context(), http.MethodPost, x.admin+"/load", bytes.NewReader(text))
	if err != nil {
		x.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if force {
		req.Header.Set("Cache-Control", "must-revalidate")
	}
	res, err := x.e.client.Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

// trust is the configuration of a client that trusts the own authority and others.
func (x *secured) trust(more ...*x509.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	for _, c := range append(more, x.root) {
		pool.AddCert(c)
	}
	return &tls.Config{RootCAs: pool}
}

// visitor is a client of one protocol that counts its connections.
type visitor struct {
	*http.Client
	dials atomic.Int64
	proto string
}

var protocols = []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"}

// visitor makes a client that reaches the server under any name.
func (x *secured) visitor(proto string, c *tls.Config) *visitor {
	v := &visitor{proto: proto}
	var via http.RoundTripper
	if proto == "HTTP/3.0" {
		t := &http3.Transport{TLSClientConfig: c, Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
			v.dials.Add(1)
			return quic.DialAddrEarly(ctx, x.https, c, q)
		}}
		x.t.Cleanup(func() { _ = t.Close() })
		via = t
	} else {
		t := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: proto == "HTTP/2.0", DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			v.dials.Add(1)
			var d net.Dialer
			return d.DialContext(ctx, "tcp", x.https)
		}}
		if proto == "HTTP/1.1" {
			t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		}
		x.t.Cleanup(t.CloseIdleConnections)
		via = t
	}
	v.Client = &http.Client{Transport: via, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return v
}

// page is an answer that was read.
type page struct {
	*http.Response
	text string
}

// visit gets a page of a host.
func (v *visitor) visit(x *secured, host string) (page, error) {
	res, err := v.Get(fmt.Sprintf("https://%s:%d/", host, x.port))
	if err != nil {
		return page{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.Proto != v.proto {
		err = fmt.Errorf("the protocol is %s, want %s", res.Proto, v.proto)
	}
	return page{res, string(text)}, err
}

// expect visits a host until it has a certificate, and wants a text.
func (v *visitor) expect(x *secured, host, text string) page {
	x.t.Helper()
	var p page
	poll(x.t, v.proto+" for "+host, func() (err error) {
		p, err = v.visit(x, host)
		return err
	})
	if p.StatusCode != 200 || p.text != text {
		x.t.Fatalf("%s for %s: %s %q, want %q", v.proto, host, p.Status, p.text, text)
	}
	return p
}

// noSecrets wants no private key in the log and in the document.
func (x *secured) noSecrets() {
	x.t.Helper()
	for what, text := range map[string]string{
		"the log": x.s.log.String(), "GET /config/": x.get("/config/"), "GET /revisions/1": x.get("/revisions/1"), "GET /tls/certificates": x.get("/tls/certificates"),
		"GET /pki/ca/local": x.get("/pki/ca/local"), "GET /pki/ca/local/certificates": x.get("/pki/ca/local/certificates"), "GET /metrics": x.get("/metrics"),
	} {
		if i := strings.Index(text, "PRIVATE KEY"); i >= 0 {
			x.t.Errorf("%s has a private key: ...%s", what, text[max(0, i-200):i])
		}
		for _, key := range x.keys() {
			if strings.Contains(text, key) {
				x.t.Errorf("%s has the content of a private key", what)
			}
		}
	}
}

// keys is a line of each private key in the home.
func (x *secured) keys() (lines []string) {
	x.t.Helper()
	err := filepath.WalkDir(x.h.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".key" {
			return err
		}
		text, err := os.ReadFile(path)
		if block, _ := pem.Decode(text); block != nil {
			lines = append(lines, base64.StdEncoding.EncodeToString(block.Bytes)[:40])
		}
		if info, _ := d.Info(); info != nil && info.Mode().Perm() != 0o600 {
			x.t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return lines
}

// A document with nothing but a route for a name is HTTPS in three protocols,
// redirects from HTTP, and a certificate authority of the server's own.
func TestHTTPSFromNothing(t *testing.T) {
	x := newSecured(t, func(x *secured) object { return x.config(helloRoute("hello", "localhost")) })
	if entries, err := os.ReadDir(filepath.Join(x.h.dir, ".local", "share", "sluice", "pki", "authorities", "local")); err != nil || len(entries) == 0 {
		t.Errorf("the authority is kept in %v, %v", entries, err)
	}
	for _, proto := range protocols {
		v := x.visitor(proto, x.trust())
		p := v.expect(x, "localhost", "hello "+proto)
		if p.TLS == nil || p.TLS.Version < tls.VersionTLS12 || p.TLS.PeerCertificates[0].DNSNames[0] != "localhost" {
			t.Errorf("%s: %+v", proto, p.TLS)
		}
		want := fmt.Sprintf(`h3=":%d"; ma=2592000`, x.port)
		if got := p.Header.Get("Alt-Svc"); got != want && proto != "HTTP/3.0" || proto == "HTTP/3.0" && got != "" {
			t.Errorf("%s: Alt-Svc %q", proto, got)
		}
		if _, err := x.visitor(proto, &tls.Config{RootCAs: x509.NewCertPool()}).visit(x, "localhost"); err == nil {
			t.Errorf("%s: the test trusts anybody", proto)
		}
	}
	if _, err := x.visitor("HTTP/1.1", x.trust()).visit(x, "other.test"); err == nil {
		t.Error("a handshake for a name that nobody serves succeeds")
	}
	plain := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+x.http+"/a/b?c=d", nil)
	req.Host = "localhost"
	res, err := plain.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 308 || res.Header.Get("Location") != "https://localhost/a/b?c=d" || !res.Close || res.Header.Get("Alt-Svc") != "" {
		t.Errorf("redirect: %s %v", res.Status, res.Header)
	}
	// Who speaks HTTP to the HTTPS port is told so.
	if s, err := openStream(x.https, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("clear text at the HTTPS port: %v", err)
	} else {
		s.Close()
	}
	var list []struct {
		Names                   []string
		Source, Issuer, Renewal string
		NotAfter                time.Time `json:"not_after"`
	}
	if err := json.Unmarshal([]byte(x.get("/tls/certificates")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || !slices.Equal(list[0].Names, []string{"localhost"}) || list[0].Source != "managed" || list[0].Renewal != "valid" || list[0].Issuer == "" || !list[0].NotAfter.After(time.Now()) {
		t.Errorf("certificates %+v", list)
	}
	chain := x.get("/pki/ca/local/certificates")
	if n := strings.Count(chain, "BEGIN CERTIFICATE"); n != 2 || !strings.HasSuffix(chain, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.root.Raw}))) {
		t.Errorf("the chain of %d: %s", n, chain)
	}
	if len(x.keys()) < 3 {
		t.Errorf("the test looks at %d keys only", len(x.keys()))
	}
	x.noSecrets()
}

// secureStream opens a WebSocket over TLS.
func (x *secured) secureStream(host string) (*stream, error) {
	c := x.trust()
	c.ServerName, c.NextProtos = host, []string{"http/1.1"}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", x.https, c)
	if err != nil {
		return nil, err
	}
	s := &stream{conn, bufio.NewReader(conn)}
	_ = s.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(s, "GET /streams/ws HTTP/1.1\r\nHost: "+host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		return s, err
	}
	res, err := http.ReadResponse(s.r, nil)
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(res.Status)
	}
	return s, err
}

// A name that an edit adds gets a certificate, while connections from before
// stay.
func TestHTTPSForANameThatIsAdded(t *testing.T) {
	source := newStreamSource(t)
	x := newSecured(t, func(x *secured) object {
		sockets := ownRoute("gen", source.dial())
		sockets["match"] = []any{object{"path": []string{"/streams/*"}, "host": []string{"localhost"}}}
		return x.config(sockets, helloRoute("hello", "localhost"))
	})
	var visitors []*visitor
	for _, proto := range protocols {
		v := x.visitor(proto, x.trust())
		v.expect(x, "localhost", "hello "+proto)
		visitors = append(visitors, v)
	}
	before := make([]int64, len(visitors)) // the first certificate may have needed several attempts
	for i, v := range visitors {
		before[i] = v.dials.Load()
	}
	ws, err := x.secureStream("localhost")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if err := ws.echo("before"); err != nil {
		t.Fatal(err)
	}
	x.e.do("PATCH", streamRoutes+"/1/match/0/host", []string{"localhost", "added.localhost"})
	for _, proto := range protocols {
		x.visitor(proto, x.trust()).expect(x, "added.localhost", "hello "+proto)
	}
	for i, v := range visitors {
		reused := v.proto == "HTTP/3.0" // which has no such trace
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(g httptrace.GotConnInfo) { reused = g.Reused }})
		req, _ := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("https://localhost:%d/", x.port), nil)
		res, err := v.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != 200 || !reused || v.dials.Load() != before[i] {
			t.Errorf("%s: %s, reused %v, %d connections after %d", v.proto, res.Status, reused, v.dials.Load(), before[i])
		}
	}
	if err := ws.echo("after"); err != nil {
		t.Errorf("the WebSocket: %v", err)
	}
	// A name that leaves is not served any more.
	x.e.do("PATCH", streamRoutes+"/1/match/0/host", []string{"localhost"})
	if err := ws.echo("and again"); err != nil {
		t.Errorf("the WebSocket: %v", err)
	}
	x.noSecrets()
}

// A host that is a placeholder gets a certificate for what it says, and redirects.
func TestHTTPSForAPlaceholder(t *testing.T) {
	x := newSecured(t, func(x *secured) object {
		x.h.env = append(x.h.env, "SLUICE_E2E_SITE=Placed.localhost")
		return x.config(helloRoute("hello", "{env.SLUICE_E2E_SITE}"))
	})
	for _, proto := range protocols {
		x.visitor(proto, x.trust()).expect(x, "placed.localhost", "hello "+proto)
	}
	x.e.do("PATCH", streamRoutes+"/0/match/0/host", []string{"{env.SLUICE_E2E_SITE}", "next.localhost"})
	// The first handshake waits for the certificate that it caused.
	if p, err := x.visitor("HTTP/1.1", x.trust()).visit(x, "next.localhost"); err != nil || p.text != "hello HTTP/1.1" {
		t.Errorf("the first request for a new name: %+v, %v", p, err)
	}
	x.visitor("HTTP/1.1", x.trust()).expect(x, "placed.localhost", "hello HTTP/1.1")
}

// What a handler says of the connection is no part of a response of HTTP/2 or
// HTTP/3.
func TestHTTPSWithConnectionHeaders(t *testing.T) {
	fields := object{"Connection": []string{"keep-alive"}, "Keep-Alive": []string{"timeout=5"}, "Proxy-Connection": []string{"close"}, "X-Stays": []string{"yes"}}
	x := newSecured(t, func(x *secured) object {
		return x.config(
			object{"match": []any{object{"host": []string{"close.localhost"}}}, "handle": []any{object{"handler": "static_response", "close": true, "body": "bye"}}},
			object{"match": []any{object{"host": []string{"fields.localhost"}}}, "handle": []any{object{"handler": "headers", "response": object{"set": fields}}, object{"handler": "static_response", "body": "bye"}}},
			object{"match": []any{object{"host": []string{"empty.localhost"}}}, "handle": []any{object{"handler": "headers", "response": object{"set": fields}}}},
		)
	})
	for _, proto := range protocols[1:] {
		for host, text := range map[string]string{"close.localhost": "bye", "fields.localhost": "bye", "empty.localhost": ""} {
			p := x.visitor(proto, x.trust()).expect(x, host, text)
			if p.Header.Get("Connection") != "" || host != "close.localhost" && p.Header.Get("X-Stays") != "yes" {
				t.Errorf("%s for %s: %v", proto, host, p.Header)
			}
		}
	}
}

// A client of HTTP/3 that stays, although it was told to go, does not keep the
// server from ending; a request that runs does.
func TestHTTPSStops(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-answer
		_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
	}))
	defer upstream.Close()
	x := newSecured(t, func(x *secured) object {
		return x.config(helloRoute("hello", "localhost"), object{"match": []any{object{"host": []string{"slow.localhost"}}},
			"handle": []any{object{"handler": "reverse_proxy", "upstreams": []any{object{"dial": strings.TrimPrefix(upstream.URL, "http://")}}}}})
	})
	x.visitor("HTTP/3.0", x.trust()).expect(x, "localhost", "hello HTTP/3.0")
	c := x.trust()
	c.NextProtos, c.ServerName = []string{"h3"}, "localhost"
	stays, err := quic.DialAddr(t.Context(), x.https, c, &quic.Config{KeepAlivePeriod: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer stays.CloseWithError(0, "")
	type result struct {
		page
		err error
	}
	results := make(chan result, 1)
	go func() {
		v := x.visitor("HTTP/3.0", x.trust())
		for {
			p, err := v.visit(x, "slow.localhost")
			if err == nil || t.Context().Err() != nil || v.dials.Load() > 1000 {
				results <- result{p, err}
				return
			}
			select { // it had no certificate yet, or was cut
			case <-arrived:
				results <- result{p, err}
				return
			default:
			}
		}
	}()
	<-arrived
	x.s.signal(syscall.SIGTERM)
	poll(t, "the server to begin to stop", func() error {
		if conn, err := net.Dial("tcp", x.https); err == nil {
			conn.Close()
			return errors.New("it still listens")
		}
		return nil
	})
	close(answer)
	if r := <-results; r.err != nil || r.StatusCode != 200 || len(r.text) != 1<<20 {
		t.Errorf("the request that ran: %v, %d bytes", r.err, len(r.text))
	}
	if err := x.s.end(t); err != nil {
		t.Error(err)
	}
}

// issuer is a certificate authority of the test.
type issuer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	last int64
}

func newIssuer(t *testing.T, name string) *issuer {
	t.Helper()
	i := &issuer{t: t, last: 1}
	i.key = i.newKey()
	i.cert = i.sign(&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, i.key)
	return i
}

func (i *issuer) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	return key
}

func (i *issuer) sign(c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	i.t.Helper()
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	by := i.cert
	if by == nil {
		by = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	done, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return done
}

// issue makes a certificate for names, for servers and clients, in PEM.
func (i *issuer) issue(names ...string) (certificate, key []byte) {
	i.t.Helper()
	i.last++
	k := i.newKey()
	c := i.sign(&x509.Certificate{SerialNumber: big.NewInt(i.last), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, k)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		i.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// write issues a certificate into two files.
func (i *issuer) write(dir string, names ...string) (certificate, key string) {
	i.t.Helper()
	certificate, key = filepath.Join(dir, names[0]+".crt"), filepath.Join(dir, names[0]+".key")
	c, k := i.issue(names...)
	for file, text := range map[string][]byte{certificate: c, key: k} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			i.t.Fatal(err)
		}
	}
	return certificate, key
}

// A certificate from files is served, read again when a load is forced, and
// refused if it cannot be read, while the one from before goes on.
func TestHTTPSWithFiles(t *testing.T) {
	ca := newIssuer(t, "Files")
	var doc object
	x := newSecured(t, func(x *secured) object {
		certificate, key := ca.write(x.h.dir, "files.test")
		doc = x.config(helloRoute("hello", "files.test"))
		doc["apps"].(object)["tls"] = object{"certificates": object{"load_files": []any{object{"certificate": certificate, "key": key}}}}
		return doc
	})
	serial := func(proto string) int64 {
		t.Helper()
		return x.visitor(proto, x.trust(ca.cert)).expect(x, "files.test", "hello "+proto).TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	old := x.visitor("HTTP/1.1", x.trust(ca.cert))
	old.expect(x, "files.test", "hello HTTP/1.1")
	for _, proto := range protocols {
		if n := serial(proto); n != 2 {
			t.Errorf("%s: serial number %d", proto, n)
		}
	}
	ca.write(x.h.dir, "files.test")
	if status, answer := x.load(doc, false); status != 200 || serial("HTTP/1.1") != 2 {
		t.Errorf("an unchanged load: %d %s", status, answer)
	}
	if status, answer := x.load(doc, true); status != 200 {
		t.Fatalf("a forced load: %d %s", status, answer)
	}
	for _, proto := range protocols {
		if n := serial(proto); n != 3 {
			t.Errorf("%s: serial number %d after a forced load", proto, n)
		}
	}
	list := doc["apps"].(object)["tls"].(object)["certificates"].(object)["load_files"].([]any)
	good := list[0]
	garbage, dir := filepath.Join(x.h.dir, "garbage.crt"), x.h.dir
	if err := os.WriteFile(garbage, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong, _ := ca.write(filepath.Join(x.h.dir), "wrong.test")
	for name, c := range map[string]struct {
		file object
		at   string
	}{
		"missing":       {object{"certificate": filepath.Join(dir, "none.crt"), "key": good.(object)["key"]}, "/certificate"},
		"a folder":      {object{"certificate": dir, "key": good.(object)["key"]}, "/certificate"},
		"garbage":       {object{"certificate": garbage, "key": good.(object)["key"]}, ""},
		"missing key":   {object{"certificate": good.(object)["certificate"], "key": filepath.Join(dir, "none.key")}, "/key"},
		"another's key": {object{"certificate": wrong, "key": good.(object)["key"]}, ""},
	} {
		list[0] = c.file
		status, answer := x.load(doc, false)
		var refused struct {
			Problems []struct{ Pointer, Message string }
		}
		at := "/apps/tls/certificates/load_files/0" + c.at
		if err := json.Unmarshal([]byte(answer), &refused); err != nil || status != 400 || len(refused.Problems) != 1 || !strings.HasPrefix(refused.Problems[0].Pointer, at) {
			t.Errorf("%s: %d %s, want a problem at %s", name, status, answer, at)
		}
	}
	if n := serial("HTTP/2.0"); n != 3 {
		t.Errorf("serial number %d after loads that were refused", n)
	}
	if old.expect(x, "files.test", "hello HTTP/1.1"); old.dials.Load() != 1 {
		t.Errorf("the first client has needed %d connections", old.dials.Load())
	}
	x.noSecrets()
}

// Clients without the right certificate are refused, and so is a request for a
// name over a handshake for another.
func TestHTTPSWithClientCertificates(t *testing.T) {
	ca, other := newIssuer(t, "Clients"), newIssuer(t, "Others")
	x := newSecured(t, func(x *secured) object {
		doc := x.config(helloRoute("{http.request.tls.client.subject}", "private.localhost"), helloRoute("open", "open.localhost"))
		doc["apps"].(object)["http"].(object)["servers"].(object)["s"].(object)["tls_connection_policies"] = []any{
			object{"match": object{"sni": []string{"private.localhost"}}, "client_authentication": object{
				"ca": object{"provider": "inline", "trusted_ca_certs": []string{base64.StdEncoding.EncodeToString(ca.cert.Raw)}}}},
			object{},
		}
		return doc
	})
	with := func(by *issuer) *tls.Config {
		c := x.trust()
		if by != nil {
			certificate, err := tls.X509KeyPair(by.issue("somebody"))
			if err != nil {
				t.Fatal(err)
			}
			// whatever the server asks for
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
		}
		return c
	}
	for _, proto := range protocols {
		x.visitor(proto, with(nil)).expect(x, "open.localhost", "open "+proto)
		x.visitor(proto, with(ca)).expect(x, "private.localhost", "CN=somebody "+proto)
		for what, by := range map[string]*issuer{"no certificate": nil, "another's certificate": other} {
			if p, err := x.visitor(proto, with(by)).visit(x, "private.localhost"); err == nil {
				t.Errorf("%s with %s: %s %q", proto, what, p.Status, p.text)
			}
		}
		// The handshake for one name is no way in to the other.
		v := x.visitor(proto, with(nil))
		for host, want := range map[string]int{"open.localhost": 200, "OPEN.localhost": 200, "private.localhost": 421, "unknown.localhost": 421} {
			req, _ := http.NewRequestWithContext(t.Context(), "GET", fmt.Sprintf("https://open.localhost:%d/", x.port), nil)
			req.Host = fmt.Sprintf("%s:%d", host, x.port)
			res, err := v.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != want || strings.Contains(string(text), "CN=") {
				t.Errorf("%s: Host %s over a handshake for open.localhost: %s %q, want %d", proto, host, res.Status, text, want)
			}
		}
	}
	x.noSecrets()
}

// Private keys that stand in the document, right or wrong, are not repeated in
// the log or in what the API answers to changes.
func TestHTTPSKeepsSecrets(t *testing.T) {
	ca := newIssuer(t, "Secrets")
	x := newSecured(t, func(x *secured) object { return x.config(helloRoute("hello", "localhost")) })
	certificate, key := ca.issue("secret.test")
	_, anotherKey := ca.issue("another.test")
	block, _ := pem.Decode(anotherKey)
	bare := base64.StdEncoding.EncodeToString(block.Bytes)
	loadPEM := func(certificate, key []byte) object {
		doc := x.config(helloRoute("hello", "localhost", "secret.test"))
		doc["apps"].(object)["tls"] = object{"certificates": object{"load_pem": []any{object{"certificate": string(certificate), "key": string(key)}}}}
		return doc
	}
	account := x.config(helloRoute("hello", "localhost"))
	account["apps"].(object)["tls"] = object{"automation": object{"policies": []any{object{"subjects": []string{"x.test"}, "issuers": []any{object{"module": "acme", "account_key": "-----BEGIN PRIVATE KEY-----\n" + bare[:40] + "\n"}}}}}}
	unknown := loadPEM(certificate, anotherKey)
	unknown["apps"].(object)["tls"].(object)["certificates"].(object)["load_pem"].([]any)[0].(object)["kee"] = string(anotherKey)
	for name, c := range map[string]struct {
		doc    object
		status int
	}{
		"right":             {loadPEM(certificate, key), 200},
		"another's key":     {loadPEM(certificate, anotherKey), 400},
		"a cut key":         {loadPEM(certificate, anotherKey[:len(anotherKey)/2]), 400},
		"swapped":           {loadPEM(anotherKey, certificate), 400},
		"an unknown member": {unknown, 400},
		"account":           {account, 400},
	} {
		status, answer := x.load(c.doc, false)
		if status != c.status {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		for what, text := range map[string]string{"the answer": answer, "the log": x.s.log.String()} {
			for _, secret := range []string{"PRIVATE KEY", bare[:40], bare[40:100]} {
				if i := strings.Index(text, secret); i >= 0 {
					t.Errorf("%s: %s has %q: %s", name, what, secret, text[max(0, i-300):i])
				}
			}
		}
	}
	if status, answer := x.load(loadPEM(certificate, key), false); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	for _, proto := range protocols {
		x.visitor(proto, x.trust(ca.cert)).expect(x, "secret.test", "hello "+proto)
	}
	if strings.Contains(x.s.log.String(), "PRIVATE KEY") || strings.Contains(x.get("/tls/certificates"), "PRIVATE KEY") {
		t.Error("the log or the list of certificates has a private key")
	}
}

const (
	secureEdits   = 300
	secureClients = 2 // of each protocol
	secureStreams = 3 // over HTTP/1.1, and as many over HTTP/2
)

// echoing is a WebSocket that gives back what it is sent, over either protocol.
type echoing struct {
	proto string
	echo  func(text string) error
}

// openEchoing opens WebSockets over TLS, of both protocols.
func (x *secured) openEchoing(host string, n int) (all []echoing) {
	x.t.Helper()
	c := x.trust()
	c.NextProtos = []string{"h2"}
	tr := &http2.Transport{TLSClientConfig: c, DialTLSContext: func(ctx context.Context, network, _ string, c *tls.Config) (net.Conn, error) {
		return (&tls.Dialer{Config: c}).DialContext(ctx, network, x.https)
	}}
	x.t.Cleanup(tr.CloseIdleConnections)
	for range n {
		first, err := x.secureStream(host)
		if err != nil {
			x.t.Fatal(err)
		}
		x.t.Cleanup(func() { first.Close() })
		body, send := io.Pipe()
		r, err := http.NewRequestWithContext(x.t.Context(), http.MethodConnect, fmt.Sprintf("https://%s:%d/streams/ws", host, x.port), body)
		if err != nil {
			x.t.Fatal(err)
		}
		r.Header[":protocol"], r.Header["Sec-Websocket-Version"] = []string{"websocket"}, []string{"13"}
		res, err := tr.RoundTrip(r)
		if err != nil || res.StatusCode != 200 {
			x.t.Fatalf("a WebSocket over HTTP/2: %v %+v", err, res)
		}
		x.t.Cleanup(func() { res.Body.Close(); send.Close() })
		second := func(text string) error {
			frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
			answer := make([]byte, len(frame))
			watchdog := time.AfterFunc(patience, func() { res.Body.Close() })
			defer watchdog.Stop()
			_, err := send.Write(frame)
			if err == nil {
				_, err = io.ReadFull(res.Body, answer)
			}
			if err == nil && !bytes.Equal(answer, frame) {
				err = fmt.Errorf("%q comes back as %q", frame, answer)
			}
			return err
		}
		all = append(all, echoing{"HTTP/1.1", func(text string) error {
			_ = first.SetDeadline(time.Now().Add(patience))
			return first.echo(text)
		}}, echoing{"HTTP/2.0", second})
	}
	return all
}

// Edits of all kinds lose no request, and close no connection, of any protocol.
func TestHTTPSDuringEdits(t *testing.T) {
	source := newStreamSource(t)
	x := newSecured(t, func(x *secured) object {
		sockets := ownRoute("gen", source.dial())
		sockets["match"] = []any{object{"path": []string{"/streams/*"}, "host": []string{"sockets.localhost"}}}
		return x.config(helloRoute("hello", "localhost"), helloRoute("spare", "spare.localhost"), sockets)
	})
	poll(t, "the certificate of the WebSockets", func() error {
		s, err := x.secureStream("sockets.localhost")
		if err == nil {
			s.Close()
		}
		return err
	})
	sockets := x.openEchoing("sockets.localhost", secureStreams)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	var done [3]atomic.Int64
	var visitors []*visitor
	first := make([]int64, 0, 3*secureClients)
	for k, proto := range protocols {
		for range secureClients {
			v := x.visitor(proto, x.trust())
			v.expect(x, "localhost", "hello "+proto)
			visitors, first = append(visitors, v), append(first, v.dials.Load())
			running.Go(func() {
				for ctx.Err() == nil {
					p, err := v.visit(x, "localhost")
					if err != nil || p.StatusCode != 200 || !strings.HasSuffix(p.text, proto) {
						t.Errorf("%s: %v %+v", proto, err, p)
						return
					}
					done[k].Add(1)
				}
			})
		}
	}
	const server = "/config/apps/http/servers/s"
	for i := range secureEdits {
		switch i % 10 {
		case 0:
			x.e.do("PATCH", streamRoutes+"/0/handle/0/body", fmt.Sprintf("edit %d {http.request.proto}", i))
		case 1:
			added := helloRoute("new", fmt.Sprintf("n%d.localhost", i))
			added["@id"] = "added"
			x.e.do("POST", streamRoutes, added)
			x.e.do("PATCH", "/id/own/handle/1/transport/dial_timeout", fmt.Sprintf("%dms", 3000+i))
		case 2:
			x.e.do("POST", server+"/read_header_timeout", fmt.Sprintf("%ds", 20+i))
		case 3:
			x.e.do("POST", server+"/tls_connection_policies", []any{object{"match": object{"sni": []string{"localhost"}}, "protocol_min": "tls1.3"}, object{}})
		case 4:
			x.e.do("POST", server+"/idle_timeout", fmt.Sprintf("%dm", 2+i))
		case 5:
			x.e.do("PATCH", server+"/tls_connection_policies", []any{object{}})
		case 6:
			x.e.do("POST", "/config/apps/tls", object{"session_tickets": object{"max_keys": 3}, "automation": object{"policies": []any{object{"subjects": []string{fmt.Sprintf("p%d.localhost", i)}, "issuers": []any{object{"module": "internal"}}}}}})
		case 7:
			x.e.do("DELETE", "/id/added", nil)
		case 8:
			x.e.do("DELETE", "/config/apps/tls", nil)
		case 9:
			x.e.do("DELETE", server+"/tls_connection_policies", nil)
		}
		for k, ws := range sockets {
			if err := ws.echo(fmt.Sprintf("%d after edit %d", k, i)); err != nil {
				t.Errorf("a WebSocket over %s after edit %d: %v", ws.proto, i, err)
			}
		}
		before := [3]int64{done[0].Load(), done[1].Load(), done[2].Load()}
		poll(t, "requests between edits", func() error {
			for k, proto := range protocols {
				if done[k].Load() == before[k] {
					return errors.New(proto)
				}
			}
			return nil
		})
		if t.Failed() {
			break
		}
	}
	cancel()
	running.Wait()
	for i, v := range visitors {
		if n := v.dials.Load(); n != first[i] {
			t.Errorf("%s: a client has needed %d connections, and had %d before the edits", v.proto, n, first[i])
		}
	}
	t.Logf("requests: %d %d %d", done[0].Load(), done[1].Load(), done[2].Load())
	x.noSecrets()
}
