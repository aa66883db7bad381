package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/internal/acmetest"
	"github.com/sluiceproxy/sluice/internal/porttest"
)

// certified is a server whose certificates come from a CA that checks names. It is asked at the server's own ports.
type certified struct {
	*secured
	ca     *acmetest.CA
	others []*acmetest.CA // that have issued certificates too
}

// clients is the configuration of clients that trust the CAs.
func (c *certified) clients() *tls.Config {
	pool := c.ca.IssuedRoots()
	for _, o := range c.others {
		pool.AddCert(o.IssuedBy(0))
	}
	return &tls.Config{RootCAs: pool}
}

// newCertified makes a CA, and an empty home for a server. Nothing runs there until it is started.
func newCertified(t *testing.T, o acmetest.Options) *certified {
	t.Helper()
	c := &certified{secured: newPlace(t)}
	_, httpPort, _ := net.SplitHostPort(c.http)
	_, _ = fmt.Sscan(httpPort, &o.HTTPPort)
	o.TLSPort = c.port
	c.ca = acmetest.Start(t, o)
	c.root = c.ca.IssuedBy(0)
	return c
}

// newPlace makes an empty home with ports.
func newPlace(t *testing.T) *secured {
	t.Helper()
	ports, port := freePorts(t, 2), porttest.FreeBoth(t, 1)[0]
	x := &secured{t: t, h: newHome(t, ports[0]), https: fmt.Sprintf("127.0.0.1:%d", port), http: fmt.Sprintf("127.0.0.1:%d", ports[1]), port: port}
	x.admin = "http://" + x.h.admin
	x.e = &editor{t, x.admin, &http.Client{Timeout: patience}}
	return x
}

// start starts the server, with a document if one is given; else it goes on with what it had.
func (x *secured) start(doc object) {
	x.t.Helper()
	args := []string{"run"}
	if doc != nil {
		text, err := json.Marshal(doc)
		file := filepath.Join(x.t.TempDir(), "sluice.json")
		if err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
		if err != nil {
			x.t.Fatal(err)
		}
		args = append(args, "--config", file)
	}
	x.s = launch(x.t, x.h, x.h.command(filepath.Join(tools, "sluice"), args...))
	x.t.Cleanup(func() {
		if x.t.Failed() {
			var text strings.Builder // without the questions of this test, and what they led to
			for line := range strings.Lines(x.s.log.String()) {
				if !strings.Contains(line, `"admin.api"`) && !strings.Contains(line, `"level":"debug"`) {
					text.WriteString(line)
				}
			}
			x.t.Logf("the end of the log of %s:\n%s", x.https, text.String()[max(0, text.Len()-30_000):])
		}
	})
}

// kill ends the server at once.
func (x *secured) kill() {
	x.t.Helper()
	x.s.signal(syscall.SIGKILL)
	_ = x.s.end(x.t)
}

// issuerOf is the issuer acme at a CA, with more fields.
func issuerOf(ca *acmetest.CA, more object) object {
	i := object{"module": "acme", "ca": ca.Directory, "trusted_roots_pem_files": []string{ca.RootsFile}}
	for name, v := range more {
		i[name] = v
	}
	return i
}

// automated is a document with automation policies.
func (x *secured) automated(policies []any, routes ...any) object {
	doc := x.config(routes...)
	doc["apps"].(object)["tls"] = object{"automation": object{"policies": policies}}
	return doc
}

// automation is a part of such a document.
func automation(doc object) object {
	return doc["apps"].(object)["tls"].(object)["automation"].(object)
}

// mustLoad replaces the document.
func (x *secured) mustLoad(doc object) {
	x.t.Helper()
	if status, answer := x.load(doc, false); status != http.StatusOK {
		x.t.Fatalf("POST /load: %d %s", status, answer)
	}
}

// certificate is a line of GET /tls/certificates.
type certificate struct {
	Names                           []string
	Source, Issuer, Serial, Renewal string
	LastError                       string     `json:"last_error"`
	LastErrorAt                     *time.Time `json:"last_error_at"`
	NextTry                         *time.Time `json:"next_try"`
	Attempts                        int
}

