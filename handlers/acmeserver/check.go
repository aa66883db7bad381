package acmeserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// attemptTimeout is how long one attempt to check a challenge may take.
	attemptTimeout = 10 * time.Second
	maxRedirects   = 10
	// maxAnswer is how much of an answer is read, in bytes: a key authorization has less than 100.
	maxAnswer = 1024
	userAgent = "sluice acme_server"
)

// target is a challenge that is checked.
type target struct {
	kind           string
	name           identifier
	token, keyAuth string
	resolver       *resolver // nil for the system's
}

// checker checks challenges. Immutable.
type checker struct {
	checks
	client *http.Client
}

func newChecker(o checks) *checker {
	c := &checker{checks: o}
	if c.httpPort == "" {
		c.httpPort = "80"
	}
	if c.tlsPort == "" {
		c.tlsPort = "443"
	}
	if c.waits == nil {
		c.waits = []time.Duration{time.Second, 3 * time.Second}
	}
	if c.dial == nil {
		c.dial = (&net.Dialer{}).DialContext
	}
	c.client = &http.Client{
		Transport: &http.Transport{
			DialContext: c.dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
			// Who redirects to HTTPS may have no certificate yet: that is what this is for.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec
		},
		CheckRedirect: c.redirect,
	}
	return c
}

// redirect lets clients send the check elsewhere, but only to the ports of web servers.
func (c *checker) redirect(r *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	port := r.URL.Port()
	switch {
	case r.URL.Scheme == "http" && (port == "" || port == c.httpPort), r.URL.Scheme == "https" && (port == "" || port == c.tlsPort):
		return nil
	}
	return fmt.Errorf("a redirect to something else than HTTP on port %s or HTTPS on port %s", c.httpPort, c.tlsPort)
}

// check tries a few times. It returns nil if the client has shown what it should.
func (c *checker) check(ctx context.Context, t target) (p *problem) {
	for i := 0; ; i++ {
		one, cancel := context.WithTimeout(ctx, attemptTimeout)
		switch t.kind {
		case http01:
			p = c.overHTTP(one, t)
		case tlsALPN01:
			p = c.overTLS(one, t)
		default:
			p = c.inDNS(one, t)
		}
		cancel()
		if p == nil || i >= len(c.waits) || !wait(ctx, c.waits[i]) {
			return p
		}
	}
}

// overHTTP: RFC 8555 section 8.3. What the server has answered is not told to the client, which might ask about hosts
// that it can not reach itself.
func (c *checker) overHTTP(ctx context.Context, t target) *problem {
	host := t.name.Value
	if c.httpPort != "80" {
		host = net.JoinHostPort(host, c.httpPort)
	} else if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		host = "[" + host + "]"
	}
	address := "http://" + host + "/.well-known/acme-challenge/" + t.token
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return malformed("no request can be made to %s", address)
	}
	r.Header.Set("User-Agent", userAgent)
	resp, err := c.client.Do(r)
	if err != nil {
		return connectionProblem(address, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return newProblem("unauthorized", http.StatusForbidden, fmt.Sprintf("%s has answered with status %d; want 200 and the key authorization", address, resp.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return connectionProblem(address, err)
	}
	if subtle.ConstantTimeCompare(bytes.TrimRight(body, " \t\r\n"), []byte(t.keyAuth)) != 1 {
		return newProblem("incorrectResponse", http.StatusForbidden, address+" has not answered with the key authorization of this challenge")
	}
	return nil
}

// connectionProblem says why nothing could be asked.
func connectionProblem(what string, err error) *problem {
	var name *net.DNSError
	if errors.As(err, &name) {
		return newProblem("dns", http.StatusBadRequest, fmt.Sprintf("looking up %s: %v", quote(name.Name), name.Err))
	}
	return newProblem("connection", http.StatusBadRequest, fmt.Sprintf("asking %s: %v", what, err))
}

// acmeIdentifier is the extension of RFC 8737 section 3.
var acmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// overTLS: RFC 8737, and RFC 8738 section 6.
func (c *checker) overTLS(ctx context.Context, t target) *problem {
	address := net.JoinHostPort(t.name.Value, c.tlsPort)
	conn, err := c.dial(ctx, "tcp", address)
	if err != nil {
		return connectionProblem(address, err)
	}
	defer conn.Close()
	client := tls.Client(conn, &tls.Config{
		ServerName: serverName(t.name), NextProtos: []string{"acme-tls/1"}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // the certificate signs itself; its content is checked below
	})
	if err := client.HandshakeContext(ctx); err != nil {
		return newProblem("tls", http.StatusBadRequest, fmt.Sprintf("TLS handshake with %s: %v", address, err))
	}
	state := client.ConnectionState()
	if state.NegotiatedProtocol != "acme-tls/1" {
		return newProblem("unauthorized", http.StatusForbidden, address+" does not speak acme-tls/1")
	}
	if why := checkALPNCertificate(state.PeerCertificates[0], t); why != "" {
		return newProblem("incorrectResponse", http.StatusForbidden, "the certificate of "+address+" "+why)
	}
	return nil
}

// checkALPNCertificate says what is wrong with a certificate.
func checkALPNCertificate(cert *x509.Certificate, t target) string {
	right := len(cert.DNSNames) == 1 && len(cert.IPAddresses) == 0 && strings.EqualFold(cert.DNSNames[0], t.name.Value)
	if t.name.Type == typeIP {
		right = len(cert.IPAddresses) == 1 && len(cert.DNSNames) == 0 && cert.IPAddresses[0].Equal(net.ParseIP(t.name.Value))
	}
	if !right || len(cert.EmailAddresses)+len(cert.URIs) > 0 {
		return "is not for " + t.name.Value + " alone"
	}
	sum := sha256.Sum256([]byte(t.keyAuth))
	want, err := asn1.Marshal(sum[:])
	if err != nil {
		return "can not be compared"
	}
	for _, e := range cert.Extensions {
		if e.Id.Equal(acmeIdentifier) {
			if !e.Critical {
				return "has the extension acmeIdentifier, but not as critical"
			}
			if subtle.ConstantTimeCompare(e.Value, want) != 1 {
				return "has the digest of something else than the key authorization of this challenge"
			}
			return ""
		}
	}
	return "has no extension acmeIdentifier"
}

// serverName is what a client says in the handshake: a name, or that of reverse lookups for an address.
func serverName(id identifier) string {
	addr, err := netip.ParseAddr(id.Value)
	if err != nil {
		return id.Value
	}
	return reverseName(addr)
}

// inDNS: RFC 8555 section 8.4.
func (c *checker) inDNS(ctx context.Context, t target) *problem {
	name := "_acme-challenge." + t.name.Value
	sum := sha256.Sum256([]byte(t.keyAuth))
	want := base64.RawURLEncoding.EncodeToString(sum[:])
	texts, err := t.resolver.texts(ctx, name)
	if err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.IsNotFound {
			return newProblem("unauthorized", http.StatusForbidden, "there is no TXT record "+name)
		}
		return newProblem("dns", http.StatusBadRequest, fmt.Sprintf("looking up the TXT records of %s: %v", name, err))
	}
	if !slices.Contains(texts, want) {
		return newProblem("incorrectResponse", http.StatusForbidden, fmt.Sprintf("none of the %d TXT records of %s is the digest of the key authorization of this challenge", len(texts), name))
	}
	return nil
}
