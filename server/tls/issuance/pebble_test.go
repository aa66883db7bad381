package issuance_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/acmetest"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

// acmeJSON is the config of an issuer at a CA, with more fields.
func acmeJSON(ca *acmetest.CA, more string) string {
	if !strings.Contains(more, `"email"`) { // certmagic asks on the terminal for one otherwise
		more += `,"email":"ops@example.test"`
	}
	more = "," + strings.TrimPrefix(more, ",")
	return fmt.Sprintf(`{"module":"acme","ca":%q,"trusted_roots_pem_files":[%q]%s}`, ca.Directory, ca.RootsFile, more)
}

func ports(ca *acmetest.CA, more string) string {
	return fmt.Sprintf(`"challenges":{"tls-alpn":{"disabled":true},"http":{"alternate_port":%d%s`, ca.HTTPPort, more)
}

// counter counts the requests to an ACME server whose paths begin with something.
type counter struct {
	prefix string
	n      atomic.Int32
}

func (c *counter) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, c.prefix) {
			c.n.Add(1)
		}
		h.ServeHTTP(w, r)
	})
}

func TestHTTPChallenge(t *testing.T) {
	t.Parallel()
	ca := acmetest.Start(t, acmetest.Options{Profiles: map[string]uint64{"short": 86400, "long": 864000}})
	for _, tt := range []struct {
		name, more string
		days       float64
	}{
		{"profile.test", fmt.Sprintf(`"profile":"short","email":"ops@example.test","challenges":{"tls-alpn":{"disabled":true},"http":{"alternate_port":%d}}`, ca.HTTPPort), 1},
		{"lifetime.test", fmt.Sprintf(`"profile":"long","certificate_lifetime":"72h","challenges":{"tls-alpn":{"disabled":true},"http":{"alternate_port":%d},"bind_host":"127.0.0.1","distributed":false}`, ca.HTTPPort), 3},
	} {
		i := newWorld(t, nil).issuer(t, acmeJSON(ca, tt.more))
		chain := newSite(t, i, nil).obtain(t, tt.name)
		verify(t, chain, ca.IssuedRoots(), tt.name)
		if days := chain[0].NotAfter.Sub(chain[0].NotBefore).Hours() / 24; days < tt.days-.1 || days > tt.days+.1 {
			t.Errorf("%s: valid for %.2f days, want %g", tt.name, days, tt.days)
		}
	}
}

func TestTLSALPNChallenge(t *testing.T) {
	t.Parallel()
	ca := acmetest.Start(t, acmetest.Options{})
	i := newWorld(t, nil).issuer(t, acmeJSON(ca, fmt.Sprintf(`"challenges":{"http":{"disabled":true},"tls-alpn":{"alternate_port":%d}}`, ca.TLSPort)))
	verify(t, newSite(t, i, nil).obtain(t, "alpn.test"), ca.IssuedRoots(), "alpn.test")
}

// The ports that the document says for all challenges are those of an issuer that says none.
func TestDefaultPorts(t *testing.T) {
	t.Parallel()
	ca := acmetest.Start(t, acmetest.Options{})
	for name, disabled := range map[string]string{"porthttp.test": "tls-alpn", "portalpn.test": "http"} {
		i, err := newWorld(t, nil).issuer(t, acmeJSON(ca, fmt.Sprintf(`"challenges":{%q:{"disabled":true}}`, disabled))).With(issuance.Defaults{HTTPPort: ca.HTTPPort, HTTPSPort: ca.TLSPort})
		if err != nil {
			t.Fatal(err)
		}
		verify(t, newSite(t, i, nil).obtain(t, name), ca.IssuedRoots(), name)
	}
}

func provider(d *acmetest.DNS) string {
	return fmt.Sprintf(`{"name":"rfc2136","server":%q,"key_name":%q,"key_alg":%q,"key":%q}`, d.Address, d.KeyName, d.KeyAlg, d.Key)
}

func TestDNSChallenge(t *testing.T) {
	t.Parallel()
	ca := acmetest.Start(t, acmetest.Options{})
	// A delegated challenge: the CA follows the CNAME.
	ca.DNS.Add(t, "_acme-challenge.over.test. 1 IN CNAME proofs.zone.test.")
	for _, tt := range []struct{ name, challenge, record string }{
		{"*.wild.test", fmt.Sprintf(`{"provider":%s,"resolvers":[%q],"ttl":"2m"}`, provider(ca.DNS), ca.DNS.Address), "_acme-challenge.wild.test. TXT"},
		{"over.test", fmt.Sprintf(`{"provider":%s,"resolvers":[%q],"propagation_timeout":-1,"override_domain":"{env.PROOFS}"}`, provider(ca.DNS), ca.DNS.Address), "proofs.zone.test. TXT"},
	} {
		i := newWorld(t, vars.Map{"env.PROOFS": "proofs.zone.test"}).issuer(t, acmeJSON(ca, `"challenges":{"dns":`+tt.challenge+`}`))
		verify(t, newSite(t, i, nil).obtain(t, tt.name), ca.IssuedRoots(), strings.Replace(tt.name, "*", "a", 1))
		if got := ca.DNS.Seen(); !slices.Contains(got, tt.record) {
			t.Errorf("%s: no record %s came in, but %q", tt.name, tt.record, got)
		}
	}
	if got := ca.DNS.Records(); len(got) != 1 {
		t.Errorf("records stay behind: %q", got)
	}
}

