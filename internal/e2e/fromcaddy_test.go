package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/internal/porttest"
)

// The files of a Caddy setup: a Caddyfile that imports snippets and sites. In the
// texts ADMIN, HTTP, HTTPS and BACK are ports.
var caddySetup = map[string]string{
	"Caddyfile": `{
	admin localhost:ADMIN
	http_port HTTP
	https_port HTTPS
	skip_install_trust
	local_certs
}

import snippets/*.caddy
import sites/*
`,
	"snippets/common.caddy": `(common) {
	header X-Site {args.0}
	encode gzip
}
`,
	"sites/shop": `shop.localhost {
	import common shop
	handle_path /api/* {
		reverse_proxy localhost:BACK
	}
	handle {
		respond "the shop"
	}
}
`,
	"sites/back": `http://:BACK {
	respond "{method} {uri}"
}
`,
}

// addedSite is put into sites after the exchange.
const addedSite = `new.localhost {
	import common new
	respond "a new site"
}
`

// caddyScript is a script of a Caddy user, who steers the server by @id. It prints
// the same whenever it runs.
const caddyScript = `
api() { curl -s -X "$1" "localhost:ADMIN$2" -H 'Content-Type: application/json' "${@:3}"; }
api PUT /config/apps/http/servers/srv1/routes/0 -d '{"@id": "banner", "match": [{"path": ["/banner"]}],
  "handle": [{"@id": "text", "handler": "static_response", "body": "one"}], "terminal": true}'
curl -s localhost:BACK/banner; echo
api PATCH /id/banner/handle/0/body -d '"two"'
curl -s localhost:BACK/banner; echo
api POST /id/banner/match/0/path -d '"/sale"'
api PUT /id/text/status_code -d 203
curl -s -w ' %{http_code}\n' localhost:BACK/sale
api GET /id/banner/match
api GET /id/text/body
api DELETE /id/banner
curl -s localhost:BACK/banner; echo
api GET /id/banner | tr -d '\n' | cut -c1-9
caddy reload --config Caddyfile 2> reload.log && echo reloaded
`

const caddyScriptPrints = `one
two
two 203
[{"path":["/banner","/sale"]}]
"two"
GET /banner
{"error":
reloaded
`

// caddySite is a machine on which the program called caddy is exchanged, and nothing else.
type caddySite struct {
	t     *testing.T
	h     *home
	ports []int // HTTP, HTTPS, back, admin
	roots *x509.CertPool
}

func newCaddySite(t *testing.T) *caddySite {
	t.Helper()
	ports := porttest.FreeBoth(t, 4)
	slices.Sort(ports) // servers are numbered by their addresses
	c := &caddySite{t: t, h: newHome(t, ports[3]), ports: ports}
	// Nothing is set that is not of Caddy.
	c.h.env = slices.DeleteFunc(c.h.env, func(v string) bool { return strings.HasPrefix(v, "SLUICE_ADMIN=") })
	for i, v := range c.h.env {
		if after, ok := strings.CutPrefix(v, "PATH="); ok {
			c.h.env[i] = "PATH=" + c.path("bin") + string(os.PathListSeparator) + after
		}
	}
	if _, err := exec.LookPath("curl"); err != nil { // this test knows enough of it
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		c.link(self, "curl")
	}
	for name, text := range caddySetup {
		c.write(name, text)
	}
	return c
}

func (c *caddySite) path(name string) string { return filepath.Join(c.h.dir, filepath.FromSlash(name)) }

func (c *caddySite) data(name string) string { return c.path(".local/share/caddy/" + name) }

func (c *caddySite) fill(text string) string {
	return strings.NewReplacer("HTTPS", fmt.Sprint(c.ports[1]), "HTTP", fmt.Sprint(c.ports[0]), "BACK", fmt.Sprint(c.ports[2]), "ADMIN", fmt.Sprint(c.ports[3])).Replace(text)
}