// certificates lists what the server says of its certificates, by first name.
func (x *secured) certificates() map[string]certificate {
	x.t.Helper()
	var list []certificate
	if err := json.Unmarshal([]byte(x.get("/tls/certificates")), &list); err != nil {
		x.t.Fatal(err)
	}
	out := map[string]certificate{}
	for _, c := range list {
		out[c.Names[0]] = c
	}
	return out
}

// leaf is the certificate that a new client is shown, whose chain is good.
func (c *certified) leaf(proto, host string) (*x509.Certificate, error) {
	v := c.visitor(proto, c.clients())
	defer v.CloseIdleConnections()
	p, err := v.visit(c.secured, host)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(p.TLS.PeerCertificates[0].DNSNames, []string{host}) {
		return nil, fmt.Errorf("%s is shown a certificate for %q", host, p.TLS.PeerCertificates[0].DNSNames)
	}
	return p.TLS.PeerCertificates[0], nil
}

// within polls as poll does, for another time, and less often.
func within(t *testing.T, d time.Duration, what string, ask func() error) {
	t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); ; {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s: %v", d, what, err)
		}
		<-tick.C
	}
}

// serves waits until all hosts are served over all protocols.
func (c *certified) serves(d time.Duration, text string, hosts ...string) {
	c.t.Helper()
	end := time.Now().Add(d)
	for _, host := range hosts {
		for _, proto := range protocols {
			v := c.visitor(proto, c.clients())
			within(c.t, time.Until(end), proto+" for "+host, func() error {
				p, err := v.visit(c.secured, host)
				if err == nil && (p.StatusCode != 200 || p.text != text+" "+proto) {
					err = fmt.Errorf("%s %q", p.Status, p.text)
				}
				return err
			})
		}
	}
}

// fifteen is how long it may take until a new site is served.
const fifteen = 15 * time.Second