// Without a provider of its own a challenge has that of the document; without any it is refused.
func TestDNSDefaults(t *testing.T) {
	t.Parallel()
	ca := acmetest.Start(t, acmetest.Options{})
	w := newWorld(t, nil)
	own := w.issuer(t, acmeJSON(ca, `"challenges":{"dns":{"propagation_timeout":-1}}`))
	_, err := own.With(issuance.Defaults{})
	if err == nil || !strings.Contains(err.Error(), "DNS challenge enabled, but no DNS provider configured") || !strings.Contains(err.Error(), "/challenges/dns") {
		t.Errorf("no provider at all: %v", err)
	}
	if _, err := w.issuer(t, `{"module":"zerossl","api_key":"k","cname_validation":{}}`).With(issuance.Defaults{}); err == nil || !strings.Contains(err.Error(), "/cname_validation") {
		t.Errorf("no provider at all: %v", err)
	}
	other := w.issuer(t, acmeJSON(ca, fmt.Sprintf(`"challenges":{"dns":{"provider":%s}}`, provider(ca.DNS))))
	full, err := own.With(issuance.Defaults{DNS: dnsOf(t, other), Resolvers: []string{ca.DNS.Address}})
	if err != nil {
		t.Fatal(err)
	}
	verify(t, newSite(t, full, nil).obtain(t, "default.test"), ca.IssuedRoots(), "default.test")
}

func TestExternalAccount(t *testing.T) {
	t.Parallel()
	key := acmetest.NewKey()
	ca := acmetest.Start(t, acmetest.Options{ExternalAccounts: map[string]string{"customer": key}})
	with := func(id, key string) string {
		return acmeJSON(ca, fmt.Sprintf(`"external_account":{"key_id":%q,"mac_key":%q},%s}}`, id, key, ports(ca, "")))
	}
	globals := vars.Map{"env.KID": "customer", "env.KEY": strings.ReplaceAll(key, "_", "/") + "=="}
	good := newSite(t, newWorld(t, globals).issuer(t, with("{env.KID}", "{env.KEY}")), nil)
	verify(t, good.obtain(t, "eab.test"), ca.IssuedRoots(), "eab.test")

	wrong := acmetest.NewKey()[3:] + "abc"
	for name, tt := range map[string]struct{ issuer, want string }{
		"none":        {acmeJSON(ca, ports(ca, "")+"}}"), "external_account"},
		"wrong key":   {with("customer", wrong), "unauthorized"},
		"unknown key": {with("nobody", wrong), "not known"},
	} {
		s := newSite(t, newWorld(t, nil).issuer(t, tt.issuer), nil)
		err := s.try(t.Context(), "eab.test")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
		if strings.Contains(fmt.Sprint(err, s.log), wrong) {
			t.Errorf("%s: the key is in the error or in the log", name)
		}
	}
	if strings.Contains(good.log.String(), key) {
		t.Error("the key is in the log")
	}
}

// An account is made once, and again used by the next issuer; one whose key is given is not made.
func TestAccounts(t *testing.T) {
	t.Parallel()
	accounts := &counter{prefix: "/sign-me-up"}
	ca := acmetest.Start(t, acmetest.Options{Wrap: accounts.wrap})
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	text := acmeJSON(ca, `"email":"Ops@Example.test",`+ports(ca, "")+"}}")
	for range 2 {
		newSite(t, newWorld(t, nil).issuer(t, text), storage).obtain(t, fmt.Sprintf("account%d.test", accounts.n.Load()))
	}
	if n := accounts.n.Load(); n != 1 {
		t.Errorf("%d accounts were made", n)
	}
	issuer := newWorld(t, nil).issuer(t, text)
	key, err := storage.Load(t.Context(), "acme/"+certmagic.StorageKeys.Safe(issuer.Key())+"/users/ops@example.test/ops.key")
	if err != nil {
		t.Fatalf("the account is not where it belongs: %v", err)
	}
	known := acmeJSON(ca, `"account_key":"{file.key}",`+ports(ca, "")+"}}")
	s := newSite(t, newWorld(t, vars.Map{"file.key": string(key)}).issuer(t, known), nil)
	verify(t, s.obtain(t, "known.test"), ca.IssuedRoots(), "known.test")
	if strings.Contains(s.log.String(), strings.Split(string(key), "\n")[1]) {
		t.Error("the account's key is in the log")
	}
}

