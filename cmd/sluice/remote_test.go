package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// remoteClient is a client of remote endpoints, with a certificate.
type remoteClient struct {
	*box
	shown tls.Certificate
	roots *x509.CertPool
	http  *http.Client
	// serial is that of the last certificate that a server has shown.
	serial string
}

func newRemoteClient(b *box, name string) *remoteClient {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	return &remoteClient{box: b, shown: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}

// rule is an access rule for the client.
func (c *remoteClient) rule() string {
	return `{"public_keys":["` + base64.StdEncoding.EncodeToString(c.shown.Certificate[0]) + `"]}`
}

// trust makes the client trust the authority of the process, which the local
// endpoint tells of.
func (c *remoteClient) trust() {
	c.Helper()
	var ca struct {
		Root string `json:"root_certificate"`
	}
	if err := json.Unmarshal([]byte(c.does("GET", "/pki/ca/local", "")), &ca); err != nil {
		c.Fatal(err)
	}
	c.roots = x509.NewCertPool()
	if !c.roots.AppendCertsFromPEM([]byte(ca.Root)) {
		c.Fatal("no root")
	}
	c.http = &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.roots, Certificates: []tls.Certificate{c.shown}}}}
	c.Cleanup(c.http.CloseIdleConnections)
}

// ask makes a request to a remote endpoint; status 0 means that there was no
// answer.
func (c *remoteClient) ask(port int, method, path, body string) (int, string) {
	c.Helper()
	r, err := http.NewRequest(method, fmt.Sprintf("https://localhost:%d%s", port, path), strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.Fatal(err)
	}
	c.serial = resp.TLS.PeerCertificates[0].SerialNumber.String()
	return resp.StatusCode, string(text)
}

func (c *remoteClient) gets(port int, method, path, body string) string {
	c.Helper()
	status, text := c.ask(port, method, path, body)
	if status != 200 {
		c.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

// TestRemoteAdmin is the life of an instance that is administered from
// elsewhere.
func TestRemoteAdmin(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	ada, eve := newRemoteClient(b, "ada"), newRemoteClient(b, "eve")
	first, second, web := port(t), port(t), port(t)
	server := b.up()
	b.fails("cannot enable remote admin", "validate", "--config", b.write("bad.json", `{"admin":{"remote":{}}}`))
	text := fmt.Sprintf(`{"storage":{"module":"bolt","path":%q},
		"admin":{"identity":{"identifiers":["localhost"],"issuers":[{"module":"internal"}]},"remote":{"listen":"localhost:%d","access_control":[%s]}},
		"apps":{"http":{"servers":{"a":%s}}}}`, filepath.Join(b.dir, "doc.db"), first, ada.rule(), site(web, "one"))
	if status, answer := b.call("POST", "/load?dry_run=true", text); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	files := filepath.Join(b.dir, "d/sluice/certificates/local/localhost/localhost")
	if _, err := os.Stat(files + ".crt"); err == nil {
		t.Error("a certificate was made for a dry run")
	}
	b.does("POST", "/load", text)
	ada.trust()
	eve.trust()
	eventually(t, "the certificate of the instance", func() bool { status, _ := ada.ask(first, "GET", "/config/", ""); return status == 200 })
	serial := ada.serial
	if status, text := eve.ask(first, "GET", "/config/", ""); status != 0 {
		t.Errorf("a stranger gets %d %s", status, text)
	}
	// Its files are in the default storage, whatever the document's is.
	if info, err := os.Stat(files + ".key"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	// An edit elsewhere, and one of the admin object, leave everything as it is.
	ada.gets(first, "PATCH", bodyPath, `"two"`)
	b.says(web, "two")
	ada.gets(first, "PUT", "/config/admin/enforce_origin", `false`)
	ada.gets(first, "POST", "/config/admin/identity/identifiers", `"127.0.0.1"`)
	// The endpoint changes itself: the answer comes over the connection of before.
	ada.gets(first, "PATCH", "/config/admin/remote/listen", fmt.Sprintf(`"localhost:%d"`, second))
	if status, text := ada.ask(first, "GET", "/config/", ""); status != 0 {
		t.Errorf("the old address answers %d %s", status, text)
	}
	config := ada.gets(second, "GET", "/config/", "")
	if ada.serial != serial {
		t.Error("there is another certificate")
	}
	ada.gets(second, "POST", "/config/admin/remote/access_control", eve.rule())
	eve.gets(second, "GET", "/config/", "")
	// Who takes its own rule away is told that it was done, and then nothing.
	ada.gets(second, "DELETE", "/config/admin/remote/access_control/0", "")
	if status, _ := ada.ask(second, "GET", "/config/", ""); status != 401 {
		t.Errorf("on the open connection: %d", status)
	}
	if status, _ := ada.ask(second, "GET", "/config/", ""); status != 0 {
		t.Errorf("on a new connection: %d", status)
	}
	// Whoever did it is in the history.
	if history := b.does("GET", "/revisions", ""); !strings.Contains(history, `"origin":"ada@127.0.0.1:`) && !strings.Contains(history, `"origin":"ada@[::1]:`) {
		t.Error(history)
	}
	// Only the remote endpoint.
	eve.gets(second, "PUT", "/config/admin/disabled", "true")
	if status, text := b.call("GET", "/config/", ""); status != 0 {
		t.Errorf("the local endpoint answers %d %s", status, text)
	}
	eve.gets(second, "GET", "/config/", "")
	server.term()
	again := b.up()
	eventually(t, "the endpoint after a new start", func() bool { status, _ := eve.ask(second, "GET", "/config/", ""); return status == 200 })
	if eve.serial != serial {
		t.Error("a new start got another certificate")
	}
	for what, text := range map[string]string{"the document": config, "the log": server.stderr.String() + again.stderr.String()} {
		if strings.Contains(text, "PRIVATE") {
			t.Errorf("%s has a private key:\n%s", what, text)
		}
	}
	eve.gets(second, "POST", "/stop", "")
	again.exits(0)
}

// TestSpareRemote: a document that does not start is repaired from elsewhere,
// where that is the only way.
func TestSpareRemote(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	ada := newRemoteClient(b, "ada")
	remote, web := port(t), port(t)
	server := b.up()
	b.does("POST", "/load", fmt.Sprintf(`{"admin":{"identity":{"identifiers":["localhost"],"issuers":[{"module":"internal"}]},"remote":{"listen":"localhost:%d","access_control":[%s]}},
		"apps":{"http":{"servers":{"a":%s}}}}`, remote, ada.rule(), site(web, "one")))
	ada.trust()
	eventually(t, "the certificate of the instance", func() bool { status, _ := ada.ask(remote, "GET", "/config/", ""); return status == 200 })
	ada.gets(remote, "PUT", "/config/admin/disabled", "true")
	server.term()
	// Somebody else has the address of the site now.
	taken := &http.Server{Addr: fmt.Sprintf("127.0.0.1:%d", web), ReadHeaderTimeout: patience}
	go func() { _ = taken.ListenAndServe() }()
	eventually(t, "the other server", func() bool {
		status, _ := fetch(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/", web), "")
		return status == 404
	})
	again := b.launch()
	again.logged(fmt.Sprintf("repair it through the admin API at tcp/localhost:%d (remote)", remote))
	eventually(t, "the endpoint", func() bool { status, _ := ada.ask(remote, "GET", "/config/", ""); return status == 200 })
	if status, text := ada.ask(remote, "GET", "/readyz", ""); status != 503 {
		t.Errorf("%d %s", status, text)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	ada.gets(remote, "PATCH", bodyPath, `"repaired"`)
	b.says(web, "repaired")
	again.term()
}