// From an empty directory: a document with three public names gives them certificates, by each of the challenges.
func TestACMEFromNothing(t *testing.T) {
	t.Parallel()
	names := []string{"a.example.com", "b.example.com", "www.c.example.com"}
	key := acmetest.NewKey()
	for name, tt := range map[string]struct {
		options acmetest.Options
		issuer  func(c *certified) object
	}{
		"HTTP": {issuer: func(c *certified) object {
			return object{"challenges": object{"tls-alpn": object{"disabled": true}, "http": object{"alternate_port": c.ca.HTTPPort}}}
		}},
		"TLS-ALPN": {issuer: func(c *certified) object { return object{"challenges": object{"http": object{"disabled": true}}} }},
		"DNS": {issuer: func(c *certified) object {
			d := c.ca.DNS
			return object{"challenges": object{"dns": object{"resolvers": []string{d.Address},
				"provider": object{"name": "rfc2136", "server": d.Address, "key_name": d.KeyName, "key_alg": d.KeyAlg, "key": d.Key}}}}
		}},
		"external account": {acmetest.Options{ExternalAccounts: map[string]string{"customer": key}}, func(c *certified) object {
			return object{"external_account": object{"key_id": "customer", "mac_key": key}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCertified(t, tt.options)
			if entries, err := os.ReadDir(c.h.dir); err != nil || len(entries) > 0 {
				t.Fatalf("the home is not empty: %v %v", entries, err)
			}
			c.start(nil)
			doc := c.automated([]any{object{"issuers": []any{issuerOf(c.ca, tt.issuer(c))}}}, helloRoute("hello", names...))
			began := time.Now()
			c.mustLoad(doc)
			c.serves(fifteen, "hello", names...)
			took := time.Since(began)
			t.Logf("%d names over %d protocols in %v", len(names), len(protocols), took.Round(time.Millisecond))
			if took > fifteen {
				t.Errorf("it took %v, want at most %v", took, fifteen)
			}
			list := c.certificates()
			for _, name := range names {
				if l := list[name]; l.Source != "managed" || l.Renewal != "valid" || !strings.HasPrefix(l.Issuer, "Pebble") || l.LastError != "" {
					t.Errorf("%s: %+v", name, l)
				}
			}
			if n := c.ca.Issued(); n != len(names) || len(list) != len(names) {
				t.Errorf("the CA has issued %d certificates, the server lists %d", n, len(list))
			}
			c.challengesGone()
			if records := c.ca.DNS.Records(); len(records) > 0 || (name == "DNS") != (c.ca.DNS.Updates() > 0) {
				t.Errorf("%d updates of DNS have left %q", c.ca.DNS.Updates(), records)
			}
			if log := c.s.log.String(); strings.Contains(log, key) || strings.Contains(log, c.ca.DNS.Key) {
				t.Error("a secret is in the log")
			}
			if n := len(c.keys()); n < len(names)+1 {
				t.Errorf("the test looks at %d keys only", n)
			}
			c.noSecrets()
		})
	}
}

// challengesGone wants no challenge and no lock left in the storage.
func (c *certified) challengesGone() {
	c.t.Helper()
	poll(c.t, "an orderly storage", func() error {
		return filepath.WalkDir(c.h.dir, func(path string, d os.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			folder := filepath.Base(filepath.Dir(path))
			if err == nil && !d.IsDir() && (folder == "challenge_tokens" || strings.HasSuffix(path, ".lock") && folder == "locks") {
				err = fmt.Errorf("%s is left", path)
			}
			return err
		})
	})
}

// A permission endpoint says which names may have a certificate; nobody else is asked for one that may not.
func TestACMEOnDemand(t *testing.T) {
	t.Parallel()
	c := newCertified(t, acmetest.Options{})
	asked := make(chan string, 1000)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("domain")
		asked <- name
		if !strings.HasPrefix(name, "good") {
			w.WriteHeader(http.StatusForbidden)
		}
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	doc := c.automated([]any{object{"on_demand": true, "issuers": []any{issuerOf(c.ca, nil)}}}, object{"handle": helloRoute("hello")["handle"]})
	doc["apps"].(object)["http"].(object)["servers"].(object)["s"].(object)["tls_connection_policies"] = []any{object{}}
	automation(doc)["on_demand"] = object{"permission": object{"module": "http", "endpoint": "http://" + l.Addr().String() + "/may"}}
	c.start(doc)
	refuse := func(host string) {
		t.Helper()
		before := c.ca.Requests("/")
		for _, proto := range protocols {
			if p, err := c.visitor(proto, c.clients()).visit(c.secured, host); err == nil {
				t.Errorf("%s for %s: %s %q", proto, host, p.Status, p.text)
			}
		}
		if n := c.ca.Requests("/"); n != before {
			t.Errorf("the CA was asked %d times for %s", n-before, host)
		}
	}
	refuse("bad.example.com")
	select {
	case name := <-asked:
		if name != "bad.example.com" {
			t.Errorf("the endpoint was asked for %q", name)
		}
	default:
		t.Error("the endpoint was not asked")
	}
	if n := c.ca.Requests("/"); n > 0 {
		t.Fatalf("the CA was asked %d times", n)
	}
	// Many clients at once, and each is served in its first handshake.
	onAll(t, "first handshakes", 24, func(i int) error {
		proto := protocols[i%len(protocols)]
		v := c.visitor(proto, c.clients())
		defer v.CloseIdleConnections()
		p, err := v.visit(c.secured, "good.example.com")
		if err == nil && (p.text != "hello "+proto || v.dials.Load() != 1) {
			err = fmt.Errorf("%s after %d connections: %s %q", proto, v.dials.Load(), p.Status, p.text)
		}
		return err
	})
	if n := c.ca.Issued(); n != 1 {
		t.Errorf("the CA has issued %d certificates for one name", n)
	}
	if l := c.certificates()["good.example.com"]; l.Source != "on-demand" || l.Renewal != "valid" {
		t.Errorf("%+v", l)
	}
	refuse("bad.example.com")
	refuse("127.0.0.1")
	// An endpoint that is down is no permission, and takes no certificate away.
	_ = server.Close()
	refuse("good2.example.com")
	for _, proto := range protocols {
		c.visitor(proto, c.clients()).expect(c.secured, "good.example.com", "hello "+proto)
	}
	if n := c.ca.Issued(); n != 1 {
		t.Errorf("the CA has issued %d certificates", n)
	}
	if _, known := c.certificates()["bad.example.com"]; known {
		t.Error("a name that was refused is listed")
	}
	if !strings.Contains(c.s.log.String(), "no certificate on demand") {
		t.Error("the log does not say that names were refused")
	}
	c.noSecrets()
}