func TestPreferredChains(t *testing.T) {
	t.Parallel()
	ca := acmetest.Start(t, acmetest.Options{AlternateRoots: 2})
	for name, tt := range map[string]struct {
		prefer string
		chain  int // -1 for any
	}{
		"first.test":  {fmt.Sprintf(`{"root_common_name":["Nobody",%q]}`, ca.IssuedBy(0).Subject.CommonName), 0},
		"second.test": {fmt.Sprintf(`{"any_common_name":[%q]}`, ca.IssuedBy(1).Subject.CommonName), 1},
		"third.test":  {fmt.Sprintf(`{"root_common_name":[%q,%q]}`, ca.IssuedBy(2).Subject.CommonName, ca.IssuedBy(0).Subject.CommonName), 2},
		"small.test":  {`{"smallest":true}`, -1},
	} {
		i := newWorld(t, nil).issuer(t, acmeJSON(ca, fmt.Sprintf(`"preferred_chains":%s,%s}}`, tt.prefer, ports(ca, ""))))
		got, roots := newSite(t, i, nil).obtain(t, name), ca.IssuedRoots()
		if tt.chain >= 0 {
			roots = x509.NewCertPool()
			roots.AddCert(ca.IssuedBy(tt.chain))
		}
		verify(t, got, roots, name)
	}
}

func TestNetworkProxy(t *testing.T) {
	t.Parallel()
	ca := acmetest.Start(t, acmetest.Options{})
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		tunnel(w, r)
	}))
	defer proxy.Close()
	i := newWorld(t, nil).issuer(t, acmeJSON(ca, fmt.Sprintf(`"network_proxy":{"from":"url","url":%q},%s}}`, proxy.URL, ports(ca, ""))))
	newSite(t, i, nil).obtain(t, "proxied.test")
	if asked.Load() == 0 {
		t.Error("the proxy was not asked")
	}
	i = newWorld(t, nil).issuer(t, acmeJSON(ca, `"network_proxy":{"from":"url","url":"http://127.0.0.1:1"},`+ports(ca, "")+"}}"))
	if err := newSite(t, i, nil).try(t.Context(), "proxied2.test"); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("a proxy that is down: %v", err)
	}
	i = newWorld(t, nil).issuer(t, acmeJSON(ca, `"network_proxy":{"from":"none"},`+ports(ca, "")+"}}"))
	newSite(t, i, nil).obtain(t, "direct.test")
}

// tunnel does CONNECT.
func tunnel(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	out, err := net.Dial("tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer out.Close()
	in, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer in.Close()
	_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(out, in); out.Close() }()
	_, _ = io.Copy(in, out)
}

// Renewal tells the CA which certificate it replaces.
func TestRenewalReplaces(t *testing.T) {
	t.Parallel()
	var replaces []string // of each order; the requests come one after the other
	ca := acmetest.Start(t, acmetest.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/order-plz") {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
				replaces = append(replaces, replacesOf(t, body))
			}
			h.ServeHTTP(w, r)
		})
	}})
	s := newSite(t, newWorld(t, nil).issuer(t, acmeJSON(ca, ports(ca, "")+"}}")), nil)
	first := s.obtain(t, "renew.test")
	if err := s.RenewCertSync(t.Context(), "renew.test", true); err != nil {
		t.Fatal(err)
	}
	text, err := s.Storage.Load(t.Context(), certmagic.StorageKeys.SiteCert(s.Issuers[0].IssuerKey(), "renew.test"))
	if err != nil {
		t.Fatal(err)
	}
	if second := parse(t, text); second[0].SerialNumber.Cmp(first[0].SerialNumber) == 0 {
		t.Error("it is the old certificate")
	}
	if len(replaces) != 2 || replaces[0] != "" || replaces[1] == "" {
		t.Errorf("the orders replace %q", replaces)
	}
}

// replacesOf is the field of an order in a JWS.
func replacesOf(t *testing.T, body []byte) string {
	var jws struct{ Payload string }
	var order struct{ Replaces string }
	err := json.Unmarshal(body, &jws)
	if err == nil {
		body, err = base64.RawURLEncoding.DecodeString(jws.Payload)
	}
	if err == nil {
		err = json.Unmarshal(body, &order)
	}
	if err != nil {
		t.Error(err)
	}
	return order.Replaces
}