func (c *caddySite) write(name, text string) {
	c.t.Helper()
	if err := os.MkdirAll(filepath.Dir(c.path(name)), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(c.path(name), []byte(c.fill(text)), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *caddySite) read(name string) string {
	c.t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// exchange makes caddy mean another program.
func (c *caddySite) exchange(program string) {
	c.t.Helper()
	if err := os.Remove(c.path("bin/caddy")); err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	c.link(program, "caddy")
}

// link gives a program a name.
func (c *caddySite) link(program, name string) {
	c.t.Helper()
	if err := os.MkdirAll(c.path("bin"), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Symlink(program, c.path("bin/"+name)); err != nil {
		c.t.Fatal(err)
	}
}

// run starts it as the unit of Caddy's package does.
func (c *caddySite) run(args ...string) *server {
	c.t.Helper()
	return launch(c.t, c.h, c.h.command(c.path("bin/caddy"), append([]string{"run"}, args...)...))
}

// stop ends it with its own command.
func (c *caddySite) stop(s *server) {
	c.t.Helper()
	if out, err := c.h.command(c.path("bin/caddy"), "stop", "--config", "Caddyfile").CombinedOutput(); err != nil {
		c.t.Errorf("caddy stop: %v\n%s", err, out)
		s.signal(syscall.SIGTERM)
	}
	_ = s.end(c.t)
}

// get asks a site over HTTPS as a client that trusts nothing but the root that was
// there before the exchange. It returns the answer and the certificate's number.
func (c *caddySite) get(url string) (answer string, serial string) {
	c.t.Helper()
	if c.roots == nil {
		poll(c.t, "the root", func() error {
			text, err := os.ReadFile(c.data("pki/authorities/local/root.crt"))
			roots := x509.NewCertPool()
			if err == nil && !roots.AppendCertsFromPEM(text) {
				err = errors.New("it is not written yet")
			}
			if err == nil {
				c.roots = roots
			}
			return err
		})
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.roots}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", c.ports[1]))
		}}
	client := &http.Client{Transport: transport, Timeout: patience}
	poll(c.t, url, func() error {
		res, err := client.Get(url)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		answer = fmt.Sprintf("%d %s: %s", res.StatusCode, res.Header.Get("X-Site"), body)
		serial = res.TLS.PeerCertificates[0].SerialNumber.String()
		return err
	})
	return answer, serial
}

// works is all that is seen of the setup, whichever program serves it. It returns
// the number of the certificate.
func (c *caddySite) works() string {
	c.t.Helper()
	home, serial := c.get("https://shop.localhost/")
	cart, _ := c.get("https://shop.localhost/api/cart?n=1")
	if home != "200 shop: the shop" || cart != "200 shop: GET /cart?n=1" {
		c.t.Errorf("the sites answer %q and %q", home, cart)
	}
	cmd := c.h.command("bash", "-eu", "-c", c.fill(caddyScript))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || string(out) != caddyScriptPrints {
		c.t.Errorf("the script: %v\n%s%s\nwant\n%s", err, out, &stderr, caddyScriptPrints)
	}
	return serial
}

// A setup of Caddy, with imports, certificates and a script, goes on with nothing
// but the program exchanged: clients need not trust another root.
func TestFromCaddy(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("there is no bash here, which the script is written for")
	}
	sluice := filepath.Join(tools, "sluice")
	t.Run("from what Caddy leaves", func(t *testing.T) {
		t.Parallel()
		c := newCaddySite(t)
		serial := c.leave()
		c.exchange(sluice)
		c.takenOver(serial)
	})
	t.Run("from a Caddy that ran", func(t *testing.T) {
		t.Parallel()
		caddy, err := exec.LookPath("caddy")
		if err != nil {
			t.Skip("there is no Caddy here")
		}
		c := newCaddySite(t)
		c.exchange(caddy)
		s := c.run("--config", "Caddyfile")
		serial := c.works()
		c.stop(s)
		c.exchange(sluice)
		c.takenOver(serial)

		// And back, with the certificate that was made meanwhile.
		_, made := c.certificate("new.localhost")
		c.exchange(caddy)
		s = c.run("--config", "Caddyfile")
		if _, serial := c.get("https://new.localhost/"); serial != made {
			t.Errorf("back in Caddy the certificate is %s, was %s", serial, made)
		}
		c.works()
		c.stop(s)
	})
}

// takenOver is what must be true after the exchange.
func (c *caddySite) takenOver(serial string) {
	t := c.t
	t.Helper()
	root := c.read(c.data("pki/authorities/local/root.crt"))
	s := c.run("--config", "Caddyfile")
	if now := c.works(); now != serial {
		t.Errorf("the certificate was made again: %s, was %s", now, serial)
	}
	// A site that comes afterwards has a certificate that clients trust as well.
	c.write("sites/new", addedSite)
	if out, err := c.h.command(c.path("bin/caddy"), "reload", "--config", "Caddyfile", "--force").CombinedOutput(); err != nil {
		t.Fatalf("caddy reload: %v\n%s", err, out)
	}
	if answer, _ := c.get("https://new.localhost/"); answer != "200 new: a new site" {
		t.Errorf("the new site answers %q", answer)
	}
	c.stop(s)
	if c.read(c.data("pki/authorities/local/root.crt")) != root {
		t.Error("the root has changed")
	}
	if !strings.Contains(s.log.String(), `"caddy":"`+c.data("")+`"`) {
		t.Errorf("the log does not say whose directory is used:\n%s", s.log)
	}
	// Who steered Caddy by its API alone started it with --resume.
	for _, dir := range []string{".local/share/sluice", ".config/sluice"} {
		if err := os.RemoveAll(c.path(dir)); err != nil {
			t.Fatal(err)
		}
	}
	c.write(".config/caddy/autosave.json", `{"admin": {"listen": "localhost:ADMIN"}, "apps": {"http": {"servers": {"kept": {"listen": ["localhost:HTTP"],
		"routes": [{"@id": "kept", "handle": [{"handler": "static_response", "body": "autosaved by Caddy"}]}]}}}}}`)
	s = c.run("--resume")
	var body []byte
	poll(t, "the autosaved site", func() error {
		res, err := http.Get(fmt.Sprintf("http://localhost:%d/", c.ports[0]))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err = io.ReadAll(res.Body)
		return err
	})
	if string(body) != "autosaved by Caddy" {
		t.Errorf("with --resume: %q\n%s", body, s.log)
	}
	c.stop(s)
	if _, err := os.Stat(c.path(".local/share/sluice/certificates")); err == nil {
		t.Error("certificates are in two directories")
	}
}

// certificate reads a certificate of the data directory.
func (c *caddySite) certificate(host string) (*x509.Certificate, string) {
	c.t.Helper()
	block, _ := pem.Decode([]byte(c.read(c.data("certificates/local/" + host + "/" + host + ".crt"))))
	if block == nil {
		c.t.Fatalf("no certificate for %s", host)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert, cert.SerialNumber.String()
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// sign makes a certificate and its PEM texts. No parent means that it signs itself.
func (a *authority) sign(t *testing.T, template *x509.Certificate) (made *authority, cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.BasicConstraintsValid = time.Now().Add(-time.Minute), true
	parent, signer := template, k
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &k.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return &authority{parsed, k}, text("CERTIFICATE", der), text("EC PRIVATE KEY", secret)
}

// leave makes a data directory as Caddy leaves it: a root, an intermediate, and a
// certificate of the shop, whose number it returns.
func (c *caddySite) leave() string {
	c.t.Helper()
	template := func(name string, life time.Duration, more x509.Certificate) *x509.Certificate {
		more.Subject, more.NotAfter = pkix.Name{CommonName: name}, time.Now().Add(life)
		return &more
	}
	ca := x509.Certificate{IsCA: true, MaxPathLen: 1, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	root, rootCert, rootKey := (*authority)(nil).sign(c.t, template("Caddy Local Authority - 2024 ECC Root", 3000*24*time.Hour, ca))
	ca.MaxPathLen, ca.MaxPathLenZero = 0, true
	inter, interCert, interKey := root.sign(c.t, template("Caddy Local Authority - ECC Intermediate", 160*time.Hour, ca))
	leaf, leafCert, leafKey := inter.sign(c.t, template("", 12*time.Hour, x509.Certificate{DNSNames: []string{"shop.localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}))
	for name, text := range map[string]string{
		"pki/authorities/local/root.crt": rootCert, "pki/authorities/local/root.key": rootKey,
		"pki/authorities/local/intermediate.crt": interCert, "pki/authorities/local/intermediate.key": interKey,
		"certificates/local/shop.localhost/shop.localhost.crt":  leafCert + interCert,
		"certificates/local/shop.localhost/shop.localhost.key":  leafKey,
		"certificates/local/shop.localhost/shop.localhost.json": "{\n\t\"sans\": [\n\t\t\"shop.localhost\"\n\t],\n\t\"issuer_data\": null\n}",
	} {
		c.write(".local/share/caddy/"+name, text)
	}
	return leaf.cert.SerialNumber.String()
}