func TestTroubleWithCA(t *testing.T) {
	t.Parallel()
	const directory = "/dir"
	answer := func(status int, media, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", media)
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		})
	}
	limited := func(path string) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, path) {
					answer(429, "application/problem+json", `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates for this week"}`).ServeHTTP(w, r)
					return
				}
				h.ServeHTTP(w, r)
			})
		}
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	at := func(url string) string {
		return fmt.Sprintf(`{"module":"acme","email":"ops@example.test","ca":%q}`, url)
	}
	serve := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL + directory
	}
	pebble := acmetest.Start(t, acmetest.Options{Blocked: []string{"blocked.test"}})
	for name, tt := range map[string]struct{ issuer, want string }{
		"down":              {at(gone.URL + directory), "asking the ACME server " + gone.URL + directory + " for its directory: dial tcp"},
		"a web page":        {at(serve(answer(200, "text/html", "<h1>Welcome</h1>"))), "is no ACME directory"},
		"other JSON":        {at(serve(answer(200, "application/json", `{"hello":"world"}`))), "is no ACME directory"},
		"no such page":      {at(serve(answer(404, "text/plain", "nothing here"))), "404 Not Found"},
		"busy":              {at(serve(answer(429, "text/plain", "slow down"))), "rate limit"},
		"out of order":      {at(serve(answer(503, "application/problem+json", `{"type":"urn:ietf:params:acme:error:serverInternal","detail":"maintenance until noon"}`))), "maintenance until noon"},
		"not trusted":       {at(pebble.Directory), "certificate"},
		"too many orders":   {acmeJSON(acmetest.Start(t, acmetest.Options{Wrap: limited("/order-plz")}), ""), "too many certificates for this week"},
		"too many accounts": {acmeJSON(acmetest.Start(t, acmetest.Options{Wrap: limited("/sign-me-up")}), ""), "rateLimited"},
		"unknown profile":   {acmeJSON(pebble, `"profile":"nope"`), "nope"},
		"refused name":      {acmeJSON(pebble, ""), "forbidden by policy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := newSite(t, newWorld(t, nil).issuer(t, tt.issuer), nil).try(ctx, "blocked.test")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
		})
	}
}

// A challenge that nobody answers fails with what the CA says.
func TestFailedChallenge(t *testing.T) {
	t.Parallel()
	ca := acmetest.Start(t, acmetest.Options{})
	other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ca.HTTPPort))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = s.Serve(other) }()
	defer s.Close()
	i := newWorld(t, nil).issuer(t, acmeJSON(ca, fmt.Sprintf(`"challenges":{"tls-alpn":{"disabled":true},"http":{"alternate_port":%d},"bind_host":"127.0.0.1"}`, ca.HTTPPort)))
	if err := newSite(t, i, nil).try(t.Context(), "unproved.test"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v", err)
	}
}

// The test CA spares the real one: it is asked again after a failure.
func TestTestCA(t *testing.T) {
	t.Parallel()
	orders := &counter{prefix: "/order-plz"}
	testing := acmetest.Start(t, acmetest.Options{Wrap: orders.wrap})
	ca := acmetest.Start(t, acmetest.Options{HTTPPort: testing.HTTPPort})
	// One file with the roots of both.
	text := fmt.Sprintf(`{"module":"acme","ca":%q,"test_ca":%q,"email":"ops@example.test","trusted_roots_pem_files":[%q,%q],%s}}}`, ca.Directory, testing.Directory, ca.RootsFile, testing.RootsFile, ports(ca, ""))
	s := newSite(t, newWorld(t, nil).issuer(t, text), nil)
	attempts := 1
	ctx := context.WithValue(t.Context(), certmagic.AttemptsCtxKey, &attempts)
	if err := s.try(ctx, "second.test"); err != nil {
		t.Fatal(err)
	}
	if orders.n.Load() == 0 {
		t.Error("the test CA was not asked")
	}
	chain, err := s.Storage.Load(t.Context(), certmagic.StorageKeys.SiteCert(s.Issuers[0].IssuerKey(), "second.test"))
	if err != nil {
		t.Fatal(err)
	}
	verify(t, parse(t, chain), ca.IssuedRoots(), "second.test")
}

func TestUserAgent(t *testing.T) {
	defer func(old string) { certmagic.UserAgent = old }(certmagic.UserAgent)
	issuance.Identify("sluice", "1.2", "acme corp")
	if certmagic.UserAgent != "acme corp sluice/1.2" {
		t.Error(certmagic.UserAgent)
	}
	issuance.Identify("sluice", "1.2", "")
	agent := make(chan string, 100)
	ca := acmetest.Start(t, acmetest.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case agent <- r.UserAgent():
			default:
			}
			h.ServeHTTP(w, r)
		})
	}})
	newSite(t, newWorld(t, nil).issuer(t, acmeJSON(ca, ports(ca, "")+"}}")), nil).obtain(t, "agent.test")
	for len(agent) > 0 {
		if a := <-agent; !strings.HasPrefix(a, "sluice/1.2") {
			t.Errorf("it calls itself %q", a)
		}
	}
}
